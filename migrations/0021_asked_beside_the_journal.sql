-- What a step writes to keeps only the indexes that a step needs: the journals (see the migration before).
--
-- Expand: the version before finds the journal's rows where they were, as a view, and what it writes there comes into both
-- tables.

-- contract: the view of that name, below, answers as the table did, and takes what the version before writes.
ALTER TABLE journal_row RENAME TO journal_line;

-- What people asked of runs, as the search finds it. What they said stands in the journal, which the chain covers; here is
-- only where. Written by the statement that writes the entry.
CREATE TABLE asked (
    run_id uuid        NOT NULL,
    seq    bigint      NOT NULL,
    at     timestamptz NOT NULL,
    step   text,
    by     text        NOT NULL,
    words  tsvector    NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE FUNCTION asked_by(entry json) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT coalesce(entry -> 'by' ->> 'name', '') $$;
CREATE FUNCTION asked_words(entry json) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT json_to_tsvector('simple', entry, '["string"]')
$$;
INSERT INTO asked (run_id, seq, at, step, by, words)
SELECT run_id, seq, at, step, asked_by(entry), asked_words(entry) FROM journal_line WHERE kind = 'asked';
CREATE INDEX asked_newest ON asked (at, run_id, seq);
CREATE INDEX asked_by_person ON asked (by, at);
CREATE INDEX asked_of_step ON asked (step, at);
CREATE INDEX asked_with_words ON asked USING gin (words);
CREATE TRIGGER asked_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON asked FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
DROP INDEX journal_requested_by, journal_asked, journal_asked_by, journal_asked_of_step, journal_asked_words;

-- The entry that breaks the glass opens its review, as before, but where only such entries come by.
DROP TRIGGER review_broken_glass ON journal_line;
CREATE OR REPLACE FUNCTION review_broken_glass() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO review (run_id, step, opened_by, reason, opened_at)
    SELECT j.run_id, j.entry->'ask'->>'step', j.entry->'by'->>'name', j.entry->'ask'->>'reason', j.at
      FROM journal_line j
     WHERE j.run_id = NEW.run_id AND j.seq = NEW.seq AND j.entry->'ask'->>'ask' = 'break_glass' AND j.entry->>'refused' IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER review_broken_glass AFTER INSERT ON asked FOR EACH ROW EXECUTE FUNCTION review_broken_glass();

CREATE VIEW journal_row AS SELECT * FROM journal_line;
COMMENT ON VIEW journal_row IS 'journal_line, for the version before.';
CREATE FUNCTION journal_of_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx, carried, carried_at)
    VALUES (NEW.run_id, NEW.seq, NEW.epoch, NEW.at, NEW.kind, NEW.step, NEW.entry, NEW.write_id, NEW.hash,
            coalesce(NEW.tx, write_order()), NEW.carried, NEW.carried_at);
    IF NEW.kind = 'asked' THEN
        INSERT INTO asked (run_id, seq, at, step, by, words)
        VALUES (NEW.run_id, NEW.seq, NEW.at, NEW.step, asked_by(NEW.entry), asked_words(NEW.entry));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER journal_of_rows INSTEAD OF INSERT ON journal_row FOR EACH ROW EXECUTE FUNCTION journal_of_rows();
CREATE TRIGGER journal_rows_append_only INSTEAD OF UPDATE OR DELETE ON journal_row FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Whoever may read the rows may read what has taken their place; the application's role gets its rights below.
DO $$
DECLARE reader record;
BEGIN
    FOR reader IN SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name
                    FROM pg_class c, aclexplode(c.relacl) AS a WHERE c.oid = 'journal_line'::regclass AND a.privilege_type = 'SELECT' LOOP
        EXECUTE format('GRANT SELECT ON journal_row, asked TO %s', reader.name);
    END LOOP;
END $$;
SELECT grant_application();
ANALYZE asked;
