-- A step's result and what follows from it are one row.
--
-- They were written in one statement already, two rows of two hundred bytes, each with its place in the index. Now the row of
-- what follows (the next intent, nearly always) carries the result. Nothing about a journal changes: each entry keeps its
-- number, its exact text and its place in the chain. The row holds the link of the later entry; the other follows from the row before.
--
-- Expand only: processes of the version before find the journal entry by entry where it was, as a view that takes the rows
-- apart, and write to it as they did, by a trigger.

-- contract: the view of that name, below, answers as the table did.
ALTER TABLE journal RENAME TO journal_row;
ALTER TABLE journal_row
    ADD COLUMN carried json,           -- the entry before this one (`done`): the result that it follows from
    ADD COLUMN carried_at timestamptz;

-- Two parts, each of one table and without a condition of its own: such the planner takes apart, so that what is asked (a run,
-- `kind = 'asked'`) reaches the indexes, also from a join.
CREATE VIEW journal AS
SELECT * FROM (
    SELECT run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx FROM journal_row
    UNION ALL
    SELECT w.run_id, w.seq - 1, w.epoch, w.carried_at, 'done'::text, w.carried ->> 'step', w.carried, w.write_id,
           journal_link(coalesce((SELECT p.hash FROM journal_row p WHERE p.run_id = w.run_id AND p.seq = w.seq - 2),
                                 journal_origin(w.run_id)), w.seq - 1, w.epoch, w.carried_at, w.carried),
           w.tx
      FROM journal_row w) AS e
 WHERE entry IS NOT NULL;
COMMENT ON VIEW journal IS 'What each run did, entry by entry. journal_row has the rows as they are stored.';

-- Whoever may read the rows may read the view; the application's role gets its rights below.
DO $$
DECLARE reader record;
BEGIN
    FOR reader IN SELECT DISTINCT grantee FROM pg_class, aclexplode(relacl)
                   WHERE oid = 'journal_row'::regclass AND privilege_type = 'SELECT' LOOP
        EXECUTE format('GRANT SELECT ON journal TO %s', CASE reader.grantee WHEN 0 THEN 'PUBLIC' ELSE reader.grantee::regrole::text END);
    END LOOP;
END $$;

CREATE FUNCTION journal_of_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_row (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx)
    VALUES (NEW.run_id, NEW.seq, NEW.epoch, NEW.at, NEW.kind, NEW.step, NEW.entry, NEW.write_id, NEW.hash, coalesce(NEW.tx, write_order()));
    RETURN NEW;
END $$;
CREATE TRIGGER journal_of_entries INSTEAD OF INSERT ON journal FOR EACH ROW EXECUTE FUNCTION journal_of_entries();
CREATE TRIGGER journal_entries_append_only INSTEAD OF UPDATE OR DELETE ON journal FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- A row of a journal, as it is sent.
CREATE TYPE append_row AS (
    n int, run_id uuid, seq bigint, epoch bigint, at timestamptz, kind text, step text, entry json, write_id uuid, hash bytea,
    carried json, carried_at timestamptz);

-- As before, and views that stand where a table was: those that refuse changes as it did.
CREATE OR REPLACE FUNCTION grant_application() RETURNS boolean LANGUAGE plpgsql AS $$
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
        SELECT * FROM (
            SELECT c.relname, c.relkind,
                   EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgfoid = 'refuse_change'::regproc) AS append_only
              FROM pg_class c
             WHERE c.relnamespace = current_schema()::regnamespace AND pg_has_role(c.relowner, 'USAGE')) AS c
         WHERE c.relkind IN ('r', 'p') OR c.relkind = 'v' AND c.append_only
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
