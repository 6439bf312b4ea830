-- A worker knows on which timeline of Postgres it was born, so that a failover to another primary is noticed: a standby
-- that is promoted begins a new timeline, and an asynchronous one may have lost the newest commits.
--
-- Expand only: the processes of the version before insert without these columns, and a trigger fills them in.

ALTER TABLE worker
    ADD COLUMN timeline    bigint,                        -- null: this server does not say (some managed services)
    ADD COLUMN synchronous boolean NOT NULL DEFAULT false; -- as of the last renewal: did commits wait for a standby?

-- What an ordinary role may read of it. `pg_control_checkpoint()` would lag behind a promotion by one checkpoint.
-- On a standby this fails, as every write does.
CREATE FUNCTION server_timeline() RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint;
EXCEPTION WHEN feature_not_supported OR insufficient_privilege OR undefined_function THEN
    RETURN NULL;
END $$;

CREATE FUNCTION commits_wait_for_a_standby() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') IN ('on', 'remote_apply')
$$;

-- The identity's sequence may have been set back by what was lost. The timeline in the upper bits keeps every id unique.
CREATE FUNCTION worker_is_born() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.timeline := server_timeline();
    NEW.synchronous := commits_wait_for_a_standby();
    NEW.id := NEW.id + ((coalesce(NEW.timeline, 1) - 1) << 40);
    RETURN NEW;
END $$;
CREATE TRIGGER worker_is_born BEFORE INSERT ON worker FOR EACH ROW EXECUTE FUNCTION worker_is_born();
