//! One action with one input: who watches it, when it is due, and what was seen last.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::action::{Action, ActionError, CallRecord, Ctx, ErrorClass};
use domain::{Clock, Timestamp};
use futures::FutureExt;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::interval::Liveliness;
use super::lane::Lane;
use super::{Wish, lock};

type Answer = Result<Arc<Value>, ActionError>;

/// What a look saw.
#[derive(Debug)]
pub(crate) struct Look {
    /// When it began, before anything was sent.
    pub(super) began: Instant,
    /// How often what stands had changed by then, this look included.
    pub(super) change: u64,
    /// How many looks had failed by then, this look included.
    pub(super) failures: u64,
    /// Does it tell what is? A failure that may pass does not, until there are several in a row.
    pub(super) stands: bool,
    /// When its answer came (clock time).
    pub(crate) at: Timestamp,
    /// The answer.
    pub(crate) result: Answer,
    /// The calls that it took.
    pub(crate) calls: Vec<CallRecord>,
}

/// What watchers see.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The newest look.
    pub(super) last: Option<Arc<Look>>,
    /// The newest one that tells what is: an answer, or a failure that does not pass.
    pub(super) standing: Option<Arc<Look>>,
}

pub(super) struct Subject {
    action: Arc<dyn Action>,
    input: Value,
    lane: Arc<Lane>,
    interest: Mutex<Interest>,
    /// The next look may be due earlier than it was, or not at all.
    moved: Notify,
    /// Told of every look.
    pub(super) looked: watch::Sender<Seen>,
    /// Told only of changes: most watchers sleep here.
    pub(super) changed: watch::Sender<()>,
}

#[derive(Default)]
struct Interest {
    /// `None`: wants one look, and no more.
    watchers: HashMap<u64, Option<Watcher>>,
    wanted: Option<Wanted>,
    lively: Liveliness,
    /// When the last look began.
    last: Option<Timestamp>,
    failures_in_a_row: u32,
}

struct Watcher {
    wish: Wish,
    soaking: bool,
}

/// How soon a look is needed that has not begun yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    /// Within a second of the last one: a watcher that is new, an event.
    Soon,
    /// At once.
    Now,
}

/// When the next look is due.
pub(super) struct Due {
    pub(super) within: TimeDelta,
    pub(super) urgent: bool,
}

/// So many looks that fail in a row are told to everybody, as a change is; fewer only to those who soak.
const BLIND: u32 = 3;
/// Ten thousand watchers who come within a minute shall not cost ten thousand looks.
const SOON: TimeDelta = TimeDelta::seconds(1);
const LONGEST: TimeDelta = TimeDelta::days(1);

impl Subject {
    pub(super) fn new(action: Arc<dyn Action>, input: Value, lane: Arc<Lane>) -> Self {
        let (looked, changed) = (watch::Sender::new(Seen::default()), watch::Sender::new(()));
        Self { action, input, lane, interest: Mutex::default(), moved: Notify::new(), looked, changed }
    }

    pub(super) fn action(&self) -> &dyn Action {
        &*self.action
    }

    pub(super) fn input(&self) -> &Value {
        &self.input
    }

    pub(super) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    pub(super) fn watched_by(&self) -> usize {
        lock(&self.interest).watchers.len()
    }

    /// Completes when the next look may be due earlier than it was, or not at all.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    pub(super) fn join(&self, id: u64, wish: Option<Wish>) {
        let wanted = if wish.is_some() { Wanted::Soon } else { Wanted::Now };
        lock(&self.interest).watchers.insert(id, wish.map(|wish| Watcher { wish, soaking: false }));
        self.want(wanted);
    }

    pub(super) fn leave(&self, id: u64) {
        let mut interest = lock(&self.interest);
        interest.watchers.remove(&id);
        if interest.watchers.is_empty() {
            self.moved.notify_one();
        }
    }

    pub(super) fn soaks(&self, id: u64, soaking: bool) {
        if let Some(Some(watcher)) = lock(&self.interest).watchers.get_mut(&id) {
            watcher.soaking = soaking;
        }
    }

    /// Says how soon a look is needed.
    pub(super) fn want(&self, wanted: Wanted) {
        let mut interest = lock(&self.interest);
        // Said already: ten thousand watchers of one subject wake its task once.
        if interest.wanted < Some(wanted) {
            interest.wanted = Some(wanted);
            self.moved.notify_one();
        }
    }

    /// When the next look is due; `None` when nobody watches.
    pub(super) fn due(&self, now: Timestamp) -> Option<Due> {
        let interest = lock(&self.interest);
        if interest.watchers.is_empty() {
            return None;
        }
        let Some(last) = interest.last else {
            return Some(Due { within: TimeDelta::zero(), urgent: interest.wanted.is_some() });
        };
        // Never longer than the pause itself, even when the clock was set back.
        let after = |pause: TimeDelta| (last + pause - now).min(pause);
        let watchers = interest.watchers.values().flatten();
        let pause = watchers.map(|w| interest.lively.interval(&w.wish, w.soaking, now)).min();
        // Those who want one look want it now, or have it.
        let routine = pause.and_then(|pause| TimeDelta::from_std(pause).ok()).unwrap_or(LONGEST).min(LONGEST);
        let wanted = interest.wanted.map(|wanted| match wanted {
            Wanted::Now => TimeDelta::zero(),
            Wanted::Soon => after(SOON),
        });
        let within = wanted.map_or_else(|| after(routine), |wanted| wanted.min(after(routine)));
        Some(Due { within, urgent: wanted.is_some_and(|wanted| wanted <= TimeDelta::zero()) })
    }

    /// Looks, and tells.
    pub(super) async fn look(&self, clock: &Arc<dyn Clock>, deadline: Duration) -> Arc<Look> {
        let began = {
            let mut interest = lock(&self.interest);
            interest.wanted = None;
            interest.last = Some(clock.now());
            // After `wanted` was taken: who asks from now on is served by the next look.
            Instant::now()
        };
        let ctx = Ctx::looking(clock.clone(), deadline);
        let observing = AssertUnwindSafe(self.action.observe(&ctx, &self.input)).catch_unwind();
        let answer = match tokio::time::timeout(deadline, observing).await {
            Ok(Ok(answer)) => answer.map(Arc::new),
            Ok(Err(_)) => Err(transient("panicked", "the look ended in a bug of Firebreak's".into())),
            Err(_) => {
                Err(transient("timeout", format!("no answer within {} s", deadline.as_secs_f64().round())))
            }
        };
        self.tell(began, answer, clock.now(), ctx.calls.take())
    }

    /// The one place where looks are told; only the subject's own task comes here.
    fn tell(&self, began: Instant, answer: Answer, at: Timestamp, calls: Vec<CallRecord>) -> Arc<Look> {
        let Seen { last, standing } = self.looked.borrow().clone();
        let failed = may_pass(&answer);
        let (changes, failures) = last.map_or((0, 0), |last| (last.change, last.failures));
        let failures = failures + u64::from(failed);
        // Ten thousand watchers hold the value that they saw: the same value, not the same again.
        let (answer, same) = match (standing.as_ref().map(|standing| &standing.result), answer) {
            (Some(Ok(held)), Ok(seen)) if *held == seen => (Ok(held.clone()), true),
            (Some(Err(held)), Err(seen)) => {
                let same = (held.class, &held.code) == (seen.class, &seen.code);
                (Err(seen), same)
            }
            (_, answer) => (answer, false),
        };
        let stands = {
            let mut interest = lock(&self.interest);
            interest.failures_in_a_row = if failed { interest.failures_in_a_row + 1 } else { 0 };
            let stands = !failed || interest.failures_in_a_row >= BLIND;
            if stands && standing.is_some() {
                interest.lively.saw(!same);
            }
            stands
        };
        let changed = stands && !same;
        let change = changes + u64::from(changed);
        let look = Arc::new(Look { began, change, failures, stands, at, result: answer, calls });
        let standing = if stands { Some(look.clone()) } else { standing };
        self.looked.send_replace(Seen { last: Some(look.clone()), standing });
        if changed {
            self.changed.send_replace(());
        }
        look
    }
}

/// A failure that the next look may not meet.
fn may_pass(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(|e| !matches!(e.class, ErrorClass::Refused | ErrorClass::Gone))
}

fn transient(code: &str, message: String) -> ActionError {
    ActionError::new(ErrorClass::Transient, code, message)
}
