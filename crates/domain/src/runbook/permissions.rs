//! The least that Firebreak must be allowed in AWS for a runbook: an IAM policy.
//!
//! ```text
//!  steps, children, what takes them back ──▶ actions ──▶ IAM actions (each `Spec` declares its own)
//!                                             inventory ──▶ ARNs ──┴──▶ one statement per service and kind of resource
//! ```
//!
//! A policy names what the inventory has, so that not even a mistake of ours reaches anything else. Where AWS knows no
//! resource for an action, or the inventory cannot know it, the statement is wider, and a note says so.
//!
//! Where the inventory names accounts, each of their two roles has a policy of its own, and Firebreak's own identity may assume them.
//!
//! Deliberately absent: conditions on parameters of a call (IAM has hardly any for these actions; the actions themselves
//! never build them), and roles: who may assume this one is for the account's owner to say.

mod resource;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::resource::{Arns, Resource};
use super::{Body, Children, Each, EachBody, Runbook, Step, Use};
use crate::action::Registry;
use crate::inventory::{Account, Inventory};

/// An IAM policy, in AWS's grammar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    /// Its statements, those that only look first.
    pub statement: Vec<Statement>,
}

/// A statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    /// Its name, unique in the policy.
    pub sid: String,
    effect: &'static str,
    /// What is allowed.
    pub action: Vec<String>,
    /// On what.
    pub resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Condition {
    string_equals: BTreeMap<&'static str, Vec<String>>,
}

/// A policy, and what is to be known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// The policy.
    pub policy: Policy,
    /// Where it is wider than it could be, and what makes it narrower.
    pub notes: Vec<String>,
}

/// An IAM action whose resources nobody has looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is not known on which resources AWS authorizes `{0}`; look it up in the Service Authorization Reference, and add \
     it to domain::runbook::permissions"
)]
pub struct UnknownPermission(pub String);

/// The IAM actions of a runbook and of all that it runs: of its steps, of what takes them back, and of its final check.
pub fn needed(runbook: &Runbook, children: &Children, registry: &Registry) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for runbook in std::iter::once(runbook).chain(children.values().map(AsRef::as_ref)) {
        of_steps(&runbook.steps, registry, &mut found);
        if let Some(verify) = &runbook.verify {
            found.extend(of_action(&verify.look.action, registry));
        }
    }
    found
}

/// The IAM actions that an action declares.
pub fn of_action(name: &str, registry: &Registry) -> &'static [&'static str] {
    registry.get(name).map_or(&[], |action| action.spec().permissions)
}

fn of_steps(steps: &[Step], registry: &Registry, found: &mut BTreeSet<&'static str>) {
    for step in steps {
        if let Body::Use(call) = &step.body {
            of_call(call, step.undo, registry, found);
        }
        if let Body::Each(Each { body: EachBody::One(call), .. }) = &step.body {
            of_call(call, step.undo, registry, found);
        }
        for (_, inner) in step.inside() {
            of_steps(inner, registry, found);
        }
    }
}

fn of_call(call: &Use, undo: bool, registry: &Registry, found: &mut BTreeSet<&'static str>) {
    found.extend(of_action(&call.action, registry));
    let undone_by = registry.get(&call.action).and_then(|action| action.spec().undone_by);
    if let Some(undoing) = undone_by.filter(|_| undo) {
        found.extend(of_action(undoing, registry));
    }
}

/// The policies of the roles of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolePolicies {
    /// The account, by its name in the inventory.
    pub account: String,
    /// Of the role that looks.
    pub observe: Permissions,
    /// Of the role that changes something.
    pub act: Permissions,
}

/// What Firebreak's own identity needs where the inventory names accounts: to assume their roles, and nothing else.
pub fn assuming(inventory: &Inventory) -> Policy {
    let roles = inventory.accounts.iter().flat_map(|a| [a.observe.arn.clone(), a.act.arn.clone()]);
    let statement = Statement {
        sid: "AssumeRoles".into(),
        effect: "Allow",
        action: vec!["sts:AssumeRole".into()],
        resource: roles.collect::<BTreeSet<_>>().into_iter().collect(),
        condition: None,
    };
    Policy { version: "2012-10-17", statement: vec![statement] }
}

/// The policies of each account's roles: what looks is for the one, what changes for the other.
pub fn of_roles(
    actions: &BTreeSet<&str>,
    inventory: &Inventory,
) -> Result<Vec<RolePolicies>, UnknownPermission> {
    let (changes, looks): (Vec<&str>, Vec<&str>) = actions.iter().partition(|action| changes(action));
    let of_account = |account: &Account| {
        let here = inventory.of_account(account);
        Ok(RolePolicies {
            account: account.id.clone(),
            observe: policy(looks.iter().copied(), Some(&here))?,
            act: policy(changes.iter().copied(), Some(&here))?,
        })
    };
    inventory.accounts.iter().map(of_account).collect()
}

/// Does an IAM action change something?
fn changes(action: &str) -> bool {
    let operation = action.split_once(':').map_or("", |(_, operation)| operation);
    !["Describe", "Get", "List"].iter().any(|looks| operation.starts_with(looks))
}

/// The policy that allows these IAM actions on what the inventory has; on everything, where there is no inventory.
pub fn policy<'a>(
    actions: impl IntoIterator<Item = &'a str>,
    inventory: Option<&Inventory>,
) -> Result<Permissions, UnknownPermission> {
    let mut grouped: BTreeMap<(bool, String, Resource), Vec<&str>> = BTreeMap::new();
    for action in actions {
        let resource = Resource::of(action).ok_or_else(|| UnknownPermission(action.to_owned()))?;
        let service = action.split_once(':').map_or(action, |(service, _)| service);
        grouped.entry((changes(action), service.to_owned(), resource)).or_default().push(action);
    }
    let arns = Arns::new(inventory);
    let mut notes = Vec::new();
    let mut statements = Vec::new();
    for ((changes, service, resource), mut actions) in grouped {
        actions.sort_unstable();
        actions.dedup();
        let resources = arns.of(resource);
        if resources.is_empty() {
            notes.push(format!(
                "the inventory has nothing that {} could be allowed on, so they are left out",
                actions.join(", ")
            ));
            continue;
        }
        if resource == Resource::Instances {
            notes.push(format!(
                "{} is allowed on every DB instance of the region: the inventory does not name the instances of its clusters",
                actions.join(", ")
            ));
        }
        let regions = arns.regions().filter(|_| resource == Resource::Any);
        statements.push(Statement {
            sid: format!("{}{}{}", if changes { "Change" } else { "Look" }, camel(&service), resource.name()),
            effect: "Allow",
            action: actions.into_iter().map(str::to_owned).collect(),
            resource: resources,
            condition: regions.map(|regions| Condition {
                string_equals: BTreeMap::from([("aws:RequestedRegion", regions)]),
            }),
        });
    }
    notes.extend(arns.note());
    Ok(Permissions { policy: Policy { version: "2012-10-17", statement: statements }, notes })
}

/// A service's name as a part of a `Sid`, which has letters and digits only.
fn camel(service: &str) -> &str {
    match service {
        "autoscaling" => "AutoScaling",
        "cloudwatch" => "CloudWatch",
        "ec2" => "Ec2",
        "elasticloadbalancing" => "LoadBalancing",
        "rds" => "Rds",
        other => other,
    }
}

#[cfg(test)]
mod tests;
