//! `firebreak approve`, `reject`, `abort`, `pause`, `resume`, `stop-looking`: what a person asks of a run.
//!
//! The worker that drives the run answers; the verb says what became of the run right after, and `watch` what becomes of it later.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;
use domain::plan::Plan;
use serde_json::{Value, json};
use uuid::Uuid;

use super::complete::runs;
use super::exit::{Exit, Failure};
use super::server::Server;
use super::words::word;
use super::{Remote, plan, tell};
use crate::terminal::{ask, say};

/// Of which run.
#[derive(clap::Args)]
pub(crate) struct Of {
    /// The run's id
    #[arg(add = ArgValueCompleter::new(runs))]
    run: Uuid,
    #[command(flatten)]
    remote: Remote,
}

/// `firebreak approve`
#[derive(clap::Args)]
#[command(after_help = super::exit::CODES)]
pub(crate) struct Approve {
    #[command(flatten)]
    of: Of,
    /// The step that waits; the start when left out
    #[arg(long)]
    step: Option<String>,
    /// Agree to this plan, which was looked at before; without, it is shown
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Agree without being asked
    #[arg(long)]
    yes: bool,
}

/// `firebreak reject`
#[derive(clap::Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    of: Of,
    /// The step that waits; the start when left out
    #[arg(long)]
    step: Option<String>,
    /// Why, for whoever asked for it
    #[arg(long)]
    reason: String,
}

/// `firebreak abort`
#[derive(clap::Args)]
pub(crate) struct Abort {
    #[command(flatten)]
    of: Of,
    /// Take back what was done, as far as it can be
    #[arg(long)]
    undo: bool,
    /// Why
    #[arg(long)]
    reason: String,
}

/// `firebreak pause`
#[derive(clap::Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    of: Of,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

/// `firebreak resume`
#[derive(clap::Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    of: Of,
    /// Begin despite the freezes and limits that hold the run back after it had to wait, and say why
    #[arg(long, value_name = "REASON")]
    despite: Option<String>,
}

/// `firebreak stop-looking`
#[derive(clap::Args)]
pub(crate) struct StopLooking {
    #[command(flatten)]
    of: Of,
    /// The step whose call got no answer; needed where there are several
    #[arg(long)]
    step: Option<String>,
}

/// Agrees to a start, or to a step: to one plan, which is shown before.
pub(crate) async fn approve(args: Approve) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.of.remote)?;
    let told = server.get(&format!("/api/v1/runs/{}", args.of.run)).await?;
    let open = told["gate"]["approvals"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|approval| approval["open"] == true);
    let wanted = |approval: &&Value| approval["step"].as_str() == args.step.as_deref();
    let Some(approval) = open.clone().find(wanted) else {
        let steps: Vec<_> = open.filter_map(|approval| approval["step"].as_str()).collect();
        let says = match steps.as_slice() {
            [] => "nothing waits for an approval in this run".to_owned(),
            steps => format!("these steps wait for an approval: {}; name one with --step", steps.join(", ")),
        };
        return Err(Failure::new(Exit::Refused, says).into());
    };
    let hash = approval["plan_hash"].as_str().map(str::to_owned);
    if args.plan_hash.is_none() {
        let about = match serde_json::from_value::<Plan>(told["run"]["plan"].clone()) {
            Ok(seen) if args.step.is_none() => plan::told(&seen),
            _ => word(approval, "message").to_owned(),
        };
        if !args.of.remote.json {
            say(about);
        }
        let sure = args.yes
            || std::io::stdin().is_terminal()
                && matches!(ask("Agree? [y/N] ").unwrap_or_default().trim(), "y" | "Y" | "yes");
        if !sure {
            let says = "nothing was agreed to: say yes, or give --yes or --plan-hash";
            return Err(Failure::new(Exit::Refused, says).into());
        }
    }
    let wish = json!({ "ask": "approve", "step": args.step, "plan_hash": args.plan_hash.or(hash) });
    put(&server, &args.of, &wish).await
}

/// Does not agree.
pub(crate) async fn reject(args: Reject) -> anyhow::Result<ExitCode> {
    let wish = json!({ "ask": "reject", "step": args.step, "reason": args.reason });
    put(&Server::of(&args.of.remote)?, &args.of, &wish).await
}

/// Ends a run.
pub(crate) async fn abort(args: Abort) -> anyhow::Result<ExitCode> {
    let takeback = if args.undo { "all" } else { "finally" };
    let wish = json!({ "ask": "abort", "takeback": takeback, "reason": args.reason });
    put(&Server::of(&args.of.remote)?, &args.of, &wish).await
}

/// Starts nothing new.
pub(crate) async fn pause(args: Pause) -> anyhow::Result<ExitCode> {
    let wish = json!({ "ask": "pause", "reason": args.reason });
    put(&Server::of(&args.of.remote)?, &args.of, &wish).await
}

/// Goes on.
pub(crate) async fn resume(args: Resume) -> anyhow::Result<ExitCode> {
    let wish = match args.despite {
        Some(reason) => json!({ "ask": "begin_despite", "reason": reason }),
        None => json!({ "ask": "resume" }),
    };
    put(&Server::of(&args.of.remote)?, &args.of, &wish).await
}

/// Wants to be asked now what became of a call, instead of having it looked for.
pub(crate) async fn stop_looking(args: StopLooking) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.of.remote)?;
    let told = server.get(&format!("/api/v1/runs/{}", args.of.run)).await?;
    let decisions = told["decisions"].as_array().into_iter().flatten();
    let looking: Vec<_> =
        decisions.filter(|d| d["looking"] == true).filter_map(|d| d["path"].as_str()).collect();
    let step = match (args.step.as_deref(), looking.as_slice()) {
        (Some(step), _) | (None, &[step]) => step,
        (None, []) => {
            let says = "no call of this run is looked for";
            return Err(Failure::new(Exit::Refused, says).into());
        }
        (None, steps) => {
            let says = format!(
                "these steps have a call without an answer: {}; name one with --step",
                steps.join(", ")
            );
            return Err(Failure::new(Exit::Refused, says).into());
        }
    };
    put(&server, &args.of, &json!({ "ask": "stop_looking", "step": step })).await
}

async fn put(server: &Server, of: &Of, wish: &Value) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/runs/{}", of.run);
    server.post(&format!("{path}/ask"), wish).await?;
    let run = server.get(&path).await?["run"].clone();
    tell(of.remote.json, &run, |run| {
        let [state, asked] = [word(run, "state"), word(wish, "ask")].map(|w| w.replace('_', " "));
        format!("Asked to {asked}; the run is {state}. `firebreak watch {}` shows what follows.", of.run)
    });
    Ok(ExitCode::SUCCESS)
}
