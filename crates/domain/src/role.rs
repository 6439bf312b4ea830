//! Who may do what: four roles, each with all that the one below it may.
//!
//! ```text
//!  viewer < responder < approver < admin
//!  looks    starts,     agrees to    breaks the glass,
//!           asks        what others  releases by force
//!                       asked for
//! ```
//!
//! A role belongs to a session and goes with its actor into every journal, so that a role that somebody has today does not
//! change what they were yesterday. It is enforced in the engine and in [`crate::run::State::apply`]; surfaces only show it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What somebody may do.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Starts runs and asks things of them. What everybody was before there were roles, and so what is read where none is
    /// written.
    #[default]
    Responder,
    /// Agrees to what somebody else wants to start.
    Approver,
    /// Proceeds alone in an emergency, and undoes what others hold.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Responder, Self::Approver, Self::Admin];

    /// As files, the database and pages write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Responder => "responder",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    /// With its article.
    pub fn one(self) -> &'static str {
        match self {
            Self::Viewer => "a viewer",
            Self::Responder => "a responder",
            Self::Approver => "an approver",
            Self::Admin => "an admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; there are viewer, responder, approver and admin")]
pub struct NoSuchRole(pub String);

impl FromStr for Role {
    type Err = NoSuchRole;

    fn from_str(word: &str) -> Result<Self, NoSuchRole> {
        Self::ALL.into_iter().find(|role| role.word() == word).ok_or_else(|| NoSuchRole(word.to_owned()))
    }
}
