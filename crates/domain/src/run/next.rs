//! What follows: from the runbook and the state to the entries that can be written at once (guards, values, skips,
//! pauses, the end) and the work that must be done (looks, changes, recoveries).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::{After, Entry, How, Intent, Item, Node, Outcome, Phase, State, Status, StepPath, Takeback};
use crate::Timestamp;
use crate::action::{ActionError, Effect, ErrorClass, Registry};
use crate::runbook::{
    Body, Each, EachBody, EvalError, OnFailure, OnTimeout, Retry, Runbook, Scope, Slot, Step, Template,
    Until, Use,
};

/// A runbook with everything its expressions may name.
#[derive(Clone)]
pub struct Program {
    /// The runbook, from the exact text that the run is pinned to.
    pub runbook: Arc<Runbook>,
    /// The actions.
    pub registry: Registry,
    /// `inputs`, as expressions see them.
    pub inputs: Value,
    /// `inventory`, as expressions see it.
    pub inventory: Value,
    /// `run`: id and requester.
    pub run: Value,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Moves {
    /// Entries to write before anything else; when there are any, ask again afterwards.
    pub record: Vec<Entry>,
    /// Work to do, unless it is being done already.
    pub perform: Vec<Perform>,
    /// When to ask again though nothing has happened.
    pub wake_at: Option<Timestamp>,
}

/// Work that touches the outside.
#[derive(Debug, Clone)]
pub enum Perform {
    /// Look, once or until a condition holds.
    Look {
        /// The step.
        step: StepPath,
        /// The attempt, announced already.
        attempt: u32,
        /// The action.
        action: String,
        /// Its input.
        input: Value,
        /// What is waited for.
        watch: Option<Box<Watch>>,
        /// Since when.
        since: Timestamp,
        /// How failures are retried.
        retry: Retry,
    },
    /// Look, and unless it is so already: announce, and make one change.
    Change {
        /// The step.
        step: StepPath,
        /// The attempt to announce.
        attempt: u32,
        /// The action.
        action: String,
        /// Its input.
        input: Value,
        /// Is it to be taken back (and also at the end of a run that went well)?
        undo: Option<Finally>,
        /// How failures are retried.
        retry: Retry,
    },
    /// Look what became of a change whose answer was lost.
    Recover {
        /// The step.
        step: StepPath,
        /// The attempt in question.
        attempt: u32,
        /// What was announced.
        intent: Intent,
    },
}

/// Whether something to be taken back is so also at the end of a run that went well.
pub type Finally = bool;

impl Perform {
    /// The step that it is about.
    pub fn step(&self) -> &StepPath {
        match self {
            Self::Look { step, .. } | Self::Change { step, .. } | Self::Recover { step, .. } => step,
        }
    }
}

/// What a waiting step waits for.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The condition, and how long it is waited for.
    pub until: Until,
    scope: Scope,
}

/// What a look means to a waiting step.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The condition holds, and has held for as long as asked.
    Holds,
    /// Look again.
    NotYet,
    /// The time is up, and the runbook says to go on.
    Expired,
    /// The step fails.
    Failed(ActionError),
}

impl Watch {
    /// Judges a look. `held_since` carries a soak from one look to the next.
    pub fn judge(
        &self,
        out: &Value,
        since: Timestamp,
        held_since: &mut Option<Timestamp>,
        now: Timestamp,
    ) -> Verdict {
        let scope = self.scope.with_out(out.clone());
        match self.until.condition.test(&scope) {
            Err(e) => return Verdict::Failed(expression(&e)),
            Ok(true) => {
                let from = *held_since.get_or_insert(now);
                if now - from >= delta(self.until.hold.unwrap_or_default()) {
                    return Verdict::Holds;
                }
            }
            Ok(false) => *held_since = None,
        }
        if let Some(give_up) = &self.until.give_up {
            match give_up.condition.test(&scope) {
                Err(e) => return Verdict::Failed(expression(&e)),
                Ok(true) => {
                    return Verdict::Failed(ActionError::refused("gave_up", text(&give_up.message, &scope)));
                }
                Ok(false) => {}
            }
        }
        self.overdue(since, now)
    }

    /// Judges a look that could not be had.
    pub fn overdue(&self, since: Timestamp, now: Timestamp) -> Verdict {
        if now - since < delta(self.until.timeout) {
            return Verdict::NotYet;
        }
        match self.until.on_timeout {
            OnTimeout::Continue => Verdict::Expired,
            OnTimeout::Fail => {
                let waited = humantime::format_duration(self.until.timeout);
                Verdict::Failed(ActionError::refused(
                    "timeout",
                    format!("`{}` did not come true within {waited}", self.until.condition.source()),
                ))
            }
        }
    }
}

/// What follows from `state`.
pub fn next(program: &Program, state: &State, now: Timestamp) -> Moves {
    let mut walker = Walker { program, state, now, moves: Moves::default() };
    match state.phase() {
        Phase::Ended => {}
        _ if state.aborting().is_some() && !matches!(state.phase(), Phase::Closing { .. }) => walker.abort(),
        Phase::Forward => walker.forward(),
        Phase::Closing { takeback, then } => walker.closing(*takeback, then),
        Phase::Verifying => walker.verifying(),
    }
    walker.moves
}

/// What the final check's expressions see: every top-level step's output.
pub fn scope_before_verify(program: &Program, state: &State) -> Scope {
    let mut scope = program.scope();
    for step in &program.runbook.steps {
        let output = state.node(&StepPath::top(&step.id)).map_or(Value::Null, |n| n.output.clone());
        scope.steps.insert(step.id.clone(), Slot::Known(output));
    }
    scope
}

impl Program {
    /// What expressions see before the first step.
    pub fn scope(&self) -> Scope {
        Scope {
            inputs: self.inputs.clone(),
            inventory: self.inventory.clone(),
            run: self.run.clone(),
            ..Scope::default()
        }
    }
}

impl Perform {
    /// The entry for a failure of this work: another attempt, or the end of the step.
    ///
    /// Failures because a service was busy use up no attempt, but are not forgiven for ever.
    pub fn failed(&self, state: &State, error: ActionError, now: Timestamp) -> Entry {
        let (step, attempt, retry) = match self {
            Self::Look { step, attempt, retry, .. } | Self::Change { step, attempt, retry, .. } => {
                (step, *attempt, retry.clone())
            }
            Self::Recover { step, attempt, .. } => (step, *attempt, Retry::default()),
        };
        // The attempt at hand may not be in the journal yet (a change that failed while looking): count it in.
        let earlier: Vec<_> = state.node(step).map_or(Vec::new(), |n| {
            n.attempts.iter().filter(|a| a.number < attempt).filter_map(|a| a.error.as_ref()).collect()
        });
        let busy = earlier.iter().filter(|e| e.class == ErrorClass::Busy).count();
        let others = earlier.len() - busy;
        let pause = match error.class {
            ErrorClass::Busy if busy < BUSY_LIMIT => Some(doubled(retry.backoff, busy)),
            ErrorClass::Transient if others + 1 < retry.attempts as usize => {
                Some(doubled(retry.backoff, others))
            }
            _ => None,
        };
        match pause {
            Some(pause) => {
                let retry_at = now + delta(pause + jitter(pause, step, attempt));
                Entry::AttemptFailed { step: step.clone(), attempt, error, retry_at }
            }
            None => Entry::Failed { step: step.clone(), error, facts: Value::Null },
        }
    }
}

/// How often "busy" is forgiven: with the capped pauses about a quarter of an hour, longer than any throttle seen.
const BUSY_LIMIT: usize = 30;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

fn doubled(backoff: Duration, times: usize) -> Duration {
    backoff.saturating_mul(1 << times.min(16)).min(LONGEST_PAUSE)
}

/// Up to a quarter more, different for each step and attempt, so that the items of an `each` do not knock in step.
fn jitter(pause: Duration, step: &StepPath, attempt: u32) -> Duration {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{step}#{attempt}"));
    pause.mul_f64(f64::from(digest[0]) / 1024.0)
}

enum Walk {
    Complete,
    Blocked,
}

struct Walker<'a> {
    program: &'a Program,
    state: &'a State,
    now: Timestamp,
    moves: Moves,
}

impl Walker<'_> {
    fn forward(&mut self) {
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

    fn abort(&mut self) {
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

    fn closing(&mut self, takeback: Takeback, then: &After) {
        for (step, undo) in self.state.takebacks(takeback) {
            let path = step.undo();
            match self.state.node(&path) {
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

    fn verifying(&mut self) {
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

    fn steps(&mut self, steps: &[Step], item: Option<&StepPath>, scope: &mut Scope) -> Walk {
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

    fn step(&mut self, step: &Step, path: &StepPath, scope: &Scope) -> Walk {
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
    fn over(&mut self, step: &Step, path: &StepPath, node: &Node) -> Walk {
        if node.status != Status::Failed {
            return Walk::Complete;
        }
        let why = node.error.as_ref().map_or_else(|| "failed".into(), |e| e.message.clone());
        let guard = matches!(step.body, Body::Assert { .. });
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

    fn items(
        &mut self,
        step: &Step,
        each: &Each,
        path: &StepPath,
        items: &[Item],
        at_once: usize,
        scope: &Scope,
    ) -> Walk {
        let begun: HashSet<_> = items.iter().filter(|i| self.begun(path, i)).map(|i| &i.key).collect();
        let mut outputs = Vec::with_capacity(items.len());
        let (mut complete, mut active) = (0, 0);
        // Those under way first, so that free places go to the next in line, never past them.
        for item in items.iter().filter(|i| begun.contains(&i.key)) {
            match self.item(step, each, path, item, scope) {
                Walk::Complete => complete += 1,
                Walk::Blocked => active += 1,
            }
        }
        for item in items.iter().filter(|i| !begun.contains(&i.key)) {
            if active >= at_once || self.state.paused().is_some() {
                break;
            }
            active += 1;
            self.item(step, each, path, item, scope);
        }
        if complete < items.len() || !self.moves.record.is_empty() {
            return Walk::Blocked;
        }
        for item in items {
            outputs.push(self.output(each, path, item));
        }
        self.reasoned(path, Value::Array(outputs))
    }

    fn item(&mut self, step: &Step, each: &Each, path: &StepPath, item: &Item, scope: &Scope) -> Walk {
        let at = path.item(&item.key);
        let mut scope = scope.with_item(item.value.clone());
        match &each.body {
            EachBody::Steps(steps) => self.steps(steps, Some(&at), &mut scope),
            EachBody::One(call) => {
                let node = self.state.node(&at);
                match node {
                    Some(node) if node.status.is_over() => self.over(step, &at, node),
                    _ => {
                        self.go(call, &at, node, &scope, undo_of(step));
                        Walk::Blocked
                    }
                }
            }
        }
    }

    fn begun(&self, path: &StepPath, item: &Item) -> bool {
        let at = path.item(&item.key);
        let inside = at.child("");
        self.state.node(&at).is_some()
            || self.state.nodes().any(|(p, _)| p.as_str().starts_with(inside.as_str()))
    }

    fn output(&self, each: &Each, path: &StepPath, item: &Item) -> Value {
        let at = path.item(&item.key);
        let of = |path: &StepPath| self.state.node(path).map_or(Value::Null, |n| n.output.clone());
        match &each.body {
            EachBody::One(_) => of(&at),
            EachBody::Steps(steps) => {
                let mut outputs = Map::from_iter([("key".to_owned(), Value::from(item.key.clone()))]);
                outputs.extend(steps.iter().map(|s| (s.id.clone(), of(&at.child(&s.id)))));
                Value::Object(outputs)
            }
        }
    }

    /// Sets an action going, or on.
    fn go(&mut self, call: &Use, path: &StepPath, node: Option<&Node>, scope: &Scope, undo: Option<Finally>) {
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
                watch: call.until.clone().map(|until| Box::new(Watch { until, scope: scope.clone() })),
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

    fn wake(&mut self, at: Timestamp) {
        self.moves.wake_at = Some(self.moves.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn record(&mut self, entry: Entry) -> Walk {
        self.moves.record.push(entry);
        Walk::Blocked
    }

    fn reasoned(&mut self, path: &StepPath, output: Value) -> Walk {
        self.record(Entry::Done { step: path.clone(), output, how: How::Reasoned })
    }

    fn fail(&mut self, path: &StepPath, error: ActionError, facts: Value) -> Walk {
        self.record(Entry::Failed { step: path.clone(), error, facts })
    }
}

fn undo_of(step: &Step) -> Option<Finally> {
    (step.undo || step.finally).then_some(step.finally)
}

/// The items of an `each` with their keys, and how many at the same time.
fn expand(each: &Each, scope: &Scope) -> Result<(Vec<Item>, usize), ActionError> {
    let Value::Array(values) = each.items.eval(scope).map_err(|e| expression(&e))? else {
        return Err(ActionError::refused("not_a_list", format!("`{}` is not a list", each.items.source())));
    };
    if values.is_empty() {
        let message =
            format!("`{}` is empty; an empty set of targets never means \"all\"", each.items.source());
        return Err(ActionError::refused("empty_target_set", message));
    }
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(values.len());
    for value in values {
        let key = match &value {
            Value::String(key) => key.clone(),
            Value::Object(record) => record.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        if key.is_empty() || !seen.insert(key.clone()) {
            let message = format!(
                "`{}`: each item must be a text, or have an `id`, and be there once",
                each.items.source()
            );
            return Err(ActionError::refused("items_without_key", message));
        }
        items.push(Item { key, value });
    }
    let at_once = each.at_once.eval(scope).map_err(|e| expression(&e))?;
    let at_once = amount(&at_once, items.len()).ok_or_else(|| {
        ActionError::refused(
            "at_once",
            format!("`at_once` is {at_once}; write a number from 1, or a percentage up to 100%"),
        )
    })?;
    Ok((items, at_once))
}

/// A number, or a percentage of `all`, rounded up to at least one.
fn amount(value: &Value, all: usize) -> Option<usize> {
    match value {
        Value::Number(n) => n.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
        Value::String(text) => {
            let percent: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
            if !(percent > 0.0 && percent <= 100.0) {
                return None;
            }
            let share = (all as f64 * percent / 100.0).ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and `all`"
            )]
            Some((share as usize).clamp(1, all.max(1)))
        }
        _ => None,
    }
}

fn expression(error: &EvalError) -> ActionError {
    ActionError::refused("expression", error.to_string())
        .remedy("the runbook's expression met something it does not expect; skip or mark the step, or abort")
}

/// A message; should it not evaluate, its failure is told rather than nothing.
fn text(template: &Template, scope: &Scope) -> String {
    match template.eval(scope) {
        Ok(Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(e) => e.to_string(),
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
