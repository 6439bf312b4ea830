//! `firebreak readiness`: what would refuse tonight. Exit code 1 when something would, so that a script or a cron job can ask.

use std::process::ExitCode;

use serde_json::Value;

use super::server::Server;
use super::words::{day, table, word};
use super::{Remote, tell};

pub(crate) async fn readiness(remote: Remote) -> anyhow::Result<ExitCode> {
    let answer = Server::of(&remote)?.get("/api/v1/readiness").await?;
    let rows = answer["readiness"].as_array().cloned().unwrap_or_default();
    tell(remote.json, &answer, |_| match rows.as_slice() {
        [] => "There is nothing to rehearse: no runbook, or no target in the inventory.".into(),
        rows => table(&lines(rows)),
    });
    let stops = rows.iter().any(|row| row["shown"]["ready"] == false);
    Ok(if stops { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What would stop comes first, and what cannot be rehearsed last: a line for each runbook.
fn lines(rows: &[Value]) -> Vec<Vec<String>> {
    let (mut told, asking): (Vec<_>, Vec<_>) = rows.iter().partition(|row| asks(row).is_empty());
    told.sort_by_key(|row| row["shown"]["ready"] != false);
    let same = |a: &&Value, b: &&Value| a["runbook"] == b["runbook"] && a["asks"] == b["asks"];
    let untold = asking.chunk_by(same).map(|rows| {
        let target = match rows {
            [one] => word(one, "target").to_owned(),
            many => format!("{} targets", many.len()),
        };
        let why = format!("a person must say {}", asks(rows[0]).join(" and "));
        vec![word(rows[0], "runbook").into(), target, "not rehearsed".into(), String::new(), why]
    });
    told.into_iter().map(line).chain(untold).collect()
}

fn asks(row: &Value) -> Vec<&str> {
    row["asks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn line(row: &Value) -> Vec<String> {
    let shown = &row["shown"];
    let (state, why) = match shown["ready"].as_bool() {
        Some(true) => ("ready", String::new()),
        Some(false) => ("WOULD STOP", format!("{} (at {})", word(shown, "message"), word(shown, "step"))),
        None => ("not rehearsed yet", String::new()),
    };
    let at = if shown["at"].is_null() { String::new() } else { day(&shown["at"]) };
    vec![word(row, "runbook").into(), word(row, "target").into(), state.into(), at, why]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_stop_comes_first_and_what_nobody_can_rehearse_is_a_line() {
        let ready = json!({ "runbook": "heal", "target": "cluster:a", "shown": { "ready": true } });
        let stops = json!({ "runbook": "heal", "target": "cluster:b",
            "shown": { "ready": false, "message": "It is full.", "step": "room", "at": null } });
        let asking =
            |target: &str| json!({ "runbook": "resize", "target": target, "asks": ["class", "zone"] });
        let rows = [ready, asking("cluster:a"), stops, asking("cluster:b")];
        let told: Vec<_> = lines(&rows).iter().map(|line| line.join("|")).collect();
        assert_eq!(
            told,
            [
                "heal|cluster:b|WOULD STOP||It is full. (at room)",
                "heal|cluster:a|ready||",
                "resize|2 targets|not rehearsed||a person must say class and zone",
            ]
        );
    }
}
