//! The shared observer: one look for everybody who wants to see the same thing.
//!
//! ```text
//!  runs that wait ─┐                     ┌─ lane: autoscaling, eu-west-1 ─┐
//!  one-shot looks ─┼─▶ subject ─────────▶│  urgent first, so many requests │──▶ action.observe
//!  login prober   ─┘   (action, input)   │  a second, less when throttled  │
//!                          │             └─────────────────────────────────┘
//!                          └──▶ one answer, shared; who waits is woken only when it has changed
//! ```
//!
//! - A **subject** is an action with its input. However many runs watch it, it is looked at once, at the interval that the
//!   most impatient of them needs (`interval`). It lives as long as somebody watches.
//! - A **lane** is one account, region and service; of what is asked itself and is in no region, such as a host of a fleet, each
//!   has its own. All its subjects share one budget of requests (`lane`), and so do the replicas: each has its [`Share`].
//! - **Never a stale answer.** Whoever asks is only ever given a look that *began* after they asked: a wait that starts
//!   after a change cannot be satisfied by what was seen before it. A soak or a timeout that is due asks anew.
//! - An **event** from outside ([`Observer::hint`]) brings the next look forward. It is never believed by itself.
//!
//! What a change rests on, and what became of a call whose answer was lost, is not asked here: those looks belong to one
//! run, right then. They are counted against the lane all the same ([`Observer::spent`]).
//!
//! Which calls are kept: a run keeps the calls of every look that told it something (its first, each that changed what
//! it sees, the one that ended its wait), under its own id. A look that only confirmed what was known is counted
//! ([`Counts`]) and not stored, or ten thousand waiting runs would write ten thousand rows for one request.
//!
//! Deliberately absent: what a look means to a run (`domain::run::Watch` judges, `look` asks), and any memory beyond the
//! last answer: a process that takes a run over looks for itself.

mod interval;
mod lane;
mod subject;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use domain::action::{Action, CallRecord, ErrorClass};
use domain::{Clock, Timestamp};
use serde_json::Value;

use lane::{Lane, Ticket};
pub(crate) use subject::Look;
use subject::{Subject, Wanted};
pub(crate) use subscription::{News, Subscription};

/// How much may be asked of the outside.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Requests a second (clock time) to one service in one region, for all runs of all replicas together.
    pub per_second: f64,
    /// How many may be saved up while nothing is asked, and then be sent at once: a run's first looks should not wait.
    pub burst: f64,
}

impl Budget {
    /// So many a second, and what is left over of the last four.
    pub fn of(per_second: f64) -> Self {
        Self { per_second, burst: (4.0 * per_second).max(1.0) }
    }

    /// RDS grants an account and region some twelve requests a second for all of its operations and all who ask, consoles and exporters
    /// with them: a sixth of that.
    pub fn of_rds() -> Self {
        Self::of(2.0)
    }
}

/// This process's part of the budget: AWS counts what an account asks, whichever replica does. All have the same part of the rate.
/// What may be sent at once is not divided, only saved up for longer: a run's first looks are all made by one of them.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    budget: Budget,
    /// Of RDS.
    rds: Budget,
    among: Arc<AtomicU32>,
}

impl Share {
    /// Of a budget, and one of RDS's own, that as many processes share as `among` says from moment to moment.
    pub(crate) fn of(budget: Budget, rds: Budget, among: Arc<AtomicU32>) -> Self {
        Self { budget, rds, among }
    }

    /// What there is for one service.
    fn for_service(&self, service: &str) -> Self {
        let budget = if service == "rds" { self.rds } else { self.budget };
        Self { budget, ..self.clone() }
    }

    fn now(&self) -> Budget {
        let among = self.among.load(Ordering::Relaxed).max(1);
        Budget { per_second: self.budget.per_second / f64::from(among), ..self.budget }
    }
}

impl Default for Budget {
    /// Well under what AWS grants an account for its `Describe` calls, so that people and other programs keep their share.
    fn default() -> Self {
        Self::of(5.0)
    }
}

/// What the observer has done since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Looks that were made.
    pub looks: u64,
    /// Requests that they, and the looks that are not shared, took.
    pub requests: u64,
    /// Things that are being looked at now.
    pub subjects: usize,
    /// Who watches them.
    pub watchers: usize,
    /// How many processes share the budget now, this one with them.
    pub processes: u32,
}

/// How somebody waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    /// The pause between looks that the runbook asks for.
    pub(crate) every: Duration,
    /// Since when it waits.
    pub(crate) since: Timestamp,
    /// How long it usually takes.
    pub(crate) expect: Option<Duration>,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    share: Share,
    /// How long one look may take (wall time).
    deadline: Duration,
    subjects: Mutex<HashMap<Key, Arc<Subject>>>,
    lanes: Mutex<HashMap<LaneName, Arc<Lane>>>,
    watchers: AtomicU64,
    looks: AtomicU64,
    requests: AtomicU64,
}

/// An action and its input, written so that the order of fields does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    action: &'static str,
    input: String,
}

/// The account is that of this process's credentials, unless an input names one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LaneName {
    account: String,
    region: String,
    /// What is asked itself, where that is no service of a region: a host, the logins of a fleet, a cluster.
    place: String,
    service: String,
}

impl LaneName {
    fn of(action: &str, input: &Value) -> Self {
        let field = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let service = action.split('.').next().unwrap_or(action).to_owned();
        let (account, region) = (field("account"), field("region"));
        let host = || input.pointer("/host/id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut places = [host(), field("fleet"), field("cluster")].into_iter();
        let place = if region.is_empty() { places.find(|place| !place.is_empty()) } else { None };
        Self { account, region, place: place.unwrap_or_default(), service }
    }
}

impl Observer {
    pub(crate) fn new(clock: Arc<dyn Clock>, share: Share, deadline: Duration) -> Self {
        Self(Arc::new(Shared {
            clock,
            share,
            deadline,
            subjects: Mutex::default(),
            lanes: Mutex::default(),
            watchers: AtomicU64::new(0),
            looks: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }))
    }

    /// Looks once, together with everybody who asks before the look begins.
    pub(crate) async fn once(&self, action: &Arc<dyn Action>, input: &Value) -> Arc<Look> {
        self.subscribe(action, input, None).first().await
    }

    /// Watches until the subscription is dropped.
    pub(crate) fn watch(&self, action: &Arc<dyn Action>, input: &Value, wish: Wish) -> Subscription {
        self.subscribe(action, input, Some(wish))
    }

    /// Something has happened to `resource` (any, when it is empty): whoever watches it looks soon, and believes the look.
    pub(crate) fn hint(&self, service: &str, region: &str, resource: &str) {
        let written = Value::from(resource).to_string();
        let subjects = lock(&self.0.subjects);
        for (key, subject) in subjects.iter() {
            let name = LaneName::of(key.action, subject.input());
            let about = name.service == service && (name.region == region || name.region.is_empty());
            if about && (resource.is_empty() || key.input.contains(&written)) {
                subject.want(Wanted::Soon);
            }
        }
    }

    /// Counts what a look that is not shared has asked of its lane.
    pub(crate) fn spent(&self, action: &dyn Action, input: &Value, calls: &[CallRecord], busy: bool) {
        let requests = requests(action, calls);
        self.0.requests.fetch_add(u64::from(requests), Ordering::Relaxed);
        let lane = self.lane(action.spec().name, input);
        lane.spent(requests);
        if busy {
            lane.throttled();
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let subjects = lock(&self.0.subjects);
        Counts {
            looks: self.0.looks.load(Ordering::Relaxed),
            requests: self.0.requests.load(Ordering::Relaxed),
            subjects: subjects.len(),
            watchers: subjects.values().map(|s| s.watched_by()).sum(),
            processes: self.0.share.among.load(Ordering::Relaxed),
        }
    }

    fn subscribe(&self, action: &Arc<dyn Action>, input: &Value, wish: Option<Wish>) -> Subscription {
        let name = action.spec().name;
        let key = Key { action: name, input: canonical(input) };
        let lane = self.lane(name, input);
        let id = self.0.watchers.fetch_add(1, Ordering::Relaxed);
        let mut subjects = lock(&self.0.subjects);
        let subject = subjects.entry(key.clone()).or_insert_with(|| {
            let subject = Arc::new(Subject::new(action.clone(), input.clone(), lane));
            tokio::spawn(look_after(self.clone(), key, subject.clone()));
            subject
        });
        // Under the lock: a subject that nobody watches is taken away under it, too.
        Subscription::new(subject, id, wish)
    }

    fn lane(&self, action: &str, input: &Value) -> Arc<Lane> {
        let mut lanes = lock(&self.0.lanes);
        let name = LaneName::of(action, input);
        let share = self.0.share.for_service(&name.service);
        let new = || Arc::new(Lane::new(self.0.clock.clone(), share));
        lanes.entry(name).or_insert_with(new).clone()
    }

    /// One look, within the deadline, charged to its lane for what it really took.
    async fn look(&self, subject: &Subject, ticket: &Ticket) {
        let shared = &self.0;
        shared.looks.fetch_add(1, Ordering::Relaxed);
        let look = subject.look(&shared.clock, shared.deadline).await;
        let requests = requests(subject.action(), &look.calls);
        shared.requests.fetch_add(u64::from(requests), Ordering::Relaxed);
        // One was taken with the ticket.
        subject.lane().looked(ticket, requests - 1);
        if matches!(&look.result, Err(e) if e.class == ErrorClass::Busy) {
            subject.lane().throttled();
        }
    }

    /// Takes a subject away, unless somebody watches it again.
    fn retire(&self, key: &Key, subject: &Arc<Subject>) -> bool {
        let mut subjects = lock(&self.0.subjects);
        let idle = subject.watched_by() == 0;
        if idle && subjects.get(key).is_some_and(|s| Arc::ptr_eq(s, subject)) {
            subjects.remove(key);
        }
        idle
    }
}

/// Looks at a subject whenever it is due, for as long as somebody watches.
async fn look_after(observer: Observer, key: Key, subject: Arc<Subject>) {
    let clock = observer.0.clock.clone();
    loop {
        let Some(due) = subject.due(clock.now()) else {
            if observer.retire(&key, &subject) {
                return;
            }
            continue;
        };
        if due.within > TimeDelta::zero() {
            tokio::select! {
                () = clock.sleep(due.within.to_std().unwrap_or_default()) => {}
                () = subject.moved() => {}
            }
            continue;
        }
        let ticket = subject.lane().ticket(due.urgent);
        tokio::pin!(ticket);
        loop {
            tokio::select! {
                ticket = &mut ticket => {
                    // Without a ticket the lane has ended, and so has this process.
                    let Some(ticket) = ticket else { return };
                    observer.look(&subject, &ticket).await;
                    break;
                }
                // The place in the queue is kept, unless somebody came who cannot wait, or the last one went.
                () = subject.moved() => match subject.due(clock.now()) {
                    Some(now) if now.urgent <= due.urgent => {}
                    _ => break,
                },
            }
        }
    }
}

/// The requests that a look took: for AWS each of its calls; elsewhere a look is one, however many logins it tries.
fn requests(action: &dyn Action, calls: &[CallRecord]) -> u32 {
    if action.spec().permissions.is_empty() { 1 } else { u32::try_from(calls.len()).unwrap_or(1).max(1) }
}

/// JSON with its fields in order.
fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(fields.into_iter().collect())
            }
            Value::Array(items) => items.iter().map(sorted).collect(),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
