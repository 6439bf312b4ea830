-- A verdict belongs to an incident that is open, also where a second one is open at another of its targets: until now none was stored
-- for as long as both were; and whatever it says: until now only an offer was kept out of one that had been closed meanwhile. And a name
-- that is free again brings nothing back of whoever had it.
--
-- Expand only: functions that the version before calls answer as before. A process of that version still leaves tokens and members of Slack
-- when an admin lets go of an account: they end when somebody signs in by that name.

-- Stores a verdict, with its incident and what is told of it, if what it rests on still holds. What became of it:
--   `stored`  it is in force now;
--   `same`    the one in force says the same;
--   `stale`   another verdict, another incident or another mode has come between: judge anew;
--   `lost`    the signal has changed, or somebody else looks at it: let it be.
CREATE OR REPLACE FUNCTION give_verdict(v jsonb) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    s signal;
    now_in_force verdict;
    due timestamptz := (v->>'look_at')::timestamptz;
    target_names text[] := ARRAY(SELECT jsonb_array_elements_text(v->'targets'));
    belongs uuid;
    given bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(triage_key());
    SELECT * INTO s FROM signal WHERE id = (v->>'signal')::uuid FOR UPDATE;
    IF s.claim IS DISTINCT FROM (v->>'claim')::uuid THEN
        RETURN 'lost';
    ELSIF s.change <> (v->>'change')::bigint THEN
        UPDATE signal SET claim = NULL, claimed_by = NULL WHERE id = s.id;
        RETURN 'lost';
    END IF;
    IF EXISTS (SELECT FROM incident i WHERE i.id = (v->>'incident')::uuid AND i.closed_at IS NOT NULL) THEN
        RETURN 'stale';
    END IF;
    -- What has a title opens its incident, if that is new: an offer, a start, what is held back.
    IF v->>'title' IS NOT NULL THEN
        IF EXISTS (SELECT FROM verdict o WHERE o.verdict = 'started' AND o.id > (v->>'seen')::bigint)
            -- It is new, and another one is where it would be. Beside one that is open there may be others: one at the fleet, say, and one
            -- at the cluster.
            OR NOT EXISTS (SELECT FROM incident i WHERE i.id = (v->>'incident')::uuid)
                AND EXISTS (SELECT FROM incident i WHERE i.closed_at IS NULL AND i.targets && target_names)
            -- The version before does not say which modes it has seen.
            OR v ? 'modes_seen' AND EXISTS (SELECT FROM trigger_mode m WHERE m.id > (v->>'modes_seen')::bigint)
        THEN
            RETURN 'stale';
        END IF;
        INSERT INTO incident (id, title, targets, opened_at)
        VALUES ((v->>'incident')::uuid, v->>'title', target_names, (v->>'at')::timestamptz)
        ON CONFLICT (id) DO NOTHING;
    END IF;
    -- What was dismissed does not keep its incident open; judged anew, it stays in none that is over while it fires.
    belongs := coalesce((v->>'incident')::uuid,
                        (SELECT i.id FROM incident i WHERE i.id = s.incident AND (i.closed_at IS NULL OR s.state <> 'firing')));
    SELECT * INTO now_in_force FROM verdict WHERE id = s.verdict;
    IF now_in_force.id IS NOT NULL
        AND (now_in_force.verdict, now_in_force.code) = (v->>'verdict', v->>'code')
        AND now_in_force.rule IS NOT DISTINCT FROM v->>'rule'
        AND now_in_force.run_id IS NOT DISTINCT FROM (v->>'run_id')::uuid
        AND now_in_force.start_key IS NOT DISTINCT FROM v->>'start_key'
        AND now_in_force.plan->>'hash' IS NOT DISTINCT FROM v->'plan'->>'hash'
    THEN
        UPDATE signal SET incident = belongs, look_at = due, claim = NULL, claimed_by = NULL WHERE id = s.id;
        RETURN 'same';
    END IF;
    INSERT INTO verdict (signal, at, verdict, code, because, rule, considered, incident, start_key, run_id, runbook, inputs, targets, plan)
    VALUES (s.id, (v->>'at')::timestamptz, v->>'verdict', v->>'code', v->>'because', v->>'rule', v->'considered',
            (v->>'incident')::uuid, v->>'start_key', (v->>'run_id')::uuid, v->>'runbook', nullif(v->'inputs', 'null'), target_names,
            nullif(v->'plan', 'null'))
    RETURNING id INTO given;
    PERFORM tell(coalesce(v->'notices', '[]'), (v->>'at')::timestamptz);
    UPDATE signal SET verdict = given, incident = belongs, look_at = due, claim = NULL, claimed_by = NULL WHERE id = s.id;
    RETURN 'stored';
END $$;

-- Closes an incident, if nothing fires in it but what a person has dismissed, and (where it says since when) nothing has of late. Was it?
--
-- In turn with verdicts: one that has found it open and is not stored yet is seen by the statement after the lock alone. Without it, a
-- signal that fires would be left in a closed one. The lock is had and given back in one call: a caller that stands still keeps no
-- verdict waiting.
CREATE FUNCTION close_incident(which uuid, quiet_since timestamptz, person text, now timestamptz) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(triage_key());
    UPDATE incident SET closed_at = now, closed_by = person
     WHERE id = which AND closed_at IS NULL
       AND NOT EXISTS (SELECT FROM signal s LEFT JOIN verdict v ON v.id = s.verdict
                        WHERE s.incident = which AND (s.state = 'firing' AND v.code IS DISTINCT FROM 'dismissed' OR s.resolved_at > quiet_since));
    RETURN FOUND;
END $$;

-- Ends whatever speaks by a name, or would: sessions, tokens, members of Slack, links that nobody has used. What that was, but for links.
CREATE FUNCTION end_all_of(who text, actor text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE sessions bigint; tokens text[]; members text[];
BEGIN
    DELETE FROM sign_in_link WHERE person = who AND used_at IS NULL;
    DELETE FROM session WHERE person = who;
    GET DIAGNOSTICS sessions = ROW_COUNT;
    WITH gone AS (
        UPDATE token SET revoked_at = clock_timestamp(), revoked_by = actor WHERE person = who AND revoked_at IS NULL RETURNING name
    )
    SELECT coalesce(array_agg(name ORDER BY name), '{}') INTO tokens FROM gone;
    WITH gone AS (
        UPDATE slack_link SET removed_at = clock_timestamp(), removed_by = actor WHERE person = who AND removed_at IS NULL
        RETURNING team || '/' || member AS name
    )
    SELECT coalesce(array_agg(name ORDER BY name), '{}') INTO members FROM gone;
    RETURN jsonb_build_object('sessions', sessions, 'tokens', tokens, 'slack', members);
END $$;

-- Lets go of the account behind a name, and ends all that speaks by it: the next one of that name is somebody else. False, and nothing is
-- done, when there is none. A name that is free has a row without role and account.
CREATE FUNCTION let_go(who text, actor text, why jsonb, now timestamptz) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE bound text;
BEGIN
    SELECT account INTO bound FROM person WHERE name = who AND account IS NOT NULL FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE person SET account = NULL, role = NULL, via = 'provider' WHERE name = who;
    INSERT INTO audit (at, actor, action, target, details)
    VALUES (now, actor, 'account let go', who, jsonb_build_object('account', bound) || why || end_all_of(who, actor));
    RETURN true;
END $$;

-- Opens a session, with its row of the person and of the audit; false, and nothing is done, when the name belongs to another account.
-- Other sessions by the same account end where they would let somebody do what their groups no longer do, or go by an old name; and an
-- old name is let go of. What was left of whoever had this name before, and let go of it, ends too.
--
-- What somebody may do whom a provider knows, it alone says, also when a link or a proxy signs them in: the session carries what that is
-- good for, and their tokens and members of Slack get nothing back by it.
CREATE OR REPLACE FUNCTION enter(new session, valid double precision, now timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE before person; old text; left_behind jsonb;
BEGIN
    SELECT * INTO before FROM person WHERE name = new.person FOR UPDATE;
    INSERT INTO person AS p (name, role, via, groups, account) VALUES (new.person, new.role, new.via, new.groups, new.account)
    ON CONFLICT (name) DO UPDATE SET seen_at = clock_timestamp(), account = coalesce(EXCLUDED.account, p.account),
           (role, via, groups) = (SELECT p.role, p.via, p.groups WHERE EXCLUDED.account IS NULL AND p.account IS NOT NULL
                                  UNION ALL SELECT EXCLUDED.role, EXCLUDED.via, EXCLUDED.groups
                                   WHERE EXCLUDED.account IS NOT NULL OR p.account IS NULL)
     WHERE EXCLUDED.account IS NULL OR p.account IS NULL OR p.account = EXCLUDED.account;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF before.name IS NOT NULL AND before.role IS NULL AND before.account IS NULL THEN
        left_behind := end_all_of(new.person, new.person);
        IF left_behind <> '{"sessions": 0, "tokens": [], "slack": []}' THEN
            INSERT INTO audit (at, actor, action, target, details) VALUES (now, new.person, 'name taken', new.person, left_behind);
        END IF;
    END IF;
    IF new.account IS NOT NULL THEN
        FOR old IN SELECT name FROM person WHERE account = new.account AND name <> new.person LOOP
            PERFORM let_go(old, new.person, jsonb_build_object('renamed', new.person), now);
        END LOOP;
        DELETE FROM session s WHERE s.account = new.account AND (s.person <> new.person OR s.role <> new.role OR s.groups <> new.groups);
        IF before.via = 'provider' AND before.role IS DISTINCT FROM new.role THEN
            INSERT INTO audit (at, actor, action, target, details)
            VALUES (now, new.person, 'role changed', new.person,
                    jsonb_build_object('from', before.role, 'to', new.role, 'groups', new.groups));
        END IF;
    END IF;
    INSERT INTO audit (at, actor, action, target, details)
    VALUES (now, new.person, 'signed in', new.person,
            jsonb_build_object('by', new.via, 'role', new.role)
            || CASE WHEN new.account IS NULL THEN '{}' ELSE jsonb_build_object('groups', new.groups, 'account', new.account) END);
    INSERT INTO session (token_hash, person, role, csrf, via, groups, account, sid, id_token, created_at, expires_at)
    VALUES (new.token_hash, new.person, new.role, new.csrf, new.via, new.groups, new.account, new.sid, new.id_token,
            clock_timestamp(), clock_timestamp() + make_interval(secs => valid));
    RETURN true;
END $$;
