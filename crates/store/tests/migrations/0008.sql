-- Locks that were taken, by a run and by a person, before it; and what the version before writes after it.
--- before
INSERT INTO worker (name, lease_until) VALUES ('before 8', now());
INSERT INTO runbook_text (hash, name, source, first_seen) VALUES (encode(sha256('runbook: rb'), 'hex'), 'rb', 'runbook: rb', now());
INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
SELECT '00000000-0000-0000-0000-000000000801', 'rb', encode(sha256('runbook: rb'), 'hex'), 'Run', '{}', 'ada', 'k801', 'running', max(id), 1, 1, now(), now() FROM worker;
INSERT INTO lock (target, run_id, taken_at) VALUES ('thing of 8', '00000000-0000-0000-0000-000000000801', now());
INSERT INTO hand_lock (target, holder, reason, since) VALUES ('hand of 8', 'bob', 'looks', now());
--- after
INSERT INTO lock (target, run_id, taken_at) VALUES ('other of 8', '00000000-0000-0000-0000-000000000801', now());
DO $$
BEGIN
    INSERT INTO lock (target, run_id, taken_at) VALUES ('hand of 8', '00000000-0000-0000-0000-000000000801', now());
EXCEPTION WHEN unique_violation THEN NULL;
END $$;
WITH RECURSIVE asked (n, entry) AS (
    VALUES (1, '{"kind": "asked", "ask": {"ask": "break_glass", "reason": "it burns"}, "by": {"name": "ada"}}'::json),
           (2, '{"kind": "asked", "ask": {"ask": "pause"}, "by": {"name": "ada"}}')
), chain AS (
    SELECT 0 AS n, now() AS at, journal_origin('00000000-0000-0000-0000-000000000801') AS link, NULL::json AS entry
    UNION ALL
    SELECT asked.n, at, journal_link(link, asked.n, 1, at, asked.entry), asked.entry FROM chain JOIN asked ON asked.n = chain.n + 1
)
INSERT INTO journal (run_id, seq, epoch, at, kind, entry, write_id, hash)
SELECT '00000000-0000-0000-0000-000000000801', n, 1, at, 'asked', entry, gen_random_uuid(), link FROM chain WHERE n > 0;
UPDATE run SET seq = 2 WHERE id = '00000000-0000-0000-0000-000000000801';
--- holds
SELECT array_agg(target ORDER BY target) = ARRAY['other of 8', 'thing of 8'] FROM lock WHERE target LIKE '% of 8';
SELECT count(*) = 1 FROM review WHERE run_id = '00000000-0000-0000-0000-000000000801' AND reason = 'it burns';
SELECT brakes_are_off(now()) = NOT EXISTS (SELECT FROM hand_lock);
