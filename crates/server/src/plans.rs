//! The plans that people are looking at, so that a start can name one by its hash.
//!
//! A plan that is not here any more (another process made it) is made anew; if the hash is another, the world has changed
//! since the person looked, and they are shown the new plan instead of being taken at their old word. Whether a plan is still
//! true when its run begins is not asked here: the engine compares it with the world, under the run's locks.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use domain::Actor;
use domain::brake::Way;
use domain::plan::{Plan, to_type};
use domain::runbook::{Runbook, resolve_inputs};
use engine::{PlanError, StartError};
use serde_json::{Map, Value};

use crate::app::App;

/// So many are remembered.
const KEPT: usize = 64;

/// The newest plans.
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<VecDeque<Plan>>);

impl Plans {
    fn put(&self, plan: Plan) {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plans.truncate(KEPT - 1);
        plans.push_front(plan);
    }

    fn find(&self, wanted: impl Fn(&Plan) -> bool) -> Option<Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|p| wanted(p)).cloned()
    }
}

/// Makes a plan, and remembers it. What holds everybody back but this person (a target that they have taken by hand) is not told to
/// them; in its hash there are no brakes.
pub(crate) async fn make(
    app: &App,
    by: &Actor,
    runbook: &str,
    inputs: &Map<String, Value>,
) -> Result<Plan, PlanError> {
    let mut plan = app.engine().plan(runbook, inputs).await?;
    app.plans().put(plan.clone());
    plan.brakes.retain(|brake| brake.way(by) != Way::Free);
    Ok(plan)
}

/// What a person agreed to.
pub(crate) enum Agreed {
    /// This very plan.
    Yes(Box<Plan>),
    /// It has changed since: this is the plan now.
    Changed(Box<Plan>),
}

/// The plan of a hash, if it is (still) the plan for these inputs.
pub(crate) async fn agreed(
    app: &App,
    by: &Actor,
    runbook: &str,
    inputs: &Map<String, Value>,
    hash: &str,
) -> Result<Agreed, PlanError> {
    let Some(text) = app.engine().library().runbook(runbook) else {
        return Ok(Agreed::Changed(Box::new(make(app, by, runbook, inputs).await?)));
    };
    let stored = resolve_inputs(&text, app.engine().inventory(), inputs).map_err(StartError::BadInputs)?;
    let known =
        app.plans().find(|plan| plan.hash == hash && plan.runbook_hash == text.hash && plan.inputs == stored);
    if let Some(plan) = known {
        return Ok(Agreed::Yes(Box::new(plan)));
    }
    let plan = Box::new(make(app, by, runbook, inputs).await?);
    Ok(if plan.hash == hash { Agreed::Yes(plan) } else { Agreed::Changed(plan) })
}

/// What a person must do to start, as the risk and the runbook demand. Only shown here; the engine sees to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// Type this.
    pub(crate) target: Option<String>,
    /// Others must agree, in words.
    pub(crate) approval: Option<String>,
}

impl Confirmation {
    /// For a plan of this runbook.
    pub(crate) fn of(plan: &Plan, runbook: &Runbook) -> Self {
        Self {
            target: to_type(plan.risk, &plan.title, &plan.runbook).map(str::to_owned),
            approval: runbook.approval().map(|approval| approval.to_string()),
        }
    }
}
