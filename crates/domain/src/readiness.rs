//! Readiness: what would refuse tonight is known this afternoon.
//!
//! A rehearsal plans a runbook on a target, as if it were needed: what looks really looks, so a missing permission, a cluster without a
//! reader, a class that cannot be ordered, a group without room or with suspended processes, or a probe without its password comes to
//! light. In peace most runbooks would rightly refuse: nothing is broken. The guards that ask this say so themselves (`need: true`), and
//! a rehearsal notes what they say and goes on.
//!
//! What it cannot show: whether AWS would let the changes through. Nothing is changed, so nobody is asked; `firebreak runbook
//! permissions` tells which rights they take.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::inventory::Inventory;
use crate::run::StepPath;
use crate::runbook::{InputType, Runbook};

/// A runbook on a target, with all else left at its default.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Case {
    /// Name of the runbook.
    pub runbook: String,
    /// What it is about, in the names of locks: `cluster:shard-b`; empty when it is about nothing in particular.
    pub target: String,
    /// The target, as the input that names it.
    pub inputs: Map<String, Value>,
    /// Inputs that only a person can say: such a case is not rehearsed.
    pub asks: Vec<String>,
}

/// What a rehearsal shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It could do its work.
    Ready {
        /// Why it is not needed now, in the words of the guards that ask.
        unneeded: Vec<String>,
    },
    /// It would stop.
    Stops {
        /// Where.
        step: StepPath,
        /// Why.
        message: String,
    },
}

/// A runbook on each target of the inventory that it may be about: on those that its first required input names.
pub fn cases(runbook: &Runbook, inventory: &Inventory) -> Vec<Case> {
    let required: Vec<_> = runbook.inputs.iter().filter(|i| !i.optional && i.default.is_none()).collect();
    let about = required.iter().find_map(|input| {
        let (kind, ids): (_, Vec<&str>) = match input.kind {
            InputType::Cluster => ("cluster", inventory.clusters.iter().map(|c| c.id.as_str()).collect()),
            InputType::ProxyFleet => ("fleet", inventory.fleets.iter().map(|f| f.id.as_str()).collect()),
            _ => return None,
        };
        Some((input.name.as_str(), kind, ids))
    });
    let asks = |target: Option<&str>| {
        required.iter().map(|i| &i.name).filter(|name| Some(name.as_str()) != target).cloned().collect()
    };
    let case = |target: String, inputs, asks| Case { runbook: runbook.name.clone(), target, inputs, asks };
    match about {
        None => vec![case(String::new(), Map::new(), asks(None))],
        Some((name, kind, ids)) => ids
            .into_iter()
            .map(|id| {
                let inputs = Map::from_iter([(name.to_owned(), Value::from(id))]);
                case(format!("{kind}:{id}"), inputs, asks(Some(name)))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_runbook_is_rehearsed_on_each_target_and_not_where_a_person_must_say_more() {
        let inventory: Inventory = serde_json::from_value(json!({ "clusters": [
            { "id": "a", "region": "eu-west-1", "endpoint": "a", "probe": { "user": "u", "password": { "env": "P" } } },
            { "id": "b", "region": "eu-west-1", "endpoint": "b", "probe": { "user": "u", "password": { "env": "P" } } },
        ] }))
        .unwrap();
        let told = |inputs: &str| {
            let text = format!(
                "runbook: x\ntitle: X\nwhen: Y\nrisk: low\ninputs:\n{inputs}\nsteps:\n  - {{ id: s, value: 1 }}\n"
            );
            let runbook = crate::runbook::parse("x.yaml", &text).unwrap();
            cases(&runbook, &inventory).into_iter().map(|c| (c.target, c.asks)).collect::<Vec<_>>()
        };
        let cluster = "  cluster: { type: cluster, description: C }";
        let both = |asks: &[&str]| {
            ["cluster:a", "cluster:b"]
                .map(|t| (t.to_owned(), asks.iter().map(|&a| a.to_owned()).collect()))
                .to_vec()
        };
        assert_eq!(
            told(&format!("{cluster}\n  n: {{ type: integer, default: 1, description: N }}")),
            both(&[])
        );
        assert_eq!(
            told(&format!("{cluster}\n  class: {{ type: string, description: D }}")),
            both(&["class"])
        );
        assert_eq!(told("  n: { type: integer, optional: true, description: N }"), [(String::new(), vec![])]);
    }
}
