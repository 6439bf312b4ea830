//! What a journal means: the fold of its entries, and which entry may follow which.

mod enter;
mod node;
mod nodes;
mod pass;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{After, Ballot, Despite, Entry, Gate, Outcome, Record, StepPath, Takeback, Undo};
use crate::plan::Plan;
use crate::{Actor, Timestamp};

pub use node::{Attempt, Intent, Node, Status};

use nodes::Nodes;

/// An entry that may not follow what stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} ({kind}) is not legal here: {why}")]
pub struct Illegal {
    /// Its number.
    pub seq: i64,
    /// Its kind.
    pub kind: &'static str,
    /// Why not.
    pub why: String,
}

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Going through the steps.
    Forward,
    /// Taking back.
    Closing {
        /// How much.
        takeback: Takeback,
        /// What comes then.
        then: After,
    },
    /// Waiting for the symptom to be gone.
    Verifying,
    /// Over.
    Ended,
}

/// Why the run waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Pause {
    /// The step that it waits at, if one.
    pub step: Option<StepPath>,
    /// Why.
    pub why: String,
    /// Since when.
    pub at: Timestamp,
}

/// What is known of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    seq: i64,
    at: Timestamp,
    epoch: i64,
    phase: Phase,
    runbook: String,
    hash: String,
    children: BTreeMap<String, String>,
    inputs: Map<String, Value>,
    by: Actor,
    reason: Option<String>,
    started_at: Timestamp,
    nodes: Nodes,
    order: Vec<StepPath>,
    held: Option<Pause>,
    blocked: BTreeMap<StepPath, Pause>,
    aborting: Option<(Takeback, Actor, String)>,
    inbox: i64,
    outcome: Option<(Outcome, String)>,
    pub(super) gate: Option<Gate>,
    /// Does it hold its locks?
    pub(super) admitted: bool,
    pub(super) locks: Vec<String>,
    pub(super) plan_hash: Option<String>,
    pub(super) accepted: Option<Box<Plan>>,
    /// Has it waited since the brakes were last asked for?
    pub(super) asks_brakes: bool,
    pub(super) despite: Despite,
    /// The start's under none, a step's under its path.
    pub(super) ballots: BTreeMap<Option<StepPath>, Ballot>,
}

impl State {
    /// The state after a whole journal.
    pub fn replay<'a>(journal: impl IntoIterator<Item = &'a Record>) -> Result<Self, Illegal> {
        let mut records = journal.into_iter();
        let Some(first) = records.next() else {
            return Err(Illegal { seq: 0, kind: "none", why: "an empty journal is not a run".into() });
        };
        let mut state = Self::first(first)?;
        for record in records {
            state.apply(record)?;
        }
        Ok(state)
    }

    /// The state after the first entry.
    pub fn first(record: &Record) -> Result<Self, Illegal> {
        let Entry::Requested { runbook, hash, inputs, by, reason, plan_hash, locks, children, overrides } =
            &record.entry
        else {
            return Err(illegal(record, "a journal begins with the request"));
        };
        if record.seq != 1 {
            return Err(illegal(record, "the request is entry 1"));
        }
        Ok(Self {
            seq: 1,
            at: record.at,
            epoch: record.epoch,
            phase: Phase::Forward,
            runbook: runbook.clone(),
            hash: hash.clone(),
            children: children.clone(),
            inputs: inputs.clone(),
            by: by.clone(),
            reason: reason.clone(),
            started_at: record.at,
            nodes: Nodes::default(),
            order: Vec::new(),
            held: None,
            blocked: BTreeMap::new(),
            aborting: None,
            inbox: 0,
            outcome: None,
            gate: plan_hash.as_ref().map(|_| Gate::Plan),
            admitted: true,
            locks: locks.clone(),
            plan_hash: plan_hash.clone(),
            accepted: None,
            asks_brakes: false,
            despite: Despite::said(overrides, record.at),
            ballots: BTreeMap::new(),
        })
    }

    /// Takes up the next entry. This function holds all legal moves; whatever it refuses cannot happen.
    pub fn apply(&mut self, record: &Record) -> Result<(), Illegal> {
        if record.seq != self.seq + 1 {
            return Err(illegal(record, &format!("entry {} must follow", self.seq + 1)));
        }
        if record.epoch < self.epoch {
            return Err(illegal(record, "its epoch is older than the one before"));
        }
        if self.outcome.is_some() {
            return Err(illegal(record, "the run has ended"));
        }
        self.enter(record)?;
        self.seq = record.seq;
        self.at = record.at;
        self.epoch = record.epoch;
        Ok(())
    }

    /// What is to be taken back, the last change first: the step, and how.
    pub fn takebacks(&self, takeback: Takeback) -> Vec<(&StepPath, &Undo)> {
        self.order
            .iter()
            .rev()
            .filter(|path| !path.is_undo())
            .filter_map(|path| {
                let node = self.nodes.get(path)?;
                let undo = node.intent.as_ref()?.undo.as_ref()?;
                (node.was_made() && (takeback == Takeback::All || undo.finally)).then_some((path, undo))
            })
            .collect()
    }

    /// Number of the last entry.
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Time of the last entry.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The fencing epoch of the last entry.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Where the run is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Name of the runbook.
    pub fn runbook(&self) -> &str {
        &self.runbook
    }

    /// Hash of the runbook's text.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The runbooks that it runs: the hash of each one's text.
    pub fn children(&self) -> &BTreeMap<String, String> {
        &self.children
    }

    /// The inputs in stored form.
    pub fn inputs(&self) -> &Map<String, Value> {
        &self.inputs
    }

    /// Who asked for the run.
    pub fn by(&self) -> &Actor {
        &self.by
    }

    /// Why, in their words.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// When it was asked for.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// A step of this run, once it has appeared.
    pub fn node(&self, step: &StepPath) -> Option<&Node> {
        self.nodes.get(step)
    }

    /// The same by the text of its path, with the path.
    pub(super) fn known(&self, step: &str) -> Option<(&StepPath, &Node)> {
        self.nodes.known(step)
    }

    /// Has the step of this path appeared, or one inside it?
    pub(super) fn has_begun(&self, step: &str) -> bool {
        self.nodes.has_begun(step)
    }

    /// The steps that have appeared, in that order.
    pub fn nodes(&self) -> impl Iterator<Item = (&StepPath, &Node)> {
        self.order.iter().filter_map(|path| self.nodes.known(path.as_str()))
    }

    /// Why the run waits for a person, if it does. A failed step comes before a pause by hand.
    pub fn paused(&self) -> Option<&Pause> {
        self.blocked.values().next().or(self.held.as_ref())
    }

    /// Was it paused by hand?
    pub fn held(&self) -> Option<&Pause> {
        self.held.as_ref()
    }

    /// The steps at which it waits for a person.
    pub fn blocked(&self) -> impl Iterator<Item = (&StepPath, &Pause)> {
        self.blocked.iter()
    }

    /// Is the run where this step belongs, and nothing around it over?
    fn is_due(&self, step: &StepPath) -> bool {
        self.is_at(step) && self.over_around(step).is_none()
    }

    /// Is the run where this step belongs?
    pub(super) fn is_at(&self, step: &StepPath) -> bool {
        match self.phase {
            Phase::Forward => true,
            Phase::Closing { .. } => step.is_undo(),
            Phase::Verifying => step.is_verify(),
            Phase::Ended => false,
        }
    }

    /// The step around this one that is over, the outermost: one that is done or left out before one that has failed.
    pub(super) fn over_around(&self, step: &StepPath) -> Option<(&StepPath, &Node)> {
        let over = || {
            step.around()
                .filter_map(|path| self.known(path))
                .filter(|(_, n)| n.is_around() && n.status.is_over())
        };
        over().find(|(_, n)| n.status != Status::Failed).or_else(|| over().next())
    }

    /// Is a person's abort being carried out?
    pub fn aborting(&self) -> Option<&(Takeback, Actor, String)> {
        self.aborting.as_ref()
    }

    /// The last row of the inbox that was answered.
    pub fn inbox(&self) -> i64 {
        self.inbox
    }

    /// How it ended, and the sentence.
    pub fn outcome(&self) -> Option<(Outcome, &str)> {
        self.outcome.as_ref().map(|(outcome, message)| (*outcome, message.as_str()))
    }

    /// The steps of which a change is under way, or was when its worker died.
    pub fn in_flight(&self) -> impl Iterator<Item = (&StepPath, &Node)> {
        self.nodes
            .iter()
            .filter(|(_, n)| n.intent.is_some() && matches!(n.status, Status::Running | Status::Unclear))
    }

    /// From when on nothing can take effect any more of the calls that nobody waits for: those of which somebody has said that they
    /// did not happen, and those that whoever skips them or aborts has left as they are. None, where there is no such call.
    pub fn lands_before(&self, window: Duration) -> Option<Timestamp> {
        let left = |node: &&Node| match node.status {
            Status::RetryLater(_) | Status::Skipped => node.may_land,
            Status::OutcomeUnknown => node.abandoned,
            _ => false,
        };
        self.nodes
            .values()
            .filter(left)
            .filter_map(|node| Some(node.intent.as_ref()?.lands_before(window)))
            .max()
    }

    /// Was any change announced so far?
    pub fn has_changed_anything(&self) -> bool {
        self.nodes.values().any(|n| n.intent.is_some())
    }

    /// One word for lists and headers.
    pub fn word(&self) -> &'static str {
        if let Some((outcome, _)) = self.outcome {
            return outcome.word();
        }
        let stuck = matches!(self.phase, Phase::Closing { .. }) && !self.blocked.is_empty();
        match &self.phase {
            _ if stuck => "stuck",
            // Whoever ended the run was asked before.
            Phase::Forward | Phase::Verifying
                if self.nodes.values().any(|n| n.status == Status::OutcomeUnknown && !n.abandoned) =>
            {
                "outcome_unknown"
            }
            _ if self.paused().is_some() => "paused",
            Phase::Closing { takeback: Takeback::All, .. } => "undoing",
            Phase::Closing { .. } => "closing",
            Phase::Verifying => "verifying",
            Phase::Forward if self.aborting.is_some() => "running",
            Phase::Forward if matches!(self.gate, Some(Gate::Locks { .. })) => "queued",
            Phase::Forward if self.open_ballots().next().is_some() => "waiting_for_approval",
            Phase::Forward | Phase::Ended => "running",
        }
    }
}

fn illegal(record: &Record, why: &str) -> Illegal {
    Illegal { seq: record.seq, kind: record.entry.kind(), why: why.to_owned() }
}
