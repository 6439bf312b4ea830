//! The plans that people are looking at, so that a start can name one by its hash.
//!
//! A plan that is not here any more (another process made it, or it is old) is made anew; if the hash is another, the
//! world has changed since the person looked, and they are shown the new plan instead of being taken at their old word.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use chrono::TimeDelta;
use domain::plan::Plan;
use domain::runbook::{Risk, resolve_inputs};
use engine::{PlanError, StartError};
use serde_json::{Map, Value};

use crate::app::App;
use crate::error::Problem;

/// So many are remembered.
const KEPT: usize = 64;

/// For so long (clock time) a plan may be started without looking anew.
fn fresh() -> TimeDelta {
    TimeDelta::minutes(10)
}

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

/// Makes a plan, and remembers it.
pub(crate) async fn make(app: &App, runbook: &str, inputs: &Map<String, Value>) -> Result<Plan, PlanError> {
    let plan = app.engine().plan(runbook, inputs).await?;
    app.plans().put(plan.clone());
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
    runbook: &str,
    inputs: &Map<String, Value>,
    hash: &str,
) -> Result<Agreed, PlanError> {
    let shelf = app.engine().library().get(runbook);
    let Some(text) = shelf.and_then(|s| s.runbook.as_ref().ok()) else {
        return Ok(Agreed::Changed(Box::new(make(app, runbook, inputs).await?)));
    };
    let stored = resolve_inputs(text, app.engine().inventory(), inputs).map_err(StartError::BadInputs)?;
    let now = app.now();
    let known = app.plans().find(|plan| {
        plan.hash == hash
            && plan.runbook_hash == text.hash
            && plan.inputs == stored
            && now - plan.at <= fresh()
    });
    if let Some(plan) = known {
        return Ok(Agreed::Yes(Box::new(plan)));
    }
    let plan = Box::new(make(app, runbook, inputs).await?);
    Ok(if plan.hash == hash { Agreed::Yes(plan) } else { Agreed::Changed(plan) })
}

/// What a person must do to start, as the risk demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// Press the button.
    Button,
    /// Type this name.
    Type(String),
    /// Find a second person, which this version cannot ask yet.
    SecondPerson,
}

impl Confirmation {
    /// For a plan. What is typed is the target, as the title names it; without one, the runbook's name.
    pub(crate) fn of(plan: &Plan) -> Self {
        match plan.risk {
            Risk::Low | Risk::Medium => Self::Button,
            Risk::High => {
                let target = plan.title.rsplit_once(": ").map_or(plan.runbook.as_str(), |(_, target)| target);
                Self::Type(target.to_owned())
            }
            Risk::Severe => Self::SecondPerson,
        }
    }

    /// Was it done?
    pub(crate) fn check(&self, typed: &str) -> Result<(), Problem> {
        match self {
            Self::Button => Ok(()),
            Self::Type(target) if typed.trim() == target => Ok(()),
            Self::Type(target) => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "not_confirmed",
                format!("This runbook is of high risk: type `{target}` to start it."),
            )),
            Self::SecondPerson => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "needs_approval",
                "This runbook needs a second person's approval, which this version cannot ask for yet.",
            )),
        }
    }
}
