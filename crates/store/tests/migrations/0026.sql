-- A message that was sent by the version before, and one that waits.
--- before
INSERT INTO outbox (id, channel, key, message, at, due, state)
VALUES ('00000000-0000-7000-8000-000000002601', 'of 26', 'first', '{}', now(), NULL, 'sent');
--- after
INSERT INTO outbox (id, channel, key, message, at, due, state)
VALUES ('00000000-0000-7000-8000-000000002602', 'of 26', 'second', '{}', now(), now(), 'waiting');
--- holds
SELECT count(*) = 2 FROM outbox WHERE channel = 'of 26';
