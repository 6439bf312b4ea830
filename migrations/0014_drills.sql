-- Drills that were played on a simulated world, for practice: who played which, and how it went. Nothing else is kept of one: its
-- world, its runs and its signals were in a database of its own.
--
-- Expand only. The version before knows nothing of them.
CREATE TABLE drill (
    id         uuid PRIMARY KEY,
    name       text        NOT NULL,   -- of its file
    title      text        NOT NULL,
    player     text        NOT NULL,   -- people, firebreak
    by         text        NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    score      jsonb                   -- domain::drill::Score; without one it was given up, or its process ended first
);
CREATE INDEX drill_newest ON drill (started_at DESC, id);
