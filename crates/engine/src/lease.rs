//! This process's right to act.
//!
//! The lease is kept on the database's clock. The process believes in it only until the monotonic instant taken *before*
//! it sent the renewal, plus what was granted, minus a margin: so it always stops before others may start. A missed lease
//! is final for the incarnation.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::{PgPool, StoreError, workers};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Lease {
    worker: i64,
    length: Duration,
    until: Arc<Mutex<Instant>>,
    lost: watch::Sender<bool>,
}

impl Lease {
    pub(crate) async fn take(pool: &PgPool, name: &str, length: Duration) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let worker = workers::register(pool, name, length).await?;
        let until = Arc::new(Mutex::new(asked + length - margin(length)));
        Ok(Self { worker, length, until, lost: watch::Sender::new(false) })
    }

    pub(crate) fn worker(&self) -> i64 {
        self.worker
    }

    /// How long this process may still act; `None` when not at all.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        if *self.lost.borrow() {
            return None;
        }
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Completes once the lease is lost for good.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Renews the lease, about three times in its length, until it is lost.
    pub(crate) async fn keep(self, pool: PgPool) {
        loop {
            tokio::time::sleep(self.length.mul_f64(0.3)).await;
            let asked = Instant::now();
            match workers::renew(&pool, self.worker, self.length).await {
                Ok(true) => {
                    *self.until.lock().unwrap_or_else(PoisonError::into_inner) =
                        asked + self.length - margin(self.length);
                }
                Ok(false) => {
                    tracing::error!(worker = self.worker, "the lease ran out; this incarnation stops");
                    self.lost.send_replace(true);
                    return;
                }
                Err(e) => tracing::warn!(worker = self.worker, "the lease was not renewed: {e}"),
            }
        }
    }

    pub(crate) async fn give_back(&self, pool: &PgPool) -> Result<(), StoreError> {
        self.lost.send_replace(true);
        workers::release(pool, self.worker).await
    }
}

/// What is kept between "I stop" and "others may start".
fn margin(length: Duration) -> Duration {
    length.mul_f64(0.2)
}
