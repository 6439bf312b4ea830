//! How long past runs of a runbook took: the whole of them, and each step.

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
pub async fn took(pool: &PgPool, runbook: &str) -> Result<Vec<Took>, StoreError> {
    Ok(sqlx::query_as!(
        Took,
        r#"WITH past AS (
               SELECT id, outcome, extract(epoch FROM ended_at - created_at)::float8 AS seconds FROM run
                WHERE runbook = $1 AND ended_at IS NOT NULL AND seq <= $3 ORDER BY ended_at DESC LIMIT $2
           ), done AS (
               SELECT regexp_replace(j.step, '\[[^]]*\]', '[]', 'g') AS step,
                      extract(epoch FROM max(j.at) FILTER (WHERE j.kind = 'done')
                          - min(j.at) FILTER (WHERE j.kind <> 'done'))::float8 AS seconds
                 FROM past JOIN journal j ON j.run_id = past.id
                WHERE j.step IS NOT NULL AND j.kind IN ('started', 'intent', 'expanded', 'entered', 'waiting', 'done')
                GROUP BY past.id, j.step
           ), spans AS (
               SELECT step, seconds FROM done WHERE seconds IS NOT NULL
               UNION ALL
               SELECT NULL, seconds FROM past WHERE outcome = 'succeeded'
           )
           SELECT step, count(*) AS "times!",
                  percentile_disc(0.5) WITHIN GROUP (ORDER BY seconds) AS "p50!",
                  percentile_disc(0.95) WITHIN GROUP (ORDER BY seconds) AS "p95!"
             FROM spans GROUP BY step ORDER BY step"#,
        runbook,
        RUNS,
        LONGEST,
    )
    .fetch_all(pool)
    .await?)
}
