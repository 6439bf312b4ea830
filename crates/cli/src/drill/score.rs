//! The score of a drill: from what customers saw, what the ledger of the simulated AWS holds, and what the run says.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::words::many;
use serde::Serialize;
use sim::{LedgerEntry, Sample};
use store::calls::Call;
use store::pages::RunRow;
use uuid::Uuid;

use super::auto::{Judged, Said};
use super::spec::{Clairvoyant, Drill, Real};
use super::storm::Storm;

/// What was played.
pub(crate) struct Played {
    pub(crate) trigger: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) with: Vec<Sample>,
    pub(crate) without_action: Vec<Sample>,
    pub(crate) ledger: Vec<LedgerEntry>,
    /// The most instances of the symptom's cluster that were down for a change of class at the same time.
    pub(crate) most_changing: usize,
    /// How long it takes an operator who sees everything at once.
    pub(crate) critical_path: Option<Duration>,
    /// Simulated seconds per second.
    pub(crate) speed: f64,
    pub(crate) acted: Option<Acted>,
    /// What Firebreak judged by itself, where it was let.
    pub(crate) judged: Option<Judged>,
    /// Nobody acted, and triggers only wrote down what they would have done.
    pub(crate) shadow: bool,
    /// What became of the alerts that came in beside it.
    pub(crate) storm: Option<Storm>,
}

/// What the run did.
pub(crate) struct Acted {
    pub(crate) run: RunRow,
    pub(crate) decided_at: Timestamp,
    /// For how long the symptom must be gone before the run ends.
    pub(crate) soak: Duration,
    /// How often another process took the run over.
    pub(crate) taken_over: usize,
    pub(crate) changes: Vec<Call>,
}

/// The score. The first block of fields is what scripts read; all times are simulated seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Score {
    /// Name of the drill.
    pub(crate) drill: String,
    /// Did everything hold that must?
    pub(crate) passed: bool,
    /// Is the symptom gone at the end?
    pub(crate) recovered: bool,
    /// Highest share of failing requests.
    pub(crate) error_share_peak: f64,
    /// Share of failing requests at the end.
    pub(crate) error_share_at_end: f64,
    /// From the trigger to the first signal that led to the start, where Firebreak acted by itself.
    pub(crate) seconds_trigger_to_detected: Option<i64>,
    /// From the trigger to the start of the runbook.
    pub(crate) seconds_trigger_to_decision: Option<i64>,
    /// From the trigger to the first change.
    pub(crate) seconds_trigger_to_first_change: Option<i64>,
    /// From the decision until the symptom was gone for good.
    pub(crate) seconds_decision_to_recovered: Option<i64>,
    /// Every change that the simulated AWS and its hosts saw.
    pub(crate) changes: Vec<Change>,
    /// Changes that no step announced, or that were made twice.
    pub(crate) unexpected_changes: Vec<Change>,
    /// The run.
    pub(crate) run_id: Option<Uuid>,
    /// How it stands, and its last sentence.
    pub(crate) run: Option<RunEnd>,
    /// Failed requests of the symptom's customers, with the runbook and had nobody acted.
    pub(crate) failed_requests: Compared,
    /// The worst half minute for them, compared with the same half minute had nobody acted: share with minus share without.
    pub(crate) worst_excess_share: f64,
    /// Failed requests of everybody else.
    pub(crate) failed_requests_of_others: Compared,
    /// For how many seconds in all they were worse off by that measure.
    pub(crate) seconds_worse_off: i64,
    /// The run against an operator who sees everything at once, where the drill names one.
    pub(crate) critical_path: Option<CriticalPath>,
    /// What became of each signal, where Firebreak judged by itself.
    pub(crate) signals: Vec<Said>,
    /// What became of the alerts that came in beside it.
    pub(crate) storm: Option<Storm>,
    /// How often another process took the run over.
    pub(crate) taken_over: usize,
    /// What really happened, if it did.
    pub(crate) real: Option<Real>,
    /// What did not hold, each a sentence.
    pub(crate) failures: Vec<String>,
}

/// One change.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Change {
    pub(crate) at: Timestamp,
    pub(crate) operation: String,
    pub(crate) effect: String,
}

/// How the run stands.
#[derive(Debug, Serialize)]
pub(crate) struct RunEnd {
    pub(crate) state: String,
    pub(crate) message: Option<String>,
}

/// A run, without its soak, against the critical path.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CriticalPath {
    /// Of an operator who sees everything at once.
    pub(crate) seconds: i64,
    /// Of the run, until the symptom only had to stay gone.
    pub(crate) run_seconds: i64,
    /// One by the other.
    pub(crate) ratio: f64,
}

/// With and without.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Compared {
    pub(crate) with: f64,
    pub(crate) without_action: f64,
}

/// The window in which "worse off" is measured: long enough that a reconnect is seen as what it is.
const WINDOW: TimeDelta = TimeDelta::seconds(30);

/// Scores what was played.
pub(crate) fn score(drill: &Drill, played: &Played) -> Score {
    let cluster = drill.symptom.cluster.as_str();
    let of =
        |samples: &[Sample]| samples.iter().filter(|s| s.cluster == cluster).cloned().collect::<Vec<_>>();
    let (with, without) = (of(&played.with), of(&played.without_action));
    let gone = |s: &Sample| s.error_share() < drill.symptom.gone_below;
    let error_share_peak = with.iter().map(Sample::error_share).fold(0.0, f64::max);
    let last_bad = with.iter().rev().find(|s| !gone(s)).map(|s| s.at);
    let recovered = with.last().is_some_and(gone) && last_bad.is_some();
    let decided_at = played.acted.as_ref().map(|a| a.decided_at);
    let seconds_decision_to_recovered = decided_at
        .zip(last_bad.filter(|_| recovered))
        .map(|(decided, bad)| (bad - decided).num_seconds().max(0));
    let (changes, unexpected_changes) = changes(played);
    let since_trigger = |at: Timestamp| (at - played.trigger).num_seconds();
    let others = |samples: &[Sample]| errors(samples.iter().filter(|s| s.cluster != cluster));
    let mut score = Score {
        drill: drill.drill.clone(),
        passed: false,
        recovered,
        error_share_peak,
        error_share_at_end: with.last().map_or(0.0, Sample::error_share),
        seconds_trigger_to_detected: played.judged.as_ref().and_then(|j| j.detected_at).map(since_trigger),
        seconds_trigger_to_decision: decided_at.map(since_trigger),
        seconds_trigger_to_first_change: changes.first().map(|change| since_trigger(change.at)),
        seconds_decision_to_recovered,
        changes,
        unexpected_changes,
        run_id: played.acted.as_ref().map(|a| a.run.id),
        run: played
            .acted
            .as_ref()
            .map(|a| RunEnd { state: a.run.state.clone(), message: a.run.message.clone() }),
        failed_requests: Compared { with: errors(with.iter()), without_action: errors(without.iter()) },
        worst_excess_share: excess(&with, &without).into_iter().fold(0.0, f64::max),
        seconds_worse_off: WINDOW.num_seconds()
            * i64::try_from(excess(&with, &without).len()).unwrap_or(i64::MAX),
        failed_requests_of_others: Compared {
            with: others(&played.with),
            without_action: others(&played.without_action),
        },
        critical_path: critical_path(played),
        signals: played.judged.as_ref().map(|j| j.signals.clone()).unwrap_or_default(),
        storm: played.storm.clone(),
        taken_over: played.acted.as_ref().map_or(0, |a| a.taken_over),
        real: drill.real.clone(),
        failures: Vec::new(),
    };
    score.failures = failures(drill, played, &score, &without);
    score.passed = score.failures.is_empty();
    score
}

fn failures(drill: &Drill, played: &Played, score: &Score, without: &[Sample]) -> Vec<String> {
    let mut failures = Vec::new();
    let peak = without.iter().map(Sample::error_share).fold(0.0, f64::max);
    let settled = played.until - played.trigger > TimeDelta::hours(1);
    if settled && peak < drill.expect.peak_without_action {
        failures.push(format!(
            "without action {:.1} % of requests failed at most; the incident is not reproduced",
            peak * 100.0
        ));
    }
    if let Some(judged) = &played.judged {
        failures.extend(judged.failures((!played.shadow).then_some(drill.act.runbook.as_str())));
    }
    if played.shadow {
        if !score.changes.is_empty() {
            failures.push("something was changed, though every trigger was in mode shadow".into());
        }
        return failures;
    }
    let Some(acted) = &played.acted else {
        if score.error_share_at_end < 0.8 * peak {
            failures.push("the incident healed, or began to, though nobody acted".into());
        }
        if !score.changes.is_empty() {
            failures.push("something was changed though nobody acted".into());
        }
        return failures;
    };
    if let Some(storm) = &played.storm {
        failures.extend(storm.failures());
    }
    if acted.taken_over < drill.kills.len() {
        failures.push(format!(
            "the engine died {}, and the run was taken over {}",
            many(drill.kills.len(), "time"),
            many(acted.taken_over, "time")
        ));
    }
    let expect = &drill.expect;
    let message = acted.run.message.as_deref().unwrap_or("see its page");
    if acted.run.state != expect.outcome {
        failures.push(format!("the run is `{}`, not `{}`: {message}", acted.run.state, expect.outcome));
    }
    if let Some(words) = expect.says.as_deref().filter(|words| !message.contains(words)) {
        failures.push(format!("the run does not say `{words}`: {message}"));
    }
    if let Some(wanted) = expect.changes.filter(|wanted| *wanted != score.changes.len()) {
        failures.push(format!("{} changes were made, not {wanted}", score.changes.len()));
    }
    match (expect.recovered_within, score.seconds_decision_to_recovered) {
        (Some(_), None) => failures.push("the symptom is not gone".into()),
        (Some(allowed), Some(seconds)) if seconds.unsigned_abs() > allowed.as_secs() => {
            failures.push(format!("it took {seconds} s to recover; allowed are {}", allowed.as_secs()))
        }
        _ => {}
    }
    let allowed = i64::try_from(expect.worse_off_for.as_secs()).unwrap_or(i64::MAX);
    if score.seconds_worse_off > allowed {
        failures.push(format!(
            "the customers were worse off than had nobody acted for {} s; allowed are {allowed}",
            score.seconds_worse_off
        ));
    }
    if score.failed_requests.with > score.failed_requests.without_action && expect.recovered_within.is_some()
    {
        failures.push("more requests failed than had nobody acted".into());
    }
    if let (Some(operator), Some(path)) = (&drill.clairvoyant, score.critical_path)
        && played.speed <= Clairvoyant::CLOSE
        && path.ratio > operator.run_takes_at_most
    {
        failures.push(format!(
            "the run took {:.2} times as long as it must; allowed is {:.2}",
            path.ratio, operator.run_takes_at_most
        ));
    }
    if played.most_changing > expect.changing_at_once {
        failures.push(format!(
            "{} instances were down for a change of class at the same time",
            played.most_changing
        ));
    }
    for change in &score.unexpected_changes {
        failures.push(format!("unexpected change: {} ({})", change.operation, change.effect));
    }
    failures
}

fn critical_path(played: &Played) -> Option<CriticalPath> {
    let (path, acted) = (played.critical_path?, played.acted.as_ref()?);
    let soak = TimeDelta::from_std(acted.soak).ok()?;
    let run_seconds = (acted.run.ended_at? - acted.decided_at - soak).num_seconds();
    let seconds = i64::try_from(path.as_secs()).ok()?.max(1);
    Some(CriticalPath { seconds, run_seconds, ratio: run_seconds as f64 / seconds as f64 })
}

fn errors<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    samples.map(|s| s.errors).sum::<f64>().round()
}

/// By how much the error share was above what it would have been, for each window in which it was.
fn excess(with: &[Sample], without: &[Sample]) -> Vec<f64> {
    let windows = |samples: &[Sample]| {
        let mut windows: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for s in samples {
            let window = windows.entry(s.at.timestamp() / WINDOW.num_seconds()).or_default();
            window.0 += s.errors;
            window.1 += s.requests;
        }
        windows
    };
    let share = |(errors, requests): (f64, f64)| if requests > 0.0 { errors / requests } else { 0.0 };
    let without = windows(without);
    windows(with)
        .into_iter()
        .filter_map(|(window, with)| Some(share(with) - share(*without.get(&window)?)))
        // What rounding in the fourth place adds up to is nobody's outage.
        .filter(|excess| *excess > 1e-4)
        .collect()
}

/// All changes of the ledger; and those that no call of the run explains, or that happened more than once.
fn changes(played: &Played) -> (Vec<Change>, Vec<Change>) {
    let mut explained: BTreeMap<String, usize> = BTreeMap::new();
    for call in played.acted.iter().flat_map(|a| &a.changes) {
        // ProxySQL's admin port knows no request ids; there the operation and the host tell.
        let key = call.request_id.clone().unwrap_or_else(|| call.operation.to_uppercase());
        *explained.entry(key).or_default() += 1;
    }
    let (mut all, mut unexpected) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for entry in played.ledger.iter().filter(|e| e.mutating) {
        let Some(effect) = &entry.effect else { continue };
        let change = Change { at: entry.at, operation: entry.operation.clone(), effect: effect.clone() };
        let times = seen.entry(format!("{} {:?}", entry.operation, entry.params)).or_default();
        *times += 1;
        let place = [&entry.request_id, &entry.operation]
            .into_iter()
            .find(|k| explained.get(*k).is_some_and(|n| *n > 0));
        match place.and_then(|k| explained.get_mut(k)) {
            Some(left) if *times == 1 => *left -= 1,
            _ => unexpected.push(change.clone()),
        }
        all.push(change);
    }
    (all, unexpected)
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |s: Option<i64>| {
            s.map_or_else(|| "–".to_owned(), |s| format!("{:>2} min {:02} s", s / 60, s % 60))
        };
        writeln!(f, "Drill {}: {}", self.drill, if self.passed { "passed" } else { "FAILED" })?;
        let real = self.real.as_ref();
        let row = |f: &mut fmt::Formatter<'_>, name: &str, here: String, there: Option<String>| match there {
            Some(there) => writeln!(f, "{name:<34}{here:>14}{there:>14}"),
            None => writeln!(f, "{name:<34}{here:>14}"),
        };
        let peak = |share: f64| format!("{:.1} %", share * 100.0);
        row(f, "", "here".into(), real.map(|_| "in reality".into()))?;
        row(
            f,
            "highest share of failing requests",
            peak(self.error_share_peak),
            real.map(|r| peak(r.error_share_peak)),
        )?;
        if self.seconds_trigger_to_detected.is_some() {
            row(f, "trigger to detected", seconds(self.seconds_trigger_to_detected), None)?;
        }
        row(
            f,
            "trigger to decision",
            seconds(self.seconds_trigger_to_decision),
            real.map(|r| seconds(Some(r.seconds_trigger_to_decision))),
        )?;
        if self.seconds_trigger_to_first_change.is_some() {
            row(f, "trigger to first change", seconds(self.seconds_trigger_to_first_change), None)?;
        }
        row(
            f,
            "decision to recovered",
            seconds(self.seconds_decision_to_recovered),
            real.map(|r| seconds(Some(r.seconds_decision_to_recovered))),
        )?;
        writeln!(
            f,
            "failed requests: {:.0} (had nobody acted: {:.0}); everybody else's: {:.0} ({:.0})",
            self.failed_requests.with,
            self.failed_requests.without_action,
            self.failed_requests_of_others.with,
            self.failed_requests_of_others.without_action
        )?;
        if let Some(path) = self.critical_path {
            writeln!(
                f,
                "the run, without its soak: {}; somebody who sees everything at once: {}; ratio {:.2}",
                seconds(Some(path.run_seconds)).trim(),
                seconds(Some(path.seconds)).trim(),
                path.ratio
            )?;
        }
        writeln!(f, "changes: {}, unexpected: {}", self.changes.len(), self.unexpected_changes.len())?;
        if let (Some(id), Some(run)) = (self.run_id, &self.run) {
            writeln!(
                f,
                "run {id}: {}{}",
                run.state,
                run.message.as_ref().map_or_else(String::new, |m| format!(". {m}"))
            )?;
        }
        if self.taken_over > 0 {
            writeln!(f, "taken over by another process: {}", many(self.taken_over, "time"))?;
        }
        if let Some(storm) = &self.storm {
            writeln!(
                f,
                "alerts: {}, {}, {} of them without a verdict; runs: {}",
                many(storm.deliveries, "delivery"),
                many(storm.signals, "signal"),
                storm.unjudged,
                storm.runs
            )?;
        }
        for said in &self.signals {
            writeln!(f, "signal {}: {}. {}", said.signal, said.verdict, said.because)?;
        }
        self.failures.iter().try_for_each(|failure| writeln!(f, "  ✗ {failure}"))
    }
}
