//! `firebreak run`: shows the plan, asks for the confirmation that its risk demands, starts with that very plan, and watches.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use domain::plan::{Plan, Verdict, to_type};
use serde_json::{Value, json};
use uuid::Uuid;

use super::exit::{Exit, Failure};
use super::plan::{What, told};
use super::server::Server;
use super::which::Of;
use super::words::word;
use super::{Remote, watch};
use crate::foreign;
use crate::terminal::{ask, remark, say};

/// `firebreak run`
#[derive(clap::Args)]
#[command(after_help = super::exit::CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    remote: Remote,
    /// Why, for whoever looks at the run later
    #[arg(long)]
    reason: Option<String>,
    /// Start without asking; what is of high risk needs --confirm as well
    #[arg(long)]
    yes: bool,
    /// The target, as typed to start what is of high risk
    #[arg(long, value_name = "TARGET")]
    confirm: Option<String>,
    /// Start this plan, which was looked at before; nothing is started if it is not the plan any more
    #[arg(long, value_name = "HASH")]
    plan_hash: Option<String>,
    /// Start although there is a freeze; needs a reason
    #[arg(long)]
    despite_freeze: bool,
    /// Pass a limit this once, such as "failover of shard-a=it is the other one"; may be given again
    #[arg(long, value_name = "LIMIT=REASON")]
    acknowledge: Vec<String>,
    /// Stand in line for a lock that is held
    #[arg(long)]
    wait: bool,
    /// Start, print the run's id, and end
    #[arg(long)]
    detach: bool,
    /// A key of your own: the same key again lands on the same run
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Starts a run.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.remote)?;
    let (hash, confirm) = match &args.plan_hash {
        Some(hash) => (hash.clone(), args.confirm.clone()),
        None => {
            let plan = args.what.plan(&server).await?;
            if !args.remote.json {
                say(told(&plan));
            }
            may_start(&server, &plan, args.wait).await?;
            let confirm = agree(&plan, &args)?;
            (plan.hash, confirm)
        }
    };
    let mut acknowledge = Vec::new();
    for given in &args.acknowledge {
        let Some((limit, reason)) = given.split_once('=') else {
            return Err(
                Failure::new(Exit::Usage, format!("`{given}`: write --acknowledge as LIMIT=REASON")).into()
            );
        };
        acknowledge.push(json!({ "limit": limit, "reason": reason }));
    }
    let body = json!({
        "runbook": args.what.runbook, "inputs": args.what.read()?, "reason": args.reason, "plan_hash": hash, "confirm": confirm,
        "despite_freeze": args.despite_freeze, "acknowledge": acknowledge, "wait": args.wait,
    });
    let key = args.idempotency_key.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
    let started = server.post_under(&key, "/api/v1/runs", &body).await.map_err(way_past)?;
    let id = word(&started, "run_id").to_owned();
    if args.detach {
        say(if args.remote.json { format!("{started:#}") } else { id });
        return Ok(ExitCode::SUCCESS);
    }
    remark(format!("run {id}, {}/runs/{id}", server.url));
    watch::to_the_end(&server, &id, args.remote.json).await
}

/// What would stop is not started, and it is said what to do. A lock does not stop whoever stands in line for it.
async fn may_start(server: &Server, plan: &Plan, wait: bool) -> Result<(), Failure> {
    let Verdict::Stops { step, message } = &plan.verdict else { return Ok(()) };
    let lacks_a_lock = plan.lacks_a_lock();
    if lacks_a_lock && wait {
        return Ok(());
    }
    let mut says = format!("it would stop at `{step}`, so it is not started: {message}");
    if lacks_a_lock {
        // Refused it is all the same, should nobody say who holds it.
        let brakes = server.get("/api/v1/brakes").await.unwrap_or_default();
        let wanted = |lock: &Value| plan.locks.iter().any(|planned| planned.target == word(lock, "target"));
        let mut held = brakes["locks"].as_array().into_iter().flatten().filter(|lock| wanted(lock));
        let holder = held.find_map(|lock| lock["run_id"].as_str());
        let see = holder.map(|run| format!("See `firebreak show {run}`."));
        for more in see.iter().map(String::as_str).chain([STAND_IN_LINE]) {
            says = format!("{says}\n  {more}");
        }
    }
    Err(Failure::new(Exit::Refused, says))
}

const STAND_IN_LINE: &str = "Give --wait to stand in line for it: the plan is made anew when its turn comes.";

/// With the flag that gets past it, where there is one.
fn way_past(mut failure: Failure) -> Failure {
    let Some(problem) = &failure.problem else { return failure };
    let flag = match word(problem, "code") {
        "locked" => STAND_IN_LINE.to_owned(),
        "freeze" => "Give --despite-freeze --reason \"…\" to start despite it.".to_owned(),
        "limit" => {
            let limit = foreign::line(word(&problem["brake"], "name"));
            format!("Give --acknowledge \"{limit}=…\" to pass it this once.")
        }
        "no_reason" => "Give --reason \"…\".".to_owned(),
        _ => return failure,
    };
    failure.says = format!("{}\n  {flag}", failure.says);
    failure
}

/// Has a person agree to a plan. What they typed, where the risk demands it.
fn agree(plan: &Plan, args: &Args) -> Result<Option<String>, Failure> {
    let asks = std::io::stdin().is_terminal();
    let not = |says: &str| Err(Failure::new(Exit::Refused, format!("nothing was started: {says}")));
    match to_type(plan.risk, &plan.title, &plan.runbook) {
        Some(target) => {
            let typed = match &args.confirm {
                Some(given) => given.clone(),
                None if asks => ask(&format!("Type {target} to start it: ")).unwrap_or_default(),
                None => {
                    return not(&format!(
                        "it is of high risk; give --confirm {target} --plan-hash {}",
                        plan.hash
                    ));
                }
            };
            if typed.trim() == target {
                Ok(Some(typed))
            } else {
                not(&format!("`{}` is not `{target}`", typed.trim()))
            }
        }
        None if args.yes => Ok(None),
        None if asks => match ask("Start it? [y/N] ").unwrap_or_default().trim() {
            "y" | "Y" | "yes" => Ok(None),
            _ => not("you did not say yes"),
        },
        None => not(&format!("nobody is there to say yes; give --yes, or --plan-hash {}", plan.hash)),
    }
}

/// `firebreak watch`
#[derive(clap::Args)]
#[command(after_help = super::exit::CODES)]
pub(crate) struct Watch {
    #[command(flatten)]
    of: Of,
}

/// Watches a run.
pub(crate) async fn watch(args: Watch) -> anyhow::Result<ExitCode> {
    let (server, run) = args.of.find().await?;
    watch::to_the_end(&server, &run.to_string(), args.of.remote.json).await
}

/// The error of a run that is told as JSON.
pub(super) fn ended(told: &Value) -> Exit {
    Exit::of_state(word(&told["run"], "state"))
}
