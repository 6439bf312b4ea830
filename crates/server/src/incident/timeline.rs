//! An incident's timeline in words.

use std::collections::HashMap;

use domain::Timestamp;
use domain::run::{Entry, How, Record};
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
        let text = format!("{} says: {}", signal.source, signal.said_first);
        tell(signal.first_seen, "signal", (Tone::Bad, Icon::Alert), text, None, path.clone());
        if signal.summary != signal.said_first {
            let text = format!("{} says: {}", signal.source, signal.summary);
            tell(signal.last_seen, "signal", (Tone::Bad, Icon::Alert), text, None, path.clone());
        }
        if let Some(at) = signal.resolved_at {
            let text = format!(
                "Over: {} ({}, said {})",
                signal.said_first,
                signal.source,
                words::many(signal.count, "time")
            );
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
        let changes = Changes::of(journal);
        for record in journal.iter().filter(|record| is_told(&record.entry) || changes.settles(record)) {
            if changes.is_settled(record) {
                continue;
            }
            let mut told = crate::run::tell(record, row.created_at);
            if let Some(change) = changes.made_by(record) {
                told.text = change;
            }
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

/// The changes of a run: one that was made is told once, when it was; one of which nobody knows, when it was announced.
struct Changes<'a> {
    /// By the number of the entry that settles it: that of its announcement, and the announcement.
    made: HashMap<i64, (i64, &'a Entry)>,
}

impl<'a> Changes<'a> {
    fn of(journal: &'a [Record]) -> Self {
        let mut announced = HashMap::new();
        let mut made = HashMap::new();
        for record in journal {
            match &record.entry {
                Entry::Intent { step, .. } => {
                    announced.insert(step, (record.seq, &record.entry));
                }
                Entry::Done {
                    step,
                    how: How::Called { .. } | How::FoundDone | How::MarkedDone { .. },
                    ..
                } => {
                    made.extend(announced.remove(step).map(|change| (record.seq, change)));
                }
                _ => {}
            }
        }
        Self { made }
    }

    fn settles(&self, record: &Record) -> bool {
        self.made.contains_key(&record.seq)
    }

    fn is_settled(&self, record: &Record) -> bool {
        matches!(record.entry, Entry::Intent { .. })
            && self.made.values().any(|(announced, _)| *announced == record.seq)
    }

    /// What was done, to what.
    fn made_by(&self, record: &Record) -> Option<String> {
        let (_, Entry::Intent { action, input, .. }) = self.made.get(&record.seq)? else { return None };
        let to: Vec<String> =
            words::facts(input).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        Some(format!("Did {action}: {}", words::shorten(&to.join(", "), 160)))
    }
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
