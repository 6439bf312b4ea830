-- A sample that the version before has added, and one that is added after.
--- before
INSERT INTO sample (series, subject, at, value) VALUES ('of 27', 'a', now() - interval '1 minute', 0.5);
--- after
INSERT INTO sample (series, subject, at, value) VALUES ('of 27', 'a', now(), 0.25);
--- holds
SELECT sum(value) = 0.75 FROM sample WHERE series = 'of 27';
