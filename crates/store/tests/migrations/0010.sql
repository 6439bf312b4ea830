-- The version before opens an incident by a verdict, and says nothing of modes.
--- before
INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen, look_at, claim)
VALUES ('00000000-0000-7000-8000-000000000101', 'prober', 'logins_fail', 'before', 'firing', 'Logins fail.', '{}', now(), now(), now(),
        '00000000-0000-7000-8000-000000000102');
INSERT INTO incident (id, title, targets, opened_at) VALUES ('00000000-0000-7000-8000-000000000103', 'Old', '{fleet:old}', now());
--- after
INSERT INTO incident (id, title, targets, opened_at) VALUES ('00000000-0000-7000-8000-000000000105', 'Newer', '{fleet:newer}', now());
INSERT INTO trigger_mode (rule, mode, by, reason, at) VALUES ('replace/logins-fail', 'ask', 'ada', 'a quiet week first', now());
--- holds
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000000101", "claim": "00000000-0000-7000-8000-000000000102", "change": 0, "seen": 9223372036854775807, "at": "2024-05-07T14:42:00Z", "verdict": "started", "code": "started", "because": "It fits.", "considered": [], "targets": ["fleet:eu"], "title": "Replace", "incident": "00000000-0000-7000-8000-000000000104", "start_key": "before", "modes_seen": 0}') = 'stale';
SELECT NOT EXISTS (SELECT FROM outbox);
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000000101", "claim": "00000000-0000-7000-8000-000000000102", "change": 0, "seen": 9223372036854775807, "at": "2024-05-07T14:42:00Z", "verdict": "started", "code": "started", "because": "It fits.", "considered": [], "targets": ["fleet:eu"], "title": "Replace", "incident": "00000000-0000-7000-8000-000000000104", "start_key": "before"}') = 'stored';
SELECT count(*) = count(DISTINCT number) AND bool_and(opened_by = 'triage') FROM incident;
SELECT tell('[{"channel": "ops", "key": "k", "message": {}, "incident": null}, {"channel": "ops", "key": "k", "message": {}, "incident": null}]', now()) = 1;
SELECT count(*) = 1 AND bool_and(state = 'waiting' AND due IS NOT NULL) FROM outbox;
