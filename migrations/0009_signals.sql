-- Signals: what machines say is wrong, what became of it, and the incidents that they belong to.
--
-- Expand only: processes of the version before know none of this, and start nothing by themselves.

-- The same trouble may be said by several sources, about several targets, for hours: an incident holds it together, and the same
-- runbook is done on the same targets at most once for it.
CREATE TABLE incident (
    id        uuid PRIMARY KEY,
    title     text        NOT NULL,
    targets   text[]      NOT NULL, -- lock names, as runbooks write them
    opened_at timestamptz NOT NULL,
    closed_at timestamptz           -- null while it is open
);
CREATE INDEX incident_open ON incident USING gin (targets) WHERE closed_at IS NULL;
CREATE INDEX incident_newest ON incident (opened_at DESC, id);

CREATE TABLE signal (
    id            uuid PRIMARY KEY,
    source        text        NOT NULL,
    kind          text        NOT NULL,
    fingerprint   text        NOT NULL,           -- the same trouble has the same, within its source
    state         text        NOT NULL,           -- firing, resolved, unclear
    severity      text,
    summary       text        NOT NULL,
    labels        jsonb       NOT NULL,
    started_at    timestamptz,                    -- by the source's clock, where it tells
    first_seen    timestamptz NOT NULL,
    last_seen     timestamptz NOT NULL,
    resolved_at   timestamptz,
    count         bigint      NOT NULL DEFAULT 1, -- how often it was said
    body          text,                           -- as it was received last
    change        bigint      NOT NULL DEFAULT 0, -- grows when what it says changes: a verdict on what it said before is no verdict
    incident      uuid REFERENCES incident,
    verdict       bigint,                         -- the one that is in force
    look_at       timestamptz,                    -- when triage must look (again); null: not at all
    claim         uuid,                           -- the right to judge it,
    claimed_by    bigint                          -- and the worker that has it, while it lives
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX signal_firing ON signal (source, fingerprint) WHERE state = 'firing';
CREATE INDEX signal_said_before ON signal (source, fingerprint, first_seen DESC);
CREATE INDEX signal_due ON signal (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX signal_newest ON signal (first_seen DESC, id);
CREATE INDEX signal_of_incident ON signal (incident) WHERE incident IS NOT NULL;

-- What a source has delivered, by its own id for the delivery: the same again is not said again.
CREATE TABLE delivery (
    source text        NOT NULL,
    id     text        NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (source, id)
);

-- What became of a signal, each time that it changed. Only ever added to.
CREATE TABLE verdict (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal     uuid        NOT NULL REFERENCES signal,
    at         timestamptz NOT NULL,
    verdict    text        NOT NULL, -- ignored, joined, suppressed, suggested, asked, started
    code       text        NOT NULL, -- why, in a word
    because    text        NOT NULL, -- why, in a sentence
    rule       text,                 -- runbook/trigger
    considered jsonb       NOT NULL, -- every rule that takes the signal, and how things stood for it
    incident   uuid,
    start_key  text,                 -- of an asked or started one: the run of this key is its run, whoever starts it
    run_id     uuid,                 -- the run that it names
    runbook    text,
    inputs     jsonb,
    targets    text[],
    plan       jsonb                 -- the evidence
);
CREATE INDEX verdict_of_signal ON verdict (signal, id);
CREATE INDEX verdict_of_run ON verdict (start_key) WHERE start_key IS NOT NULL;
CREATE INDEX verdict_starts ON verdict (at) WHERE verdict = 'started';
CREATE TRIGGER verdict_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON verdict FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Verdicts are given one after the other, whoever gives them.
CREATE FUNCTION triage_key() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 2241967810553349 $$;

-- Stores a verdict, with its incident, if what it rests on still holds. What became of it:
--   `stored`  it is in force now;
--   `same`    the one in force says the same;
--   `stale`   another verdict, or another incident, has come between: judge anew;
--   `lost`    the signal has changed, or somebody else looks at it: let it be.
CREATE FUNCTION give_verdict(v jsonb) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
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
    UPDATE signal SET verdict = given, incident = coalesce((v->>'incident')::uuid, incident), look_at = due, claim = NULL, claimed_by = NULL
     WHERE id = s.id;
    RETURN 'stored';
END $$;
