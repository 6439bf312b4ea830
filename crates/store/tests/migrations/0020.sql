-- A run of before, and one that the version before starts after: lists find both.
--- before
GRANT SELECT ON run TO PUBLIC;
INSERT INTO runbook_text (hash, name, source, first_seen) VALUES (encode(sha256('runbook: of 20'), 'hex'), 'rb20', 'runbook: of 20', now());
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
VALUES ('00000000-0000-0000-0000-000000002001', 'rb20', encode(sha256('runbook: of 20'), 'hex'), 'Run', '{}', 'ada', 'k2001', 'running', 1, 1, 1, now(), now());
INSERT INTO journal_row (run_id, seq, epoch, at, kind, entry, write_id, hash)
SELECT id, 1, 1, at, 'requested', '{"kind":"requested"}', gen_random_uuid(), journal_link(journal_origin(id), 1, 1, at, '{"kind":"requested"}')
  FROM (VALUES ('00000000-0000-0000-0000-000000002001'::uuid, '2024-05-07 14:00:00Z'::timestamptz)) AS run (id, at);
--- after
WITH created AS (
    INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
    SELECT id, 'rb20', encode(sha256('runbook: of 20'), 'hex'), 'Run', '{}', 'ben', key, 'running', 1, 1, 1, now(), now()
      FROM (VALUES ('00000000-0000-0000-0000-000000002002'::uuid, 'k2002'), ('00000000-0000-0000-0000-000000002003', 'k2001')) AS run (id, key)
    ON CONFLICT (idem_key) DO NOTHING RETURNING id
)
SELECT id FROM created;
INSERT INTO journal_row (run_id, seq, epoch, at, kind, entry, write_id, hash)
SELECT id, 1, 1, at, 'requested', '{"kind":"requested"}', gen_random_uuid(), journal_link(journal_origin(id), 1, 1, at, '{"kind":"requested"}')
  FROM (VALUES ('00000000-0000-0000-0000-000000002002'::uuid, '2024-05-07 14:00:00Z'::timestamptz)) AS run (id, at);
--- holds
SELECT string_agg(right(id::text, 4) || ' ' || requested_by, ', ' ORDER BY id) = '2001 ada, 2002 ben' FROM run_listed WHERE runbook = 'rb20';
SELECT (SELECT count(*) FROM run) = (SELECT count(*) FROM run_listed);
SELECT bool_and(l.created_at = r.created_at AND l.runbook = r.runbook) FROM run r JOIN run_listed l ON l.id = r.id;
SELECT has_table_privilege('firebreak_app', 'run_listed', 'INSERT') AND NOT has_table_privilege('firebreak_app', 'run_listed', 'DELETE');
SELECT has_table_privilege('public', 'run_listed', 'SELECT') AND NOT has_table_privilege('public', 'run_listed', 'INSERT');
