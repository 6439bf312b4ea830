//! `firebreak runbook manual`: the runbook as a page for a person with a terminal.

use std::process::ExitCode;

use anyhow::{Context, bail};
use domain::inventory::Inventory;
use domain::runbook::manual::Manual;
use domain::runbook::resolve_inputs;
use serde_json::{Map, Value};

use super::{Configured, Shelf};
use crate::terminal::say;

/// `firebreak runbook manual`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The runbook
    name: String,
    /// One of its inputs, such as cluster=shard-b; again for each
    #[arg(long = "input", value_name = "NAME=VALUE", value_parser = input)]
    inputs: Vec<(String, String)>,
    #[command(flatten)]
    configured: Configured,
}

fn input(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like cluster=shard-b")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Prints the page.
pub(crate) async fn manual(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.configured.read()?;
    let inventory: Inventory = match &config {
        Some(config) => config.inventory.clone(),
        None => bail!(
            "a manual is written for real clusters and fleets: name the configuration that has them, --config firebreak.yaml"
        ),
    };
    let registry = super::described(config.as_ref()).await?;
    let shelf = Shelf::open(config.as_ref(), &registry)?;
    let runbook = shelf.get(&args.name)?;
    let given: Map<String, Value> =
        args.inputs.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
    let inputs = resolve_inputs(runbook, &inventory, &given).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(|mistake| format!("  - {mistake}")).collect();
        anyhow::anyhow!("\n{}", lines.join("\n"))
    });
    let inputs = inputs.with_context(|| format!("the inputs of {} (--input NAME=VALUE)", args.name))?;
    let children = shelf.children(runbook);
    let page = Manual {
        runbook,
        children: &children,
        registry: &registry,
        inventory: &inventory,
        inputs: &inputs,
        rest: None,
    };
    say(page.markdown());
    Ok(ExitCode::SUCCESS)
}
