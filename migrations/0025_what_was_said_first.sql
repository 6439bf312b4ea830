-- What a signal said when it was first said. Its summary is what it said last: the timeline of an incident must not put numbers
-- of a later hour into the mouth of who spoke first.
--
-- Expand only: a trigger keeps it, so that processes of the version before do, too. Of signals that are there, what was said first
-- is not known any more.

ALTER TABLE signal ADD COLUMN said_first text; -- as `summary`, when the row was made

CREATE FUNCTION keep_what_was_said_first() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.said_first := NEW.summary;
    RETURN NEW;
END $$;

CREATE TRIGGER signal_said_first BEFORE INSERT ON signal FOR EACH ROW EXECUTE FUNCTION keep_what_was_said_first();
