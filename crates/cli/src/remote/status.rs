//! `firebreak status`: what is wrong, what to type against it, and who is on it already. The first page, in a terminal.

use std::process::ExitCode;

use domain::words::span;
use serde_json::Value;

use super::server::Server;
use super::words::{Ink, between, mark, moment, paint, word};
use super::{Remote, tell};

pub(crate) async fn status(remote: Remote) -> anyhow::Result<ExitCode> {
    let now = Server::of(&remote)?.get("/api/v1/situation").await?;
    tell(remote.json, &now, told);
    Ok(ExitCode::SUCCESS)
}

/// The worst first; an empty line between what is wrong and what is done.
fn told(now: &Value) -> String {
    let mut lines = brakes(now);
    lines.extend(findings(now));
    let rest = untold(now).chain(not_ready(now));
    let done: Vec<String> = incidents(now).chain(runs(now)).chain(locks(now)).chain(rest).collect();
    if !done.is_empty() {
        lines.push(String::new());
        lines.extend(done);
    }
    lines.join("\n")
}

fn list<'a>(now: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    now[name].as_array().into_iter().flatten()
}

fn brakes(now: &Value) -> Vec<String> {
    let scope = |brake: &Value| match word(brake, "scope") {
        "*" => "everything".to_owned(),
        runbook => runbook.to_owned(),
    };
    let said = |brake: &Value| format!("by {}: {}", word(brake, "by"), word(brake, "reason"));
    let switches = list(now, "switches").map(|switch| {
        let stopped = paint(Ink::Bad, &format!("CHANGES OF {} ARE STOPPED {}", scope(switch), said(switch)));
        let whose = match word(switch, "scope") {
            "*" => String::new(),
            runbook => format!(" --runbook {runbook}"),
        };
        let allow = format!("firebreak allow-changes{whose} --reason \"…\"");
        format!("{stopped}\n  {}", paint(Ink::Bold, &allow))
    });
    let freezes = list(now, "freezes").map(|freeze| {
        let [starts, ends] = ["starts", "ends"].map(|end| moment(&freeze[end], &now["at"]));
        let until = format!("{starts} to {ends}");
        paint(Ink::Warn, &format!("Frozen from {until}, {}, {}", scope(freeze), said(freeze)))
    });
    switches.chain(freezes).collect()
}

/// What is wrong, each with the command that fits; or that all is well, where everything was seen just now.
fn findings(now: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in list(now, "findings") {
        lines.push(paint(Ink::Bad, &format!("✘ {}", word(finding, "what"))));
        lines.push(format!("  {}", word(finding, "advice")));
        let advised = &finding["runbook"];
        if advised.is_null() {
            continue;
        }
        let inputs: Vec<(&str, &str)> =
            list(advised, "inputs").filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?))).collect();
        match Some(&finding["on_it"]).filter(|holder| !holder.is_null()) {
            Some(holder) => lines.push(format!("  {}", on_it(holder, &now["at"]))),
            None => {
                let given: String = inputs.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                let command = format!("firebreak run {}{given} --reason \"…\"", word(advised, "name"));
                lines.push(format!("  {}", paint(Ink::Bold, &command)));
            }
        }
    }
    let unseen = list(now, "unseen").filter_map(Value::as_str);
    lines.extend(unseen.map(|unseen| paint(Ink::Warn, &format!("? {unseen}"))));
    if now["well"] == true {
        let well = "✔ Every login that was tried works, directly and through every host.";
        lines.push(paint(Ink::Good, well));
    }
    lines
}

fn incidents(now: &Value) -> impl Iterator<Item = String> {
    list(now, "incidents").map(|incident| {
        let open = between(&incident["opened_at"], &now["at"]).map_or(0, |open| open.num_seconds());
        let name = format!("INC-{}", incident["number"]);
        let who = match incident["driver"].as_str() {
            Some(driver) => format!("{driver} has it"),
            None => format!("nobody has it: firebreak incident take {name}"),
        };
        // A title may be a sentence.
        let title = word(incident, "title").trim_end_matches('.');
        format!("{name} {title}, open for {}, {who}", span(open))
    })
}

fn runs(now: &Value) -> impl Iterator<Item = String> {
    list(now, "runs").map(|run| {
        let state = word(run, "state");
        let (sign, ink) = mark(state);
        let state = paint(ink, &format!("{sign} {}", state.replace('_', " ")));
        format!("{state}  {}  {}, {}", word(run, "id"), word(run, "title"), word(run, "requested_by"))
    })
}

/// Those of runs are told with the runs.
fn locks(now: &Value) -> impl Iterator<Item = String> {
    let by_hand = list(now, "locks").filter(|lock| lock["run_id"].is_null());
    by_hand.map(|lock| format!("{} is taken by {}", word(lock, "target"), held(lock, &now["at"])))
}

fn held(lock: &Value, now: &Value) -> String {
    let (holder, since) = (word(lock, "holder"), moment(&lock["since"], now));
    match (lock["run_id"].as_str(), lock["reason"].as_str()) {
        (Some(run), _) => {
            format!("firebreak watch {run}  ({}, {holder}, since {since})", word(lock, "title"))
        }
        (None, Some(reason)) => format!("{holder}, by hand, since {since}: {reason}"),
        (None, None) => format!("{holder}, by hand, since {since}"),
    }
}

/// Who is on it; where that is a run which does not go on by itself, what to type.
fn on_it(holder: &Value, now: &Value) -> String {
    let (run, by, title) = (word(holder, "run_id"), word(holder, "holder"), word(holder, "title"));
    let command = |verb: &str| paint(Ink::Bold, &format!("firebreak {verb} {run}"));
    match word(holder, "stands") {
        "waits_for_approval" => {
            let awaited = holder["why"].as_str().unwrap_or("an approver");
            format!("asked for by {by}, waits for {awaited}: {}  ({title})", command("approve"))
        }
        "stopped" => {
            let why = holder["why"].as_str().map_or_else(String::new, |why| format!(" {why}"));
            let says = "the run has stopped and needs a decision:";
            format!("{}{why}\n  {}  ({title}, {by})", paint(Ink::Warn, says), command("show"))
        }
        _ => format!("somebody is on it: {}", held(holder, now)),
    }
}

/// Channels that people elsewhere read, and that were not told everything.
fn untold(now: &Value) -> impl Iterator<Item = String> {
    list(now, "untold").map(|untold| {
        let (channel, why) = (word(untold, "channel"), word(untold, "error"));
        let counted = format!(
            "{} given up or not taken for everybody, {} tried again",
            untold["lost"], untold["waiting"]
        );
        paint(Ink::Warn, &format!("{channel} was not told everything: {counted} ({why})"))
    })
}

fn not_ready(now: &Value) -> impl Iterator<Item = String> {
    let stopped = list(now, "not_ready").count();
    (stopped > 0)
        .then(|| {
            let what =
                if stopped == 1 { "a runbook would".into() } else { format!("{stopped} runbooks would") };
            paint(Ink::Warn, &format!("If it were needed now, {what} stop: firebreak readiness"))
        })
        .into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_run_that_waits_or_has_stopped_is_told_with_its_cause_and_what_to_type() {
        let told = |stands: &str, why: Option<&str>| {
            let on_it = json!({ "run_id": "r-1", "title": "Fail over a", "holder": "ada", "stands": stands, "why": why,
                                "since": "2024-05-07T14:40:00Z" });
            let advised = json!({ "name": "failover-cluster", "inputs": [["cluster", "a"]] });
            let finding = json!({ "what": "No login works.", "advice": "Fail over.", "runbook": advised, "on_it": on_it });
            super::told(&json!({ "at": "2024-05-07T14:44:00Z", "findings": [finding] }))
        };
        let waits = told("waits_for_approval", Some("the approval of an admin"));
        let says =
            "asked for by ada, waits for the approval of an admin: firebreak approve r-1  (Fail over a)";
        assert!(waits.contains(says) && !waits.contains("firebreak run"), "{waits}");
        let stopped = told("stopped", Some("A step has failed: no room."));
        let says = "the run has stopped and needs a decision: A step has failed: no room.\n  firebreak show r-1  (Fail over a, ada)";
        assert!(stopped.contains(says) && !stopped.contains("somebody is on it"), "{stopped}");
        let works = told("at_work", None);
        assert!(works.contains("somebody is on it: firebreak watch r-1"), "{works}");
    }

    #[test]
    fn what_holds_back_is_told_with_the_day_where_it_is_not_today_and_with_the_way_past_it() {
        let freeze = json!({ "scope": "*", "by": "ada", "reason": "holidays",
                             "starts": "2026-11-29T15:26:32Z", "ends": "2027-01-01T00:00:00Z" });
        let switch = |scope: &str| json!({ "scope": scope, "by": "ada", "reason": "odd" });
        let now = json!({ "at": "2026-11-29T16:00:00Z", "freezes": [freeze], "switches": [switch("*"), switch("x")] });
        let told = super::told(&now);
        assert!(told.contains("Frozen from 15:26:32Z to 2027-01-01 00:00:00Z, everything"), "{told}");
        assert!(told.contains("odd\n  firebreak allow-changes --reason \"…\"\n"), "{told}");
        assert!(told.contains("odd\n  firebreak allow-changes --runbook x --reason \"…\"\n"), "{told}");
    }

    #[test]
    fn an_incident_is_told_in_one_sentence() {
        let at = "2024-05-07T14:44:00Z";
        let of = |title: &str| {
            let one =
                json!({ "number": 7, "title": title, "opened_at": "2024-05-07T14:42:00Z", "driver": "ana" });
            super::incidents(&json!({ "at": at, "incidents": [one] })).collect::<Vec<_>>()
        };
        let told = "INC-7 No login works, open for 2 m 00 s, ana has it";
        assert_eq!([of("No login works."), of("No login works")].concat(), [told; 2]);
    }
}
