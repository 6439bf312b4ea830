-- A call is kept once, also when the statement that keeps it gets no answer and is sent again.
--
-- Whoever gave up on a statement does not know what becomes of it: it may stand at its commit, for a standby that is away, and
-- land later than the next. A look for what is there already does not see it; a unique id does, and waits for it.
--
-- Expand only: processes of the version before name no id, and neither do the rows that are there.

ALTER TABLE outside_call ADD COLUMN write_id uuid; -- one for each call, made before the first try; no block covers it
-- index: one pass over the table, of which it keeps no row; calls that are made meanwhile are held, and follow.
CREATE UNIQUE INDEX outside_call_once ON outside_call (write_id) WHERE write_id IS NOT NULL;
