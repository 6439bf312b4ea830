//! A run that only waits rests: it keeps what it needs to go on, and nothing of what it knows.
//!
//! ```text
//!  drives ──nothing but waits for a moment──▶ rests ──report · wish · timer──▶ reads its journal ──▶ drives
//!                                               └──drain──▶ over (there is nothing to write)
//! ```
//!
//! What a run has seen (groups, hosts, matrices) is tens of kilobytes; what a resting one keeps is a few: its number, its place
//! in the chain, its channels, and the looks that go on without it. All else is in the journal, and whatever wakes it is about
//! to write there anyway. Runs that wake at the same moment share reads (`reader`).
//!
//! A run that is woken again and again rests later each time, so that one that sees something new with every look is not
//! read from the database with every look.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::audit::Link;
use domain::run::State;
use domain::runbook::{Children, Runbook};
use futures::FutureExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Driver, Due, Nudge, Pending, Stop, Working};
use crate::Core;

/// After so many naps the pause before the next one does not double any more.
const MOST_DOUBLINGS: u32 = 12;

/// What a run keeps while it rests.
pub(super) struct Resting {
    core: Arc<Core>,
    run_id: Uuid,
    epoch: i64,
    runbook: Arc<Runbook>,
    children: Children,
    seq: i64,
    link: Link,
    working: Working,
    nudges: mpsc::UnboundedReceiver<Nudge>,
    naps: u32,
}

enum Waker {
    /// What goes on has said something, or has ended.
    Work,
    Nudge(Option<Nudge>),
    Timer,
}

impl Driver {
    /// Is nothing going on but waiting, and nothing left to write?
    pub(super) fn may_rest(&self) -> bool {
        self.birth.is_none()
            && self.pending.is_empty()
            && !self.draining
            && !self.wishes
            && !self.working.has_news()
            && self.working.all().all(|work| work.looking && !work.brief)
    }

    /// How long that must last before it rests.
    pub(super) fn rest_after(&self) -> Duration {
        self.core.settings.rest_after.saturating_mul(1 << self.naps.min(MOST_DOUBLINGS))
    }

    /// Forgets what is in the journal anyway.
    pub(super) fn rest(self: Box<Self>) -> Resting {
        Resting {
            runbook: self.program.runbook,
            children: self.program.children,
            seq: self.state.seq(),
            core: self.core,
            run_id: self.run_id,
            epoch: self.epoch,
            link: self.link,
            working: self.working,
            nudges: self.nudges,
            naps: self.naps + 1,
        }
    }
}

impl Resting {
    /// Rests until something happens, or until that moment.
    pub(super) async fn until(mut self, wake_at: Option<Timestamp>) -> Result<Box<Driver>, Stop> {
        match self.sleep(wake_at).await {
            Waker::Nudge(Some(Nudge::Drain) | None) => Err(Stop::Over),
            waker => Box::pin(self.wake(waker)).await,
        }
    }

    async fn sleep(&mut self, wake_at: Option<Timestamp>) -> Waker {
        let clock = &self.core.clock;
        let timer = match wake_at {
            Some(at) => clock.sleep((at - clock.now()).to_std().unwrap_or_default()),
            None => futures::future::pending().boxed(),
        };
        tokio::select! {
            biased; // as in the driver's turn
            () = self.working.go() => Waker::Work,
            nudge = self.nudges.recv() => Waker::Nudge(nudge),
            () = timer => Waker::Timer,
        }
    }

    /// A driver with everything that the journal tells.
    async fn wake(&mut self, waker: Waker) -> Result<Box<Driver>, Stop> {
        let (journal, link) = loop {
            match self.working.beside(self.core.reader.read(self.run_id)).await {
                Ok(journal) => break journal,
                Err(e) if e.is_final() => return Err(Stop::Broken(e.to_string())),
                Err(e) => tracing::warn!(run = %self.run_id, "the journal cannot be read now: {e}"),
            }
            if self.core.lease.is_lost() {
                return Err(Stop::Fenced);
            }
            self.working.beside(tokio::time::sleep(Duration::from_millis(200))).await;
        };
        let state = State::replay(&journal)?;
        // Somebody else has written: whatever we do next would be fenced.
        if (state.seq(), link) != (self.seq, self.link) {
            return Err(Stop::Fenced);
        }
        let nothing = mpsc::unbounded_channel().1;
        Ok(Box::new(Driver {
            program: self.core.program(
                &self.runbook,
                std::mem::take(&mut self.children),
                state.inputs(),
                self.run_id,
                state.by(),
            ),
            core: self.core.clone(),
            run_id: self.run_id,
            epoch: self.epoch,
            state,
            link,
            birth: None,
            pending: Pending::default(),
            due: Due::default(),
            wishes: matches!(waker, Waker::Nudge(_)),
            working: std::mem::take(&mut self.working),
            nudges: std::mem::replace(&mut self.nudges, nothing),
            draining: false,
            naps: self.naps,
        }))
    }
}
