-- Samples from the time of an incident are kept for good, so that there are more of them than of the last hours: what has become old
-- since the last time is found by its time.

CREATE INDEX sample_at ON sample (at);
