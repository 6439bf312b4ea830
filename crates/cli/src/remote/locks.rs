//! Brakes over the API: what `firebreak stop`, `allow-changes`, `freeze`, `lock` and `unlock` do where there is no configuration file
//! of the server, and so no database.

use std::process::ExitCode;

use anyhow::Context as _;
use domain::words::many;
use serde_json::{Value, json};

use super::exit::Failure;
use super::server::Server;
use super::words::{day, table, word};
use super::{Remote, tell};
use crate::brakes::{Freeze, Lock};

/// The server, and the way around it: who cannot hold Firebreak back by it must not look for one while it acts.
fn server(remote: &Remote) -> Result<Server, Failure> {
    let way = "With --config FILE, the server's configuration, this needs its database alone.";
    Ok(Server::of(remote)?.or(way))
}

/// `firebreak locks`
pub(crate) async fn list(remote: Remote) -> anyhow::Result<ExitCode> {
    let brakes = server(&remote)?.get("/api/v1/brakes").await?;
    tell(remote.json, &brakes, |brakes| {
        let mut lines: Vec<String> = stopped(brakes).collect();
        let row = |lock: &Value| {
            let what = lock["title"].as_str().or(lock["reason"].as_str()).unwrap_or_default();
            let run = lock["run_id"].as_str().unwrap_or("by hand");
            let until = if lock["until"].is_null() {
                String::new()
            } else {
                format!("until {}", day(&lock["until"]))
            };
            vec![
                word(lock, "target").into(),
                word(lock, "holder").into(),
                run.into(),
                format!("since {}", day(&lock["since"])),
                format!("{what} {until}"),
            ]
        };
        match brakes["locks"].as_array() {
            Some(locks) if !locks.is_empty() => lines.push(table(&locks.iter().map(row).collect::<Vec<_>>())),
            _ => lines.push("Nothing is locked.".into()),
        }
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The kill switches that are on.
pub(crate) fn stopped(brakes: &Value) -> impl Iterator<Item = String> {
    brakes["switches"].as_array().into_iter().flatten().map(|switch| {
        let scope = Some(word(switch, "scope")).filter(|s| *s != "*").unwrap_or("everything");
        format!("CHANGES OF {scope} ARE STOPPED by {}: {}", word(switch, "by"), word(switch, "reason"))
    })
}

/// `firebreak stop` (or, released, `firebreak allow-changes`).
pub(crate) async fn switch(
    remote: Remote,
    on: bool,
    runbook: Option<&str>,
    reason: &str,
) -> anyhow::Result<ExitCode> {
    let path = if on { "/api/v1/brakes/stop" } else { "/api/v1/brakes/allow" };
    let answer = server(&remote)?.post(path, &json!({ "runbook": runbook, "reason": reason })).await?;
    let of = runbook.map_or("everything".to_owned(), |name| format!("`{name}`"));
    tell(remote.json, &answer, |_| match on {
        true => format!("Changes of {of} are stopped; within a second no replica begins one."),
        false => format!(
            "Changes of {of} are allowed again. Runs that were stopped stay paused: look at each, and resume it."
        ),
    });
    Ok(ExitCode::SUCCESS)
}

/// `firebreak freeze …`
pub(crate) async fn freeze(remote: Remote, command: Freeze) -> anyhow::Result<ExitCode> {
    let (server, base) = (server(&remote)?, "/api/v1/brakes/freezes");
    let answer = match command {
        Freeze::List(_) => {
            let brakes = server.get("/api/v1/brakes").await?;
            tell(remote.json, &brakes["freezes"], |freezes| {
                let row = |f: &Value| {
                    let scope = Some(word(f, "scope")).filter(|s| *s != "*").unwrap_or("everything");
                    vec![
                        word(f, "id").into(),
                        day(&f["starts"]),
                        day(&f["ends"]),
                        scope.into(),
                        format!("{} ({})", word(f, "reason"), word(f, "by")),
                    ]
                };
                match freezes.as_array() {
                    Some(all) if !all.is_empty() => table(&all.iter().map(row).collect::<Vec<_>>()),
                    _ => "No freeze, now or to come.".into(),
                }
            });
            return Ok(ExitCode::SUCCESS);
        }
        Freeze::Add { runbook, from, until, reason, .. } => {
            let body = json!({ "runbook": runbook, "starts": from, "ends": until, "reason": reason });
            server.post(base, &body).await?
        }
        Freeze::Lift { id, reason, .. } => {
            server.post(&format!("{base}/{id}/lift"), &json!({ "reason": reason })).await?
        }
        Freeze::Import { file, runbook, zone, .. } => {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("the calendar {}", file.display()))?;
            server
                .post(
                    &format!("{base}/import"),
                    &json!({ "runbook": runbook, "calendar": text, "zone": zone }),
                )
                .await?
        }
    };
    tell(remote.json, &answer, |answer| match answer["id"].as_str() {
        Some(id) => id.to_owned(),
        None if answer["lifted"].is_string() => "Lifted.".into(),
        None => format!(
            "{}, {}; they replace {} of before.",
            many(&answer["events"], "event"),
            many(&answer["windows"], "window"),
            many(&answer["replaced"], "window")
        ),
    });
    Ok(ExitCode::SUCCESS)
}

/// `firebreak lock …`
pub(crate) async fn lock(remote: Remote, command: Lock) -> anyhow::Result<ExitCode> {
    let base = "/api/v1/brakes/locks";
    let (path, body, says) = match command {
        Lock::List(_) => return list(remote).await,
        Lock::Take { target, reason, until, .. } => {
            let says = format!("`{target}` is yours; nobody else starts a run on it.");
            (base.to_owned(), json!({ "target": target, "reason": reason, "until": until }), says)
        }
        Lock::GiveBack { target, reason, .. } => {
            let says = format!("`{target}` is free of hands.");
            (format!("{base}/give-back"), json!({ "target": target, "reason": reason }), says)
        }
        Lock::Force { target, run, reason, .. } => {
            let says = format!(
                "`{target}` is free. Run {run} stays where it is until it has it back; read its page before you act on the target."
            );
            (format!("{base}/force"), json!({ "target": target, "run_id": run, "reason": reason }), says)
        }
    };
    let answer = server(&remote)?.post(&path, &body).await?;
    tell(remote.json, &answer, |_| says);
    Ok(ExitCode::SUCCESS)
}
