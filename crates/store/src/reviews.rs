//! Reviews of broken glass: opened by the very entry that broke it (`review_broken_glass` in the migrations), closed by
//! somebody else.

use domain::{Actor, Timestamp};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// Somebody went on alone, and what somebody else says to it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Review {
    /// Its number.
    pub id: i64,
    /// The run.
    pub run_id: Uuid,
    /// What that run does to what.
    pub title: String,
    /// The step; none for the start.
    pub step: Option<String>,
    /// Who went on alone.
    pub opened_by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub opened_at: Timestamp,
    /// Who has looked at it since.
    pub closed_by: Option<String>,
    /// What they say.
    pub note: Option<String>,
    /// When.
    pub closed_at: Option<Timestamp>,
}

/// Those that nobody has closed, the oldest first.
pub async fn open(pool: &PgPool) -> Result<Vec<Review>, StoreError> {
    Ok(sqlx::query_as!(
        Review,
        r#"SELECT v.id, v.run_id, r.title, v.step, v.opened_by, v.reason, v.opened_at, v.closed_by, v.note, v.closed_at
             FROM review v JOIN run r ON r.id = v.run_id WHERE v.closed_at IS NULL ORDER BY v.id"#
    )
    .fetch_all(pool)
    .await?)
}

/// All of a run's.
pub async fn of_run(pool: &PgPool, run_id: Uuid) -> Result<Vec<Review>, StoreError> {
    Ok(sqlx::query_as!(
        Review,
        r#"SELECT v.id, v.run_id, r.title, v.step, v.opened_by, v.reason, v.opened_at, v.closed_by, v.note, v.closed_at
             FROM review v JOIN run r ON r.id = v.run_id WHERE v.run_id = $1 ORDER BY v.id"#,
        run_id,
    )
    .fetch_all(pool)
    .await?)
}

/// One.
pub async fn one(pool: &PgPool, id: i64) -> Result<Option<Review>, StoreError> {
    Ok(sqlx::query_as!(
        Review,
        r#"SELECT v.id, v.run_id, r.title, v.step, v.opened_by, v.reason, v.opened_at, v.closed_by, v.note, v.closed_at
             FROM review v JOIN run r ON r.id = v.run_id WHERE v.id = $1"#,
        id,
    )
    .fetch_optional(pool)
    .await?)
}

/// Closes one, and writes that down, in one statement; `false` when it is closed already, or was opened by the same person.
pub async fn close(
    pool: &PgPool,
    id: i64,
    by: &Actor,
    note: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let closed = sqlx::query!(
        r#"WITH closed AS (
               UPDATE review SET closed_by = $2, note = $3, closed_at = $4
                WHERE id = $1 AND closed_at IS NULL AND opened_by <> $2 RETURNING id, run_id, opened_by
           )
           INSERT INTO audit (at, actor, action, target, details)
           SELECT $4, $2, 'review closed', run_id::text, jsonb_build_object('review', id, 'opened_by', opened_by, 'note', $3::text)
             FROM closed"#,
        id,
        by.name(),
        note,
        at,
    )
    .execute(pool)
    .await?;
    Ok(closed.rows_affected() == 1)
}
