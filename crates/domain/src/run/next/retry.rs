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
        let others = earlier.len() - busy;
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
    pub fn again(&self, attempts: &[Attempt], error: ActionError, now: Timestamp) -> Option<Entry> {
        let (Self::Look { step, attempt, .. }
        | Self::Change { step, attempt, .. }
        | Self::Recover { step, attempt, .. }) = self;
        let lost = |a: &&Attempt| {
            a.number < *attempt && a.error.as_ref().is_some_and(|e| e.class == ErrorClass::Unknown)
        };
        let lost = attempts.iter().filter(lost).count();
        (lost < BUSY_LIMIT).then(|| {
            let pause = doubled(Retry::default().backoff, lost);
            let retry_at = now + delta(pause + jitter(pause, step, *attempt));
            Entry::AttemptFailed { step: step.clone(), attempt: *attempt, error, retry_at }
        })
    }
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
