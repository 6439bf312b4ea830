-- A session of before goes on as one of a link, and so does one that the version before opens.
--- before
INSERT INTO session (token_hash, person, csrf, role, created_at, expires_at) VALUES ('\x13', 'ada of 13', 'c', 'admin', now(), now() + interval '1 hour');
--- after
INSERT INTO session (token_hash, person, csrf, role, created_at, expires_at) VALUES ('\x1313', 'bob of 13', 'c', 'viewer', now(), now() + interval '1 hour');
INSERT INTO person (name, role, via, account) VALUES ('ada of 13', NULL, 'provider', 'https://id.example.com 1');
--- holds
SELECT count(*) = 2 AND bool_and(via = 'link' AND groups = '{}' AND account IS NULL) FROM session WHERE person IN ('ada of 13', 'bob of 13');
SELECT role IS NULL AND groups = '{}' AND seen_at <= clock_timestamp() FROM person WHERE name = 'ada of 13';
