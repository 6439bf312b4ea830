//! `firebreak approve`, `reject`, `break-glass`, `accept-plan`, `abort`, `pause`, `resume`, `stop-looking`: what a person asks of a
//! run. What they say of a step that waits for them: `decide`.
//!
//! The worker that drives the run answers; the verb says what became of the run right after, and `watch` what becomes of it later.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use domain::plan::Plan;
use serde_json::{Value, json};
use uuid::Uuid;

use super::exit::{Exit, Failure};
use super::may::quoted;
use super::server::Server;
use super::which::Of;
use super::words::word;
use super::{Remote, plan, tell};
use crate::terminal::{ask, remark, say};

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

/// `firebreak break-glass`
#[derive(clap::Args)]
pub(crate) struct BreakGlass {
    #[command(flatten)]
    of: Of,
    /// The step that waits; the start when left out
    #[arg(long)]
    step: Option<String>,
    /// Why nobody else could be asked, for whoever reviews it
    #[arg(long)]
    reason: String,
    /// Go on with this plan, which was looked at before, and with no other; without, it is shown, and asked about at a terminal
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Go on without being asked
    #[arg(long)]
    yes: bool,
}

/// `firebreak accept-plan`
#[derive(clap::Args)]
#[command(after_help = super::exit::CODES)]
pub(crate) struct AcceptPlan {
    #[command(flatten)]
    of: Of,
    /// Accept this plan, which was looked at before; without, it is shown what became different
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Accept it without being asked
    #[arg(long)]
    yes: bool,
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
    let (server, run) = args.of.open().await?;
    let told = server.get(&format!("/api/v1/runs/{run}")).await?;
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
    possible(&approval["choices"], "approve").map_err(|refusal| instead(refusal, approval, run))?;
    let hash = approval["plan_hash"].as_str().map(str::to_owned);
    if args.plan_hash.is_none() {
        let about = match serde_json::from_value::<Plan>(told["plan"].clone()) {
            // What is agreed to is what was shown, or nothing.
            Ok(asked) if args.step.is_none() && Some(&asked.hash) == hash.as_ref() => plan::told(&asked),
            _ if args.step.is_none() && hash.is_some() => {
                let says = "the server does not say which plan is asked about; look at it on the run's page";
                return Err(Failure::new(Exit::Refused, says).into());
            }
            _ => word(approval, "message").to_owned(),
        };
        agree(&args.of.remote, &about, "Agree?", args.yes)?;
    }
    let wish = json!({ "ask": "approve", "step": args.step, "plan_hash": args.plan_hash.or(hash) });
    put(&server, &args.of.remote, run, &wish).await
}

/// Takes the new plan in the place of the one that was seen before, once what became different is shown.
pub(crate) async fn accept_plan(args: AcceptPlan) -> anyhow::Result<ExitCode> {
    let (server, run) = args.of.open().await?;
    let told = server.get(&format!("/api/v1/runs/{run}")).await?;
    let drift = &told["gate"]["drift"];
    if drift.is_null() {
        let says = "nothing became different: this run goes by the plan that was seen before";
        return Err(Failure::new(Exit::Refused, says).into());
    }
    possible(&drift["choices"], "accept_plan")?;
    if args.plan_hash.is_none() {
        agree(&args.of.remote, &differences(drift), "Accept the new plan?", args.yes)?;
    }
    let hash = args.plan_hash.unwrap_or_else(|| word(drift, "plan_hash").to_owned());
    put(&server, &args.of.remote, run, &json!({ "ask": "accept_plan", "plan_hash": hash })).await
}

/// What it was, and what it is now, for each step.
fn differences(drift: &Value) -> String {
    let side = |side: &Value| {
        let lines = side.as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.collect::<Vec<_>>().join("; ")
    };
    let mut lines = vec!["The world became different since the plan was made:".to_owned()];
    for difference in drift["differences"].as_array().into_iter().flatten() {
        lines.push(format!("  {} ({})", word(difference, "title"), word(difference, "step")));
        lines.push(format!("    was  {}", side(&difference["was"])));
        lines.push(format!("    now  {}", side(&difference["now"])));
    }
    lines.push(format!("Plan      {}", word(drift, "plan_hash")));
    lines.join("\n")
}

/// Whoever may not is told so before anything is shown to agree to.
fn possible(choices: &Value, ask: &str) -> Result<(), Failure> {
    let choice = choices.as_array().into_iter().flatten().find(|choice| choice["ask"] == ask);
    match choice.and_then(|choice| choice["why_not"].as_str()) {
        Some(why) => Err(Failure::new(Exit::Refused, why)),
        None => Ok(()),
    }
}

/// Whose approval it takes, for whoever may not give it; and how they go on alone, should nobody else be there.
fn instead(mut refusal: Failure, approval: &Value, run: Uuid) -> Failure {
    let step = approval["step"].as_str().map_or_else(String::new, |step| format!(" --step {}", quoted(step)));
    let seen = approval["plan_hash"].as_str().map_or_else(String::new, |hash| format!(" --plan-hash {hash}"));
    let alone = match possible(&approval["choices"], "break_glass") {
        Ok(()) => format!("should nobody be there: firebreak break-glass {run}{step}{seen} --reason \"…\""),
        Err(why) => format!("should nobody be there: {why}"),
    };
    refusal.says = format!("{refusal}\n  it waits for {}\n  {alone}", word(approval, "needs"));
    refusal
}

/// Shows what it is about, and has a person say yes to it.
fn agree(remote: &Remote, about: &str, question: &str, yes: bool) -> Result<(), Failure> {
    // As JSON nothing is shown, so nobody can be asked.
    if !remote.json {
        say(about);
    }
    let sure = yes
        || !remote.json
            && std::io::stdin().is_terminal()
            && matches!(ask(&format!("{question} [y/N] ")).unwrap_or_default().trim(), "y" | "Y" | "yes");
    let says = "nothing was agreed to: say yes, or give --yes or --plan-hash";
    if sure { Ok(()) } else { Err(Failure::new(Exit::Refused, says)) }
}

/// Does not agree.
pub(crate) async fn reject(args: Reject) -> anyhow::Result<ExitCode> {
    let wish = json!({ "ask": "reject", "step": args.step, "reason": args.reason });
    asked(&args.of, &wish).await
}

/// Goes on alone where others should agree.
pub(crate) async fn break_glass(args: BreakGlass) -> anyhow::Result<ExitCode> {
    let (server, run) = args.of.open().await?;
    let seen = match (args.plan_hash, &args.step) {
        (None, None) => {
            let told = server.get(&format!("/api/v1/runs/{run}")).await?;
            glass_for(&told, &args.of.remote, args.yes)?
        }
        (seen, _) => seen,
    };
    let wish = json!({ "ask": "break_glass", "step": args.step, "reason": args.reason, "plan_hash": seen });
    put(&server, &args.of.remote, run, &wish).await
}

/// Shows the plan that is asked about at the start, and tells its hash: whatever is asked about a moment later is another matter. A
/// script has given its reason, and nobody can be asked there.
fn glass_for(told: &Value, remote: &Remote, yes: bool) -> Result<Option<String>, Failure> {
    let start = |approval: &&Value| approval["open"] == true && approval["step"].is_null();
    let approval = told["gate"]["approvals"].as_array().into_iter().flatten().find(start);
    let Some(hash) = approval.and_then(|approval| approval["plan_hash"].as_str()) else { return Ok(None) };
    let asks = !yes && !remote.json && std::io::stdin().is_terminal();
    match serde_json::from_value::<Plan>(told["plan"].clone()) {
        Ok(plan) if plan.hash == hash => {
            agree(remote, &plan::told(&plan), "Go on alone with this plan?", !asks)?;
        }
        _ if asks => {
            let says = "the server does not say which plan is asked about; look at it on the run's page, and give --plan-hash";
            return Err(Failure::new(Exit::Refused, says));
        }
        _ => {}
    }
    Ok(Some(hash.to_owned()))
}

/// Ends a run.
pub(crate) async fn abort(args: Abort) -> anyhow::Result<ExitCode> {
    let takeback = if args.undo { "all" } else { "finally" };
    let wish = json!({ "ask": "abort", "takeback": takeback, "reason": args.reason });
    asked(&args.of, &wish).await
}

/// Starts nothing new.
pub(crate) async fn pause(args: Pause) -> anyhow::Result<ExitCode> {
    asked(&args.of, &json!({ "ask": "pause", "reason": args.reason })).await
}

/// Goes on.
pub(crate) async fn resume(args: Resume) -> anyhow::Result<ExitCode> {
    let wish = match args.despite {
        Some(reason) => json!({ "ask": "begin_despite", "reason": reason }),
        None => json!({ "ask": "resume" }),
    };
    asked(&args.of, &wish).await
}

/// Wants to be asked now what became of a call, instead of having it looked for.
pub(crate) async fn stop_looking(args: StopLooking) -> anyhow::Result<ExitCode> {
    let (server, run) = args.of.open().await?;
    let told = server.get(&format!("/api/v1/runs/{run}")).await?;
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
    put(&server, &args.of.remote, run, &json!({ "ask": "stop_looking", "step": step })).await
}

async fn asked(of: &Of, wish: &Value) -> anyhow::Result<ExitCode> {
    let (server, run) = of.open().await?;
    put(&server, &of.remote, run, wish).await
}

pub(super) async fn put(
    server: &Server,
    remote: &Remote,
    run: Uuid,
    wish: &Value,
) -> anyhow::Result<ExitCode> {
    let path = format!("/api/v1/runs/{run}");
    let answer = server.post(&format!("{path}/ask"), wish).await?;
    if let Some(said) = answer["note"].as_str() {
        remark(said);
    }
    let row = server.get(&path).await?["run"].clone();
    tell(remote.json, &row, |row| {
        let [state, asked] = [word(row, "state"), word(wish, "ask")].map(|w| w.replace('_', " "));
        format!("Asked to {asked}; the run is {state}. `firebreak watch {run}` shows what follows.")
    });
    Ok(ExitCode::SUCCESS)
}
