//! One step of a run: its status, its attempts, what it announced and what came of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::Timestamp;
use crate::action::{ActionError, Effect, ErrorClass};
use crate::run::{How, Item, StepPath, Undo, is_unanswered};

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
    pub input: Arc<Value>,
    /// What was seen right before.
    pub facts: Arc<Value>,
    /// Effect class.
    pub effect: Effect,
    /// Not sent after this moment.
    pub deadline: Timestamp,
    /// How it will be taken back.
    pub undo: Option<Undo>,
}

impl Intent {
    /// From then on no copy of its call can take effect any more: it was signed before the deadline, and services take signatures of
    /// this age.
    pub fn lands_before(&self, window: Duration) -> Timestamp {
        self.deadline + window
    }
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
    pub input: Option<Arc<Value>>,
    /// What later steps read.
    pub output: Arc<Value>,
    /// How it came to be done.
    pub how: Option<How>,
    /// What it saw last while waiting.
    pub seen: Option<Arc<Value>>,
    /// Why it failed, or was skipped.
    pub error: Option<ActionError>,
    /// What a failed guard saw, or what was seen when the outcome became unknown.
    pub facts: Option<Value>,
    /// Why it was skipped.
    pub skipped: Option<String>,
    /// The last announced change.
    pub intent: Option<Intent>,
    /// Has a person said that it is not to be looked for any longer what became of its call?
    pub hurried: bool,
    /// Was a person asked what became of the last announced call, so that a copy of it may be on its way still?
    pub may_land: bool,
    /// Did somebody end the run while they were asked what became of it? Then it is left as it is.
    pub abandoned: bool,
    /// Items of an `each`, branches of a `together`.
    pub items: Option<Vec<Item>>,
    /// How many items at the same time.
    pub at_once: usize,
    /// So many failed items are too many.
    pub stop_after: Option<usize>,
    /// The inputs of the runbook that a `run` began.
    pub child: Option<Map<String, Value>>,
    /// Its name.
    pub runbook: Option<String>,
    /// When a `wait` is over.
    pub until: Option<Timestamp>,
    /// The steps inside because of which it failed.
    pub because: Vec<StepPath>,
}

impl Node {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            status: Status::Running,
            attempts: Vec::new(),
            started_at: at,
            ended_at: None,
            input: None,
            output: Arc::default(),
            how: None,
            seen: None,
            error: None,
            facts: None,
            skipped: None,
            intent: None,
            hurried: false,
            may_land: false,
            abandoned: false,
            items: None,
            at_once: 0,
            stop_after: None,
            child: None,
            runbook: None,
            until: None,
            because: Vec::new(),
        }
    }

    /// The number of the last attempt; 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempts.last().map_or(0, |a| a.number)
    }

    /// Did it find that its object is not there any more?
    pub fn is_gone(&self) -> bool {
        self.error.as_ref().is_some_and(|e| e.class == ErrorClass::Gone)
    }

    /// Was a change of it made: answered, found done, or a person says so?
    pub fn was_made(&self) -> bool {
        self.intent.is_some()
            && matches!(self.how, Some(How::Called { .. } | How::FoundDone | How::MarkedDone { .. }))
    }

    /// For a step that takes another back: is that back as it was? One that leaves what has come to depend on the change (`leaves`)
    /// and found nothing to call says nothing of the kind.
    pub fn is_back(&self, leaves: bool) -> bool {
        self.status == Status::Done && !(leaves && self.how == Some(How::AlreadySo))
    }

    /// Does it hold other steps?
    pub fn is_around(&self) -> bool {
        self.items.is_some() || self.child.is_some()
    }

    /// For a step that takes another back: has it, or is there nothing left to take back? One that failed waits for a person.
    pub(super) fn is_taken_back(&self) -> bool {
        self.status.is_over() && (self.status != Status::Failed || self.is_gone())
    }

    /// The announced change of which a copy may still land though a person has said that it did not happen: before nothing can
    /// any more, no other is made. A receiver that knows a call by its token does nothing twice; and where nothing can be looked
    /// at, only the person can tell.
    pub fn on_its_way(&self) -> Option<&Intent> {
        let looked_for = |intent: &&Intent| !matches!(intent.effect, Effect::Token | Effect::Blind);
        self.intent.as_ref().filter(|_| self.may_land).filter(looked_for)
    }

    /// Between two attempts: may the call of an earlier one still land, or have taken effect without an answer?
    pub(in crate::run) fn may_be_called(&self) -> bool {
        self.intent.is_some() && (self.may_land || is_unanswered(&self.attempts))
    }

    /// A change was announced and its outcome is not settled.
    pub fn has_open_intent(&self) -> bool {
        self.intent.is_some()
            && matches!(self.status, Status::Running | Status::Unclear | Status::OutcomeUnknown)
    }

    pub(super) fn end_attempt(&mut self, at: Timestamp, error: Option<&ActionError>) {
        if let Some(last) = self.attempts.last_mut()
            && last.ended_at.is_none()
        {
            last.ended_at = Some(at);
            last.error = error.cloned();
        }
    }

    pub(super) fn finish(&mut self, status: Status, at: Timestamp) {
        self.end_attempt(at, None);
        self.status = status;
        self.ended_at = Some(at);
    }
}
