//! Group commit: a few tasks, each with a connection of its own, write whatever many drivers have queued as one statement.
//!
//! No timer: a committer takes what is there, writes it, answers, and takes what has come in meanwhile. Alone, a run waits
//! for one commit; together, hundreds share one. A driver goes on only after its commit returned.
//!
//! A committer is never cancelled in the middle of a statement; drivers talk to it over a channel, and may go away.

use std::sync::Arc;

use store::journal::{Append, Appended, Writer};
use store::{PgPool, StoreError};
use tokio::sync::{Mutex, mpsc, oneshot};

/// How many statements may be on their way at the same time: one fills up while the other is in its fsync.
const COMMITTERS: usize = 2;
/// How many runs one statement may hold.
const BATCH: usize = 256;

/// An append that was not answered, or refused.
#[derive(Debug, Clone)]
pub(crate) struct Unwritten {
    /// Asking again will not help.
    pub(crate) is_final: bool,
    pub(crate) why: String,
}

impl From<&StoreError> for Unwritten {
    fn from(error: &StoreError) -> Self {
        Self { is_final: error.is_final(), why: error.to_string() }
    }
}

struct Order {
    append: Arc<Append>,
    answer: oneshot::Sender<Result<Appended, Unwritten>>,
}

pub(crate) struct Committer(mpsc::UnboundedSender<Order>);

impl Committer {
    /// Sets the committers going; they end with this handle.
    pub(crate) fn start(pool: &PgPool, owner: i64) -> Self {
        let (orders, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..COMMITTERS {
            tokio::spawn(commit(Writer::to(pool), owner, queue.clone()));
        }
        Self(orders)
    }

    /// Appends, and says what became of it. Each driver has one append on its way at the most, which bounds the queue.
    pub(crate) async fn append(&self, append: Arc<Append>) -> Result<Appended, Unwritten> {
        let (answer, wait) = oneshot::channel();
        let gone = || Unwritten { is_final: false, why: "the committer has ended".into() };
        self.0.send(Order { append, answer }).map_err(|_| gone())?;
        wait.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn commit(mut writer: Writer, owner: i64, queue: Arc<Mutex<mpsc::UnboundedReceiver<Order>>>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if queue.lock().await.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        // In one order everywhere, so that two statements never wait for each other.
        batch.sort_unstable_by_key(|o| o.append.run_id);
        write(&mut writer, owner, &mut batch).await;
    }
}

/// Writes a batch. When the database refuses it, its halves are tried, down to the one append that it cannot take: that one
/// fails alone.
async fn write(writer: &mut Writer, owner: i64, batch: &mut Vec<Order>) {
    let mut parts = vec![std::mem::take(batch)];
    while let Some(mut part) = parts.pop() {
        let appends: Vec<&Append> = part.iter().map(|o| &*o.append).collect();
        match writer.append(owner, &appends).await {
            Ok(answers) => {
                for (order, answer) in part.into_iter().zip(answers) {
                    let _ = order.answer.send(Ok(answer));
                }
            }
            Err(e) if e.is_final() && part.len() > 1 => {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
            Err(e) => {
                let unwritten = Unwritten::from(&e);
                for order in part {
                    let _ = order.answer.send(Err(unwritten.clone()));
                }
            }
        }
    }
}
