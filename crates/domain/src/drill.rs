//! Drills that people play: who may, and what is kept of one.
//!
//! A drill breaks a simulated world on purpose, so that people can practise on it, or see what Firebreak does by itself. How well it
//! went is told by what customers saw: against what they would have seen had nobody acted, and against what really happened, if it did.

use serde::{Deserialize, Serialize};

use crate::token::{Deed, OutOfScope};
use crate::{Actor, Role};

/// Who acts in a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Player {
    /// People: triggers go as far as their files say.
    People,
    /// Firebreak: every trigger may start its runbook.
    Firebreak,
}

impl Player {
    /// As the database and forms write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Firebreak => "firebreak",
        }
    }

    /// The one of that word.
    pub fn named(word: &str) -> Option<Self> {
        [Self::People, Self::Firebreak].into_iter().find(|player| player.word() == word)
    }
}

/// Why somebody may not start or end one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// Their role.
    #[error("a drill takes a responder, and you are {}", .0.one())]
    Role(Role),
    /// The token is not good for it.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
}

/// May they start and end drills?
pub fn may_play(by: &Actor) -> Result<(), NotAllowed> {
    if by.role() < Role::Responder {
        return Err(NotAllowed::Role(by.role()));
    }
    Ok(by.within_scope(Deed::Other)?)
}

/// A share over time: seconds since the trigger, and the share of requests that failed, 0 to 1.
pub type Curve = Vec<(i64, f64)>;

/// How a drill went. All times are seconds of its world since the trigger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Score {
    /// Whose customers it is about.
    pub cluster: String,
    /// Did the symptom come, and is it gone for good?
    pub recovered: bool,
    /// When it was gone for good.
    pub seconds_to_recovered: Option<i64>,
    /// When the first run was started that changed something.
    pub seconds_to_decision: Option<i64>,
    /// When something was changed first.
    pub seconds_to_first_change: Option<i64>,
    /// Highest share of requests that failed.
    pub error_share_peak: f64,
    /// Requests of these customers that failed.
    pub failed_requests: f64,
    /// … and how many would have, had nobody acted.
    pub failed_requests_nobody: f64,
    /// How many changes the simulated AWS and its hosts saw.
    pub changes: usize,
    /// What was run, the oldest first.
    pub runs: Vec<Played>,
    /// What really happened, if it did.
    pub reality: Option<Reality>,
    /// What customers saw.
    pub here: Curve,
    /// What they would have seen, had nobody acted.
    pub nobody: Curve,
    /// What they saw in reality: as simulated, until the moment at which it was over.
    pub real: Curve,
    /// What did not go well, each a sentence.
    pub remarks: Vec<String>,
}

/// A run of a drill: it is gone with the drill's world, so this is all that is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Played {
    /// What it did to what.
    pub title: String,
    /// How it stood at the end.
    pub state: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at_s: i64,
}

/// What really happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reality {
    /// Who says so.
    pub source: String,
    /// Highest share of requests that failed.
    pub error_share_peak: f64,
    /// When people decided.
    pub seconds_to_decision: i64,
    /// When it was over.
    pub seconds_to_recovered: i64,
}

impl Score {
    /// How much sooner it was over than in reality, in seconds; negative when later.
    pub fn sooner_than_reality(&self) -> Option<i64> {
        Some(self.reality.as_ref()?.seconds_to_recovered - self.seconds_to_recovered?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Scope;

    #[test]
    fn responders_play_and_viewers_and_tokens_that_only_look_do_not() {
        assert_eq!(may_play(&Actor::with_role("ada", Role::Responder)), Ok(()));
        let viewer = may_play(&Actor::with_role("eve", Role::Viewer)).unwrap_err();
        assert_eq!(viewer.to_string(), "a drill takes a responder, and you are a viewer");
        let scope = Scope { read_only: true, runbooks: None };
        let looking = Actor::by_token("ada", Role::Admin, "ci", scope);
        assert!(matches!(may_play(&looking), Err(NotAllowed::OutOfScope(_))));
    }

    #[test]
    fn reality_is_compared_only_where_both_are_known() {
        let mut score = Score { seconds_to_recovered: Some(600), ..Score::default() };
        assert_eq!(score.sooner_than_reality(), None);
        score.reality = Some(Reality {
            source: "a report".into(),
            error_share_peak: 0.5,
            seconds_to_decision: 2280,
            seconds_to_recovered: 3480,
        });
        assert_eq!(score.sooner_than_reality(), Some(2880));
    }
}
