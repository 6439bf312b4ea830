-- What is waited for, and what is kept: two changes that belong to no table of their own.
--
-- Freezes and limits are asked for again when a run that had to wait may go: for people, in line, or with a plan that had become
-- another.
--
-- Expand only. Processes of the version before do not ask again; what they call goes on to answer as it did.

-- `spent`, without the uses of one run. Its own use is none of others.
CREATE FUNCTION spent(l jsonb, now timestamptz, own uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH uses AS (
        SELECT u.at, r.id, r.title, r.requested_by, r.ended_at
          FROM limit_use u JOIN run r ON r.id = u.run_id
         WHERE u.name = l->>'name' AND r.id IS DISTINCT FROM own AND coalesce(r.outcome NOT IN ('refused', 'expired'), true)
           AND CASE WHEN l ? 'cooldown_s'
                    THEN r.ended_at IS NULL OR r.ended_at > now - make_interval(secs => (l->>'cooldown_s')::float8)
                    ELSE u.at > now - make_interval(secs => (l->>'per_s')::float8) END
         ORDER BY u.at DESC, r.id DESC LIMIT coalesce((l->>'at_most')::int, 100)
    )
    SELECT l || jsonb_build_object(
               'brake', 'limit',
               'used', (SELECT jsonb_agg(jsonb_build_object('run_id', id, 'title', title, 'by', requested_by, 'at', at, 'ended_at', ended_at)
                                         ORDER BY at DESC, id DESC) FROM (SELECT * FROM uses LIMIT 5) AS newest),
               'free_at', CASE WHEN l ? 'cooldown_s'
                               THEN (SELECT CASE WHEN bool_and(ended_at IS NOT NULL)
                                                 THEN max(ended_at) + make_interval(secs => (l->>'cooldown_s')::float8) END FROM uses)
                               ELSE (SELECT min(at) + make_interval(secs => (l->>'per_s')::float8) FROM uses) END)
     WHERE (SELECT count(*) FROM uses) >= coalesce((l->>'at_most')::int, 1)
$$;
CREATE OR REPLACE FUNCTION spent(l jsonb, now timestamptz) RETURNS jsonb LANGUAGE sql STABLE AS $$ SELECT spent(l, now, NULL) $$;

-- The freezes and limits that hold back a run which has waited and may go now, in the form of `domain::brake::Brake`; none when it
-- may begin. `confirmed`: until when somebody has confirmed the freezes that were on; `acknowledged`: limits that somebody passes.
-- Volatile on purpose, as `admit` is. A run that is let through uses its limits up from now on, not from when it was asked for.
CREATE FUNCTION brakes_at_gate(run uuid, runbook text, limits jsonb, confirmed timestamptz, acknowledged text[], now timestamptz)
RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    limit_name text;
    held jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(brakes_key());
    FOR limit_name IN SELECT DISTINCT l->>'name' FROM jsonb_array_elements(limits) AS l ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(hashtextextended('limit ' || limit_name, 0));
    END LOOP;
    SELECT jsonb_agg(b) INTO held FROM (
        SELECT b FROM brakes(runbook, NULL, '{}', '[]', now) AS b LEFT JOIN freeze_window f ON f.id = (b->>'id')::uuid
         WHERE b->>'brake' = 'freeze' AND (f.starts <= confirmed AND f.at <= confirmed) IS NOT TRUE
        UNION ALL
        SELECT s.spent FROM jsonb_array_elements(limits) AS l(l) CROSS JOIN LATERAL (SELECT spent(l.l, now, run)) AS s
         WHERE s.spent IS NOT NULL AND l.l->>'name' <> ALL (acknowledged)
    ) AS asked;
    IF held IS NULL THEN
        INSERT INTO limit_use (name, run_id, at)
        SELECT DISTINCT l->>'name', run, now FROM jsonb_array_elements(limits) AS l
        ON CONFLICT (name, run_id) DO UPDATE SET at = excluded.at;
    END IF;
    RETURN coalesce(held, '[]');
END $$;

-- Deliveries are removed once they are old.
CREATE INDEX delivery_by_age ON delivery (at);
