//! `firebreak drills …`: drills that people play on a server's pages (`firebreak demo`), from a terminal.
//!
//! While one is played, every other verb is of its world: `firebreak signals` shows what is seen there, and whatever is run happens
//! there. `firebreak drill FILE` plays one without any server.

use std::process::ExitCode;

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use domain::words::span;
use serde_json::{Value, json};
use uuid::Uuid;

use super::complete::offers;
use super::exit::{Exit, Failure};
use super::server::Server;
use super::words::{Ink, day, paint, table, time, word};
use super::{Remote, tell};
use crate::terminal::remark;

/// `firebreak drills`
#[derive(Subcommand)]
#[command(after_help = super::exit::CODES)]
pub(crate) enum Drills {
    /// List those that can be played, the one that is, and those that were
    List(Remote),
    /// Start one, in a world of its own
    Start {
        /// Its name, from `firebreak drills list`
        #[arg(add = ArgValueCompleter::new(offers))]
        drill: String,
        /// Let Firebreak act: every trigger may start its runbook
        #[arg(long)]
        firebreak: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show how one stands, or its score
    Show(Of),
    /// End the one that is on and score it; its world stays to be looked at
    End(Of),
    /// Take its world away; one that is not over is given up, without a score
    Leave(Of),
}

/// Which one.
#[derive(clap::Args)]
pub(crate) struct Of {
    /// Its id; the one that is on when left out
    drill: Option<Uuid>,
    #[command(flatten)]
    remote: Remote,
}

/// Runs a subcommand.
pub(crate) async fn drills(command: Drills) -> anyhow::Result<ExitCode> {
    match command {
        Drills::List(remote) => {
            let answer = Server::of(&remote)?.get("/api/v1/drills").await?;
            tell(remote.json, &answer, listed);
        }
        Drills::Start { drill, firebreak, remote } => {
            let server = Server::of(&remote)?;
            let player = if firebreak { "firebreak" } else { "people" };
            let told = server.post("/api/v1/drills", &json!({ "drill": drill, "player": player })).await?;
            tell(remote.json, &told, shown);
            remark(format!(
                "until it is left, all pages and verbs are of its world: {}/drills/{}",
                server.url,
                word(&told["drill"], "id")
            ));
        }
        Drills::Show(of) => {
            let (server, id) = of.find().await?;
            let told = server.get(&format!("/api/v1/drills/{id}")).await?;
            tell(of.remote.json, &told, shown);
        }
        Drills::End(of) => {
            let (server, id) = of.find().await?;
            let told = server.post(&format!("/api/v1/drills/{id}/end"), &json!({})).await?;
            tell(of.remote.json, &told, shown);
        }
        Drills::Leave(of) => {
            let (server, id) = of.find().await?;
            let told = server.post(&format!("/api/v1/drills/{id}/leave"), &json!({})).await?;
            tell(of.remote.json, &told, shown);
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Of {
    async fn find(&self) -> Result<(Server, Uuid), Failure> {
        let server = Server::of(&self.remote)?;
        if let Some(id) = self.drill {
            return Ok((server, id));
        }
        let all = server.get("/api/v1/drills").await?;
        let on = word(&all["playing"], "id").parse().map_err(|_| {
            Failure::new(
                Exit::Refused,
                "no drill is being played\n  `firebreak drills list` tells the ids of those that were.",
            )
        })?;
        Ok((server, on))
    }
}

fn listed(answer: &Value) -> String {
    let all = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let mut parts = Vec::new();
    if !answer["playing"].is_null() {
        let on = &answer["playing"];
        let state = if on["over"] == true { "over, and scored" } else { "being played" };
        parts.push(format!(
            "{}  {state}, started by {}  {}",
            word(on, "title"),
            word(on, "by"),
            word(on, "id")
        ));
    }
    if answer["offers"].is_null() {
        parts.push("No drills are played on this server; `firebreak demo` plays them.".into());
    } else {
        let row = |offer: &Value| {
            let real = if offer["real"] == true { "really happened" } else { "" };
            let why_not =
                offer["why_not"].as_str().map_or_else(String::new, |why| format!("(not here: {why})"));
            vec![word(offer, "name").into(), real.into(), format!("{} {why_not}", word(offer, "title"))]
        };
        parts.push(table(&all("offers").iter().map(row).collect::<Vec<_>>()));
    }
    let row = |drill: &Value| {
        let result = match (drill["recovered"].as_bool(), drill["ended_at"].is_null()) {
            (Some(true), _) => drill["seconds_to_recovered"]
                .as_i64()
                .map_or("all well".into(), |s| format!("all well after {}", span(s))),
            (Some(false), _) => "not all well".into(),
            (None, false) => "given up".into(),
            (None, true) => "goes on".into(),
        };
        vec![
            word(drill, "id").into(),
            day(&drill["started_at"]),
            word(drill, "player").into(),
            word(drill, "by").into(),
            result,
            word(drill, "title").into(),
        ]
    };
    let played = all("played");
    if !played.is_empty() {
        parts.push(format!("Played here:\n{}", table(&played.iter().map(row).collect::<Vec<_>>())));
    }
    parts.join("\n\n")
}

fn shown(told: &Value) -> String {
    let (drill, on) = (&told["drill"], &told["playing"]);
    let who = if drill["player"] == "people" { "people act" } else { "Firebreak acts" };
    let mut lines = vec![format!(
        "{}  ({}, {who}, started by {})",
        word(drill, "title"),
        word(drill, "name"),
        word(drill, "by")
    )];
    match (drill["score"].is_null(), on.is_null()) {
        (true, false) => {
            let since = time(&on["now"])
                .zip(time(&on["trigger"]))
                .map(|(now, trigger)| (now - trigger).num_seconds());
            lines.push(match since {
                Some(s) if s < 0 => format!("It goes wrong in {}.", span(-s)),
                Some(s) => format!("It went wrong {} ago.", span(s)),
                None => "It is being played.".into(),
            });
            let now = on["here"].as_array().and_then(|here| here.last()).and_then(|last| last[1].as_f64());
            if let Some(share) = now {
                lines.push(format!("Requests of {} that fail now: {}", word(on, "cluster"), percent(share)));
            }
        }
        (true, true) => lines.push("It did not come to its end, so there is no score.".into()),
        (false, _) => lines.extend(scored(&drill["score"])),
    }
    if on["over"] == true {
        lines.push("It is over; its world is still there until it is left: `firebreak drills leave`.".into());
    }
    lines.join("\n")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// How it went, here and in reality.
fn scored(score: &Value) -> Vec<String> {
    let real = &score["reality"];
    let at = |value: &Value| value.as_i64().map_or("–".into(), span);
    let share = |value: &Value| value.as_f64().map_or("–".into(), percent);
    let mut rows = vec![
        vec![
            "trouble to decision".into(),
            at(&score["seconds_to_decision"]),
            at(&real["seconds_to_decision"]),
        ],
        vec!["trouble to first change".into(), at(&score["seconds_to_first_change"]), "not told".into()],
        vec![
            "trouble to all well".into(),
            at(&score["seconds_to_recovered"]),
            at(&real["seconds_to_recovered"]),
        ],
        vec![
            "most requests that failed at once".into(),
            share(&score["error_share_peak"]),
            share(&real["error_share_peak"]),
        ],
    ];
    if real.is_null() {
        rows.iter_mut().for_each(|row| row.truncate(2));
    } else {
        rows.insert(0, vec![String::new(), "here".into(), "in reality".into()]);
    }
    let mut lines = vec![if score["recovered"] == true {
        paint(Ink::Good, "All well.")
    } else {
        paint(Ink::Bad, "Not all well.")
    }];
    lines.push(table(&rows));
    let count = |name: &str| score[name].as_f64().unwrap_or_default();
    lines.push(format!(
        "Requests of {} that failed: {:.0}; had nobody acted in the same time: {:.0}. Changes made: {}.",
        word(score, "cluster"),
        count("failed_requests"),
        count("failed_requests_nobody"),
        score["changes"]
    ));
    for run in score["runs"].as_array().into_iter().flatten() {
        let after = run["at_s"].as_i64().map_or_else(String::new, span);
        lines.push(format!(
            "  {after}  {}  {}  ({})",
            word(run, "title"),
            word(run, "state").replace('_', " "),
            word(run, "by")
        ));
    }
    let remarks = score["remarks"].as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.extend(remarks.map(|remark| paint(Ink::Warn, &format!("! {remark}"))));
    lines
}
