//! From step to step, as the run would go: into branches, children and items, past what is skipped, and no further than where it
//! would stop.

use std::sync::Arc;

use domain::brake::Brake;
use domain::plan::{PlannedOutcome, PlannedStep};
use domain::run::{StepPath, expand};
use domain::runbook::{
    Body, Branch, Child, Each, EachBody, EvalError, OnFailure, Scope, Slot, Step, child_inputs, only_looks,
};
use domain::words::many;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Map, Value};

use super::Planner;

impl Planner<'_> {
    /// Plans steps in order; stops where the run would.
    pub(super) fn steps<'s>(
        &'s mut self,
        steps: &'s [Step],
        item: Option<&'s StepPath>,
        scope: &'s mut Scope,
    ) -> BoxFuture<'s, ()> {
        async move {
            for step in steps {
                if self.stops.is_some() || self.fell {
                    return;
                }
                let path = item.map_or_else(|| StepPath::top(&step.id), |item| item.child(&step.id));
                let slot = self.step(step, &path, scope).await;
                scope.steps.insert(step.id.clone(), slot);
            }
        }
        .boxed()
    }

    async fn step(&mut self, step: &Step, path: &StepPath, scope: &Scope) -> Slot {
        match step.condition.as_ref().map(|c| (c, c.test(scope))) {
            Some((condition, Ok(false))) => {
                let why = format!("`if: {}` is false", condition.source());
                self.tell(step, path, PlannedOutcome::Skipped { why });
                return Slot::known(Value::Null);
            }
            Some((_, Err(e))) => return self.not_told(step, path, e),
            Some((_, Ok(true))) | None => {}
        }
        match &step.body {
            Body::Assert { that, .. } if self.looks_back(&that.facts(scope)) => {
                let after = self.changed.clone().unwrap_or_default();
                self.not_told(step, path, EvalError::Later { after })
            }
            Body::Assert { that, message, need } => match that.test(scope) {
                Ok(true) => {
                    self.tell(step, path, PlannedOutcome::Holds { facts: that.facts(scope) });
                    Slot::known(Value::Bool(true))
                }
                Ok(false) => {
                    let message = message.words(scope);
                    // The run passes it, and so does what comes after it.
                    if step.on_failure == Some(OnFailure::Continue) {
                        return self.refused(step, path, message);
                    }
                    if let Some(unneeded) = self.unneeded.as_mut().filter(|_| *need) {
                        // Those after it take for granted that it holds: what they say then is not so.
                        if unneeded.is_empty() {
                            unneeded.push(message);
                        }
                        return Slot::known(Value::Bool(false));
                    }
                    self.stop(step, path, message, that.facts(scope))
                }
                Err(e) => self.not_told(step, path, e),
            },
            Body::Value(template) => match template.eval(scope) {
                Ok(value) => {
                    let mut looks_back = false;
                    template.each_expr(&mut |e| looks_back |= self.looks_back(&e.facts(scope)));
                    if looks_back {
                        self.looked_after.insert(step.id.clone());
                    }
                    self.tell(step, path, PlannedOutcome::Value);
                    Slot::known(value)
                }
                Err(e) => self.not_told(step, path, e),
            },
            Body::Approve(approve) => {
                let until = approve.approval.to_string();
                self.tell(step, path, PlannedOutcome::Waits { until, timeout_s: approve.approval.within_s });
                Slot::Later { after: step.id.clone() }
            }
            Body::Use(call) => self.call(step, call, path, scope).await,
            Body::Each(each) => self.each(step, each, path, scope).await,
            Body::Together(branches) => self.branches(step, branches, path, scope).await,
            Body::Run(child) => self.child(step, child, path, scope).await,
            Body::Wait(time) => {
                self.tell(step, path, PlannedOutcome::LetsPass { seconds: time.as_secs() });
                Slot::known(Value::from(time.as_secs()))
            }
        }
    }

    /// One branch after the other: a plan does not know which is faster.
    async fn branches(&mut self, step: &Step, branches: &[Branch], path: &StepPath, scope: &Scope) -> Slot {
        let goes_on = step.on_failure == Some(OnFailure::Continue);
        let caught = self.caught;
        self.caught = step.on_failure.map_or(caught, |_| goes_on);
        let (mut outputs, mut fell) = (Map::new(), false);
        for branch in branches {
            let mut scope = scope.clone();
            self.steps(&branch.steps, Some(&path.item(&branch.name)), &mut scope).await;
            fell |= std::mem::take(&mut self.fell);
            if let Some(output) = gathered(&branch.steps, &scope) {
                outputs.insert(branch.name.clone(), Value::Object(output));
            }
        }
        self.caught = caught;
        self.fell = fell && !goes_on;
        match outputs.len() == branches.len() {
            _ if fell => Slot::known(Value::Null),
            true => Slot::known(Value::Object(outputs)),
            false => Slot::Later { after: step.id.clone() },
        }
    }

    async fn child(&mut self, step: &Step, child: &Child, path: &StepPath, scope: &Scope) -> Slot {
        let Some(runbook) = self.program.children.get(&child.runbook).map(Arc::clone) else {
            let message = format!("there is no runbook `{}`", child.runbook);
            return self.stop(step, path, message, Map::new());
        };
        let stopped = self.switches.iter().find(|s| s.scope == runbook.name);
        let changes = || !only_looks(&runbook, &self.program.children, &self.program.registry);
        if let Some(switch) = stopped.filter(|_| changes()) {
            let why = Brake::KillSwitch(switch.clone()).to_string();
            self.stops = Some((path.clone(), why.clone()));
            self.tell(step, path, PlannedOutcome::Stops { message: why, facts: Map::new() });
            return Slot::known(Value::Null);
        }
        let given = match child.with.eval(scope) {
            Ok(Value::Object(given)) => given,
            Ok(_) => Map::new(),
            Err(e) => return self.not_told(step, path, e),
        };
        let inputs = match child_inputs(&runbook, &self.core.inventory, &given) {
            Ok(inputs) => inputs,
            Err(mistakes) => {
                let message = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                return self.refused(step, path, message);
            }
        };
        let mut scope = self.program.scope_of_child(&runbook, &inputs);
        self.tell(step, path, PlannedOutcome::Runs { runbook: runbook.name.clone(), inputs });
        let goes_on = step.on_failure == Some(OnFailure::Continue);
        let caught = self.caught;
        self.caught = step.on_failure.map_or(caught, |_| goes_on);
        self.steps(&runbook.steps, Some(path), &mut scope).await;
        self.caught = caught;
        if self.fell {
            self.fell = !goes_on;
            return Slot::known(Value::Null);
        }
        if let Some(until) =
            runbook.verify.as_ref().and_then(|v| v.look.until.as_ref()).filter(|_| self.stops.is_none())
        {
            self.steps.push(PlannedStep {
                path: path.child("verify"),
                title: "Is the symptom gone?".into(),
                action: runbook.verify.as_ref().map(|v| v.look.action.clone()),
                one_way: false,
                taken_back: false,
                undoable: false,
                outcome: PlannedOutcome::Waits {
                    until: until.condition.source().to_owned(),
                    timeout_s: until.timeout.as_secs(),
                },
            });
        }
        gathered(&runbook.steps, &scope).map_or_else(
            || Slot::Later { after: step.id.clone() },
            |outputs| Slot::known(Value::Object(outputs)),
        )
    }

    async fn each(&mut self, step: &Step, each: &Each, path: &StepPath, scope: &Scope) -> Slot {
        for known in [Some(&each.at_once), each.stop_after.as_ref()].into_iter().flatten() {
            if let Err(e @ EvalError::Later { .. }) = known.eval(scope) {
                return self.not_told(step, path, e);
            }
        }
        if let Err(e @ EvalError::Later { .. }) = each.items.eval(scope) {
            return self.not_told(step, path, e);
        }
        let (items, stop_after) = match expand(each, scope) {
            Ok((items, _, stop_after)) => (items, stop_after),
            Err(e) => return self.refused(step, path, e.message),
        };
        let caught = self.caught;
        self.caught |= stop_after.is_some();
        // With `stop_after`, `on_failure` is what becomes of the whole step, and a failed item only counts.
        let counted = Step { on_failure: None, ..step.clone() };
        let of_item = if stop_after.is_some() { &counted } else { step };
        let (mut failed, mut outputs) = (0, Some(Vec::new()));
        for item in items {
            let at = path.item(&item.key);
            let mut scope = scope.with_item(item.value);
            let output = match &each.body {
                EachBody::Steps(steps) => {
                    self.steps(steps, Some(&at), &mut scope).await;
                    gathered(steps, &scope).map(|mut output| {
                        output.insert("key".into(), item.key.into());
                        Value::Object(output)
                    })
                }
                EachBody::One(call) => match self.call(of_item, call, &at, &scope).await {
                    Slot::Known(output) => Some(Value::clone(&output)),
                    Slot::Later { .. } => None,
                },
            };
            outputs = outputs.zip(output).map(|(mut outputs, output)| {
                outputs.push(output);
                outputs
            });
            failed += usize::from(std::mem::take(&mut self.fell));
            if self.stops.is_some() || (failed > 0 && failed >= stop_after.unwrap_or(1)) {
                break;
            }
        }
        self.caught = caught;
        if failed > 0 && failed >= stop_after.unwrap_or(1) {
            return self.refused(step, path, format!("{} would fail", many(failed, "item")));
        }
        match outputs {
            // What was only looked at is as the run will see it.
            Some(outputs) if self.changed.is_none() => Slot::known(Value::Array(outputs)),
            _ => Slot::Later { after: step.id.clone() },
        }
    }
}

/// What a branch or a child gives, when all of its steps can be told.
fn gathered(steps: &[Step], scope: &Scope) -> Option<Map<String, Value>> {
    let outputs = steps.iter().map(|step| match scope.steps.get(&step.id) {
        Some(Slot::Known(value)) => Some((step.id.clone(), Value::clone(value))),
        _ => None,
    });
    outputs.collect()
}
