//! Planning: the same steps with the same actions. What looks really looks; what changes answers what it would change.
//!
//! The first change makes everything after it hypothetical: a step that would wait is then told as waiting, and what it
//! would see is "known after" it. Guards that rest on it are checked when the run gets there.

mod look;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use domain::Timestamp;
use domain::action::{ActionError, Effect, ForeignWork, Planned};
use domain::brake::{Brake, KillSwitch};
use domain::plan::{Plan, PlannedLock, PlannedOutcome, PlannedStep, Verdict};
use domain::readiness::Answer;
use domain::run::{Program, StepPath, expand};
use domain::runbook::{
    Body, Branch, Child, Each, EachBody, EvalError, OnFailure, Scope, Slot, Step, Use, child_inputs,
    only_looks,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Map, Value};
use store::StoreError;

use crate::perform::foreign_work;
use crate::start::{Prepared, nobody};
use crate::{Core, Engine, StartError};
use look::{PATIENCE, passes};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// It could not be started either.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// What a start with these inputs would do now. Changes nothing.
    pub async fn plan(&self, runbook: &str, inputs: &Map<String, Value>) -> Result<Plan, PlanError> {
        let (run_id, by) = nobody();
        self.core.plan(self.core.prepare(runbook, inputs, run_id, &by)?).await
    }
}

impl Core {
    /// What a run that is prepared like this would do now.
    pub(crate) async fn plan(&self, prepared: Prepared) -> Result<Plan, PlanError> {
        Ok(self.plan_seeing(prepared, true).await?.0)
    }

    /// The same, with what it rests on and does not say. `waits`: also for what may come true by itself (see `look`).
    pub(crate) async fn plan_seeing(
        &self,
        prepared: Prepared,
        waits: bool,
    ) -> Result<(Plan, Sight), PlanError> {
        let Prepared { runbook, inputs, title, locks, limits, program } = prepared;
        let held: HashMap<_, _> =
            store::pages::locks(&self.pool).await?.into_iter().map(|h| (h.target, h.title)).collect();
        let (now, (_, by)) = (self.clock.now(), nobody());
        let mut brakes = store::brakes::against(&self.pool, &runbook.name, &by, &locks, &limits, now).await?;
        if program.is_free(&limits) {
            brakes.retain(|brake| !brake.is_for_changes());
        }
        let locks: Vec<_> = locks
            .into_iter()
            .map(|target| PlannedLock { held_by: held.get(&target).cloned(), target })
            .collect();
        let forecast = self.forecast(&runbook, &program.children).await?;
        let switches = store::brakes::switches(&self.pool).await?;
        let mut planner = Planner { switches, waits, ..Planner::new(self, &program) };
        planner.steps(&runbook.steps, None, &mut program.scope()).await;
        let Planner { steps, stops, foreign, sight, .. } = planner;
        let switched_off = brakes.iter().find(|b| matches!(b, Brake::KillSwitch(_)));
        let locked = locks.iter().find_map(|l| Some((l, l.held_by.as_ref()?)));
        let at_start = |message| Verdict::Stops { step: StepPath::top("start"), message };
        let verdict = match (switched_off, locked, stops) {
            (Some(switch), _, _) => at_start(switch.to_string()),
            (None, Some((lock, holder)), _) => at_start(format!("`{}` is locked by: {holder}", lock.target)),
            (None, None, Some((step, message))) => Verdict::Stops { step, message },
            (None, None, None) => Verdict::Ready,
        };
        let impact = runbook.impact.as_ref().map(|t| match t.eval(&program.scope()) {
            Ok(Value::String(text)) => text,
            Ok(other) => other.to_string(),
            Err(e) => e.to_string(),
        });
        let customers_percent = self.reach(&inputs);
        let mut plan = Plan {
            runbook: runbook.name.clone(),
            runbook_hash: runbook.hash.clone(),
            children: program.pins(),
            title,
            risk: runbook.risk,
            impact,
            inputs,
            locks,
            brakes,
            foreign,
            steps,
            verdict,
            customers_percent,
            forecast: Some(forecast),
            at: self.clock.now(),
            hash: String::new(),
        };
        plan.hash = plan.digest();
        Ok((plan, sight))
    }

    /// Could this run do its work, were it needed? See [`domain::readiness`].
    pub(crate) async fn rehearsed(&self, prepared: &Prepared) -> Answer {
        let mut planner = Planner { unneeded: Some(Vec::new()), ..Planner::new(self, &prepared.program) };
        planner.steps(&prepared.runbook.steps, None, &mut prepared.program.scope()).await;
        let Planner { stops, unneeded, over, .. } = planner;
        match stops.filter(|_| !over) {
            Some((step, message)) => Answer::Stops { step, message },
            None => Answer::Ready { unneeded: unneeded.unwrap_or_default() },
        }
    }

    /// Share of all customers on the clusters that the inputs reach, directly or through a fleet.
    fn reach(&self, inputs: &Map<String, Value>) -> f64 {
        let ids: Vec<_> = inputs.values().filter_map(Value::as_str).collect();
        let fleets: Vec<_> = ids.iter().filter_map(|id| self.inventory.fleet(id)).collect();
        let reached =
            self.inventory.clusters.iter().filter(|c| {
                ids.contains(&c.id.as_str()) || fleets.iter().any(|f| f.clusters.contains(&c.id))
            });
        reached.map(|c| c.customers_percent).sum::<f64>().min(100.0)
    }
}

/// A look that failed, and may not the next time: at which step, and why.
pub(crate) type Unseen = (StepPath, ActionError);

/// What a plan could see, and what it could not: one that was made half blind says what could be seen, and not what is there.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// Looks that failed in a way that passes by itself.
    pub(crate) unseen: Vec<Unseen>,
    /// Changes that what was seen forbids, and those that are refused whatever is there.
    pub(crate) forbidden: BTreeSet<StepPath>,
}

struct Planner<'a> {
    core: &'a Core,
    program: &'a Program,
    steps: Vec<PlannedStep>,
    /// The kill switches that are on: one on a child's name stops the run where it gets there.
    switches: Vec<KillSwitch>,
    /// Work of others that was seen.
    foreign: Vec<ForeignWork>,
    /// The first step that would really change something.
    changed: Option<String>,
    /// Looks that come after it, and what rests on them: what they see now, the run will not see.
    looked_after: BTreeSet<String>,
    stops: Option<(StepPath, String)>,
    sight: Sight,
    /// Does it wait for what may come true by itself,
    waits: bool,
    /// and until when at the longest?
    patience: Timestamp,
    /// A step around goes on when one inside fails that says nothing itself,
    caught: bool,
    /// and one did.
    fell: bool,
    /// In a rehearsal: what the guards said that ask whether it is needed.
    unneeded: Option<Vec<String>>,
    /// It stops where an expression has nothing to work on, because it is not needed.
    over: bool,
}

impl<'a> Planner<'a> {
    fn new(core: &'a Core, program: &'a Program) -> Self {
        Self {
            core,
            program,
            steps: Vec::new(),
            switches: Vec::new(),
            foreign: Vec::new(),
            changed: None,
            looked_after: BTreeSet::new(),
            stops: None,
            sight: Sight::default(),
            waits: true,
            patience: core.clock.now() + PATIENCE,
            caught: false,
            fell: false,
            unneeded: None,
            over: false,
        }
    }
}

impl Planner<'_> {
    /// Plans steps in order; stops where the run would.
    fn steps<'s>(
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
            return self.refused(step, path, format!("{failed} items would fail"));
        }
        match outputs {
            // What was only looked at is as the run will see it.
            Some(outputs) if self.changed.is_none() => Slot::known(Value::Array(outputs)),
            _ => Slot::Later { after: step.id.clone() },
        }
    }

    async fn call(&mut self, step: &Step, call: &Use, path: &StepPath, scope: &Scope) -> Slot {
        let input = match call.with.eval(scope) {
            Ok(input) => input,
            Err(e) => return self.not_told(step, path, e),
        };
        let Some(action) = self.program.registry.get(&call.action).map(Arc::clone) else {
            let message = format!("this version of Firebreak has no action `{}`", call.action);
            return self.stop(step, path, message, Map::new());
        };
        let looks = action.spec().effect == Effect::Observe;
        let seen = match &call.until {
            Some(until) => {
                let Some(seen) = self.look_until(&*action, &input, until, scope).await.transpose() else {
                    let (until, timeout_s) = (until.condition.source().to_owned(), until.timeout.as_secs());
                    self.tell(step, path, PlannedOutcome::Waits { until, timeout_s });
                    return Slot::Later { after: step.id.clone() };
                };
                seen
            }
            None => self.look(&*action, &input).await,
        };
        let facts = match seen {
            Ok(facts) => facts,
            Err(e) => {
                let message = e.to_string();
                if passes(&e) {
                    self.sight.unseen.push((path.clone(), e));
                }
                return self.refused(step, path, message);
            }
        };
        if looks {
            if self.changed.is_none() {
                let found = action.foreign(&facts);
                let refusal = foreign_work(&found).filter(|_| call.until.is_none());
                self.foreign.extend(found);
                if let Some(refusal) = refusal {
                    return self.refused(step, path, refusal.message);
                }
            }
            if self.changed.is_some() {
                self.looked_after.insert(step.id.clone());
            }
            self.tell(step, path, PlannedOutcome::Looked);
            return Slot::known(facts);
        }
        let planned = action.settled(&input, &facts).and_then(|settled| {
            settled.map_or_else(|| action.plan(&input, &facts).map(Err), |output| Ok(Ok(output)))
        });
        match planned {
            Ok(Ok(output)) => {
                self.tell(step, path, PlannedOutcome::AlreadySo);
                Slot::known(output)
            }
            // A limit stops the run, unless an earlier step changes something: it may lift it (the group's maximum), and the
            // limit is asked again when the run gets there.
            Ok(Err(Planned { forbidden: Some(why), .. })) if self.changed.is_none() => {
                self.sight.forbidden.insert(path.clone());
                self.refused(step, path, why.to_string())
            }
            Ok(Err(planned)) => {
                self.tell(step, path, PlannedOutcome::Changes { changes: planned.changes });
                self.changed.get_or_insert_with(|| step.id.clone());
                planned.output.map_or_else(|| Slot::Later { after: step.id.clone() }, Slot::known)
            }
            Err(e) => {
                self.sight.forbidden.insert(path.clone());
                self.refused(step, path, e.to_string())
            }
        }
    }

    fn tell(&mut self, step: &Step, path: &StepPath, outcome: PlannedOutcome) {
        let action = match &step.body {
            Body::Use(call) => Some(call.action.clone()),
            Body::Each(Each { body: EachBody::One(call), .. }) => Some(call.action.clone()),
            Body::Each(_)
            | Body::Assert { .. }
            | Body::Value(_)
            | Body::Approve(_)
            | Body::Together(_)
            | Body::Run(_)
            | Body::Wait(_) => None,
        };
        let title = step.title.clone().unwrap_or_else(|| step.id.clone());
        self.steps.push(PlannedStep {
            path: path.clone(),
            title,
            action,
            one_way: step.one_way,
            taken_back: step.finally,
            undoable: step.undo && !step.finally,
            outcome,
        });
    }

    /// Does a guard rest on what is looked at only after a change (that another instance writes now)? That it does not hold
    /// yet says nothing.
    fn looks_back(&self, facts: &Map<String, Value>) -> bool {
        let step = |path: &String| path.strip_prefix("steps.")?.split(['.', '[']).next().map(str::to_owned);
        facts.keys().filter_map(step).any(|step| self.looked_after.contains(&step))
    }

    /// What a failure of this step would do to the run: most stop it.
    fn refused(&mut self, step: &Step, path: &StepPath, message: String) -> Slot {
        if step.on_failure == Some(OnFailure::Continue) {
            self.tell(step, path, PlannedOutcome::Skipped { why: message });
            return Slot::known(Value::Null);
        }
        self.stop(step, path, message, Map::new())
    }

    fn stop(&mut self, step: &Step, path: &StepPath, message: String, facts: Map<String, Value>) -> Slot {
        if self.caught && step.on_failure.is_none() {
            self.fell = true;
        } else {
            self.stops = Some((path.clone(), message.clone()));
        }
        self.tell(step, path, PlannedOutcome::Stops { message, facts });
        Slot::known(Value::Null)
    }

    fn not_told(&mut self, step: &Step, path: &StepPath, error: EvalError) -> Slot {
        match error {
            EvalError::Later { after } => {
                self.tell(step, path, PlannedOutcome::KnownAfter { step: after });
                Slot::Later { after: step.id.clone() }
            }
            // What only makes sense when it is needed cannot be rehearsed further.
            other if self.unneeded.as_ref().is_some_and(|unneeded| !unneeded.is_empty()) => {
                self.over = true;
                self.refused(step, path, other.to_string())
            }
            other => self.refused(step, path, other.to_string()),
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
