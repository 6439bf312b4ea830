-- The version before goes on telling; what it puts has no thread.
--- before
SELECT tell('[{"channel": "ops", "key": "before 12", "message": {}, "incident": null}]', now());
--- after
SELECT tell('[{"channel": "ops", "key": "after 12", "message": {}, "incident": "00000000-0000-7000-8000-000000000103"}]', now());
UPDATE outbox SET state = 'sent', due = NULL WHERE key = 'before 12';
INSERT INTO slack_link (id, team, member, called, person, role, removed_at)
VALUES ('00000000-0000-7000-8000-000000000131', 'T1', 'U1', 'ada', 'ada of 12', 'admin', now()),
       ('00000000-0000-7000-8000-000000000132', 'T1', 'U1', 'ada', 'ada of 12', 'viewer', null);
--- holds
SELECT count(*) = 2 AND bool_and(thread IS NULL) FROM outbox WHERE key LIKE '% 12';
SELECT tell('[{"channel": "b", "key": "k", "message": {}, "incident": null, "thread": "00000000-0000-7000-8000-000000000131"}]', now()) = 1;
SELECT thread = '00000000-0000-7000-8000-000000000131' FROM outbox WHERE channel = 'b';
SELECT count(*) = 1 FROM slack_link WHERE person = 'ada of 12' AND removed_at IS NULL;
