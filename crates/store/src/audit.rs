//! What somebody did that no journal tells: sign-ins, refused starts, reloads. The database chains the rows ([`crate::proof`]
//! checks it), and [`crate::search`] finds them.

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
        told(actor, details),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// With the token by which they did it, if they did it by one.
pub(crate) fn told(actor: &Actor, mut details: Value) -> Value {
    if let (Some(via), Value::Object(details)) = (actor.token(), &mut details) {
        details.insert("token".into(), via.name.as_str().into());
    }
    details
}
