-- What people asked before, and what the version before says of them after: both are found; glass that it breaks is reviewed.
--- before
GRANT SELECT ON journal_row TO PUBLIC;
INSERT INTO runbook_text (hash, name, source, first_seen) VALUES (encode(sha256('runbook: of 21'), 'hex'), 'rb', 'runbook: of 21', now());
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
VALUES ('00000000-0000-0000-0000-000000002101', 'rb21', encode(sha256('runbook: of 21'), 'hex'), 'Run', '{}', 'ada', 'k2101', 'running', 1, 1, 1, now(), now());
INSERT INTO journal_row (run_id, seq, epoch, at, kind, step, entry, write_id, hash)
SELECT id, 1, 1, at, 'asked', 'a', entry, gen_random_uuid(), journal_link(journal_origin(id), 1, 1, at, entry)
  FROM (VALUES ('00000000-0000-0000-0000-000000002101'::uuid, '2024-05-07 14:00:00Z'::timestamptz,
                '{"kind":"asked","by":{"name":"ada"},"ask":{"ask":"pause"}}'::json)) AS run (id, at, entry);
--- after
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
VALUES ('00000000-0000-0000-0000-000000002102', 'rb21', encode(sha256('runbook: of 21'), 'hex'), 'Run', '{}', 'ben', 'k2102', 'running', 1, 1, 1, now(), now())
ON CONFLICT (idem_key) DO NOTHING;
WITH mine AS (
    UPDATE run SET seq = 3 WHERE id = '00000000-0000-0000-0000-000000002101' AND owner = 1 AND epoch = 1 AND seq = 1 RETURNING id
), next AS (
    SELECT j.run_id, j.hash, j.at, '{"kind":"done","step":"a"}'::json AS done,
           '{"kind":"asked","by":{"name":"ben"},"ask":{"ask":"break_glass","step":"a","reason":"nobody is awake"}}'::json AS glass
      FROM mine JOIN journal_row j ON j.run_id = mine.id
), journaled AS (
    INSERT INTO journal_row (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx, carried, carried_at)
    SELECT run_id, 3, 1, at, 'asked', 'a', glass, gen_random_uuid(), journal_link(journal_link(hash, 2, 1, at, done), 3, 1, at, glass),
           write_order(), done, at FROM next
)
SELECT id FROM mine;
WITH one AS (
    SELECT '00000000-0000-0000-0000-000000002102'::uuid AS id, '2024-05-07 14:02:00Z'::timestamptz AS at,
           '{"kind":"asked","by":{"name":"ben"},"ask":{"ask":"pause"}}'::json AS pause
)
INSERT INTO journal (run_id, seq, epoch, at, kind, entry, write_id, hash)
SELECT id, 1, 1, at, 'asked', pause, gen_random_uuid(), journal_link(journal_origin(id), 1, 1, at, pause) FROM one;
--- holds
SELECT string_agg(by || ' ' || seq || coalesce(' ' || step, ''), ', ' ORDER BY run_id, seq) = 'ada 1 a, ben 3 a, ben 1'
  FROM asked WHERE run_id BETWEEN '00000000-0000-0000-0000-000000002101' AND '00000000-0000-0000-0000-000000002102';
SELECT count(*) = 1 FROM asked WHERE words @@ websearch_to_tsquery('simple', '"nobody is awake"');
SELECT (SELECT count(*) FROM journal_line WHERE kind = 'asked') = (SELECT count(*) FROM asked);
SELECT string_agg(opened_by || ': ' || reason, ', ') = 'ben: nobody is awake' FROM review WHERE run_id = '00000000-0000-0000-0000-000000002101';
SELECT bool_and(tx IS NOT NULL) FROM journal_row WHERE run_id = '00000000-0000-0000-0000-000000002101' AND seq > 1;
SELECT has_table_privilege('firebreak_app', 'journal_row', 'INSERT') AND NOT has_table_privilege('firebreak_app', 'journal_row', 'UPDATE');
SELECT bool_and(has_table_privilege('firebreak_app', name, 'INSERT') AND NOT has_table_privilege('firebreak_app', name, 'DELETE'))
  FROM (VALUES ('journal_line'), ('asked')) AS t (name);
SELECT bool_and(has_table_privilege('public', name, 'SELECT') AND NOT has_table_privilege('public', name, 'INSERT'))
  FROM (VALUES ('journal_row'), ('journal_line'), ('asked')) AS t (name);
