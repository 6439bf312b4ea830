//! One step that has an action: what it sees, and what it would change.

use std::sync::Arc;

use domain::action::{Effect, Planned};
use domain::plan::PlannedOutcome;
use domain::run::StepPath;
use domain::runbook::{Scope, Slot, Step, Use};
use serde_json::Map;

use super::Planner;
use super::look::passes;
use crate::perform::foreign_work;

impl Planner<'_> {
    pub(super) async fn call(&mut self, step: &Step, call: &Use, path: &StepPath, scope: &Scope) -> Slot {
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
        let planned = match action.settled(&input, &facts) {
            Ok(Some(output)) => {
                self.tell(step, path, PlannedOutcome::AlreadySo);
                return Slot::known(output);
            }
            Ok(None) => action.plan(&input, &facts),
            Err(e) => Err(e),
        };
        match planned {
            // A limit stops the run, unless an earlier step changes something: it may lift it (the group's maximum), and the
            // limit is asked again when the run gets there.
            Ok(Planned { forbidden: Some(why), .. }) if self.changed.is_none() => {
                self.sight.forbidden.insert(path.clone());
                self.refused(step, path, why.to_string())
            }
            Ok(planned) => {
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
}
