//! What a journal says: the entries, in the words in which they are stored for ever.
//!
//! Entries are read back after years and by newer versions: fields are added with a default, never renamed.
//!
//! What steps are given, see and give is shared with the state that takes the entries up; stored, it is the value itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Ask, StepPath};
use crate::action::{ActionError, Effect, UndoCall};
use crate::brake::{Brake, Overrides};
use crate::plan::{Difference, Plan};
use crate::runbook::Approval;
use crate::{Actor, Timestamp};

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number in the run, from 1 without gaps.
    pub seq: i64,
    /// When (clock time).
    pub at: Timestamp,
    /// The fencing epoch under which it was written.
    pub epoch: i64,
    /// What happened.
    pub entry: Entry,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    /// Somebody asked for the run; always the first entry.
    Requested {
        /// Name of the runbook.
        runbook: String,
        /// Hash of its exact text.
        hash: String,
        /// The inputs in stored form (ids, not records).
        inputs: Map<String, Value>,
        /// Who.
        by: Actor,
        /// Why, in their words.
        reason: Option<String>,
        /// The plan that they saw.
        plan_hash: Option<String>,
        /// The locks it holds; those that it will take, when it is [`Self::Gated`].
        locks: Vec<String>,
        /// What they said against the brakes that stood in the way.
        #[serde(default, skip_serializing_if = "Overrides::is_none")]
        overrides: Overrides,
        /// The runbooks that it runs, directly or through others: the hash of each one's exact text.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        children: BTreeMap<String, String>,
    },
    /// It must not begin yet: always the second entry, written together with the first.
    Gated {
        /// Whose agreement is needed, if somebody's is.
        approval: Option<Approval>,
    },
    /// It may go, but its locks are held: it stands in line for them.
    Queued {
        /// The first lock that it lacks.
        target: String,
        /// By whom it is held, in words.
        held_by: String,
    },
    /// It has taken its locks.
    Admitted {
        /// Which.
        locks: Vec<String>,
    },
    /// The plan was made anew under the locks, and is what people saw.
    PlanHolds {
        /// Its hash.
        plan_hash: String,
    },
    /// The plan was made anew under the locks, and is not what people saw.
    Drifted {
        /// The plan now.
        plan: Box<Plan>,
        /// What is different.
        differences: Vec<Difference>,
    },
    /// It might go, but had to wait until now, and what stands in its way by now nobody has said a word against: a freeze that
    /// has begun, a limit that others have used up. It waits for a person.
    HeldBack {
        /// Which.
        brakes: Vec<Brake>,
    },
    /// A step needs others to agree.
    AwaitsApproval {
        /// Which.
        step: StepPath,
        /// Whose agreement.
        approval: Approval,
        /// To what.
        message: String,
    },
    /// Another worker took the run over, under a higher epoch.
    TakenOver {
        /// The worker incarnation.
        worker: i64,
    },
    /// An observing step began to look.
    Started {
        /// Which.
        step: StepPath,
        /// Its number, from 1.
        attempt: u32,
        /// The action.
        action: String,
        /// Its resolved input.
        #[serde(with = "shared")]
        input: Arc<Value>,
    },
    /// A waiting step saw something new.
    Observed {
        /// Which.
        step: StepPath,
        /// What it saw.
        #[serde(with = "shared")]
        output: Arc<Value>,
    },
    /// A change is about to be made. Committed before anything is sent.
    Intent {
        /// Which step.
        step: StepPath,
        /// Its number, from 1.
        attempt: u32,
        /// The action.
        action: String,
        /// Its resolved input.
        #[serde(with = "shared")]
        input: Arc<Value>,
        /// What was seen right before.
        #[serde(with = "shared")]
        facts: Arc<Value>,
        /// What may be done should the outcome be unknown.
        effect: Effect,
        /// After this moment (clock time) the call is not sent any more.
        #[serde(serialize_with = "crate::clock::written")]
        deadline: Timestamp,
        /// How it will be taken back.
        undo: Option<Undo>,
    },
    /// A step is done.
    Done {
        /// Which.
        step: StepPath,
        /// What later steps read.
        #[serde(with = "shared")]
        output: Arc<Value>,
        /// How it came to be done.
        how: How,
    },
    /// An `each` knows its items, or a `together` sets out on its branches.
    Expanded {
        /// Which.
        step: StepPath,
        /// The items, frozen from here on.
        items: Vec<Item>,
        /// How many at the same time.
        at_once: usize,
        /// So many failed items are too many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_after: Option<usize>,
    },
    /// A `run` begins another runbook, as a part of this run.
    Entered {
        /// Which step.
        step: StepPath,
        /// The runbook.
        runbook: String,
        /// Its inputs in stored form, frozen from here on.
        inputs: Map<String, Value>,
    },
    /// A `wait` began.
    Waiting {
        /// Which step.
        step: StepPath,
        /// Until then (clock time).
        until: Timestamp,
    },
    /// A step failed because steps inside it did, and nothing more is begun there.
    FailedInside {
        /// Which.
        step: StepPath,
        /// Those inside.
        steps: Vec<StepPath>,
        /// In a sentence.
        error: ActionError,
    },
    /// One attempt failed, and another will be made.
    AttemptFailed {
        /// Which step.
        step: StepPath,
        /// Which attempt.
        attempt: u32,
        /// Why.
        error: ActionError,
        /// When the next one is due.
        retry_at: Timestamp,
    },
    /// A mutating call ended without an answer: it must be looked at before anything else is done with this step.
    Unclear {
        /// Which step.
        step: StepPath,
        /// What was seen.
        error: ActionError,
    },
    /// Nothing can tell whether the call took effect; only a person can.
    OutcomeUnknown {
        /// Which step.
        step: StepPath,
        /// The facts now, to set beside those of the intent.
        facts: Value,
    },
    /// A step failed for good.
    Failed {
        /// Which.
        step: StepPath,
        /// Why.
        error: ActionError,
        /// The facts that a guard saw.
        facts: Value,
    },
    /// A step was left out.
    Skipped {
        /// Which.
        step: StepPath,
        /// Why.
        why: String,
    },
    /// The run waits for a person.
    Paused {
        /// The step that it waits at, if one. Without one, the kill switch has stopped the run, and nothing is taken back either
        /// until somebody resumes it.
        step: Option<StepPath>,
        /// Why.
        why: String,
    },
    /// A person asked for something; its effect is in this entry.
    Asked {
        /// The row of the inbox that it answers.
        inbox: i64,
        /// Who.
        by: Actor,
        /// What.
        ask: Ask,
        /// Why nothing came of it, when nothing did.
        refused: Option<String>,
    },
    /// The steps are over; what must be taken back is.
    Closing {
        /// How much is taken back.
        takeback: Takeback,
        /// What comes then.
        then: After,
    },
    /// The run is over.
    Ended {
        /// How.
        outcome: Outcome,
        /// In a sentence.
        message: String,
    },
}

/// How a step came to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// The call was made and answered.
    Called {
        /// The service's id of the request, for CloudTrail.
        request_id: Option<String>,
    },
    /// It was so already; nothing was called.
    AlreadySo,
    /// The call's answer was lost; a look found it done.
    FoundDone,
    /// Looking was all it was.
    Looked,
    /// Worked out from what was known: a guard, a value, a wait that is over, a step whose steps inside are all done.
    Reasoned,
    /// A person said so.
    MarkedDone {
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
}

/// One item of an `each`, or one branch of a `together`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its key, unique among the items.
    pub key: String,
    /// The item itself.
    pub value: Value,
}

/// How a change will be taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// The call.
    pub call: UndoCall,
    /// Also at the end of a run that went well?
    pub finally: bool,
}

/// How much is taken back at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Takeback {
    /// What is marked `finally`.
    Finally,
    /// Everything that can be.
    All,
}

/// What comes after closing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// Is the symptom gone?
    Verify,
    /// The end.
    End {
        /// How.
        outcome: Outcome,
        /// In a sentence.
        message: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All steps done, and the symptom gone for the runbook's soak (or none named).
    Succeeded,
    /// All steps done, and the symptom is still there.
    SymptomPersists,
    /// A guard, or a person whose agreement was needed, stopped it before anything was changed.
    Refused,
    /// It never began: nobody agreed, or its locks did not become free, in time.
    Expired,
    /// It ended with a failed step.
    Failed,
    /// A person ended it; what it had done stays.
    Aborted,
    /// What it had done was taken back.
    Undone,
}

/// A shared value is stored as if it were not shared.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
        Value::serialize(value, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Value>, D::Error> {
        Value::deserialize(deserializer).map(Arc::new)
    }
}

impl Outcome {
    /// As pages and filters write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::SymptomPersists => "symptom_persists",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Undone => "undone",
        }
    }
}

impl Entry {
    /// The kind, as stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Gated { .. } => "gated",
            Self::Queued { .. } => "queued",
            Self::Admitted { .. } => "admitted",
            Self::PlanHolds { .. } => "plan_holds",
            Self::Drifted { .. } => "drifted",
            Self::HeldBack { .. } => "held_back",
            Self::AwaitsApproval { .. } => "awaits_approval",
            Self::TakenOver { .. } => "taken_over",
            Self::Started { .. } => "started",
            Self::Observed { .. } => "observed",
            Self::Intent { .. } => "intent",
            Self::Done { .. } => "done",
            Self::Expanded { .. } => "expanded",
            Self::Entered { .. } => "entered",
            Self::Waiting { .. } => "waiting",
            Self::FailedInside { .. } => "failed_inside",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::Unclear { .. } => "unclear",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Paused { .. } => "paused",
            Self::Asked { .. } => "asked",
            Self::Closing { .. } => "closing",
            Self::Ended { .. } => "ended",
        }
    }

    /// The step that it is about, if it is about one.
    pub fn step(&self) -> Option<&StepPath> {
        match self {
            Self::Started { step, .. }
            | Self::Observed { step, .. }
            | Self::Intent { step, .. }
            | Self::Done { step, .. }
            | Self::Expanded { step, .. }
            | Self::Entered { step, .. }
            | Self::Waiting { step, .. }
            | Self::FailedInside { step, .. }
            | Self::AttemptFailed { step, .. }
            | Self::Unclear { step, .. }
            | Self::OutcomeUnknown { step, .. }
            | Self::Failed { step, .. }
            | Self::AwaitsApproval { step, .. }
            | Self::Skipped { step, .. } => Some(step),
            Self::Paused { step, .. } => step.as_ref(),
            Self::Asked { ask, .. } => ask.step(),
            Self::Requested { .. }
            | Self::Gated { .. }
            | Self::Queued { .. }
            | Self::Admitted { .. }
            | Self::PlanHolds { .. }
            | Self::Drifted { .. }
            | Self::HeldBack { .. }
            | Self::TakenOver { .. }
            | Self::Closing { .. }
            | Self::Ended { .. } => None,
        }
    }
}
