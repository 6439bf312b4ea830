//! What rehearsals showed, the newest of each runbook and target.

use domain::Timestamp;
use domain::readiness::{Answer, Case};
use sqlx::PgPool;

use crate::StoreError;

/// What the newest rehearsal of a runbook on a target showed.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Shown {
    /// Name of the runbook.
    pub runbook: String,
    /// In the names of locks.
    pub target: String,
    /// When; none while the first is under way.
    pub at: Option<Timestamp>,
    /// Would it do its work?
    pub ready: Option<bool>,
    /// Where it would stop.
    pub step: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// Why it was not needed then.
    pub unneeded: Vec<String>,
    /// Since when it has been ready, or not.
    pub since: Option<Timestamp>,
}

/// Takes a rehearsal for this process, if it was last begun at `due` or before, or with another text of the runbook.
pub async fn begin(
    pool: &PgPool,
    case: &Case,
    hash: &str,
    now: Timestamp,
    due: Timestamp,
) -> Result<bool, StoreError> {
    let taken = sqlx::query!(
        r#"INSERT INTO readiness AS r (runbook, target, begun, hash) VALUES ($1, $2, $3, $5)
           ON CONFLICT (runbook, target) DO UPDATE SET begun = $3, hash = $5
            WHERE r.begun <= $4 OR r.hash IS DISTINCT FROM $5"#,
        case.runbook,
        case.target,
        now,
        due,
        hash,
    )
    .execute(pool)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Keeps what it showed.
pub async fn put(pool: &PgPool, case: &Case, answer: &Answer, at: Timestamp) -> Result<(), StoreError> {
    let (ready, step, message, unneeded): (_, _, _, &[String]) = match answer {
        Answer::Ready { unneeded } => (true, None, None, unneeded),
        Answer::Stops { step, message } => (false, Some(step.to_string()), Some(message.as_str()), &[]),
    };
    sqlx::query!(
        r#"INSERT INTO readiness AS r (runbook, target, begun, at, ready, step, message, unneeded, since)
           VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $3)
           ON CONFLICT (runbook, target) DO UPDATE SET at = $3, ready = $4, step = $5, message = $6, unneeded = $7,
               since = CASE WHEN r.ready = $4 THEN r.since ELSE $3 END"#,
        case.runbook,
        case.target,
        at,
        ready,
        step,
        message,
        unneeded,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// All, by runbook and target; also of what is not in the inventory or on the shelf any more.
pub async fn all(pool: &PgPool) -> Result<Vec<Shown>, StoreError> {
    Ok(sqlx::query_as!(
        Shown,
        "SELECT runbook, target, at, ready, step, message, unneeded, since FROM readiness ORDER BY runbook, target"
    )
    .fetch_all(pool)
    .await?)
}
