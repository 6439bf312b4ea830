-- A limit that was used by a run, and a freeze that is on: asked by the version before, they are as they were.
--- before
INSERT INTO limit_use (name, run_id, at) VALUES ('failover of z', '00000000-0000-7000-8000-000000000001', '2024-05-07 14:00:00Z');
INSERT INTO freeze_window (id, scope, starts, ends, reason, by, at)
VALUES ('00000000-0000-7000-8000-00000000f017', '*', '2024-05-07 14:00:00Z', '2024-05-07 16:00:00Z', 'a test', 'ana', '2024-05-07 13:00:00Z');
--- after
INSERT INTO limit_use (name, run_id, at) VALUES ('failover of y', '00000000-0000-7000-8000-000000000001', '2024-05-07 14:00:00Z');
--- holds
SELECT spent('{"name": "failover of z", "at_most": 1, "per_s": 3600}', '2024-05-07 14:30:00Z')->>'brake' = 'limit';
SELECT spent('{"name": "failover of z", "at_most": 1, "per_s": 3600}', '2024-05-07 14:30:00Z', '00000000-0000-7000-8000-000000000001') IS NULL;
SELECT count(*) = 1 FROM brakes('any', NULL, '{}', '[]', '2024-05-07 14:30:00Z') AS b WHERE b->>'brake' = 'freeze';
