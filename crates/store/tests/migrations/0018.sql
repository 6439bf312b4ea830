-- A run that the version before has written, and goes on to append to.
--- before
INSERT INTO runbook_text (hash, name, source, first_seen) VALUES (encode(sha256('runbook: of 18'), 'hex'), 'rb', 'runbook: of 18', now());
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
VALUES ('00000000-0000-0000-0000-000000001801', 'rb', encode(sha256('runbook: of 18'), 'hex'), 'Run', '{}', 'ada', 'k1801', 'running', 1, 1, 1, now(), now());
INSERT INTO journal (run_id, seq, epoch, at, kind, entry, write_id, hash)
SELECT id, 1, 1, at, 'asked', '{"kind": "asked"}', gen_random_uuid(), journal_link(journal_origin(id), 1, 1, at, '{"kind": "asked"}')
  FROM (VALUES ('00000000-0000-0000-0000-000000001801'::uuid, '2024-05-07 14:00:00Z'::timestamptz)) AS run (id, at);
--- after
WITH mine AS (
    UPDATE run SET seq = w.seq, state = w.state, updated_at = w.at
      FROM unnest(ARRAY[ROW(0, '00000000-0000-0000-0000-000000001801', 1, 1, 2, 'paused', NULL, NULL, '2024-05-07 14:01:00Z', 0, '')]::append_run[]) AS w
     WHERE run.id = w.run_id AND run.owner = 1 AND run.epoch = w.epoch AND run.seq = w.before RETURNING run.id, w.at
)
INSERT INTO journal (run_id, seq, epoch, at, kind, entry, write_id, hash, tx)
SELECT j.run_id, 2, 1, mine.at, 'asked', j.entry, gen_random_uuid(), journal_link(j.hash, 2, 1, mine.at, j.entry), write_order()
  FROM mine JOIN journal j ON j.run_id = mine.id AND j.seq = 1;
--- holds
SELECT seq = 2 AND state = 'paused' FROM run WHERE idem_key = 'k1801';
SELECT count(*) = 2 FROM journal WHERE run_id = '00000000-0000-0000-0000-000000001801';
SELECT 'fillfactor=35' = ANY (reloptions) FROM pg_class WHERE relname = 'run';
