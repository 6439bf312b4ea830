//! `firebreak readiness`: what would refuse tonight. Exit code 1 when something would, so that a script or a cron job can ask.

use std::process::ExitCode;

use serde_json::Value;

use super::server::Server;
use super::words::{clock, table, word};
use super::{Remote, tell};

pub(crate) async fn readiness(remote: Remote) -> anyhow::Result<ExitCode> {
    let answer = Server::of(&remote)?.get("/api/v1/readiness").await?;
    let rows = answer["readiness"].as_array().cloned().unwrap_or_default();
    tell(remote.json, &answer, |_| match rows.as_slice() {
        [] => "There is nothing to rehearse: no runbook, or no target in the inventory.".into(),
        rows => table(&rows.iter().map(row).collect::<Vec<_>>()),
    });
    let stops = rows.iter().any(|row| row["shown"]["ready"] == false);
    Ok(if stops { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn row(row: &Value) -> Vec<String> {
    let shown = &row["shown"];
    let asks: Vec<&str> = row["asks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (state, why) = match shown["ready"].as_bool() {
        Some(true) => ("ready", String::new()),
        Some(false) => ("WOULD STOP", format!("{} (at {})", word(shown, "message"), word(shown, "step"))),
        None if !asks.is_empty() => ("not rehearsed", format!("a person says {}", asks.join(" and "))),
        None => ("not rehearsed yet", String::new()),
    };
    let at = if shown["at"].is_null() { String::new() } else { clock(&shown["at"]) };
    vec![word(row, "runbook").into(), word(row, "target").into(), state.into(), at, why]
}
