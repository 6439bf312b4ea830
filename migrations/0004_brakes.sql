-- What holds Firebreak back: freeze windows, limits over all runs, and targets that a person has taken by hand.
--
-- Expand only. Processes of the version before know none of this: until the last of them is gone, a start that they take is
-- held back by the locks of runs alone.

-- A time in which nothing should be changed: triggers start nothing, people confirm. Scope as in `kill_switch`.
CREATE TABLE freeze_window (
    id     uuid PRIMARY KEY,
    scope  text        NOT NULL,
    starts timestamptz NOT NULL,
    ends   timestamptz NOT NULL,
    reason text        NOT NULL,
    by     text        NOT NULL,
    at     timestamptz NOT NULL,
    uid    text,                 -- the calendar's event that it comes from; an import replaces all rows of the events it names
    CHECK (starts < ends)
);
CREATE INDEX freeze_by_end ON freeze_window (ends);
CREATE INDEX freeze_of_event ON freeze_window (uid) WHERE uid IS NOT NULL;

-- Which run counts towards which limit. The rest of a cool-down begins with the run's `ended_at`.
CREATE TABLE limit_use (
    name   text        NOT NULL,
    run_id uuid        NOT NULL REFERENCES run DEFERRABLE INITIALLY DEFERRED, -- written just before its run, in one statement
    at     timestamptz NOT NULL,
    PRIMARY KEY (name, run_id)
);
CREATE INDEX limit_use_newest ON limit_use (name, at DESC);

-- A target that a person works on. A table of its own: the person's own runs pass, which a row of `lock` would not let them.
CREATE TABLE hand_lock (
    target text PRIMARY KEY,
    holder text        NOT NULL,
    reason text        NOT NULL,
    since  timestamptz NOT NULL,
    until  timestamptz           -- for good, when null
);

-- What was released by force, until its run has taken it back.
CREATE TABLE lock_released (
    run_id uuid NOT NULL REFERENCES run,
    target text NOT NULL,
    PRIMARY KEY (run_id, target)
);

-- No run of anybody else takes such a target, also not one that waited in line for it, or that a process of the version before
-- starts. Told as the conflict that a held lock is.
CREATE FUNCTION lock_not_in_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(brakes_key());
    IF EXISTS (SELECT FROM hand_lock h JOIN run r ON r.id = NEW.run_id
                WHERE h.target = NEW.target AND h.holder <> r.requested_by AND (h.until IS NULL OR h.until > NEW.taken_at))
    THEN
        RAISE unique_violation USING CONSTRAINT = 'lock_pkey', MESSAGE = format('a person has taken %s by hand', NEW.target);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER lock_not_in_hand BEFORE INSERT ON lock FOR EACH ROW EXECUTE FUNCTION lock_not_in_hand();

-- Starts share this key; whoever enters a freeze or takes a target holds it alone: it is seen by every start after it, and has
-- waited for the starts before it. (The kill switch waits for nobody.)
CREATE FUNCTION brakes_key() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 7065134928847212 $$;

-- One limit (`name` with `at_most` and `per_s`, or with `cooldown_s`), if it is used up. A run that was refused, or never began,
-- has changed nothing, and uses nothing up.
CREATE FUNCTION spent(l jsonb, now timestamptz) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH uses AS (
        SELECT u.at, r.id, r.title, r.requested_by, r.ended_at
          FROM limit_use u JOIN run r ON r.id = u.run_id
         WHERE u.name = l->>'name' AND coalesce(r.outcome NOT IN ('refused', 'expired'), true)
           AND CASE WHEN l ? 'cooldown_s'
                    THEN r.ended_at IS NULL OR r.ended_at > now - make_interval(secs => (l->>'cooldown_s')::float8)
                    ELSE u.at > now - make_interval(secs => (l->>'per_s')::float8) END
         ORDER BY u.at DESC, r.id DESC LIMIT coalesce((l->>'at_most')::int, 100)
    )
    SELECT l || jsonb_build_object(
               'brake', 'limit',
               'used', (SELECT jsonb_agg(jsonb_build_object('run_id', id, 'title', title, 'by', requested_by, 'at', at, 'ended_at', ended_at)
                                         ORDER BY at DESC, id DESC) FROM (SELECT * FROM uses LIMIT 5) AS newest),
               'free_at', CASE WHEN l ? 'cooldown_s'
                               THEN (SELECT CASE WHEN bool_and(ended_at IS NOT NULL)
                                                 THEN max(ended_at) + make_interval(secs => (l->>'cooldown_s')::float8) END FROM uses)
                               ELSE (SELECT min(at) + make_interval(secs => (l->>'per_s')::float8) FROM uses) END)
     WHERE (SELECT count(*) FROM uses) >= coalesce((l->>'at_most')::int, 1)
$$;

-- Everything that speaks against a start now, in the form of `domain::brake::Brake`. `person` is null for what starts by itself.
CREATE FUNCTION brakes(runbook text, person text, targets text[], limits jsonb, now timestamptz) RETURNS SETOF jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('brake', 'kill_switch', 'scope', k.scope, 'by', k.by, 'reason', k.reason, 'since', k.since)
      FROM kill_switch k WHERE k.scope IN ('*', runbook)
    UNION ALL
    SELECT jsonb_build_object('brake', 'taken_by_hand', 'target', h.target, 'holder', h.holder, 'reason', h.reason,
                              'since', h.since, 'until', h.until)
      FROM hand_lock h
     WHERE h.target = ANY (targets) AND h.holder IS DISTINCT FROM person AND (h.until IS NULL OR h.until > now)
    UNION ALL
    SELECT jsonb_build_object('brake', 'freeze', 'id', f.id, 'scope', f.scope, 'starts', f.starts, 'ends', f.ends,
                              'reason', f.reason, 'by', f.by, 'uid', f.uid)
      FROM freeze_window f WHERE f.ends > now AND f.starts <= now AND f.scope IN ('*', runbook)
    UNION ALL
    SELECT s.spent FROM jsonb_array_elements(limits) AS l(l) CROSS JOIN LATERAL (SELECT spent(l.l, now)) AS s
     WHERE s.spent IS NOT NULL
$$;

-- Asked inside the statement that writes a run: the first brake that stands in the way, or null. Volatile on purpose: each of
-- its queries sees what was committed when it has its locks, not when the statement began. When it lets a run through, the run
-- has been counted, and what was overridden stands in the audit.
CREATE FUNCTION admit(run_id uuid, idem_key text, runbook text, title text, person text, targets text[], limits jsonb,
                      overrides jsonb, reason text, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    limit_name text;
    brake jsonb;
    passed jsonb[] := '{}';
BEGIN
    PERFORM pg_advisory_xact_lock_shared(brakes_key());
    IF jsonb_array_length(limits) > 0 OR overrides <> '{}' THEN
        -- The same click again is not a second use. (Without limits there is nothing to count, and the unique key is enough.)
        PERFORM pg_advisory_xact_lock(hashtextextended('start ' || admit.idem_key, 0));
        IF EXISTS (SELECT FROM run r WHERE r.idem_key = admit.idem_key) THEN
            RETURN NULL;
        END IF;
        FOR limit_name IN SELECT DISTINCT l->>'name' FROM jsonb_array_elements(limits) AS l ORDER BY 1 LOOP
            PERFORM pg_advisory_xact_lock(hashtextextended('limit ' || limit_name, 0));
        END LOOP;
    END IF;
    IF jsonb_array_length(limits) = 0 AND NOT EXISTS (SELECT FROM kill_switch) AND NOT EXISTS (SELECT FROM hand_lock)
        AND NOT EXISTS (SELECT FROM freeze_window f WHERE f.ends > now) THEN
        RETURN NULL; -- as nearly always; the start is in a hurry
    END IF;
    FOR brake IN SELECT b FROM brakes(admit.runbook, person, targets, limits, now) AS b LOOP
        IF person IS NOT NULL AND (
            brake->>'brake' = 'freeze' AND overrides->'despite_freeze' = 'true'
            OR brake->>'brake' = 'limit' AND EXISTS (
                SELECT FROM jsonb_array_elements(coalesce(overrides->'acknowledge', '[]')) AS a WHERE a->>'limit' = brake->>'name'))
        THEN
            passed := passed || brake;
        ELSE
            -- The same click again lands on its run, whatever has come on since.
            RETURN CASE WHEN EXISTS (SELECT FROM run r WHERE r.idem_key = admit.idem_key) THEN NULL ELSE brake END;
        END IF;
    END LOOP;
    INSERT INTO limit_use (name, run_id, at)
    SELECT DISTINCT l->>'name', admit.run_id, now FROM jsonb_array_elements(limits) AS l;
    INSERT INTO audit (at, actor, action, target, details)
    SELECT now, person, 'started despite a ' || (b->>'brake'), admit.title,
           jsonb_build_object('run', admit.run_id, 'brake', b, 'reason', coalesce(
               (SELECT a->>'reason' FROM jsonb_array_elements(overrides->'acknowledge') AS a
                 WHERE b->>'brake' = 'limit' AND a->>'limit' = b->>'name' LIMIT 1), reason))
      FROM unnest(passed) AS b;
    RETURN NULL;
END $$;

-- A person takes a target. The run that holds it, or the person, if somebody does; null when it was taken.
CREATE FUNCTION take_by_hand(name text, person text, why text, now timestamptz, expires timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE holder jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(brakes_key());
    SELECT jsonb_build_object('target', l.target, 'kind', 'run', 'run_id', r.id, 'title', r.title, 'holder', r.requested_by,
                              'reason', null, 'since', l.taken_at, 'until', null) INTO holder
      FROM lock l JOIN run r ON r.id = l.run_id WHERE l.target = name AND r.requested_by <> person;
    IF holder IS NOT NULL THEN
        RETURN holder;
    END IF;
    SELECT jsonb_build_object('target', h.target, 'kind', 'person', 'run_id', null, 'title', null, 'holder', h.holder,
                              'reason', h.reason, 'since', h.since, 'until', h.until) INTO holder
      FROM hand_lock h WHERE h.target = name AND h.holder <> person AND (h.until IS NULL OR h.until > now);
    IF holder IS NOT NULL THEN
        RETURN holder;
    END IF;
    INSERT INTO hand_lock AS h (target, holder, reason, since, until) VALUES (name, person, why, now, expires)
    ON CONFLICT (target) DO UPDATE SET holder = excluded.holder, reason = excluded.reason, until = excluded.until,
        since = CASE WHEN h.holder = excluded.holder THEN h.since ELSE excluded.since END;
    INSERT INTO audit (at, actor, action, target, details)
    VALUES (now, person, 'lock taken by hand', name, jsonb_build_object('reason', why, 'until', expires));
    RETURN NULL;
END $$;

-- Frees a target that a run holds which waits for a person: an act of last resort. Null when it was freed, otherwise why not:
-- `not_held`, or `moving` (it runs, or somebody has just asked something of it).
CREATE FUNCTION release_by_force(name text, holder uuid, person text, why text, now timestamptz) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE waits boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(brakes_key());
    SELECT r.state IN ('paused', 'stuck', 'outcome_unknown') AND NOT EXISTS (SELECT FROM inbox i WHERE i.run_id = r.id AND i.n > r.inbox)
      INTO waits FROM lock l JOIN run r ON r.id = l.run_id WHERE l.target = name AND l.run_id = holder;
    IF waits IS NULL THEN
        RETURN 'not_held';
    ELSIF NOT waits THEN
        RETURN 'moving';
    END IF;
    DELETE FROM lock l WHERE l.target = name AND l.run_id = holder;
    INSERT INTO lock_released (run_id, target) VALUES (holder, name);
    INSERT INTO audit (at, actor, action, target, details)
    VALUES (now, person, 'lock released by force', name, jsonb_build_object('run', holder, 'reason', why));
    RETURN NULL;
END $$;

-- Before a run that waits for a person moves again: takes back whatever was released by force. Who stands in the way, if
-- somebody does.
CREATE FUNCTION retake(run uuid, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    targets text[];
    holder jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(brakes_key());
    SELECT array_agg(r.target) INTO targets FROM lock_released r WHERE r.run_id = retake.run;
    IF targets IS NULL OR EXISTS (SELECT FROM run r WHERE r.id = retake.run AND r.ended_at IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    SELECT jsonb_build_object('target', h.target, 'kind', 'person', 'run_id', null, 'title', null, 'holder', h.holder,
                              'reason', h.reason, 'since', h.since, 'until', h.until) INTO holder
      FROM hand_lock h WHERE h.target = ANY (targets) AND (h.until IS NULL OR h.until > now)
       AND h.holder <> (SELECT r.requested_by FROM run r WHERE r.id = retake.run) LIMIT 1;
    IF holder IS NOT NULL THEN
        RETURN holder;
    END IF;
    BEGIN
        INSERT INTO lock (target, run_id, taken_at) SELECT t, retake.run, now FROM unnest(targets) AS t ORDER BY t
        ON CONFLICT (target) DO NOTHING;
    EXCEPTION WHEN unique_violation THEN
        -- Others stand in line for it.
        RETURN jsonb_build_object('target', targets[1], 'kind', 'run', 'run_id', null, 'title', null,
                                  'holder', 'those who stand in line', 'reason', null, 'since', now, 'until', null);
    END;
    SELECT jsonb_build_object('target', l.target, 'kind', 'run', 'run_id', r.id, 'title', r.title, 'holder', r.requested_by,
                              'reason', null, 'since', l.taken_at, 'until', null) INTO holder
      FROM lock l JOIN run r ON r.id = l.run_id WHERE l.target = ANY (targets) AND l.run_id <> retake.run LIMIT 1;
    DELETE FROM lock_released r USING lock l WHERE r.run_id = retake.run AND l.run_id = r.run_id AND l.target = r.target;
    RETURN holder;
END $$;
