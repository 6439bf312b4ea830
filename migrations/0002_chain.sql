-- The journal becomes a hash chain, and a switch that stops everything gets its row.
--
-- Expand only: processes of the version before go on writing while this is rolled out. They know no hash, so the database
-- works it out for them; a row that comes with one (every row of this version) costs nothing here.

-- The chain covers the exact text, which jsonb does not keep.
ALTER TABLE journal DISABLE TRIGGER journal_append_only;
ALTER TABLE journal ALTER COLUMN entry TYPE json USING entry::json;
ALTER TABLE journal ADD COLUMN hash bytea;

-- The reference to `run` cost a look-up and a row lock with each entry; a journal is written only by the statement that has
-- just updated its run.
ALTER TABLE journal DROP CONSTRAINT journal_run_id_fkey;

-- Must agree with `domain::audit::Link`, to the byte; a test compares them.
CREATE FUNCTION journal_link(previous bytea, seq bigint, epoch bigint, at timestamptz, entry json) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(previous || int8send(seq) || int8send(epoch) || int8send((extract(epoch FROM at) * 1000000)::bigint)
                  || convert_to(entry::text, 'UTF8'))
$$;
CREATE FUNCTION journal_origin(run_id uuid) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT sha256(uuid_send(run_id)) $$;

CREATE FUNCTION journal_hash_for_old_writers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE previous bytea;
BEGIN
    SELECT hash INTO previous FROM journal WHERE run_id = NEW.run_id AND seq = NEW.seq - 1;
    NEW.hash := journal_link(coalesce(previous, journal_origin(NEW.run_id)), NEW.seq, NEW.epoch, NEW.at, NEW.entry);
    RETURN NEW;
END $$;
CREATE TRIGGER journal_hash_for_old_writers BEFORE INSERT ON journal FOR EACH ROW WHEN (NEW.hash IS NULL)
    EXECUTE FUNCTION journal_hash_for_old_writers();

-- What was written before has its place in the chain too.
DO $$
DECLARE line record; previous bytea; run uuid;
BEGIN
    FOR line IN SELECT * FROM journal ORDER BY run_id, seq LOOP
        IF run IS DISTINCT FROM line.run_id THEN
            run := line.run_id;
            previous := journal_origin(run);
        END IF;
        previous := journal_link(previous, line.seq, line.epoch, line.at, line.entry);
        UPDATE journal SET hash = previous WHERE run_id = run AND seq = line.seq;
    END LOOP;
END $$;
ALTER TABLE journal ENABLE TRIGGER journal_append_only;

-- A row stops changes: of every run (scope `*`), or of one runbook's (scope is its name). The statement that commits an
-- intent looks here, so that a switch which cannot be read stops everything.
CREATE TABLE kill_switch (
    scope  text PRIMARY KEY,
    by     text        NOT NULL,
    reason text        NOT NULL,
    since  timestamptz NOT NULL DEFAULT clock_timestamp()
);
