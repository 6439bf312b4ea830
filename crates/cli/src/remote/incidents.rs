//! `firebreak incident …`: what people do together about one trouble, from a terminal.
//!
//! ```text
//!  list · show ─────────────────────────────────────▶ read
//!  open · note · take · hand-over · severity · title · close ─▶ said, and told how the incident stands then
//! ```
//!
//! An incident is named as people say it, `INC-17` or `17`, or by its id.

use std::process::ExitCode;

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use domain::words::span;
use serde_json::{Value, json};

use super::complete::{incidents, open_incidents, targets};
use super::exit::{Exit, Failure};
use super::lists::List;
use super::plan::escaped;
use super::server::Server;
use super::words::{Ink, between, day, mark, paint, table, time, word};
use super::{Remote, tell};
use crate::terminal::{remark, say};

/// `firebreak incident`
#[derive(Subcommand)]
#[command(after_help = super::exit::CODES)]
pub(crate) enum Incident {
    /// List incidents, the newest first
    List(Listing),
    /// Show one: who has it, its times, runs and timeline
    Show {
        #[command(flatten)]
        of: Any,
        /// Write its post-mortem pack (Markdown) to stdout instead
        #[arg(long, conflicts_with = "json")]
        post_mortem: bool,
    },
    /// Open one, or find the one that is open at one of these targets
    Open {
        /// What is struck, such as fleet:proxysql-us; again for more
        #[arg(long = "target", required = true, value_name = "TARGET", add = ArgValueCompleter::new(targets))]
        targets: Vec<String>,
        /// What is wrong, in a few words
        #[arg(required = true, value_name = "TITLE")]
        title: Vec<String>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Write something into it
    Note {
        #[command(flatten)]
        of: Any,
        /// What you see, think, or decide
        #[arg(required = true, value_name = "TEXT")]
        text: Vec<String>,
    },
    /// Take the driver's seat: "I have it"
    Take {
        #[command(flatten)]
        of: Open,
        /// Also when somebody else has it
        #[arg(long)]
        over: bool,
    },
    /// Give the driver's seat to somebody else
    HandOver {
        #[command(flatten)]
        of: Open,
        /// To whom
        #[arg(long, value_name = "NAME")]
        to: String,
        /// What they should know
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
    /// Say how bad it is
    Severity {
        #[command(flatten)]
        of: Any,
        /// From everybody cannot work (sev1) to no customer notices yet (sev4)
        #[arg(value_parser = ["sev1", "sev2", "sev3", "sev4"], ignore_case = true)]
        severity: String,
    },
    /// Say what it is about
    Title {
        #[command(flatten)]
        of: Any,
        /// In a few words
        #[arg(required = true, value_name = "TITLE")]
        title: Vec<String>,
    },
    /// Say that it is over; once its signals have been over for a while it closes by itself
    Close {
        #[command(flatten)]
        of: Open,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

/// `firebreak incident list`
#[derive(clap::Args)]
pub(crate) struct Listing {
    /// Only those that are open
    #[arg(long)]
    open: bool,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = super::at_least_one)]
    limit: usize,
    /// Go on where an earlier list ended: only those before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    #[command(flatten)]
    remote: Remote,
}

/// Which one, of all.
#[derive(clap::Args)]
pub(crate) struct Any {
    /// The incident, such as INC-17
    #[arg(add = ArgValueCompleter::new(incidents))]
    incident: String,
    #[command(flatten)]
    remote: Remote,
}

/// Which one, of those that are open.
#[derive(clap::Args)]
pub(crate) struct Open {
    /// The incident, such as INC-17
    #[arg(add = ArgValueCompleter::new(open_incidents))]
    incident: String,
    #[command(flatten)]
    remote: Remote,
}

/// Runs a subcommand.
pub(crate) async fn incident(command: Incident) -> anyhow::Result<ExitCode> {
    match command {
        Incident::List(listing) => list(listing).await,
        Incident::Show { of, post_mortem } => show(&of, post_mortem).await,
        Incident::Open { targets, title, remote } => open(&remote, &targets, &title.join(" ")).await,
        Incident::Note { of, text } => {
            put(&of.remote, &of.incident, &json!({ "ask": "note", "text": text.join(" ") })).await
        }
        Incident::Take { of, over } => take(&of, over).await,
        Incident::HandOver { of, to, note } => {
            put(&of.remote, &of.incident, &json!({ "ask": "hand_over", "to": to, "note": note })).await
        }
        Incident::Severity { of, severity } => {
            let ask = json!({ "ask": "severity", "severity": severity.to_lowercase() });
            put(&of.remote, &of.incident, &ask).await
        }
        Incident::Title { of, title } => {
            put(&of.remote, &of.incident, &json!({ "ask": "title", "title": title.join(" ") })).await
        }
        Incident::Close { of, reason } => {
            put(&of.remote, &of.incident, &json!({ "ask": "close", "reason": reason })).await
        }
    }
}

async fn list(args: Listing) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.remote)?;
    let query = args.open.then(|| ("open", "1".to_owned())).into_iter().collect();
    let list = List { path: "/api/v1/incidents", name: "incidents", cursor: "before", query };
    let before = args.before.map(|number| number.to_string());
    let (found, next) = list.read(&server, before.as_deref(), args.limit).await?;
    let next = next.and_then(|next| next.parse::<i64>().ok());
    tell(args.remote.json, &json!({ "incidents": found, "next": next }), |_| match found.as_slice() {
        [] if args.open => "No incident is open.".into(),
        [] => "No incidents.".into(),
        all => table(&all.iter().map(row).collect::<Vec<_>>()),
    });
    if let Some(next) = next.filter(|_| !args.remote.json) {
        remark(format!("there are more: --before {next}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(incident: &Value) -> Vec<String> {
    let state = if incident["closed_at"].is_null() { "open" } else { "closed" };
    let lasted = between(&incident["opened_at"], &incident["closed_at"]);
    vec![
        name(incident),
        day(&incident["opened_at"]),
        state.into(),
        lasted.map_or_else(String::new, |lasted| span(lasted.num_seconds())),
        word(incident, "severity").to_uppercase(),
        incident["driver"].as_str().unwrap_or("nobody").into(),
        word(incident, "title").into(),
    ]
}

fn name(incident: &Value) -> String {
    format!("INC-{}", incident["number"])
}

fn path(incident: &str) -> String {
    format!("/api/v1/incidents/{}", escaped(incident.trim()))
}

async fn show(of: &Any, post_mortem: bool) -> anyhow::Result<ExitCode> {
    let server = Server::of(&of.remote)?;
    if post_mortem {
        say(server.text(&format!("{}/post-mortem.md", path(&of.incident))).await?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let told = server.get(&path(&of.incident)).await?;
    tell(of.remote.json, &told, |told| {
        let mut lines = head(&told["incident"]);
        lines.extend(measured(&told["times"]));
        let all = |name: &str| told[name].as_array().into_iter().flatten();
        let firing = all("signals").filter(|signal| signal["state"] == "firing").count();
        if firing > 0 {
            lines.push(paint(Ink::Bad, &format!("  signals   {firing} of {} fire", all("signals").count())));
        }
        for run in all("runs").map(|run| &run["run"]) {
            let (mark, ink) = mark(word(run, "state"));
            let state = word(run, "state").replace('_', " ");
            let says = format!("{} {}  {state}  {}", paint(ink, mark), word(run, "title"), word(run, "id"));
            lines.push(format!("  run       {says}"));
        }
        for line in all("timeline") {
            let by = line["by"].as_str().map_or_else(String::new, |by| format!("  ({by})"));
            let offset = paint(Ink::Dim, &format!("{:>9}", word(line, "offset")));
            lines.push(format!("{offset}  {}{by}", word(line, "text")));
        }
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// What an incident is, and how it stands.
fn head(incident: &Value) -> Vec<String> {
    let open = incident["closed_at"].is_null();
    let state = if open { paint(Ink::Bad, "open") } else { paint(Ink::Good, "closed") };
    let mut lines = vec![format!("{}  {}  {state}", name(incident), word(incident, "title"))];
    let driver = match incident["driver"].as_str() {
        Some(driver) => format!("{driver} since {}", day(&incident["driver_since"])),
        None => "nobody has it".into(),
    };
    lines.push(format!("  driver    {driver}"));
    let severity = incident["severity"].as_str().map_or("nobody has said".into(), str::to_uppercase);
    lines.push(format!("  severity  {severity}"));
    let struck: Vec<_> =
        incident["targets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    lines.push(format!("  struck    {}", struck.join(", ")));
    lines.push(format!("  opened    {} by {}", day(&incident["opened_at"]), word(incident, "opened_by")));
    if !open {
        let by = incident["closed_by"].as_str().map_or("by itself".into(), |by| format!("by {by}"));
        lines.push(format!("  closed    {} {by}", day(&incident["closed_at"])));
    }
    lines
}

/// When what happened, and how long after what came before.
fn measured(times: &Value) -> Vec<String> {
    let steps = [
        ("first signal", "began"),
        ("first verdict", "judged"),
        ("decision", "decided"),
        ("first change", "changed"),
        ("symptom gone", "recovered"),
    ];
    let mut before: Option<domain::Timestamp> = None;
    let mut lines = Vec::new();
    for (says, name) in steps {
        let Some(at) = time(&times[name]) else { continue };
        let later =
            before.map(|before| format!(", {} later", span((at - before).num_seconds()))).unwrap_or_default();
        lines.push(format!("  {says:<14}{}{later}", day(&times[name])));
        before = Some(at);
    }
    lines
}

async fn open(remote: &Remote, targets: &[String], title: &str) -> anyhow::Result<ExitCode> {
    let server = Server::of(remote)?;
    let opened = server.post("/api/v1/incidents", &json!({ "title": title, "targets": targets })).await?;
    let incident = server.get(&path(word(&opened, "incident"))).await?["incident"].clone();
    tell(remote.json, &json!({ "incident": incident, "new": opened["new"] }), |_| {
        let how = if opened["new"] == true { "is open" } else { "is open there already" };
        format!("{} {how}: {}", name(&incident), word(&incident, "title"))
    });
    Ok(ExitCode::SUCCESS)
}

/// Whoever drives is asked before, because from a terminal nobody has seen who that is.
async fn take(of: &Open, over: bool) -> anyhow::Result<ExitCode> {
    let seen = Server::of(&of.remote)?.get(&path(&of.incident)).await?["incident"].clone();
    match seen["driver"].as_str() {
        Some(driver) if !over && seen["closed_at"].is_null() => {
            let says = format!(
                "{driver} has {} since {}\n  Take it over with --over.",
                name(&seen),
                day(&seen["driver_since"])
            );
            Err(Failure::new(Exit::Refused, says).into())
        }
        _ => put(&of.remote, &of.incident, &json!({ "ask": "take" })).await,
    }
}

async fn put(remote: &Remote, incident: &str, ask: &Value) -> anyhow::Result<ExitCode> {
    let answer = Server::of(remote)?.post(&format!("{}/ask", path(incident)), ask).await?;
    tell(remote.json, &answer, |answer| {
        let incident = &answer["incident"];
        let name = name(incident);
        match word(ask, "ask") {
            "note" => format!("Noted in {name}."),
            "severity" => format!("{name} is {}.", word(incident, "severity").to_uppercase()),
            "title" => format!("{name} is about: {}", word(incident, "title")),
            "take" => format!("You have {name}."),
            "hand_over" => format!("{} has {name}.", word(incident, "driver")),
            _ => format!("{name} is closed."),
        }
    });
    Ok(ExitCode::SUCCESS)
}
