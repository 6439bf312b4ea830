-- Tokens of programs, sessions that end when nobody uses them, and answers that are given again to the same request.
--
-- Expand only. A process of the version before does not write when a session was used: such a session counts from its beginning,
-- so at worst somebody signs in once more while this is rolled out.

-- What a program shows instead of signing in. Only the hash of it is kept; a row is never removed, so that an audit can say whose
-- token it was.
CREATE TABLE token (
    id         uuid PRIMARY KEY,
    hash       bytea       NOT NULL UNIQUE,
    person     text        NOT NULL,
    name       text        NOT NULL,
    role       text        NOT NULL,
    read_only  boolean     NOT NULL,
    runbooks   text[],              -- good for runs of these alone; for all that its role may, when null
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,         -- to five minutes
    revoked_at timestamptz,
    revoked_by text
);
CREATE UNIQUE INDEX token_name ON token (person, name) WHERE revoked_at IS NULL;

ALTER TABLE session ADD COLUMN used_at timestamptz; -- to five minutes; not since it began, when null
CREATE INDEX session_of_person ON session (person);

-- What was answered to a request with an `Idempotency-Key`, for a day. Without an answer it is still at work, or died at it.
CREATE TABLE answered (
    key     bytea PRIMARY KEY,      -- hash of person and key
    request bytea       NOT NULL,   -- hash of method, path and body: the same key with other words is a mistake
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    status  int,
    body    bytea
);
CREATE INDEX answered_by_age ON answered (at);
