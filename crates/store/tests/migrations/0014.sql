-- The version before goes on without knowing of drills.
--- before
--- after
INSERT INTO drill (id, name, title, player, by, started_at) VALUES ('00000000-0000-7000-8000-000000000141', 'd', 'D', 'people', 'ada', now());
--- holds
SELECT count(*) = 1 AND bool_and(ended_at IS NULL AND score IS NULL) FROM drill;
