//! What a journal means: the fold of its entries, and which entry may follow which.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{After, Ask, Entry, How, Item, Outcome, Record, StepPath, Takeback, Undo, answer};
use crate::action::{ActionError, Effect, ErrorClass};
use crate::{Actor, Timestamp};

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

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Looking, or a change is being made.
    Running,
    /// The next attempt is due later.
    RetryLater(Timestamp),
    /// A call ended without an answer, or its worker died: to be looked at.
    Unclear,
    /// Nobody but a person can tell whether it happened.
    OutcomeUnknown,
    /// Done.
    Done,
    /// Left out.
    Skipped,
    /// Failed for good.
    Failed,
}

impl Status {
    /// Nothing more will happen to it by itself.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Skipped | Self::Failed)
    }

    /// As pages write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::RetryLater(_) => "waiting to retry",
            Self::Unclear => "checking what happened",
            Self::OutcomeUnknown => "outcome unknown",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// One attempt of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<ActionError>,
}

/// A change that was announced.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The action.
    pub action: String,
    /// Its input.
    pub input: Value,
    /// What was seen right before.
    pub facts: Value,
    /// Effect class.
    pub effect: Effect,
    /// Not sent after this moment.
    pub deadline: Timestamp,
    /// How it will be taken back.
    pub undo: Option<Undo>,
}

/// A step of this run.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it is.
    pub status: Status,
    /// Its attempts, the last one last.
    pub attempts: Vec<Attempt>,
    /// When it first appeared.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Its resolved input, if it has one.
    pub input: Option<Value>,
    /// What later steps read.
    pub output: Value,
    /// How it came to be done.
    pub how: Option<How>,
    /// What it saw last while waiting.
    pub seen: Option<Value>,
    /// Why it failed, or was skipped.
    pub error: Option<ActionError>,
    /// What a failed guard saw, or what was seen when the outcome became unknown.
    pub facts: Option<Value>,
    /// Why it was skipped.
    pub skipped: Option<String>,
    /// The last announced change.
    pub intent: Option<Intent>,
    /// Items of an `each`.
    pub items: Option<Vec<Item>>,
    /// How many items at the same time.
    pub at_once: usize,
}

impl Node {
    fn new(at: Timestamp) -> Self {
        Self {
            status: Status::Running,
            attempts: Vec::new(),
            started_at: at,
            ended_at: None,
            input: None,
            output: Value::Null,
            how: None,
            seen: None,
            error: None,
            facts: None,
            skipped: None,
            intent: None,
            items: None,
            at_once: 0,
        }
    }

    /// The number of the last attempt; 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |a| a.number)
    }

    /// How many attempts count against the limit: those that failed because a service was busy do not.
    pub fn attempts_used(&self) -> u32 {
        let counts = |a: &&Attempt| a.error.as_ref().is_none_or(|e| e.class != ErrorClass::Busy);
        u32::try_from(self.attempts.iter().filter(counts).count()).unwrap_or(u32::MAX)
    }
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
    inputs: Map<String, Value>,
    by: Actor,
    reason: Option<String>,
    started_at: Timestamp,
    nodes: BTreeMap<StepPath, Node>,
    order: Vec<StepPath>,
    held: Option<Pause>,
    blocked: BTreeMap<StepPath, Pause>,
    aborting: Option<(Takeback, Actor, String)>,
    inbox: i64,
    outcome: Option<(Outcome, String)>,
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
        let Entry::Requested { runbook, hash, inputs, by, reason, .. } = &record.entry else {
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
            inputs: inputs.clone(),
            by: by.clone(),
            reason: reason.clone(),
            started_at: record.at,
            nodes: BTreeMap::new(),
            order: Vec::new(),
            held: None,
            blocked: BTreeMap::new(),
            aborting: None,
            inbox: 0,
            outcome: None,
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

    fn enter(&mut self, record: &Record) -> Result<(), Illegal> {
        let at = record.at;
        let refuse = |why: &str| Err(illegal(record, why));
        match &record.entry {
            Entry::Requested { .. } => return refuse("a run is requested once"),
            Entry::TakenOver { .. } => {
                for node in self.nodes.values_mut() {
                    if node.status == Status::Running && node.intent.is_some() {
                        node.status = Status::Unclear;
                    }
                }
            }
            Entry::Started { step, attempt, input, .. } => {
                let node = self.open(step, *attempt, at).map_err(|why| illegal(record, &why))?;
                node.input = Some(input.clone());
                node.intent = None;
            }
            Entry::Intent { step, attempt, action, input, facts, effect, deadline, undo } => {
                let node = self.open(step, *attempt, at).map_err(|why| illegal(record, &why))?;
                node.input = Some(input.clone());
                node.intent = Some(Intent {
                    action: action.clone(),
                    input: input.clone(),
                    facts: facts.clone(),
                    effect: *effect,
                    deadline: *deadline,
                    undo: undo.clone(),
                });
            }
            Entry::Observed { step, output } => match self.nodes.get_mut(step) {
                Some(node) if node.status == Status::Running && node.intent.is_none() => {
                    node.seen = Some(output.clone());
                }
                _ => return refuse("the step is not looking"),
            },
            Entry::Expanded { step, items, at_once } => {
                if self.nodes.contains_key(step) {
                    return refuse("the step has its items already");
                }
                let node = self.node_mut(step, at);
                node.items = Some(items.clone());
                node.at_once = *at_once;
            }
            Entry::Done { step, output, how } => {
                if self.nodes.get(step).is_some_and(|n| n.status.is_over()) {
                    return refuse("the step is over");
                }
                if matches!(how, How::Called { .. })
                    && self.nodes.get(step).is_none_or(|n| n.intent.is_none())
                {
                    return refuse("a call without an intent before it");
                }
                let node = self.node_mut(step, at);
                node.finish(Status::Done, at);
                node.output = output.clone();
                node.how = Some(how.clone());
            }
            Entry::AttemptFailed { step, attempt, error, retry_at } => match self.nodes.get_mut(step) {
                Some(node) if !node.status.is_over() && node.attempt() == *attempt => {
                    node.end_attempt(at, Some(error));
                    node.status = Status::RetryLater(*retry_at);
                }
                None if *attempt == 1 => {
                    // The look before the first intent failed: the attempt never got as far as announcing itself.
                    let node = self.node_mut(step, at);
                    node.attempts.push(Attempt {
                        number: 1,
                        at,
                        ended_at: Some(at),
                        error: Some(error.clone()),
                    });
                    node.status = Status::RetryLater(*retry_at);
                }
                Some(node) if !node.status.is_over() && node.attempt() + 1 == *attempt => {
                    node.attempts.push(Attempt {
                        number: *attempt,
                        at,
                        ended_at: Some(at),
                        error: Some(error.clone()),
                    });
                    node.status = Status::RetryLater(*retry_at);
                }
                _ => return refuse("that attempt is not under way"),
            },
            Entry::Unclear { step, error } => match self.nodes.get_mut(step) {
                Some(node) if node.status == Status::Running && node.intent.is_some() => {
                    node.status = Status::Unclear;
                    node.error = Some(error.clone());
                }
                _ => return refuse("no change of that step is under way"),
            },
            Entry::OutcomeUnknown { step, facts } => match self.nodes.get_mut(step) {
                Some(node) if node.status == Status::Unclear => {
                    node.status = Status::OutcomeUnknown;
                    node.facts = Some(facts.clone());
                }
                _ => return refuse("the step's outcome is not in question"),
            },
            Entry::Failed { step, error, facts } => {
                if self.nodes.get(step).is_some_and(|n| n.status.is_over()) {
                    return refuse("the step is over");
                }
                let node = self.node_mut(step, at);
                node.end_attempt(at, Some(error));
                node.finish(Status::Failed, at);
                node.error = Some(error.clone());
                node.facts = Some(facts.clone());
            }
            Entry::Skipped { step, why } => {
                if self.nodes.get(step).is_some_and(|n| n.status.is_over() || n.has_open_intent()) {
                    return refuse("the step is over, or a change of it is under way");
                }
                let node = self.node_mut(step, at);
                node.finish(Status::Skipped, at);
                node.skipped = Some(why.clone());
            }
            Entry::Paused { step, why } => {
                let pause = Pause { step: step.clone(), why: why.clone(), at };
                match step {
                    Some(step) if !self.nodes.contains_key(step) => return refuse("there is no such step"),
                    Some(step) => {
                        self.blocked.insert(step.clone(), pause);
                    }
                    None => self.held = Some(pause),
                }
            }
            Entry::Asked { inbox, by, ask, refused } => {
                if *inbox <= self.inbox {
                    return refuse("that row of the inbox was answered already");
                }
                self.inbox = *inbox;
                if refused.is_none() {
                    answer(self, ask).map_err(|e| illegal(record, &e.0))?;
                    self.obey(ask, by, at);
                }
            }
            Entry::Closing { takeback, then } => {
                if !matches!(self.phase, Phase::Forward | Phase::Verifying) {
                    return refuse("the run is closing already");
                }
                if self.in_flight().next().is_some() {
                    return refuse("a change is still under way");
                }
                self.blocked.clear();
                self.held = None;
                self.phase = match then {
                    After::Verify if self.takebacks(*takeback).is_empty() => Phase::Verifying,
                    _ => Phase::Closing { takeback: *takeback, then: then.clone() },
                };
            }
            Entry::Ended { outcome, message } => {
                if self.in_flight().next().is_some() {
                    return refuse("a change is still under way");
                }
                self.outcome = Some((*outcome, message.clone()));
                self.phase = Phase::Ended;
                self.blocked.clear();
                self.held = None;
            }
        }
        if let Phase::Closing { takeback, then: After::Verify } = &self.phase
            && self
                .takebacks(*takeback)
                .iter()
                .all(|u| self.nodes.get(&u.0.undo()).is_some_and(|n| n.status.is_over()))
            && self.blocked.is_empty()
        {
            self.phase = Phase::Verifying;
        }
        Ok(())
    }

    fn obey(&mut self, ask: &Ask, by: &Actor, at: Timestamp) {
        match ask {
            Ask::Pause { reason } => {
                let why = reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
                self.held = Some(Pause { step: None, why: format!("paused by {by}{why}"), at });
            }
            Ask::Resume => self.held = None,
            Ask::Retry { step } => {
                self.blocked.remove(step);
                if let Some(node) = self.nodes.get_mut(step) {
                    node.ended_at = None;
                    node.error = None;
                    node.facts = None;
                    if node.attempts.is_empty() && node.items.is_none() {
                        // A guard, or an `each` whose list could not be told: it is simply worked out again.
                        self.nodes.remove(step);
                        self.order.retain(|p| p != step);
                    } else {
                        node.status = Status::RetryLater(at);
                    }
                }
            }
            Ask::Skip { step, reason } => {
                self.blocked.remove(step);
                if let Some(node) = self.nodes.get_mut(step) {
                    node.finish(Status::Skipped, at);
                    node.skipped = Some(format!("{by}: {reason}"));
                }
            }
            Ask::MarkDone { step, reason, output } => {
                self.blocked.remove(step);
                if let Some(node) = self.nodes.get_mut(step) {
                    node.finish(Status::Done, at);
                    node.output = output.clone();
                    node.how = Some(How::MarkedDone { by: by.clone(), reason: reason.clone() });
                }
            }
            Ask::Abort { takeback, reason } => {
                self.aborting = Some((*takeback, by.clone(), reason.clone()));
            }
        }
    }

    /// Opens attempt `attempt` of a step.
    fn open(&mut self, step: &StepPath, attempt: u32, at: Timestamp) -> Result<&mut Node, String> {
        if let Some(node) = self.nodes.get(step) {
            if node.status.is_over() {
                return Err("the step is over".into());
            }
            if node.has_open_intent() {
                return Err("a change of that step is under way".into());
            }
            if attempt != node.attempt() + 1 {
                return Err(format!("attempt {} must follow", node.attempt() + 1));
            }
        } else if attempt != 1 {
            return Err("the first attempt is number 1".into());
        }
        let node = self.node_mut(step, at);
        node.status = Status::Running;
        node.error = None;
        node.attempts.push(Attempt { number: attempt, at, ended_at: None, error: None });
        Ok(node)
    }

    fn node_mut(&mut self, step: &StepPath, at: Timestamp) -> &mut Node {
        if !self.nodes.contains_key(step) {
            self.order.push(step.clone());
        }
        self.nodes.entry(step.clone()).or_insert_with(|| Node::new(at))
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
                let changed =
                    matches!(node.how, Some(How::Called { .. } | How::FoundDone | How::MarkedDone { .. }));
                (changed && (takeback == Takeback::All || undo.finally)).then_some((path, undo))
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

    /// The steps that have appeared, in that order.
    pub fn nodes(&self) -> impl Iterator<Item = (&StepPath, &Node)> {
        self.order.iter().filter_map(|path| self.nodes.get_key_value(path))
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

    /// Must nothing new be begun? A pause stops the steps, not the taking back; an abort stops what it interrupts.
    pub fn is_stopped(&self) -> bool {
        !matches!(self.phase, Phase::Closing { .. }) && (self.paused().is_some() || self.aborting.is_some())
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
            _ if self.nodes.values().any(|n| n.status == Status::OutcomeUnknown) => "outcome_unknown",
            _ if self.paused().is_some() => "paused",
            Phase::Closing { takeback: Takeback::All, .. } => "undoing",
            Phase::Closing { .. } => "closing",
            Phase::Verifying => "verifying",
            Phase::Forward | Phase::Ended => "running",
        }
    }
}

impl Node {
    /// A change was announced and its outcome is not settled.
    pub fn has_open_intent(&self) -> bool {
        self.intent.is_some()
            && matches!(self.status, Status::Running | Status::Unclear | Status::OutcomeUnknown)
    }

    fn end_attempt(&mut self, at: Timestamp, error: Option<&ActionError>) {
        if let Some(last) = self.attempts.last_mut()
            && last.ended_at.is_none()
        {
            last.ended_at = Some(at);
            last.error = error.cloned();
        }
    }

    fn finish(&mut self, status: Status, at: Timestamp) {
        self.end_attempt(at, None);
        self.status = status;
        self.ended_at = Some(at);
    }
}

fn illegal(record: &Record, why: &str) -> Illegal {
    Illegal { seq: record.seq, kind: record.entry.kind(), why: why.to_owned() }
}
