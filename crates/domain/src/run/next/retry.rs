//! Whether and when a failed piece of work is tried again.

use std::time::Duration;

use serde_json::Value;

use super::{Perform, delta};
use crate::Timestamp;
use crate::action::{ActionError, ErrorClass};
use crate::run::{Attempt, Entry, StepPath};
use crate::runbook::Retry;

impl Perform {
    /// The entry for a failure of this work: another attempt, or the end of the step.
    ///
    /// `attempts` are the step's when the work began. Failures because a service was busy use up no attempt, but are not forgiven for ever.
    pub fn failed(&self, attempts: &[Attempt], error: ActionError, now: Timestamp) -> Entry {
        let (step, attempt, retry) = match self {
            Self::Look { step, attempt, retry, .. } | Self::Change { step, attempt, retry, .. } => {
                (step, *attempt, retry.clone())
            }
            Self::Recover { step, attempt, .. } => (step, *attempt, Retry::default()),
        };
        // The attempt at hand may not be in the journal yet (a change that failed while looking): count it in.
        let earlier: Vec<_> =
            attempts.iter().filter(|a| a.number < attempt).filter_map(|a| a.error.as_ref()).collect();
        let busy = earlier.iter().filter(|e| e.class == ErrorClass::Busy).count();
        let lost = earlier.iter().filter(|e| e.code == ANSWER_LOST).count();
        let others = earlier.len() - busy - lost;
        let pause = match error.class {
            ErrorClass::Busy if busy < BUSY_LIMIT => Some(doubled(retry.backoff, busy)),
            ErrorClass::Transient if others + 1 < retry.attempts as usize => {
                Some(doubled(retry.backoff, others))
            }
            _ => None,
        };
        match pause {
            Some(pause) => {
                let retry_at = now + delta(pause + jitter(pause, step, attempt));
                Entry::AttemptFailed { step: step.clone(), attempt, error, retry_at }
            }
            None => Entry::Failed { step: step.clone(), error, facts: Value::Null },
        }
    }

    /// The entry for a call without an answer that its receiver knows by a token, so that making it again is harmless: another
    /// attempt after a pause, for as long as a busy service is forgiven. `None` beyond that: a person must find out.
    pub fn again(&self, attempts: &[Attempt], now: Timestamp) -> Option<Entry> {
        let (Self::Look { step, attempt, .. }
        | Self::Change { step, attempt, .. }
        | Self::Recover { step, attempt, .. }) = self;
        let lost = attempts.iter().filter(|a| a.number < *attempt && a.lost_its_answer()).count();
        (lost < BUSY_LIMIT).then(|| {
            let pause = doubled(Retry::default().backoff, lost);
            let retry_at = now + delta(pause + jitter(pause, step, *attempt));
            let message =
                "the call's answer was lost; it is made again under the same token, by which the receiver knows it";
            let error = ActionError::new(ErrorClass::Transient, ANSWER_LOST, message);
            Entry::AttemptFailed { step: step.clone(), attempt: *attempt, error, retry_at }
        })
    }
}

/// The code of an attempt whose call got no answer, and which is followed by the same call under the same token.
pub const ANSWER_LOST: &str = "answer_lost";

impl Attempt {
    /// Was its call made, and its answer lost? What followed was the same call under the same token.
    pub fn lost_its_answer(&self) -> bool {
        self.error.as_ref().is_some_and(|e| e.code == ANSWER_LOST)
    }
}

/// Did the last call of a step that its receiver took, or may have taken, lose its answer? What was not sent or not taken since then
/// says nothing of it; an answer does.
pub fn is_unanswered(attempts: &[Attempt]) -> bool {
    let untaken = |error: &ActionError| {
        error.code != ANSWER_LOST && matches!(error.class, ErrorClass::Busy | ErrorClass::Transient)
    };
    let mut taken = attempts.iter().rev().filter(|a| !a.error.as_ref().is_some_and(untaken));
    taken.next().is_some_and(Attempt::lost_its_answer)
}

/// How often "busy" is forgiven: with the capped pauses about a quarter of an hour, longer than any throttle seen.
const BUSY_LIMIT: usize = 30;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

fn doubled(backoff: Duration, times: usize) -> Duration {
    backoff.saturating_mul(1 << times.min(16)).min(LONGEST_PAUSE)
}

/// Up to a quarter more, different for each step and attempt, so that the items of an `each` do not knock in step.
fn jitter(pause: Duration, step: &StepPath, attempt: u32) -> Duration {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{step}#{attempt}"));
    pause.mul_f64(f64::from(digest[0]) / 1024.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;

    use super::*;

    fn change(attempt: u32) -> Perform {
        Perform::Change {
            step: "send".into(),
            attempt,
            action: "hook".into(),
            input: Arc::default(),
            undo: None,
            retry: Retry::default(),
        }
    }

    #[test]
    fn a_call_is_unanswered_until_a_later_one_is_answered() {
        let lost = || ActionError::new(ErrorClass::Transient, ANSWER_LOST, "x");
        let other = |class| ActionError::new(class, "x", "x");
        let (busy, refused) = (|| other(ErrorClass::Busy), || other(ErrorClass::Refused));
        for (errors, unanswered) in [
            (vec![], false),
            (vec![Some(lost())], true),
            (vec![Some(lost()), Some(busy()), Some(other(ErrorClass::Transient))], true),
            (vec![Some(lost()), Some(refused())], false),
            (vec![Some(lost()), Some(refused()), Some(busy())], false),
            (vec![Some(lost()), None], false),
            (vec![Some(refused()), Some(lost())], true),
        ] {
            let at = Timestamp::UNIX_EPOCH;
            let attempt =
                |error: &Option<ActionError>| Attempt { number: 1, at, ended_at: None, error: error.clone() };
            let attempts: Vec<_> = errors.iter().map(attempt).collect();
            assert_eq!(is_unanswered(&attempts), unanswered, "{errors:?}");
        }
    }

    #[test]
    fn a_call_whose_answers_are_all_lost_is_not_made_for_ever() {
        let (mut now, mut attempts) = (Timestamp::UNIX_EPOCH, Vec::new());
        for number in 1.. {
            let Some(Entry::AttemptFailed { error, retry_at, .. }) = change(number).again(&attempts, now)
            else {
                break;
            };
            attempts.push(Attempt { number, at: now, ended_at: Some(now), error: Some(error) });
            now = retry_at;
        }
        assert_eq!(attempts.len(), BUSY_LIMIT);
        assert!(now - Timestamp::UNIX_EPOCH > TimeDelta::minutes(10), "{now}");
        // What was not the service's fault uses up no attempt of what is.
        let error = ActionError::new(ErrorClass::Transient, "reset", "the connection broke");
        let number = u32::try_from(attempts.len()).unwrap() + 1;
        let entry = change(number).failed(&attempts, error, now);
        assert!(matches!(entry, Entry::AttemptFailed { .. }), "{entry:?}");
    }
}
