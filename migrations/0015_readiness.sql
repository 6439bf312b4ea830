-- What rehearsals showed: for each runbook and target the newest, and since when it has been so.
--
-- Expand only: a process of the version before does not know of it.
CREATE TABLE readiness (
    runbook  text        NOT NULL,
    target   text        NOT NULL,
    begun    timestamptz NOT NULL, -- who sets it rehearses; no other process does before it is due again
    at       timestamptz,          -- when it was last shown
    hash     text,                 -- of the runbook's text then
    ready    boolean,
    step     text,                 -- where it would stop,
    message  text,                 -- and why
    unneeded text[]      NOT NULL DEFAULT '{}',
    since    timestamptz,          -- since when it has been ready, or not
    PRIMARY KEY (runbook, target)
);
