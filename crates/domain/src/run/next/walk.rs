//! The walk over the steps: what each of them needs now, given where it is.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::each::expand;
use super::sight::{Around, Sight};
use super::watch::is_seen;
use super::{Finally, Moves, Perform, Program, Watch, delta, expression, success, text};
use crate::Timestamp;
use crate::action::{ActionError, Effect};
use crate::run::{After, Entry, How, Item, Node, Outcome, Phase, State, Status, StepPath, Takeback, Undo};
use crate::runbook::{Body, OnFailure, Retry, Step, Template, Use};

/// The code of a look that saw somebody else at work on the object, before this run had changed anything: a guard that
/// every runbook has without writing it.
pub const FOREIGN_WORK: &str = "foreign_work";

/// Why a step was left out that was under way when the run went over to its end: nobody left it out.
pub const ENDING: &str = "the run is ending";

/// Whether the run may pass a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Walk {
    Complete,
    Blocked,
    /// It failed, said nothing of what then, and the step around it has an answer.
    Failed,
}

/// What a failed step does that says nothing itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The run waits for a person.
    Pause,
    /// The step around it fails.
    FailAround,
}

pub(in crate::run) struct Walker<'a> {
    pub(super) program: &'a Program,
    pub(in crate::run) state: &'a State,
    pub(in crate::run) now: Timestamp,
    pub(in crate::run) moves: Moves,
    /// The steps because of which the one around them fails.
    pub(super) failed: Vec<StepPath>,
    /// A failed step ends the run: how.
    ending: Option<(Takeback, After)>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(program: &'a Program, state: &'a State, now: Timestamp) -> Self {
        Self { program, state, now, moves: Moves::default(), failed: Vec::new(), ending: None }
    }

    pub(super) fn moves(self) -> Moves {
        self.moves
    }

    pub(super) fn forward(&mut self) {
        let (program, runbook) = (self.program, &self.program.runbook);
        let walk = self.steps(&runbook.steps, None, Around::Run(program), Otherwise::Pause);
        // Whoever said "nothing new" is asked before the run ends, too: to end is to take back, and to let others at the targets.
        if self.state.held().is_some() {
            return;
        }
        if let Some((takeback, then)) = self.ending.take() {
            // Nothing new beside it, however far the others are.
            self.moves = Moves::default();
            self.close(takeback, then);
        } else if walk == Walk::Complete {
            let then = match runbook.verify {
                Some(_) => After::Verify,
                None => {
                    let message = success(runbook, &Sight::at_the_end(program, self.state));
                    After::End { outcome: Outcome::Succeeded, message }
                }
            };
            self.close(Takeback::Finally, then);
        }
    }

    pub(super) fn abort(&mut self) {
        let Some((takeback, by, reason)) = self.state.aborting() else { return };
        let outcome = match takeback {
            Takeback::All => Outcome::Undone,
            Takeback::Finally => Outcome::Aborted,
        };
        let mut message = format!("Aborted by {by}: {reason}");
        let left: Vec<&str> = self.unknown().map(|(step, _)| step.as_str()).collect();
        if !left.is_empty() {
            message += &format!(" (what became of {} is not known)", left.join(", "));
        }
        self.close(*takeback, After::End { outcome, message });
    }

    /// The steps of which nobody but a person can tell what became of them.
    fn unknown(&self) -> impl Iterator<Item = (&'a StepPath, &'a Node)> + use<'a> {
        self.state.nodes().filter(|(_, node)| node.status == Status::OutcomeUnknown)
    }

    /// Goes over to closing, as soon as no change is in flight any more, and nobody must be asked what became of one: a run that
    /// has ended frees its targets and asks nothing, while the call may still land. So the end waits for whatever somebody says did
    /// not happen, which is not made anew, and for what whoever aborts leaves as it is, until neither can happen any more.
    fn close(&mut self, takeback: Takeback, then: After) {
        let mut open = false;
        for (step, node) in self.state.in_flight() {
            open = true;
            self.recover(step, node);
        }
        for (step, _) in self.unknown().filter(|(_, node)| !node.abandoned) {
            open = true;
            self.ask_a_person(step);
        }
        // A pause that came after the abort stops what the abort would begin.
        if self.may_land() || open || !self.moves.record.is_empty() || self.state.held().is_some() {
            return;
        }
        for (step, node) in self.state.nodes() {
            let open = matches!(node.status, Status::Running | Status::RetryLater(_));
            // What holds steps is as they are; what takes back goes on in closing.
            if open && !node.is_around() && !step.is_undo() {
                self.record(Entry::Skipped { step: step.clone(), why: ENDING.into() });
            }
        }
        self.record(Entry::Closing { takeback, then });
    }

    /// May a call that nobody waits for still take effect? Then it is asked again when none can any more.
    fn may_land(&mut self) -> bool {
        let safe = self.state.lands_before(self.program.window).filter(|safe| self.now < *safe);
        safe.is_some_and(|safe| {
            self.wake(safe);
            true
        })
    }

    pub(super) fn closing(&mut self, takeback: Takeback, then: &After) {
        if self.state.held().is_some() {
            return;
        }
        // Whoever left out what takes a change back has left its call as it is, and that may be on its way.
        if !self.taken_back(&self.state.takebacks(takeback)) || self.may_land() {
            return;
        }
        if let After::End { outcome, message } = then {
            self.record(Entry::Ended { outcome: *outcome, message: message.clone() });
        }
    }

    /// Takes back, one after the other. True when all is.
    pub(super) fn taken_back(&mut self, takebacks: &[(&StepPath, &Undo)]) -> bool {
        for (step, undo) in takebacks {
            let path = step.undo();
            match self.state.node(&path) {
                // What is gone needs no taking back: a host that was paused, and then terminated.
                Some(node) if node.status == Status::Failed && node.is_gone() => {}
                Some(node) if node.status == Status::Failed => {
                    let why = node.error.as_ref().map_or_else(String::new, ToString::to_string);
                    self.pause_at(&path, format!("{step} could not be taken back: {why}"));
                    return false;
                }
                Some(node) if node.status.is_over() => {}
                node => {
                    let call = Use {
                        action: undo.call.action.clone(),
                        with: Template::literal(undo.call.input.clone()),
                        until: None,
                        retry: Retry::default(),
                    };
                    let sight = Sight::new(self.state, Around::Run(self.program), None, &[]);
                    self.go(&call, &path, node, &sight, None);
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn verifying(&mut self) {
        let runbook = &self.program.runbook;
        let sight = Sight::at_the_end(self.program, self.state);
        let Some(verify) = &runbook.verify else {
            let message = success(runbook, &sight);
            self.record(Entry::Ended { outcome: Outcome::Succeeded, message });
            return;
        };
        // The same of what was taken back before it.
        if self.may_land() {
            return;
        }
        let path = StepPath::verify();
        match self.state.node(&path) {
            // It does not end, and free its targets, while somebody says that it shall stay where it is.
            Some(node) if node.status.is_over() && self.state.held().is_some() => {}
            Some(node) if node.status == Status::Failed => match blind(node) {
                // Only who looked may say that the symptom is still there.
                Some(why) => self.pause_at(&path, why),
                None => {
                    let message = text(&verify.message, sight.scope());
                    self.record(Entry::Ended { outcome: Outcome::SymptomPersists, message });
                }
            },
            Some(node) if node.status.is_over() => {
                let message = match &node.skipped {
                    Some(why) => {
                        format!("All steps are done. Whether the symptom is gone was left out by {why}")
                    }
                    None => success(runbook, &sight),
                };
                self.record(Entry::Ended { outcome: Outcome::Succeeded, message });
            }
            _ if self.state.paused().is_some() => {}
            node => self.go(&verify.look, &path, node, &sight, None),
        }
    }

    /// Steps, one after the other. Most of a walk passes what is over, so that this must cost next to nothing.
    pub(super) fn steps(
        &mut self,
        steps: &[Step],
        inside: Option<&str>,
        around: Around<'_>,
        otherwise: Otherwise,
    ) -> Walk {
        let state = self.state;
        let mut text = String::new();
        for (n, step) in steps.iter().enumerate() {
            let at = StepPath::text_in(inside, &step.id, &mut text);
            let walk = match state.known(at) {
                Some((path, node)) if node.status.is_over() => self.over(step, path, node, otherwise),
                known => {
                    let path = known.map_or_else(|| StepPath::from(at), |(path, _)| path.clone());
                    let sight = Sight::new(state, around, inside, &steps[..n]);
                    self.step(step, &path, known.map(|(_, node)| node), &sight, otherwise)
                }
            };
            if walk != Walk::Complete {
                return walk;
            }
        }
        Walk::Complete
    }

    /// What later steps read of a step.
    pub(super) fn output_of(&self, path: &StepPath) -> Arc<Value> {
        self.state.node(path).map_or_else(Arc::default, |n| n.output.clone())
    }

    /// A step that is not over.
    fn step(
        &mut self,
        step: &Step,
        path: &StepPath,
        node: Option<&Node>,
        sight: &Sight<'_>,
        otherwise: Otherwise,
    ) -> Walk {
        match (node, &step.body) {
            (Some(node), Body::Each(each)) => return self.items(step, each, path, node, sight, otherwise),
            (Some(_), Body::Together(branches)) => {
                return self.branches(step, branches, path, sight, otherwise);
            }
            (Some(node), Body::Run(child)) => return self.child(step, child, path, node, otherwise),
            (Some(node), Body::Wait(time)) => return self.waiting(path, node, *time),
            _ => {}
        }
        if node.is_none() {
            if self.state.paused().is_some() {
                return Walk::Blocked;
            }
            match step.condition.as_ref().map(|c| (c, c.test(sight.scope()))) {
                // Where nobody can tell whether others must agree, they must: a step that fails before they are asked could be skipped
                // by whoever it is there to stop.
                Some((_, Err(_))) if matches!(step.body, Body::Approve(_)) => {}
                Some((_, Err(e))) => return self.fail(path, expression(&e), Value::Null),
                Some((condition, Ok(false))) => {
                    let why = format!("`if: {}` is false", condition.source());
                    return self.record(Entry::Skipped { step: path.clone(), why });
                }
                Some((_, Ok(true))) | None => {}
            }
        }
        match &step.body {
            Body::Use(call) => {
                self.go(call, path, node, sight, undo_of(step));
                Walk::Blocked
            }
            Body::Assert { that, message, .. } => match that.test(sight.scope()) {
                Ok(true) => self.reasoned(path, Value::Bool(true)),
                Ok(false) => {
                    let error = ActionError::refused("guard", text(message, sight.scope()));
                    self.fail(path, error, Value::Object(that.facts(sight.scope())))
                }
                Err(e) => self.fail(path, expression(&e), Value::Object(that.facts(sight.scope()))),
            },
            Body::Approve(approve) => self.approve(approve, path, node, sight),
            Body::Value(template) => match sight.value(template) {
                Ok(value) => self.reasoned(path, value),
                Err(e) => self.fail(path, expression(&e), Value::Null),
            },
            Body::Each(each) => match expand(each, sight.scope()) {
                Ok((items, at_once, stop_after)) => {
                    self.record(Entry::Expanded { step: path.clone(), items, at_once, stop_after })
                }
                Err(error) => self.fail(path, error, Value::Null),
            },
            Body::Together(branches) => {
                let item = |name: &String| Item { key: name.clone(), value: Value::Null };
                let items: Vec<_> = branches.iter().map(|b| item(&b.name)).collect();
                let at_once = items.len();
                self.record(Entry::Expanded { step: path.clone(), items, at_once, stop_after: None })
            }
            Body::Run(child) => self.enter(child, path, sight),
            Body::Wait(time) => {
                let until = self.now + delta(*time);
                self.record(Entry::Waiting { step: path.clone(), until })
            }
        }
    }

    fn waiting(&mut self, path: &StepPath, node: &Node, time: Duration) -> Walk {
        match node.until {
            Some(until) if self.now < until => {
                self.wake(until);
                Walk::Blocked
            }
            _ => self.reasoned(path, Value::from(time.as_secs())),
        }
    }

    /// A step that is over: done and skipped ones let the run pass, failed ones do what the runbook says.
    pub(super) fn over(&mut self, step: &Step, path: &StepPath, node: &Node, otherwise: Otherwise) -> Walk {
        if node.status != Status::Failed {
            return Walk::Complete;
        }
        let why = node.error.as_ref().map_or_else(|| "failed".into(), |e| e.message.clone());
        let foreign = node.error.as_ref().is_some_and(|e| e.code == FOREIGN_WORK);
        let guard = foreign || matches!(step.body, Body::Assert { .. });
        match (step.on_failure, otherwise) {
            (Some(OnFailure::Continue), _) => return Walk::Complete,
            (Some(OnFailure::Fail), _) => {
                self.end(Takeback::Finally, Outcome::Failed, why);
            }
            (Some(OnFailure::Undo), _) => {
                self.end(Takeback::All, Outcome::Undone, why);
            }
            (None, Otherwise::FailAround) => {
                self.failed.push(path.clone());
                return Walk::Failed;
            }
            (None, Otherwise::Pause) if guard && !self.state.has_changed_anything() => {
                self.end(Takeback::Finally, Outcome::Refused, why);
            }
            (None | Some(OnFailure::Pause), _) => self.pause_at(path, why),
        }
        Walk::Blocked
    }

    fn end(&mut self, takeback: Takeback, outcome: Outcome, message: String) {
        self.ending.get_or_insert((takeback, After::End { outcome, message }));
    }

    fn ask_a_person(&mut self, path: &StepPath) {
        self.pause_at(path, "nobody but a person can tell whether the call took effect".into());
    }

    pub(super) fn pause_at(&mut self, path: &StepPath, why: String) {
        if !self.state.blocked().any(|(blocked, _)| blocked == path) {
            self.record(Entry::Paused { step: Some(path.clone()), why });
        }
    }

    /// Sets an action going, or on.
    pub(super) fn go(
        &mut self,
        call: &Use,
        path: &StepPath,
        node: Option<&Node>,
        sight: &Sight<'_>,
        undo: Option<Finally>,
    ) {
        match node.map(|n| (n, n.status)) {
            Some((node, Status::Unclear)) => return self.recover(path, node),
            Some((_, Status::RetryLater(at))) if self.now < at => return self.wake(at),
            Some((node, Status::Running)) if node.intent.is_some() => return,
            Some((_, Status::OutcomeUnknown)) => {
                return self.ask_a_person(path);
            }
            _ => {}
        }
        let closing = matches!(self.state.phase(), Phase::Closing { .. });
        if self.state.paused().is_some() && !closing {
            return;
        }
        let input = match sight.value(&call.with) {
            Ok(input) => input,
            Err(e) => {
                self.fail(path, expression(&e), Value::Null);
                return;
            }
        };
        let Some(action) = self.program.registry.get(&call.action) else {
            return self.not_here(&call.action, path, node);
        };
        let attempt = node.map_or(0, Node::attempt);
        let retry = call.retry.clone();
        if action.spec().effect != Effect::Observe {
            let (step, action) = (path.clone(), call.action.clone());
            self.moves.perform.push(Perform::Change {
                step,
                attempt: attempt + 1,
                action,
                input,
                undo,
                retry,
            });
            return;
        }
        match node.filter(|n| n.status == Status::Running) {
            Some(node) => self.moves.perform.push(Perform::Look {
                step: path.clone(),
                attempt,
                action: call.action.clone(),
                input: node.input.clone().unwrap_or(input),
                watch: call.until.as_ref().map(|until| Box::new(Watch::new(until, sight.scope()))),
                since: node.attempts.last().map_or(node.started_at, |a| a.at),
                retry,
            }),
            None => {
                let (step, action) = (path.clone(), call.action.clone());
                self.record(Entry::Started { step, attempt: attempt + 1, action, input });
            }
        }
    }

    /// This version cannot do it. A step of which a call may still land does not fail because of that: what comes after it, or the end
    /// of the run, would not wait for the call. It stays as it is, for a version that can.
    fn not_here(&mut self, action: &str, path: &StepPath, node: Option<&Node>) {
        let message = format!("this version of Firebreak has no action `{action}`");
        if node.is_some_and(Node::may_be_called) {
            if self.state.held().is_none() {
                let remedy = "let a process of the version that made it take the run over, then resume";
                let why = format!("{path}: {message}, and a call of it got no answer: {remedy}");
                self.record(Entry::Paused { step: None, why });
            }
            return;
        }
        let error = ActionError::refused("unknown_action", message)
            .remedy("let a process of the version that started the run take it over, or abort");
        self.fail(path, error, Value::Null);
    }

    fn recover(&mut self, step: &StepPath, node: &Node) {
        if let (Status::Unclear, Some(intent)) = (node.status, &node.intent) {
            let (step, attempt) = (step.clone(), node.attempt());
            let (intent, hurried) = (intent.clone(), node.hurried);
            self.moves.perform.push(Perform::Recover { step, attempt, intent, hurried });
        }
    }

    pub(in crate::run) fn wake(&mut self, at: Timestamp) {
        self.moves.wake_at = Some(self.moves.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(in crate::run) fn record(&mut self, entry: Entry) -> Walk {
        self.moves.record.push(entry);
        Walk::Blocked
    }

    pub(super) fn reasoned(&mut self, path: &StepPath, output: impl Into<Arc<Value>>) -> Walk {
        self.record(Entry::Done { step: path.clone(), output: output.into(), how: How::Reasoned })
    }

    pub(super) fn fail(&mut self, path: &StepPath, error: ActionError, facts: Value) -> Walk {
        self.record(Entry::Failed { step: path.clone(), error, facts })
    }
}

/// Why a check of the symptom failed without having seen it.
pub(super) fn blind(node: &Node) -> Option<String> {
    let error = node.error.as_ref().filter(|error| !is_seen(error))?;
    Some(format!("whether the symptom is gone could not be seen: {error}"))
}

pub(super) fn undo_of(step: &Step) -> Option<Finally> {
    (step.undo || step.finally).then_some(step.finally)
}
