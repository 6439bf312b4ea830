//! How a step of a run is known: by the ids its author gave, never by position.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `ready`, `prove[i-0abc]`, `remove[i-0abc].drain`, `undo:quiet`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepPath(String);

const UNDO: &str = "undo:";

impl StepPath {
    /// A step at the top.
    pub fn top(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The check after the last step.
    pub fn verify() -> Self {
        Self("verify".to_owned())
    }

    /// One item of this `each`.
    #[must_use]
    pub fn item(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// A step inside this item.
    #[must_use]
    pub fn child(&self, id: &str) -> Self {
        Self(format!("{}.{id}", self.0))
    }

    /// The step that takes this one back.
    #[must_use]
    pub fn undo(&self) -> Self {
        Self(format!("{UNDO}{}", self.0))
    }

    /// Is it one that takes another back?
    pub fn is_undo(&self) -> bool {
        self.0.starts_with(UNDO)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for StepPath {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
