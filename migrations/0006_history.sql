-- How long the last runs of a runbook took is asked with every plan and every run page: by index, however many runs there are.
-- It covers ended runs only, and a run's end leaves `run_open` anyway: the appends before it stay heap-only.
CREATE INDEX run_ended_of_runbook ON run (runbook, ended_at DESC) WHERE ended_at IS NOT NULL;
