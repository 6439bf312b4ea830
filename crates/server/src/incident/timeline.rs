//! An incident's timeline in words.

use domain::Timestamp;
use domain::run::Entry;
use serde::Serialize;
use serde_json::Value;
use store::incidents::Said;

use super::IncidentView;
use crate::words::{self, Icon, Tone};

/// One line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    /// `+02:14` since it began.
    pub(crate) offset: String,
    /// `signal`, `verdict`, `run`, `person`, `incident`.
    pub(crate) kind: &'static str,
    #[serde(skip)]
    pub(crate) tone: Tone,
    #[serde(skip)]
    pub(crate) icon: Icon,
    /// The run's step that it is about.
    pub(crate) step: Option<String>,
    pub(crate) text: String,
    /// Who, where it was a person or a rule.
    pub(crate) by: Option<String>,
    /// The page that tells more.
    pub(crate) path: Option<String>,
}

/// All of them, the oldest first.
pub(super) fn lines(view: &IncidentView) -> Vec<Line> {
    let mut lines = Vec::new();
    let began = view.began();
    let mut tell =
        |at: Timestamp, kind, (tone, icon), text: String, by: Option<String>, path: Option<String>| {
            lines.push(Line {
                at,
                offset: words::offset(at - began),
                kind,
                tone,
                icon,
                step: None,
                text,
                by,
                path,
            });
        };
    let incident = &view.incident;
    if incident.opened_by == "triage" {
        let text = format!("Opened: {}", incident.title);
        tell(incident.opened_at, "incident", (Tone::Warn, Icon::Alert), text, None, None);
    }
    for signal in &view.signals {
        let path = Some(format!("/signals/{}", signal.id));
        let text = format!("{} says: {}", signal.source, signal.summary);
        tell(signal.first_seen, "signal", (Tone::Bad, Icon::Alert), text, None, path.clone());
        if let Some(at) = signal.resolved_at {
            let text = format!("Over: {} ({}, said {} times)", signal.summary, signal.source, signal.count);
            tell(at, "signal", (Tone::Ok, Icon::Check), text, None, path);
        }
    }
    for verdict in view.verdicts.iter().filter(|verdict| verdict.code != "resolved") {
        let badge = words::verdict_badge(Some(&verdict.verdict));
        let path = Some(format!("/signals/{}", verdict.signal));
        let text = format!("{}: {}", badge.word, verdict.because);
        tell(verdict.at, "verdict", (badge.tone, badge.icon), text, verdict.rule.clone(), path);
    }
    for said in &view.said {
        tell(said.at, "person", (Tone::Busy, Icon::Dot), words_of(said), Some(said.by.clone()), None);
    }
    if let (Some(at), None) = (incident.closed_at, &incident.closed_by) {
        let text = "Closed by itself: its signals have been over for a while".to_owned();
        tell(at, "incident", (Tone::Ok, Icon::Check), text, None, None);
    }
    // Which run it was must be said where there are several.
    let several = view.runs.len() > 1;
    for (row, journal) in &view.runs {
        for record in journal.iter().filter(|record| is_told(&record.entry)) {
            let told = crate::run::tell(record, row.created_at);
            let first = matches!(record.entry, Entry::Requested { .. });
            lines.push(Line {
                at: record.at,
                offset: words::offset(record.at - began),
                kind: "run",
                tone: told.tone,
                icon: told.icon,
                step: told.step,
                text: if several || first { format!("{} · {}", row.title, told.text) } else { told.text },
                by: told.by,
                path: Some(format!("/runs/{}", row.id)),
            });
        }
    }
    // Of the same moment, in the order of cause: signal, verdict, run.
    lines.sort_by_key(|line| line.at);
    lines
}

/// What an incident needs to know of a run: who decided what, what was changed, how it ended. The rest is on the run's page.
fn is_told(entry: &Entry) -> bool {
    matches!(
        entry,
        Entry::Requested { .. }
            | Entry::Gated { approval: Some(_) }
            | Entry::AwaitsApproval { .. }
            | Entry::Drifted { .. }
            | Entry::HeldBack { .. }
            | Entry::Asked { .. }
            | Entry::Intent { .. }
            | Entry::OutcomeUnknown { .. }
            | Entry::Failed { .. }
            | Entry::Paused { .. }
            | Entry::Closing { .. }
            | Entry::Ended { .. }
            | Entry::TakenOver { .. }
    )
}

fn words_of(said: &Said) -> String {
    let text = |name: &str| said.details[name].as_str().unwrap_or_default();
    match said.action.as_str() {
        "incident opened" => format!("Opened: {}", text("title")),
        "incident note" => text("text").to_owned(),
        "incident severity" => match &said.details["from"] {
            Value::String(from) => {
                format!("Severity {}, not {}", text("to").to_uppercase(), from.to_uppercase())
            }
            _ => format!("Severity {}", text("to").to_uppercase()),
        },
        "incident title" => format!("It is about: {}", text("to")),
        "incident driver" => match (text("to"), text("from"), text("note")) {
            ("", "", _) => "Has it".into(),
            ("", from, _) => format!("Has it, after {from}"),
            (to, _, "") => format!("Hands it over to {to}"),
            (to, _, note) => format!("Hands it over to {to}: {note}"),
        },
        "incident closed" => format!("Closed: {}", text("reason")),
        "signal dismissed" => format!("Dismissed a signal: {}", text("reason")),
        "signal to be judged anew" => format!("Has a signal judged anew: {}", text("reason")),
        other => other.to_owned(),
    }
}
