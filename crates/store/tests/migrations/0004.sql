-- A run that holds a lock, and a switch that is on.
--- before
INSERT INTO kill_switch (scope, by, reason) VALUES ('another', 'ana', 'a test');
--- after
DELETE FROM lock WHERE target = 'cluster:b';
INSERT INTO lock (target, run_id, taken_at) VALUES ('cluster:c', '00000000-0000-7000-8000-000000000001', now());
--- holds
SELECT count(*) = 1 FROM kill_switch WHERE scope = 'another';
SELECT count(*) >= 1 FROM lock WHERE target = 'cluster:c';
