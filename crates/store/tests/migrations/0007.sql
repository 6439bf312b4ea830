-- Workers that know nothing of timelines.
--- before
INSERT INTO worker (name, lease_until) VALUES ('older', now());
--- after
INSERT INTO worker (name, lease_until) VALUES ('old', now());
UPDATE worker SET lease_until = now() WHERE name = 'older';
--- holds
SELECT count(*) = 2 FROM worker WHERE name IN ('older', 'old');
