//! Triage: what becomes of a signal, as a pure function with one sentence why.
//!
//! ```text
//!  signal ─▶ which rules take it? ─▶ how do things stand for each? ─▶ decide ─▶ verdict
//!            (triggers' `where`)     (runs, brakes, the plan: evidence)
//! ```
//!
//! | Verdict | When |
//! |---|---|
//! | ignored | no rule takes it, or it is not understood |
//! | joined | a run is at work on the same targets |
//! | suppressed | it is over; a brake holds; a run has just ended; the evidence is against it, or cannot be had; it was done already |
//! | suggested | it fits, and its rule is in mode `shadow` |
//! | asked | it fits, and a person is to decide: mode `ask`, several fit, a storm, too many starts, just awake, must be typed |
//! | started | it fits, alone, in mode `auto` |
//!
//! **Evidence before action.** The evidence is the runbook's own plan: it looks, changes nothing, and stops at the first guard that
//! says no. So what speaks for or against a runbook is written once, in its guards, and holds for people and machines alike; and
//! of two runbooks that could be the answer, that one is chosen whose guards hold.
//!
//! **Never in silence.** Where a rule would ask or act, and a brake holds it or nothing can be seen, a person is told what is in the
//! way: the trouble is there, and nobody else will do anything about it.
//!
//! **Once.** The same runbook on the same targets is done at most once for an incident: a second time would be a guess. What it
//! did not heal is people's. (A run that a guard refused, or that nobody approved in time, has done nothing, and counts as none but
//! against the budget.)
//!
//! Deliberately absent: looking, starting, storing (`engine::triage`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::brake::Brake;
use crate::runbook::Mode;
use crate::signal::SignalState;
use crate::words::many;

/// What became of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is to be done about it, as far as rules go.
    Ignored,
    /// A run is at work on it.
    Joined,
    /// Something speaks against doing anything.
    Suppressed,
    /// Would have been done.
    Suggested,
    /// A person is to decide; the plan is ready.
    Asked,
    /// Done by itself.
    Started,
}

/// A trigger of a runbook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// The runbook's name.
    pub runbook: String,
    /// The trigger's.
    pub trigger: String,
}

/// How things stand for a rule that takes the signal: the first of these that holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Its condition or inputs cannot be worked out for this signal.
    Unfit(String),
    /// A run that has not ended is at work on its targets.
    Running(Run),
    /// It was done for this incident already, by a run that has ended.
    Acted(Run, String),
    /// It could not be looked at, so nothing is known.
    Blind(String),
    /// A guard says that it is not the answer.
    Refuted {
        /// Which.
        step: String,
        /// In its words.
        message: String,
    },
    /// The guards that were asked hold, and what it would do is not allowed to be done to what was seen.
    Barred {
        /// The step that may not.
        step: String,
        /// Why.
        message: String,
    },
    /// Its guards hold, and a brake is on.
    Held(Brake),
    /// Its guards hold, and a run of this runbook on the same targets has ended just now: what it healed is back.
    Resting(Run, Timestamp),
    /// Its guards hold.
    Fits {
        /// What it would do to what.
        title: String,
        /// The locks that it would take.
        targets: Vec<String>,
        /// Its target must be typed by a person.
        typed: bool,
    },
}

/// A run, as sentences name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: Uuid,
    /// What it does to what.
    pub title: String,
    /// Who asked for it.
    pub by: String,
}

/// A rule that takes the signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which.
    pub rule: Rule,
    /// How far it may go.
    pub mode: Mode,
    /// How things stand for it.
    pub standing: Standing,
}

/// A start by a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Which.
    pub rule: Rule,
    /// On what.
    pub targets: Vec<String>,
}

/// What else is going on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Starts by rules within the last hour.
    pub starts: Vec<Start>,
    /// Targets of the incidents that began within the last five minutes.
    pub struck: BTreeSet<String>,
    /// This process has just begun to look; until then it starts nothing by itself.
    pub warm_at: Option<Timestamp>,
}

/// How much may be done without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Starts by one rule within an hour.
    pub per_rule: usize,
    /// Starts on one target within an hour.
    pub per_target: usize,
    /// Starts by all rules within an hour.
    pub in_all: usize,
    /// When more targets than this are struck within five minutes, it is a storm: our view may be wrong.
    pub storm: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { per_rule: 2, per_target: 2, in_all: 4, storm: 3 }
    }
}

/// Everything that a verdict rests on.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Is the trouble there?
    pub state: SignalState,
    /// Now.
    pub now: Timestamp,
    /// The rules that take it.
    pub candidates: &'a [Candidate],
    /// What else is going on.
    pub around: &'a Surroundings,
    /// How much may be done without a person.
    pub budget: &'a Budget,
}

/// A verdict with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, in a word that programs may branch on.
    pub code: &'static str,
    /// Why, in a sentence.
    pub because: String,
    /// The candidate that it is about, by its place in the list.
    pub of: Option<usize>,
    /// The run that it names.
    pub run: Option<Uuid>,
    /// When to look again, while the trouble is there.
    pub again: Option<TimeDelta>,
    /// Its rule would ask or act, and is kept from it: nothing comes of the trouble unless a person does something.
    pub held_back: bool,
}

impl Decision {
    fn new(verdict: Verdict, code: &'static str, because: impl Into<String>) -> Self {
        Self { verdict, code, because: because.into(), of: None, run: None, again: None, held_back: false }
    }

    fn of(self, candidate: usize) -> Self {
        Self { of: Some(candidate), ..self }
    }

    fn again(self, seconds: i64) -> Self {
        Self { again: Some(TimeDelta::seconds(seconds)), ..self }
    }
}

/// Judges.
pub fn decide(case: &Case<'_>) -> Decision {
    match case.state {
        SignalState::Resolved => {
            let why = "It is over, and what is over starts nothing.";
            return Decision::new(Verdict::Suppressed, "resolved", why);
        }
        SignalState::Unclear => {
            let why = "It is not understood, so no rule can be asked. What was received is kept.";
            return Decision::new(Verdict::Ignored, "unclear", why);
        }
        SignalState::Firing => {}
    }
    let found = |wanted: fn(&Candidate) -> bool| case.candidates.iter().position(wanted);
    // What is under way comes first: nobody starts a second thing beside it.
    if let Some(at) = found(|c| matches!(c.standing, Standing::Running(_))) {
        return undecided(case, at);
    }
    let fitting =
        case.candidates.iter().enumerate().filter_map(|(at, candidate)| match &candidate.standing {
            Standing::Fits { title, targets, typed } => Some((at, (title.as_str(), &targets[..], *typed))),
            _ => None,
        });
    let first = fitting.clone().next();
    let fitting: Vec<usize> = fitting.map(|(at, _)| at).collect();
    if let Some((first, fit)) = first {
        // A person is told of what is held back, and of what is in shadow nobody.
        return match found(Candidate::is_held_back) {
            Some(held) if fitting.iter().all(|&at| case.candidates[at].mode == Mode::Shadow) => {
                undecided(case, held)
            }
            _ => fits(case, &fitting, first, fit),
        };
    }
    let orders: [fn(&Candidate) -> bool; 8] = [
        |c| matches!(c.standing, Standing::Acted(..)),
        Candidate::is_held_back,
        |c| matches!(c.standing, Standing::Held(_)),
        |c| matches!(c.standing, Standing::Barred { .. }),
        |c| matches!(c.standing, Standing::Resting(..)),
        |c| matches!(c.standing, Standing::Blind(_)),
        |c| matches!(c.standing, Standing::Refuted { .. }),
        |c| matches!(c.standing, Standing::Unfit(_)),
    ];
    match orders.into_iter().find_map(found) {
        Some(at) => undecided(case, at),
        // Rules may be added while it is there.
        None => Decision::new(Verdict::Ignored, "no_rule", "No rule takes it.").again(300),
    }
}

/// Nothing fits: what the candidate that says most says.
fn undecided(case: &Case<'_>, at: usize) -> Decision {
    let Candidate { rule, standing, .. } = &case.candidates[at];
    let decision = match standing {
        Standing::Running(run) => Decision {
            run: Some(run.id),
            ..Decision::new(Verdict::Joined, "joined", format!("{run} is at work on it."))
        },
        Standing::Acted(run, outcome) => Decision {
            run: Some(run.id),
            ..Decision::new(
                Verdict::Suppressed,
                "acted",
                format!(
                    "{run} was done for this incident and ended as {outcome}; it is not done twice by itself. A person must look."
                ),
            )
        },
        Standing::Held(brake) => {
            let why = format!("{rule} fits, and is held back: {brake}. {}", brake.remedy());
            Decision::new(Verdict::Suppressed, brake.code(), why)
        }
        Standing::Barred { step, message } => Decision::new(
            Verdict::Suppressed,
            "barred",
            format!(
                "The guards of {rule} hold as far as they were asked, and its step `{step}` may not be done: {message}{} A person must look.",
                stop(message)
            ),
        ),
        Standing::Resting(run, until) => Decision {
            run: Some(run.id),
            ..Decision::new(
                Verdict::Suppressed,
                "cooldown",
                format!(
                    "{run} has just ended, and the guards of {rule} hold again. It rests until {}; until then a person must look.",
                    until.format("%H:%M:%S UTC")
                ),
            )
        },
        Standing::Blind(why) => Decision::new(
            Verdict::Suppressed,
            "blind",
            format!("{rule}: it could not be looked at: {why}{} A person must look.", stop(why)),
        ),
        Standing::Refuted { .. } => {
            let told: Vec<String> = case.candidates.iter().filter_map(|c| c.refuted()).collect();
            Decision::new(Verdict::Suppressed, "refuted", told.join(" "))
        }
        Standing::Unfit(why) => Decision::new(Verdict::Ignored, "unfit", format!("{rule}: {why}")),
        Standing::Fits { title, targets, typed } => {
            return fits(case, &[at], at, (title.as_str(), &targets[..], *typed));
        }
    };
    Decision { held_back: case.candidates[at].is_held_back(), ..decision.of(at).again(30) }
}

/// What ends a sentence that says this.
fn stop(said: &str) -> &'static str {
    if said.ends_with(['.', '!', '?']) { "" } else { "." }
}

impl Candidate {
    /// It would ask or act, and is kept from it. (What does not fit needs nobody.)
    fn is_held_back(&self) -> bool {
        let kept = matches!(
            self.standing,
            Standing::Held(_) | Standing::Barred { .. } | Standing::Blind(_) | Standing::Resting(..)
        );
        self.mode != Mode::Shadow && kept
    }

    fn refuted(&self) -> Option<String> {
        match &self.standing {
            Standing::Refuted { step, message } => {
                Some(format!("{} does not fit, by its guard `{step}`: {message}{}", self.rule, stop(message)))
            }
            _ => None,
        }
    }
}

/// Something fits, the first of it with this title, on these targets, which may have to be typed: how far may it go?
fn fits(
    case: &Case<'_>,
    fitting: &[usize],
    first: usize,
    (title, targets, typed): (&str, &[String], bool),
) -> Decision {
    let Candidate { rule, mode, .. } = &case.candidates[first];
    let asked = |code, why: String| Decision::new(Verdict::Asked, code, format!("{title}: {why}"));
    let decision = if fitting.len() > 1 {
        let rules: Vec<_> = fitting.iter().map(|&at| case.candidates[at].rule.to_string()).collect();
        asked("several", format!("the guards of {} hold; a person must choose.", rules.join(" and of ")))
    } else if *mode == Mode::Shadow {
        let why = format!("{title}: its guards hold. {rule} is in mode shadow, so nothing comes of it.");
        Decision::new(Verdict::Suggested, "shadow", why)
    } else if *mode == Mode::Ask {
        asked("ask", "its guards hold; a person starts it.".into())
    } else if typed {
        asked("typed", "its guards hold, and its risk is high: a person must type the target.".into())
    } else if let Some(why) = storm(case, targets) {
        asked("storm", why)
    } else if let Some(why) = spent(case, rule, targets) {
        asked("budget", why)
    } else if let Some(warm_at) = case.around.warm_at.filter(|at| case.now < *at) {
        let why = format!(
            "its guards hold. Firebreak has just begun to look, and starts nothing by itself before {}.",
            warm_at.format("%H:%M:%S UTC")
        );
        let again = (warm_at - case.now).num_seconds().max(0) + 1;
        return asked("warming_up", why).of(first).again(again.min(60));
    } else {
        // Soon: is the run there?
        let why = format!("{title}: its guards hold, and no other runbook fits.");
        return Decision::new(Verdict::Started, "started", why).of(first).again(10);
    };
    decision.of(first).again(60)
}

fn storm(case: &Case<'_>, targets: &[String]) -> Option<String> {
    let mut struck = case.around.struck.clone();
    struck.extend(targets.iter().cloned());
    (struck.len() > case.budget.storm).then(|| {
        format!(
            "{} targets were struck within five minutes. In a storm what is seen may be wrong, so a person decides.",
            struck.len()
        )
    })
}

fn spent(case: &Case<'_>, rule: &Rule, targets: &[String]) -> Option<String> {
    let (starts, budget) = (&case.around.starts, case.budget);
    let by_rule = starts.iter().filter(|s| s.rule == *rule).count();
    let on_target =
        |target: &&String| starts.iter().filter(|s| s.targets.contains(target)).count() >= budget.per_target;
    let much = |what: &str, n: usize| {
        format!("{what} {} within the hour; a person decides about more.", many(n, "time"))
    };
    if by_rule >= budget.per_rule {
        Some(much(&format!("{rule} has started runs"), by_rule))
    } else if let Some(target) = targets.iter().find(on_target) {
        Some(much(&format!("rules have started runs on {target}"), budget.per_target))
    } else if starts.len() >= budget.in_all {
        Some(much("rules have started runs", starts.len()))
    } else {
        None
    }
}

impl Standing {
    /// In a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unfit(_) => "unfit",
            Self::Running(_) => "running",
            Self::Acted(..) => "acted",
            Self::Resting(..) => "resting",
            Self::Blind(_) => "blind",
            Self::Refuted { .. } => "refuted",
            Self::Barred { .. } => "barred",
            Self::Held(_) => "held",
            Self::Fits { .. } => "fits",
        }
    }

    /// In a sentence.
    pub fn says(&self) -> String {
        match self {
            Self::Unfit(why) | Self::Blind(why) => why.clone(),
            Self::Running(run) => format!("{run} is at work on it."),
            Self::Acted(run, outcome) => format!("{run} was done already and ended as {outcome}."),
            Self::Resting(run, until) => {
                format!(
                    "Its guards hold again; {run} has just ended, and it rests until {}.",
                    until.format("%H:%M:%S UTC")
                )
            }
            Self::Refuted { step, message } | Self::Barred { step, message } => format!("{step}: {message}"),
            Self::Held(brake) => format!("Its guards hold; {brake}."),
            Self::Fits { .. } => "Its guards hold.".into(),
        }
    }
}

impl Verdict {
    /// Its word, as it is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Joined => "joined",
            Self::Suppressed => "suppressed",
            Self::Suggested => "suggested",
            Self::Asked => "asked",
            Self::Started => "started",
        }
    }
}

impl FromStr for Verdict {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        use Verdict::{Asked, Ignored, Joined, Started, Suggested, Suppressed};
        [Ignored, Joined, Suppressed, Suggested, Asked, Started]
            .into_iter()
            .find(|verdict| verdict.word() == word)
            .ok_or_else(|| format!("`{word}` is no verdict"))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.runbook, self.trigger)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "“{}”, asked for by {},", self.title, self.by)
    }
}

#[cfg(test)]
mod tests;
