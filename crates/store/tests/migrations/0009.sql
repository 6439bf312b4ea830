-- The version before starts runs, and knows of no signal.
--- before
INSERT INTO worker (name, lease_until) VALUES ('before signals', now());
--- after
UPDATE worker SET lease_until = now() WHERE name = 'before signals';
INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen, look_at, claim)
VALUES ('00000000-0000-7000-8000-000000000091', 'prober', 'logins_fail', 'f', 'firing', 'Logins fail.', '{}', now(), now(), now(),
        '00000000-0000-7000-8000-000000000092');
--- holds
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000000091", "claim": "00000000-0000-7000-8000-000000000093", "change": 0}') = 'lost';
SELECT give_verdict('{"signal": "00000000-0000-7000-8000-000000000091", "claim": "00000000-0000-7000-8000-000000000092", "change": 0, "seen": 0, "at": "2024-05-07T14:42:00Z", "verdict": "started", "code": "started", "because": "It fits.", "considered": [], "targets": ["fleet:us"], "title": "Replace", "incident": "00000000-0000-7000-8000-000000000094", "start_key": "k"}') = 'stored';
SELECT count(*) = 1 FROM incident WHERE targets = '{fleet:us}' AND closed_at IS NULL;
SELECT verdict IS NOT NULL AND claim IS NULL AND incident IS NOT NULL FROM signal;
