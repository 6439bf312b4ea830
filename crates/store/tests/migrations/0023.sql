-- Calls of the version before have no id, and are as many as it says.
--- before
INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, status, duration_ms, mutating)
VALUES ('00000000-0000-0000-0000-000000002301', 's', 1, '2024-05-07 14:00:00Z', 'rds', 'FailoverDBCluster', 'a', 'ok', 12, true);
--- after
INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, status, duration_ms, mutating)
VALUES ('00000000-0000-0000-0000-000000002301', 's', 1, '2024-05-07 14:00:00Z', 'rds', 'FailoverDBCluster', 'a', 'ok', 12, true),
       ('00000000-0000-0000-0000-000000002301', 's', 1, '2024-05-07 14:00:00Z', 'rds', 'FailoverDBCluster', 'a', 'ok', 12, true);
--- holds
SELECT count(*) = 3 AND bool_and(write_id IS NULL) FROM outside_call WHERE run_id = '00000000-0000-0000-0000-000000002301';
SELECT has_column_privilege('firebreak_app', 'outside_call', 'write_id', 'INSERT') AND NOT has_table_privilege('firebreak_app', 'outside_call', 'UPDATE');
