-- An audit without a chain; journals and calls that no block knows.
--- before
INSERT INTO audit (at, actor, action, target, details) VALUES
    (now(), 'ana', 'signed in', 'ana', '{}'), (now(), 'ben', 'start refused: locked', 'Test', '{"why": "über", "n": 1.50}');
INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, status, duration_ms, mutating)
VALUES ('00000000-0000-7000-8000-000000000001', 's', 1, now(), 'rds', 'FailoverDBCluster', 'a', 'ok', 12, true);
--- after
INSERT INTO audit (at, actor, action, target, details) VALUES (now(), 'ana', 'signed out', 'ana', '{}'), (now(), 'ben', 'signed out', 'ben', '[]');
INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating)
VALUES ('00000000-0000-7000-8000-000000000001', 't', 1, now(), 'rds', 'DescribeDBClusters', 'a', 'req', 'ok', 12, false);
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
VALUES ('00000000-0000-7000-8000-000000000005', 'test', encode(sha256('steps: []'), 'hex'), 'Test', '{}', 'ana', 'k5', 'running', 1, 1, 3, now(), now());
INSERT INTO journal (run_id, seq, epoch, at, kind, step, entry, write_id)
SELECT '00000000-0000-7000-8000-000000000005', n, 1, now(), 'observed', 's', '{"kind":"observed","step":"s","output":null}', gen_random_uuid() FROM generate_series(1, 3) AS n;
--- holds
SELECT bool_and(hash = audit_link(previous, seq, at, actor, action, target, details)) FROM (
    SELECT *, coalesce(lag(hash) OVER (ORDER BY seq), audit_origin()) AS previous FROM audit) AS a;
SELECT max(seq) = count(*) FROM audit;
SELECT count(*) = 3 FROM journal WHERE tx IS NOT NULL;
SELECT count(*) = 1 FROM outside_call WHERE tx IS NOT NULL;
SELECT has_table_privilege('firebreak_app', 'journal', 'INSERT') AND NOT has_table_privilege('firebreak_app', 'journal', 'UPDATE');
