-- What every start and every entry paid for, asked once per statement instead of once per row, or not at all.
--
-- A trigger's WHEN and a foreign key are parsed or looked up anew by each statement or row: measured, they were a third of an
-- append of one run.

-- contract: every version since 0002 writes the hash itself; a row without one would be told by `audit verify`.
DROP TRIGGER journal_hash_for_old_writers ON journal;
DROP FUNCTION journal_hash_for_old_writers();

-- The entry that breaks the glass opens its review, as before; what is short to ask comes first.
CREATE OR REPLACE FUNCTION review_broken_glass() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.entry->'ask'->>'ask' = 'break_glass' AND NEW.entry->>'refused' IS NULL THEN
        INSERT INTO review (run_id, step, opened_by, reason, opened_at)
        VALUES (NEW.run_id, NEW.entry->'ask'->>'step', NEW.entry->'by'->>'name', NEW.entry->'ask'->>'reason', NEW.at);
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER review_broken_glass AFTER INSERT ON journal FOR EACH ROW WHEN (NEW.kind = 'asked')
    EXECUTE FUNCTION review_broken_glass();

-- No run takes a lock past one that stands in line before it, nor a target that a person of another name has taken. Asked
-- when the locks have been written, and before anybody sees them. Told as the conflict that a held lock is.
CREATE FUNCTION locks_taken() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE name text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(brakes_key());
    IF EXISTS (SELECT FROM queue) THEN
        SELECT t.target INTO name FROM taken t WHERE EXISTS (
            SELECT FROM queue q JOIN run r ON r.id = q.run_id AND r.state = 'queued'
             WHERE q.target = t.target AND q.run_id <> t.run_id
               AND q.n < coalesce((SELECT mine.n FROM queue mine WHERE mine.run_id = t.run_id AND mine.target = t.target), 9223372036854775807))
         LIMIT 1;
        IF name IS NOT NULL THEN
            RAISE unique_violation USING CONSTRAINT = 'lock_pkey', MESSAGE = format('others stand in line for the lock %s', name);
        END IF;
    END IF;
    IF EXISTS (SELECT FROM hand_lock) THEN
        SELECT t.target INTO name
          FROM taken t JOIN hand_lock h ON h.target = t.target JOIN run r ON r.id = t.run_id
         WHERE h.holder <> r.requested_by AND (h.until IS NULL OR h.until > t.taken_at)
         LIMIT 1;
        IF name IS NOT NULL THEN
            RAISE unique_violation USING CONSTRAINT = 'lock_pkey', MESSAGE = format('a person has taken %s by hand', name);
        END IF;
    END IF;
    RETURN NULL;
END $$;
-- contract: the new trigger asks the same of every version's statements.
DROP TRIGGER lock_in_turn ON lock;
DROP TRIGGER lock_not_in_hand ON lock;
DROP FUNCTION lock_in_turn(), lock_not_in_hand();
CREATE TRIGGER locks_taken AFTER INSERT ON lock REFERENCING NEW TABLE AS taken FOR EACH STATEMENT EXECUTE FUNCTION locks_taken();

-- contract: a lock is written only by the statement that writes its run or has just found it, and no row of `run` or
-- `worker` is ever removed (`audit verify` tells a removed run).
ALTER TABLE lock DROP CONSTRAINT lock_run_id_fkey;
ALTER TABLE run DROP CONSTRAINT run_owner_fkey;
-- contract: a run is written together with its first intent, and what was looked at for that may be kept a moment earlier.
ALTER TABLE outside_call DROP CONSTRAINT outside_call_run_id_fkey;

-- Is there nothing that could hold a start back, but limits? One answer does for all starts in a statement. Volatile on
-- purpose, as `admit` is: it sees what was committed when it has the key.
CREATE FUNCTION brakes_are_off(now timestamptz) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(brakes_key());
    RETURN NOT EXISTS (SELECT FROM kill_switch) AND NOT EXISTS (SELECT FROM hand_lock)
        AND NOT EXISTS (SELECT FROM freeze_window f WHERE f.ends > now);
END $$;
