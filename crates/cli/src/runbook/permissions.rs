//! `firebreak runbook permissions`: the least that Firebreak must be allowed in AWS, as an IAM policy.

use std::collections::BTreeSet;
use std::process::ExitCode;

use domain::inventory::Inventory;
use domain::runbook::permissions::{needed, of_action, policy};

use serde_json::Value;

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

/// The policy of one of the embedded runbooks.
pub(crate) async fn least_privilege(runbook: &str, inventory: &Inventory) -> anyhow::Result<Value> {
    let registry = super::described(Inventory::default()).await?;
    let shelf = Shelf::open(None, &registry)?;
    let found = shelf.get(runbook)?;
    let needed = needed(found, &shelf.children(found), &registry);
    Ok(serde_json::to_value(policy(needed, Some(inventory))?.policy)?)
}

/// Prints the policy; remarks on it go to stderr.
pub(crate) async fn permissions(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.configured.read()?;
    let registry = super::described(Inventory::default()).await?;
    let shelf = Shelf::open(config.as_ref(), &registry)?;
    let mut actions = BTreeSet::new();
    for runbook in shelf.named(&args.names)? {
        actions.extend(needed(runbook, &shelf.children(runbook), &registry));
    }
    if args.names.is_empty() {
        actions.extend(engine::WATCHES_WITH.iter().flat_map(|action| of_action(action, &registry)));
    }
    let permissions = policy(actions, config.as_ref().map(|config| &config.inventory))?;
    for note in permissions.notes {
        remark(note);
    }
    say(serde_json::to_string_pretty(&permissions.policy)?);
    Ok(ExitCode::SUCCESS)
}
