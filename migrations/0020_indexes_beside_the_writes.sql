-- What a step writes to keeps only the indexes that a step needs: the runs.
--
-- A statement opens, locks and makes ready every index and trigger of each table that it writes to, also those that no row
-- of it will ever touch. Measured: what is found seldom and by people (lists of runs, who asked for what) took a fifth of
-- what a step of a run alone costs Postgres. That moves to two tables beside, which a step does not write to: of runs here,
-- of journals in the next migration. Apart, because statements of the version before lock the two in either order: whoever
-- holds one must not wait for the other.
--
-- Expand: what the version before writes comes into the new tables. While a deploy lasts, its lists of runs, its page of
-- incidents and its search of the audit find no index any more, and read whole tables: on a long history until they are
-- given up. Nothing that it does to a run asks for one of these.

-- At once, and not more of it later.
LOCK TABLE run IN ACCESS EXCLUSIVE MODE;

-- A run as lists find it: written when it is born, and never changed.
CREATE TABLE run_listed (
    id           uuid        NOT NULL,
    runbook      text        NOT NULL,
    requested_by text        NOT NULL,
    created_at   timestamptz NOT NULL
);
CREATE FUNCTION list_runs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO run_listed (id, runbook, requested_by, created_at) SELECT id, runbook, requested_by, created_at FROM born;
    RETURN NULL;
END $$;
CREATE TRIGGER list_runs AFTER INSERT ON run REFERENCING NEW TABLE AS born FOR EACH STATEMENT EXECUTE FUNCTION list_runs();
INSERT INTO run_listed (id, runbook, requested_by, created_at) SELECT id, runbook, requested_by, created_at FROM run;
-- Unique, so that no list shows a run twice.
CREATE UNIQUE INDEX run_listed_newest ON run_listed (created_at DESC, id);
CREATE INDEX run_listed_of_runbook ON run_listed (runbook, created_at DESC, id);
CREATE INDEX run_listed_of_person ON run_listed (requested_by, created_at DESC, id);
CREATE TRIGGER run_listed_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON run_listed FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
DROP INDEX run_newest, run_of_runbook;

-- Whoever may read the runs may read their list; the application's role gets its rights below.
DO $$
DECLARE reader record;
BEGIN
    FOR reader IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name
                    FROM pg_class c, aclexplode(c.relacl) AS a WHERE c.oid = 'run'::regclass AND a.privilege_type = 'SELECT' LOOP
        EXECUTE format('GRANT SELECT ON run_listed TO %s', reader.name);
    END LOOP;
END $$;
SELECT grant_application();
-- What is planned for the values asked for must not wait for the autovacuum to know them.
ANALYZE run_listed;
