//! The steps of a run by path, shared between copies of its state.
//!
//! A state is copied whenever something is tried on it, and handed to the work that it set going. A copy shares every
//! step with its original until one of the two changes it: what a finished step has seen is held once, however long the
//! run waits.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Node;
use crate::Timestamp;
use crate::run::StepPath;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Nodes(BTreeMap<StepPath, Arc<Node>>);

impl Nodes {
    pub(super) fn get(&self, step: &StepPath) -> Option<&Node> {
        self.0.get(step).map(|node| &**node)
    }

    pub(super) fn get_mut(&mut self, step: &StepPath) -> Option<&mut Node> {
        self.0.get_mut(step).map(Arc::make_mut)
    }

    /// By the text of its path, with the path.
    pub(super) fn known(&self, step: &str) -> Option<(&StepPath, &Node)> {
        self.0.get_key_value(step).map(|(path, node)| (path, &**node))
    }

    /// The step, which begins to exist at `at` unless it does.
    pub(super) fn get_or_begin(&mut self, step: &StepPath, at: Timestamp) -> &mut Node {
        Arc::make_mut(self.0.entry(step.clone()).or_insert_with(|| Arc::new(Node::new(at))))
    }

    /// Is it there, or a step inside it?
    pub(super) fn has_begun(&self, step: &str) -> bool {
        let from_it = self.0.range::<str, _>((Bound::Included(step), Bound::Unbounded));
        let mut rests = from_it.map_while(|(path, _)| path.as_str().strip_prefix(step));
        rests.any(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    }

    pub(super) fn contains_key(&self, step: &StepPath) -> bool {
        self.0.contains_key(step)
    }

    pub(super) fn remove(&mut self, step: &StepPath) {
        self.0.remove(step);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&StepPath, &Node)> {
        self.0.iter().map(|(path, node)| (path, &**node))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Node> {
        self.0.values().map(|node| &**node)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.0.values_mut().map(Arc::make_mut)
    }
}
