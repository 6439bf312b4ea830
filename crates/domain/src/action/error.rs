//! Why an action failed, and what may be done about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What follows from a failure; decided by the action that saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The service asks for patience (`Throttling`, `ResourceContention`): back off; uses up no attempt.
    Busy,
    /// May pass by itself, and surely changed nothing: retry.
    Transient,
    /// Will not pass by itself (validation, permission, a guard of ours): a person.
    Refused,
    /// The object is not there (any more).
    Gone,
    /// It is not known whether the call took effect: observe, never repeat blindly.
    Unknown,
}

/// A failed action, in words for the person who reads the run page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub struct ActionError {
    /// What may be done.
    pub class: ErrorClass,
    /// Stable code: the service's own (`ScalingActivityInProgress`, `1045`) or ours (`bad_input`, `timeout`).
    pub code: String,
    /// What happened, in a sentence; never a secret.
    pub message: String,
    /// What a person can do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl ActionError {
    /// An error of a class, with its code and sentence.
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, code: code.into(), message: message.into(), remedy: None }
    }

    /// A refusal: a person must decide.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Refused, code, message)
    }

    /// Adds what a person can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
