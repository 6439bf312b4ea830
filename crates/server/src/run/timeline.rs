//! The journal in words.

use domain::Timestamp;
use domain::run::{After, Ask, Entry, How, Outcome, Record, Takeback};
use serde_json::Value;

use crate::particulars;
use crate::words::{self, Icon, Moment, Tone};

/// One line of the timeline.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) seq: i64,
    pub(crate) at: Moment,
    /// `+02:14` since the request.
    pub(crate) offset: String,
    pub(crate) tone: Tone,
    pub(crate) icon: Icon,
    pub(crate) step: Option<String>,
    pub(crate) text: String,
    /// Particulars, short.
    pub(crate) detail: Vec<(String, String)>,
    pub(crate) by: Option<String>,
}

/// Tells an entry.
pub(crate) fn tell(record: &Record, from: Timestamp) -> Told {
    let (tone, icon, text) = words_of(&record.entry);
    let by = match &record.entry {
        Entry::Requested { by, .. } | Entry::Asked { by, .. } => Some(by.to_string()),
        Entry::Done { how: How::MarkedDone { by, .. }, .. } => Some(by.to_string()),
        _ => None,
    };
    Told {
        seq: record.seq,
        at: words::moment(&record.at),
        offset: words::offset(record.at - from),
        tone,
        icon,
        step: record.entry.step().map(ToString::to_string),
        text,
        detail: detail(&record.entry),
        by,
    }
}

fn words_of(entry: &Entry) -> (Tone, Icon, String) {
    match entry {
        Entry::Requested { runbook, reason, overrides, .. } => {
            let why = reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
            (Tone::Busy, Icon::Play, format!("Asked for {runbook}{why}{overrides}"))
        }
        Entry::Gated { approval: Some(approval) } => {
            (Tone::Warn, Icon::Question, format!("Waits for {approval}"))
        }
        Entry::Gated { approval: None } => {
            (Tone::Wait, Icon::Clock, "Will begin once its locks are free".into())
        }
        Entry::Queued { target, held_by } => {
            (Tone::Wait, Icon::Clock, format!("Stands in line for {target}, held by {held_by}"))
        }
        Entry::Admitted { locks } => (Tone::Ok, Icon::Check, format!("Took its locks: {}", locks.join(", "))),
        Entry::PlanHolds { .. } => (Tone::Ok, Icon::Check, "Looked again: the plan still holds".into()),
        Entry::Drifted { differences, .. } => {
            let steps = words::many(differences.len(), "step");
            (Tone::Warn, Icon::Alert, format!("Looked again: {steps} would do something else than was seen"))
        }
        Entry::HeldBack { brakes } => {
            let told: Vec<_> = brakes.iter().map(ToString::to_string).collect();
            (Tone::Warn, Icon::Pause, format!("Held back before it has begun: {}", told.join("; ")))
        }
        Entry::AwaitsApproval { approval, message, .. } => {
            (Tone::Warn, Icon::Question, format!("Waits for {approval}: {message}"))
        }
        Entry::TakenOver { worker } => {
            (Tone::Wait, Icon::Alert, format!("Another process took the run over (worker {worker})"))
        }
        Entry::Started { attempt, action, .. } => {
            (Tone::Busy, Icon::Play, format!("Began to look with {action}{}", again(*attempt)))
        }
        Entry::Observed { .. } => (Tone::Off, Icon::Dot, "Saw something new, and waits on".into()),
        Entry::Intent { attempt, action, .. } => {
            (Tone::Busy, Icon::Play, format!("Announced a change with {action}{}", again(*attempt)))
        }
        Entry::Done { how: How::Reasoned, output, .. } if **output == Value::Bool(true) => {
            (Tone::Ok, Icon::Check, "Holds".into())
        }
        Entry::Done { how, .. } => (Tone::Ok, Icon::Check, done(how)),
        Entry::Expanded { items, at_once, .. } => (
            Tone::Off,
            Icon::Dot,
            format!("Found {}, {at_once} at the same time", words::many(items.len(), "item")),
        ),
        Entry::Entered { runbook, .. } => (Tone::Busy, Icon::Play, format!("Began runbook {runbook}")),
        Entry::Waiting { until, .. } => {
            (Tone::Wait, Icon::Clock, format!("Waits until {}", until.format("%H:%M:%S")))
        }
        Entry::FailedInside { error, .. } => (Tone::Bad, Icon::Cross, format!("Failed: {}", error.message)),
        Entry::AttemptFailed { attempt, error, retry_at, .. } => {
            let at = retry_at.format("%H:%M:%S");
            (Tone::Warn, Icon::Alert, format!("Attempt {attempt} failed: {error}. Next one at {at}"))
        }
        Entry::Unclear { error, .. } => {
            (Tone::Warn, Icon::Question, format!("No answer: {error}. Looking what became of it"))
        }
        Entry::OutcomeUnknown { .. } => {
            (Tone::Warn, Icon::Question, "Nobody but a person can tell whether it took effect".into())
        }
        Entry::Failed { error, .. } => (Tone::Bad, Icon::Cross, format!("Failed: {error}")),
        Entry::Skipped { why, .. } => (Tone::Off, Icon::Skip, format!("Left out: {why}")),
        Entry::Paused { why, .. } => (Tone::Warn, Icon::Pause, format!("Waits for a person: {why}")),
        Entry::Asked { ask, refused: None, .. } => (Tone::Busy, Icon::Dot, asked(ask)),
        Entry::Asked { ask, refused: Some(why), .. } => {
            (Tone::Warn, Icon::Alert, format!("{} – refused: {why}", asked(ask)))
        }
        Entry::Closing { takeback, then } => (Tone::Busy, Icon::Undo, closing(*takeback, then)),
        Entry::Ended { outcome, message } => {
            let (tone, icon) = match outcome {
                Outcome::Succeeded => (Tone::Ok, Icon::Check),
                Outcome::SymptomPersists | Outcome::Failed => (Tone::Bad, Icon::Cross),
                Outcome::Refused => (Tone::Warn, Icon::Skip),
                Outcome::Aborted | Outcome::Undone | Outcome::Expired => (Tone::Off, Icon::Cross),
            };
            (tone, icon, format!("{}: {message}", words::run_badge(outcome.word()).word))
        }
    }
}

fn again(attempt: u32) -> String {
    if attempt > 1 { format!(", attempt {attempt}") } else { String::new() }
}

fn done(how: &How) -> String {
    match how {
        How::Called { request_id: Some(id) } => format!("Done, request {id}"),
        How::Called { request_id: None } => "Done".into(),
        How::AlreadySo => "It was so already; nothing was called".into(),
        How::FoundDone => "The answer was lost; a look found it done".into(),
        How::Looked => "Looked".into(),
        How::Reasoned => "Worked out from what was known".into(),
        How::MarkedDone { reason, .. } => format!("Marked as done: {reason}"),
    }
}

fn asked(ask: &Ask) -> String {
    let reason = ask.reason();
    let undo = match ask {
        Ask::Abort { takeback: Takeback::All, .. } => " and undo",
        _ => "",
    };
    format!("Asked to {}{undo}{}", ask.verb(), reason.map_or_else(String::new, |r| format!(": {r}")))
}

fn closing(takeback: Takeback, then: &After) -> String {
    let what = match takeback {
        Takeback::Finally => "Takes back what the runbook always takes back",
        Takeback::All => "Takes back everything that can be",
    };
    match then {
        After::Verify => format!("{what}, then checks whether the symptom is gone"),
        After::End { outcome, .. } => format!("{what}, then ends as {}", outcome.word().replace('_', " ")),
    }
}

fn detail(entry: &Entry) -> Vec<(String, String)> {
    match entry {
        Entry::Requested { inputs, .. } | Entry::Entered { inputs, .. } => {
            particulars::told(&Value::Object(inputs.clone()))
        }
        Entry::Observed { output, .. } => words::facts(output),
        Entry::Intent { input, .. } => words::facts(input),
        Entry::OutcomeUnknown { facts, .. } | Entry::Failed { facts, .. } => words::facts(facts),
        Entry::Expanded { items, .. } => {
            vec![("items".into(), items.iter().map(|i| i.key.as_str()).collect::<Vec<_>>().join(", "))]
        }
        _ => Vec::new(),
    }
}
