//! The looks of a plan: not shared and kept by no run, but counted against the budget of their lane like all others.
//!
//! People and rules wait for a plan: a host that hangs costs it one look, and what may come true by itself is waited for only where
//! the run goes on with whatever there is then. There the first look may mislead (a proxy follows a failover a little late), and a plan
//! that rests on it would be offered, or started, for nothing.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::action::{Action, ActionError, Ctx, ErrorClass};
use domain::runbook::{OnTimeout, Scope, Until};
use serde_json::Value;

use super::Planner;

impl Planner<'_> {
    /// Looks as often as the run would, until what it waits for is there or its time is over. `None` where what the run will see
    /// cannot be told: after a change, and when a plan has no patience to wait as long.
    pub(super) async fn look_until(
        &self,
        action: &dyn Action,
        input: &Value,
        until: &Until,
        scope: &Scope,
    ) -> Result<Option<Value>, ActionError> {
        if self.changed.is_some() {
            return Ok(None);
        }
        let waits = self.waits && until.on_timeout == OnTimeout::Continue;
        let since = self.core.clock.now();
        loop {
            let facts = self.look(action, input).await?;
            let now = self.core.clock.now();
            let over = (now - since).to_std().unwrap_or_default() >= until.timeout;
            if !waits || over || until.condition.test(&scope.with_out(facts.clone())) != Ok(false) {
                return Ok(Some(facts));
            }
            let left = (self.patience - now).to_std().unwrap_or_default();
            if left.is_zero() {
                return Ok(None);
            }
            self.core.clock.sleep(until.every.min(left)).await;
        }
    }

    /// Looks; a few times, where a failure is answered that may pass. In a run each look is given much longer.
    pub(super) async fn look(&self, action: &dyn Action, input: &Value) -> Result<Value, ActionError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let (seen, hung) = self.look_once(action, input).await;
            match (seen, pauses.next()) {
                (Err(e), Some(pause)) if passes(&e) && !hung => self.core.clock.sleep(pause).await,
                (seen, _) => return seen,
            }
        }
    }

    /// What was seen; and whether it hung: the next one would, too. A look may give up by itself before its time is over, and
    /// without having told a call.
    async fn look_once(&self, action: &dyn Action, input: &Value) -> (Result<Value, ActionError>, bool) {
        let deadline = self.core.settings.look_deadline;
        let (ctx, since) = (Ctx::looking(self.core.clock.clone(), deadline), Instant::now());
        let seen = tokio::time::timeout(deadline, action.observe(&ctx, input)).await.ok();
        let calls = ctx.calls.take();
        let busy = matches!(&seen, Some(Err(e)) if e.class == ErrorClass::Busy);
        self.core.observer.spent(action, input, &calls, busy);
        let slowest = calls.iter().map(|call| Duration::from_millis(call.duration_ms)).max();
        let hung = seen.is_none() || (!busy && slowest.unwrap_or_else(|| since.elapsed()) >= HUNG);
        let in_time = seen.unwrap_or_else(|| {
            let message = "it could not be looked at in time";
            Err(ActionError::new(ErrorClass::Transient, "timeout", message))
        });
        (in_time, hung)
    }
}

/// How long a plan waits in all for what may come true by itself (clock time).
pub(super) const PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// Between the looks of a plan (clock time).
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// A look that failed with a call of so long (of the wall's time) has hung: whoever is there answers sooner, and be it that they cannot.
/// One of many calls may take longer in all.
const HUNG: Duration = Duration::from_secs(1);

/// May the same look be answered the next time?
pub(super) fn passes(error: &ActionError) -> bool {
    matches!(error.class, ErrorClass::Busy | ErrorClass::Transient)
}
