//! `firebreak triggers backtest`: what edited rules would have made of the signals that came.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use domain::plan::is_typed;
use domain::runbook::{Mode, inventory_value};
use domain::triage::Rule;
use domain::trust::backtest::{Edited, Replay, Report, Would};
use domain::trust::in_force;
use domain::words::many;
use domain::{Clock as _, Timestamp};
use engine::clock::SystemClock;
use futures::TryStreamExt as _;

use crate::config::Config;
use crate::database::Database;
use crate::moment::moment;
use crate::runbook::Shelf;
use crate::terminal::say;

/// `firebreak triggers`
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Replay the signals that came against (edited) rules, and show what would have become of them; changes nothing
    Backtest(Backtest),
}

/// `firebreak triggers backtest`
#[derive(clap::Args)]
pub(crate) struct Backtest {
    /// A folder of edited runbooks; those of the configuration when absent
    runbooks: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
    /// Only signals since then: 30d, 12h, or 2024-05-07T14:42:00Z
    #[arg(long, default_value = "30d", value_parser = since)]
    since: Since,
    /// Another mode than the one in force, as often as needed: replace-proxysql/logins-fail=auto
    #[arg(long = "mode", value_name = "RULE=MODE", value_parser = mode)]
    modes: Vec<(String, Mode)>,
    /// The whole report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Ago(TimeDelta),
    At(Timestamp),
}

fn since(text: &str) -> Result<Since, String> {
    let ago =
        text.strip_suffix('d').map(|days| (days, 24)).or(text.strip_suffix('h').map(|hours| (hours, 1)));
    if let Some((number, hours)) = ago {
        let number: i64 =
            number.parse().map_err(|_| format!("`{text}` is no span; write it like 30d or 12h"))?;
        return TimeDelta::try_hours(number.saturating_mul(hours))
            .map(Since::Ago)
            .ok_or_else(|| format!("`{text}` is too long"));
    }
    moment(text).map(Since::At).map_err(|e| format!("{e}; or so long ago: 30d, 12h"))
}

fn mode(text: &str) -> Result<(String, Mode), String> {
    let (rule, mode) =
        text.split_once('=').ok_or_else(|| format!("`{text}` has no mode; write runbook/trigger=ask"))?;
    Ok((rule.to_owned(), mode.parse()?))
}

/// Runs a subcommand.
pub(crate) async fn triggers(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Backtest(args) = command;
    backtest(args).await
}

/// Exits with 0 when nothing would have been different, with 1 when something would, with 2 when it cannot be told.
async fn backtest(args: Backtest) -> anyhow::Result<ExitCode> {
    let config = args.database.config()?;
    let registry = crate::runbook::described(None).await?;
    let folder = args.runbooks.as_deref().or(config.as_ref().and_then(|config| config.runbooks.as_deref()));
    let shelf = Shelf::of(folder, &registry)?;
    let pool = store::open(&args.database.url()?).await?;
    let set: BTreeMap<_, _> = store::trust::modes(&pool).await?.set.into_iter().collect();
    let named: BTreeMap<_, _> = args.modes.into_iter().collect();
    let mut rules = Vec::new();
    for runbook in shelf.all() {
        for trigger in &runbook.triggers {
            let rule = Rule { runbook: runbook.name.clone(), trigger: trigger.name.clone() };
            let name = rule.to_string();
            let configured = config.as_ref().and_then(|config| config.triggers.get(&name).copied());
            let mode = named
                .get(&name)
                .copied()
                .unwrap_or_else(|| in_force(trigger.mode, configured, set.get(&name)));
            rules.push((rule, trigger, mode, is_typed(runbook.risk)));
        }
    }
    if let Some(unknown) =
        named.keys().find(|name| !rules.iter().any(|(rule, ..)| rule.to_string() == **name))
    {
        let known: Vec<String> = rules.iter().map(|(rule, ..)| rule.to_string()).collect();
        bail!("there is no trigger `{unknown}`; there are: {}", known.join(", "));
    }
    let edited: Vec<_> = rules
        .iter()
        .map(|(rule, trigger, mode, typed)| Edited { rule, trigger, mode: *mode, typed: *typed })
        .collect();
    let inventory =
        Arc::new(inventory_value(&config.as_ref().map(|c| c.inventory.clone()).unwrap_or_default()));
    let budget = config.as_ref().map(Config::engine).unwrap_or_default().triage.budget;
    let now = SystemClock.now();
    let since = match args.since {
        Since::Ago(ago) => now - ago,
        Since::At(at) => at,
    };
    let mut replay = Replay::new(&edited, &inventory, budget);
    let past = store::trust::past(&pool, since, now);
    let read = past.try_for_each(|past| {
        replay.next(&past);
        std::future::ready(Ok(()))
    });
    read.await.context("the signals of the past")?;
    let report = replay.report();
    if args.json {
        say(serde_json::to_string_pretty(&report)?);
    } else {
        told(&report).into_iter().for_each(say);
    }
    Ok(if report.changes.is_empty() && report.broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn told(report: &Report) -> Vec<String> {
    let mut lines = vec![format!(
        "{}; to {} of them the same would have happened.",
        many(report.signals, "signal"),
        report.same
    )];
    let words = |would: &Would| match &would.rule {
        Some(rule) => format!("{} ({rule})", would.verdict),
        None => would.verdict.clone(),
    };
    for change in &report.changes {
        lines.push(format!("{:>7}  {} → {}", change.signals, words(&change.then), words(&change.now)));
        let examples: Vec<String> = change.examples.iter().map(|id| format!("/signals/{id}")).collect();
        lines.push(format!("         {}", examples.join("  ")));
    }
    if report.changes.iter().any(|change| change.now.verdict == "planned") {
        lines.push("planned: a rule takes it that did not take it then. What its guards would have said, nobody has looked.".into());
    }
    for (rule, why) in &report.broken {
        lines.push(format!("{rule} cannot be worked out for some of them: {why}"));
    }
    lines
}
