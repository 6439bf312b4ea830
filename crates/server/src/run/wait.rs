//! What a step waits for, and how far that is: the condition beside the values that it names, as they were seen last.

use std::collections::BTreeMap;

use domain::run::{Node, State, StepPath};
use domain::runbook::{Scope, Slot, Until};
use serde_json::Value;

use crate::words;

/// A wait that goes on.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) condition: String,
    /// How long it must hold without a break.
    pub(crate) hold: Option<String>,
    /// It gives up then.
    pub(crate) most: String,
    /// What the condition names, by the names that it has there.
    pub(crate) named: Vec<(String, String)>,
    /// What else was seen.
    pub(crate) rest: Vec<(String, String)>,
}

impl Wait {
    pub(super) fn of(until: &Until, state: &State, path: &StepPath, node: &Node) -> Self {
        let span = |d: std::time::Duration| words::span(chrono::TimeDelta::from_std(d).unwrap_or_default());
        let out = node.seen.as_deref();
        let scope = Scope {
            out: out.cloned(),
            steps: steps_before(state, path),
            item: item(state, path),
            ..Scope::default()
        };
        // Before the first look, what it is to be measured against tells nothing.
        let facts = out.map(|_| until.condition.facts(&scope)).unwrap_or_default();
        let is_named = |field: &str| {
            let path = format!("out.{field}");
            facts.keys().any(|name| name.strip_prefix(&path).is_some_and(|rest| !is_word(rest)))
        };
        let rest = match out {
            _ if facts.contains_key("out") => Vec::new(),
            Some(Value::Object(seen)) => {
                let unnamed = seen.iter().filter(|(key, _)| !is_named(key));
                words::facts(&Value::Object(
                    unnamed.map(|(key, value)| (key.clone(), value.clone())).collect(),
                ))
            }
            seen => seen.map(words::facts).unwrap_or_default(),
        };
        Self {
            condition: until.condition.source().to_owned(),
            hold: until.hold.map(span),
            most: span(until.timeout),
            named: facts.into_iter().map(|(name, value)| (name, words::brief(&value))).collect(),
            rest,
        }
    }

    /// In one line, for programs.
    pub(super) fn line(&self) -> String {
        let hold =
            self.hold.as_ref().map_or_else(String::new, |hold| format!(", for {hold} without a break"));
        format!("{}{hold}; at most {}", self.condition, self.most)
    }
}

/// Does a name go on here?
fn is_word(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// What the steps before one gave, as expressions see it there. Of a step of another runbook, nothing: what has the same name
/// outside is something else.
fn steps_before(state: &State, path: &StepPath) -> BTreeMap<String, Slot> {
    if path.around().any(|around| state.node(&StepPath::from(around)).is_some_and(|n| n.child.is_some())) {
        return BTreeMap::new();
    }
    // The outermost first, so that what stands nearer goes over it.
    let mut around = vec![String::new()];
    around.extend(path.as_str().match_indices("].").map(|(at, _)| path.as_str()[..at + 2].to_owned()));
    let mut steps = BTreeMap::new();
    for prefix in around {
        for (at, node) in state.nodes().filter(|(_, node)| node.status.is_over()) {
            let id = at.as_str().strip_prefix(&prefix).filter(|id| !id.contains(['.', '[', ':']));
            if let Some(id) = id {
                steps.insert(id.to_owned(), Slot::Known(node.output.clone()));
            }
        }
    }
    steps
}

/// The innermost item around a step, or that it is itself.
fn item(state: &State, path: &StepPath) -> Option<Value> {
    let (each, rest) = path.as_str().rsplit_once('[')?;
    let key = rest.split(']').next()?;
    let items = state.node(&StepPath::from(each))?.items.as_ref()?;
    items.iter().find(|item| item.key == key).map(|item| item.value.clone())
}
