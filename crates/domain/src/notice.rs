//! Notices: what people elsewhere (chat, mail, other tools) are told, in one form for every channel.
//!
//! A notice has a key: what it tells. To each channel the same is told once, however often it is found to be true. Who must do
//! something comes first; what merely goes on is told of what matters: an incident, an offer, a run that began by itself, one that
//! waits for a person, one that ended.
//!
//! - [`of_verdict`], [`of_run`]: what is told of what.
//! - [`Channel`]: where it is told. Each says what it could not know as such, so that nothing is told twice and nothing is lost.
//!
//! Deliberately absent: how a channel says it (`actions::notify`), and when (`engine::outbox`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::trace::Trace;
use crate::triage::{Decision, Verdict};

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Good to know.
    Info,
    /// It went well.
    Good,
    /// A person must decide or look.
    Attention,
    /// It went wrong.
    Bad,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it tells: the same is told once.
    pub key: String,
    /// In a word, for programs: `asked`, `started`, `acted`, `held_back`, `needs_a_person`, `glass_broken`,
    /// `ended`, `incident_closed`, `demoted`, `trace`.
    pub kind: String,
    /// How urgent.
    pub urgency: Urgency,
    /// In a line.
    pub title: String,
    /// In a sentence or two.
    pub text: String,
    /// The page that tells more, as a path.
    pub path: String,
    /// The incident that it belongs to.
    pub incident: Option<Uuid>,
    /// What it belongs to instead, with a thread of its own: a run's message and what is told below it (see [`crate::chat`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<Uuid>,
    /// Where in the channel's service it is told, if not where the channel is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// What is told of a verdict; nothing, where nothing comes of it that people must know. `key` is the start's key.
pub fn of_verdict(
    decision: &Decision,
    (signal, incident): (Uuid, Option<Uuid>),
    (key, title): (&str, &str),
) -> Option<Notice> {
    let (kind, urgency, line) = match (decision.verdict, decision.code) {
        // In a minute it is warm, and starts it or asks for another reason.
        (Verdict::Asked, "warming_up") => return None,
        (Verdict::Asked, "storm") => ("asked", Urgency::Bad, format!("A storm: decide about “{title}”")),
        (Verdict::Asked, _) => ("asked", Urgency::Attention, format!("Decide: {title}")),
        (Verdict::Started, _) => ("started", Urgency::Info, format!("Started by itself: {title}")),
        (Verdict::Suppressed, "acted") => ("acted", Urgency::Bad, "It was done once and did not help".into()),
        _ if decision.held_back => {
            ("held_back", Urgency::Attention, format!("Nothing is done by itself: {title}"))
        }
        _ => return None,
    };
    // That a mode is `ask`, or that a budget is used up, is the same question to a person; and so is what holds it, a freeze or a switch.
    Some(Notice {
        key: format!("{kind}:{key}"),
        kind: kind.into(),
        urgency,
        title: line,
        text: decision.because.clone(),
        path: format!("/signals/{signal}"),
        incident,
        thread: None,
        place: None,
    })
}

/// A run, as notices tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunNews {
    /// Its id.
    pub id: Uuid,
    /// What it does to what.
    pub title: String,
    /// Who asked for it.
    pub by: String,
    /// How it stands, or how it ended.
    pub state: String,
    /// Number of its last entry when it came to stand so.
    pub seq: i64,
    /// How it ended, in a sentence; of one that is open, why nobody can drive it.
    pub message: Option<String>,
    /// Why it paused, where a step of its own is why.
    pub why: Option<String>,
    /// It has ended.
    pub ended: bool,
    /// The incident that it was started for.
    pub incident: Option<Uuid>,
}

/// What is told of a run as it stands; nothing while it goes on by itself.
pub fn of_run(run: &RunNews) -> Option<Notice> {
    let RunNews { id, title, by, state, .. } = run;
    let said = run.message.clone().unwrap_or_default();
    let (kind, urgency, line, text) = match (run.ended, state.as_str()) {
        (true, "succeeded") => ("ended", Urgency::Good, format!("Succeeded: {title}"), said),
        // It has done nothing, and whoever asked for it knows.
        (true, "refused" | "expired") => ("ended", Urgency::Info, format!("{}: {title}", words(state)), said),
        (true, "aborted" | "undone") => {
            ("ended", Urgency::Attention, format!("{}: {title}", words(state)), said)
        }
        (true, _) => ("ended", Urgency::Bad, format!("{}: {title}", words(state)), said),
        (false, "waiting_for_approval") => {
            let text = format!("{by} wants to do it; somebody else must agree.");
            ("needs_a_person", Urgency::Attention, format!("Approve or reject: {title}"), text)
        }
        (false, "stuck") if run.message.is_some() => {
            let text =
                format!("The run that {by} asked for stands still, and goes on by nobody's word: {said}.");
            ("needs_a_person", Urgency::Bad, format!("Stands still: {title}"), text)
        }
        (false, "paused" | "outcome_unknown" | "stuck") => {
            let why =
                run.why.as_ref().map_or_else(String::new, |why| format!(" ({})", why.trim_end_matches('.')));
            let text = format!(
                "The run that {by} asked for is {}{why}. It goes on when a person decides.",
                words(state).to_lowercase()
            );
            ("needs_a_person", Urgency::Bad, format!("Waits for a person: {title}"), text)
        }
        (false, _) => return None,
    };
    let key = if run.ended { format!("run:{id}:ended") } else { format!("run:{id}:{state}:{}", run.seq) };
    let (kind, path, incident) = (kind.into(), format!("/runs/{id}"), run.incident);
    Some(Notice { key, kind, urgency, title: line, text, path, incident, thread: None, place: None })
}

/// What is told when somebody went on alone: everybody, at once, because nobody agreed before.
pub fn of_glass(review: i64, run: (Uuid, &str), (by, reason): (&str, &str)) -> Notice {
    let (id, title) = run;
    Notice {
        key: format!("glass:{review}"),
        kind: "glass_broken".into(),
        urgency: Urgency::Bad,
        title: format!("Went on without agreement: {title}"),
        text: format!(
            "{by} broke the glass: {}. Somebody else must look at it.",
            reason.trim_end_matches('.')
        ),
        path: format!("/runs/{id}"),
        incident: None,
        thread: None,
        place: None,
    }
}

/// The state of a run in words, with a capital.
pub fn words(state: &str) -> String {
    let text = state.replace('_', " ");
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

/// A notice on its way to a channel.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// What is told.
    pub notice: &'a Notice,
    /// The page that tells more, whole.
    pub link: &'a str,
    /// Of this notice to this channel: the same for every try.
    pub id: Uuid,
    /// Where the channel has put the first message of the same incident, or the same thread.
    pub thread: Option<&'a Value>,
    /// The incident's id at the channel's own service, where a signal has told it.
    pub theirs: Option<&'a str>,
    /// What the run did, for a channel that takes traces.
    pub trace: Option<&'a Trace>,
}

/// The id of a notice to a channel: the same for every try, and for every process.
pub fn letter_id(channel: &str, key: &str) -> Uuid {
    let hash = Sha256::new().chain_update(channel).chain_update([0]).chain_update(key).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Why a letter was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// It was surely not taken: try again.
    #[error("{error}")]
    Later {
        /// Why.
        error: String,
        /// Not before this has passed, where the channel says so.
        after: Option<Duration>,
    },
    /// It may have been taken: look before trying again.
    #[error("{0}")]
    Unclear(String),
    /// It never will be taken.
    #[error("{0}")]
    Never(String),
}

/// Where notices are told.
pub trait Channel: Send + Sync + 'static {
    /// The least urgency that it is told of.
    fn least(&self) -> Urgency;
    /// Is it told only what is meant for it by name?
    fn is_board(&self) -> bool {
        false
    }
    /// Is it sent the traces of runs, and told nothing else?
    fn takes_traces(&self) -> bool {
        false
    }
    /// The service whose signals tell its own id of an incident; such a channel is told of no other.
    fn follows(&self) -> Option<&'static str> {
        None
    }
    /// Sends it, once; where it was put, for a thread, or under `refused`, for whom it was not taken, and why.
    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>>;
    /// Was it sent before? Asked when nobody knows. `Err(Unclear)`: the channel cannot tell.
    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>>;
}

/// What a channel knows of a letter.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// It is there.
    There(Option<Value>),
    /// It is not there, or not yet: it may be on its way.
    NotThere,
    /// Who knows; to send it again is the same as to send it once.
    Harmless,
}

/// All channels, by their names in the configuration.
pub type Channels = BTreeMap<String, Arc<dyn Channel>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(verdict: Verdict, code: &'static str) -> Option<Notice> {
        of(verdict, code, false)
    }

    fn of(verdict: Verdict, code: &'static str, held_back: bool) -> Option<Notice> {
        let because = "Its guards hold.".into();
        let decision = Decision { verdict, code, because, of: None, run: None, again: None, held_back };
        of_verdict(&decision, (Uuid::nil(), None), ("signal:1", "Replace hosts: us"))
    }

    #[test]
    fn people_are_told_what_they_must_decide_and_what_was_begun_and_nothing_of_the_rest() {
        assert_eq!(told(Verdict::Asked, "ask").unwrap().title, "Decide: Replace hosts: us");
        assert_eq!(told(Verdict::Asked, "storm").unwrap().urgency, Urgency::Bad);
        assert_eq!(told(Verdict::Started, "started").unwrap().key, "started:signal:1");
        assert_eq!(told(Verdict::Suppressed, "acted").unwrap().urgency, Urgency::Bad);
        for (verdict, code) in [
            (Verdict::Suppressed, "refuted"),
            (Verdict::Suggested, "shadow"),
            (Verdict::Joined, "joined"),
            (Verdict::Ignored, "no_rule"),
            (Verdict::Asked, "warming_up"),
            (Verdict::Suppressed, "freeze"),
        ] {
            assert_eq!(told(verdict, code), None);
        }
    }

    #[test]
    fn what_is_held_back_is_told_once_whatever_holds_it() {
        let told = |code| of(Verdict::Suppressed, code, true).unwrap();
        assert_eq!((told("freeze").kind.as_str(), told("freeze").urgency), ("held_back", Urgency::Attention));
        assert_eq!(told("freeze").key, told("blind").key);
    }

    #[test]
    fn the_same_question_for_another_reason_is_the_same_notice() {
        assert_eq!(told(Verdict::Asked, "ask").unwrap().key, told(Verdict::Asked, "budget").unwrap().key);
    }

    #[test]
    fn of_a_run_its_end_is_told_once_and_each_time_that_it_waits_for_a_person() {
        let run = |state: &str, seq, ended: bool| RunNews {
            id: Uuid::nil(),
            title: "Replace hosts: us".into(),
            by: "ada".into(),
            state: state.into(),
            seq,
            message: ended.then(|| "All is well.".into()),
            why: (seq == 31).then(|| "launch failed: no capacity.".into()),
            ended,
            incident: None,
        };
        assert_eq!(of_run(&run("running", 7, false)), None);
        let first = of_run(&run("paused", 9, false)).unwrap();
        assert_eq!(first.title, "Waits for a person: Replace hosts: us");
        assert_eq!(first.text, "The run that ada asked for is paused. It goes on when a person decides.");
        let second = of_run(&run("paused", 31, false)).unwrap();
        assert_ne!(first.key, second.key);
        assert!(
            second.text.contains("is paused (launch failed: no capacity). It goes on"),
            "{}",
            second.text
        );
        let bug = RunNews { message: Some("a bug (x)".into()), ..run("stuck", 33, false) };
        let bug = of_run(&bug).unwrap();
        assert!(bug.title.starts_with("Stands still: ") && bug.text.ends_with(": a bug (x)."), "{bug:?}");
        let ended = of_run(&run("symptom_persists", 40, true)).unwrap();
        assert_eq!(
            (ended.title.as_str(), ended.urgency),
            ("Symptom persists: Replace hosts: us", Urgency::Bad)
        );
        assert_eq!(ended.key, of_run(&run("symptom_persists", 41, true)).unwrap().key);
    }
}
