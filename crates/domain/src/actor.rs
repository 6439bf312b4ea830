//! Who did something. Every entry of a journal that a will stands behind names its actor.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Role;

/// A person or a part of Firebreak that acts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Actor {
    /// A signed-in person, known by the name they signed in with.
    Person {
        /// The unique name.
        name: String,
        /// What they may do, as of then.
        #[serde(default)]
        role: Role,
    },
    /// Firebreak itself, by the part that acted (`engine`, `drill`).
    System {
        /// The part.
        name: String,
    },
}

impl Actor {
    /// A person by name, who may start runs and ask things of them.
    pub fn person(name: impl Into<String>) -> Self {
        Self::with_role(name, Role::Responder)
    }

    /// A person by name, with a role.
    pub fn with_role(name: impl Into<String>, role: Role) -> Self {
        Self::Person { name: name.into(), role }
    }

    /// What it may do. A part of Firebreak starts and asks like a responder; it has no voice in an approval.
    pub fn role(&self) -> Role {
        match self {
            Self::Person { role, .. } => *role,
            Self::System { .. } => Role::Responder,
        }
    }

    /// Is it a person?
    pub fn is_person(&self) -> bool {
        matches!(self, Self::Person { .. })
    }

    /// A part of Firebreak by name.
    pub fn system(name: impl Into<String>) -> Self {
        Self::System { name: name.into() }
    }

    /// The name alone, as pages show it.
    pub fn name(&self) -> &str {
        match self {
            Self::Person { name, .. } | Self::System { name } => name,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
