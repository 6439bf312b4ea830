-- Two incidents that the version before has opened, at the targets of one signal.
--- before
INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen, look_at, claim)
VALUES ('00000000-0000-7000-8000-000000002201', 'prober', 'logins_fail', 'of 22', 'firing', 'Logins fail.', '{}', now(), now(), now(),
        '00000000-0000-7000-8000-000000002202');
INSERT INTO incident (id, title, targets, opened_at) VALUES
    ('00000000-0000-7000-8000-000000002203', 'Older', '{fleet:of22}', now() - interval '1 hour'),
    ('00000000-0000-7000-8000-000000002204', 'Newer', '{cluster:of22}', now());
--- after
--- holds
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000002201", "claim": "00000000-0000-7000-8000-000000002202", "change": 0, "seen": 9223372036854775807, "at": "2024-05-07T14:42:00Z", "verdict": "started", "code": "started", "because": "It fits.", "considered": [], "targets": ["fleet:of22", "cluster:of22"], "title": "Replace", "incident": "00000000-0000-7000-8000-000000002205", "start_key": "of 22"}') = 'stale';
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000002201", "claim": "00000000-0000-7000-8000-000000002202", "change": 0, "seen": 9223372036854775807, "at": "2024-05-07T14:42:00Z", "verdict": "started", "code": "started", "because": "It fits.", "considered": [], "targets": ["fleet:of22", "cluster:of22"], "title": "Replace", "incident": "00000000-0000-7000-8000-000000002203", "start_key": "of 22"}') = 'stored';
