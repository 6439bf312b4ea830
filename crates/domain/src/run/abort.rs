//! What an abort would do, told before anybody asks for it.

use serde::Serialize;
use serde_json::Value;

use super::{State, Status, StepPath, Takeback};

/// What an abort leaves, and what it takes back.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AbortPreview {
    /// Changes under way. They come to their end first, and then count as done if they were.
    pub in_flight: Vec<StepPath>,
    /// Changes of which nobody knows whether they happened. They are left as they are.
    pub unknown: Vec<StepPath>,
    /// Changes that are made and stand, in their order.
    pub done: Vec<StepPath>,
    /// What is taken back, in this order: the last change first.
    pub takes_back: Vec<TakesBack>,
    /// Changes that stay behind.
    pub left: Vec<StepPath>,
    /// Those of them for which there is no way back.
    pub no_way_back: Vec<StepPath>,
}

impl AbortPreview {
    /// May something be left of what is taken back?
    pub fn may_leave(&self) -> bool {
        self.takes_back.iter().any(|back| back.leaves.is_some())
    }
}

/// One change that is taken back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TakesBack {
    /// The step whose change it is.
    pub step: StepPath,
    /// The action that takes it back.
    pub action: String,
    /// Its input.
    pub input: Value,
    /// What it leaves as it is if it must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaves: Option<String>,
}

/// What an abort would do now.
pub fn abort_preview(state: &State, takeback: Takeback) -> AbortPreview {
    let mut preview = AbortPreview::default();
    let leaves = |path: &StepPath| {
        let undo = state.node(path).and_then(|n| n.intent.as_ref()?.undo.as_ref());
        undo.is_some_and(|undo| undo.call.leaves.is_some())
    };
    let is_back = |path: &StepPath| state.node(&path.undo()).is_some_and(|n| n.is_back(leaves(path)));
    for (path, node) in state.nodes() {
        match node.status {
            _ if node.intent.is_none() => {}
            Status::Running | Status::Unclear => preview.in_flight.push(path.clone()),
            Status::OutcomeUnknown => preview.unknown.push(path.clone()),
            _ if path.is_undo() || !node.was_made() || is_back(path) => {}
            _ => preview.done.push(path.clone()),
        }
    }
    let undos = state.takebacks(takeback);
    preview.takes_back = undos
        .iter()
        .filter(|(path, _)| !state.node(&path.undo()).is_some_and(|n| n.status.is_over()))
        .map(|(path, undo)| TakesBack {
            step: (*path).clone(),
            action: undo.call.action.clone(),
            input: undo.call.input.clone(),
            leaves: undo.call.leaves.clone(),
        })
        .collect();
    let stays = |path: &&StepPath| !preview.takes_back.iter().any(|t| t.step == **path);
    preview.left = preview.done.iter().filter(stays).cloned().collect();
    let no_way = |path: &&StepPath| {
        let intent = state.node(path).and_then(|n| n.intent.as_ref());
        intent.is_some_and(|i| i.undo.is_none())
    };
    preview.no_way_back = preview.left.iter().filter(no_way).cloned().collect();
    preview
}
