//! Who may start a runbook, and who may agree to it: less than their roles allow, where the configuration says so.
//!
//! ```yaml
//! policies:
//!   failover-cluster: { start: { groups: [dba] }, approve: { role: approver, groups: [dba-leads], people: [ana] } }
//! ```
//!
//! A policy takes away and never gives: what a role does not allow, no policy does. It stands in the configuration and not in the
//! runbook, because groups are an organisation's, and whoever edits a runbook must not be able to let themselves in.
//!
//! Whoever may start a run may also make it go on: resume, retry, skip, accept another plan. To pause and to abort takes nothing but
//! the role, as to break the glass: what stops must stay easy. A runbook that runs another one is narrowed by the policies of both.
//! Triggers are no persons: how far they go, their modes say, and what they offer is started by a person, who is asked here.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::run::{Ask, State};
use crate::{Actor, Role};

/// The policies of runbooks, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Policies(pub BTreeMap<String, Policy>);

/// What is narrowed about one runbook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Who may start it, and make its runs go on; whom their role lets, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Who>,
    /// Whose voice counts in its approvals; whom it asks for, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Who>,
}

/// Some of all people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// At least this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Whoever is in one of these groups …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// … or is one of these. Where neither is given, everybody of that role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
}

/// What somebody is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Start a run.
    Start,
    /// Make one go on.
    Steer,
    /// Agree to one, or not.
    Approve,
}

/// They are none of those who may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("to {verb} `{runbook}` takes {who}; the policy of this place says so, and you are {is}")]
pub struct Narrowed {
    verb: &'static str,
    runbook: String,
    /// Who may.
    who: Who,
    is: String,
}

impl Door {
    /// The door that a wish goes through; none for what stops, or breaks the glass.
    pub fn of(ask: &Ask) -> Option<Self> {
        match ask {
            Ask::Approve { .. } | Ask::Reject { .. } => Some(Self::Approve),
            Ask::Resume
            | Ask::Retry { .. }
            | Ask::Skip { .. }
            | Ask::MarkDone { .. }
            | Ask::AcceptPlan { .. }
            | Ask::BeginDespite { .. }
            | Ask::DidNotHappen { .. } => Some(Self::Steer),
            Ask::Pause { .. } | Ask::StopLooking { .. } | Ask::Abort { .. } | Ask::BreakGlass { .. } => None,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Steer => "make a run go on of",
            Self::Approve => "decide about a run of",
        }
    }
}

impl Who {
    /// Is it one of them?
    pub fn has(&self, by: &Actor) -> bool {
        let anybody = self.groups.is_empty() && self.people.is_empty();
        self.role.is_none_or(|role| by.role() >= role)
            && (anybody
                || self.people.iter().any(|name| name == by.name())
                || self.groups.iter().any(|group| by.groups().contains(group)))
    }
}

impl Policies {
    /// May they, on all of these runbooks?
    pub fn let_through<'a>(
        &self,
        runbooks: impl IntoIterator<Item = &'a str>,
        door: Door,
        by: &Actor,
    ) -> Result<(), Narrowed> {
        if !by.is_person() {
            return Ok(());
        }
        for name in runbooks {
            let Some(policy) = self.0.get(name) else { continue };
            let who = match door {
                Door::Start | Door::Steer => &policy.start,
                Door::Approve => &policy.approve,
            };
            if let Some(who) = who.as_ref().filter(|who| !who.has(by)) {
                let is = match by.groups() {
                    [] => format!("{}, {}, in no group that is known here", by.name(), by.role().one()),
                    groups => format!("{}, {}, of {}", by.name(), by.role().one(), groups.join(", ")),
                };
                return Err(Narrowed { verb: door.verb(), runbook: name.to_owned(), who: who.clone(), is });
            }
        }
        Ok(())
    }

    /// May they ask this of a run?
    pub fn asked(&self, state: &State, by: &Actor, ask: &Ask) -> Result<(), Narrowed> {
        let Some(door) = Door::of(ask) else { return Ok(()) };
        let runbooks = std::iter::once(state.runbook()).chain(state.children().keys().map(String::as_str));
        self.let_through(runbooks, door, by)
    }

    /// What is narrowed about one, if anything is.
    pub fn of(&self, runbook: &str) -> Option<&Policy> {
        self.0.get(runbook)
    }

    /// What makes no sense, each in a sentence. A list that lets nobody through must not be taken for one that lets everybody.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        for (name, policy) in &self.0 {
            if *policy == Policy::default() {
                mistakes.push(format!(
                    "policies.{name} narrows nothing: write `start` or `approve`, or leave it out"
                ));
            }
            for (key, who) in [("start", &policy.start), ("approve", &policy.approve)] {
                let at = format!("policies.{name}.{key}");
                match who {
                    Some(who) if *who == Who::default() => {
                        mistakes.push(format!(
                            "{at} names nobody: write `role`, `groups` or `people`, or leave it out"
                        ));
                    }
                    Some(who) if who.groups.iter().chain(&who.people).any(|word| word.trim().is_empty()) => {
                        mistakes.push(format!("{at} has an empty name; write the group's or the person's"));
                    }
                    _ => {}
                }
            }
        }
        mistakes
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.map_or("somebody", Role::one))?;
        let groups = match self.groups.as_slice() {
            [] => None,
            [one] => Some(format!("of the group {one}")),
            many => Some(format!("of one of the groups {}", many.join(", "))),
        };
        let people = Some(self.people.join(", ")).filter(|names| !names.is_empty());
        match (groups, people) {
            (None, None) => Ok(()),
            (Some(groups), None) => write!(f, " {groups}"),
            (None, Some(people)) => write!(f, " among {people}"),
            (Some(groups), Some(people)) => write!(f, " {groups}, or among {people}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies() -> Policies {
        let who = |role, groups: &[&str], people: &[&str]| Who {
            role,
            groups: groups.iter().map(|&g| g.to_owned()).collect(),
            people: people.iter().map(|&p| p.to_owned()).collect(),
        };
        let failover = Policy {
            start: Some(who(None, &["dba"], &["ana"])),
            approve: Some(who(Some(Role::Admin), &[], &[])),
        };
        Policies([("failover".to_owned(), failover)].into())
    }

    fn person(name: &str, role: Role, groups: &[&str]) -> Actor {
        Actor::with_role(name, role).in_groups(groups.iter().map(|&g| g.to_owned()).collect())
    }

    #[test]
    fn who_is_named_or_in_a_group_passes_and_nobody_else() {
        let policies = policies();
        let starts = |by: &Actor| policies.let_through(["failover"], Door::Start, by).is_ok();
        assert!(starts(&person("ana", Role::Responder, &[])));
        assert!(starts(&person("bob", Role::Responder, &["web", "dba"])));
        assert!(!starts(&person("bob", Role::Admin, &["web"])), "a role is no group");
        assert!(starts(&Actor::system("trigger")), "rules are governed by their modes");
        let refused = policies.let_through(
            ["other", "failover"],
            Door::Start,
            &person("bob", Role::Responder, &["web"]),
        );
        assert_eq!(
            refused.unwrap_err().to_string(),
            "to start `failover` takes somebody of the group dba, or among ana; the policy of this place says so, \
             and you are bob, a responder, of web"
        );
        assert!(
            policies.let_through(["failover"], Door::Approve, &person("a", Role::Approver, &[])).is_err()
        );
        assert!(policies.let_through(["failover"], Door::Approve, &person("a", Role::Admin, &[])).is_ok());
        assert!(policies.let_through(["other"], Door::Start, &person("bob", Role::Viewer, &[])).is_ok());
    }

    #[test]
    fn what_goes_on_is_narrowed_and_what_stops_is_not() {
        let reason = String::from("why");
        assert_eq!(Door::of(&Ask::Resume), Some(Door::Steer));
        assert_eq!(Door::of(&Ask::Reject { step: None, reason: reason.clone() }), Some(Door::Approve));
        assert_eq!(Door::of(&Ask::Pause { reason: None }), None);
        assert_eq!(Door::of(&Ask::BreakGlass { step: None, reason, plan_hash: None }), None);
    }

    #[test]
    fn a_policy_that_names_nobody_is_a_mistake() {
        assert!(policies().mistakes().is_empty());
        let empty = Policy { start: Some(Who::default()), approve: None };
        let blank = Policy { start: None, approve: Some(Who { groups: vec![" ".into()], ..Who::default() }) };
        let wrong =
            Policies([("a".into(), empty), ("b".into(), Policy::default()), ("c".into(), blank)].into());
        assert_eq!(wrong.mistakes().len(), 3, "{:?}", wrong.mistakes());
    }
}
