//! This process's right to act.
//!
//! ```text
//!  asked ────────── may act ──────────▶│ margin │ lost: stops, starts anew │ still not stopped: aborts
//!    0                                0.8        1 lease                   2 leases
//! ```
//!
//! The lease is kept on the database's clock. The process believes in it only until the monotonic instant taken *before*
//! it sent the renewal, plus what was granted, minus a margin: so it always stops before others may start. A missed lease
//! is final for the incarnation. A process that was frozen, or whose parts do not stop, is dangerous for as long as it
//! lives: one lease after the loss a thread of its own ends it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::workers::LeaseLine;
use store::{PgPool, StoreError, workers};
use tokio::sync::watch;

use crate::Core;

/// Whoever ends waits no longer for a database that may be gone.
const HANDED_BACK: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Lease {
    worker: i64,
    length: Duration,
    /// When the last renewal that was granted had been asked for.
    asked: Arc<Mutex<Instant>>,
    lost: watch::Sender<bool>,
    /// Everything that this incarnation did has stopped.
    over: watch::Sender<bool>,
    /// How many incarnations have a lease, as the last renewal told.
    alive: Arc<AtomicU32>,
}

impl Lease {
    /// Registers this incarnation. What is not answered within the lease is worth nothing when it is: a connection may have
    /// fallen silent since it was used last, and the next try gets another one.
    pub(crate) async fn take(pool: &PgPool, name: &str, length: Duration) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let worker = within(length, workers::register(pool, name, length)).await?;
        let asked = Arc::new(Mutex::new(asked));
        let (lost, over) = (watch::Sender::new(false), watch::Sender::new(false));
        Ok(Self { worker, length, asked, lost, over, alive: Arc::new(AtomicU32::new(1)) })
    }

    /// How many processes work on this database, this one with them; as it was known a third of a lease ago.
    pub(crate) fn alive(&self) -> Arc<AtomicU32> {
        self.alive.clone()
    }

    pub(crate) fn worker(&self) -> i64 {
        self.worker
    }

    pub(crate) fn length(&self) -> Duration {
        self.length
    }

    /// How long this process may still act; `None` when not at all.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        if self.is_lost() {
            return None;
        }
        (self.length - margin(self.length)).checked_sub(self.age()).filter(|left| !left.is_zero())
    }

    /// The same, once there is enough left to announce a change and make it: a renewal that is due is waited for.
    pub(crate) async fn comfortable(&self) -> Option<Duration> {
        loop {
            match self.remaining() {
                Some(left) if left >= self.length.mul_f64(0.3) => return Some(left),
                None if self.is_lost() => return None,
                _ => tokio::time::sleep(self.length.mul_f64(0.02)).await,
            }
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Completes once the lease is lost for good.
    pub(crate) async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Renews the lease, about three times in its length, until it is lost. What goes wrong is tried again soon, on a new
    /// connection: a database that restarts costs a second, not the lease.
    pub(crate) async fn keep(self, pool: PgPool) {
        let mut line = LeaseLine::beside(&pool);
        let patience = self.length.mul_f64(0.3);
        // The first one soon: it tells who else is there.
        let mut pause = Duration::ZERO;
        loop {
            tokio::time::sleep(pause.min(self.length.saturating_sub(self.age()))).await;
            let asked = Instant::now();
            let why = match tokio::time::timeout(patience, line.renew(self.worker, self.length)).await {
                Ok(Ok(Some(alive))) => {
                    *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
                    self.alive.store(u32::try_from(alive).unwrap_or(u32::MAX).max(1), Ordering::Relaxed);
                    pause = patience;
                    continue;
                }
                Ok(Ok(None)) => {
                    tracing::error!(
                        worker = self.worker,
                        "the lease was not granted any more; this incarnation stops"
                    );
                    self.lost.send_replace(true);
                    return;
                }
                Ok(Err(e)) => e.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if self.age() >= self.length {
                tracing::error!(worker = self.worker, "the lease ran out ({why}); this incarnation stops");
                self.lost.send_replace(true);
                return;
            }
            tracing::warn!(worker = self.worker, "the lease was not renewed, trying again: {why}");
            pause = self.length.mul_f64(0.05);
        }
    }

    /// Hands the lease back, unless it is lost: then the database knows better than we do.
    pub(crate) async fn give_back(&self, pool: &PgPool) {
        if self.lost.send_replace(true) {
            return;
        }
        match tokio::time::timeout(self.length.min(HANDED_BACK), workers::release(pool, self.worker)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!("the lease was not handed back, it will run out by itself: {e}"),
            Err(_) => tracing::warn!("the lease was not handed back, it will run out by itself: no answer"),
        }
    }

    /// Everything has stopped: there is nothing to end any more.
    pub(crate) fn is_over(&self) {
        self.over.send_replace(true);
    }

    /// A thread that calls `end` when this incarnation still does things a whole lease after it lost its own. A thread,
    /// because the runtime may be what hangs.
    pub(crate) fn guard(&self, end: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let lease = self.clone();
        let watching = move || {
            while !*lease.over.borrow() {
                if lease.age() >= lease.length * 2 {
                    return end();
                }
                std::thread::sleep(lease.length.mul_f64(0.1));
            }
        };
        std::thread::Builder::new().name("lease guard".into()).spawn(watching).map(drop)
    }

    /// How long ago the last renewal was asked for.
    fn age(&self) -> Duration {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl Core {
    /// What the database answers within the length of a lease. A connection may fall silent while all others go on, and no packet
    /// ever tells; the lease has a line of its own, so that nothing would end this process, and what asks would wait for ever.
    /// Whoever asks again gets another connection: the silent one is closed with the question that is given up.
    pub(crate) async fn soon<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(self.lease.length(), answer).await
    }
}

/// An answer that is of use only for so long.
pub(crate) async fn within<T>(
    length: Duration,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let silent = Err(StoreError::Again("the database does not answer"));
    tokio::time::timeout(length, answer).await.unwrap_or(silent)
}

/// What is kept between "I stop" and "others may start".
fn margin(length: Duration) -> Duration {
    length.mul_f64(0.2)
}
