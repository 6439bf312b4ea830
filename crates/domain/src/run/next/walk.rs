//! The walk over the steps: what each of them needs now, given where it is.

use std::sync::Arc;

use serde_json::Value;

use super::each::expand;
use super::{Finally, Moves, Perform, Program, Watch, expression, scope_before_verify, text};
use crate::Timestamp;
use crate::action::{ActionError, Effect};
use crate::run::{After, Entry, How, Node, Outcome, Phase, State, Status, StepPath, Takeback};
use crate::runbook::{Body, OnFailure, Retry, Scope, Slot, Step, Template, Use};

/// The code of a look that saw somebody else at work on the object, before this run had changed anything: a guard that
/// every runbook has without writing it.
pub const FOREIGN_WORK: &str = "foreign_work";

/// Whether the run may pass a step.
pub(in crate::run) enum Walk {
    Complete,
    Blocked,
}

pub(in crate::run) struct Walker<'a> {
    pub(super) program: &'a Program,
    pub(in crate::run) state: &'a State,
    pub(in crate::run) now: Timestamp,
    pub(in crate::run) moves: Moves,
}

impl<'a> Walker<'a> {
    pub(super) fn new(program: &'a Program, state: &'a State, now: Timestamp) -> Self {
        Self { program, state, now, moves: Moves::default() }
    }

    pub(super) fn moves(self) -> Moves {
        self.moves
    }

    pub(super) fn forward(&mut self) {
        let mut scope = self.program.scope();
        let runbook = Arc::clone(&self.program.runbook);
        if let Walk::Complete = self.steps(&runbook.steps, None, &mut scope) {
            let then = match runbook.verify {
                Some(_) => After::Verify,
                None => After::End { outcome: Outcome::Succeeded, message: "All steps are done.".into() },
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
        self.close(*takeback, After::End { outcome, message: format!("Aborted by {by}: {reason}") });
    }

    /// Goes over to closing, as soon as no change is in flight any more.
    fn close(&mut self, takeback: Takeback, then: After) {
        let mut in_flight = false;
        for (step, node) in self.state.in_flight() {
            in_flight = true;
            self.recover(step, node);
        }
        if in_flight || !self.moves.record.is_empty() {
            return;
        }
        for (step, node) in self.state.nodes() {
            if matches!(node.status, Status::Running | Status::RetryLater(_)) && node.items.is_none() {
                self.record(Entry::Skipped { step: step.clone(), why: "the run is ending".into() });
            }
        }
        self.record(Entry::Closing { takeback, then });
    }

    pub(super) fn closing(&mut self, takeback: Takeback, then: &After) {
        if self.state.held().is_some() {
            return;
        }
        for (step, undo) in self.state.takebacks(takeback) {
            let path = step.undo();
            match self.state.node(&path) {
                // What is gone needs no taking back: a host that was paused, and then terminated.
                Some(node) if node.status == Status::Failed && node.is_gone() => {}
                Some(node) if node.status == Status::Failed => {
                    if !self.state.blocked().any(|(blocked, _)| *blocked == path) {
                        let why = node.error.as_ref().map_or_else(String::new, ToString::to_string);
                        let why = format!("{step} could not be taken back: {why}");
                        self.record(Entry::Paused { step: Some(path), why });
                    }
                    return;
                }
                Some(node) if node.status.is_over() => {}
                node => {
                    let call = Use {
                        action: undo.call.action.clone(),
                        with: Template::literal(undo.call.input.clone()),
                        until: None,
                        retry: Retry::default(),
                    };
                    self.go(&call, &path, node, &self.program.scope(), None);
                    return;
                }
            }
        }
        if let After::End { outcome, message } = then {
            self.record(Entry::Ended { outcome: *outcome, message: message.clone() });
        }
    }

    pub(super) fn verifying(&mut self) {
        let runbook = Arc::clone(&self.program.runbook);
        let Some(verify) = &runbook.verify else {
            let message = "All steps are done.".into();
            self.record(Entry::Ended { outcome: Outcome::Succeeded, message });
            return;
        };
        let path = StepPath::verify();
        let scope = scope_before_verify(self.program, self.state);
        match self.state.node(&path) {
            Some(node) if node.status == Status::Failed => {
                let message = text(&verify.message, &scope);
                self.record(Entry::Ended { outcome: Outcome::SymptomPersists, message });
            }
            Some(node) if node.status.is_over() => {
                let message = "All steps are done, and the symptom is gone.".into();
                self.record(Entry::Ended { outcome: Outcome::Succeeded, message });
            }
            _ if self.state.paused().is_some() => {}
            node => self.go(&verify.look, &path, node, &scope, None),
        }
    }

    pub(super) fn steps(&mut self, steps: &[Step], item: Option<&StepPath>, scope: &mut Scope) -> Walk {
        for step in steps {
            let path = item.map_or_else(|| StepPath::top(&step.id), |item| item.child(&step.id));
            if let Walk::Blocked = self.step(step, &path, scope) {
                return Walk::Blocked;
            }
            let output = self.state.node(&path).map_or(Value::Null, |n| n.output.clone());
            scope.steps.insert(step.id.clone(), Slot::Known(output));
        }
        Walk::Complete
    }

    pub(super) fn step(&mut self, step: &Step, path: &StepPath, scope: &Scope) -> Walk {
        let node = self.state.node(path);
        if let Some(node) = node.filter(|n| n.status.is_over()) {
            return self.over(step, path, node);
        }
        if let (Body::Each(each), Some(items)) = (&step.body, node.and_then(|n| n.items.as_ref())) {
            return self.items(step, each, path, items, node.map_or(1, |n| n.at_once), scope);
        }
        if node.is_none() {
            if self.state.paused().is_some() {
                return Walk::Blocked;
            }
            match step.condition.as_ref().map(|c| (c, c.test(scope))) {
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
                self.go(call, path, node, scope, undo_of(step));
                Walk::Blocked
            }
            Body::Assert { that, message } => match that.test(scope) {
                Ok(true) => self.reasoned(path, Value::Bool(true)),
                Ok(false) => {
                    let error = ActionError::refused("guard", text(message, scope));
                    self.fail(path, error, Value::Object(that.facts(scope)))
                }
                Err(e) => self.fail(path, expression(&e), Value::Object(that.facts(scope))),
            },
            Body::Approve(approve) => self.approve(approve, path, node, scope),
            Body::Value(template) => match template.eval(scope) {
                Ok(value) => self.reasoned(path, value),
                Err(e) => self.fail(path, expression(&e), Value::Null),
            },
            Body::Each(each) => match expand(each, scope) {
                Ok((items, at_once)) => self.record(Entry::Expanded { step: path.clone(), items, at_once }),
                Err(error) => self.fail(path, error, Value::Null),
            },
        }
    }

    /// A step that is over: done and skipped ones let the run pass, failed ones do what the runbook says.
    pub(super) fn over(&mut self, step: &Step, path: &StepPath, node: &Node) -> Walk {
        if node.status != Status::Failed {
            return Walk::Complete;
        }
        let why = node.error.as_ref().map_or_else(|| "failed".into(), |e| e.message.clone());
        let foreign = node.error.as_ref().is_some_and(|e| e.code == FOREIGN_WORK);
        let guard = foreign || matches!(step.body, Body::Assert { .. });
        match step.on_failure {
            Some(OnFailure::Continue) => return Walk::Complete,
            Some(OnFailure::Fail) => {
                self.close(Takeback::Finally, After::End { outcome: Outcome::Failed, message: why });
            }
            Some(OnFailure::Undo) => {
                self.close(Takeback::All, After::End { outcome: Outcome::Undone, message: why });
            }
            None if guard && !self.state.has_changed_anything() => {
                self.close(Takeback::Finally, After::End { outcome: Outcome::Refused, message: why });
            }
            None | Some(OnFailure::Pause) => {
                if !self.state.blocked().any(|(blocked, _)| blocked == path) {
                    self.record(Entry::Paused { step: Some(path.clone()), why });
                }
            }
        }
        Walk::Blocked
    }

    /// Sets an action going, or on.
    pub(super) fn go(
        &mut self,
        call: &Use,
        path: &StepPath,
        node: Option<&Node>,
        scope: &Scope,
        undo: Option<Finally>,
    ) {
        match node.map(|n| (n, n.status)) {
            Some((node, Status::Unclear)) => return self.recover(path, node),
            Some((_, Status::RetryLater(at))) if self.now < at => return self.wake(at),
            Some((node, Status::Running)) if node.intent.is_some() => return,
            Some((_, Status::OutcomeUnknown)) => {
                if !self.state.blocked().any(|(blocked, _)| blocked == path) {
                    let why = "nobody but a person can tell whether the call took effect".into();
                    self.record(Entry::Paused { step: Some(path.clone()), why });
                }
                return;
            }
            _ => {}
        }
        let closing = matches!(self.state.phase(), Phase::Closing { .. });
        if self.state.paused().is_some() && !closing {
            return;
        }
        let input = match call.with.eval(scope) {
            Ok(input) => input,
            Err(e) => {
                self.fail(path, expression(&e), Value::Null);
                return;
            }
        };
        let Some(action) = self.program.registry.get(&call.action) else {
            let message = format!("this version of Firebreak has no action `{}`", call.action);
            let error = ActionError::refused("unknown_action", message)
                .remedy("let a process of the version that started the run take it over, or abort");
            self.fail(path, error, Value::Null);
            return;
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
                watch: call.until.as_ref().map(|until| Box::new(Watch::new(until, scope))),
                since: node.attempts.last().map_or(node.started_at, |a| a.at),
                retry,
            }),
            None => {
                let (step, action) = (path.clone(), call.action.clone());
                self.record(Entry::Started { step, attempt: attempt + 1, action, input });
            }
        }
    }

    fn recover(&mut self, step: &StepPath, node: &Node) {
        if let (Status::Unclear, Some(intent)) = (node.status, &node.intent) {
            let (step, attempt) = (step.clone(), node.attempt());
            self.moves.perform.push(Perform::Recover { step, attempt, intent: intent.clone() });
        }
    }

    pub(in crate::run) fn wake(&mut self, at: Timestamp) {
        self.moves.wake_at = Some(self.moves.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(in crate::run) fn record(&mut self, entry: Entry) -> Walk {
        self.moves.record.push(entry);
        Walk::Blocked
    }

    pub(super) fn reasoned(&mut self, path: &StepPath, output: Value) -> Walk {
        self.record(Entry::Done { step: path.clone(), output, how: How::Reasoned })
    }

    pub(super) fn fail(&mut self, path: &StepPath, error: ActionError, facts: Value) -> Walk {
        self.record(Entry::Failed { step: path.clone(), error, facts })
    }
}

pub(super) fn undo_of(step: &Step) -> Option<Finally> {
    (step.undo || step.finally).then_some(step.finally)
}
