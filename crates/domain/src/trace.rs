//! A run as a trace: the form in which tools for tracing (OpenTelemetry) show what took how long, and inside of what.
//!
//! ```text
//!  run ─┬─ step ─┬─ call to the outside
//!       │        └─ step inside ─── call to the outside
//!       └─ step that takes another back
//! ```
//!
//! It is drawn from the journal when the run has ended, not gathered while it goes on: a run outlives the processes that drive it,
//! and what it did is on record. All ids follow from the run's, so that whoever draws it again draws the same; the run's own is the
//! trace's, without its hyphens.
//!
//! Told are names, times, ends and who was called. What steps are given and what they give is not: traces go where other people look.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::Timestamp;
use crate::action::CallRecord;
use crate::notice::{Notice, RunNews, Urgency};
use crate::run::{Node, Outcome, State, Status, StepPath};

/// The kind of notice by which the trace of a run is sent, to those channels alone that take traces.
pub const TRACE: &str = "trace";

/// All that a run did, as spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The run's id.
    pub id: Uuid,
    /// The run itself first, then its steps, then their calls.
    pub spans: Vec<Span>,
}

/// Something that took time.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its id, unique in the trace.
    pub id: SpanId,
    /// The span that it is inside of; only the run's own has none.
    pub parent: Option<SpanId>,
    /// What it is: the same for every item of an `each`, so that tools can compare them.
    pub name: String,
    /// When it began (clock time).
    pub from: Timestamp,
    /// When it was over (clock time).
    pub to: Timestamp,
    /// Does it wait for somebody outside of Firebreak's process?
    pub outside: bool,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// Tries that failed: when, and why.
    pub tries: Vec<(Timestamp, String)>,
    /// What else is told of it, by the names that OpenTelemetry has for it where it has one.
    pub about: Vec<(&'static str, Value)>,
}

/// Eight bytes, as OpenTelemetry has them.
pub type SpanId = [u8; 8];

/// A call that a step made.
#[derive(Debug, Clone, PartialEq)]
pub struct StepCall {
    /// The step.
    pub step: StepPath,
    /// In which attempt.
    pub attempt: i32,
    /// What was asked, and what came of it.
    pub call: CallRecord,
}

/// By what the trace of a run that has ended is sent; nothing while it goes on.
pub fn notice(run: &RunNews) -> Option<Notice> {
    run.ended.then(|| Notice {
        key: format!("run:{}:trace", run.id),
        kind: TRACE.into(),
        urgency: Urgency::Info,
        title: format!("Trace: {}", run.title),
        text: String::new(),
        path: format!("/runs/{}", run.id),
        incident: None,
        thread: Some(run.id),
        place: None,
    })
}

impl Trace {
    /// Draws a run, with the calls that its steps made.
    pub fn of(run: Uuid, title: &str, state: &State, calls: &[StepCall]) -> Self {
        let drawing = Drawing { run, state };
        let mut spans = vec![drawing.run(title)];
        for (step, node) in state.nodes() {
            spans.push(drawing.step(step, node));
        }
        spans.extend(calls.iter().enumerate().map(|(n, call)| drawing.call(n, call)));
        Self { id: run, spans }
    }
}

struct Drawing<'a> {
    run: Uuid,
    state: &'a State,
}

impl Drawing<'_> {
    fn run(&self, title: &str) -> Span {
        let state = self.state;
        let mut about = vec![
            ("firebreak.run", self.run.to_string().into()),
            ("firebreak.runbook", state.runbook().into()),
            ("firebreak.title", title.into()),
            ("firebreak.requested_by", state.by().name().into()),
        ];
        let mut failed = None;
        if let Some((outcome, said)) = state.outcome() {
            about.push(("firebreak.outcome", outcome.word().into()));
            if matches!(outcome, Outcome::Failed | Outcome::SymptomPersists) {
                failed = Some(said.to_owned());
            }
        }
        Span {
            id: self.id(""),
            parent: None,
            name: state.runbook().to_owned(),
            from: state.started_at(),
            to: state.at(),
            outside: false,
            failed,
            tries: Vec::new(),
            about,
        }
    }

    fn step(&self, step: &StepPath, node: &Node) -> Span {
        let mut about =
            vec![("firebreak.step", step.as_str().into()), ("firebreak.status", node.status.word().into())];
        if let Some(intent) = &node.intent {
            about.push(("firebreak.action", intent.action.as_str().into()));
        }
        if node.attempt() > 1 {
            about.push(("firebreak.attempts", node.attempt().into()));
        }
        let failed = match node.status {
            Status::Failed | Status::Unclear | Status::OutcomeUnknown => {
                Some(node.error.as_ref().map_or_else(|| node.status.word().into(), |e| e.message.clone()))
            }
            _ => None,
        };
        let tries = node.attempts.iter().filter_map(|attempt| {
            let error = attempt.error.as_ref()?;
            Some((attempt.ended_at.unwrap_or(attempt.at), error.message.clone()))
        });
        Span {
            id: self.id(step.as_str()),
            parent: Some(self.around(step)),
            name: step.form(),
            from: node.started_at,
            // What a run left open when it was ended lasted until then.
            to: node.ended_at.unwrap_or_else(|| self.state.at()),
            outside: false,
            failed,
            tries: tries.collect(),
            about,
        }
    }

    fn call(&self, n: usize, StepCall { step, attempt, call }: &StepCall) -> Span {
        let mut about = vec![
            ("rpc.service", call.service.as_str().into()),
            ("rpc.method", call.operation.as_str().into()),
            ("firebreak.target", call.target.as_str().into()),
            ("firebreak.changes", call.mutating.into()),
            ("firebreak.attempt", (*attempt).into()),
        ];
        if let Some(id) = &call.request_id {
            about.push(("aws.request_id", id.as_str().into()));
        }
        let lasted = chrono::TimeDelta::milliseconds(i64::try_from(call.duration_ms).unwrap_or(i64::MAX / 2));
        let parent = self.state.node(step).map_or_else(|| self.id(""), |_| self.id(step.as_str()));
        Span {
            id: self.id(&format!("{step} call {n}")),
            parent: Some(parent),
            name: format!("{}.{}", call.service, call.operation),
            from: call.at,
            to: call.at.checked_add_signed(lasted).unwrap_or(call.at),
            outside: true,
            failed: (call.status != "ok").then(|| call.status.clone()),
            tries: Vec::new(),
            about,
        }
    }

    /// The innermost step around this one that the run knows; the run itself, where there is none.
    fn around(&self, step: &StepPath) -> SpanId {
        let known = step.around().filter(|around| self.state.node(&StepPath::from(*around)).is_some());
        self.id(known.last().unwrap_or_default())
    }

    /// No name of a step is empty, nor has a blank in it but within the key of an item.
    fn id(&self, what: &str) -> SpanId {
        let hash = Sha256::new().chain_update(self.run.as_bytes()).chain_update(what).finalize();
        let mut id = SpanId::default();
        id.copy_from_slice(&hash[..8]);
        id
    }
}
