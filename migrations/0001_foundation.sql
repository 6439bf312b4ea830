-- The foundation: who drives which run, what each run did, and who may sign in.
--
-- `journal`, `outside_call` and `audit` are only ever added to; a trigger refuses everything else. All other tables are
-- projections and working state.

-- One row per process incarnation, never reused: a process that restarts is somebody else.
CREATE TABLE worker (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text        NOT NULL,
    lease_until timestamptz NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Every text ever run, by its hash. A run is pinned to one of these, never to a file.
CREATE TABLE runbook_text (
    hash       text PRIMARY KEY,
    name       text        NOT NULL,
    source     text        NOT NULL,
    first_seen timestamptz NOT NULL
);

CREATE TABLE run (
    id           uuid PRIMARY KEY,
    runbook      text        NOT NULL,
    hash         text        NOT NULL REFERENCES runbook_text,
    title        text        NOT NULL,
    inputs       jsonb       NOT NULL,
    plan         jsonb,                       -- what the person saw before the start, if they looked
    requested_by text        NOT NULL,
    idem_key     text        NOT NULL UNIQUE, -- a double click lands on the same run
    state        text        NOT NULL,        -- State::word() after the last entry
    outcome      text,                        -- set when it has ended
    message      text,
    owner        bigint REFERENCES worker,    -- the worker incarnation that drives it
    epoch        bigint      NOT NULL,        -- grows with every claim; every write of a worker carries it
    seq          bigint      NOT NULL,        -- number of the last journal entry
    inbox        bigint      NOT NULL DEFAULT 0, -- the last row of the inbox that the journal has answered
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    ended_at     timestamptz
) WITH (fillfactor = 60);
CREATE INDEX run_open ON run (owner) WHERE ended_at IS NULL;
CREATE INDEX run_newest ON run (created_at DESC, id);

CREATE TABLE journal (
    run_id uuid        NOT NULL REFERENCES run,
    seq    bigint      NOT NULL,
    epoch  bigint      NOT NULL,
    at     timestamptz NOT NULL,
    kind   text        NOT NULL,
    step   text,
    entry  jsonb       NOT NULL,
    write_id uuid      NOT NULL, -- one per append: tells a lost acknowledgement from a lost lease
    PRIMARY KEY (run_id, seq)
);

-- What people ask of a run. Insert-only, idempotent by id; the owner folds it into the journal in order of `n`.
CREATE TABLE inbox (
    n      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id     uuid        NOT NULL UNIQUE,
    run_id uuid        NOT NULL REFERENCES run,
    by     jsonb       NOT NULL,
    ask    jsonb       NOT NULL,
    at     timestamptz NOT NULL
);
CREATE INDEX inbox_of_run ON inbox (run_id, n);

-- A lock names a target and is held until its run has ended for good.
CREATE TABLE lock (
    target   text PRIMARY KEY,
    run_id   uuid        NOT NULL REFERENCES run,
    taken_at timestamptz NOT NULL
);
CREATE INDEX lock_of_run ON lock (run_id);

-- Every call to the outside that a run made, for the page and for joining with CloudTrail.
CREATE TABLE outside_call (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      uuid        NOT NULL REFERENCES run,
    step        text        NOT NULL,
    attempt     int         NOT NULL,
    at          timestamptz NOT NULL,
    service     text        NOT NULL,
    operation   text        NOT NULL,
    target      text        NOT NULL,
    request_id  text,
    status      text        NOT NULL,
    duration_ms bigint      NOT NULL,
    mutating    boolean     NOT NULL
);
CREATE INDEX outside_call_of_run ON outside_call (run_id, id);

-- Everything else that somebody did: sign-ins, refused starts, reloads.
CREATE TABLE audit (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL,
    actor   text        NOT NULL,
    action  text        NOT NULL,
    target  text        NOT NULL,
    details jsonb       NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING HINT = 'what happened cannot be changed; add what happened since';
END $$;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER outside_call_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outside_call FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What the prober saw last, per fleet: the login matrix, and the group as it was then.
CREATE TABLE fleet_view (
    fleet  text PRIMARY KEY,
    at     timestamptz NOT NULL,
    grp    jsonb,      -- the Auto Scaling group, or null when it could not be read
    matrix jsonb,      -- the login matrix, or null
    error  text        -- why not, in a sentence
);

-- A number over time: the customers' error share, the share of failing probes. Kept short; not an archive.
CREATE TABLE sample (
    series  text             NOT NULL, -- `error_share`, `login_failures`
    subject text             NOT NULL, -- a cluster's id
    at      timestamptz      NOT NULL,
    value   double precision NOT NULL,
    PRIMARY KEY (series, subject, at)
);

-- A sign-in link works once; sessions are kept as hashes, so that a copy of the database signs nobody in.
CREATE TABLE sign_in_link (
    token_hash bytea PRIMARY KEY,
    person     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE TABLE session (
    token_hash bytea PRIMARY KEY,
    person     text        NOT NULL,
    csrf       text        NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
