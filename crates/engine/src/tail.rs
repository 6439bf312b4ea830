//! Runs whose database failed over and may have lost their newest entries.
//!
//! What was lost may have announced calls that are still on their way. So nothing is sent for such a run until the last
//! of them can no longer land; then every change begins with a look, as always, and finds what was done. A change that
//! cannot be looked up is not made before a person said so: it is refused once, and their retry is the word. So is one that would be
//! taken back later, and is found made: who made it cannot be told any more, nor what was there before.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use domain::action::{ActionError, Effect};
use domain::run::{Record, StepPath, tail_lost};
use domain::{Clock, Timestamp};
use uuid::Uuid;

use crate::Settings;

#[derive(Default)]
pub(crate) struct Tails(Mutex<HashMap<Uuid, Tail>>);

struct Tail {
    /// Nothing that was announced before can land after this.
    safe_from: Timestamp,
    /// Steps that a person was asked about.
    asked: HashSet<StepPath>,
}

impl Tails {
    /// Notes what the journal of a run that is taken over tells.
    pub(crate) fn note(
        &self,
        run_id: Uuid,
        journal: &[Record],
        epoch: i64,
        clock: &dyn Clock,
        settings: &Settings,
    ) {
        let now = clock.now();
        let Some(at) = tail_lost(journal, epoch, now) else { return };
        let safe_from = at + TimeDelta::from_std(longest_flight(settings, clock)).unwrap_or_default();
        tracing::warn!(run = %run_id, "the database failed over and may have lost entries of this run: nothing is changed before {safe_from}");
        self.lock().insert(run_id, Tail { safe_from, asked: HashSet::new() });
    }

    /// Waits until no call that was announced in a lost entry can land any more. At once for a run that lost none.
    pub(crate) async fn wait(&self, run_id: Uuid, clock: &dyn Clock) {
        let Some(safe_from) = self.lock().get(&run_id).map(|tail| tail.safe_from) else { return };
        clock.sleep((safe_from - clock.now()).to_std().unwrap_or_default()).await;
    }

    /// Refuses, once per step, what may have been done already and cannot be looked up.
    pub(crate) fn doubt(&self, run_id: Uuid, step: &StepPath, effect: Effect) -> Option<ActionError> {
        (effect == Effect::Blind && self.asks(run_id, step)).then(|| {
            ActionError::refused(
                "entries_lost",
                "The database failed over and may have lost what this run did last. Nothing can tell whether this step was done already.",
            )
            .remedy("find out, then mark the step done, or retry it")
        })
    }

    /// Refuses, once per step, what is so already and was to be taken back: by this run, or by whoever made it so.
    pub(crate) fn doubt_of_undo(&self, run_id: Uuid, step: &StepPath) -> Option<ActionError> {
        self.asks(run_id, step).then(|| {
            ActionError::refused(
                "entries_lost",
                "It is so already. The database failed over and may have lost what this run did last: nothing can tell whether this run \
                 made it so, and then it would have to be taken back in the end.",
            )
            .remedy("retry the step, or leave it out; either way this run takes nothing of it back, so see to that yourself when the run has ended")
        })
    }

    /// Is somebody to be asked about this step? Once.
    fn asks(&self, run_id: Uuid, step: &StepPath) -> bool {
        self.lock().get_mut(&run_id).is_some_and(|tail| tail.asked.insert(step.clone()))
    }

    pub(crate) fn forget(&self, run_id: Uuid) {
        self.lock().remove(&run_id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Tail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call announced by a lost entry was sent within its deadline, or within the lease that ended its sender, and lands
/// within the window of its signature.
fn longest_flight(settings: &Settings, clock: &dyn Clock) -> Duration {
    clock.of_wall(settings.change_deadline.max(settings.lease)) + settings.signature_window
}
