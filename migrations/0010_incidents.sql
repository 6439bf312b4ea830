-- Incidents become people's: a number to say aloud, a severity, a driver. Triggers get modes that people and failures set. And what
-- is to be told to people elsewhere waits in an outbox.
--
-- Expand only. The version before opens incidents as it did (the new columns have defaults), and judges by the modes of its own
-- files: until the last of its processes is gone, a mode that is set here binds the new ones alone.

ALTER TABLE incident
    ADD COLUMN number       bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN severity     text,                               -- sev1 to sev4; null until somebody has said
    ADD COLUMN opened_by    text NOT NULL DEFAULT 'triage',
    ADD COLUMN driver       text,                               -- who has it
    ADD COLUMN driver_since timestamptz,
    ADD COLUMN closed_by    text;                               -- null when it ended by itself
-- index: incidents are few.
CREATE UNIQUE INDEX incident_number ON incident (number);
-- index: of all, not of the open ones alone: a run's page asks which it was at work on.
CREATE INDEX incident_targets ON incident USING gin (targets);

-- What people say and do in an incident are rows of `audit` whose target is `incident:<id>`, so that they are bound and searched
-- like all other history.
-- index: a pass over the table that keeps few rows.
CREATE INDEX audit_of_incident ON audit (target, id) WHERE target LIKE 'incident:%';

-- The newest start, by the order in which verdicts were given.
-- index: a pass over the table that keeps few rows.
CREATE INDEX verdict_newest_start ON verdict (id) WHERE verdict = 'started';

-- In which mode a trigger is, where a person or its own failure has set it: the newest row of each. Only ever added to.
CREATE TABLE trigger_mode (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule   text        NOT NULL,                   -- runbook/trigger
    mode   text,                                   -- shadow, ask, auto; null: as configured
    by     text        NOT NULL,
    reason text        NOT NULL,
    at     timestamptz NOT NULL,
    run_id uuid UNIQUE REFERENCES run              -- the failure that it follows from; each run demotes once
);
CREATE INDEX trigger_mode_newest ON trigger_mode (rule, id DESC);
-- Modes are set in turn with verdicts: a verdict sees every mode before it. (Before the statement, so before its rows get their numbers.)
CREATE FUNCTION in_turn_with_verdicts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(triage_key());
    RETURN NULL;
END $$;
CREATE TRIGGER trigger_mode_in_turn BEFORE INSERT ON trigger_mode FOR EACH STATEMENT EXECUTE FUNCTION in_turn_with_verdicts();
CREATE TRIGGER trigger_mode_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trigger_mode FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is to be told, to each channel once. A row is written by the statement that makes it true, or worked out from history.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel    text        NOT NULL,                   -- its name in the configuration
    key        text        NOT NULL,                   -- what it tells: the same is told once
    message    jsonb       NOT NULL,                   -- domain::notice::Notice
    incident   uuid,                                   -- messages of one incident go in order, and into one thread
    at         timestamptz NOT NULL,
    state      text        NOT NULL DEFAULT 'waiting', -- waiting, sent, left_out, unclear, failed
    due        timestamptz,                            -- when to try (again); null: settled
    attempts   int         NOT NULL DEFAULT 0,
    receipt    jsonb,                                  -- where the channel has put it
    error      text,                                   -- why not, or not yet
    settled_at timestamptz,
    claim      uuid,                                   -- the right to send it (that nobody holds: it may have been sent),
    claimed_by bigint                                  -- and the worker that has it, while it lives
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX outbox_once ON outbox (channel, key);
CREATE INDEX outbox_due ON outbox (due) WHERE due IS NOT NULL;
CREATE INDEX outbox_of_incident ON outbox (incident, id) WHERE incident IS NOT NULL;
CREATE INDEX outbox_newest ON outbox (at DESC, id);

-- Puts what is to be told into the outbox: an array of `channel`, `key`, `message`, `incident`. How many are new.
CREATE FUNCTION tell(notices jsonb, now timestamptz) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    WITH put AS (
        INSERT INTO outbox (channel, key, message, incident, at, due)
        SELECT n->>'channel', n->>'key', n->'message', (n->>'incident')::uuid, now, now FROM jsonb_array_elements(notices) AS n
        ON CONFLICT (channel, key) DO NOTHING RETURNING 1
    )
    SELECT count(*) FROM put
$$;

-- A person opens an incident, unless one is open at any of its targets: the id of the one that is. In turn with verdicts, which open
-- incidents too.
CREATE FUNCTION open_incident(incident_id uuid, its_title text, its_targets text[], person text, now timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE there uuid;
BEGIN
    PERFORM pg_advisory_xact_lock(triage_key());
    SELECT id INTO there FROM incident WHERE closed_at IS NULL AND targets && its_targets ORDER BY opened_at LIMIT 1;
    IF there IS NULL THEN
        INSERT INTO incident (id, title, targets, opened_at, opened_by) VALUES (incident_id, its_title, its_targets, now, person);
        INSERT INTO audit (at, actor, action, target, details)
        VALUES (now, person, 'incident opened', 'incident:' || incident_id, jsonb_build_object('title', its_title, 'targets', its_targets));
    END IF;
    RETURN coalesce(there, incident_id);
END $$;

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
            OR EXISTS (SELECT FROM incident i WHERE i.closed_at IS NULL AND i.targets && target_names AND i.id <> (v->>'incident')::uuid)
            OR EXISTS (SELECT FROM incident i WHERE i.closed_at IS NOT NULL AND i.id = (v->>'incident')::uuid)
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
