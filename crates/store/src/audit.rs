//! What somebody did that no journal tells: sign-ins, refused starts, reloads.

use domain::{Actor, Timestamp};
use serde_json::Value;
use sqlx::PgPool;

use crate::StoreError;

/// Adds an entry. When this fails, what it tells of must fail too.
pub async fn add(
    pool: &PgPool,
    at: Timestamp,
    actor: &Actor,
    action: &str,
    target: &str,
    details: Value,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit (at, actor, action, target, details) VALUES ($1, $2, $3, $4, $5)",
        at,
        actor.name(),
        action,
        target,
        details,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// One entry.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub target: String,
    /// With which particulars.
    pub details: Value,
}

/// The newest entries.
pub async fn newest(pool: &PgPool, limit: i64) -> Result<Vec<Entry>, StoreError> {
    Ok(sqlx::query_as!(
        Entry,
        "SELECT at, actor, action, target, details FROM audit ORDER BY id DESC LIMIT $1",
        limit
    )
    .fetch_all(pool)
    .await?)
}
