-- A process of before rehearses nothing and is in nobody's way.
--- before
SELECT 1;
--- after
INSERT INTO readiness (runbook, target, begun) VALUES ('look', 'cluster:of 16', now());
--- holds
SELECT ready IS NULL AND unneeded = '{}' FROM readiness WHERE target = 'cluster:of 16';
