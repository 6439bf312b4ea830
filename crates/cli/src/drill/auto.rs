//! `firebreak drill --auto`: nobody is at the keyboard. The prober looks, triage judges, and what a rule starts is scored.

use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use domain::Timestamp;
use domain::runbook::Mode;
use engine::{Engine, Topic, TriageSettings, WatchSettings};
use serde::Serialize;
use store::PgPool;
use store::pages::RunFilter;
use store::signals::SignalFilter;
use uuid::Uuid;

use super::pace::Pace;
use super::score::Acted;

/// Firebreak looks so long before the trigger: longer than it takes to be warm.
pub(super) const BEFORE: TimeDelta = TimeDelta::seconds(90);
/// While it must see and decide, time passes no faster than this: the milliseconds of a machine that also plays AWS, its
/// customers and Postgres are not to be counted as seconds.
const PACE: f64 = 2.0;
/// It begins so long before the trigger.
const LEAD: TimeDelta = TimeDelta::seconds(5);
/// What it has not decided by then, it decides late, and time may pass faster.
const LATE: TimeDelta = TimeDelta::minutes(3);
const HASTE: f64 = 60.0;
/// More signals than a drill has.
const ALL: i64 = 200;

/// In mode `shadow` it looks on for so long after the trigger.
pub(super) const SHADOWED: TimeDelta = TimeDelta::minutes(15);
/// What was first said so shortly before the end may not have been judged yet.
const JUST_NOW: TimeDelta = TimeDelta::minutes(3);

/// Every rule goes so far.
pub(super) fn triage(mode: Mode) -> TriageSettings {
    TriageSettings { all: Some(mode), ..TriageSettings::default() }
}

/// What Firebreak judged.
pub(crate) struct Judged {
    /// When the signal that led to the start was first seen.
    pub(crate) detected_at: Option<Timestamp>,
    /// What became of each signal.
    pub(crate) signals: Vec<Said>,
    /// The runbooks of all runs.
    runbooks: Vec<String>,
    /// Signals that nobody who was not there could make sense of.
    unexplained: Vec<String>,
}

/// A signal, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Said {
    /// Its fingerprint's words: kind, fleet and cluster.
    pub(crate) signal: String,
    /// The verdicts on it, in order, the same word once.
    pub(crate) verdict: String,
    /// Why, the last one's or the start's.
    pub(crate) because: String,
}

impl Judged {
    /// What must hold of it: one run, of this runbook (none, where nobody acts), and a sentence for every signal.
    pub(super) fn failures(&self, runbook: Option<&str>) -> Vec<String> {
        let mut failures: Vec<String> = self
            .unexplained
            .iter()
            .map(|signal| format!("nothing explains what became of: {signal}"))
            .collect();
        match (self.runbooks.as_slice(), runbook) {
            ([one], Some(runbook)) if one == runbook => {}
            ([], None) => {}
            ([], Some(runbook)) => {
                failures.push(format!("nothing was started by itself; it should have been {runbook}"))
            }
            (started, wanted) => {
                let wanted = wanted.unwrap_or("nothing");
                failures
                    .push(format!("started by itself: {}; it should have been {wanted}", started.join(", ")));
            }
        }
        failures
    }
}

/// Looks on.
pub(super) fn watch(engine: &Engine) {
    engine.watch(WatchSettings {
        every: Duration::from_secs(10),
        // The probes are real logins: at the pace of the run they must not take the machine from what is measured.
        at_most_every: Duration::from_secs(1),
        error_share_query: Some("cluster:request_error_share".into()),
        keep: Duration::from_secs(3 * 60 * 60),
        alarms: None,
    });
}

/// Looks until a rule has started a run: when it was decided, and the run. `None` when the patience is over.
pub(super) async fn decided(
    engine: &Engine,
    clock: &sim::Clock,
    pace: &Pace,
    trigger: Timestamp,
    patience: TimeDelta,
) -> anyhow::Result<Option<(Timestamp, Uuid)>> {
    watch(engine);
    let mut rings = engine.listen();
    clock.sleep((trigger - LEAD - clock.now()).to_std().unwrap_or_default()).await;
    pace.at_most(PACE);
    loop {
        for signal in store::signals::list(engine.pool(), SignalFilter::default(), ALL).await? {
            if signal.verdict.as_deref() == Some("started")
                && let (Some(run_id), Some(decided_at)) = (signal.run_id, signal.decided_at)
            {
                return Ok(Some((decided_at, run_id)));
            }
        }
        if clock.now() > trigger + LATE {
            pace.at_most(HASTE);
        }
        if clock.now() > trigger + patience {
            return Ok(None);
        }
        loop {
            let ring = tokio::time::timeout(Duration::from_millis(500), rings.recv()).await;
            if matches!(ring, Err(_) | Ok(Err(_)) | Ok(Ok(Topic::Signals | Topic::Run(_)))) {
                break;
            }
        }
    }
}

/// Lets the first change happen at the pace of the decision: nothing comes between the two but looks.
pub(super) async fn first_change(sim: &sim::Sim, clock: &sim::Clock) {
    let end = clock.now() + TimeDelta::minutes(2);
    while clock.now() < end && !sim.ledger().iter().any(|entry| entry.mutating) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What was judged, read once all is over.
pub(super) async fn judged(pool: &PgPool, acted: Option<&Acted>, until: Timestamp) -> anyhow::Result<Judged> {
    let detected_at = match acted {
        Some(acted) => {
            let cause = store::triage::cause(pool, acted.run.id).await?;
            Some(cause.context("the run that a rule started names no signal")?.first_seen)
        }
        None => None,
    };
    let (mut signals, mut unexplained) = (Vec::new(), Vec::new());
    for signal in store::signals::list(pool, SignalFilter::default(), ALL).await? {
        let verdicts = store::triage::verdicts(pool, signal.id).await?;
        let mut words: Vec<String> =
            verdicts.iter().rev().map(|v| format!("{} ({})", v.verdict, v.code)).collect();
        words.dedup();
        let explained =
            signal.because.as_deref().is_some_and(|because| because.split_whitespace().count() >= 4);
        if !explained && signal.first_seen < until - JUST_NOW {
            unexplained.push(format!("{} ({})", signal.summary, words.join(", ")));
        }
        let last = verdicts.iter().find(|v| v.verdict == "started").or(verdicts.first());
        signals.push(Said {
            signal: format!(
                "{} {} {}",
                signal.kind,
                signal.labels["fleet"].as_str().unwrap_or_default(),
                signal.labels["cluster"].as_str().unwrap_or_default()
            ),
            verdict: words.join(", "),
            because: last.map(|v| v.because.clone()).unwrap_or_default(),
        });
    }
    let runs = store::pages::runs(pool, &RunFilter::default(), ALL).await?;
    Ok(Judged {
        detected_at,
        signals,
        runbooks: runs.into_iter().map(|run| run.runbook).collect(),
        unexplained,
    })
}
