//! How long past runs of a runbook took: the whole of them, and each step.
//!
//! What people took is no time of the runbook's: a run is timed from its first step on, without what it waited for somebody, and a
//! step only where it went through at once.

use sqlx::PgPool;

use crate::StoreError;

/// What something took over several runs, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Took {
    /// The step's path, `[]` in place of each item's key; `None`: the whole run, of those that succeeded.
    pub step: Option<String>,
    /// How many times that is.
    pub times: i64,
    /// Half of them took at most this.
    pub p50: f64,
    /// 95 of 100 of them took at most this.
    pub p95: f64,
}

/// So many runs are looked at, the newest,
const RUNS: i64 = 50;
/// and of these only such with a journal of at most so many entries, so that the question stays a small one.
const LONGEST: i64 = 2000;

/// What the newest ended runs of a runbook took. By index: `run_ended_of_runbook`, and the journal's own key.
///
/// A run that waits for somebody writes nothing until they have come, unless other branches of it go on: so the time until its next
/// entry is theirs, and so is the time before what they say goes on. What was refused, or releases nothing, is as if not said.
pub async fn took(pool: &PgPool, runbook: &str) -> Result<Vec<Took>, StoreError> {
    Ok(sqlx::query_as!(
        Took,
        r#"WITH past AS (
               SELECT id, outcome, ended_at FROM run
                WHERE runbook = $1 AND ended_at IS NOT NULL AND seq <= $3 ORDER BY ended_at DESC LIMIT $2
           ), entries AS (
               SELECT j.run_id, j.seq, j.step, j.at, j.kind, CASE WHEN j.kind = 'asked' THEN j.entry->'ask'->>'ask' END AS ask
                 FROM past JOIN journal j ON j.run_id = past.id WHERE j.kind <> 'asked' OR j.entry->>'refused' IS NULL
           ), told AS MATERIALIZED (
               SELECT j.run_id, j.step, j.at, lead(j.at) OVER in_order - j.at AS rest,
                      j.kind IN ('started', 'intent', 'expanded', 'entered', 'waiting') AS begins, j.kind = 'done' AS done,
                      j.kind IN ('started', 'intent') AS tries, j.ask = 'pause' AS holds,
                      j.kind IN ('paused', 'awaits_approval', 'outcome_unknown') OR j.ask = 'pause' AS asks,
                      lead(j.ask) OVER in_order NOT IN ('pause', 'abort') AS goes_on,
                      j.kind IN ('paused', 'awaits_approval', 'outcome_unknown', 'attempt_failed', 'unclear', 'failed') AS halts
                 FROM entries j WHERE j.ask IS DISTINCT FROM 'stop_looking'
               WINDOW in_order AS (PARTITION BY j.run_id ORDER BY j.seq)
           ), held AS MATERIALIZED (SELECT run_id, at FROM told WHERE holds), steps AS (
               SELECT run_id, step, min(at) FILTER (WHERE begins) AS begun, max(at) FILTER (WHERE done) AS done,
                      bool_or(halts) OR count(*) FILTER (WHERE tries) > 1 AS halted
                 FROM told WHERE step IS NOT NULL GROUP BY run_id, step
           ), begun AS (
               SELECT run_id, min(at) FILTER (WHERE begins) AS at FROM told GROUP BY run_id
           ), people AS (
               SELECT told.run_id, sum(told.rest) AS span FROM told JOIN begun USING (run_id)
                WHERE (told.asks OR told.goes_on) AND told.at >= begun.at GROUP BY told.run_id
           ), spans AS (
               SELECT regexp_replace(step, '\[[^]]*\]', '[]', 'g') AS step, done - begun AS span FROM steps s
                WHERE done - begun IS NOT NULL
                  AND NOT EXISTS (SELECT FROM held h WHERE h.run_id = s.run_id AND h.at >= s.begun AND h.at < s.done)
                  AND NOT EXISTS (SELECT FROM steps h WHERE h.halted AND h.run_id = s.run_id
                                     AND (h.step = s.step OR starts_with(h.step, s.step || '.') OR starts_with(h.step, s.step || '[')))
               UNION ALL
               SELECT NULL, greatest(past.ended_at - coalesce(begun.at, past.ended_at) - coalesce(people.span, '0'), '0')
                 FROM past LEFT JOIN begun ON begun.run_id = past.id LEFT JOIN people ON people.run_id = past.id
                WHERE past.outcome = 'succeeded'
           ), counted AS (
               SELECT step, extract(epoch FROM span)::float8 AS seconds FROM spans
           )
           SELECT step, count(*) AS "times!",
                  percentile_disc(0.5) WITHIN GROUP (ORDER BY seconds) AS "p50!",
                  percentile_disc(0.95) WITHIN GROUP (ORDER BY seconds) AS "p95!"
             FROM counted GROUP BY step ORDER BY step"#,
        runbook,
        RUNS,
        LONGEST,
    )
    .fetch_all(pool)
    .await?)
}
