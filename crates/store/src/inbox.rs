//! What people ask of a run: insert-only, idempotent by id, folded into the journal by the run's owner.

use domain::run::Ask;
use domain::{Actor, Timestamp};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// One wish.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its number; a run answers its wishes in this order.
    pub n: i64,
    /// Who.
    pub by: Actor,
    /// What.
    pub ask: Ask,
}

/// Puts a wish into a run's inbox. The same id is put in once.
pub async fn put(
    pool: &PgPool,
    run_id: Uuid,
    id: Uuid,
    by: &Actor,
    ask: &Ask,
    at: Timestamp,
) -> Result<(), StoreError> {
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.map_err(|e| StoreError::corrupt("wish", id, e))
    };
    sqlx::query!(
        "INSERT INTO inbox (id, run_id, by, ask, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
        id,
        run_id,
        json(serde_json::to_value(by))?,
        json(serde_json::to_value(ask))?,
        at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The wishes after number `n`.
pub async fn after(pool: &PgPool, run_id: Uuid, n: i64) -> Result<Vec<Wish>, StoreError> {
    sqlx::query!("SELECT n, by, ask FROM inbox WHERE run_id = $1 AND n > $2 ORDER BY n", run_id, n)
        .fetch_all(pool)
        .await?
        .into_iter()
        .map(|row| {
            let corrupt = |e: serde_json::Error| StoreError::corrupt("wish", row.n, e);
            Ok(Wish {
                n: row.n,
                by: serde_json::from_value(row.by).map_err(corrupt)?,
                ask: serde_json::from_value(row.ask).map_err(corrupt)?,
            })
        })
        .collect()
}

/// The runs of a worker that have unanswered wishes.
pub async fn waiting(pool: &PgPool, worker: i64) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT DISTINCT r.id FROM run r JOIN inbox i ON i.run_id = r.id AND i.n > r.inbox
          WHERE r.owner = $1 AND r.ended_at IS NULL",
        worker,
    )
    .fetch_all(pool)
    .await?)
}
