-- Two incidents that the version before has opened, and a name that it has let go of with what spoke by it; and another one, after.
--- before
INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen, look_at, claim)
VALUES ('00000000-0000-7000-8000-000000002201', 'prober', 'logins_fail', 'of 22', 'firing', 'Logins fail.', '{}', now(), now(), now(),
        '00000000-0000-7000-8000-000000002202');
INSERT INTO incident (id, title, targets, opened_at) VALUES
    ('00000000-0000-7000-8000-000000002203', 'Older', '{fleet:of22}', now() - interval '1 hour'),
    ('00000000-0000-7000-8000-000000002204', 'Newer', '{cluster:of22}', now());
INSERT INTO person (name, role, via, account) VALUES ('ada of 22', NULL, 'provider', NULL), ('bob of 22', 'viewer', 'link', 'https://id.example.com 22');
INSERT INTO token (id, hash, person, name, role, read_only, expires_at)
SELECT gen_random_uuid(), sha256(convert_to(person, 'UTF8')), person, 't', 'admin', false, now() + interval '1 day'
  FROM (VALUES ('ada of 22'), ('bob of 22'), ('eve of 22')) AS people (person);
--- after
INSERT INTO slack_link (id, team, member, called, person, role) VALUES (gen_random_uuid(), 'T22', 'U22', 'bob', 'bob of 22', 'viewer');
WITH bound AS (SELECT name, account FROM person WHERE name = 'bob of 22' AND account IS NOT NULL FOR UPDATE), freed AS (
    UPDATE person p SET account = NULL, role = NULL FROM bound b WHERE p.name = b.name
), gone AS (DELETE FROM session s USING bound b WHERE s.account = b.account), told AS (
    INSERT INTO audit (at, actor, action, target, details)
    SELECT now(), 'root', 'account let go', name, jsonb_build_object('account', account) FROM bound
)
SELECT count(*) FROM bound;
--- holds
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000002201", "claim": "00000000-0000-7000-8000-000000002202", "change": 0, "seen": 9223372036854775807, "at": "2024-05-07T14:42:00Z", "verdict": "started", "code": "started", "because": "It fits.", "considered": [], "targets": ["fleet:of22", "cluster:of22"], "title": "Replace", "incident": "00000000-0000-7000-8000-000000002205", "start_key": "of 22"}') = 'stale';
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000002201", "claim": "00000000-0000-7000-8000-000000002202", "change": 0, "seen": 9223372036854775807, "at": "2024-05-07T14:42:00Z", "verdict": "started", "code": "started", "because": "It fits.", "considered": [], "targets": ["fleet:of22", "cluster:of22"], "title": "Replace", "incident": "00000000-0000-7000-8000-000000002203", "start_key": "of 22"}') = 'stored';
SELECT bool_and(enter(s, 60, now())) FROM (VALUES ('ada of 22', 'a', '\x2201'), ('bob of 22', 'b', '\x2202'), ('eve of 22', 'e', '\x2203')) AS v (person, account, hash),
       jsonb_populate_record(NULL::session, jsonb_build_object('token_hash', hash, 'person', person, 'role', 'viewer', 'csrf', 'c',
                                                               'via', 'provider', 'groups', ARRAY[]::text[], 'account', account)) AS s;
SELECT string_agg(person, ', ' ORDER BY person) = 'ada of 22, bob of 22' FROM token WHERE person LIKE '% of 22' AND revoked_at IS NOT NULL;
SELECT count(*) = 1 AND bool_and(removed_at IS NOT NULL) FROM slack_link WHERE person = 'bob of 22';
SELECT count(*) = 2 FROM audit WHERE action = 'name taken';
