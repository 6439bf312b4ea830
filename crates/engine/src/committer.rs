//! Group commit: two tasks, each with a connection of its own, write whatever many drivers have put on the pile as one
//! statement: appends, or births.
//!
//! No timer: a committer takes what is there, writes it, answers, and takes what has come in meanwhile. Alone, a run waits
//! for one commit; together, hundreds share one. A driver goes on only after its commit returned.
//!
//! Which connection writes matters more than how many there are. While little goes on, one of them writes everything, since
//! a statement costs half where the last one has just been. A third connection, for births alone, made a start half as slow
//! again; one for when 32 or 64 are waiting while both write gained nothing at 256 runs. Nor do smaller batches: of 64 at the most they
//! made 256 runs a seventh slower. Three or four for everything made 64 and 256 runs a seventh slower, one alone a fifth to a third. To commit asynchronously and make the log durable apart from the statements (by a connection that
//! does nothing else, before anybody is answered) left the processors less idle, but made the batches smaller and the way longer:
//! 64 runs were a seventh slower, 256 a tenth. `COMMIT` as a word of its own, with one or two statements at work at a time, made 256 a
//! fifth slower.
//!
//! A committer is never cancelled in the middle of a statement; drivers only put things on its pile, and may go away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::signal::Signal;
use store::journal::{Append, Appended};
use store::runs::{Created, NewRun};
use store::signals::Received;
use store::writer::Writer;
use store::{PgPool, StoreError};
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use crate::lease::within;
use crate::meters::{Meters, Written};

/// How many statements may be on their way at the same time: one fills up while the other is in its fsync.
const WRITERS: usize = 2;
/// How many runs one statement may hold.
const BATCH: usize = 256;
/// How many statements that append may go before births that wait. A birth costs five times an append, and much less so
/// together with others.
const BEFORE_BIRTHS: u32 = 3;

/// How many deliveries of signals one commit may hold.
const DELIVERIES: usize = 256;
/// How long that may take before its connection counts as dead, as that of a writer does. Whoever delivers them does so again, and each
/// is kept once.
const PATIENCE: Duration = Duration::from_secs(10);

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

impl<T, A> Order<T, A> {
    fn of(what: Arc<T>) -> (Self, oneshot::Receiver<Result<A, Unwritten>>) {
        let (answer, wait) = oneshot::channel();
        (Self { what, answer }, wait)
    }
}

type Queue<T, A> = mpsc::UnboundedSender<Order<T, A>>;

pub(crate) struct Committer {
    pile: Arc<Pile>,
    deliveries: Queue<Delivery, Rows>,
}

impl Committer {
    /// Sets the committers going; they end with this handle.
    pub(crate) fn start(pool: &PgPool, owner: i64, meters: &Meters) -> Self {
        let pile = Arc::new(Pile::default());
        for _ in 0..WRITERS {
            tokio::spawn(commit(Writer::to(pool), owner, pile.clone(), meters.clone()));
        }
        let (deliveries, queue) = mpsc::unbounded_channel();
        tokio::spawn(receive(Receiving(pool.clone()), queue));
        Self { pile, deliveries }
    }

    /// Appends, and says what became of it. Each driver has one order on its way at the most, which bounds the queues.
    pub(crate) async fn append(&self, append: Arc<Append>) -> Result<Appended, Unwritten> {
        let (order, answer) = Order::of(append);
        self.pile.put(|waiting| waiting.appends.push(order));
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Has a run written.
    pub(crate) async fn create(&self, newborn: Arc<Newborn>) -> Result<Created, Unwritten> {
        let (order, answer) = Order::of(newborn);
        self.pile.put(|waiting| waiting.births.push(order));
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Has signals stored. Whoever delivers bounds how many are on their way.
    pub(crate) async fn receive(&self, delivery: Arc<Delivery>) -> Result<Rows, Unwritten> {
        let (order, answer) = Order::of(delivery);
        self.deliveries.send(order).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> Unwritten {
    Arc::new(StoreError::Again("the committer has ended"))
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.pile.close();
    }
}

/// What is to be written, for whichever committer is free: the others are not woken for it.
#[derive(Default)]
struct Pile {
    waiting: Mutex<Waiting>,
    more: Notify,
    over: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    appends: Vec<Order<Append, Appended>>,
    births: Vec<Order<Newborn, Created>>,
    /// How often appends went before the births.
    passed: u32,
}

/// What one statement writes.
enum Batch {
    Appends(Vec<Order<Append, Appended>>),
    Births(Vec<Order<Newborn, Created>>),
}

impl Batch {
    fn len(&self) -> usize {
        match self {
            Self::Appends(appends) => appends.len(),
            Self::Births(births) => births.len(),
        }
    }

    fn what(&self) -> Written {
        match self {
            Self::Appends(_) => Written::Appends,
            Self::Births(_) => Written::Births,
        }
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Batch> {
        if self.births.is_empty() || self.passed < BEFORE_BIRTHS && !self.appends.is_empty() {
            self.passed += u32::from(!self.births.is_empty());
            let appends = some(&mut self.appends);
            return (!appends.is_empty()).then_some(Batch::Appends(appends));
        }
        self.passed = 0;
        Some(Batch::Births(some(&mut self.births)))
    }
}

fn some<T>(waiting: &mut Vec<T>) -> Vec<T> {
    let most = waiting.len().min(BATCH);
    waiting.drain(..most).collect()
}

impl Pile {
    fn put(&self, put: impl FnOnce(&mut Waiting)) {
        put(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        // Who wrote last: all that its statement needs is still at hand there, and at the server.
        self.more.notify_last();
    }

    /// What there is, as soon as there is something; nothing once it is closed.
    async fn take(&self) -> Option<Batch> {
        loop {
            let batch = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            if batch.is_some() {
                return batch;
            }
            if self.over.load(Ordering::SeqCst) {
                self.more.notify_one(); // for the next of them
                return None;
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

struct Appending<'w> {
    writer: &'w mut Writer,
    owner: i64,
}

impl Statement for Appending<'_> {
    type What = Append;
    type Answer = Appended;

    async fn write(&mut self, appends: &[&Append]) -> Result<Vec<Appended>, StoreError> {
        self.writer.append(self.owner, appends).await
    }
}

struct Creating<'w>(&'w mut Writer);

impl Statement for Creating<'_> {
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
        let mut rows = within(PATIENCE, store::signals::receive_all(&self.0, &received)).await?.into_iter();
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

async fn commit(mut writer: Writer, owner: i64, pile: Arc<Pile>, meters: Meters) {
    while let Some(batch) = pile.take().await {
        let (runs, what, begun) = (batch.len(), batch.what(), Instant::now());
        match batch {
            Batch::Appends(mut appends) => {
                // In one order everywhere, so that two statements never wait for each other.
                appends.sort_unstable_by_key(|order| order.what.run_id);
                write(&mut Appending { writer: &mut writer, owner }, appends).await;
            }
            Batch::Births(births) => {
                let (alone, together): (Vec<_>, Vec<_>) =
                    births.into_iter().partition(|order| order.what.0.stands_alone());
                let mut statement = Creating(&mut writer);
                write(&mut statement, together).await;
                for order in alone {
                    write(&mut statement, vec![order]).await;
                }
            }
        }
        meters.committed(what, runs, begun.elapsed());
        if runs > 1 {
            // Those who have just been answered say their next word first, and share the next statement.
            tokio::task::yield_now().await;
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
