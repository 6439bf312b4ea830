//! How far triggers may go by themselves: the ladder of trust.
//!
//! ```text
//!  shadow ──▶ ask ──▶ auto        a person moves a trigger, with a reason; the scoreboard and a backtest tell whether it has earned it
//!              ▲       │
//!              └───────┘          a run of its own that failed, or had to be taken back, moves it down by itself
//! ```
//!
//! - [`takes`]: who may set a mode.
//! - [`in_force`]: the mode that holds, from what the file says, what the configuration says, and what was set since.
//! - [`demotes`]: which ends of its own runs move a trigger down.
//! - [`score`]: what a trigger did, or would have done, beside what people did.
//! - [`backtest`]: what edited rules would have made of the signals of the past.

pub mod backtest;
pub mod score;

use serde::Serialize;
use uuid::Uuid;

use crate::runbook::Mode;
use crate::{Role, Timestamp};

/// A mode that was set while Firebreak ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModeSet {
    /// Which; as configured, when none.
    pub mode: Option<Mode>,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The run whose failure has set it.
    pub run_id: Option<Uuid>,
}

/// The mode that holds: what was set, else what is configured here, else what the runbook's file says. A failure only ever moves
/// down.
pub fn in_force(written: Mode, configured: Option<Mode>, set: Option<&ModeSet>) -> Mode {
    let below = configured.unwrap_or(written);
    match set.and_then(|set| Some((set.mode?, set.run_id))) {
        Some((mode, Some(_))) => mode.min(below),
        Some((mode, None)) => mode,
        None => below,
    }
}

/// Who may set a mode: to let a trigger act by itself takes an approver.
pub fn takes(mode: Mode) -> Role {
    match mode {
        Mode::Auto => Role::Approver,
        Mode::Shadow | Mode::Ask => Role::Responder,
    }
}

/// The outcomes of its own runs after which a trigger asks first. What was refused or never began has done nothing.
pub const DEMOTING: [&str; 4] = ["failed", "symptom_persists", "aborted", "undone"];

/// Does a run of its own that ended so move a trigger down?
pub fn demotes(outcome: &str) -> bool {
    DEMOTING.contains(&outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(mode: Option<Mode>, run_id: Option<Uuid>) -> ModeSet {
        ModeSet { mode, by: "ada".into(), reason: "r".into(), at: Timestamp::UNIX_EPOCH, run_id }
    }

    #[test]
    fn what_is_set_holds_over_what_is_configured_and_that_over_the_file() {
        use Mode::{Ask, Auto, Shadow};
        assert_eq!(in_force(Ask, None, None), Ask);
        assert_eq!(in_force(Ask, Some(Auto), None), Auto);
        assert_eq!(in_force(Ask, Some(Auto), Some(&set(Some(Shadow), None))), Shadow);
        assert_eq!(in_force(Ask, Some(Auto), Some(&set(None, None))), Auto);
    }

    #[test]
    fn a_failure_moves_down_and_never_up() {
        use Mode::{Ask, Auto, Shadow};
        let failed = set(Some(Ask), Some(Uuid::nil()));
        assert_eq!(in_force(Ask, Some(Auto), Some(&failed)), Ask);
        assert_eq!(in_force(Ask, Some(Shadow), Some(&failed)), Shadow);
        assert!(demotes("failed") && demotes("undone") && !demotes("succeeded") && !demotes("refused"));
    }
}
