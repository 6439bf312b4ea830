-- A run that the version before starts, and appends to, with an array for each column.
--- before
INSERT INTO runbook_text (hash, name, source, first_seen) VALUES (encode(sha256('runbook: of 17'), 'hex'), 'rb', 'runbook: of 17', now());
--- after
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
SELECT id, 'rb', encode(sha256('runbook: of 17'), 'hex'), 'Run', '{}', 'ada', 'k' || n, 'running', 1, 1, 0, now(), now()
  FROM unnest('{00000000-0000-0000-0000-000000001701}'::uuid[], '{1701}'::int[]) AS w (id, n);
WITH mine AS (
    UPDATE run SET seq = w.last FROM unnest('{00000000-0000-0000-0000-000000001701}'::uuid[], '{1}'::bigint[]) AS w (run_id, last)
     WHERE run.id = w.run_id AND run.epoch = 1 AND run.seq = w.last - 1 RETURNING run.id, now() AS at, '{"kind": "asked"}'::json AS entry
)
INSERT INTO journal (run_id, seq, epoch, at, kind, entry, write_id, hash)
SELECT id, 1, 1, at, 'asked', entry, gen_random_uuid(), journal_link(journal_origin(id), 1, 1, at, entry) FROM mine;
--- holds
SELECT count(*) = 1 FROM run JOIN runbook_text t USING (hash) WHERE run.idem_key = 'k1701' AND run.seq = 1;
SELECT tx IS NOT NULL FROM journal WHERE run_id = '00000000-0000-0000-0000-000000001701';
SELECT w.seq = 7 FROM unnest(ARRAY[ROW(0, gen_random_uuid(), 1, 6, 7, 'running', NULL, NULL, now(), 0, '')]::append_run[]) AS w;
