//! What a script is told: one number per kind of end.

use std::fmt;
use std::process::ExitCode;

use serde_json::Value;

/// How a verb ended. `firebreak help run` lists them; scripts may rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; of a run that was watched: it succeeded.
    Succeeded = 0,
    /// The run failed, was undone, aborted, or did not heal the symptom.
    Failed = 1,
    /// The command line does not make sense.
    Usage = 2,
    /// Refused, and nothing was done: a guard, a brake, a lock, a role, another plan, a missing confirmation.
    Refused = 3,
    /// A person must decide before it goes on.
    Waits = 4,
    /// The server was not reached, or could not answer; what was asked may or may not have been done.
    Unreachable = 5,
    /// Nobody is signed in, or the token is not good.
    SignedOut = 6,
}

/// The list for `--help`.
pub(crate) const CODES: &str = "Exit codes: 0 done, and a run that was watched succeeded; 1 the run failed, was undone or aborted; \
2 wrong command line; 3 refused, nothing was done; 4 a person must decide; 5 the server was not reached or could not answer; \
6 no good token";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Of a run, by the word for its state.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "succeeded" => Self::Succeeded,
            "refused" | "expired" => Self::Refused,
            "failed" | "undone" | "aborted" | "symptom_persists" => Self::Failed,
            _ => Self::Waits,
        }
    }
}

/// Why a verb ended before its end.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// In sentences: what is wrong, and what to do.
    pub(crate) says: String,
    /// As the API told it.
    pub(crate) problem: Option<Value>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, says: impl Into<String>) -> Self {
        Self { exit, says: says.into(), problem: None }
    }

    /// Is what was asked for being done, for the same request of before?
    pub(crate) fn is_at_work(&self) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem["code"] == "at_work")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl std::error::Error for Failure {}
