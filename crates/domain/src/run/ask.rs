//! What a person may ask of a run, and when that is legal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Gate, Phase, State, Status, StepPath, Takeback};
use crate::{Actor, Role, Timestamp};

/// A wish of a person, put into the run's inbox and answered by the worker that owns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Agree to the start, or to a step.
    Approve {
        /// The step; none for the start.
        #[serde(default)]
        step: Option<StepPath>,
        /// The plan that was looked at; needed for the start.
        #[serde(default)]
        plan_hash: Option<String>,
    },
    /// Do not agree.
    Reject {
        /// The step; none for the start.
        #[serde(default)]
        step: Option<StepPath>,
        /// Why.
        reason: String,
    },
    /// Go on alone where others should agree. Somebody else reviews it afterwards.
    BreakGlass {
        /// The step; none for the start.
        #[serde(default)]
        step: Option<StepPath>,
        /// Why.
        reason: String,
        /// The plan that was looked at: refused, where another one is asked about by now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan_hash: Option<String>,
    },
    /// Take the new plan in the place of the one that was seen before.
    AcceptPlan {
        /// The new plan.
        plan_hash: String,
    },
    /// Say that a change of unknown outcome did *not* happen: it is made anew.
    DidNotHappen {
        /// Which step.
        step: StepPath,
        /// How it is known.
        reason: String,
    },
    /// Ask now what became of a change whose answer was lost, instead of looking for its effect until it can no longer come.
    StopLooking {
        /// Which step.
        step: StepPath,
    },
    /// Begin despite the freezes and limits that hold the run back after it has waited.
    BeginDespite {
        /// Why.
        reason: String,
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
            Self::Retry { step }
            | Self::Skip { step, .. }
            | Self::MarkDone { step, .. }
            | Self::DidNotHappen { step, .. }
            | Self::StopLooking { step } => Some(step),
            Self::Approve { step, .. } | Self::Reject { step, .. } | Self::BreakGlass { step, .. } => {
                step.as_ref()
            }
            Self::Pause { .. }
            | Self::Resume
            | Self::AcceptPlan { .. }
            | Self::BeginDespite { .. }
            | Self::Abort { .. } => None,
        }
    }

    /// Must a reason be given? It is read by whoever looks at the run later.
    pub fn reason_needed(&self) -> bool {
        self.reason().is_some_and(|_| !matches!(self, Self::Pause { .. }))
    }

    /// The reason that it gives, if it has one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Pause { reason } => reason.as_deref(),
            Self::Skip { reason, .. }
            | Self::MarkDone { reason, .. }
            | Self::DidNotHappen { reason, .. }
            | Self::Reject { reason, .. }
            | Self::BreakGlass { reason, .. }
            | Self::BeginDespite { reason }
            | Self::Abort { reason, .. } => Some(reason),
            Self::Resume
            | Self::Retry { .. }
            | Self::Approve { .. }
            | Self::AcceptPlan { .. }
            | Self::StopLooking { .. } => None,
        }
    }

    /// Does it decide an approval?
    fn decides(&self) -> bool {
        matches!(self, Self::Approve { .. } | Self::Reject { .. } | Self::BreakGlass { .. })
    }

    /// Does the run go on by it, be it to take things back?
    pub fn moves(&self) -> bool {
        !matches!(self, Self::Pause { .. } | Self::Reject { .. } | Self::StopLooking { .. })
    }

    /// What was asked, as a verb.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Retry { .. } => "retry",
            Self::Skip { .. } => "skip",
            Self::MarkDone { .. } => "mark done",
            Self::Approve { .. } => "approve",
            Self::Reject { .. } => "reject",
            Self::BreakGlass { .. } => "break the glass",
            Self::AcceptPlan { .. } => "accept the new plan",
            Self::DidNotHappen { .. } => "say that it did not happen",
            Self::StopLooking { .. } => "stop looking",
            Self::BeginDespite { .. } => "begin despite what holds it back",
            Self::Abort { .. } => "abort",
        }
    }
}

/// Does the actor's role allow it at all?
pub fn allowed(state: &State, by: &Actor, ask: &Ask) -> Result<(), Refusal> {
    let ballot = state.ballot(ask.step());
    let needs = match (ask, ballot) {
        (Ask::Approve { .. } | Ask::Reject { .. }, Some(ballot)) => ballot.needs.by,
        (Ask::BreakGlass { .. }, Some(ballot)) => ballot.needs.break_glass,
        _ => Role::Responder,
    };
    if by.role() >= needs {
        return Ok(());
    }
    Err(Refusal(format!("to {} takes {}, and you are {}", ask.verb(), needs.one(), by.role().one())))
}

/// Is it legal now, from this actor? What [`answer`] says, and besides: role, own request, own second voice.
pub fn answer_to(state: &State, by: &Actor, ask: &Ask) -> Result<(), Refusal> {
    // Who decided what is told first: it is what a late click wants to know.
    answer(state, ask)?;
    allowed(state, by, ask)?;
    let Some(ballot) = state.ballot(ask.step()).filter(|_| ask.decides()) else { return Ok(()) };
    match ask {
        Ask::BreakGlass { .. } => ballot.yields_to(by),
        _ => ballot.hears(by),
    }
}

/// May it be written down? Besides what [`answer_to`] says: not when it is too late by the clock, not when it
/// [goes around others](goes_around), and not when [nothing would come of it](is_past). What is written down stands.
pub fn acceptable(state: &State, ask: &Ask, now: Timestamp) -> Result<(), Refusal> {
    goes_around(state, ask)?;
    is_past(state, ask)?;
    match state.ballot(ask.step()).filter(|_| ask.decides()) {
        Some(ballot) if ballot.ruling.is_none() && now >= ballot.until => {
            Err(Refusal(format!("it expired at {}", ballot.until.format("%H:%M:%S UTC"))))
        }
        _ => Ok(()),
    }
}

/// Would it pass a step at which others must agree, without them? Whoever asked for the run could else leave out what stops them.
/// In an emergency the glass is for that, which somebody reviews.
pub fn goes_around(state: &State, ask: &Ask) -> Result<(), Refusal> {
    let passes = matches!(ask, Ask::Skip { .. } | Ask::MarkDone { .. });
    match state.ballot(ask.step()).filter(|_| passes && ask.step().is_some()) {
        Some(ballot) => Err(Refusal(format!(
            "this step is there for {}: retry it, so that they are asked anew (and the glass can be broken), or abort",
            ballot.needs
        ))),
        None => Ok(()),
    }
}

/// Is the run past the failed step that it names? Its failure would be gone from the run, and nothing would ever do it. What journals
/// hold is not asked this: versions before took it.
pub fn is_past(state: &State, ask: &Ask) -> Result<(), Refusal> {
    let (Ask::Retry { step } | Ask::Skip { step, .. } | Ask::MarkDone { step, .. }) = ask else {
        return Ok(());
    };
    if state.node(step).is_none_or(|n| n.status != Status::Failed) {
        return Ok(());
    }
    let again = matches!(ask, Ask::Retry { .. });
    let why = match (state.over_around(step), state.phase()) {
        (Some((around, node)), _) if node.status != Status::Failed => {
            format!("the run is past this step: `{around}`, which it is in, is {}", node.status.word())
        }
        // What it holds goes on with it; until then a person may leave some of that out.
        (Some((around, _)), _) if again => format!("`{around}` has failed with this step in it: retry that"),
        _ if !state.is_at(step) => "the run is past this step: it is at its end".into(),
        (_, Phase::Forward) if again && state.aborting().is_some() && !step.is_undo() => {
            "the run is being aborted".into()
        }
        _ => return Ok(()),
    };
    Err(Refusal(why))
}

/// Is it legal now? The same question that pages ask to enable a button and that the worker asks before it obeys.
pub fn answer(state: &State, ask: &Ask) -> Result<(), Refusal> {
    let no = |why: &str| Err(Refusal(why.to_owned()));
    if ask.decides() {
        return decidable(state, ask);
    }
    if state.outcome().is_some() {
        return no("the run has ended");
    }
    match ask {
        Ask::Pause { .. } if matches!(state.gate(), Some(Gate::Approval | Gate::Locks { .. })) => {
            no("the run has not begun; abort it if it shall not")
        }
        Ask::Pause { .. } if state.paused().is_some() => no("the run is paused already"),
        Ask::Pause { .. } => Ok(()),
        Ask::Resume => match state.paused() {
            None => no("the run is not paused"),
            Some(_) if state.drift().is_some() => no("the plan has changed: accept the new one, or abort"),
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
        Ask::AcceptPlan { plan_hash } => match state.drift() {
            None => no("there is no new plan to accept"),
            Some(_) if state.aborting().is_some() => no("the run is being aborted"),
            Some(drift) if drift.plan.hash != *plan_hash => {
                no("the plan is another one by now; look at it, then decide")
            }
            Some(_) => Ok(()),
        },
        // Answered above.
        Ask::Approve { .. } | Ask::Reject { .. } | Ask::BreakGlass { .. } => Ok(()),
        Ask::DidNotHappen { step, .. } => match state.node(step).map(|n| n.status) {
            Some(Status::OutcomeUnknown) => Ok(()),
            Some(_) => no("the outcome of the step is not in question"),
            None => no("there is no such step in this run"),
        },
        Ask::StopLooking { step } => match state.node(step) {
            Some(node) if node.status == Status::Unclear && node.hurried => {
                no("somebody has said so already")
            }
            Some(node) if node.status == Status::Unclear => Ok(()),
            Some(node) if node.status == Status::OutcomeUnknown => {
                no("nobody looks any more: say what you found")
            }
            Some(_) => no("the outcome of the step is not in question"),
            None => no("there is no such step in this run"),
        },
        Ask::BeginDespite { .. } => match state.held_back() {
            None => no("nothing holds it back"),
            Some(_) if state.aborting().is_some() => no("the run is being aborted"),
            Some(_) => Ok(()),
        },
        Ask::Abort { .. } => match state.phase() {
            Phase::Forward if state.aborting().is_some() => no("the run is being aborted already"),
            Phase::Forward | Phase::Verifying => Ok(()),
            Phase::Closing { .. } => no("the run is closing already; skip the undo that fails, if one does"),
            Phase::Ended => no("the run has ended"),
        },
    }
}

/// Can the approval be decided, by whoever may?
fn decidable(state: &State, ask: &Ask) -> Result<(), Refusal> {
    let Some(ballot) = state.ballot(ask.step()) else {
        return Err(Refusal("nobody's approval is asked for here".into()));
    };
    if let Some(ruling) = &ballot.ruling {
        return Err(Refusal(format!("it is decided: {}", ballot.told(ruling))));
    }
    if let Some((_, message)) = state.outcome() {
        return Err(Refusal(format!("the run has ended: {message}")));
    }
    if !matches!(state.phase(), Phase::Forward) || state.aborting().is_some() {
        return Err(Refusal("the run is ending".into()));
    }
    match ask {
        Ask::Approve { plan_hash, .. } => ballot.is_about(plan_hash.as_deref()),
        // Who says nothing of a plan goes on with whatever is asked about, as all did before one could be said.
        Ask::BreakGlass { plan_hash: Some(seen), .. } => ballot.is_about(Some(seen)),
        _ => Ok(()),
    }
}
