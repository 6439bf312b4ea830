//! What a run would do, told before it does it.
//!
//! A plan is made by the very steps of the runbook: what looks really looks, what changes says what it would change. What
//! only exists later is said to be "known after" the step that makes it, never guessed. Its hash covers the runbook's
//! text, the inputs and every change with the facts it rests on.

mod compare;
mod confirm;
mod drift;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::Timestamp;
use crate::action::{ForeignWork, ObjectChange};
use crate::brake::Brake;
use crate::forecast::Forecast;
use crate::run::StepPath;
use crate::runbook::Risk;

pub use compare::{Comparison, Deviation, DeviationKind, Made, compare, made};
pub use confirm::{is_typed, to_type};
pub use drift::{Difference, differences};

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// Name of the runbook.
    pub runbook: String,
    /// Hash of its text.
    pub runbook_hash: String,
    /// The runbooks that it runs, directly or through others: the hash of each one's text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub children: BTreeMap<String, String>,
    /// What it does to what.
    pub title: String,
    /// How dangerous it is.
    pub risk: Risk,
    /// What will be felt.
    pub impact: Option<String>,
    /// Inputs in stored form.
    pub inputs: Map<String, Value>,
    /// Lock names, each with who holds it now.
    pub locks: Vec<PlannedLock>,
    /// What holds a start back now.
    #[serde(default)]
    pub brakes: Vec<Brake>,
    /// Work of the services themselves that is under way on what it would touch.
    #[serde(default)]
    pub foreign: Vec<ForeignWork>,
    /// Step by step.
    pub steps: Vec<PlannedStep>,
    /// Would it run?
    pub verdict: Verdict,
    /// Share of all customers on the clusters that it reaches, 0 to 100.
    pub customers_percent: f64,
    /// How long it takes, as far as past runs tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// When it was made.
    pub at: Timestamp,
    /// Stands for all of it but the time and the forecast: the same hash, the same plan.
    pub hash: String,
}

/// A lock that the run would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedLock {
    /// Its name.
    pub target: String,
    /// The run that holds it now.
    pub held_by: Option<String>,
}

/// Would the run go through, as far as can be told now?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing speaks against it.
    Ready,
    /// It would stop at this step.
    Stops {
        /// Where.
        step: StepPath,
        /// Why.
        message: String,
    },
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedStep {
    /// The step.
    pub path: StepPath,
    /// What it does.
    pub title: String,
    /// The action, if it is one.
    pub action: Option<String>,
    /// Cannot be taken back.
    pub one_way: bool,
    /// Is taken back when the run ends, however it ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_back: bool,
    /// Can be taken back by whoever aborts the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undoable: bool,
    /// What would come of it.
    pub outcome: PlannedOutcome,
}

/// What would come of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PlannedOutcome {
    /// It looked, just now.
    Looked,
    /// The guard holds, with the values it saw.
    Holds {
        /// By path.
        facts: Map<String, Value>,
    },
    /// The run would stop here.
    Stops {
        /// Why.
        message: String,
        /// What the guard saw.
        facts: Map<String, Value>,
    },
    /// Worked out from what is known.
    Value,
    /// Left out.
    Skipped {
        /// Why.
        why: String,
    },
    /// Objects before and after.
    Changes {
        /// Each.
        changes: Vec<ObjectChange>,
    },
    /// It is so already; nothing would be called.
    AlreadySo,
    /// Can only be told once another step is done.
    KnownAfter {
        /// Which.
        step: String,
    },
    /// Would wait for this, once the steps before it are done.
    Waits {
        /// The condition.
        until: String,
        /// At most this many seconds.
        timeout_s: u64,
    },
    /// Runs another runbook, whose steps follow.
    Runs {
        /// Which.
        runbook: String,
        /// With these inputs, in stored form.
        inputs: Map<String, Value>,
    },
    /// Lets time pass.
    LetsPass {
        /// So many seconds.
        seconds: u64,
    },
}

impl PlannedStep {
    /// The objects that it would change, as far as that can be told now.
    pub fn changes(&self) -> &[ObjectChange] {
        match &self.outcome {
            PlannedOutcome::Changes { changes } => changes,
            _ => &[],
        }
    }

    /// Whether and how its change is taken back, in the words that pages, terminal and chat share. Nothing where it changes
    /// nothing now or later, or its runbook does not say.
    pub fn way_back(&self) -> Option<&'static str> {
        match self.outcome {
            PlannedOutcome::Changes { .. } | PlannedOutcome::KnownAfter { .. } => {}
            _ => return None,
        }
        match self {
            Self { one_way: true, .. } => Some("No way back"),
            Self { taken_back: true, .. } => Some("Taken back at the end"),
            Self { undoable: true, .. } => Some("Can be taken back"),
            _ => None,
        }
    }
}

impl PlannedOutcome {
    /// What of it makes a plan another plan. A run that stops at a step stops there, with whatever numbers its guard saw
    /// this time: a share of failing logins is never the same twice. Nor are the words of a failure that the run goes on
    /// despite; what is left out by its own `if` says so in the runbook's words.
    #[must_use]
    pub fn essence(&self) -> Self {
        match self {
            Self::Skipped { why } if !why.starts_with("`if: ") => Self::Skipped { why: String::new() },
            other => other.essence_with_reasons(),
        }
    }

    /// As it was until the words of a failure that the run goes on despite counted no more.
    fn essence_with_reasons(&self) -> Self {
        match self {
            Self::Stops { .. } => Self::Stops { message: String::new(), facts: Map::new() },
            same => same.clone(),
        }
    }
}

impl Plan {
    /// It would go through, and something keeps it from being started: a brake, or work of the services themselves.
    pub fn is_held_back(&self) -> bool {
        self.verdict == Verdict::Ready && !(self.brakes.is_empty() && self.foreign.is_empty())
    }

    /// Who has taken this target by hand, if somebody has.
    pub fn taken_by_hand(&self, target: &str) -> Option<&str> {
        self.brakes.iter().find_map(|brake| match brake {
            Brake::HandLock(lock) if lock.target == target => Some(lock.holder.as_str()),
            _ => None,
        })
    }

    /// The guard that stops it, and what it says; nothing where it goes through, or where what stops it is no guard.
    pub fn refusing_guard(&self) -> Option<(&PlannedStep, &str)> {
        let stops = self.steps.iter().find_map(|step| match &step.outcome {
            PlannedOutcome::Stops { message, .. } => Some((step, message.as_str())),
            _ => None,
        });
        stops.filter(|(step, _)| step.action.is_none())
    }

    /// A lock is held: then it may stand in line. Also when a guard does not hold, which may well be because of what the holder
    /// does just now (a group in motion): its plan is made anew when its turn comes. If that is another one people are asked, and where
    /// a guard refuses it the run ends (`run::gate`).
    pub fn lacks_a_lock(&self) -> bool {
        self.locks.iter().any(|lock| lock.held_by.is_some())
            && !self.brakes.iter().any(|brake| matches!(brake, Brake::KillSwitch(_)))
    }

    /// The hash of what is material: text, inputs, what is left out, refused or changed, and to what. It does not depend on the
    /// order of keys: a plan that was kept in the database comes back with another one.
    pub fn digest(&self) -> String {
        self.digest_by(PlannedOutcome::essence)
    }

    /// Does this hash stand for it? Also by the ways in which earlier versions took it: what was agreed to then stays what was
    /// agreed to.
    pub fn is_known_by(&self, hash: &str) -> bool {
        self.digest() == hash || self.digest_by(PlannedOutcome::essence_with_reasons) == hash
    }

    fn digest_by(&self, essence: fn(&PlannedOutcome) -> PlannedOutcome) -> String {
        // That a step is taken back, or can be, stands in the text, whose hash is in it as well.
        let essence = |step: &PlannedStep| PlannedStep {
            outcome: essence(&step.outcome),
            taken_back: false,
            undoable: false,
            ..step.clone()
        };
        let material: Vec<_> = self.material().map(essence).collect();
        let mut text = sorted(serde_json::json!([self.runbook_hash, self.inputs, material])).to_string();
        if !self.children.is_empty() {
            text.push_str(&sorted(serde_json::json!(self.children)).to_string());
        }
        hex::encode(Sha256::digest(text))
    }

    /// The steps that the hash stands for.
    pub fn material(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|s| {
            matches!(
                s.outcome,
                PlannedOutcome::Changes { .. }
                    | PlannedOutcome::AlreadySo
                    | PlannedOutcome::Stops { .. }
                    | PlannedOutcome::Skipped { .. }
                    | PlannedOutcome::Runs { .. }
            )
        })
    }

    /// All objects that would change.
    pub fn changes(&self) -> impl Iterator<Item = &ObjectChange> {
        self.steps.iter().flat_map(PlannedStep::changes)
    }
}

/// The same with the keys of every object in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.into_iter().collect()
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_known_by_the_hash_that_an_earlier_version_took_of_it() {
        let skipped = |why: &str| PlannedOutcome::Skipped { why: why.into() };
        let mut plan: Plan = serde_json::from_value(serde_json::json!({
            "runbook": "r", "runbook_hash": "h", "title": "T", "risk": "low", "impact": null, "inputs": {}, "locks": [],
            "steps": [{ "path": "s", "title": "S", "action": null, "one_way": false, "outcome": skipped("no answer on 10.0.0.1") }],
            "verdict": { "verdict": "ready" }, "customers_percent": 0.0, "at": "2024-05-07T14:42:00Z", "hash": "",
        }))
        .unwrap();
        let (now, then) = (plan.digest(), plan.digest_by(PlannedOutcome::essence_with_reasons));
        assert!(now != then && plan.is_known_by(&now) && plan.is_known_by(&then) && !plan.is_known_by(""));
        // Other words of the same failure are the same plan; another condition of the runbook's is another one.
        plan.steps[0].outcome = skipped("no answer on 10.0.0.2");
        assert_eq!(plan.digest(), now);
        plan.steps[0].outcome = skipped("`if: 1 > 2` is false");
        assert_ne!(plan.digest(), now);
    }

    #[test]
    fn that_a_step_can_be_taken_back_does_not_make_it_another_plan() {
        let mut plan: Plan = serde_json::from_value(serde_json::json!({
            "runbook": "r", "runbook_hash": "h", "title": "T", "risk": "low", "impact": null, "inputs": {}, "locks": [],
            "steps": [{ "path": "s", "title": "S", "action": "a.b", "one_way": false, "outcome": PlannedOutcome::AlreadySo }],
            "verdict": { "verdict": "ready" }, "customers_percent": 0.0, "at": "2024-05-07T14:42:00Z", "hash": "",
        }))
        .unwrap();
        let as_kept = plan.digest();
        plan.steps[0].undoable = true;
        assert!(plan.is_known_by(&as_kept), "plans of earlier versions do not say it");
    }

    #[test]
    fn keys_in_any_order_are_the_same_material() {
        let one: Value =
            serde_json::from_str(r#"{ "b": [{ "d": 1, "c": 2 }], "a": null }"#).unwrap_or_default();
        let other: Value =
            serde_json::from_str(r#"{ "a": null, "b": [{ "c": 2, "d": 1 }] }"#).unwrap_or_default();
        assert_eq!(sorted(one).to_string(), sorted(other.clone()).to_string());
        assert_eq!(sorted(other).to_string(), r#"{"a":null,"b":[{"c":2,"d":1}]}"#);
    }
}
