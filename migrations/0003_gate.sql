-- What happens between "somebody asks" and the first step: roles, a line for locks, and reviews of broken glass.
--
-- Expand only: processes of the version before go on writing while this is rolled out. What they sign in is a responder,
-- which is what everybody was; what they start takes its locks in its turn, because the database sees to it; and a run that
-- waits at a gate has an entry that they cannot read, so they never begin it.

ALTER TABLE sign_in_link ADD COLUMN role text NOT NULL DEFAULT 'responder';
ALTER TABLE session ADD COLUMN role text NOT NULL DEFAULT 'responder';

-- Runs that stand in line, per lock: first come, first served by `n`, which all locks of a run share. A row counts while
-- its run's state is `queued`; what is left behind is swept by the next run that joins the line.
CREATE SEQUENCE queue_n;
CREATE TABLE queue (
    run_id uuid        NOT NULL REFERENCES run,
    target text        NOT NULL,
    n      bigint      NOT NULL,
    since  timestamptz NOT NULL,
    PRIMARY KEY (run_id, target)
);
CREATE INDEX queue_of_target ON queue (target, n);

-- No run takes a lock past one that stands in line before it. Told as the conflict that a held lock is.
CREATE FUNCTION lock_in_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.run_id IS NOT NULL AND EXISTS (
        SELECT FROM queue q JOIN run r ON r.id = q.run_id AND r.state = 'queued'
         WHERE q.target = NEW.target AND q.run_id <> NEW.run_id
           AND q.n < coalesce((SELECT mine.n FROM queue mine WHERE mine.run_id = NEW.run_id AND mine.target = NEW.target), 9223372036854775807))
    THEN
        RAISE unique_violation USING CONSTRAINT = 'lock_pkey', MESSAGE = format('others stand in line for the lock %s', NEW.target);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lock_in_turn BEFORE INSERT ON lock FOR EACH ROW EXECUTE FUNCTION lock_in_turn();

-- Somebody went on alone where others should have agreed. Open until somebody else has looked at it.
CREATE TABLE review (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id    uuid        NOT NULL REFERENCES run,
    step      text,
    opened_by text        NOT NULL,
    reason    text        NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_by text,
    note      text,
    closed_at timestamptz,
    CHECK ((closed_at IS NULL) = (closed_by IS NULL) AND (closed_at IS NULL) = (note IS NULL)),
    CHECK (closed_by <> opened_by)
);
CREATE INDEX review_open ON review (id) WHERE closed_at IS NULL;
CREATE INDEX review_of_run ON review (run_id);

-- The entry that breaks the glass opens its review, in the same transaction: neither is ever without the other.
CREATE FUNCTION review_broken_glass() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO review (run_id, step, opened_by, reason, opened_at)
    VALUES (NEW.run_id, NEW.entry->'ask'->>'step', NEW.entry->'by'->>'name', NEW.entry->'ask'->>'reason', NEW.at);
    RETURN NULL;
END $$;
CREATE TRIGGER review_broken_glass AFTER INSERT ON journal FOR EACH ROW
    WHEN (NEW.kind = 'asked' AND NEW.entry->'ask'->>'ask' = 'break_glass' AND NEW.entry->>'refused' IS NULL)
    EXECUTE FUNCTION review_broken_glass();
