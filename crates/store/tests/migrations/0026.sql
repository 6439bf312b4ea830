-- A message that was sent by the version before, and one that waits.
--- before
INSERT INTO outbox (channel, key, message, at, due, state)
VALUES ('of 26', 'first', '{}', now(), NULL, 'sent');
--- after
INSERT INTO outbox (channel, key, message, at, due, state)
VALUES ('of 26', 'second', '{}', now(), now(), 'waiting');
--- holds
SELECT count(*) = 2 FROM outbox WHERE channel = 'of 26';
