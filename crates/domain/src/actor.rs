//! Who did something. Every entry of a journal that a will stands behind names its actor.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A person or a part of Firebreak that acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A signed-in person, known by the name they signed in with.
    Person {
        /// The unique name.
        name: String,
    },
    /// Firebreak itself, by the part that acted (`engine`, `drill`).
    System {
        /// The part.
        name: String,
    },
}

impl Actor {
    /// A person by name.
    pub fn person(name: impl Into<String>) -> Self {
        Self::Person { name: name.into() }
    }

    /// A part of Firebreak by name.
    pub fn system(name: impl Into<String>) -> Self {
        Self::System { name: name.into() }
    }

    /// The name alone, as pages show it.
    pub fn name(&self) -> &str {
        match self {
            Self::Person { name } | Self::System { name } => name,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
