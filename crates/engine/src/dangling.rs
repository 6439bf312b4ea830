//! Names in the configuration that nothing on the shelf bears (any more): a trigger that was renamed in its file, a runbook that
//! is gone.
//!
//! None of them is a reason not to serve: whoever edits a runbook would then keep every replica from starting, in an incident as
//! likely as not. So they are told, wherever people look at runbooks. A trigger that is not there starts nothing, and a policy
//! keeps narrowing what bears its name.

use std::collections::BTreeMap;
use std::fmt;

use domain::policy::Policies;
use domain::runbook::{Mode, suggest};
use serde::Serialize;

use crate::{Engine, Library};

/// One such name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dangling {
    /// Where it stands in the configuration.
    pub key: &'static str,
    /// The name.
    pub name: String,
    /// What that means, and what to do.
    pub why: String,
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: {}", self.key, self.name, self.why)
    }
}

impl Library {
    /// Of the triggers and policies of a configuration, those that are not there.
    pub fn dangling(&self, modes: &BTreeMap<String, Mode>, policies: &Policies) -> Vec<Dangling> {
        let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        let triggers = modes.keys().filter_map(|name| {
            Some(Dangling { key: "triggers", name: name.clone(), why: self.lacks(name)? })
        });
        let policies = policies.0.keys().filter(|name| self.get(name).is_none()).map(|name| {
            let near = suggest(name, names.iter().copied()).unwrap_or_else(|| "correct its name".into());
            let why = format!("there is no such runbook, so that nothing is narrowed; {near}");
            Dangling { key: "policies", name: name.clone(), why }
        });
        triggers.chain(policies).collect()
    }

    /// Why there is no trigger of this name; none, if there is.
    fn lacks(&self, rule: &str) -> Option<String> {
        let (runbook, trigger) = rule.split_once('/').unwrap_or((rule, ""));
        let of = |name: &str| self.runbook(name).map(|runbook| runbook.triggers.clone()).unwrap_or_default();
        if of(runbook).iter().any(|known| known.name == trigger) {
            return None;
        }
        if self.get(runbook).is_some_and(|shelf| shelf.runbook.is_err()) {
            return Some("its runbook has mistakes, and no trigger until they are corrected".into());
        }
        let known: Vec<String> = self
            .runbooks()
            .flat_map(|r| r.triggers.iter().map(|t| format!("{}/{}", r.name, t.name)).collect::<Vec<_>>())
            .collect();
        let near = suggest(rule, known.iter().map(String::as_str));
        let near = near.unwrap_or_else(|| match known.as_slice() {
            [] => "no runbook has one".into(),
            known => format!("there are: {}", known.join(", ")),
        });
        Some(format!("there is no such trigger, so that no mode is set by this; {near}"))
    }
}

impl Engine {
    /// Names in its configuration that nothing on the shelf bears now.
    pub fn dangling(&self) -> Vec<Dangling> {
        let settings = &self.core.settings;
        self.library().dangling(&settings.triage.modes, &settings.policies)
    }
}
