-- The row by which something is told that was said before: asked for in one place, by those who write it and by those who first lock
-- what will be written.
--
-- Expand only: processes of the version before do not ask it.

-- What fires is told by the row that fires, and so is its end, unless that row has begun later by a source whose messages bear their
-- time (`dated`). Else what fires is a copy of what is over, come late: always, where each time of a trouble is about something new
-- (`once`); if it bears no later time, where a later beginning would (`dated`, `reopened`); and within two minutes of its end, if it
-- says that it began at the same time. And what is over, or unclear, is told by what says the same.
CREATE FUNCTION told_by(said_by text, about text, said text, since timestamptz, at timestamptz, once text[], dated text[], reopened text[])
RETURNS TABLE (id uuid, state text) LANGUAGE sql STABLE AS $$
    WITH fires AS MATERIALIZED (
        SELECT s.id, s.state FROM signal s
         WHERE s.source = said_by AND s.fingerprint = about AND s.state = 'firing'
           AND (said = 'firing' OR (said_by = ANY (dated) AND since < s.started_at) IS NOT TRUE)
    )
    SELECT f.id, f.state FROM fires f
    UNION ALL
    (SELECT s.id, s.state FROM signal s
      WHERE NOT EXISTS (SELECT FROM fires) AND s.source = said_by AND s.fingerprint = about
        AND CASE said WHEN 'firing' THEN s.state = 'resolved' AND (said_by = ANY (once)
                                         OR said_by = ANY (dated || reopened) AND since <= s.started_at
                                         OR since = s.started_at AND at < s.resolved_at + interval '2 minutes')
                 ELSE s.state = said AND s.started_at IS NOT DISTINCT FROM since END
      ORDER BY s.first_seen DESC LIMIT 1)
$$;
