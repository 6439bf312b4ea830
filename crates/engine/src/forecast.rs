//! Forecasts, from the journals of past runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use chrono::TimeDelta;
use domain::Timestamp;
use domain::forecast::{Forecast, Took};
use domain::runbook::{Children, Runbook};
use store::StoreError;
use store::history;

use crate::{Core, Engine};

/// What past runs took, by runbook, as it was read last: pages of runs in flight are drawn again and again.
#[derive(Debug, Default)]
pub(crate) struct Past(Mutex<HashMap<String, (Timestamp, Vec<history::Took>)>>);

/// For so long (clock time) a page may tell what was read before.
fn fresh() -> TimeDelta {
    TimeDelta::minutes(1)
}

impl Engine {
    /// How long runs of a runbook take, as it was known within the last minute.
    pub async fn forecast(&self, runbook: &Runbook, children: &Children) -> Result<Forecast, StoreError> {
        let now = self.core.clock.now();
        let known =
            self.core.past.0.lock().unwrap_or_else(PoisonError::into_inner).get(&runbook.name).cloned();
        match known {
            Some((at, took)) if now - at < fresh() => Ok(told(took, runbook, children)),
            _ => self.core.forecast(runbook, children).await,
        }
    }
}

impl Core {
    /// The same, read now.
    pub(crate) async fn forecast(
        &self,
        runbook: &Runbook,
        children: &Children,
    ) -> Result<Forecast, StoreError> {
        let took = self.soon(history::took(&self.pool, &runbook.name)).await?;
        let known = (self.clock.now(), took.clone());
        self.past.0.lock().unwrap_or_else(PoisonError::into_inner).insert(runbook.name.clone(), known);
        Ok(told(took, runbook, children))
    }
}

fn told(took: Vec<history::Took>, runbook: &Runbook, children: &Children) -> Forecast {
    let (mut total, mut steps) = (None, BTreeMap::new());
    for took in took {
        let told = Took { p50_s: seconds(took.p50), p95_s: seconds(took.p95), of: took.times.unsigned_abs() };
        match took.step {
            Some(step) => drop(steps.insert(step, told)),
            None => total = Some(told),
        }
    }
    Forecast::new(total, steps, runbook, children)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and not below nothing")]
fn seconds(seconds: f64) -> u64 {
    seconds.round().max(0.0) as u64
}
