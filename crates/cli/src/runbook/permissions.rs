//! `firebreak runbook permissions`: the least that Firebreak must be allowed in AWS, as an IAM policy.

use std::collections::BTreeSet;
use std::process::ExitCode;

use domain::action::Registry;
use domain::inventory::Inventory;
use domain::runbook::permissions::{RolePolicies, assuming, needed, of_action, of_roles, policy};
use serde_json::{Value, json};

use super::{Configured, Shelf};
use crate::terminal::{remark, say};

/// `firebreak runbook permissions`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Runbooks; when none is named: all, and what the situation page watches
    names: Vec<String>,
    #[command(flatten)]
    configured: Configured,
}

/// The policy of some of the embedded runbooks; of all of them and the prober, when none is named.
pub(crate) async fn least_privilege(names: &[String], inventory: &Inventory) -> anyhow::Result<Value> {
    let registry = super::described(None).await?;
    let shelf = Shelf::open(None, &registry)?;
    Ok(serde_json::to_value(policy(all_needed(names, &shelf, &registry)?, Some(inventory))?.policy)?)
}

/// Prints the policy, or those of the roles of all accounts; remarks on it go to stderr.
pub(crate) async fn permissions(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.configured.read()?;
    let registry = super::described(None).await?;
    let shelf = Shelf::open(config.as_ref(), &registry)?;
    let actions = all_needed(&args.names, &shelf, &registry)?;
    let inventory = config.as_ref().map(|config| &config.inventory);
    let printed = match inventory.filter(|inventory| !inventory.accounts.is_empty()) {
        Some(inventory) => {
            let mut accounts = serde_json::Map::new();
            for RolePolicies { account, observe, act } in of_roles(&actions, inventory)? {
                observe.notes.iter().chain(&act.notes).for_each(|note| remark(format!("{account}: {note}")));
                accounts.insert(account, json!({ "observe": observe.policy, "act": act.policy }));
            }
            json!({ "firebreak": assuming(inventory), "accounts": accounts })
        }
        None => {
            let permissions = policy(actions, inventory)?;
            permissions.notes.into_iter().for_each(remark);
            serde_json::to_value(&permissions.policy)?
        }
    };
    say(serde_json::to_string_pretty(&printed)?);
    Ok(ExitCode::SUCCESS)
}

/// What the named runbooks need; when none is named: all, and what the prober looks with.
fn all_needed(
    names: &[String],
    shelf: &Shelf,
    registry: &Registry,
) -> anyhow::Result<BTreeSet<&'static str>> {
    let mut actions = BTreeSet::new();
    for runbook in shelf.named(names)? {
        actions.extend(needed(runbook, &shelf.children(runbook), registry));
    }
    if names.is_empty() {
        actions.extend(engine::WATCHES_WITH.iter().flat_map(|action| of_action(action, registry)));
    }
    Ok(actions)
}
