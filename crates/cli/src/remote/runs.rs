//! `firebreak runs`, `firebreak show`: what runs and ran.

use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;
use serde_json::{Value, json};
use uuid::Uuid;

use super::complete::{runbooks, runs as known};
use super::lists::List;
use super::server::Server;
use super::steps::{header, lines};
use super::words::{between, day, mark, paint, span, table, word};
use super::{Remote, tell};
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
    /// The run's id
    #[arg(add = ArgValueCompleter::new(known))]
    run: Uuid,
    #[command(flatten)]
    remote: Remote,
}

/// Shows one run: its steps, and what can be asked of it now.
pub(crate) async fn show(args: Show) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.remote)?;
    let told = server.get(&format!("/api/v1/runs/{}", args.run)).await?;
    if args.remote.json {
        say(format!("{told:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = header(&told);
    let incidents = told["incidents"].as_array().into_iter().flatten();
    all.extend(incidents.map(|one| format!("  of INC-{}: {}", one["number"], word(one, "title"))));
    all.extend(lines(&told));
    for decision in told["decisions"].as_array().into_iter().flatten() {
        let title = word(decision, "title");
        let says = match decision["looking"] == true {
            true => {
                format!("  no answer, and looking what became of it: {title} (or `firebreak stop-looking`)")
            }
            false => format!("  a person must decide: {title}"),
        };
        all.push(paint(super::words::Ink::Warn, &says));
    }
    let possible = told["asks"].as_array().into_iter().flatten().filter(|ask| ask["possible"] == true);
    let mut verbs: Vec<_> = possible.map(|ask| word(ask, "ask")).collect();
    verbs.dedup();
    if !verbs.is_empty() {
        all.push(format!("  you may: {}", verbs.join(", ")));
    }
    say(all.join("\n"));
    Ok(ExitCode::SUCCESS)
}
