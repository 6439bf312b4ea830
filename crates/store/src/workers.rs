//! Worker incarnations and their leases.
//!
//! Liveness is per process, the fence is per run: a process that misses its lease is dead to everybody else and starts
//! anew under another id. Only the database's clock decides.
//!
//! An incarnation belongs to one timeline of Postgres. After a failover to another primary it renews nothing any more,
//! whatever its lease says: what it knows may not be in this database.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, PgPool};

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

/// Hands the lease back: others may take this worker's runs over at once.
pub async fn release(pool: &PgPool, worker: i64) -> Result<(), StoreError> {
    sqlx::query!("UPDATE worker SET lease_until = clock_timestamp() WHERE id = $1", worker)
        .execute(pool)
        .await?;
    Ok(())
}

/// Do commits wait for a standby? Without one, a failover may lose what was committed last.
pub async fn commits_wait_for_a_standby(pool: &PgPool) -> Result<bool, StoreError> {
    let waits = sqlx::query_scalar!(r#"SELECT commits_wait_for_a_standby() AS "waits!""#);
    Ok(waits.fetch_one(pool).await?)
}

/// The line on which a lease is renewed: a connection of its own, so that a renewal waits behind nothing.
///
/// Any failure drops the connection, and so does whoever stops waiting for an answer: the next try begins with a new one.
/// Nothing is ever asked twice on a line that may be dead, or that leads to a server which takes no writes any more.
pub struct LeaseLine {
    to: PgConnectOptions,
    open: Option<PgConnection>,
}

impl LeaseLine {
    /// A line to where the pool goes, opened when it is first needed.
    pub fn beside(pool: &PgPool) -> Self {
        let to = pool.connect_options().as_ref().clone().application_name("firebreak lease");
        Self { to, open: None }
    }

    /// Renews the lease, and tells how many incarnations have one now; `None` when it had run out, or when this is no longer the
    /// database it was taken from. Both are final for this incarnation.
    pub async fn renew(&mut self, worker: i64, lease: Duration) -> Result<Option<i64>, StoreError> {
        let mut line = match self.open.take() {
            Some(line) => line,
            None => PgConnection::connect_with(&self.to).await?,
        };
        let alive = sqlx::query_scalar!(
            r#"UPDATE worker SET lease_until = clock_timestamp() + make_interval(secs => $2),
                      synchronous = commits_wait_for_a_standby()
                WHERE id = $1 AND lease_until > clock_timestamp() AND timeline IS NOT DISTINCT FROM server_timeline()
               RETURNING (SELECT count(*) FROM worker WHERE lease_until > clock_timestamp()) AS "alive!""#,
            worker,
            lease.as_secs_f64(),
        )
        .fetch_optional(&mut line)
        .await?;
        self.open = Some(line);
        Ok(alive)
    }
}
