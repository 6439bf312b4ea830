-- Journals without a chain, their entries as jsonb.
--- before
INSERT INTO runbook_text (hash, name, source, first_seen) VALUES (encode(sha256('steps: []'), 'hex'), 'test', 'steps: []', now());
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
VALUES ('00000000-0000-7000-8000-000000000001', 'test', encode(sha256('steps: []'), 'hex'), 'Test', '{}', 'ana', 'k1', 'running', 1, 1, 2, now(), now());
INSERT INTO journal (run_id, seq, epoch, at, kind, step, entry, write_id) VALUES
    ('00000000-0000-7000-8000-000000000001', 1, 1, now(), 'requested', NULL, '{"kind": "requested", "by": {"type": "person", "name": "ana"}}', gen_random_uuid()),
    ('00000000-0000-7000-8000-000000000001', 2, 1, now(), 'observed', 's', '{"kind": "observed", "step": "s", "output": {"ü": [1, 2.50]}}', gen_random_uuid());
--- after
WITH run AS (UPDATE run SET seq = 3 WHERE id = '00000000-0000-7000-8000-000000000001')
INSERT INTO journal (run_id, seq, epoch, at, kind, step, entry, write_id) VALUES
    ('00000000-0000-7000-8000-000000000001', 3, 1, now(), 'observed', 't', '{"kind": "observed", "step": "t", "output": null}'::jsonb::text::json, gen_random_uuid());
--- holds
SELECT bool_and(hash = journal_link(previous, seq, epoch, at, entry)) FROM (
    SELECT *, coalesce(lag(hash) OVER (PARTITION BY run_id ORDER BY seq), journal_origin(run_id)) AS previous FROM journal) AS j;
SELECT count(*) = 3 FROM journal;
