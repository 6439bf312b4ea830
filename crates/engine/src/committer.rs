//! Group commit: a few tasks, each with a connection of its own, write whatever many drivers have queued as one statement.
//!
//! No timer: a committer takes what is there, writes it, answers, and takes what has come in meanwhile. Alone, a run waits
//! for one commit; together, hundreds share one. A driver goes on only after its commit returned.
//!
//! A committer is never cancelled in the middle of a statement; drivers talk to it over a channel, and may go away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;
use domain::signal::Signal;
use store::journal::{Append, Appended};
use store::runs::{Created, NewRun};
use store::signals::Received;
use store::writer::Writer;
use store::{PgPool, StoreError};
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

/// How many statements that append may be on their way at the same time: one fills up while the other is in its fsync.
const APPENDERS: usize = 2;
/// How many runs one statement may hold.
const BATCH: usize = 256;

/// How many deliveries of signals one commit may hold.
const DELIVERIES: usize = 256;

/// Not answered, or refused: told to all that were in the statement.
pub(crate) type Unwritten = Arc<StoreError>;

/// A run to be written, with the beginning of its journal.
pub(crate) type Newborn = (NewRun, Append);

/// Signals that came in together, each with its source's id for that.
pub(crate) struct Delivery {
    pub(crate) signals: Vec<(Signal, Option<String>)>,
    /// As it was received. Kept with the first of them only.
    pub(crate) body: Option<String>,
    pub(crate) at: Timestamp,
}

/// The row of each; none for what was delivered before.
type Rows = Vec<Option<Uuid>>;

struct Order<T, A> {
    what: Arc<T>,
    answer: oneshot::Sender<Result<A, Unwritten>>,
}

type Queue<T, A> = mpsc::UnboundedSender<Order<T, A>>;

pub(crate) struct Committer {
    appends: Arc<Pile>,
    births: Queue<Newborn, Created>,
    deliveries: Queue<Delivery, Rows>,
}

impl Committer {
    /// Sets the committers going; they end with this handle.
    pub(crate) fn start(pool: &PgPool, owner: i64) -> Self {
        let appends = Arc::new(Pile::default());
        for _ in 0..APPENDERS {
            tokio::spawn(append(Appending { writer: Writer::to(pool), owner }, appends.clone()));
        }
        let (births, queue) = mpsc::unbounded_channel();
        tokio::spawn(create(Creating(Writer::to(pool)), queue));
        let (deliveries, queue) = mpsc::unbounded_channel();
        tokio::spawn(receive(Receiving(pool.clone()), queue));
        Self { appends, births, deliveries }
    }

    /// Appends, and says what became of it. Each driver has one order on its way at the most, which bounds the queues.
    pub(crate) async fn append(&self, append: Arc<Append>) -> Result<Appended, Unwritten> {
        let (answer, wait) = oneshot::channel();
        self.appends.put(Order { what: append, answer });
        wait.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Has a run written.
    pub(crate) async fn create(&self, newborn: Arc<Newborn>) -> Result<Created, Unwritten> {
        ask(&self.births, newborn).await
    }

    /// Has signals stored. Whoever delivers bounds how many are on their way.
    pub(crate) async fn receive(&self, delivery: Arc<Delivery>) -> Result<Rows, Unwritten> {
        ask(&self.deliveries, delivery).await
    }
}

async fn ask<T, A>(queue: &Queue<T, A>, what: Arc<T>) -> Result<A, Unwritten> {
    let (answer, wait) = oneshot::channel();
    queue.send(Order { what, answer }).map_err(|_| gone())?;
    wait.await.unwrap_or_else(|_| Err(gone()))
}

fn gone() -> Unwritten {
    Arc::new(StoreError::Again("the committer has ended"))
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.appends.close();
    }
}

/// What is to be appended, for whichever committer is free: the others are not woken for it.
#[derive(Default)]
struct Pile {
    orders: Mutex<Vec<Order<Append, Appended>>>,
    more: Notify,
    over: AtomicBool,
}

impl Pile {
    fn put(&self, order: Order<Append, Appended>) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        // Who wrote last: all that its statement needs is still at hand there, and at the server.
        self.more.notify_last();
    }

    /// What there is, as soon as there is something; nothing once it is closed.
    async fn take(&self) -> Vec<Order<Append, Appended>> {
        loop {
            let batch = {
                let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
                let most = orders.len().min(BATCH);
                orders.drain(..most).collect::<Vec<_>>()
            };
            if !batch.is_empty() {
                return batch;
            }
            if self.over.load(Ordering::SeqCst) {
                self.more.notify_one(); // for the next of them
                return batch;
            }
            self.more.notified().await;
        }
    }

    fn close(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.more.notify_one();
    }
}

/// One way to write a batch.
trait Statement: Send {
    type What: Send + Sync;
    type Answer: Send;

    fn write(
        &mut self,
        what: &[&Self::What],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, StoreError>> + Send;
}

struct Appending {
    writer: Writer,
    owner: i64,
}

impl Statement for Appending {
    type What = Append;
    type Answer = Appended;

    async fn write(&mut self, appends: &[&Append]) -> Result<Vec<Appended>, StoreError> {
        self.writer.append(self.owner, appends).await
    }
}

struct Creating(Writer);

impl Statement for Creating {
    type What = Newborn;
    type Answer = Created;

    async fn write(&mut self, newborns: &[&Newborn]) -> Result<Vec<Created>, StoreError> {
        let births: Vec<_> = newborns.iter().map(|(run, begin)| (run, begin)).collect();
        self.0.create(&births).await
    }
}

struct Receiving(PgPool);

impl Statement for Receiving {
    type What = Delivery;
    type Answer = Rows;

    async fn write(&mut self, deliveries: &[&Delivery]) -> Result<Vec<Rows>, StoreError> {
        let received: Vec<Received<'_>> =
            deliveries.iter().flat_map(|delivery| delivery.received()).collect();
        let mut rows = store::signals::receive_all(&self.0, &received).await?.into_iter();
        Ok(deliveries.iter().map(|delivery| rows.by_ref().take(delivery.signals.len()).collect()).collect())
    }
}

impl Delivery {
    fn received(&self) -> impl Iterator<Item = Received<'_>> {
        self.signals.iter().enumerate().map(|(n, (signal, delivery))| Received {
            signal,
            delivery: delivery.as_deref(),
            body: self.body.as_deref().filter(|_| n == 0),
            at: self.at,
        })
    }
}

async fn receive(mut statement: Receiving, mut queue: mpsc::UnboundedReceiver<Order<Delivery, Rows>>) {
    loop {
        let mut batch = Vec::with_capacity(DELIVERIES);
        if queue.recv_many(&mut batch, DELIVERIES).await == 0 {
            return;
        }
        write(&mut statement, batch).await;
    }
}

async fn append(mut statement: Appending, pile: Arc<Pile>) {
    loop {
        let mut batch = pile.take().await;
        if batch.is_empty() {
            return;
        }
        // In one order everywhere, so that two statements never wait for each other.
        batch.sort_unstable_by_key(|order| order.what.run_id);
        write(&mut statement, batch).await;
    }
}

async fn create(mut statement: Creating, mut queue: mpsc::UnboundedReceiver<Order<Newborn, Created>>) {
    loop {
        let mut batch = Vec::with_capacity(BATCH);
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        let (alone, together): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|order| order.what.0.stands_alone());
        write(&mut statement, together).await;
        for order in alone {
            write(&mut statement, vec![order]).await;
        }
    }
}

/// Writes a batch. When the database refuses it, its halves are tried, down to the one that it cannot take: that one fails
/// alone.
async fn write<S: Statement>(statement: &mut S, batch: Vec<Order<S::What, S::Answer>>) {
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let what: Vec<&S::What> = part.iter().map(|order| &*order.what).collect();
        match statement.write(&what).await {
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
                let unwritten = Unwritten::new(e);
                for order in part {
                    let _ = order.answer.send(Err(unwritten.clone()));
                }
            }
        }
    }
}
