//! `firebreak runs`, `firebreak show`: what runs and ran.

use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;
use domain::words::span;
use serde_json::{Value, json};

use super::complete::runbooks;
use super::lists::List;
use super::server::Server;
use super::steps::{header, lines};
use super::which::Of;
use super::words::{Ink, between, day, mark, paint, table, word};
use super::{Remote, may, tell};
use crate::terminal::say;

/// `firebreak runs`
#[derive(clap::Args)]
pub(crate) struct Runs {
    /// Only runs that have not ended
    #[arg(long)]
    open: bool,
    /// Only runs of this runbook
    #[arg(long, add = ArgValueCompleter::new(runbooks))]
    runbook: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = super::at_least_one)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// Lists runs, the newest first.
pub(crate) async fn runs(args: Runs) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.remote)?;
    let given = [("open", args.open.then(|| "1".to_owned())), ("runbook", args.runbook)];
    let query = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let list = List { path: "/api/v1/runs", name: "runs", cursor: "before", query };
    let (runs, _) = list.read(&server, None, args.limit).await?;
    tell(args.remote.json, &json!({ "runs": runs }), |_| {
        if runs.is_empty() {
            return "No runs.".into();
        }
        let row = |run: &Value| {
            let state = word(run, "state");
            let took = between(
                &run["created_at"],
                if run["ended_at"].is_null() { &run["updated_at"] } else { &run["ended_at"] },
            );
            let took = took.map_or(String::new(), |took| span(took.num_seconds()));
            vec![
                word(run, "id").to_owned(),
                day(&run["created_at"]),
                took,
                format!("{} {}", mark(state).0, state.replace('_', " ")),
                word(run, "requested_by").to_owned(),
                word(run, "title").to_owned(),
            ]
        };
        table(&runs.iter().map(row).collect::<Vec<_>>())
    });
    Ok(ExitCode::SUCCESS)
}

/// `firebreak show`
#[derive(clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    of: Of,
}

/// Shows one run: its steps, what a person must know to decide, and what they may ask of it now.
pub(crate) async fn show(args: Show) -> anyhow::Result<ExitCode> {
    let (server, run) = args.of.find().await?;
    let told = server.get(&format!("/api/v1/runs/{run}")).await?;
    if args.of.remote.json {
        say(format!("{told:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = header(&told);
    let incidents = told["incidents"].as_array().into_iter().flatten();
    all.extend(incidents.map(|one| format!("  of INC-{}: {}", one["number"], word(one, "title"))));
    all.extend(lines(&told));
    told["decisions"].as_array().into_iter().flatten().for_each(|one| all.extend(decision(one)));
    let commands: Vec<_> = may::commands(&told)
        .into_iter()
        .map(|row| vec![format!("    {}", row[0]), paint(Ink::Dim, &row[1])])
        .collect();
    if !commands.is_empty() {
        all.push("  you may:".into());
        all.push(table(&commands));
    }
    say(all.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// A step that waits for a person: why, what to do about it, and, where nobody else can tell what became of a call, what was
/// announced, what was seen right before it, and what is seen now.
fn decision(told: &Value) -> Vec<String> {
    let title = format!("{} ({})", word(told, "title"), word(told, "path"));
    if told["looking"] == true {
        let says = format!("  no answer, and looking what became of it: {title}");
        return vec![paint(Ink::Warn, &says)];
    }
    let mut lines = vec![paint(Ink::Warn, &format!("  a person must decide: {title}"))];
    lines.push(format!("    {}", word(told, "why")));
    if told["unknown"] == true {
        let facts = |name: &str| {
            let pairs = told[name].as_array().into_iter().flatten();
            let said: Vec<_> = pairs
                .filter_map(|pair| Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)))
                .collect();
            if said.is_empty() { "nothing".to_owned() } else { said.join(", ") }
        };
        lines.push(format!("    announced: {}, with {}", word(told, "action"), facts("input")));
        lines.push(format!("    seen right before the call: {}", facts("before")));
        lines.push(format!("    seen now: {}", facts("facts")));
    }
    lines.extend(told["remedy"].as_str().map(|remedy| format!("    → {remedy}")));
    lines
}
