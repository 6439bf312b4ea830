//! The kill switch, as this process last saw it.
//!
//! ```text
//!   Postgres ──read, every 300 ms and at each ring──▶ the copy ──▶ send gate: lets nothing out
//!      └─ refuses to commit an intent ──▶ the driver pauses the run
//! ```
//!
//! Every change asks the copy last thing before the socket, which costs no query. A copy that is older than a second closes the
//! gate as well: what cannot be read is on. So within a second of the switch, on every replica, no change begins any more,
//! even if the bell is not heard, the database is gone, or the table cannot be read.
//!
//! A switch on a runbook's name is meant wherever that runbook is at work, also as a child in the run of another: every change
//! asks with the names of all runbooks that its step is inside of (`State::runbooks_around`). The steps of the parent that are
//! outside of the child go on until the run gets there.
//!
//! A switch stops undoing, too: it is there for the moment in which nobody trusts what Firebreak does. A run that meets it
//! pauses at its next change, and stays paused when the switch is released: each is resumed by a person who has looked at
//! it. While the switch cannot be read, changes wait, and go on by themselves.

use std::time::{Duration, Instant};

use domain::brake::{EVERYTHING, KillSwitch as Switch};
use store::PgPool;
use store::brakes::SwitchReader;
use tokio::sync::{broadcast, watch};

use crate::Topic;

/// Pause between two reads (wall time).
const EVERY: Duration = Duration::from_millis(300);
/// A read that takes longer has failed.
const PATIENCE: Duration = Duration::from_millis(600);
/// A copy that is older than this says nothing any more.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Why nothing may be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Shut {
    /// A person has said so.
    #[error("stopped by the kill switch: {0}")]
    On(Switch),
    /// Nobody knows.
    #[error("the kill switch cannot be read, which counts as on")]
    Unreadable,
}

#[derive(Debug, Clone)]
struct Copy {
    /// Taken before the question was sent: the answer is at least as new.
    asked: Instant,
    on: Vec<Switch>,
}

/// The copy. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct KillSwitch(watch::Sender<Option<Copy>>);

impl KillSwitch {
    /// Reads it for the first time; should that fail, the gate is shut until it is read.
    pub(crate) async fn look(pool: &PgPool) -> Self {
        let this = Self(watch::Sender::new(None));
        if let Some(mut reader) = connect(pool).await {
            this.read(&mut reader).await;
        }
        this
    }

    /// May a step that is inside of these runbooks change anything now?
    pub(crate) fn check(&self, runbooks: &[String]) -> Result<(), Shut> {
        match &*self.0.borrow() {
            Some(copy) if copy.asked.elapsed() < GOOD_FOR => {
                let on = copy.on.iter().find(|s| s.scope == EVERYTHING || runbooks.contains(&s.scope));
                on.map_or(Ok(()), |switch| Err(Shut::On(switch.clone())))
            }
            _ => Err(Shut::Unreadable),
        }
    }

    /// Waits until it can be read.
    pub(crate) async fn readable(&self) {
        let fresh = |copy: &Option<Copy>| copy.as_ref().is_some_and(|c| c.asked.elapsed() < GOOD_FOR);
        let _ = self.0.subscribe().wait_for(fresh).await;
    }

    /// Keeps the copy young until the process ends.
    pub(crate) async fn keep(self, pool: PgPool, mut rings: broadcast::Receiver<Topic>) {
        let mut reader = None;
        loop {
            if reader.is_none() {
                reader = connect(&pool).await;
            }
            let read = match &mut reader {
                Some(reader) => self.read(reader).await,
                None => false,
            };
            if !read {
                reader = None;
            }
            let next = tokio::time::sleep(EVERY);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = &mut next => break,
                    ring = rings.recv() => match ring {
                        Ok(Topic::Brakes) | Err(broadcast::error::RecvError::Lagged(_)) => break,
                        Ok(_) => {}
                        Err(broadcast::error::RecvError::Closed) => {
                            next.await;
                            break;
                        }
                    },
                }
            }
        }
    }

    async fn read(&self, reader: &mut SwitchReader) -> bool {
        let asked = Instant::now();
        match tokio::time::timeout(PATIENCE, reader.read()).await {
            Ok(Ok(on)) => {
                self.0.send_replace(Some(Copy { asked, on }));
                true
            }
            Ok(Err(e)) => {
                tracing::warn!("the kill switch cannot be read, so nothing is changed: {e}");
                false
            }
            Err(_) => {
                tracing::warn!("the kill switch was not read in time");
                false
            }
        }
    }
}

async fn connect(pool: &PgPool) -> Option<SwitchReader> {
    match tokio::time::timeout(PATIENCE, SwitchReader::connect(pool)).await {
        Ok(Ok(reader)) => Some(reader),
        Ok(Err(e)) => {
            tracing::warn!("the kill switch cannot be read, so nothing is changed: {e}");
            None
        }
        Err(_) => {
            tracing::warn!("no connection to read the kill switch in time");
            None
        }
    }
}
