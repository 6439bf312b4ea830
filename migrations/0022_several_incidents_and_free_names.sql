-- A verdict belongs to an incident that is open, also where a second one is open at another of its targets: until now none was stored for
-- as long as both were.
--
-- Expand only: functions that the version before calls answer as before.

-- Stores a verdict, with its incident and what is told of it, if what it rests on still holds. What became of it:
--   `stored`  it is in force now;
--   `same`    the one in force says the same;
--   `stale`   another verdict, another incident or another mode has come between: judge anew;
--   `lost`    the signal has changed, or somebody else looks at it: let it be.
CREATE OR REPLACE FUNCTION give_verdict(v jsonb) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    s signal;
    now_in_force verdict;
    due timestamptz := (v->>'look_at')::timestamptz;
    target_names text[] := ARRAY(SELECT jsonb_array_elements_text(v->'targets'));
    given bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(triage_key());
    SELECT * INTO s FROM signal WHERE id = (v->>'signal')::uuid FOR UPDATE;
    IF s.claim IS DISTINCT FROM (v->>'claim')::uuid THEN
        RETURN 'lost';
    ELSIF s.change <> (v->>'change')::bigint THEN
        UPDATE signal SET claim = NULL, claimed_by = NULL WHERE id = s.id;
        RETURN 'lost';
    END IF;
    IF v->>'verdict' IN ('suggested', 'asked', 'started') THEN
        IF EXISTS (SELECT FROM verdict o WHERE o.verdict = 'started' AND o.id > (v->>'seen')::bigint)
            -- It is not open (any more), and either it was, or another one is where it would be. Beside one that is open there may be others:
            -- one at the fleet, say, and one at the cluster.
            OR NOT EXISTS (SELECT FROM incident i WHERE i.closed_at IS NULL AND i.id = (v->>'incident')::uuid)
                AND EXISTS (SELECT FROM incident i WHERE i.id = (v->>'incident')::uuid OR i.closed_at IS NULL AND i.targets && target_names)
            -- The version before does not say which modes it has seen.
            OR v ? 'modes_seen' AND EXISTS (SELECT FROM trigger_mode m WHERE m.id > (v->>'modes_seen')::bigint)
        THEN
            RETURN 'stale';
        END IF;
        INSERT INTO incident (id, title, targets, opened_at)
        VALUES ((v->>'incident')::uuid, v->>'title', target_names, (v->>'at')::timestamptz)
        ON CONFLICT (id) DO NOTHING;
    END IF;
    SELECT * INTO now_in_force FROM verdict WHERE id = s.verdict;
    IF now_in_force.id IS NOT NULL
        AND (now_in_force.verdict, now_in_force.code) = (v->>'verdict', v->>'code')
        AND now_in_force.rule IS NOT DISTINCT FROM v->>'rule'
        AND now_in_force.run_id IS NOT DISTINCT FROM (v->>'run_id')::uuid
        AND now_in_force.start_key IS NOT DISTINCT FROM v->>'start_key'
        AND now_in_force.plan->>'hash' IS NOT DISTINCT FROM v->'plan'->>'hash'
    THEN
        UPDATE signal SET look_at = due, claim = NULL, claimed_by = NULL WHERE id = s.id;
        RETURN 'same';
    END IF;
    INSERT INTO verdict (signal, at, verdict, code, because, rule, considered, incident, start_key, run_id, runbook, inputs, targets, plan)
    VALUES (s.id, (v->>'at')::timestamptz, v->>'verdict', v->>'code', v->>'because', v->>'rule', v->'considered',
            (v->>'incident')::uuid, v->>'start_key', (v->>'run_id')::uuid, v->>'runbook', nullif(v->'inputs', 'null'), target_names,
            nullif(v->'plan', 'null'))
    RETURNING id INTO given;
    PERFORM tell(coalesce(v->'notices', '[]'), (v->>'at')::timestamptz);
    UPDATE signal SET verdict = given, incident = coalesce((v->>'incident')::uuid, incident), look_at = due, claim = NULL, claimed_by = NULL
     WHERE id = s.id;
    RETURN 'stored';
END $$;
