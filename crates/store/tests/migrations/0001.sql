-- The first: there was nothing before it.
--- before
--- after
INSERT INTO worker (name, lease_until) VALUES ('before', now());
--- holds
SELECT count(*) = 1 FROM worker;
