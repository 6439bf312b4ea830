//! Runs as a chat shows them: one message that is edited in place, what happened below it, and buttons that say what they mean.
//!
//! ```text
//!  run ──▶ Card ──▶ the message as it is now (absolute: showing it twice is showing it once)
//!      └─▶ news ──▶ notices in its thread (each once, by the outbox)
//!  button ──▶ Press (names its run or preview, and the plan that was seen)
//! ```
//!
//! Nothing is known by a chat alone: a message that is lost or removed takes nothing with it.
//!
//! Deliberately absent: how a chat draws it (`actions::slack`), when (`engine::board`), and who pressed (`server::slack`).

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::Timestamp;
use crate::notice::{Channel, Notice, RunNews, Undelivered, Urgency, of_run};
use crate::run::{Node, State, Status, StepPath};
use crate::runbook::Runbook;

/// The outbox's name of the chat in which runs are shown; no configured channel can have it.
pub const BOARD: &str = "slack: runs";

/// A chat that is more than a place to be told something: messages there are edited, and people are answered.
pub trait Chat: Channel {
    /// Where runs are shown that were not begun there.
    fn place(&self) -> Option<&str>;
    /// Makes a run's message show this. `at` is where it was put.
    fn edit<'a>(
        &'a self,
        at: &'a Value,
        card: &'a Card,
        link: &'a str,
    ) -> BoxFuture<'a, Result<(), Undelivered>>;
    /// Answers a person by the address that came with what they asked.
    fn answer<'a>(&'a self, url: &'a str, message: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>>;
    /// Tells a person something that nobody else sees.
    fn whisper<'a>(
        &'a self,
        place: &'a str,
        member: &'a str,
        message: &'a Value,
    ) -> BoxFuture<'a, Result<(), Undelivered>>;
    /// Opens a form for whoever has just pressed something.
    fn open<'a>(&'a self, trigger: &'a str, view: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>>;
}

/// A run as its message shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Its id.
    pub run: Uuid,
    /// What it does to what.
    pub title: String,
    /// How it stands, in words.
    pub state: String,
    /// How urgent that is.
    pub urgency: Urgency,
    /// Who asked for it.
    pub by: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Why it waits, or how it ended.
    pub says: Option<String>,
    /// So many steps are done,
    pub done: usize,
    /// of so many.
    pub of: usize,
    /// The steps that are at work.
    pub now: Vec<String>,
    /// Whom it waits or waited for.
    pub approvals: Vec<Approval>,
}

/// An approval, as a card shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// The step; none for the start.
    pub step: Option<StepPath>,
    /// The step's title.
    pub title: Option<String>,
    /// Whose, in words.
    pub needs: String,
    /// Who has agreed.
    pub names: Vec<String>,
    /// Until when.
    pub until: Timestamp,
    /// The plan that is agreed to.
    pub plan_hash: Option<String>,
    /// Who decided, in words; nothing while it is open.
    pub ruling: Option<String>,
    /// Can it be decided?
    pub open: bool,
}

/// What a button means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "press", rename_all = "snake_case")]
pub enum Press {
    /// Start what was previewed.
    Run {
        /// The preview.
        preview: Uuid,
        /// The plan that it showed.
        plan_hash: String,
    },
    /// Leave it.
    Cancel {
        /// The preview.
        preview: Uuid,
    },
    /// Agree.
    Approve {
        /// The run.
        run: Uuid,
        /// The step; none for the start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepPath>,
        /// The plan that was seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan_hash: Option<String>,
    },
    /// Do not agree.
    Reject {
        /// The run.
        run: Uuid,
        /// The step; none for the start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepPath>,
    },
}

impl Press {
    /// As a button carries it.
    pub fn value(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What a button carried; nothing, when it is not one of ours.
    pub fn read(value: &str) -> Option<Self> {
        serde_json::from_str(value).ok()
    }
}

impl Card {
    /// A run as it stands. `runbook` is the text that it is pinned to, where it can be read.
    pub fn of(run: Uuid, title: &str, state: &State, runbook: Option<&Runbook>) -> Self {
        let ended = state.outcome();
        let at_top =
            |(path, node): (&StepPath, &Node)| (is_top(path) && !path.is_undo()).then_some(node.status);
        let steps: Vec<Status> = state.nodes().filter_map(at_top).collect();
        let works = |status: Status| !status.is_over();
        let now = state.nodes().filter(|(path, node)| is_top(path) && works(node.status));
        let now: Vec<String> = now.map(|(path, _)| step_title(path, runbook)).collect();
        let open: Vec<_> = state.open_ballots().map(|(step, _)| step.cloned()).collect();
        let approvals = state.ballots().map(|(step, ballot)| Approval {
            step: step.cloned(),
            title: step.map(|step| step_title(step, runbook)),
            needs: ballot.needs.to_string(),
            names: ballot.voices.iter().map(|voice| voice.by.name().to_owned()).collect(),
            until: ballot.until,
            plan_hash: ballot.plan_hash.clone(),
            ruling: ballot.ruling.as_ref().map(|ruling| ballot.told(ruling)),
            open: open.iter().any(|open| open.as_ref() == step),
        });
        let done = steps.iter().filter(|status| matches!(status, Status::Done | Status::Skipped)).count();
        let of = runbook.map_or(steps.len(), |r| r.steps.len() + usize::from(r.verify.is_some()));
        Self {
            run,
            title: title.to_owned(),
            state: crate::notice::words(state.word()),
            urgency: urgency(state.word(), ended.is_some()),
            by: state.by().to_string(),
            reason: state.reason().map(str::to_owned),
            says: ended
                .map(|(_, message)| message.to_owned())
                .or_else(|| state.paused().map(|pause| pause.why.clone())),
            done,
            of: of.max(steps.len()),
            now: if ended.is_some() { Vec::new() } else { now },
            approvals: approvals.collect(),
        }
    }
}

fn urgency(state: &str, ended: bool) -> Urgency {
    match (ended, state) {
        (true, "succeeded") => Urgency::Good,
        (true, "refused" | "expired" | "aborted" | "undone") => Urgency::Attention,
        (true, _) | (false, "paused" | "outcome_unknown" | "stuck") => Urgency::Bad,
        (false, "waiting_for_approval") => Urgency::Attention,
        (false, _) => Urgency::Info,
    }
}

/// What is told of a run in a chat: that it has begun (its message, which [`Card`] edits), each step once it is over, and what
/// people must know (as [`of_run`] says). All of it, every time: the outbox keeps each key once.
pub fn news(news: &RunNews, state: &State, runbook: Option<&Runbook>, place: &str) -> Vec<Notice> {
    let RunNews { id, title, by, .. } = news;
    let in_thread = |key: String, kind: &str, urgency, title: String, text: String| Notice {
        key,
        kind: kind.into(),
        urgency,
        title,
        text,
        path: format!("/runs/{id}"),
        incident: None,
        thread: Some(*id),
        place: Some(place.to_owned()),
    };
    let begun =
        in_thread(format!("card:{id}"), "card", Urgency::Info, title.clone(), format!("Asked for by {by}."));
    let over = state.nodes().filter(|(path, node)| is_top(path) && node.status.is_over());
    let steps = over.map(|(path, node)| {
        let (urgency, text) = match node.status {
            Status::Failed => {
                (Urgency::Bad, node.error.as_ref().map_or_else(|| "It failed.".into(), |e| e.message.clone()))
            }
            Status::Skipped => (Urgency::Info, node.skipped.clone().unwrap_or_else(|| "Left out.".into())),
            _ => (Urgency::Good, node.ended_at.map_or_else(String::new, |end| took(end - node.started_at))),
        };
        let key = format!("step:{id}:{path}:{}:{}", node.status.word(), node.attempt());
        in_thread(key, "step", urgency, step_title(path, runbook), text)
    });
    let state_now = of_run(news).map(|notice| Notice {
        key: format!("in thread:{}", notice.key),
        incident: None,
        thread: Some(*id),
        place: Some(place.to_owned()),
        ..notice
    });
    std::iter::once(begun).chain(steps).chain(state_now).collect()
}

fn took(span: chrono::TimeDelta) -> String {
    match span.num_seconds().max(0) {
        s @ 0..60 => format!("{s} s"),
        s => format!("{} m {:02} s", s / 60, s % 60),
    }
}

fn is_top(path: &StepPath) -> bool {
    !path.as_str().contains(['.', '['])
}

/// What a step is called: as its author says, or by its id.
fn step_title(path: &StepPath, runbook: Option<&Runbook>) -> String {
    if let Some(taken_back) = path.as_str().strip_prefix("undo:") {
        return format!("Take back: {}", step_title(&StepPath::from(taken_back), runbook));
    }
    if *path == StepPath::verify() {
        return "Is the symptom gone?".into();
    }
    let step = runbook.and_then(|r| r.steps.iter().find(|step| step.id == path.as_str()));
    step.and_then(|step| step.title.clone()).unwrap_or_else(|| path.as_str().replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_says_what_it_means_and_nothing_else_is_taken_for_one() {
        let run = Uuid::from_u128(7);
        let all = [
            Press::Run { preview: run, plan_hash: "0f".into() },
            Press::Cancel { preview: run },
            Press::Approve { run, step: Some("agree".into()), plan_hash: None },
            Press::Approve { run, step: None, plan_hash: Some("0f".into()) },
            Press::Reject { run, step: None },
        ];
        for press in all {
            // Slack's limit of a button's value.
            assert!(press.value().len() < 2000);
            assert_eq!(Press::read(&press.value()), Some(press));
        }
        for wrong in ["", "run", "{}", r#"{"press":"run"}"#, r#"{"press":"drop"}"#] {
            assert_eq!(Press::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn steps_are_called_as_their_author_says_or_by_their_id() {
        assert_eq!(step_title(&"new_hosts".into(), None), "new hosts");
        assert_eq!(step_title(&StepPath::top("quiet").undo(), None), "Take back: quiet");
        assert_eq!(step_title(&StepPath::verify(), None), "Is the symptom gone?");
        assert!(is_top(&"a".into()) && !is_top(&StepPath::top("a").item("1")));
    }
}
