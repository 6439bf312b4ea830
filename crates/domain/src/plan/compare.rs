//! What a plan said, beside what the run then did: every object that was not changed, changed otherwise, changed beyond the
//! plan, or taken back again. The journal tells what was done: the intents, and what came of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Plan, PlannedOutcome};
use crate::Timestamp;
use crate::action::{ObjectChange, Registry};
use crate::run::{How, Node, State, Status, StepPath};

/// A plan and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// So many changes were made exactly as planned.
    pub as_planned: usize,
    /// All that differs, in the order of the plan and then of the run.
    pub differences: Vec<Deviation>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    /// What kind.
    pub kind: DeviationKind,
    /// The step.
    pub step: StepPath,
    /// The object.
    pub object: String,
    /// Its property.
    pub property: String,
    /// Before and after, as planned.
    pub planned: Option<(Value, Value)>,
    /// Before and after, as done.
    pub done: Option<(Value, Value)>,
    /// Why, in a sentence.
    pub why: String,
    /// Did the plan say that it would come to this? What it could only tell later, and what the runbook always takes back at
    /// its end, is nothing that anybody has to look into.
    #[serde(default)]
    pub foreseen: bool,
}

/// A change that a run has made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Made {
    /// The step.
    pub step: StepPath,
    /// What it changed.
    #[serde(flatten)]
    pub change: ObjectChange,
    /// When it was done.
    pub at: Option<Timestamp>,
    /// When it was taken back.
    pub taken_back: Option<Timestamp>,
    /// Who says that it was done, where no answer said so: it may have been done by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said_by: Option<String>,
    /// What its undo leaves as it is if it must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves: Option<String>,
    /// Does the runbook take it back at its end, however it ends?
    #[serde(skip)]
    finally: bool,
}

/// How a run differs from its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviationKind {
    /// Planned, and not done.
    NotDone,
    /// Done, with another value before or after.
    Otherwise,
    /// Done, and not planned.
    Beyond,
    /// Done, and taken back again.
    TakenBack,
}

/// Sets a run beside its plan. Of a run in flight, what it may still come to is no difference.
pub fn compare(plan: &Plan, state: &State, registry: &Registry) -> Comparison {
    let planned: Vec<(&StepPath, &ObjectChange)> = plan
        .steps
        .iter()
        .flat_map(|step| {
            match &step.outcome {
                PlannedOutcome::Changes { changes } => changes.as_slice(),
                _ => &[],
            }
            .iter()
            .map(move |change| (&step.path, change))
        })
        .collect();
    let done = made(state, registry);
    let mut told = Comparison::default();
    for (step, plan) in &planned {
        match done
            .iter()
            .find(|made| made.step == **step && same(&made.change, plan))
            .map(|made| &made.change)
        {
            Some(change) if change == *plan => told.as_planned += 1,
            Some(change) => {
                let why = if change.after == plan.after {
                    "it was otherwise by the time the run came to it"
                } else {
                    "the facts had changed by the time the run came to it"
                };
                told.differences.push(difference(
                    DeviationKind::Otherwise,
                    step,
                    Some(plan),
                    Some(change),
                    why.into(),
                ));
            }
            None => {
                if let Some(why) = not_done(state, step) {
                    told.differences.push(difference(DeviationKind::NotDone, step, Some(plan), None, why));
                }
            }
        }
    }
    for Made { step, change, .. } in &done {
        if !planned.iter().any(|(at, plan)| *at == step && same(change, plan)) {
            let (why, foreseen) = beyond(plan, step);
            let new = difference(DeviationKind::Beyond, step, None, Some(change), why);
            told.differences.push(Deviation { foreseen, ..new });
        }
    }
    for Made { step, change, finally, leaves, .. } in done.iter().filter(|made| made.taken_back.is_some()) {
        let why = if *finally { "the runbook takes it back at its end" } else { "it was taken back" };
        let why = leaves.as_ref().map_or_else(|| why.into(), |leaves| format!("{why}; {leaves}"));
        let new = difference(DeviationKind::TakenBack, step, None, Some(change), why);
        told.differences.push(Deviation { foreseen: *finally, ..new });
    }
    told
}

/// Every change that a run has made, object by object, in the order of its steps: what was announced and came true.
pub fn made(state: &State, registry: &Registry) -> Vec<Made> {
    let nodes = state.nodes().filter(|(path, node)| !path.is_undo() && node.was_made());
    let made = nodes.flat_map(|(path, node)| {
        let announced = node.intent.as_ref().and_then(|i| i.undo.as_ref());
        let (finally, leaves) =
            announced.map_or((false, None), |undo| (undo.finally, undo.call.leaves.clone()));
        let undo = state.node(&path.undo()).filter(|undo| undo.is_back(leaves.is_some()));
        let said_by = match &node.how {
            Some(How::MarkedDone { by, .. }) => Some(by.to_string()),
            _ => None,
        };
        changes(node, registry).into_iter().map(move |change| Made {
            step: path.clone(),
            change,
            at: node.ended_at,
            taken_back: undo.and_then(|undo| undo.ended_at),
            said_by: said_by.clone(),
            leaves: leaves.clone(),
            finally,
        })
    });
    made.collect()
}

impl Comparison {
    /// What differs though the plan did not say so.
    pub fn unforeseen(&self) -> impl Iterator<Item = &Deviation> {
        self.differences.iter().filter(|difference| !difference.foreseen)
    }

    /// What differs as the plan said that it would.
    pub fn foreseen(&self) -> impl Iterator<Item = &Deviation> {
        self.differences.iter().filter(|difference| difference.foreseen)
    }
}

fn same(a: &ObjectChange, b: &ObjectChange) -> bool {
    a.object == b.object && a.property == b.property
}

/// What was announced, object by object: the action tells it from what was seen, without looking.
fn changes(node: &Node, registry: &Registry) -> Vec<ObjectChange> {
    let Some(intent) = &node.intent else { return Vec::new() };
    let action = registry.get(&intent.action);
    action.and_then(|a| a.plan(&intent.input, &intent.facts).ok()).map(|p| p.changes).unwrap_or_default()
}

/// Why a planned change was not made; `None` while it may still be.
fn not_done(state: &State, step: &StepPath) -> Option<String> {
    let ended = state.outcome().is_some();
    let Some(node) = state.node(step) else {
        return ended.then(|| "the run never came to it".into());
    };
    match node.status {
        Status::Skipped => {
            Some(node.skipped.as_ref().map_or("left out".into(), |why| format!("left out: {why}")))
        }
        Status::Failed => Some(
            node.error.as_ref().map_or("it failed".into(), |error| format!("it failed: {}", error.message)),
        ),
        Status::OutcomeUnknown => Some("nobody knows whether it happened".into()),
        Status::Done if node.how == Some(How::AlreadySo) => {
            Some("it was so already; nothing was called".into())
        }
        Status::Done => match &node.how {
            Some(How::MarkedDone { by, .. }) => {
                Some(format!("{by} marked the step as done; nothing was called"))
            }
            _ => Some("the step changed something else".into()),
        },
        _ => ended.then(|| "the run ended before".into()),
    }
}

/// Why a change was not in the plan, and whether the plan said that it could not tell.
fn beyond(plan: &Plan, step: &StepPath) -> (String, bool) {
    let told = plan.steps.iter().find(|s| s.path == *step || step.is_inside(&s.path)).map(|s| &s.outcome);
    match told {
        Some(PlannedOutcome::KnownAfter { step }) => {
            (format!("the plan could only tell it after `{step}`"), true)
        }
        Some(PlannedOutcome::AlreadySo) => ("it was so already when it was planned".into(), false),
        Some(PlannedOutcome::Skipped { why }) => (format!("the plan left it out: {why}"), false),
        _ => ("the plan did not have it".into(), false),
    }
}

fn difference(
    kind: DeviationKind,
    step: &StepPath,
    planned: Option<&ObjectChange>,
    done: Option<&ObjectChange>,
    why: String,
) -> Deviation {
    let named = planned.or(done);
    let values = |change: &ObjectChange| (change.before.clone(), change.after.clone());
    Deviation {
        kind,
        step: step.clone(),
        object: named.map(|c| c.object.clone()).unwrap_or_default(),
        property: named.map(|c| c.property.clone()).unwrap_or_default(),
        planned: planned.map(values),
        done: done.map(values),
        why,
        foreseen: false,
    }
}
