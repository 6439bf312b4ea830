//! How long a run takes: as past runs of the same runbook tell, and as the runbook itself expects where there are none.
//!
//! Durations are kept by the form of a step's path ([`StepPath::form`]), so that the items of an `each` count as one step.
//! A forecast is for people who wait; nothing is decided by it, and no plan's hash covers it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::run::{Phase, State, StepPath};
use crate::runbook::{Body, Children, EachBody, Runbook, Step, Until, Verify};
use crate::words::span;

/// What past runs took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Forecast {
    /// The whole run, of those that succeeded.
    pub total: Option<Took>,
    /// Each step, by the form of its path: `remove[].drain`.
    pub steps: BTreeMap<String, Took>,
    /// What the runbook itself expects, in seconds: the sum of its `expect`, `for` and `wait`.
    pub expected_s: u64,
}

/// How long something took, over several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Took {
    /// Half of the times at most this many seconds.
    pub p50_s: u64,
    /// 95 of 100 times at most this many.
    pub p95_s: u64,
    /// How many times that is.
    pub of: u64,
}

/// So many times it must have been measured before "95 of 100 times" says something.
const TELLING: u64 = 5;

impl Took {
    /// Was it measured often enough to say what it takes at most?
    pub fn tells_most(&self) -> bool {
        self.of >= TELLING
    }

    /// What a step usually takes.
    pub fn usually(&self) -> String {
        let time = span(i64::try_from(self.p50_s).unwrap_or(i64::MAX));
        if self.of == 1 { format!("{time} the one time before") } else { format!("usually {time}") }
    }
}

/// How long a run in flight still takes, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// As half of the past runs would.
    pub p50_s: u64,
    /// If each step that is left takes as long as 95 of 100 times at most.
    pub p95_s: u64,
    /// Whether past runs tell it; else it is what the runbook expects.
    pub from_history: bool,
}

impl Forecast {
    /// From what past runs took (by form; the whole run's apart) and the runbook.
    pub fn new(
        total: Option<Took>,
        steps: BTreeMap<String, Took>,
        runbook: &Runbook,
        children: &Children,
    ) -> Self {
        Self { total, steps, expected_s: expected_run(runbook, children).as_secs() }
    }

    /// What a step took.
    pub fn step(&self, path: &StepPath) -> Option<&Took> {
        self.steps.get(&path.form())
    }

    /// What is left of a run: the rest of each step that is not over. `None` once it has ended or is closing.
    pub fn remaining(
        &self,
        runbook: &Runbook,
        children: &Children,
        state: &State,
        now: Timestamp,
    ) -> Option<Remaining> {
        if !matches!(state.phase(), Phase::Forward | Phase::Verifying) {
            return None;
        }
        let steps = runbook.steps.iter().map(|step| (StepPath::top(&step.id), expected_step(step, children)));
        let verify = runbook.verify.iter().map(|verify| (StepPath::verify(), expected_verify(verify)));
        let mut left = Remaining { p50_s: 0, p95_s: 0, from_history: false };
        for (path, expected) in steps.chain(verify) {
            let node = state.node(&path);
            if node.is_some_and(|n| n.status.is_over()) {
                continue;
            }
            let gone = node.map_or(0, |n| (now - n.started_at).num_seconds().try_into().unwrap_or(0));
            let took = self.step(&path);
            left.from_history |= took.is_some();
            left.p50_s += took.map_or(expected.as_secs(), |t| t.p50_s).saturating_sub(gone);
            left.p95_s += took.map_or(expected.as_secs(), |t| t.p95_s).saturating_sub(gone);
        }
        Some(left)
    }
}

fn expected_run(runbook: &Runbook, children: &Children) -> Duration {
    expected_steps(&runbook.steps, children) + runbook.verify.as_ref().map_or(Duration::ZERO, expected_verify)
}

fn expected_steps(steps: &[Step], children: &Children) -> Duration {
    steps.iter().map(|step| expected_step(step, children)).sum()
}

/// One round of an `each`: how many there are is not known beforehand.
fn expected_step(step: &Step, children: &Children) -> Duration {
    match &step.body {
        Body::Use(call) => call.until.as_ref().map_or(Duration::ZERO, expected_until),
        Body::Each(each) => match &each.body {
            EachBody::One(call) => call.until.as_ref().map_or(Duration::ZERO, expected_until),
            EachBody::Steps(steps) => expected_steps(steps, children),
        },
        Body::Together(branches) => {
            branches.iter().map(|b| expected_steps(&b.steps, children)).max().unwrap_or_default()
        }
        Body::Run(child) => {
            children.get(&child.runbook).map_or(Duration::ZERO, |runbook| expected_run(runbook, children))
        }
        Body::Wait(time) => *time,
        Body::Assert { .. } | Body::Approve(_) | Body::Value(_) => Duration::ZERO,
    }
}

fn expected_until(until: &Until) -> Duration {
    until.expect.unwrap_or_default().max(until.hold.unwrap_or_default())
}

fn expected_verify(verify: &Verify) -> Duration {
    verify.look.until.as_ref().map_or(Duration::ZERO, expected_until)
}
