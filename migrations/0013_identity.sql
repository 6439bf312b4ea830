-- Who signs people in is kept with their sessions: by what, with which groups, by which account of an identity provider. And people
-- get a row, so that an admin sees them, and so that a token ends with what its person may.
--
-- Expand only. A process of the version before opens sessions as if by a link, and knows nobody; both is read as before.

ALTER TABLE session ADD COLUMN via text NOT NULL DEFAULT 'link';        -- link, proxy, provider
ALTER TABLE session ADD COLUMN groups text[] NOT NULL DEFAULT '{}';
ALTER TABLE session ADD COLUMN account text;                            -- issuer and subject
ALTER TABLE session ADD COLUMN sid text;                                -- the session there
ALTER TABLE session ADD COLUMN id_token text;                           -- shown to the provider when they sign out; it opens nothing here
CREATE INDEX session_of_account ON session (account) WHERE account IS NOT NULL;

-- As of their last sign-in.
CREATE TABLE person (
    name       text PRIMARY KEY,
    role       text,                -- null: the provider knows them, and they may do nothing here any more
    via        text        NOT NULL,
    groups     text[]      NOT NULL DEFAULT '{}',
    account    text,                -- bound to the name at the first sign-in: another account of that name is somebody else
    first_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX person_of_account ON person (account) WHERE account IS NOT NULL;
CREATE INDEX token_of_person ON token (person);

-- Opens a session, with its row of the person and of the audit; false, and nothing is done, when the name belongs to another account.
-- Other sessions by the same account end where they would let somebody do what their groups no longer do, or go by an old name.
CREATE FUNCTION enter(new session, valid double precision, now timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE before person;
BEGIN
    SELECT * INTO before FROM person WHERE name = new.person FOR UPDATE;
    INSERT INTO person AS p (name, role, via, groups, account) VALUES (new.person, new.role, new.via, new.groups, new.account)
    ON CONFLICT (name) DO UPDATE SET role = EXCLUDED.role, via = EXCLUDED.via, groups = EXCLUDED.groups,
           account = coalesce(EXCLUDED.account, p.account), seen_at = clock_timestamp()
     WHERE EXCLUDED.account IS NULL OR p.account IS NULL OR p.account = EXCLUDED.account;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF new.account IS NOT NULL THEN
        UPDATE person SET role = NULL, account = NULL, via = 'provider' WHERE account = new.account AND name <> new.person;
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

-- The provider knows an account, and it may do nothing here: what it had open ends. How many sessions that were; null when the account
-- is nobody's.
CREATE FUNCTION lose_account(lost text, why text, now timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE before person; ended bigint;
BEGIN
    SELECT * INTO before FROM person WHERE account = lost FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE person SET role = NULL, via = 'provider', groups = '{}' WHERE account = lost;
    DELETE FROM session WHERE account = lost;
    GET DIAGNOSTICS ended = ROW_COUNT;
    IF before.role IS NOT NULL THEN
        INSERT INTO audit (at, actor, action, target, details)
        VALUES (now, before.name, 'role changed', before.name,
                jsonb_build_object('from', before.role, 'to', NULL, 'why', why, 'sessions', ended));
    END IF;
    RETURN ended;
END $$;
