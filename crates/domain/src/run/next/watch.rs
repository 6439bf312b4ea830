//! What a waiting step waits for, and what a look means to it.

use chrono::TimeDelta;
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

    /// When this wait must be judged though nothing has changed: the end of its soak, or else of its patience.
    pub fn due(&self, since: Timestamp, held_since: Option<Timestamp>) -> Timestamp {
        let (from, duration) = match held_since {
            Some(held_since) => (held_since, self.until.hold.unwrap_or_default()),
            None => (since, self.until.timeout),
        };
        from.checked_add_signed(delta(duration)).unwrap_or(Timestamp::MAX_UTC)
    }

    /// Judges a look, of a wait that has been waiting `since`, and that this process has watched from `begun` on. `held_since` carries
    /// a soak from one look to the next.
    pub fn judge(
        &self,
        out: &Value,
        (since, begun): (Timestamp, Timestamp),
        held_since: &mut Option<Timestamp>,
        now: Timestamp,
    ) -> Verdict {
        let scope = Scope { out: Some(out.clone()), ..self.scope.scope() };
        match self.until.condition.test(&scope) {
            Err(e) => return Verdict::Failed(expression(&e)),
            Ok(true) => {
                let from = *held_since.get_or_insert(now);
                let hold = self.until.hold.unwrap_or_default();
                if now - from >= delta(hold) {
                    return Verdict::Holds;
                }
                // Looks that fail break soaks, and each true one would begin another: that must end some time, too.
                if from - begun.max(self.due(since, None)) > LONGER {
                    return Verdict::Failed(ActionError::refused(
                        "not_seen",
                        format!(
                            "`{}` held when it was seen, and could not be watched for {} on end",
                            self.until.condition.source(),
                            humantime::format_duration(hold)
                        ),
                    ));
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
        // A soak that has begun may end: that what is waited for is not there, only a look that sees so may say.
        if held_since.is_some() {
            return Verdict::NotYet;
        }
        self.timed_out(since, now, Ok(&scope))
    }

    /// Judges a look that could not be had: `why`, if that is known. What cannot be seen when its time is over is looked at until
    /// nothing has been seen for a minute: one throttled call decides nothing, and what was not seen all the while gets no more.
    pub fn overdue(
        &self,
        since: Timestamp,
        blind_since: Timestamp,
        now: Timestamp,
        why: Option<&ActionError>,
    ) -> Verdict {
        if now - blind_since < LONGER {
            return Verdict::NotYet;
        }
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
        if now - since < delta(self.until.timeout) {
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

/// Nothing must have been seen for so long (clock time) before a wait fails because of that.
const LONGER: TimeDelta = TimeDelta::seconds(60);
/// The code of a wait that saw until its end that what it waits for is not there.
const TIMEOUT: &str = "timeout";
/// The code of a wait that saw that waiting is pointless.
pub const GAVE_UP: &str = "gave_up";

/// Was it seen that a condition did not come true? A wait may also fail because nobody could look.
pub(super) fn is_seen(error: &ActionError) -> bool {
    [TIMEOUT, GAVE_UP].contains(&error.code.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::action::ErrorClass;
    use crate::runbook::Expr;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Waits 15 minutes from the beginning of time until it is 1.
    fn watch(hold: u64, on_timeout: OnTimeout) -> Watch {
        let until = Until {
            condition: Expr::parse("out == 1").unwrap(),
            hold: Some(Duration::from_secs(hold)),
            every: Duration::from_secs(10),
            expect: None,
            timeout: Duration::from_secs(900),
            on_timeout,
            message: None,
            give_up: None,
        };
        Watch::new(&until, &Scope::default())
    }

    fn code(verdict: Verdict) -> String {
        match verdict {
            Verdict::Failed(error) => error.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_soak_that_has_begun_in_time_may_end_and_only_a_look_that_sees_otherwise_breaks_it() {
        for on_timeout in [OnTimeout::Fail, OnTimeout::Continue] {
            let (watch, mut held) = (watch(120, on_timeout), None);
            let mut look =
                |seen: i64, seconds| watch.judge(&json!(seen), (at(0), at(0)), &mut held, at(seconds));
            assert_eq!(look(0, 800), Verdict::NotYet);
            assert_eq!(look(1, 810), Verdict::NotYet);
            assert_eq!(look(1, 905), Verdict::NotYet);
            assert_eq!(look(1, 930), Verdict::Holds);
            assert_eq!(
                watch.due(at(0), held),
                at(930),
                "there is nothing to judge at the end of its patience"
            );
            let mut held = Some(at(810));
            let broken = watch.judge(&json!(0), (at(0), at(0)), &mut held, at(905));
            assert_eq!((held, watch.due(at(0), held)), (None, at(900)));
            match on_timeout {
                OnTimeout::Fail => assert_eq!(code(broken), TIMEOUT),
                OnTimeout::Continue => assert_eq!(broken, Verdict::Expired),
            }
        }
    }

    #[test]
    fn soaks_that_looks_without_an_answer_break_are_not_begun_for_ever() {
        let watch = watch(120, OnTimeout::Continue);
        // When this process began to watch, and when a true look may begin the last soak.
        for (begun, last) in [(0, 960), (5000, 5060)] {
            let look = |held: Option<i64>, seconds| {
                watch.judge(&json!(1), (at(0), at(begun)), &mut held.map(at), at(seconds))
            };
            assert_eq!(look(None, last), Verdict::NotYet);
            assert_eq!(look(Some(last), last + 119), Verdict::NotYet);
            assert_eq!(look(Some(last), last + 120), Verdict::Holds);
            assert_eq!(code(look(None, last + 1)), "not_seen", "nobody has seen that it is not there");
        }
    }

    #[test]
    fn what_cannot_be_seen_fails_when_its_time_is_over_and_nothing_was_seen_for_a_minute() {
        let throttled = ActionError::new(ErrorClass::Busy, "throttled", "too many calls");
        for on_timeout in [OnTimeout::Fail, OnTimeout::Continue] {
            let watch = watch(0, on_timeout);
            let overdue = |blind_since, now| watch.overdue(at(0), at(blind_since), at(now), Some(&throttled));
            // Since it began to wait, since shortly before its end, and since a process that came hours later began to look.
            for (blind_since, not_yet, over) in [(0, 899, 900), (890, 949, 950), (9000, 9059, 9060)] {
                assert_eq!(overdue(blind_since, not_yet), Verdict::NotYet);
                assert_eq!(code(overdue(blind_since, over)), "not_seen");
            }
        }
    }
}
