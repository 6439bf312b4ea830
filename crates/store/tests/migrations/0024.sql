-- What the version before has written is told on, whoever asks.
--- before
INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, started_at, first_seen, last_seen, resolved_at)
VALUES ('00000000-0000-7000-8000-000000002401', 'pagerduty', 'incident', 'P24', 'resolved', 'It was bad.', '{}', '2024-05-07 14:00:00Z',
        '2024-05-07 14:00:00Z', '2024-05-07 14:00:00Z', '2024-05-07 14:10:00Z'),
       ('00000000-0000-7000-8000-000000002402', 'alertmanager', 'a', 'f24', 'firing', 'It is bad.', '{}', '2024-05-07 14:00:00Z',
        '2024-05-07 14:00:00Z', '2024-05-07 14:00:00Z', NULL);
--- after
UPDATE signal SET count = count + 1, last_seen = '2024-05-07 14:20:00Z' WHERE fingerprint = 'f24' AND state = 'firing';
--- holds
SELECT id = '00000000-0000-7000-8000-000000002401' FROM told_by('pagerduty', 'P24', 'firing', '2024-05-07 14:00:00Z', '2024-05-07 20:00:00Z', '{}', '{}', '{pagerduty}');
SELECT count(*) = 0 FROM told_by('pagerduty', 'P24', 'firing', '2024-05-07 14:30:00Z', '2024-05-07 20:00:00Z', '{}', '{}', '{pagerduty}');
SELECT id = '00000000-0000-7000-8000-000000002402' AND state = 'firing' FROM told_by('alertmanager', 'f24', 'resolved', '2024-05-07 14:00:00Z', '2024-05-07 20:00:00Z', '{}', '{}', '{}');
SELECT has_function_privilege('firebreak_app', 'told_by(text, text, text, timestamptz, timestamptz, text[], text[], text[])', 'EXECUTE');
