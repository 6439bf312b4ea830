//! `firebreak inventory compare`: does AWS have what the inventory says, and what is marked there for the inventory?

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use domain::discovery::{CLUSTERS, Compared, Place, compare, places};
use domain::words::many;
use engine::clock::SystemClock;

use crate::config::Config;
use crate::terminal::say;

/// `firebreak inventory`
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Compare the inventory with what AWS has, and print what is tagged for it and not in it; changes nothing
    Compare(Args),
}

/// `firebreak inventory compare`
#[derive(clap::Args)]
#[command(
    after_help = "It lists whole regions, which the policy of `firebreak runbook permissions` does not allow: run it as somebody who may\nrds:DescribeDBClusters and autoscaling:DescribeAutoScalingGroups on everything.\n\nExit codes: 0 they agree; 1 they do not, or something is to be added; 2 AWS could not be asked"
)]
pub(crate) struct Args {
    /// The configuration file of the server
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: PathBuf,
    /// Also look through this region, as often as needed, of every account; those of the inventory always are
    #[arg(long = "region")]
    regions: Vec<String>,
    /// Tell the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs a subcommand.
pub(crate) async fn inventory(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Compare(args) = command;
    let config = Config::read(&args.config)?;
    let mut places = places(&config.inventory);
    let accounts: Vec<Option<String>> = match config.inventory.accounts.as_slice() {
        [] => vec![None],
        accounts => accounts.iter().map(|account| Some(account.id.clone())).collect(),
    };
    for region in &args.regions {
        places.extend(
            accounts.iter().map(|account| Place { account: account.clone(), region: region.clone() }),
        );
    }
    places.sort();
    places.dedup();
    anyhow::ensure!(!places.is_empty(), "the inventory is empty, so it names no region: give --region");
    let own = Arc::new(config.inventory.clone());
    let found = actions::discover(own, &config.actions(), &places, Arc::new(SystemClock)).await;
    let found = found.map_err(|e| match e.remedy() {
        Some(remedy) => anyhow::anyhow!("{e}\n  {remedy}"),
        None => e.into(),
    })?;
    let compared = compare(&config.inventory, &found);
    if args.json {
        say(serde_json::to_string_pretty(&compared)?);
    } else {
        told(&compared, places.len()).into_iter().for_each(say);
    }
    Ok(if compared.agree() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(compared: &Compared, places: usize) -> Vec<String> {
    let mut lines: Vec<String> = compared.differences.iter().map(|said| format!("# {said}")).collect();
    if compared.agree() {
        lines.push(format!("The inventory and AWS agree, in {}.", many(places, "place")));
    }
    if !compared.clusters.is_empty() || !compared.fleets.is_empty() {
        lines.push("# Tagged for the inventory, and not in it. Add how it is logged in to, and what you know better.".into());
    }
    // JSON's texts are YAML's, whatever is in them.
    let text = |said: &str| serde_json::Value::from(said).to_string();
    let account =
        |place: &Place| place.account.as_ref().map(|account| format!("    account: {}", text(account)));
    if !compared.clusters.is_empty() {
        lines.push("clusters:".into());
    }
    for new in &compared.clusters {
        let there = &new.found;
        lines.push(format!("  - id: {}", text(&new.id)));
        lines.push(format!("    region: {}", text(&there.place.region)));
        lines.extend(account(&there.place));
        lines.push(format!("    identifier: {}", text(&there.identifier)));
        lines.push(format!("    endpoint: {}", text(&there.endpoint)));
        lines.push(format!("    port: {}", there.port));
        lines.push(format!("    customers_percent: {}", new.customers_percent));
        lines.push(format!(
            "    probe: {{ user: {}, password: {{ env: {} }} }}",
            text("firebreak_probe"),
            variable("PROBE", &new.id)
        ));
    }
    if !compared.fleets.is_empty() {
        lines.push("fleets:".into());
    }
    for new in &compared.fleets {
        let there = &new.found;
        lines.push(format!("  - id: {}", text(&new.id)));
        lines.push(format!("    region: {}", text(&there.place.region)));
        lines.extend(account(&there.place));
        lines.push(format!("    group: {}", text(&there.name)));
        lines.extend(there.target_groups.first().map(|arn| format!("    target_group: {}", text(arn))));
        lines.push(format!(
            "    admin: {{ user: {}, password: {{ env: {} }} }}",
            text("firebreak"),
            variable("ADMIN", &new.id)
        ));
        let clusters: Vec<String> = new.clusters.iter().map(|id| text(id)).collect();
        let hint =
            if clusters.is_empty() { format!("   # the tag {CLUSTERS} does not say") } else { String::new() };
        lines.push(format!("    clusters: [{}]{hint}", clusters.join(", ")));
    }
    lines
}

/// The environment variable for a password.
fn variable(what: &str, id: &str) -> String {
    let name = id.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("FIREBREAK_{what}_{name}")
}
