//! What a waiting step waits for, and what a look means to it.

use std::time::Duration;

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
                    return Verdict::Failed(ActionError::refused(GAVE_UP, text(&give_up.message, &scope)));
                }
                Ok(false) => {}
            }
        }
        self.timed_out(since, now, Ok(&scope))
    }

    /// Judges a look that could not be had: `why`, if that is known.
    pub fn overdue(&self, since: Timestamp, now: Timestamp, why: Option<&ActionError>) -> Verdict {
        self.timed_out(since, now, Err(why))
    }

    /// `seen`: the last look's scope, for the runbook's own words; or why nothing was seen. Those words are about what is there,
    /// which nobody knows then; nor is it known what the run would go on with.
    fn timed_out(
        &self,
        since: Timestamp,
        now: Timestamp,
        seen: Result<&Scope, Option<&ActionError>>,
    ) -> Verdict {
        let longer = if seen.is_err() { LONGER } else { Duration::ZERO };
        if now - since < delta(self.until.timeout.saturating_add(longer)) {
            return Verdict::NotYet;
        }
        let (condition, waited) =
            (self.until.condition.source(), humantime::format_duration(self.until.timeout));
        Verdict::Failed(match (seen, self.until.on_timeout) {
            (Ok(_), OnTimeout::Continue) => return Verdict::Expired,
            (Ok(seen), OnTimeout::Fail) => {
                let message = match &self.until.message {
                    Some(message) => text(message, seen),
                    None => format!("`{condition}` did not come true within {waited}"),
                };
                ActionError::refused(TIMEOUT, message)
            }
            (Err(why), _) => {
                let why = why.map_or_else(|| "no look was answered in time".into(), ToString::to_string);
                let message =
                    format!("whether `{condition}` could not be seen when its {waited} were over: {why}");
                ActionError::refused("not_seen", message)
            }
        })
    }
}

/// What cannot be seen when its time is over is looked at a little longer (clock time): one throttled call decides nothing.
const LONGER: Duration = Duration::from_secs(60);
/// The code of a wait that saw until its end that what it waits for is not there.
const TIMEOUT: &str = "timeout";
/// The code of a wait that saw that waiting is pointless.
pub const GAVE_UP: &str = "gave_up";

/// Was it seen that a condition did not come true? A wait may also fail because nobody could look.
pub(super) fn is_seen(error: &ActionError) -> bool {
    [TIMEOUT, GAVE_UP].contains(&error.code.as_str())
}
