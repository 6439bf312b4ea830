//! How far a run has got, for a person who goes on by hand: what was seen, what is next, and what would have to be taken back.

use serde_json::{Map, Value};

use super::{Node, State, Status, StepPath, Takeback};
use crate::action::UndoCall;
use crate::runbook::manual::Rest;
use crate::runbook::{OnFailure, Runbook, Step};

/// A run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SoFar {
    steps: Map<String, Value>,
    next: Option<String>,
    inside: Vec<String>,
    unclear: bool,
    takebacks: Vec<(String, UndoCall)>,
}

impl SoFar {
    /// From the runbook that the run is pinned to, and its state.
    pub fn of(runbook: &Runbook, state: &State) -> Self {
        let node = |id: &str| state.node(&StepPath::top(id));
        let over = |step: &&Step| {
            node(&step.id).is_some_and(|node| match node.status {
                Status::Done | Status::Skipped => true,
                Status::Failed => step.on_failure == Some(OnFailure::Continue),
                _ => false,
            })
        };
        let next = runbook.steps.iter().find(|step| !over(step)).map(|step| step.id.as_str());
        let top = next.map(StepPath::top);
        let done_inside = |(path, inner): &(&StepPath, &Node)| {
            top.as_ref().is_some_and(|top| path.is_inside(top)) && inner.status == Status::Done
        };
        Self {
            steps: runbook
                .steps
                .iter()
                .filter(over)
                .filter_map(|step| Some((step.id.clone(), Value::clone(&node(&step.id)?.output))))
                .collect(),
            inside: state.nodes().filter(done_inside).map(|(path, _)| path.to_string()).collect(),
            unclear: next.and_then(node).is_some_and(Node::has_open_intent),
            takebacks: state
                .takebacks(Takeback::All)
                .into_iter()
                .rev()
                .filter(|(path, _)| state.node(&path.undo()).is_none_or(|undo| undo.status != Status::Done))
                .map(|(path, undo)| (path.to_string(), undo.call.clone()))
                .collect(),
            next: next.map(str::to_owned),
        }
    }

    /// For [`crate::runbook::manual::Manual`].
    pub fn rest(&self) -> Rest<'_> {
        Rest {
            steps: &self.steps,
            next: self.next.as_deref(),
            inside: &self.inside,
            unclear: self.unclear,
            takebacks: &self.takebacks,
        }
    }
}
