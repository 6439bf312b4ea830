//! The looks of a plan: not shared and kept by no run, but counted against the budget of their lane like all others.

use std::time::Duration;

use domain::action::{Action, ActionError, Ctx, ErrorClass};
use serde_json::Value;

use super::Planner;

impl Planner<'_> {
    /// Looks; a few times, where a failure is answered that may pass. In a run each look is given much longer.
    pub(super) async fn look(&self, action: &dyn Action, input: &Value) -> Result<Value, ActionError> {
        let deadline = self.core.settings.look_deadline;
        let mut pauses = PAUSES.into_iter();
        loop {
            let Some(seen) = self.look_once(action, input, deadline).await else {
                let message = "it could not be looked at in time";
                return Err(ActionError::new(ErrorClass::Transient, "timeout", message));
            };
            match (seen, pauses.next()) {
                (Err(e), Some(pause)) if passes(&e) => self.core.clock.sleep(pause).await,
                (seen, _) => return seen,
            }
        }
    }

    /// `None` when it took too long.
    async fn look_once(
        &self,
        action: &dyn Action,
        input: &Value,
        deadline: Duration,
    ) -> Option<Result<Value, ActionError>> {
        let ctx = Ctx::looking(self.core.clock.clone(), deadline);
        let seen = tokio::time::timeout(deadline, action.observe(&ctx, input)).await.ok();
        let busy = matches!(&seen, Some(Err(e)) if e.class == ErrorClass::Busy);
        self.core.observer.spent(action, input, &ctx.calls.take(), busy);
        seen
    }
}

/// Between the looks of a plan (clock time).
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// May the same look be answered the next time?
pub(super) fn passes(error: &ActionError) -> bool {
    matches!(error.class, ErrorClass::Busy | ErrorClass::Transient)
}
