//! Reads journals of runs that wake up: whoever asks at the same time shares a statement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::audit::Link;
use domain::run::Record;
use store::claims::journals;
use store::{PgPool, StoreError};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::lease::within;

/// Told to all whose journals the statement was to read.
type Unread = Arc<StoreError>;

/// How many journals one statement reads at the most: they are in memory all at once.
const BATCH: usize = 64;

type Journal = (Vec<Record>, Link);

struct Order {
    run_id: Uuid,
    answer: oneshot::Sender<Result<Journal, Unread>>,
}

pub(crate) struct Reader(mpsc::UnboundedSender<Order>);

impl Reader {
    /// Sets the reader going; it ends with this handle. What is not answered within the `patience` is given up, so that one
    /// silent connection does not keep all runs asleep.
    pub(crate) fn start(pool: PgPool, patience: Duration) -> Self {
        let (orders, queue) = mpsc::unbounded_channel();
        tokio::spawn(read(pool, patience, queue));
        Self(orders)
    }

    /// The journal of a run, with the link of its last entry.
    pub(crate) async fn read(&self, run_id: Uuid) -> Result<Journal, Unread> {
        let (answer, wait) = oneshot::channel();
        let _ = self.0.send(Order { run_id, answer });
        wait.await.unwrap_or_else(|_| Err(Arc::new(StoreError::Again("the reader has ended"))))
    }
}

async fn read(pool: PgPool, patience: Duration, mut queue: mpsc::UnboundedReceiver<Order>) {
    let mut orders = Vec::new();
    while queue.recv_many(&mut orders, BATCH).await > 0 {
        let ids: Vec<Uuid> = orders.iter().map(|order| order.run_id).collect();
        let (mut found, failed) = match within(patience, journals(&pool, &ids)).await {
            Ok(found) => (found, None),
            Err(e) => (HashMap::new(), Some(Arc::new(e))),
        };
        for order in orders.drain(..) {
            let missing = || {
                let key = order.run_id.to_string();
                StoreError::Corrupt { what: "journal", key, why: "there is none".into() }
            };
            let journal = match (found.remove(&order.run_id), &failed) {
                (Some(journal), _) => journal.map_err(Arc::new),
                (None, Some(failed)) => Err(failed.clone()),
                (None, None) => Err(Arc::new(missing())),
            };
            let _ = order.answer.send(journal);
        }
    }
}
