-- The write path, once more cheaper: what a statement writes comes as one array of rows, not as an array for each column.
--
-- Postgres reads every array of `unnest(a, b, …)` by a scan of its own, and puts each of its values into a temporary store of
-- its own: measured, a third of what an append costs, and two thirds of a small one's. An array of rows is one scan.
--
-- Expand only: processes of the version before write as they did. A type that a version uses never changes (what is sent must
-- fit it exactly); whoever needs another column makes another type.

-- What an append says about its run. `before` is the number of the last entry that the writer knows of.
CREATE TYPE append_run AS (
    n int, run_id uuid, epoch bigint, before bigint, seq bigint, state text, outcome text, message text, at timestamptz, inbox bigint,
    scopes text);
-- An entry of a journal.
CREATE TYPE append_entry AS (
    n int, run_id uuid, seq bigint, epoch bigint, at timestamptz, kind text, step text, entry json, write_id uuid, hash bytea);
-- A run that is about to be. `targets` are the locks that it takes.
CREATE TYPE birth_run AS (
    n int, id uuid, runbook text, hash text, title text, inputs jsonb, plan jsonb, requested_by text, idem_key text, state text,
    owner bigint, at timestamptz, seq bigint, person text, targets text[], limits jsonb, overrides jsonb, reason text);

-- contract: a run is written only after its text, by the same writer, and no text is ever removed. Looking it up
-- again, and locking it, was a tenth of a start.
ALTER TABLE run DROP CONSTRAINT run_hash_fkey;
