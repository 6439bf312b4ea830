//! An approval that is asked for, who has spoken, and what came of it.
//!
//! ```text
//!  open ── enough voices ──▶ approved
//!   │ ├── one rejection ──▶ rejected
//!   │ ├── nobody in time ─▶ expired
//!   │ └── alone, with a reason ─▶ the glass is broken: goes on like an approval, and stays open for review elsewhere
//! ```
//!
//! A voice counts once per person, never for who asked, and only for the plan that it was given for. Once it is decided, a
//! late click is told who decided what, and when.

use std::fmt;

use chrono::TimeDelta;

use super::Refusal;
use crate::runbook::Approval;
use crate::{Actor, Timestamp};

/// An approval that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    /// Whose agreement is needed.
    pub needs: Approval,
    /// The plan that is agreed to; none at a step.
    pub plan_hash: Option<String>,
    /// Since when.
    pub opened_at: Timestamp,
    /// Until when (clock time).
    pub until: Timestamp,
    /// Who asked for it, by name: their own voice does not count.
    pub barred: Vec<String>,
    /// Who has agreed.
    pub voices: Vec<Voice>,
    /// What came of it.
    pub ruling: Option<Ruling>,
}

/// Somebody agreed.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// What came of an approval.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// Enough agreed.
    Approved {
        /// When the last of them did.
        at: Timestamp,
    },
    /// Somebody did not.
    Rejected {
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// Nobody answered in time.
    Expired {
        /// When it was noticed.
        at: Timestamp,
    },
    /// Somebody went on alone.
    GlassBroken {
        /// Who.
        by: Actor,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}

impl Ruling {
    /// Does the run go on?
    pub fn passes(&self) -> bool {
        matches!(self, Self::Approved { .. } | Self::GlassBroken { .. })
    }
}

impl Ballot {
    pub(super) fn open(
        needs: Approval,
        plan_hash: Option<String>,
        barred: Vec<String>,
        at: Timestamp,
    ) -> Self {
        let within = i64::try_from(needs.within_s).ok().and_then(TimeDelta::try_seconds);
        let until = at + within.unwrap_or(TimeDelta::days(365));
        Self { needs, plan_hash, opened_at: at, until, barred, voices: Vec::new(), ruling: None }
    }

    /// May this person speak, for or against? The same question for a button, a wish and the journal.
    pub fn hears(&self, by: &Actor) -> Result<(), Refusal> {
        let no = |why: String| Err(Refusal(why));
        if let Some(ruling) = &self.ruling {
            return no(format!("it is decided: {}", self.told(ruling)));
        }
        if !by.is_person() {
            return no("only a person can agree".into());
        }
        if by.role() < self.needs.by {
            return no(format!("it takes {}, and you are {}", self.needs.by.one(), by.role().one()));
        }
        if self.barred.iter().any(|name| name == by.name()) {
            return no("you asked for it, so somebody else must agree".into());
        }
        if self.voices.iter().any(|voice| voice.by.name() == by.name()) {
            return no("you have agreed already; somebody else must, too".into());
        }
        Ok(())
    }

    /// May this person go on alone?
    pub fn yields_to(&self, by: &Actor) -> Result<(), Refusal> {
        match &self.ruling {
            Some(ruling) => Err(Refusal(format!("it is decided: {}", self.told(ruling)))),
            None if !by.is_person() || by.role() < self.needs.break_glass => {
                let (needs, is) = (self.needs.break_glass.one(), by.role().one());
                Err(Refusal(format!("only {needs} may go on alone, and you are {is}")))
            }
            None => Ok(()),
        }
    }

    /// Is this the plan that is asked about?
    pub fn is_about(&self, plan_hash: Option<&str>) -> Result<(), Refusal> {
        match &self.plan_hash {
            Some(asked) if plan_hash != Some(asked) => Err(Refusal(
                "you looked at another plan than the one that is asked about; look at it, then decide".into(),
            )),
            _ => Ok(()),
        }
    }

    /// So many are still missing.
    pub fn missing(&self) -> usize {
        (self.needs.count as usize).saturating_sub(self.voices.len())
    }

    pub(super) fn agree(&mut self, by: &Actor, at: Timestamp) {
        self.voices.push(Voice { by: by.clone(), at });
        if self.missing() == 0 {
            self.ruling = Some(Ruling::Approved { at });
        }
    }

    /// What came of it, in words.
    pub fn told(&self, ruling: &Ruling) -> String {
        match ruling {
            Ruling::Approved { at } => format!("approved by {} at {}", self.names(), clock(*at)),
            Ruling::Rejected { by, at, reason } => format!("rejected by {by} at {}: {reason}", clock(*at)),
            Ruling::Expired { at } => {
                format!("it expired at {}, with {} missing", clock(*at), self.missing())
            }
            Ruling::GlassBroken { by, at, reason } => {
                format!("{by} broke the glass at {}: {reason}", clock(*at))
            }
        }
    }

    /// Who has agreed, by name.
    pub fn names(&self) -> String {
        self.voices.iter().map(|voice| voice.by.name()).collect::<Vec<_>>().join(" and ")
    }
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "the approval of {}", self.by.one()),
            n => write!(f, "the approval of {n} persons, each at least {}", self.by.one()),
        }
    }
}

fn clock(at: Timestamp) -> String {
    at.format("%H:%M:%S UTC").to_string()
}
