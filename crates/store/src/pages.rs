//! The read side, for people: lists of runs, one run's header, locks.

use domain::Timestamp;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// A run in a list, or as a page's header.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: Uuid,
    /// Name of the runbook.
    pub runbook: String,
    /// Hash of its text.
    pub hash: String,
    /// What it does to what.
    pub title: String,
    /// Inputs in stored form.
    pub inputs: Value,
    /// The plan that the requester saw, if they looked.
    pub plan: Option<Value>,
    /// Who asked for it.
    pub requested_by: String,
    /// One word: `running`, `paused`, … or the outcome.
    pub state: String,
    /// How it ended.
    pub outcome: Option<String>,
    /// In a sentence.
    pub message: Option<String>,
    /// Number of its last journal entry.
    pub seq: i64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last moved.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only those that have not ended.
    pub open: bool,
    /// Only those of this runbook.
    pub runbook: Option<String>,
    /// Only those older than this one (a cursor).
    pub before: Option<(Timestamp, Uuid)>,
}

/// Runs, the newest first.
pub async fn runs(pool: &PgPool, filter: &RunFilter, limit: i64) -> Result<Vec<RunRow>, StoreError> {
    let (before_at, before_id) = filter.before.unzip();
    Ok(sqlx::query_as!(
        RunRow,
        r#"SELECT id, runbook, hash, title, inputs, NULL::jsonb AS plan, requested_by, state, outcome, message, seq, created_at, updated_at, ended_at
             FROM run
            WHERE ($1 = false OR ended_at IS NULL)
              AND ($2::text IS NULL OR runbook = $2)
              AND ($3::timestamptz IS NULL OR created_at < $3 OR (created_at = $3 AND id > $4))
            ORDER BY created_at DESC, id LIMIT $5"#,
        filter.open,
        filter.runbook,
        before_at,
        before_id,
        limit,
    )
    .fetch_all(pool)
    .await?)
}

/// One run.
pub async fn run(pool: &PgPool, id: Uuid) -> Result<Option<RunRow>, StoreError> {
    Ok(sqlx::query_as!(
        RunRow,
        r#"SELECT id, runbook, hash, title, inputs, plan, requested_by, state, outcome, message, seq, created_at, updated_at, ended_at
             FROM run WHERE id = $1"#,
        id
    )
    .fetch_optional(pool)
    .await?)
}

/// The exact text that a hash names.
pub async fn runbook_text(pool: &PgPool, hash: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT source FROM runbook_text WHERE hash = $1", hash)
        .fetch_optional(pool)
        .await?)
}

/// All locks that are held.
pub async fn locks(pool: &PgPool) -> Result<Vec<crate::runs::Holder>, StoreError> {
    Ok(sqlx::query_as!(
        crate::runs::Holder,
        r#"SELECT l.target, l.run_id, r.title, r.requested_by, l.taken_at AS since
             FROM lock l JOIN run r ON r.id = l.run_id ORDER BY l.target"#
    )
    .fetch_all(pool)
    .await?)
}
