//! What a person may ask of a run, and when that is legal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Phase, State, Status, StepPath, Takeback};

/// A wish of a person, put into the run's inbox and answered by the worker that owns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Start nothing new.
    Pause {
        /// Why.
        reason: Option<String>,
    },
    /// Go on.
    Resume,
    /// Try a failed step again, or one of unknown outcome that did *not* happen.
    Retry {
        /// Which.
        step: StepPath,
    },
    /// Leave a failed step out.
    Skip {
        /// Which.
        step: StepPath,
        /// Why.
        reason: String,
    },
    /// Count a failed step as done, or one of unknown outcome that *did* happen.
    MarkDone {
        /// Which.
        step: StepPath,
        /// Why.
        reason: String,
        /// What later steps shall read; `null` when nothing.
        #[serde(default)]
        output: Value,
    },
    /// End the run.
    Abort {
        /// How much is taken back.
        takeback: Takeback,
        /// Why.
        reason: String,
    },
}

/// Why something asked for is not possible now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Ask {
    /// The step that it names, if it names one.
    pub fn step(&self) -> Option<&StepPath> {
        match self {
            Self::Retry { step } | Self::Skip { step, .. } | Self::MarkDone { step, .. } => Some(step),
            Self::Pause { .. } | Self::Resume | Self::Abort { .. } => None,
        }
    }

    /// What was asked, as a verb.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Retry { .. } => "retry",
            Self::Skip { .. } => "skip",
            Self::MarkDone { .. } => "mark done",
            Self::Abort { .. } => "abort",
        }
    }
}

/// Is it legal now? The same question that pages ask to enable a button and that the worker asks before it obeys.
pub fn answer(state: &State, ask: &Ask) -> Result<(), Refusal> {
    let no = |why: &str| Err(Refusal(why.to_owned()));
    if state.outcome().is_some() {
        return no("the run has ended");
    }
    match ask {
        Ask::Pause { .. } if state.paused().is_some() => no("the run is paused already"),
        Ask::Pause { .. } => Ok(()),
        Ask::Resume => match state.paused() {
            None => no("the run is not paused"),
            Some(_) if state.blocked().next().is_some() => {
                no("a step has failed: retry it, skip it, mark it as done, or abort")
            }
            Some(_) => Ok(()),
        },
        Ask::Retry { step } => match state.node(step).map(|n| n.status) {
            Some(Status::Failed | Status::OutcomeUnknown) => Ok(()),
            Some(_) => no("only a failed step can be tried again"),
            None => no("there is no such step in this run"),
        },
        Ask::Skip { step, .. } | Ask::MarkDone { step, .. } => match state.node(step).map(|n| n.status) {
            Some(Status::Failed | Status::OutcomeUnknown) => Ok(()),
            Some(_) => no("only a failed step can be skipped or marked as done"),
            None => no("there is no such step in this run"),
        },
        Ask::Abort { .. } => match state.phase() {
            Phase::Forward if state.aborting().is_some() => no("the run is being aborted already"),
            Phase::Forward | Phase::Verifying => Ok(()),
            Phase::Closing { .. } => no("the run is closing already; skip the undo that fails, if one does"),
            Phase::Ended => no("the run has ended"),
        },
    }
}
