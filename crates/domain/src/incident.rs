//! Incidents: what people do together about one trouble, whatever says it and whatever is done about it.
//!
//! ```text
//!  opened (by a verdict, or by a person) ──▶ open: notes, severity, a driver ──▶ closed (its signals are over, or a person says so)
//! ```
//!
//! An incident holds the targets that are struck. Signals, verdicts and runs belong to it by their targets and times; what people
//! say and do in it is history (rows of `audit`). So nothing here keeps a list of its own that could go wrong.
//!
//! - [`Ask`]: what a person may do in it, and [`allowed`]: when.
//! - [`Times`]: the measured times, from the first signal to the end of the symptom.
//!
//! Deliberately absent: how it is stored (`store::incidents`) and told (`server::incident`).

use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::token::{Deed, OutOfScope};
use crate::{Actor, Role, Timestamp};

/// The longest note, in characters: a page of text.
pub const LONGEST_NOTE: usize = 4000;
/// The longest title.
pub const LONGEST_TITLE: usize = 200;

/// How bad it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Everybody is hit.
    Sev1,
    /// Many are.
    Sev2,
    /// Some are.
    Sev3,
    /// Nobody is, yet.
    Sev4,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Sev1, Self::Sev2, Self::Sev3, Self::Sev4];

    /// As the database and programs write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sev1 => "sev1",
            Self::Sev2 => "sev2",
            Self::Sev3 => "sev3",
            Self::Sev4 => "sev4",
        }
    }

    /// As people write it, with what it means.
    pub fn says(self) -> &'static str {
        match self {
            Self::Sev1 => "SEV1: customers everywhere cannot work",
            Self::Sev2 => "SEV2: many customers cannot work",
            Self::Sev3 => "SEV3: some customers are hindered",
            Self::Sev4 => "SEV4: no customer notices yet",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.word().to_uppercase())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.word().eq_ignore_ascii_case(word))
            .ok_or_else(|| format!("`{word}` is no severity; write sev1, sev2, sev3 or sev4"))
    }
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Incident {
    /// Its id.
    pub id: Uuid,
    /// To say aloud: `INC-17`.
    pub number: i64,
    /// In a few words.
    pub title: String,
    /// What is struck: lock names.
    pub targets: Vec<String>,
    /// How bad, once somebody has said so.
    pub severity: Option<Severity>,
    /// When it was opened (clock time).
    pub opened_at: Timestamp,
    /// By whom; `triage` where a verdict has.
    pub opened_by: String,
    /// Who has it.
    pub driver: Option<String>,
    /// Since when.
    pub driver_since: Option<Timestamp>,
    /// When it ended.
    pub closed_at: Option<Timestamp>,
    /// Who said so; nobody, where it ended by itself.
    pub closed_by: Option<String>,
}

impl Incident {
    /// `INC-17`.
    pub fn name(&self) -> String {
        format!("INC-{}", self.number)
    }
}

/// What a person does in an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "ask", rename_all = "snake_case")]
#[schemars(rename = "IncidentAsk")]
pub enum Ask {
    /// Says something.
    Note {
        /// What.
        text: String,
    },
    /// Says how bad it is.
    Severity {
        /// That bad.
        severity: Severity,
    },
    /// Says what it is about.
    Title {
        /// In a few words.
        title: String,
    },
    /// "I have it."
    Take,
    /// "You have it."
    HandOver {
        /// Who.
        to: String,
        /// What they should know.
        #[serde(default)]
        note: Option<String>,
    },
    /// "It is over."
    Close {
        /// Why.
        reason: String,
    },
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Their role does not allow it.
    #[error("this takes {}, and you are {}", Role::Responder.one(), .0.one())]
    NotAllowed(Role),
    /// The token is not good for it.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// It makes no sense as it is written.
    #[error("{0}")]
    Unfit(String),
    /// It does not fit how the incident stands.
    #[error("{0}")]
    NotNow(String),
}

/// May somebody do this, as the incident stands? `firing` of its signals are not over.
pub fn allowed(incident: &Incident, by: &Actor, ask: &Ask, firing: i64) -> Result<(), Refusal> {
    if by.role() < Role::Responder {
        return Err(Refusal::NotAllowed(by.role()));
    }
    by.within_scope(Deed::Other)?;
    match ask {
        Ask::Note { text } => said(text, "a note", LONGEST_NOTE)?,
        Ask::Title { title } => said(title, "a title", LONGEST_TITLE)?,
        Ask::Close { reason } => said(reason, "the reason", LONGEST_NOTE)?,
        Ask::HandOver { to, note } => {
            said(to, "the name of whoever takes it", LONGEST_TITLE)?;
            said(note.as_deref().unwrap_or("-"), "a note", LONGEST_NOTE)?;
        }
        Ask::Severity { .. } | Ask::Take => {}
    }
    let not_now = |why: String| Err(Refusal::NotNow(why));
    let name = incident.name();
    match (ask, incident.closed_at) {
        // What is learnt afterwards belongs to it.
        (Ask::Note { .. } | Ask::Title { .. } | Ask::Severity { .. }, _) => Ok(()),
        (_, Some(_)) => not_now(format!("{name} is closed; notes, title and severity may still be added")),
        (Ask::Take, None) if incident.driver.as_deref() == Some(by.name()) => {
            not_now(format!("you have {name} already"))
        }
        (Ask::HandOver { to, .. }, None) if incident.driver.as_deref() == Some(to.trim()) => {
            not_now(format!("{} has {name} already", to.trim()))
        }
        (Ask::Close { .. }, None) if firing > 0 => {
            let still = if firing == 1 {
                "a signal of it fires".into()
            } else {
                format!("{firing} signals of it fire")
            };
            not_now(format!(
                "{still} still; dismiss what is wrong with a reason, or let {name} close by itself once they are over"
            ))
        }
        (Ask::Take | Ask::HandOver { .. } | Ask::Close { .. }, None) => Ok(()),
    }
}

/// May somebody open an incident like this?
pub fn may_open(by: &Actor, title: &str, targets: &[String]) -> Result<(), Refusal> {
    if by.role() < Role::Responder {
        return Err(Refusal::NotAllowed(by.role()));
    }
    by.within_scope(Deed::Other)?;
    said(title, "a title", LONGEST_TITLE)?;
    if targets.is_empty() {
        return Err(Refusal::Unfit(
            "name at least one target that is struck: signals and runs belong to it by that".into(),
        ));
    }
    Ok(())
}

fn said(text: &str, what: &str, longest: usize) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        Err(Refusal::Unfit(format!("{what} is missing")))
    } else if text.chars().count() > longest {
        Err(Refusal::Unfit(format!("{what} is longer than {longest} characters")))
    } else if text.contains('\0') {
        Err(Refusal::Unfit(format!("{what} holds a NUL character")))
    } else {
        Ok(())
    }
}

/// When what happened. What has not happened is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Something was wrong, by the first signal.
    pub began: Option<Timestamp>,
    /// It was first judged.
    pub judged: Option<Timestamp>,
    /// A run was asked for.
    pub decided: Option<Timestamp>,
    /// The first call that changes something.
    pub changed: Option<Timestamp>,
    /// All its signals were over, and none came again.
    pub recovered: Option<Timestamp>,
}

impl Times {
    /// Each with its name, and how long after the one before that has happened.
    pub fn steps(&self) -> Vec<(&'static str, Timestamp, Option<TimeDelta>)> {
        let all = [
            ("first signal", self.began),
            ("first verdict", self.judged),
            ("decision", self.decided),
            ("first change", self.changed),
            ("symptom gone", self.recovered),
        ];
        let mut before: Option<Timestamp> = None;
        let mut told = Vec::new();
        for (name, at) in all {
            let Some(at) = at else { continue };
            told.push((name, at, before.map(|before| (at - before).max(TimeDelta::zero()))));
            before = Some(at);
        }
        told
    }

    /// From the first signal to the end of the symptom.
    pub fn lasted(&self) -> Option<TimeDelta> {
        Some(self.recovered? - self.began?)
    }
}

#[cfg(test)]
mod tests;
