-- Slack: who is who there, what was delivered, previews that can be started, and the message of each run.
--
-- Expand only. The version before knows no `thread`; it sends only what is told to channels of its own configuration, and that has none.

-- A member of a Slack team speaks for a person, with the role that they had when they said so. A row is never removed, so that an
-- audit can say who it was.
CREATE TABLE slack_link (
    id         uuid PRIMARY KEY,
    team       text        NOT NULL,
    member     text        NOT NULL,
    called     text        NOT NULL,           -- as Slack calls them; for people only
    person     text        NOT NULL,
    role       text        NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_at timestamptz,
    removed_by text
);
CREATE UNIQUE INDEX slack_link_of_member ON slack_link (team, member) WHERE removed_at IS NULL;
CREATE INDEX slack_link_of_person ON slack_link (person, made_at DESC);

-- A link that a member was given, to be confirmed by whoever is signed in. Only the hash is kept.
CREATE TABLE slack_code (
    hash       bytea PRIMARY KEY,
    team       text        NOT NULL,
    member     text        NOT NULL,
    called     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX slack_code_by_age ON slack_code (expires_at);

-- What Slack has delivered, for as long as it could be delivered again: the same is done once.
CREATE TABLE slack_delivery (
    key bytea PRIMARY KEY,
    at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX slack_delivery_by_age ON slack_delivery (at);

-- A plan that was shown to somebody, with a button that starts it.
CREATE TABLE slack_preview (
    id        uuid PRIMARY KEY,
    team      text        NOT NULL,
    member    text        NOT NULL,
    place     text        NOT NULL,            -- the channel in which it was asked for
    runbook   text        NOT NULL,
    inputs    jsonb       NOT NULL,
    plan      jsonb       NOT NULL,
    reason    text,
    start_key text        NOT NULL,            -- the run that it becomes has this key
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    cancelled boolean     NOT NULL DEFAULT false
);
CREATE INDEX slack_preview_of_run ON slack_preview (start_key);
CREATE INDEX slack_preview_by_age ON slack_preview (at);

-- A run's message in the chat, as far as it is shown. That it is there is known by the outbox.
CREATE TABLE run_card (
    run_id     uuid PRIMARY KEY REFERENCES run,
    place      text        NOT NULL,
    shown      bigint      NOT NULL DEFAULT 0, -- the entry of the journal up to which it shows the run
    due        timestamptz DEFAULT clock_timestamp(), -- not edited before; null: its last state is shown, or it never will be
    attempts   int         NOT NULL DEFAULT 0, -- since the last edit that was taken
    error      text,
    claim      uuid,
    claimed_by bigint
) WITH (fillfactor = 70);
CREATE INDEX run_card_due ON run_card (due) WHERE due IS NOT NULL;

-- Messages that go in order into a thread of their own.
ALTER TABLE outbox ADD COLUMN thread uuid;
CREATE INDEX outbox_of_thread ON outbox (thread, id) WHERE thread IS NOT NULL;

CREATE OR REPLACE FUNCTION tell(notices jsonb, now timestamptz) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    WITH put AS (
        INSERT INTO outbox (channel, key, message, incident, thread, at, due)
        SELECT n->>'channel', n->>'key', n->'message', (n->>'incident')::uuid, (n->>'thread')::uuid, now, now
          FROM jsonb_array_elements(notices) AS n
        ON CONFLICT (channel, key) DO NOTHING RETURNING 1
    )
    SELECT count(*) FROM put
$$;
