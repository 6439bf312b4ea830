-- Behind a message that is refused again and again the others of its incident wait only while its channel takes nothing at all. That is
-- asked for each of them at each claim, and a channel that is down has thousands of them and nothing newer that was sent.

CREATE INDEX outbox_sent ON outbox (channel, id) WHERE state = 'sent';
