//! What edited rules would have made of the signals of the past.
//!
//! The past is known: which signals came, which rules took them, how things stood for each, what became of them. A rule that takes a
//! signal now and took it then is judged by how things stood then. For a rule that did not take it then, nobody has looked, so nobody
//! can say what its guards would have said: such a signal is told as *would be planned*, never as *would be started*.
//!
//! Judged by [`crate::triage::decide`] itself, with the budgets of an hour and once for an incident.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Timestamp;
use crate::runbook::{Mode, Trigger};
use crate::signal::{Signal, SignalState};
use crate::triage::{Budget, Candidate, Case, Rule, Run, Standing, Start, Surroundings, decide};

/// A rule as it would be.
#[derive(Debug, Clone, Copy)]
pub struct Edited<'a> {
    /// Its name.
    pub rule: &'a Rule,
    /// What it takes, with which inputs.
    pub trigger: &'a Trigger,
    /// How far it would go.
    pub mode: Mode,
    /// Its targets must be typed by a person.
    pub typed: bool,
}

/// A signal of the past, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Its id.
    pub id: Uuid,
    /// When it was judged, or first said.
    pub at: Timestamp,
    /// What it said, as it was judged: of what fired once and is over now, that it fired.
    pub signal: Signal,
    /// The verdict; none, where it was never judged.
    pub verdict: Option<String>,
    /// The rule that it was about.
    pub rule: Option<String>,
    /// Its incident.
    pub incident: Option<Uuid>,
    /// What was struck.
    pub targets: Vec<String>,
    /// Every rule that took it: `rule`, `standing`, `says`.
    pub considered: Value,
}

/// What would have become of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Would {
    /// A verdict's word, or `planned`: a rule takes it that did not then, so its guards would have to be asked.
    pub verdict: String,
    /// The rule.
    pub rule: Option<String>,
}

/// One kind of change, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What became of them.
    pub then: Would,
    /// What would have.
    pub now: Would,
    /// How many signals.
    pub signals: usize,
    /// Some of them.
    pub examples: Vec<Uuid>,
}

/// So many examples of a change are kept.
const EXAMPLES: usize = 5;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many signals were replayed.
    pub signals: usize,
    /// Of those, to how many the same would have happened.
    pub same: usize,
    /// What would have changed, the most frequent first.
    pub changes: Vec<Change>,
    /// Rules whose `where` could not be worked out for some signal: rule, and the first reason.
    pub broken: BTreeMap<String, String>,
}

/// Replays signals, the oldest first.
pub struct Replay<'a> {
    rules: &'a [Edited<'a>],
    inventory: &'a Arc<Value>,
    budget: Budget,
    starts: Vec<(Timestamp, Start)>,
    done: BTreeSet<(Uuid, &'a Rule)>,
    changes: BTreeMap<(Would, Would), (usize, Vec<Uuid>)>,
    /// What each rule thought of what it looked at: most signals of a month are like others.
    thought: BTreeMap<(&'a Rule, String), Result<bool, String>>,
    report: Report,
}

/// So many thoughts are remembered.
const REMEMBERED: usize = 100_000;

impl<'a> Replay<'a> {
    /// Of these rules.
    pub fn new(rules: &'a [Edited<'a>], inventory: &'a Arc<Value>, budget: Budget) -> Self {
        let (starts, done, changes, thought, report) = Default::default();
        Self { rules, inventory, budget, starts, done, changes, thought, report }
    }

    /// The next signal.
    pub fn next(&mut self, past: &Past) {
        let then = Would {
            verdict: past.verdict.clone().unwrap_or_else(|| "unjudged".into()),
            rule: past.rule.clone(),
        };
        let now = self.judge(past);
        self.report.signals += 1;
        if then == now {
            self.report.same += 1;
            return;
        }
        let (count, examples) = self.changes.entry((then, now)).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.push(past.id);
        }
    }

    /// What was found.
    pub fn report(self) -> Report {
        let changes = self.changes.into_iter();
        let mut changes: Vec<_> = changes
            .map(|((then, now), (signals, examples))| Change { then, now, signals, examples })
            .collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.signals));
        Report { changes, ..self.report }
    }

    fn judge(&mut self, past: &Past) -> Would {
        let state = past.signal.state;
        let mut candidates = Vec::new();
        let mut of = Vec::new();
        for edited in self.rules.iter().filter(|_| state == SignalState::Firing) {
            match self.thinks(edited, &past.signal) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(e) => {
                    self.report.broken.entry(edited.rule.to_string()).or_insert(e);
                    continue;
                }
            }
            let Some(standing) = self.stood(past, edited) else {
                return Would { verdict: "planned".into(), rule: Some(edited.rule.to_string()) };
            };
            candidates.push(Candidate { rule: edited.rule.clone(), mode: edited.mode, standing });
            of.push(edited.rule);
        }
        self.starts.retain(|(at, _)| past.at - *at < TimeDelta::hours(1));
        let around = Surroundings {
            starts: self.starts.iter().map(|(_, start)| start.clone()).collect(),
            ..Surroundings::default()
        };
        let (candidates, budget) = (&candidates[..], &self.budget);
        let decision = decide(&Case { state, now: past.at, candidates, around: &around, budget });
        let rule = decision.of.and_then(|at| of.get(at).copied());
        if let (crate::triage::Verdict::Started, Some(rule), Some(incident)) =
            (decision.verdict, rule, past.incident)
            && self.done.insert((incident, rule))
        {
            self.starts.push((past.at, Start { rule: rule.clone(), targets: past.targets.clone() }));
        }
        Would { verdict: decision.verdict.word().into(), rule: rule.map(Rule::to_string) }
    }

    fn thinks(&mut self, edited: &Edited<'a>, signal: &Signal) -> Result<bool, String> {
        let key = (edited.rule, edited.trigger.looks_at(signal).to_string());
        if let Some(thought) = self.thought.get(&key) {
            return thought.clone();
        }
        let thought = edited.trigger.matches(signal, self.inventory).map_err(|e| e.to_string());
        if self.thought.len() >= REMEMBERED {
            self.thought.clear();
        }
        self.thought.insert(key, thought.clone());
        thought
    }

    /// How things stood for a rule; nobody knows, where it did not take the signal.
    fn stood(&self, past: &Past, edited: &Edited<'a>) -> Option<Standing> {
        let name = edited.rule.to_string();
        let considered = past.considered.as_array().into_iter().flatten();
        let then = considered.into_iter().find(|one| one["rule"] == name.as_str())?;
        let says = then["says"].as_str().unwrap_or_default().to_owned();
        let run = || Run { id: Uuid::nil(), title: says.clone(), by: String::new() };
        if past.incident.is_some_and(|incident| self.done.contains(&(incident, edited.rule))) {
            return Some(Standing::Running(run()));
        }
        Some(match then["standing"].as_str()? {
            "unfit" => Standing::Unfit(says),
            "running" => Standing::Running(run()),
            "acted" => Standing::Acted(run(), "ended".into()),
            "resting" => Standing::Resting(run(), past.at),
            "blind" => Standing::Blind(says),
            word @ ("refuted" | "barred") => {
                let (step, message) = says.split_once(": ").unwrap_or(("", &says));
                let (step, message) = (step.to_owned(), message.to_owned());
                match word {
                    "barred" => Standing::Barred { step, message },
                    _ => Standing::Refuted { step, message },
                }
            }
            "fits" => Standing::Fits { title: says, targets: past.targets.clone(), typed: edited.typed },
            // A brake was on: which one is not kept, and none of them is the rule's own.
            "held" => Standing::Blind(says),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
