-- People who are signed in, and a lock that is held.
--- before
INSERT INTO session (token_hash, person, csrf, created_at, expires_at) VALUES ('a', 'ana', 'c', now(), now() + interval '1 day');
INSERT INTO sign_in_link (token_hash, person, expires_at) VALUES ('b', 'ben', now() + interval '1 day');
INSERT INTO lock (target, run_id, taken_at) VALUES ('cluster:a', '00000000-0000-7000-8000-000000000001', now());
--- after
INSERT INTO session (token_hash, person, csrf, created_at, expires_at) VALUES ('c', 'ben', 'c', now(), now() + interval '1 day');
INSERT INTO sign_in_link (token_hash, person, expires_at) VALUES ('d', 'ben', now() + interval '1 day');
INSERT INTO lock (target, run_id, taken_at) VALUES ('cluster:b', '00000000-0000-7000-8000-000000000001', now());
--- holds
SELECT bool_and(role = 'responder') FROM session;
SELECT bool_and(role = 'responder') FROM sign_in_link;
SELECT count(*) = 2 FROM lock;
