//! What somebody has open right now: who looks at it is told together, and a run is read once for all of them.
//!
//! ```text
//!  engine's bell ─▶ one ear for each page that is open ─gathers─▶ told ─▶ its streams: "look again"
//!                        (ends with the last stream)                │
//!                                          fragments of a run ──▶ one read that began after it
//! ```
//!
//! During an incident a whole company watches one run. Each watcher asks for the page's inner part whenever the run moves; what it
//! takes to know a run (its journal folded, a dozen questions) is done once after each move, and drawn for each with what they
//! themselves may do. What was read before a stream was told is never shown to who asks afterwards, and nothing is shown that
//! is older than [`FRESH`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use engine::Topic;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use crate::app::App;
use crate::error::Problem;
use crate::run::{self, Looks, Seen};

/// At most so often are they told, however fast a run moves: a few see it almost at once, many within the second that drawing it for
/// all of them leaves.
const GATHER: Duration = Duration::from_millis(200);
const GATHER_FOR_MANY: Duration = Duration::from_millis(500);
/// What is shown is no older than this; a page that looks again by itself would otherwise see time stand still.
const FRESH: Duration = Duration::from_secs(1);
/// How often a page looks again although nobody told it to: few watchers see their clocks tick, many wait for news.
const OFTEN: Duration = Duration::from_secs(5);
const SELDOM: Duration = Duration::from_secs(30);
/// More than a team has on call.
const MANY: usize = 50;

/// A page that follows what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// Fleets, signals, runs and brakes.
    Situation,
    /// One run.
    Run(Uuid),
}

impl Subject {
    fn is_about(self, topic: Topic) -> bool {
        match (self, topic) {
            (Self::Situation, Topic::Fleets | Topic::Brakes | Topic::Signals | Topic::Run(_))
            | (_, Topic::Runs) => true,
            (Self::Run(id), Topic::Run(of) | Topic::Inbox(of)) => of == id,
            _ => false,
        }
    }
}

/// All that is open on this server.
#[derive(Default)]
pub(crate) struct Watched(Arc<Mutex<HashMap<Subject, Arc<Open>>>>);

struct Open {
    /// When those who look were last told to look again.
    told: watch::Sender<Instant>,
    /// The run as it was last read, and when that began. Who finds it too old reads it for the others.
    read: tokio::sync::Mutex<Option<(Instant, Arc<Seen>)>>,
}

/// Somebody's ear. As long as it is kept, their page is open.
pub(crate) struct Ear {
    told: watch::Receiver<Instant>,
    open: Weak<Open>,
}

impl Ear {
    /// Waits until there is something new; `false` when nothing will ever be.
    pub(crate) async fn told(&mut self) -> bool {
        self.told.changed().await.is_ok()
    }

    /// How soon the page had better look again by itself.
    pub(crate) fn pace(&self) -> Duration {
        let watchers = self.open.upgrade().map_or(0, |open| open.told.receiver_count());
        if watchers > MANY { SELDOM } else { OFTEN }
    }
}

impl Watched {
    /// Opens a page.
    pub(crate) fn open(&self, app: &App, subject: Subject) -> Ear {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match pages.entry(subject) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let open = Arc::new(Open {
                    told: watch::Sender::new(Instant::now()),
                    read: tokio::sync::Mutex::default(),
                });
                tokio::spawn(hear(self.0.clone(), subject, open.clone(), app.engine().listen()));
                place.insert(open)
            }
        };
        Ear { told: open.told.subscribe(), open: Arc::downgrade(open) }
    }

    /// How many pages somebody has open.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// A run, for somebody whose page has just looked again. The others who do share it.
    pub(crate) async fn run(&self, app: &App, id: Uuid) -> Result<Arc<Seen>, Problem> {
        let open = {
            let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            pages.get(&Subject::Run(id)).cloned()
        };
        let Some(open) = open else { return Ok(Arc::new(run::see(app, id, Looks::Newest).await?)) };
        let mut read = open.read.lock().await;
        if let Some((begun, seen)) = &*read
            && *begun >= *open.told.borrow()
            && begun.elapsed() < FRESH
        {
            return Ok(seen.clone());
        }
        let begun = Instant::now();
        let seen = Arc::new(run::see(app, id, Looks::Newest).await?);
        *read = Some((begun, seen.clone()));
        Ok(seen)
    }
}

/// Listens for a page until nobody has it open any more.
async fn hear(
    pages: Arc<Mutex<HashMap<Subject, Arc<Open>>>>,
    subject: Subject,
    open: Arc<Open>,
    mut topics: Receiver<Topic>,
) {
    loop {
        tokio::select! {
            () = open.told.closed() => {
                // Somebody may have opened it anew in this very moment.
                let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
                if open.told.receiver_count() == 0 {
                    pages.remove(&subject);
                    return;
                }
            }
            news = news(subject, &mut topics, &open.told) => match news {
                Some(()) => {
                    open.told.send_replace(Instant::now());
                }
                None => {
                    pages.lock().unwrap_or_else(PoisonError::into_inner).remove(&subject);
                    return;
                }
            },
        }
    }
}

/// Waits for something of interest and gathers what follows closely; `None` when the engine is gone.
async fn news(subject: Subject, topics: &mut Receiver<Topic>, told: &watch::Sender<Instant>) -> Option<()> {
    loop {
        match topics.recv().await {
            Ok(topic) if subject.is_about(topic) => break,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => break,
            Err(RecvError::Closed) => return None,
        }
    }
    tokio::time::sleep(if told.receiver_count() > MANY { GATHER_FOR_MANY } else { GATHER }).await;
    while let Ok(_) | Err(TryRecvError::Lagged(_)) = topics.try_recv() {}
    Some(())
}
