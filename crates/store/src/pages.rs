//! The read side, for people: lists of runs, one run's header, locks.

use domain::Timestamp;
use serde_json::Value;
use sqlx::{PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::StoreError;

/// A run in a list, or as a page's header.
#[derive(Debug, Clone, serde::Serialize, sqlx::FromRow, schemars::JsonSchema)]
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
    let mut query = QueryBuilder::new("");
    put_runs(&mut query, filter, limit);
    Ok(query.build_query_as().persistent(false).fetch_all(pool).await?)
}

/// The plan that Postgres makes for a list of runs, as JSON.
pub async fn explain_runs(pool: &PgPool, filter: &RunFilter, limit: i64) -> Result<Value, StoreError> {
    let mut query = QueryBuilder::new("EXPLAIN (FORMAT JSON) ");
    put_runs(&mut query, filter, limit);
    Ok(query.build_query_scalar().persistent(false).fetch_one(pool).await?)
}

/// Put together, and planned for these very values: see [`crate::search`].
fn put_runs(query: &mut QueryBuilder<Postgres>, filter: &RunFilter, limit: i64) {
    query.push(
        "SELECT r.id, r.runbook, r.hash, r.title, r.inputs, NULL::jsonb AS plan, r.requested_by, r.state, r.outcome, r.message, r.seq, \
                r.created_at, r.updated_at, r.ended_at FROM ",
    );
    // The open ones are few, and have an index of their own.
    query.push(if filter.open {
        "run AS r, LATERAL (SELECT r.*) AS l WHERE r.ended_at IS NULL"
    } else {
        "run_listed AS l JOIN run AS r ON r.id = l.id WHERE true"
    });
    if let Some(runbook) = &filter.runbook {
        query.push(" AND l.runbook = ").push_bind(runbook.clone());
    }
    if let Some((at, id)) = filter.before {
        query.push(" AND l.created_at <= ").push_bind(at).push(" AND (l.created_at < ").push_bind(at);
        query.push(" OR l.id > ").push_bind(id).push(")");
    }
    query.push(" ORDER BY l.created_at DESC, l.id LIMIT ").push_bind(limit);
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
