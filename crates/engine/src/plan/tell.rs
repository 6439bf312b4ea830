//! What is said of a step, and what its failure would do to the run.

use domain::plan::{PlannedOutcome, PlannedStep};
use domain::run::StepPath;
use domain::runbook::{Body, Each, EachBody, EvalError, OnFailure, Slot, Step};
use serde_json::{Map, Value};

use super::Planner;

impl Planner<'_> {
    pub(super) fn tell(&mut self, step: &Step, path: &StepPath, outcome: PlannedOutcome) {
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
    pub(super) fn looks_back(&self, facts: &Map<String, Value>) -> bool {
        let step = |path: &String| path.strip_prefix("steps.")?.split(['.', '[']).next().map(str::to_owned);
        facts.keys().filter_map(step).any(|step| self.looked_after.contains(&step))
    }

    /// What a failure of this step would do to the run: most stop it.
    pub(super) fn refused(&mut self, step: &Step, path: &StepPath, message: String) -> Slot {
        if step.on_failure == Some(OnFailure::Continue) {
            self.tell(step, path, PlannedOutcome::Skipped { why: message });
            return Slot::known(Value::Null);
        }
        self.stop(step, path, message, Map::new())
    }

    pub(super) fn stop(
        &mut self,
        step: &Step,
        path: &StepPath,
        message: String,
        facts: Map<String, Value>,
    ) -> Slot {
        if self.caught && step.on_failure.is_none() {
            self.fell = true;
        } else {
            self.stops = Some((path.clone(), message.clone()));
        }
        self.tell(step, path, PlannedOutcome::Stops { message, facts });
        Slot::known(Value::Null)
    }

    pub(super) fn not_told(&mut self, step: &Step, path: &StepPath, error: EvalError) -> Slot {
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
