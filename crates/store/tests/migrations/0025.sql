-- A signal that the version before has said, and one that it says after; both are said again in other words.
--- before
INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen)
VALUES ('00000000-0000-7000-8000-000000002501', 'prober', 'logins_fail', 'of 25', 'firing', '5 of 6 hosts', '{}', now(), now());
--- after
INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen)
VALUES ('00000000-0000-7000-8000-000000002502', 'prober', 'logins_fail', 'of 25 too', 'firing', '5 of 6 hosts', '{}', now(), now());
UPDATE signal SET summary = '2 of 9 hosts' WHERE fingerprint LIKE 'of 25%';
--- holds
SELECT bool_and(said_first IS NOT DISTINCT FROM CASE fingerprint WHEN 'of 25 too' THEN '5 of 6 hosts' END) FROM signal WHERE fingerprint LIKE 'of 25%';
