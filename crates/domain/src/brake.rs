//! What holds Firebreak back: the kill switch, freeze windows, targets that a person has taken by hand, and limits on how
//! often something may be done.
//!
//! ```text
//!                       a start by a trigger   a start by a person                 a run under way
//!  kill switch          refused                refused                             no change, no undo; looks go on
//!  freeze               refused                confirmed, with a reason            goes on
//!  taken by hand        refused                refused, unless it is their own     goes on
//!  limit                refused                acknowledged, with a reason         goes on
//! ```
//!
//! What changes nothing, with all that it runs, starts whatever switches and freezes are on, unless it has limits (see
//! `run::Program::is_free`): looking goes on.
//!
//! A switch or a freeze is for everything, or for a runbook by its name; a switch also where that runbook is a child in the run of
//! another. A run that had to wait before it began asks for freezes and limits once more (see `run::Gate`).
//!
//! Whether a brake is on is asked inside the statement that writes the run, so that no start slips through beside it; here
//! is what a brake is, who may pass it and how it is told. What cannot be read counts as on.
//!
//! - [`calendar`]: freeze windows from an iCalendar file.

pub mod calendar;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::runbook::{EvalError, LimitRule, Runbook, Scope};
use crate::{Actor, Timestamp};

/// The scope of what stops every runbook.
pub const EVERYTHING: &str = "*";

/// Something that speaks against a start now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "brake", rename_all = "snake_case")]
pub enum Brake {
    /// A person has stopped all changes.
    KillSwitch(KillSwitch),
    /// A time in which nothing should be changed.
    Freeze(Freeze),
    /// A person has taken a target by hand.
    #[serde(rename = "taken_by_hand")]
    HandLock(HandLock),
    /// It was done as often as it may be.
    Limit(Spent),
}

/// A switch that is on: no change of any run within its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KillSwitch {
    /// `*`, or the name of a runbook.
    pub scope: String,
    /// Who switched it on.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A freeze window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Freeze {
    /// Its id.
    pub id: Uuid,
    /// `*`, or the name of a runbook.
    pub scope: String,
    /// From then on.
    pub starts: Timestamp,
    /// Until then.
    pub ends: Timestamp,
    /// Why.
    pub reason: String,
    /// Who entered it.
    pub by: String,
    /// The calendar's event that it comes from.
    #[serde(default)]
    pub uid: Option<String>,
}

/// A target that a person works on by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HandLock {
    /// The lock's name, as runbooks write it: `cluster:us/shard-e`.
    pub target: String,
    /// Who.
    pub holder: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; for good when absent.
    pub until: Option<Timestamp>,
}

/// A limit, worked out for one start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Limit {
    /// What is counted. The same name in two runbooks is one budget.
    pub name: String,
    /// At most so many runs…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
    /// …within so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_s: Option<u64>,
    /// Or: so many seconds of rest after a run has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_s: Option<u64>,
}

/// A limit that is used up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Spent {
    /// The limit.
    #[serde(flatten)]
    pub limit: Limit,
    /// The runs that used it, the newest first.
    pub used: Vec<Use>,
    /// When it is free again; unknown while a run that it counts from is still under way.
    pub free_at: Option<Timestamp>,
}

/// A run that counts towards a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Use {
    /// The run.
    pub run_id: Uuid,
    /// What it does to what.
    pub title: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a person says against the brakes that stand in the way of a start. Written into the run's first entry and into the
/// audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Start although there is a freeze; the start's reason says why.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub despite_freeze: bool,
    /// Limits that may be passed this once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acknowledge: Vec<Acknowledged>,
}

/// A limit that a person passes this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledged {
    /// Its name.
    pub limit: String,
    /// Why.
    pub reason: String,
}

/// How somebody may get past a brake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Not at all: it must be released first.
    None,
    /// By [`Overrides::despite_freeze`], and a reason for the start.
    Confirm,
    /// By [`Overrides::acknowledge`].
    Acknowledge,
    /// It does not hold this one back.
    Free,
}

/// An override that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOverride {
    /// Only people confirm.
    #[error("only a person can start despite a freeze or a limit")]
    NotAPerson,
    /// Nobody would know why.
    #[error("a start despite a freeze or a limit needs a reason, for whoever reads it later")]
    NoReason,
}

impl Limit {
    /// The limits of a runbook, worked out for one start.
    pub fn of(runbook: &Runbook, scope: &Scope) -> Result<Vec<Self>, EvalError> {
        let limit = |limit: &crate::runbook::Limit| {
            let name = match limit.name.eval(scope)? {
                Value::String(name) => name,
                other => other.to_string(),
            };
            Ok(match limit.rule {
                LimitRule::AtMost { runs, per } => {
                    Self { name, at_most: Some(runs), per_s: Some(per.as_secs()), cooldown_s: None }
                }
                LimitRule::Cooldown(rest) => {
                    Self { name, at_most: None, per_s: None, cooldown_s: Some(rest.as_secs()) }
                }
            })
        };
        runbook.limits.iter().map(limit).collect()
    }
}

impl Overrides {
    /// Is there nothing to override?
    pub fn is_none(&self) -> bool {
        !self.despite_freeze && self.acknowledge.is_empty()
    }

    /// May this one say so? Only a person may, and only with a reason each.
    pub fn check(&self, by: &Actor, reason: Option<&str>) -> Result<(), BadOverride> {
        if self.is_none() {
            return Ok(());
        }
        if !matches!(by, Actor::Person { .. }) {
            return Err(BadOverride::NotAPerson);
        }
        let said = |text: &str| !text.trim().is_empty();
        let confirmed = !self.despite_freeze || reason.is_some_and(said);
        if confirmed && self.acknowledge.iter().all(|a| said(&a.reason)) {
            Ok(())
        } else {
            Err(BadOverride::NoReason)
        }
    }
}

impl Brake {
    /// Stable; programs branch on it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::KillSwitch(_) => "kill_switch",
            Self::Freeze(_) => "freeze",
            Self::HandLock(_) => "taken_by_hand",
            Self::Limit(_) => "limit",
        }
    }

    /// Does it hold back changes, and no looks?
    pub fn is_for_changes(&self) -> bool {
        matches!(self, Self::KillSwitch(_) | Self::Freeze(_))
    }

    /// How this one may get past it.
    pub fn way(&self, by: &Actor) -> Way {
        match (self, by) {
            (Self::HandLock(lock), Actor::Person { name, .. }) if lock.holder == *name => Way::Free,
            (Self::Freeze(_), Actor::Person { .. }) => Way::Confirm,
            (Self::Limit(_), Actor::Person { .. }) => Way::Acknowledge,
            _ => Way::None,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::KillSwitch(_) => "Ask whoever switched it on; it is released on the page of brakes.",
            Self::Freeze(_) => "If it cannot wait, confirm that you start despite the freeze, and say why.",
            Self::HandLock(_) => "Talk to them; they release the target when they are done.",
            Self::Limit(_) => "Wait, or acknowledge the limit with a reason.",
        }
    }
}

/// `all changes`, or whose.
fn changes(scope: &str) -> String {
    if scope == EVERYTHING { "all changes".into() } else { format!("all changes of `{scope}`") }
}

/// A moment as sentences name it.
fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

impl fmt::Display for KillSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, by, reason, since } = self;
        write!(f, "{by} has stopped {} since {}: {reason}", changes(scope), moment(*since))
    }
}

/// As an addition to "asked for …".
impl fmt::Display for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.despite_freeze {
            f.write_str(" (despite a freeze)")?;
        }
        for Acknowledged { limit, reason } in &self.acknowledge {
            write!(f, " (despite the limit \"{limit}\": {reason})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |s: u64| humantime::format_duration(std::time::Duration::from_secs(s)).to_string();
        write!(f, "\"{}\"", self.name)?;
        if let (Some(at_most), Some(per)) = (self.at_most, self.per_s) {
            write!(f, ", at most {at_most} per {}", span(per))?;
        }
        if let Some(rest) = self.cooldown_s {
            write!(f, ", {} of rest after each", span(rest))?;
        }
        Ok(())
    }
}

impl fmt::Display for Brake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KillSwitch(switch) => write!(f, "the kill switch is on: {switch}"),
            Self::Freeze(Freeze { scope, ends, reason, by, .. }) => {
                write!(f, "{} are frozen until {}: {reason} (entered by {by})", changes(scope), moment(*ends))
            }
            Self::HandLock(HandLock { target, holder, reason, since, until }) => {
                write!(f, "{holder} works on `{target}` by hand since {}", moment(*since))?;
                if let Some(until) = until {
                    write!(f, ", until {}", moment(*until))?;
                }
                write!(f, ": {reason}")
            }
            Self::Limit(Spent { limit, used, free_at }) => {
                write!(f, "the limit {limit}, is used up")?;
                if let Some(last) = used.first() {
                    write!(
                        f,
                        " by run {} ({}), started by {} at {}",
                        last.run_id,
                        last.title,
                        last.by,
                        moment(last.at)
                    )?;
                }
                match free_at {
                    Some(at) => write!(f, "; free again at {}", moment(*at)),
                    None => write!(f, "; the rest begins when that run has ended"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
