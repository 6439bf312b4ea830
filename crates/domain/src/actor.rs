//! Who did something. Every entry of a journal that a will stands behind names its actor.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Role;
use crate::token::{Deed, OutOfScope, Scope};

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
        /// The token that spoke for them; none when they did it themselves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Box<Via>>,
        /// Their groups, as who signed them in says: a policy may ask for one. Asked at the door, so that no journal needs them.
        #[serde(skip)]
        groups: Vec<String>,
    },
    /// Firebreak itself, by the part that acted (`engine`, `drill`).
    System {
        /// The part.
        name: String,
    },
}

/// A token that speaks for a person. It is that person in every rule: who may not agree to their own request may not do so
/// by a token either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// What its maker called it.
    pub name: String,
    /// What it is good for. Asked before anything is written down, so that no journal needs it.
    #[serde(skip)]
    pub scope: Scope,
}

impl Actor {
    /// A person by name, who may start runs and ask things of them.
    pub fn person(name: impl Into<String>) -> Self {
        Self::with_role(name, Role::Responder)
    }

    /// A person by name, with a role.
    pub fn with_role(name: impl Into<String>, role: Role) -> Self {
        Self::Person { name: name.into(), role, token: None, groups: Vec::new() }
    }

    /// A token of a person.
    pub fn by_token(person: impl Into<String>, role: Role, token: impl Into<String>, scope: Scope) -> Self {
        let via = Via { name: token.into(), scope };
        Self::Person { name: person.into(), role, token: Some(Box::new(via)), groups: Vec::new() }
    }

    /// The same, in these groups.
    #[must_use]
    pub fn in_groups(mut self, of: Vec<String>) -> Self {
        if let Self::Person { groups, .. } = &mut self {
            *groups = of;
        }
        self
    }

    /// The groups that they are in.
    pub fn groups(&self) -> &[String] {
        match self {
            Self::Person { groups, .. } => groups,
            Self::System { .. } => &[],
        }
    }

    /// The token that speaks, if it is one.
    pub fn token(&self) -> Option<&Via> {
        match self {
            Self::Person { token, .. } => token.as_deref(),
            Self::System { .. } => None,
        }
    }

    /// Does the scope of the token that speaks let it do this? Everybody else may; roles are another question.
    pub fn within_scope(&self, deed: Deed<'_>) -> Result<(), OutOfScope> {
        self.token().map_or(Ok(()), |via| via.scope.lets(&via.name, deed))
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
        if let Some(via) = self.token() {
            write!(f, "token {} of ", via.name)?;
        }
        f.write_str(self.name())
    }
}
