//! Worker incarnations and their leases.
//!
//! Liveness is per process, the fence is per run: a process that misses its lease is dead to everybody else and starts
//! anew under another id. Only the database's clock decides.

use std::time::Duration;

use sqlx::PgPool;

use crate::StoreError;

/// Registers a new incarnation with a lease.
pub async fn register(pool: &PgPool, name: &str, lease: Duration) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO worker (name, lease_until) VALUES ($1, clock_timestamp() + make_interval(secs => $2)) RETURNING id",
        name,
        lease.as_secs_f64(),
    )
    .fetch_one(pool)
    .await?)
}

/// Renews the lease; `false` when it had run out, which is final for this incarnation.
pub async fn renew(pool: &PgPool, worker: i64, lease: Duration) -> Result<bool, StoreError> {
    let renewed = sqlx::query!(
        "UPDATE worker SET lease_until = clock_timestamp() + make_interval(secs => $2)
          WHERE id = $1 AND lease_until > clock_timestamp()",
        worker,
        lease.as_secs_f64(),
    )
    .execute(pool)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Hands the lease back: others may take this worker's runs over at once.
pub async fn release(pool: &PgPool, worker: i64) -> Result<(), StoreError> {
    sqlx::query!("UPDATE worker SET lease_until = clock_timestamp() WHERE id = $1", worker)
        .execute(pool)
        .await?;
    Ok(())
}
