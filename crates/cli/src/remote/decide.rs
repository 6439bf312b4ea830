//! `firebreak retry`, `skip`, `mark-done`, `did-not-happen`: what a person says of a step that waits for them.
//!
//! The step is always named. By the time that a verb arrives another one may wait, which was not looked at.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::ask::put;
use super::exit::{Exit, Failure};
use super::may;
use super::which::Of;
use super::words::word;

/// Which step.
#[derive(clap::Args)]
struct At {
    #[command(flatten)]
    of: Of,
    /// The step that waits, as `firebreak show` names it
    #[arg(long)]
    step: Option<String>,
}

/// `firebreak retry`
#[derive(clap::Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    at: At,
}

/// `firebreak skip`, `firebreak did-not-happen`
#[derive(clap::Args)]
pub(crate) struct Why {
    #[command(flatten)]
    at: At,
    /// Why, or how it is known
    #[arg(long)]
    reason: String,
}

/// `firebreak mark-done`
#[derive(clap::Args)]
pub(crate) struct MarkDone {
    #[command(flatten)]
    why: Why,
    /// What later steps shall read of it, as JSON; nothing when left out
    #[arg(long, value_name = "JSON", value_parser = read_json)]
    output: Option<Value>,
}

fn read_json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("{e}; text needs quotation marks, such as '\"i-1\"'"))
}

/// Tries a failed step again.
pub(crate) async fn retry(args: Retry) -> anyhow::Result<ExitCode> {
    said(&args.at, json!({ "ask": "retry" })).await
}

/// Leaves a failed step out.
pub(crate) async fn skip(args: Why) -> anyhow::Result<ExitCode> {
    said(&args.at, json!({ "ask": "skip", "reason": args.reason })).await
}

/// Counts a step as done.
pub(crate) async fn mark_done(args: MarkDone) -> anyhow::Result<ExitCode> {
    let wish = json!({ "ask": "mark_done", "reason": args.why.reason, "output": args.output });
    said(&args.why.at, wish).await
}

/// Says that a change of unknown outcome did not happen.
pub(crate) async fn did_not_happen(args: Why) -> anyhow::Result<ExitCode> {
    said(&args.at, json!({ "ask": "did_not_happen", "reason": args.reason })).await
}

async fn said(at: &At, mut wish: Value) -> anyhow::Result<ExitCode> {
    let (server, run) = at.of.open().await?;
    if let Some(step) = &at.step {
        wish["step"] = step.as_str().into();
        return put(&server, &at.of.remote, run, &wish).await;
    }
    let told = server.get(&format!("/api/v1/runs/{run}")).await?;
    let verb = format!("firebreak {} ", word(&wish, "ask").replace('_', "-"));
    let fit: Vec<_> = may::commands(&told)
        .into_iter()
        .map(|row| row[0].clone())
        .filter(|command| command.starts_with(&verb))
        .collect();
    let (exit, says) = match fit.as_slice() {
        [] => (Exit::Refused, format!("no step of this run waits for that; see `firebreak show {run}`")),
        fit => (Exit::Usage, format!("say which step:\n  {}", fit.join("\n  "))),
    };
    Err(Failure::new(exit, says).into())
}
