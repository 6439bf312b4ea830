-- A run that the version before has written, that a newer one goes on with, and the version before after it.
--- before
INSERT INTO runbook_text (hash, name, source, first_seen) VALUES (encode(sha256('runbook: of 19'), 'hex'), 'rb', 'runbook: of 19', now());
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
VALUES ('00000000-0000-0000-0000-000000001901', 'rb', encode(sha256('runbook: of 19'), 'hex'), 'Run', '{}', 'ada', 'k1901', 'running', 1, 1, 1, now(), now());
INSERT INTO journal (run_id, seq, epoch, at, kind, entry, write_id, hash)
SELECT id, 1, 1, at, 'asked', '{"kind": "asked"}', gen_random_uuid(), journal_link(journal_origin(id), 1, 1, at, '{"kind": "asked"}')
  FROM (VALUES ('00000000-0000-0000-0000-000000001901'::uuid, '2024-05-07 14:00:00Z'::timestamptz)) AS run (id, at);
--- after
WITH two AS (
    SELECT run_id, '2024-05-07 14:01:00Z'::timestamptz AS at, '{"kind":"done","step":"a"}'::json AS done, '{"kind":"intent","step":"b"}'::json AS intent, hash
      FROM journal_row WHERE run_id = '00000000-0000-0000-0000-000000001901'
), mine AS (
    UPDATE run SET seq = 3 FROM two WHERE id = two.run_id
)
INSERT INTO journal_row (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx, carried, carried_at)
SELECT run_id, 3, 1, at, 'intent', 'b', intent, gen_random_uuid(), journal_link(journal_link(hash, 2, 1, at, done), 3, 1, at, intent),
       write_order(), done, at FROM two;
WITH mine AS (
    UPDATE run SET seq = 5 WHERE id = '00000000-0000-0000-0000-000000001901' AND owner = 1 AND epoch = 1 AND seq = 3 RETURNING id
), last AS (
    SELECT j.run_id, j.hash, j.at FROM mine JOIN journal j ON j.run_id = mine.id ORDER BY j.seq DESC LIMIT 1
), journaled AS (
    INSERT INTO journal (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx)
    SELECT run_id, 4, 1, at, 'done', 'b', '{"kind":"done","step":"b"}'::json, gen_random_uuid(), journal_link(hash, 4, 1, at, '{"kind":"done","step":"b"}'),
           write_order() FROM last
    UNION ALL
    SELECT run_id, 5, 1, at, 'asked', NULL, '{"kind":"asked"}'::json, gen_random_uuid(),
           journal_link(journal_link(hash, 4, 1, at, '{"kind":"done","step":"b"}'), 5, 1, at, '{"kind":"asked"}'), NULL FROM last
    RETURNING seq
)
SELECT seq FROM journaled;
--- holds
SELECT string_agg(kind || coalesce(' ' || step, ''), ', ' ORDER BY seq) = 'asked, done a, intent b, done b, asked'
  FROM journal WHERE run_id = '00000000-0000-0000-0000-000000001901';
SELECT bool_and(hash = journal_link(previous, seq, epoch, at, entry)) FROM (
    SELECT *, coalesce(lag(hash) OVER (PARTITION BY run_id ORDER BY seq), journal_origin(run_id)) AS previous FROM journal) AS j;
SELECT count(*) = 4 AND bool_and(tx IS NOT NULL) FROM journal_row WHERE run_id = '00000000-0000-0000-0000-000000001901';
SELECT has_table_privilege('firebreak_app', 'journal', 'INSERT') AND NOT has_table_privilege('firebreak_app', 'journal', 'UPDATE');
SELECT has_table_privilege('firebreak_app', 'journal_row', 'INSERT') AND NOT has_table_privilege('firebreak_app', 'journal_row', 'DELETE');
