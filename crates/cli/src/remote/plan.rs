//! `firebreak plan`: what a run would do, for people to read.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::engine::ArgValueCompleter;
use domain::plan::{Plan, PlannedOutcome, Verdict, to_type};
use domain::words::{brief, shorten, span};
use serde_json::{Map, Value};

use super::Remote;
use super::complete::{inputs, runbooks};
use super::exit::{Exit, Failure};
use super::server::Server;
use super::words::{Ink, paint};
use crate::terminal::say;

/// Which runbook, and with what.
#[derive(clap::Args)]
pub(crate) struct What {
    /// The runbook, such as replace-proxysql
    #[arg(add = ArgValueCompleter::new(runbooks))]
    pub(super) runbook: String,
    /// Its inputs, such as fleet=proxysql-us
    #[arg(value_name = "INPUT=VALUE", add = ArgValueCompleter::new(inputs))]
    pub(super) inputs: Vec<String>,
}

/// `firebreak plan`
#[derive(clap::Args)]
#[command(after_help = super::exit::CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    remote: Remote,
}

impl What {
    /// The inputs, by name.
    pub(super) fn read(&self) -> Result<Map<String, Value>, Failure> {
        let mut read = Map::new();
        for given in &self.inputs {
            let Some((name, value)) = given.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(Failure::new(Exit::Usage, format!("`{given}`: write inputs as name=value")));
            };
            if read.insert(name.to_owned(), value.into()).is_some() {
                return Err(Failure::new(Exit::Usage, format!("the input `{name}` is given twice")));
            }
        }
        Ok(read)
    }

    /// The path of a runbook's plan.
    pub(super) async fn plan(&self, server: &Server) -> anyhow::Result<Plan> {
        let path = format!("/api/v1/runbooks/{}/plan", escaped(&self.runbook));
        let plan = server.post(&path, &Value::Object(self.read()?)).await?;
        serde_json::from_value(plan)
            .context("the plan is not one that this version reads; is the server newer?")
    }
}

/// A word as part of a path.
pub(super) fn escaped(word: &str) -> String {
    word.bytes()
        .map(|b| match b {
            b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// Prints a plan; ends with 3 when it would be refused.
pub(crate) async fn plan(args: Args) -> anyhow::Result<ExitCode> {
    let plan = args.what.plan(&Server::of(&args.remote)?).await?;
    say(if args.remote.json { serde_json::to_string_pretty(&plan)? } else { told(&plan) });
    Ok(verdict(&plan).into())
}

/// Would it begin, and go through?
pub(super) fn verdict(plan: &Plan) -> Exit {
    if plan.verdict == Verdict::Ready { Exit::Succeeded } else { Exit::Refused }
}

/// A plan in words: what it does first, then each step, then what speaks against it.
pub(super) fn told(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |text_of: String| _ = writeln!(text, "{text_of}");
    line(format!(
        "{}  {}",
        paint(Ink::Bold, &plan.title),
        paint(Ink::Dim, &format!("({} risk)", risk(plan)))
    ));
    if let Some(impact) = &plan.impact {
        line(impact.clone());
    }
    if plan.customers_percent > 0.0 {
        line(format!(
            "Clusters with {:.1} % of all customers are reached through it.",
            plan.customers_percent
        ));
    }
    line(duration(plan));
    line(String::new());
    let mut above: Vec<&str> = Vec::new();
    for step in &plan.steps {
        // What is done for several items is told for each: under its name, and that of the step which goes through them.
        for around in step.path.around() {
            let told = above.contains(&around) || plan.steps.iter().any(|s| s.path.as_str() == around);
            if !told {
                above.push(around);
                line(format!("  {}{}", "  ".repeat(deep(around)), paint(Ink::Bold, last(around))));
            }
        }
        let (mark, colour, says) = outcome(&step.outcome);
        let indent = "  ".repeat(deep(step.path.as_str()));
        let ink = if step.one_way { Ink::Warn } else { Ink::Dim };
        let way =
            step.way_back().map_or(String::new(), |way| paint(ink, &format!("  {}", way.to_lowercase())));
        let says = if says.is_empty() { says } else { format!("  {}", paint(Ink::Dim, &says)) };
        line(format!("  {indent}{} {}{says}{way}", paint(colour, mark), step.title));
        if let PlannedOutcome::Changes { changes } = &step.outcome {
            for c in changes {
                let change = format!(
                    "{}: {}  {} → {}",
                    c.object,
                    c.property,
                    brief(&c.before),
                    paint(Ink::Bold, &brief(&c.after))
                );
                line(format!("      {indent}{change}"));
            }
        }
    }
    line(String::new());
    for lock in &plan.locks {
        let held = lock.held_by.as_ref().map_or("free".to_owned(), |run| format!("held by run {run}"));
        line(format!("Lock      {} ({held})", lock.target));
    }
    for brake in &plan.brakes {
        line(format!("{}  {brake}. {}", paint(Ink::Bad, "Held back"), brake.remedy()));
    }
    for work in &plan.foreign {
        line(format!("{}  somebody else is at work on {work}", paint(Ink::Bad, "Held back")));
    }
    line(match &plan.verdict {
        Verdict::Ready if plan.is_held_back() => {
            format!(
                "Verdict   {}: every guard holds, but it is not free to start",
                paint(Ink::Warn, "held back")
            )
        }
        Verdict::Ready => format!("Verdict   {}: nothing speaks against it", paint(Ink::Good, "ready")),
        Verdict::Stops { step, message } => {
            format!("Verdict   {} at `{step}`: {message}", paint(Ink::Bad, "stops"))
        }
    });
    if let Some(target) = to_type(plan.risk, &plan.title, &plan.runbook) {
        line(format!("Confirm   by typing {}", paint(Ink::Bold, target)));
    }
    text.push_str(&format!("Plan      {}", plan.hash));
    text
}

/// So far in a step stands.
fn deep(path: &str) -> usize {
    path.matches(['.', '[']).count().min(6)
}

/// The last word of a path: a step, a branch, or an item.
fn last(path: &str) -> &str {
    path.rsplit(['.', '[']).next().unwrap_or(path).trim_end_matches(']')
}

fn risk(plan: &Plan) -> String {
    serde_json::to_value(plan.risk).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn duration(plan: &Plan) -> String {
    let seconds = |s: u64| span(i64::try_from(s).unwrap_or(i64::MAX));
    match &plan.forecast {
        Some(forecast) => match &forecast.total {
            Some(took) if took.of == 1 => {
                format!("It took {} the one time that it succeeded.", seconds(took.p50_s))
            }
            Some(took) => {
                let most = took.tells_most().then(|| seconds(took.p95_s));
                let most = most.map(|most| format!(", in 95 of 100 runs at most {most}")).unwrap_or_default();
                let usual = seconds(took.p50_s);
                format!("Usually takes {usual}{most} (of the last {} that succeeded).", took.of)
            }
            None => {
                format!("It has not succeeded yet; its runbook expects {}.", seconds(forecast.expected_s))
            }
        },
        None => "How long it takes is not known.".into(),
    }
}

/// Mark, colour and words of what would come of a step.
fn outcome(outcome: &PlannedOutcome) -> (&'static str, Ink, String) {
    let seen = |facts: &Map<String, Value>| {
        let all: Vec<_> = facts
            .iter()
            .map(|(name, value)| format!("{} = {}", name.trim_start_matches("steps."), brief(value)))
            .collect();
        shorten(&all.join(", "), 160)
    };
    match outcome {
        PlannedOutcome::Looked => ("✔", Ink::Good, "looked just now".into()),
        PlannedOutcome::Holds { facts } => ("✔", Ink::Good, seen(facts)),
        PlannedOutcome::Stops { message, facts } => {
            ("✘", Ink::Bad, format!("{message} {}", seen(facts)).trim().to_owned())
        }
        PlannedOutcome::Value => ("=", Ink::Dim, String::new()),
        PlannedOutcome::Skipped { why } => ("↷", Ink::Dim, format!("left out: {why}")),
        PlannedOutcome::Changes { .. } => ("●", Ink::Busy, String::new()),
        PlannedOutcome::AlreadySo => ("✔", Ink::Good, "is so already".into()),
        PlannedOutcome::KnownAfter { step } => ("○", Ink::Dim, format!("known after {step}")),
        PlannedOutcome::Waits { until, timeout_s } => {
            let most = span(i64::try_from(*timeout_s).unwrap_or(i64::MAX));
            ("◷", Ink::Dim, format!("waits until {}, at most {most}", shorten(until, 80)))
        }
        PlannedOutcome::Runs { runbook, .. } => ("▶", Ink::Busy, format!("runs {runbook}")),
        PlannedOutcome::LetsPass { seconds } => {
            ("◷", Ink::Dim, format!("lets {} pass", span(i64::try_from(*seconds).unwrap_or(i64::MAX))))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    fn plan(steps: Vec<Value>) -> domain::plan::Plan {
        let plan = json!({
            "runbook": "replace-proxysql", "title": "Replace hosts", "runbook_hash": "0", "inputs": {}, "impact": null,
            "risk": "medium", "at": "2024-05-07T14:42:00Z", "locks": [], "customers_percent": 0.0, "steps": steps,
            "verdict": { "verdict": "ready" }, "hash": "0",
        });
        serde_json::from_value(plan).unwrap()
    }

    #[test]
    fn what_few_runs_have_told_is_no_maximum() {
        let told = |of: u64| {
            let total = json!({ "p50_s": 134, "p95_s": 250, "of": of });
            let mut plan = plan(Vec::new());
            plan.forecast =
                serde_json::from_value(json!({ "total": total, "steps": {}, "expected_s": 60 })).unwrap();
            super::duration(&plan)
        };
        assert_eq!(told(1), "It took 2 m 14 s the one time that it succeeded.");
        assert_eq!(told(4), "Usually takes 2 m 14 s (of the last 4 that succeeded).");
        assert_eq!(
            told(5),
            "Usually takes 2 m 14 s, in 95 of 100 runs at most 4 m 10 s (of the last 5 that succeeded)."
        );
    }

    #[test]
    fn a_change_says_whether_it_can_be_taken_back() {
        let step = |title: &str, way: &str, outcome: Value| {
            let mut step = json!({ "path": title, "title": title, "action": "a.b", "one_way": false, "outcome": outcome });
            step[way] = true.into();
            step
        };
        let later = || json!({ "outcome": "known_after", "step": "group" });
        let told = super::told(&plan(vec![
            step("Suspend", "undoable", json!({ "outcome": "changes", "changes": [] })),
            step("Drain", "undoable", later()),
            step("Protect", "taken_back", later()),
            step("Terminate", "one_way", later()),
            step("Detach", "undoable", json!({ "outcome": "already_so" })),
        ]));
        let lines: Vec<&str> = told.lines().skip_while(|line| !line.contains("Suspend")).take(5).collect();
        assert_eq!(
            lines,
            [
                "  ● Suspend  can be taken back",
                "  ○ Drain  known after group  can be taken back",
                "  ○ Protect  known after group  taken back at the end",
                "  ○ Terminate  known after group  no way back",
                "  ✔ Detach  is so already",
            ]
        );
    }

    #[test]
    fn what_is_done_for_several_hosts_stands_under_the_name_of_each() {
        let step = |path: &str, title: &str| json!({ "path": path, "title": title, "action": null, "one_way": false, "outcome": { "outcome": "looked" } });
        let told = super::told(&plan(vec![
            step("group", "Look at the group"),
            step("remove[i-1].drain", "Let clients finish"),
            step("remove[i-1].end", "Terminate the host"),
            step("remove[i-2].drain", "Let clients finish"),
        ]));
        let lines: Vec<&str> = told.lines().skip_while(|line| !line.contains("Look at")).take(7).collect();
        assert_eq!(
            lines,
            [
                "  ✔ Look at the group  looked just now",
                "  remove",
                "    i-1",
                "      ✔ Let clients finish  looked just now",
                "      ✔ Terminate the host  looked just now",
                "    i-2",
                "      ✔ Let clients finish  looked just now",
            ]
        );
    }
}
