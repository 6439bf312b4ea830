//! LISTEN and NOTIFY, for the engine's bell.

pub use sqlx::postgres::PgListener;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, PgExecutor};

use crate::{PgPool, StoreError};

/// Sends a payload of at most 8000 bytes to everybody who listens. Nobody waits for the disk: what a crash loses, the poll
/// finds.
pub async fn notify(executor: impl PgExecutor<'_>, channel: &str, payload: &str) -> Result<(), StoreError> {
    sqlx::query!("SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)", channel, payload)
        .fetch_one(executor)
        .await?;
    Ok(())
}

/// A connection of its own, for whoever notifies a hundred times a second: what a pool asks before it takes a connection back
/// costs more than that. A failure drops the connection, and the next try begins with a new one.
pub struct Notifier {
    to: PgConnectOptions,
    open: Option<PgConnection>,
}

impl Notifier {
    /// To where the pool goes; it connects when there is something to say.
    pub fn beside(pool: &PgPool) -> Self {
        let to = pool.connect_options().as_ref().clone().application_name("firebreak bell");
        Self { to, open: None }
    }

    /// The same as [`notify`].
    pub async fn notify(&mut self, channel: &str, payload: &str) -> Result<(), StoreError> {
        let mut line = match self.open.take() {
            Some(line) => line,
            None => PgConnection::connect_with(&self.to).await?,
        };
        notify(&mut line, channel, payload).await?;
        self.open = Some(line);
        Ok(())
    }
}
