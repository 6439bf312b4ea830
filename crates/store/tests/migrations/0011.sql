-- A session of before goes on, and the version before goes on signing people in.
--- before
INSERT INTO session (token_hash, person, csrf, role, created_at, expires_at) VALUES ('\x12', 'ada of 12', 'c', 'admin', now(), now() + interval '1 hour');
--- after
INSERT INTO session (token_hash, person, csrf, created_at, expires_at) VALUES ('\x1212', 'bob of 12', 'c', now(), now() + interval '1 hour');
DELETE FROM session WHERE token_hash = '\x1212';
INSERT INTO token (id, hash, person, name, role, read_only, expires_at, revoked_at)
VALUES ('00000000-0000-7000-8000-000000000121', '\x01', 'ada of 12', 'ci', 'responder', false, now(), now()),
       ('00000000-0000-7000-8000-000000000122', '\x02', 'ada of 12', 'ci', 'responder', false, now(), null);
--- holds
SELECT used_at IS NULL AND coalesce(used_at, created_at) <= now() FROM session WHERE person = 'ada of 12';
SELECT count(*) = 2 FROM token WHERE person = 'ada of 12' AND name = 'ci';
