//! The actions that exist, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Action, Change, Changing, Observe, Observing};

/// All actions, by the name that runbooks use. Cheap to clone: every run holds one.
#[derive(Clone, Default)]
pub struct Registry(Arc<BTreeMap<&'static str, Arc<dyn Action>>>);

impl Registry {
    /// Adds an observing action.
    #[must_use]
    pub fn observing<A: Observe>(mut self, action: A) -> Self {
        Arc::make_mut(&mut self.0).insert(A::NAME, Arc::new(Observing::new(action)));
        self
    }

    /// Adds a changing action.
    #[must_use]
    pub fn changing<A: Change>(mut self, action: A) -> Self {
        Arc::make_mut(&mut self.0).insert(A::NAME, Arc::new(Changing::new(action)));
        self
    }

    /// The action of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Action>> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Action>> {
        self.0.values()
    }
}
