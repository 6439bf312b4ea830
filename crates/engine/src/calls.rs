//! Keeps the calls that runs made: whatever has come in meanwhile is one statement.
//!
//! When ten thousand runs see the same change, or hundreds act at the same time, their calls share inserts instead of
//! each waiting for a connection.

use std::time::Duration;

use store::PgPool;
use store::calls::Kept;
use tokio::sync::{mpsc, oneshot};

/// How many runs' calls one statement holds at the most.
const BATCH: usize = 256;

struct Order {
    kept: Kept,
    done: oneshot::Sender<()>,
}

pub(crate) struct CallKeeper(mpsc::UnboundedSender<Order>);

impl CallKeeper {
    /// Sets the keeper going; it ends with this handle.
    pub(crate) fn start(pool: PgPool) -> Self {
        let (orders, queue) = mpsc::unbounded_channel();
        tokio::spawn(keep(pool, queue));
        Self(orders)
    }

    /// Returns when they are kept, or when it is clear that they will not be. A database that is away costs a run
    /// nothing but these lines.
    pub(crate) async fn keep(&self, kept: Kept) {
        if kept.calls.is_empty() {
            return;
        }
        let (done, wait) = oneshot::channel();
        if self.0.send(Order { kept, done }).is_ok() {
            let _ = wait.await;
        }
    }
}

async fn keep(pool: PgPool, mut queue: mpsc::UnboundedReceiver<Order>) {
    let mut orders = Vec::new();
    while queue.recv_many(&mut orders, BATCH).await > 0 {
        let (kept, done): (Vec<_>, Vec<_>) = orders.drain(..).map(|o| (o.kept, o.done)).unzip();
        for pause in [100, 400, 1600, 0] {
            match store::calls::add(&pool, &kept).await {
                Ok(()) => break,
                Err(e) => tracing::warn!(runs = kept.len(), "calls were not kept: {e}"),
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        for done in done {
            let _ = done.send(());
        }
    }
}
