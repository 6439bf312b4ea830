//! What a waiting step waits for, and what a look means to it.

use serde_json::Value;

use super::packed::Packed;
use super::{delta, expression, text};
use crate::Timestamp;
use crate::action::ActionError;
use crate::runbook::{OnTimeout, Scope, Until};

/// What a waiting step waits for.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The condition, and how long it is waited for.
    pub until: Until,
    scope: Packed,
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
    /// A wait for `until`, in which expressions see `scope`.
    pub fn new(until: &Until, scope: &Scope) -> Self {
        Self { until: until.clone(), scope: Packed::Whole(Box::new(scope.for_wait(until))) }
    }

    /// Makes it small, for a long wait; judging takes a little longer then.
    pub fn pack(&mut self) {
        self.scope.pack();
    }

    /// When this wait must be judged though nothing has changed: the end of its soak, or of its patience.
    pub fn due(&self, since: Timestamp, held_since: Option<Timestamp>) -> Timestamp {
        let after = |from: Timestamp, duration| {
            from.checked_add_signed(delta(duration)).unwrap_or(Timestamp::MAX_UTC)
        };
        let end = after(since, self.until.timeout);
        held_since.map_or(end, |from| end.min(after(from, self.until.hold.unwrap_or_default())))
    }

    /// Judges a look. `held_since` carries a soak from one look to the next.
    pub fn judge(
        &self,
        out: &Value,
        since: Timestamp,
        held_since: &mut Option<Timestamp>,
        now: Timestamp,
    ) -> Verdict {
        let scope = Scope { out: Some(out.clone()), ..self.scope.scope() };
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
        self.timed_out(since, now, Some(&scope))
    }

    /// Judges a look that could not be had.
    pub fn overdue(&self, since: Timestamp, now: Timestamp) -> Verdict {
        self.timed_out(since, now, None)
    }

    /// `seen`: the last look's scope, for the runbook's own words.
    fn timed_out(&self, since: Timestamp, now: Timestamp, seen: Option<&Scope>) -> Verdict {
        if now - since < delta(self.until.timeout) {
            return Verdict::NotYet;
        }
        match self.until.on_timeout {
            OnTimeout::Continue => Verdict::Expired,
            OnTimeout::Fail => {
                let waited = humantime::format_duration(self.until.timeout);
                let message = match (&self.until.message, seen) {
                    (Some(message), Some(seen)) => text(message, seen),
                    _ => format!("`{}` did not come true within {waited}", self.until.condition.source()),
                };
                Verdict::Failed(ActionError::refused("timeout", message))
            }
        }
    }
}
