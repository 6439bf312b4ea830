//! Alerts that come in beside what a drill is about: many, again and again, from many clusters.
//!
//! They take the way of every delivery (one row for each trouble, counted), and each must get its verdict; what must not come of them
//! is a second run.

use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use serde::Serialize;
use store::PgPool;
use store::pages::RunFilter;
use store::signals::{Received, SignalFilter};

use super::spec::Alerts;

/// More signals than a drill has.
const ALL: i64 = 500;

/// What became of a storm.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Storm {
    /// Deliveries that were taken.
    pub(crate) deliveries: u64,
    /// Signals that they were about.
    pub(crate) signals: usize,
    /// Those that nobody has judged.
    pub(crate) unjudged: usize,
    /// Runs of any runbook.
    pub(crate) runs: usize,
}

/// Delivers all of them, each at its time.
pub(super) async fn deliver(
    pool: PgPool,
    clock: sim::Clock,
    trigger: Timestamp,
    alerts: Vec<Alerts>,
) -> anyhow::Result<u64> {
    let mut deliveries = 0;
    for alert in alerts {
        let at = trigger + TimeDelta::from_std(alert.after).unwrap_or(TimeDelta::MAX);
        clock.sleep((at - clock.now()).to_std().unwrap_or(Duration::ZERO)).await;
        for cluster in (0..alert.times).flat_map(|_| &alert.clusters) {
            let mut labels = alert.labels.clone();
            labels.insert("cluster".into(), cluster.clone());
            let signal = Signal {
                source: "alertmanager".into(),
                kind: alert.kind.clone(),
                fingerprint: format!("{} {cluster}", alert.kind),
                state: SignalState::Firing,
                severity: None,
                summary: format!("{} at {cluster}", alert.kind),
                labels,
                started_at: None,
            };
            let received = Received { signal: &signal, delivery: None, body: None, at: clock.now() };
            store::signals::receive(&pool, received).await?;
            deliveries += 1;
        }
    }
    Ok(deliveries)
}

/// What became of them, read once all is over.
pub(super) async fn judged(pool: &PgPool, deliveries: u64) -> anyhow::Result<Storm> {
    let signals = store::signals::list(pool, SignalFilter::default(), ALL).await?;
    let runs = store::pages::runs(pool, &RunFilter::default(), ALL).await?;
    Ok(Storm {
        deliveries,
        unjudged: signals.iter().filter(|signal| signal.verdict.is_none()).count(),
        signals: signals.len(),
        runs: runs.len(),
    })
}

impl Storm {
    /// What must hold of it.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if self.unjudged > 0 {
            failures.push(format!("{} of {} signals have no verdict", self.unjudged, self.signals));
        }
        if self.runs != 1 {
            failures.push(format!("{} runs came of it, not one", self.runs));
        }
        failures
    }
}
