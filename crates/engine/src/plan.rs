//! Planning: the same steps with the same actions. What looks really looks; what changes answers what it would change.
//!
//! The first change makes everything after it hypothetical: a step that would wait is then told as waiting, and what it
//! would see is "known after" it. Guards that rest on it are checked when the run gets there.
//!
//! - `walk`: from step to step, as the run would go;
//! - `call`: one step that has an action;
//! - `look`: the looks of the plan;
//! - `tell`: what is said of a step, and what its failure would do to the run.

mod call;
mod look;
mod tell;
mod walk;

use std::collections::{BTreeSet, HashMap};

use domain::Timestamp;
use domain::action::{ActionError, ForeignWork};
use domain::brake::{Brake, KillSwitch};
use domain::plan::{Plan, PlannedLock, PlannedStep, Verdict};
use domain::readiness::Answer;
use domain::run::{Program, StepPath};
use serde_json::{Map, Value};
use store::StoreError;

use crate::start::{Prepared, nobody, texts};
use crate::{Core, Engine, StartError};
use look::PATIENCE;

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
        let held: HashMap<_, _> = self
            .soon(store::pages::locks(&self.pool))
            .await?
            .into_iter()
            .map(|h| (h.target, h.title))
            .collect();
        let (now, (_, by)) = (self.clock.now(), nobody());
        let brakes = store::brakes::against(&self.pool, &runbook.name, &by, &locks, &limits, now);
        let mut brakes = self.soon(brakes).await?;
        if program.is_free(&limits) {
            brakes.retain(|brake| !brake.is_for_changes());
        }
        let locks: Vec<_> = locks
            .into_iter()
            .map(|target| PlannedLock { held_by: held.get(&target).cloned(), target })
            .collect();
        let forecast = self.forecast(&runbook, &program.children).await?;
        let switches = self.soon(store::brakes::switches(&self.pool)).await?;
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
        let ids: Vec<_> = texts(inputs).collect();
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
