//! The steps of a run in their order: those of the runbook, also the ones not reached, with what became of each.

use std::collections::HashMap;

use askama::Template;
use domain::Timestamp;
use domain::action::{ActionError, ObjectChange, Registry};
use domain::forecast::{Forecast, Took};
use domain::run::{ENDING, Intent, Node, Phase, State, Status, StepPath};
use domain::runbook::{Body, Branch, Child, Children, Each, EachBody, OnFailure, Runbook, Step, Use};
use serde::Serialize;
use serde_json::Value;
use store::calls::Call;

use super::came_of::{gave, how};
use super::failures::{Failure, Said, failures, said};
use super::wait::Wait;
use crate::words::{self, Badge, Icon, Tone};

/// What the tree is made from.
pub(super) struct Sight<'a> {
    pub(super) runbook: Option<&'a Runbook>,
    /// Those that it runs.
    pub(super) children: &'a Children,
    pub(super) forecast: Option<&'a Forecast>,
    pub(super) state: &'a State,
    pub(super) registry: &'a Registry,
    pub(super) calls: &'a [Call],
    pub(super) now: Timestamp,
}

/// A step as it is shown, with the steps inside it.
#[derive(Debug, Serialize, Template)]
#[template(path = "parts/step.html")]
pub(crate) struct StepView {
    pub(crate) path: String,
    pub(crate) title: String,
    pub(crate) why: Option<String>,
    /// `look`, `wait`, `change`, `guard`, `approval`, `value`, `each`, `together`, `item` (also a branch), `run`, `undo`, `verify`.
    pub(crate) kind: &'static str,
    pub(crate) action: Option<String>,
    pub(crate) one_way: bool,
    /// `done`, `running`, `not reached`, …
    pub(crate) status: &'static str,
    #[serde(skip)]
    pub(crate) badge: Badge,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) duration_s: Option<i64>,
    /// What it took in past runs.
    pub(crate) forecast: Option<Took>,
    pub(crate) attempts: Vec<Try>,
    /// What it waits for, while it does.
    pub(crate) waits_for: Option<String>,
    /// The same, with the values that it is about.
    #[serde(skip)]
    pub(crate) wait: Option<Wait>,
    /// What it saw last.
    pub(crate) seen: Vec<(String, String)>,
    pub(crate) error: Option<ActionError>,
    /// Where people read that error first.
    #[serde(skip)]
    pub(crate) said: Said,
    /// What a failed guard saw, or what is seen now that the outcome is unknown.
    pub(crate) facts: Vec<(String, String)>,
    /// Objects before and after, as announced.
    pub(crate) changes: Vec<ObjectChange>,
    /// How it came to be done.
    pub(crate) how: Option<String>,
    /// What came of it, in a few words, once it is done.
    #[serde(skip)]
    pub(crate) gave: Option<String>,
    pub(crate) skipped: Option<String>,
    /// It has failed, and the runbook says that the run ends then.
    #[serde(skip)]
    ends_run: bool,
    /// The same by hand.
    pub(crate) command: Option<String>,
    pub(crate) input: Option<Value>,
    pub(crate) output: Value,
    #[serde(skip)]
    pub(crate) calls: Vec<Call>,
    /// `3 of 6 done`.
    pub(crate) progress: Option<String>,
    pub(crate) steps: Vec<StepView>,
}

/// One attempt.
#[derive(Debug, Serialize)]
pub(crate) struct Try {
    pub(crate) number: u32,
    pub(crate) at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) error: Option<ActionError>,
}

impl StepView {
    /// Unfolded from the start: what goes on, and what went wrong.
    pub(crate) fn open(&self) -> bool {
        self.unfolds() > 0
    }

    /// How much it asks to be read. What somebody has folded stays so until this changes: a step that went wrong unfolds again.
    pub(crate) fn unfolds(&self) -> u8 {
        match self.badge.tone {
            _ if self.troubled() => 2,
            Tone::Busy | Tone::Wait => 1,
            _ => 0,
        }
    }

    pub(crate) fn duration(&self) -> String {
        self.duration_s.map_or_else(String::new, |s| words::span(chrono::TimeDelta::seconds(s)))
    }

    /// What it usually takes, while that is of interest.
    pub(crate) fn usual(&self) -> Option<String> {
        let took = self.forecast.filter(|took| !self.is_over() && took.p95_s > 0)?;
        Some(words::usually(&took))
    }

    /// Is a person asked above what to do about its error? Remedy and facts stand there, too.
    fn is_asked_about(&self) -> bool {
        self.said == Said::WhereAsked
    }

    /// The attempts that failed.
    pub(crate) fn failures(&self) -> Vec<Failure<'_>> {
        failures(&self.attempts, self.error.as_ref().filter(|_| self.said == Said::Here))
    }

    /// The title of the step at a path, which may be inside this one.
    pub(super) fn titled(&self, path: &str) -> Option<String> {
        if self.path == path {
            return Some(self.title.clone());
        }
        self.steps.iter().find_map(|step| step.titled(path))
    }

    /// Itself, or the steps inside it, that go on now.
    pub(super) fn at_work<'a>(&'a self, into: &mut Vec<&'a Self>) {
        if self.steps.is_empty() && matches!(self.badge.tone, Tone::Busy | Tone::Wait) {
            into.push(self);
        }
        self.steps.iter().for_each(|step| step.at_work(into));
    }

    /// Does the run end because of this step, or of one inside it?
    pub(super) fn ends_run(&self) -> bool {
        self.ends_run || self.steps.iter().any(Self::ends_run)
    }

    /// Failed, or of unknown outcome.
    fn troubled(&self) -> bool {
        matches!(self.badge.tone, Tone::Bad | Tone::Warn)
    }

    fn is_paused(&self) -> bool {
        self.badge.word == PAUSED.word
    }

    /// Was it under way when the run went over to its end?
    pub(crate) fn is_interrupted(&self) -> bool {
        self.badge.word == INTERRUPTED.word
    }

    fn is_over(&self) -> bool {
        matches!(self.status, "done" | "skipped" | "failed")
    }
}

/// The whole tree: the runbook's steps, what is taken back, and the final check.
pub(super) fn tree(sight: &Sight<'_>) -> Vec<StepView> {
    let calls = sight.calls.iter().fold(HashMap::<&str, Vec<&Call>>::new(), |mut calls, call| {
        calls.entry(&call.step).or_default().push(call);
        calls
    });
    let tree = Tree { sight, calls };
    let mut steps: Vec<StepView> = match sight.runbook {
        Some(runbook) => runbook.steps.iter().map(|step| tree.step(step, &StepPath::top(&step.id))).collect(),
        None => tree.unplaced(),
    };
    steps.extend(
        sight.state.nodes().filter(|(path, _)| path.is_undo()).map(|(path, node)| tree.undo(path, node)),
    );
    if let Some(verify) = sight.runbook.and_then(|r| r.verify.as_ref()) {
        steps.push(tree.verify(&verify.look, &StepPath::verify()));
    }
    steps
}

struct Tree<'a> {
    sight: &'a Sight<'a>,
    calls: HashMap<&'a str, Vec<&'a Call>>,
}

impl Tree<'_> {
    fn step(&self, step: &Step, path: &StepPath) -> StepView {
        let title = title(step);
        let mut view = match &step.body {
            Body::Use(call) => self.leaf(kind_of(call, self.sight.registry), path, title, Some(call)),
            Body::Assert { .. } => self.leaf("guard", path, title, None),
            Body::Value(_) => self.leaf("value", path, title, None),
            Body::Approve(_) => self.approval(path, title),
            Body::Each(each) => self.each(each, path, title),
            Body::Together(branches) => {
                let mut view = self.leaf("together", path, title, None);
                let branch = |b: &Branch| self.item(&b.steps, &path.item(&b.name), &b.name);
                view.steps = branches.iter().map(branch).collect();
                counted(view)
            }
            Body::Run(child) => self.child(child, path, title),
            Body::Wait(time) => self.pause(*time, path, title),
        };
        view.why.clone_from(&step.why);
        view.one_way = step.one_way;
        view.ends_run = view.status == Status::Failed.word()
            && matches!(step.on_failure, Some(OnFailure::Fail | OnFailure::Undo));
        view
    }

    fn approval(&self, path: &StepPath, title: String) -> StepView {
        let mut view = self.leaf("approval", path, title, None);
        if let Some(ballot) =
            self.sight.state.ballot(Some(path)).filter(|_| view.status == Status::Running.word())
        {
            view.badge = Badge { tone: Tone::Wait, icon: Icon::Question, word: "Waits for approval" };
            view.waits_for = Some(ballot.needs.to_string());
        }
        view
    }

    fn each(&self, each: &Each, path: &StepPath, title: String) -> StepView {
        let mut view = self.leaf("each", path, title, None);
        let items = self.sight.state.node(path).and_then(|n| n.items.as_deref()).unwrap_or_default();
        view.steps = items
            .iter()
            .map(|item| {
                let at = path.item(&item.key);
                match &each.body {
                    EachBody::One(call) => {
                        self.leaf(kind_of(call, self.sight.registry), &at, item.key.clone(), Some(call))
                    }
                    EachBody::Steps(steps) => self.item(steps, &at, &item.key),
                }
            })
            .collect();
        counted(view)
    }

    /// Another runbook, as far as its text can be read.
    fn child(&self, child: &Child, path: &StepPath, title: String) -> StepView {
        let mut view = self.leaf("run", path, title, None);
        if let Some(runbook) = self.sight.children.get(&child.runbook) {
            view.steps = runbook.steps.iter().map(|step| self.step(step, &path.child(&step.id))).collect();
            let verify = runbook.verify.as_ref();
            view.steps.extend(verify.map(|v| self.verify(&v.look, &path.child("verify"))));
        }
        let inputs = self.sight.state.node(path).and_then(|n| n.child.clone());
        view.input = inputs.map(Value::Object);
        counted(view)
    }

    fn verify(&self, look: &Use, path: &StepPath) -> StepView {
        let mut view = self.leaf("verify", path, "Is the symptom gone?".into(), Some(look));
        if view.badge.tone == Tone::Busy {
            view.badge = WAITING;
        }
        view
    }

    fn pause(&self, time: std::time::Duration, path: &StepPath, title: String) -> StepView {
        let mut view = self.leaf("wait", path, title, None);
        let node = self.sight.state.node(path).filter(|n| n.status == Status::Running);
        if let Some(until) = node.and_then(|n| n.until) {
            view.badge = WAITING;
            view.waits_for = Some(until.format("%H:%M:%S UTC").to_string());
        } else if node.is_none() {
            let time = chrono::TimeDelta::from_std(time).unwrap_or_default();
            view.waits_for = view.started_at.is_none().then(|| format!("{} have passed", words::span(time)));
        }
        view
    }

    /// One item of an `each` with steps: it is as its steps are.
    fn item(&self, steps: &[Step], at: &StepPath, key: &str) -> StepView {
        let mut view = self.leaf("item", at, key.to_owned(), None);
        view.steps = steps.iter().map(|step| self.step(step, &at.child(&step.id))).collect();
        let rank = |s: &StepView| match s.badge.tone {
            _ if s.troubled() => 3,
            Tone::Busy | Tone::Wait => 2,
            _ => u8::from(s.is_paused()),
        };
        let telling = view.steps.iter().max_by_key(|s| rank(s)).filter(|s| rank(s) > 0);
        if let Some(step) = telling {
            (view.status, view.badge) = (step.status, step.badge);
        } else if view.steps.iter().all(StepView::is_over) {
            (view.status, view.badge) = ("done", badge(Some(Status::Done), false));
        } else if view.steps.iter().any(StepView::is_over) {
            (view.status, view.badge) = ("running", if self.is_paused() { PAUSED } else { RUNNING });
        }
        view.started_at = view.steps.iter().filter_map(|s| s.started_at).min();
        if view.is_over() {
            view.ended_at = view.steps.iter().filter_map(|s| s.ended_at).max();
        }
        let until = view.ended_at.unwrap_or(self.sight.now);
        view.duration_s = view.started_at.map(|from| (until - from).num_seconds());
        view
    }

    fn undo(&self, path: &StepPath, node: &Node) -> StepView {
        let of = path.as_str().trim_start_matches("undo:").to_owned();
        let named = self.sight.runbook.and_then(|r| r.steps.iter().find(|s| s.id == of)).map(title);
        let mut view = self.leaf("undo", path, format!("Take back: {}", named.unwrap_or(of)), None);
        view.action = node.intent.as_ref().map(|i| i.action.clone());
        view
    }

    /// Everything that has appeared, when the text cannot tell where it belongs.
    fn unplaced(&self) -> Vec<StepView> {
        let nodes = self.sight.state.nodes().filter(|(path, _)| !path.is_undo());
        nodes.map(|(path, _)| self.leaf("step", path, path.to_string(), None)).collect()
    }

    /// While a person is waited for, no step looks or begins anything, but for what takes changes back.
    fn is_paused(&self) -> bool {
        let state = self.sight.state;
        state.paused().is_some() && matches!(state.phase(), Phase::Forward | Phase::Verifying)
    }

    fn leaf(&self, kind: &'static str, path: &StepPath, title: String, call: Option<&Use>) -> StepView {
        let node = self.sight.state.node(path);
        let ended = self.sight.state.outcome().is_some();
        let intent = node.and_then(|n| n.intent.as_ref());
        let until = call.and_then(|c| c.until.as_ref());
        let waits = until.zip(node.filter(|n| n.status == Status::Running));
        let wait = waits.map(|(until, node)| Wait::of(until, self.sight.state, path, node));
        let mut badge = badge(node.map(|n| n.status), ended);
        let forecast = self.sight.forecast.and_then(|f| f.step(path)).copied();
        if wait.is_some() {
            badge = WAITING;
        }
        match node {
            // A change that is under way comes to its end.
            Some(n) if n.status == Status::Running && !n.has_open_intent() && self.is_paused() => {
                badge = PAUSED;
            }
            Some(n) if n.skipped.as_deref() == Some(ENDING) => badge = INTERRUPTED,
            _ => {}
        }
        let action = call.map(|c| c.action.clone());
        let input = node.and_then(|n| n.input.as_deref().cloned());
        let command = action.as_ref().zip(input.as_ref()).and_then(|(name, input)| self.command(name, input));
        let changes = intent.map(|i| self.changes(i)).unwrap_or_default();
        let over_at = node.and_then(|n| n.ended_at);
        StepView {
            path: path.to_string(),
            title,
            why: None,
            kind,
            one_way: false,
            status: status_word(node.map(|n| n.status), ended),
            badge,
            started_at: node.map(|n| n.started_at),
            ended_at: over_at,
            duration_s: node.map(|n| (over_at.unwrap_or(self.sight.now) - n.started_at).num_seconds()),
            forecast,
            attempts: node.map(attempts).unwrap_or_default(),
            waits_for: wait.as_ref().map(Wait::line),
            wait,
            seen: node
                .filter(|n| !n.status.is_over())
                .and_then(|n| n.seen.as_deref())
                .map(words::facts)
                .unwrap_or_default(),
            error: node.and_then(|n| n.error.clone()),
            said: said(self.sight.state, path, node),
            facts: node.and_then(|n| n.facts.as_ref()).map(words::facts).unwrap_or_default(),
            gave: node.and_then(|n| gave(kind, n, &changes)),
            changes,
            how: node.and_then(|n| n.how.as_ref()).map(how),
            skipped: node.and_then(|n| n.skipped.clone()),
            ends_run: false,
            command,
            action,
            input,
            output: node.map(|n| Value::clone(&n.output)).unwrap_or_default(),
            calls: self.calls.get(path.as_str()).into_iter().flatten().map(|c| (*c).clone()).collect(),
            progress: None,
            steps: Vec::new(),
        }
    }

    /// What was announced, object by object. The action itself can tell it from what was seen, without looking.
    fn changes(&self, intent: &Intent) -> Vec<ObjectChange> {
        let action = self.sight.registry.get(&intent.action);
        action.and_then(|a| a.plan(&intent.input, &intent.facts).ok()).map(|p| p.changes).unwrap_or_default()
    }

    fn command(&self, action: &str, input: &Value) -> Option<String> {
        let command = self.sight.registry.get(action)?.command(input).ok()?;
        Some(command).filter(|c| !c.trim().is_empty())
    }
}

const RUNNING: Badge = Badge { tone: Tone::Busy, icon: Icon::Play, word: "Running" };
const PAUSED: Badge = Badge { tone: Tone::Off, icon: Icon::Pause, word: "Paused" };
const INTERRUPTED: Badge = Badge { tone: Tone::Off, icon: Icon::Cross, word: "Interrupted" };
const WAITING: Badge = Badge { tone: Tone::Wait, icon: Icon::Clock, word: "Waiting" };

/// A step with steps inside: how many are done. One that waits for a person shows on the outside, too: nobody unfolds what
/// looks busy.
fn counted(mut view: StepView) -> StepView {
    if !view.steps.is_empty() && view.started_at.is_some() {
        let count = |of: fn(&StepView) -> bool| view.steps.iter().filter(|s| of(s)).count();
        let done =
            format!("{} of {} done", count(|s| matches!(s.status, "done" | "skipped")), view.steps.len());
        let troubled = count(StepView::troubled);
        if view.is_paused() && count(|s| matches!(s.badge.tone, Tone::Busy | Tone::Wait)) > 0 {
            view.badge = RUNNING;
        }
        view.progress = Some(if troubled > 0 { format!("{done}, {troubled} in trouble") } else { done });
        if let Some(step) = view.steps.iter().find(|s| s.troubled()).filter(|_| !view.is_over()) {
            (view.status, view.badge) = (step.status, step.badge);
        }
    }
    view
}

fn attempts(node: &Node) -> Vec<Try> {
    let each = node.attempts.iter();
    each.map(|a| Try { number: a.number, at: a.at, ended_at: a.ended_at, error: a.error.clone() }).collect()
}

pub(super) fn title(step: &Step) -> String {
    step.title.clone().unwrap_or_else(|| step.id.replace('_', " "))
}

fn kind_of(call: &Use, registry: &Registry) -> &'static str {
    let looks = registry.get(&call.action).is_none_or(|a| a.spec().effect == domain::action::Effect::Observe);
    match (looks, &call.until) {
        (false, _) => "change",
        (true, Some(_)) => "wait",
        (true, None) => "look",
    }
}

fn status_word(status: Option<Status>, ended: bool) -> &'static str {
    match status {
        // What holds steps stays as it is when the run ends around it.
        Some(Status::Running) if ended => "not finished",
        Some(status) => status.word(),
        None if ended => "not reached",
        None => "to come",
    }
}

fn badge(status: Option<Status>, ended: bool) -> Badge {
    let (tone, icon, word) = match status {
        Some(Status::Running) if ended => (Tone::Off, Icon::Cross, "Not finished"),
        Some(Status::Running) => return RUNNING,
        Some(Status::RetryLater(_)) => (Tone::Wait, Icon::Clock, "Retries soon"),
        Some(Status::Unclear) => (Tone::Wait, Icon::Question, "Checking"),
        Some(Status::OutcomeUnknown) => (Tone::Warn, Icon::Question, "Outcome unknown"),
        Some(Status::Done) => (Tone::Ok, Icon::Check, "Done"),
        Some(Status::Skipped) => (Tone::Off, Icon::Skip, "Skipped"),
        Some(Status::Failed) => (Tone::Bad, Icon::Cross, "Failed"),
        None if ended => (Tone::Off, Icon::Dot, "Not reached"),
        None => (Tone::Off, Icon::Dot, "To come"),
    };
    Badge { tone, icon, word }
}
