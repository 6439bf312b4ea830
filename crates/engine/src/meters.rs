//! What this process counts while it works, for whoever measures it from outside.
//!
//! Only what nobody can count afterwards, or too dearly: how long a commit takes, what calls to the outside were answered. How
//! many runs there are is counted in the store (`store::census`), where it is true of all processes.

use std::sync::PoisonError;
use std::time::Duration;

use domain::action::{ActionError, ErrorClass};
use domain::run::Outcome;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::{Counts, Engine};

/// Of a statement of the write path, from half a millisecond to ten seconds, after which its connection counts as dead.
const COMMIT_SECONDS: [f64; 10] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0, 10.0];

/// What a statement writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Written {
    /// What happened in runs.
    Appends,
    /// Runs.
    Births,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Commit {
    what: Written,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    action: &'static str,
    answer: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct End {
    runbook: String,
    outcome: &'static str,
}

/// The counters; all clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Meters {
    commits: Family<Commit, Histogram, fn() -> Histogram>,
    shared: Family<Commit, Counter>,
    calls: Family<Call, Counter>,
    ends: Family<End, Counter>,
}

impl EncodeLabelValue for Written {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let word = match self {
            Self::Appends => "appends",
            Self::Births => "births",
        };
        word.encode(encoder)
    }
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            commits: Family::new_with_constructor(|| Histogram::new(COMMIT_SECONDS)),
            shared: Family::default(),
            calls: Family::default(),
            ends: Family::default(),
        }
    }
}

impl Meters {
    /// A statement wrote for so many runs, and took so long until they were answered.
    pub(crate) fn committed(&self, what: Written, runs: usize, took: Duration) {
        let commit = Commit { what };
        self.commits.get_or_create(&commit).observe(took.as_secs_f64());
        self.shared.get_or_create(&commit).inc_by(runs as u64);
    }

    /// A call that changes something was answered like this; `None`: not within its deadline.
    pub(crate) fn called<T>(&self, action: &'static str, answer: Option<&Result<T, ActionError>>) {
        let answer = match answer {
            Some(Ok(_)) => "done",
            Some(Err(e)) => match e.class {
                ErrorClass::Busy => "busy",
                ErrorClass::Transient => "transient",
                ErrorClass::Refused => "refused",
                ErrorClass::Gone => "gone",
                ErrorClass::Unknown => "unknown",
            },
            None => "unknown",
        };
        self.calls.get_or_create(&Call { action, answer }).inc();
    }

    /// A run came to its end here.
    pub(crate) fn ended(&self, runbook: &str, outcome: Outcome) {
        let end = End { runbook: runbook.to_owned(), outcome: outcome.word() };
        self.ends.get_or_create(&end).inc();
    }
}

impl Engine {
    /// Puts what this process has counted, and how it stands, where it is read from.
    pub fn measure(&self, registry: &mut Registry) {
        let core = &self.core;
        let Meters { commits, shared, calls, ends } = core.meters.clone();
        let about_commits = "Statements of the write path, until those that waited for them were answered";
        registry.register_with_unit("commit", about_commits, Unit::Seconds, commits);
        registry.register("commit_runs", "Runs that such statements wrote for: several share one", shared);
        registry.register("changing_calls", "Calls that change something, by how they were answered", calls);
        registry.register("runs_ended", "Runs that ended in this process", ends);
        let Counts { looks, requests, subjects, watchers, processes: _ } = self.looks();
        registry.register("looks", "Looks that runs share", ConstCounter::new(looks));
        registry.register("look_requests", "Requests that all looks took", ConstCounter::new(requests));
        registry.register("watched", "Things that are looked at now", ConstGauge::new(subjects as i64));
        registry.register("watchers", "Who waits for what they show", ConstGauge::new(watchers as i64));
        let left = core.lease.remaining().unwrap_or_default().as_secs_f64();
        let about_lease = "How long this process may still act, if its lease is not renewed; 0: not at all";
        registry.register_with_unit("lease_left", about_lease, Unit::Seconds, ConstGauge::new(left));
        let driven = core.drivers.lock().unwrap_or_else(PoisonError::into_inner).len();
        registry.register("runs_driven", "Runs that this process drives", ConstGauge::new(driven as i64));
    }
}
