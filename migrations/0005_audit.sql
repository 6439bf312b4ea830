-- The audit becomes provable: `audit` is a chain of its own, and blocks (`seal`) bind all that was written, so that a
-- missing journal, a missing end of one and a missing call show. What the application may do gets a role.
--
-- Expand only: the version before goes on writing; what it does not know has defaults, or a trigger works it out.

-- In which order transactions began to write. A default, so that no writer has to know of it; narrow, and found by BRIN,
-- which costs an insert next to nothing: the journal must stay as fast as it is.
--
-- The order rests on the server's transaction ids, which a dump does not carry over: `resume_write_order` (below) goes
-- on behind the old ones.
CREATE FUNCTION write_order() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT pg_current_xact_id()::text::bigint + 0 $$;
-- Everything that was written before this has been committed, or never will be.
CREATE FUNCTION write_horizon() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + 0 $$;

ALTER TABLE journal ADD COLUMN tx bigint;
ALTER TABLE journal ALTER COLUMN tx SET DEFAULT write_order();
ALTER TABLE outside_call ADD COLUMN tx bigint;
ALTER TABLE outside_call ALTER COLUMN tx SET DEFAULT write_order();
-- index: one pass over the table, no sort; what is written meanwhile waits for seconds, once.
CREATE INDEX journal_tx ON journal USING brin (tx) WITH (pages_per_range = 32, autosummarize = on);
-- index: the same.
CREATE INDEX outside_call_tx ON outside_call USING brin (tx) WITH (pages_per_range = 32, autosummarize = on);

-- What people asked of runs, among what machines did. One entry in a thousand: these indexes cost the others nothing.
-- index: each is a pass over the table that keeps few rows.
CREATE INDEX journal_asked ON journal (at, run_id, seq) WHERE kind = 'asked';
CREATE INDEX journal_asked_by ON journal ((entry -> 'by' ->> 'name'), at) WHERE kind = 'asked';
CREATE INDEX journal_asked_of_step ON journal (step, at) WHERE kind = 'asked';
CREATE INDEX journal_asked_words ON journal USING gin (json_to_tsvector('simple', entry, '["string"]')) WHERE kind = 'asked';
-- index: who asked for runs. It is the only one that each start pays for; when, `run_newest` knows.
CREATE INDEX journal_requested_by ON journal ((entry -> 'by' ->> 'name'), at) WHERE kind = 'requested';

-- index: a list of one runbook's runs; nothing in it ever changes, so updates of a run stay heap-only.
CREATE INDEX run_of_runbook ON run (runbook, created_at DESC, id);

-- `audit` is one chain, written by several processes and versions: the database chains it. Whoever adds a row waits for
-- whoever did just before; people do not click faster than that.
ALTER TABLE audit DISABLE TRIGGER audit_append_only;
ALTER TABLE audit ADD COLUMN seq bigint, ADD COLUMN hash bytea;

-- Must agree with `domain::audit::AuditRow::link`, to the byte; a test compares them.
CREATE FUNCTION audit_link(previous bytea, seq bigint, at timestamptz, actor text, action text, target text, details jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(previous || int8send(seq) || int8send((extract(epoch FROM at) * 1000000)::bigint)
                  || sha256(convert_to(actor, 'UTF8')) || sha256(convert_to(action, 'UTF8')) || sha256(convert_to(target, 'UTF8'))
                  || sha256(convert_to(details::text, 'UTF8')))
$$;
CREATE FUNCTION audit_origin() RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT sha256('audit') $$;

DO $$
DECLARE line record; n bigint := 0; previous bytea := audit_origin();
BEGIN
    FOR line IN SELECT * FROM audit ORDER BY id LOOP
        n := n + 1;
        previous := audit_link(previous, n, line.at, line.actor, line.action, line.target, line.details);
        UPDATE audit SET seq = n, hash = previous WHERE id = line.id;
    END LOOP;
END $$;
-- contract: nothing is lost; the trigger below fills both for every writer, also of the version before.
ALTER TABLE audit ALTER COLUMN seq SET NOT NULL, ALTER COLUMN hash SET NOT NULL;
-- index: rows are added by people's hands; it finds the end of the chain, and keeps it one chain.
CREATE UNIQUE INDEX audit_seq ON audit (seq);

CREATE FUNCTION audit_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE last record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('firebreak.audit'), 0);
    SELECT seq, hash INTO last FROM audit ORDER BY seq DESC LIMIT 1;
    NEW.seq := coalesce(last.seq, 0) + 1;
    NEW.hash := audit_link(coalesce(last.hash, audit_origin()), NEW.seq, NEW.at, NEW.actor, NEW.action, NEW.target, NEW.details);
    RETURN NEW;
END $$;
CREATE TRIGGER audit_chain BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_chain();
ALTER TABLE audit ENABLE TRIGGER audit_append_only;

-- index: rows are added by people's hands, and searched by them.
CREATE INDEX audit_newest ON audit (at, seq);
CREATE INDEX audit_of_actor ON audit (actor, at);
CREATE INDEX audit_of_action ON audit (action, at);
CREATE INDEX audit_of_target ON audit (target, at);
CREATE FUNCTION audit_words(actor text, action text, target text, details jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector('simple', actor || ' ' || action || ' ' || target) || jsonb_to_tsvector('simple', details, '["string", "numeric"]')
$$;
-- index: as above.
CREATE INDEX audit_words ON audit USING gin (audit_words(actor, action, target, details));

-- Blocks. Each binds what was committed since the one before: where each journal that moved now ends, where `audit`
-- stands, and every call to the outside. `domain::audit::Block` says what `hash` covers.
CREATE TABLE seal (
    n            bigint PRIMARY KEY,
    at           timestamptz NOT NULL, -- the database's clock
    upto         bigint      NOT NULL, -- covers what was written before this (`tx`), from the block before on
    audit_seq    bigint      NOT NULL,
    audit_link   bytea       NOT NULL,
    calls        bigint      NOT NULL,
    calls_root   bytea       NOT NULL,
    streams      bigint      NOT NULL,
    streams_root bytea       NOT NULL,
    hash         bytea       NOT NULL
);
CREATE TABLE seal_stream (
    block  bigint NOT NULL REFERENCES seal,
    run_id uuid   NOT NULL, -- names no row: it must outlive a run that somebody removes
    seq    bigint NOT NULL,
    link   bytea  NOT NULL,
    PRIMARY KEY (block, run_id)
);
CREATE INDEX seal_stream_of_run ON seal_stream (run_id, seq);
CREATE TRIGGER seal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER seal_stream_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seal_stream FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- After a restore from a dump (or a logical replica), the server's transaction ids may lie behind those of the rows.
-- `firebreak migrate` calls this; it does nothing where there is nothing to do.
CREATE FUNCTION resume_write_order() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE behind bigint; base bigint;
BEGIN
    SELECT upto - write_horizon() INTO behind FROM seal ORDER BY n DESC LIMIT 1;
    IF behind IS NULL OR behind <= 0 THEN
        RETURN 0;
    END IF;
    SELECT greatest((SELECT max(upto) FROM seal), (SELECT max(tx) FROM journal), (SELECT max(tx) FROM outside_call)) + 1
           - pg_snapshot_xmin(pg_current_snapshot())::text::bigint INTO base;
    EXECUTE format('CREATE OR REPLACE FUNCTION write_order() RETURNS bigint LANGUAGE sql VOLATILE AS '
        '$f$ SELECT pg_current_xact_id()::text::bigint + %s $f$', base);
    EXECUTE format('CREATE OR REPLACE FUNCTION write_horizon() RETURNS bigint LANGUAGE sql STABLE AS '
        '$f$ SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + %s $f$', base);
    RETURN base;
END $$;

-- The application's role: it may add to what is only ever added to, and nothing else there. Which tables those are, their
-- triggers say. `firebreak migrate` calls this after every migration, so that new tables are covered.
CREATE FUNCTION grant_application() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE t record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'firebreak_app') THEN
        BEGIN
            CREATE ROLE firebreak_app NOLOGIN;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE WARNING 'this user may not create the role firebreak_app: nothing in the database keeps the application from changing history but triggers'
                    USING HINT = 'let somebody who may run: CREATE ROLE firebreak_app NOLOGIN; and then `firebreak migrate` again';
                RETURN false;
            WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this server made it just now
        END;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO firebreak_app', current_schema());
    FOR t IN
        SELECT c.relname, EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgfoid = 'refuse_change'::regproc) AS append_only
          FROM pg_class c
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
           AND pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM firebreak_app', t.relname);
        EXECUTE format('GRANT %s ON %I TO firebreak_app',
            CASE WHEN t.relname = '_sqlx_migrations' THEN 'SELECT'
                 WHEN t.append_only THEN 'SELECT, INSERT'
                 ELSE 'SELECT, INSERT, UPDATE, DELETE' END, t.relname);
    END LOOP;
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO firebreak_app', current_schema());
    REVOKE ALL ON FUNCTION resume_write_order(), grant_application() FROM PUBLIC;
    RETURN true;
END $$;
SELECT grant_application();
