//! What stands between a run and its next step: whom it waits for, what became different, who is ahead in the line, and the
//! buttons that go with it. Whether a button works, and why not for this person, is answered by the very rule that the worker
//! asks before it obeys.

use std::collections::BTreeSet;

use domain::plan::{Difference, PlannedOutcome};
use domain::run::{Ask, Ballot, Gate, StepPath};
use serde::Serialize;
use serde_json::{Value, json};
use store::gate::Ahead;
use store::reviews::Review;

use super::{Asker, Choice, RunView};
use crate::words;

/// The gate, worked out for one person.
#[derive(Debug, Serialize)]
pub(crate) struct GateView {
    /// Approvals, decided ones too.
    pub(crate) approvals: Vec<ApprovalView>,
    pub(crate) drift: Option<DriftView>,
    pub(crate) held_back: Option<HeldBackView>,
    /// Its place in the line, while it stands in one.
    pub(crate) line: Option<LineView>,
    /// What it stands in line for.
    pub(crate) ahead: Vec<Ahead>,
    /// Where somebody went on alone.
    pub(crate) reviews: Vec<Review>,
}

/// An approval.
#[derive(Debug, Serialize)]
pub(crate) struct ApprovalView {
    /// The step; none for the start.
    pub(crate) step: Option<String>,
    /// Whose, in words.
    pub(crate) needs: String,
    /// To what, of a step.
    pub(crate) message: Option<String>,
    /// Who has agreed.
    pub(crate) names: Vec<String>,
    pub(crate) missing: usize,
    pub(crate) until: domain::Timestamp,
    pub(crate) plan_hash: Option<String>,
    /// What came of it, in words.
    pub(crate) ruling: Option<String>,
    /// Can it still be decided?
    pub(crate) open: bool,
    #[serde(serialize_with = "asks")]
    pub(crate) choices: Vec<Choice>,
}

/// A place in a line.
#[derive(Debug, Serialize)]
pub(crate) struct LineView {
    /// So many runs stand in line before it.
    pub(crate) before: usize,
    /// Then it gives up.
    pub(crate) until: domain::Timestamp,
}

/// A plan that is not what people saw.
#[derive(Debug, Serialize)]
pub(crate) struct DriftView {
    pub(crate) plan_hash: String,
    pub(crate) differences: Vec<DifferenceView>,
    #[serde(serialize_with = "asks")]
    pub(crate) choices: Vec<Choice>,
}

/// Freezes and limits that have come on since it was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct HeldBackView {
    /// Each in a sentence.
    pub(crate) brakes: Vec<String>,
    #[serde(serialize_with = "asks")]
    pub(crate) choices: Vec<Choice>,
}

/// A step that would do something else.
#[derive(Debug, Serialize)]
pub(crate) struct DifferenceView {
    pub(crate) step: String,
    pub(crate) title: String,
    pub(crate) was: Vec<String>,
    pub(crate) now: Vec<String>,
}

fn asks<S: serde::Serializer>(choices: &[Choice], serializer: S) -> Result<S::Ok, S::Error> {
    let told: Vec<Value> = choices
        .iter()
        .map(|c| json!({ "ask": c.ask, "possible": c.why_not.is_none(), "why_not": c.why_not }))
        .collect();
    told.serialize(serializer)
}

pub(super) fn view(run: &RunView, by: &Asker<'_>) -> GateView {
    let open: Vec<_> = run.state.open_ballots().map(|(step, _)| step.cloned()).collect();
    let approvals = run.state.ballots().map(|(step, ballot)| {
        let open = open.iter().any(|o| o.as_ref() == step);
        approval(run, by, step, ballot, open)
    });
    let drift = run.state.drift().map(|drift| {
        let plan_hash = drift.plan.hash.clone();
        let accept = Ask::AcceptPlan { plan_hash: plan_hash.clone() };
        let says = match run.state.ballot(None) {
            Some(_) => "Takes the new plan; others must agree to it anew.",
            None => "Takes the new plan, and goes on.",
        };
        DriftView {
            plan_hash,
            differences: drift.differences.iter().map(difference).collect(),
            choices: vec![Choice::new(&run.state, by, &accept, "Accept the new plan", says)],
        }
    });
    let held_back = run.state.held_back().map(|held| {
        let despite = Ask::BeginDespite { reason: String::new() };
        let says = "Begins despite what is shown here, and nothing else. Your reason is on record.";
        HeldBackView {
            brakes: held.brakes.iter().map(ToString::to_string).collect(),
            choices: vec![Choice::new(&run.state, by, &despite, "Begin despite it", says)],
        }
    });
    GateView {
        approvals: approvals.collect(),
        drift,
        held_back,
        line: line(run),
        ahead: run.ahead.clone(),
        reviews: run.reviews.clone(),
    }
}

fn line(run: &RunView) -> Option<LineView> {
    let Some(&Gate::Locks { until: Some(until) }) = run.state.gate() else { return None };
    let before = run.ahead.iter().filter(|ahead| !ahead.holds).map(|ahead| ahead.run_id);
    Some(LineView { before: before.collect::<BTreeSet<_>>().len(), until })
}

fn approval(
    run: &RunView,
    by: &Asker<'_>,
    step: Option<&StepPath>,
    ballot: &Ballot,
    open: bool,
) -> ApprovalView {
    let (plan_hash, reason) = (ballot.plan_hash.clone(), String::new);
    let at = || step.cloned();
    let choices = if open {
        let agree = Ask::Approve { step: at(), plan_hash: plan_hash.clone() };
        let reject = Ask::Reject { step: at(), reason: reason() };
        let glass = Ask::BreakGlass { step: at(), reason: reason(), plan_hash: plan_hash.clone() };
        let (no, alone) = match step {
            None => ("The run ends before it has begun.", "Begins"),
            Some(_) => ("The step fails, and the runbook says what then.", "Goes on"),
        };
        let alone = format!(
            "{alone} without anybody's agreement. Everybody is told, and somebody else must review it afterwards."
        );
        vec![
            Choice::new(&run.state, by, &agree, "Approve", "You have looked at it, and agree."),
            Choice::new(&run.state, by, &reject, "Reject", no),
            Choice::new(&run.state, by, &glass, "Break the glass", alone),
        ]
    } else {
        Vec::new()
    };
    let message = step.and_then(|step| {
        run.journal.iter().rev().find_map(|record| match &record.entry {
            domain::run::Entry::AwaitsApproval { step: of, message, .. } if of == step => {
                Some(message.clone())
            }
            _ => None,
        })
    });
    ApprovalView {
        step: step.map(ToString::to_string),
        needs: ballot.needs.to_string(),
        message,
        names: ballot.voices.iter().map(|voice| voice.by.name().to_owned()).collect(),
        missing: ballot.missing(),
        until: ballot.until,
        plan_hash,
        ruling: ballot.ruling.as_ref().map(|ruling| ballot.told(ruling)),
        open,
        choices,
    }
}

fn difference(difference: &Difference) -> DifferenceView {
    let side = |outcome: &Option<PlannedOutcome>| {
        outcome.as_ref().map_or_else(|| vec!["not in the plan".to_owned()], outcome_in_words)
    };
    DifferenceView {
        step: difference.path.to_string(),
        title: difference.title.clone(),
        was: side(&difference.was),
        now: side(&difference.now),
    }
}

fn outcome_in_words(outcome: &PlannedOutcome) -> Vec<String> {
    match outcome {
        PlannedOutcome::Changes { changes } => changes
            .iter()
            .map(|c| {
                let (before, after) = (words::brief(&c.before), words::brief(&c.after));
                format!("{}: {} {before} → {after}", c.object, c.property)
            })
            .collect(),
        PlannedOutcome::AlreadySo => vec!["it is so already".into()],
        PlannedOutcome::Stops { message, .. } => vec![format!("would stop: {message}")],
        PlannedOutcome::Skipped { why } => vec![format!("left out: {why}")],
        // Nothing else is material.
        _ => Vec::new(),
    }
}
