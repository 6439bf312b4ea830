//! Stopping a call at an exact point, so that a test can kill the caller just there.

use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::ledger::LedgerEntry;

/// Where a held call stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has arrived; nothing has changed yet.
    BeforeEffect,
    /// The change is made and in the ledger; the caller has no answer yet.
    AfterEffect,
}

/// A trap for the next call of one operation. Dropping it lets the call go on.
#[derive(Debug)]
pub struct Hold {
    reached: Option<oneshot::Receiver<LedgerEntry>>,
    seen: Option<LedgerEntry>,
    lose: oneshot::Sender<()>,
}

/// A held call that was lost on its way: it changes nothing, is not in the ledger, and nobody gets an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl Hold {
    /// Waits until the call has arrived at the point. `None` if the simulator stopped before.
    pub async fn reached(&mut self) -> Option<LedgerEntry> {
        if let Some(receiver) = &mut self.reached {
            self.seen = receiver.await.ok();
            self.reached = None;
        }
        self.seen.clone()
    }

    /// Lets the call go on.
    pub fn release(self) {}

    /// Loses the call, as a network does: held before its effect it has none.
    pub fn lose(self) {
        // A call that is no longer there cannot be lost either.
        let _ = self.lose.send(());
    }
}

/// All traps that are set and not yet sprung.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    set: Mutex<Vec<Trap>>,
}

#[derive(Debug)]
struct Trap {
    operation: String,
    phase: Phase,
    reached: oneshot::Sender<LedgerEntry>,
    lost: oneshot::Receiver<()>,
}

impl Holds {
    pub(crate) fn set(&self, operation: &str, phase: Phase) -> Hold {
        let (reached_tx, reached_rx) = oneshot::channel();
        let (lose_tx, lost_rx) = oneshot::channel();
        self.traps().push(Trap { operation: operation.into(), phase, reached: reached_tx, lost: lost_rx });
        Hold { reached: Some(reached_rx), seen: None, lose: lose_tx }
    }

    /// Called by every call at both points: returns at once unless a trap is set for it.
    pub(crate) async fn pass(&self, phase: Phase, call: &LedgerEntry) -> Result<(), Lost> {
        let trap = {
            let mut traps = self.traps();
            // A trap whose owner has gone is no trap.
            traps.retain(|t| !t.reached.is_closed());
            let found = traps.iter().position(|t| t.phase == phase && t.operation == call.operation);
            found.map(|i| traps.remove(i))
        };
        if let Some(trap) = trap
            && trap.reached.send(call.clone()).is_ok()
        {
            // An error means that the hold was dropped: the call goes on.
            if trap.lost.await.is_ok() {
                return Err(Lost);
            }
        }
        Ok(())
    }

    fn traps(&self) -> std::sync::MutexGuard<'_, Vec<Trap>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
