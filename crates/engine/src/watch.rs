//! The login prober, the symptom charts, and alarms that nobody told of (`alarms`).
//!
//! Every few seconds each fleet's group is read, every cluster is logged in to directly and through every host (`fleet`), each host is
//! asked what it counts (`counted`), and the customers' error share is asked of the metrics store, if one is configured (`felt`). The newest view
//! is kept for the situation page, the numbers for its charts, and logins that fail are said as signals ([`domain::signal`]). A host that
//! is leaving, or has just come and does not listen yet, says nothing of its fleet: logins through it are left out. What cannot be seen is
//! said, never left as it was. Its looks are the shared observer's: a run that waits for the same thing is served by them, and the other
//! way round.

mod alarms;
mod counted;
mod felt;
mod fleet;
mod recent;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::action::ActionError;
use domain::advice::Matrix;
use domain::inventory::ProxyFleet;
use futures::future::join_all;
use serde_json::Value;
use store::fleets::{FleetView, Sample};
use store::signals::Received;

use crate::{Core, Topic};
use alarms::ALARMS;
pub use alarms::AlarmWatch;
pub(crate) use alarms::watch_alarms;
use felt::Felt;
use fleet::Watched;

const GROUP: &str = "autoscaling.describe_group";
const LOGINS: &str = "mysql.login_matrix";
const METRICS: &str = "metrics.query";
const STATUS: &str = "proxysql.status";
const STATISTICS: &str = "proxysql.statistics";

/// The actions that it looks with.
pub const WATCHES_WITH: [&str; 6] = [GROUP, LOGINS, METRICS, STATUS, STATISTICS, ALARMS];

/// How often the prober looks, and for what.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// Pause between two looks (clock time).
    pub every: Duration,
    /// Never more often than this (wall time), however fast the clock runs: the probes are real connections.
    pub at_most_every: Duration,
    /// The query that answers the customers' error share, 0 to 1, with a label `cluster`.
    pub error_share_query: Option<String>,
    /// How long samples are kept (clock time).
    pub keep: Duration,
    /// Alarms that are read, too.
    pub alarms: Option<AlarmWatch>,
}

/// A signal of the prober's is over when nobody has said it for so long (clock time) while it could be seen all the time: a host may
/// fail one login in thirty, and the first round after a blind hour shows few of them.
const CALM: TimeDelta = TimeDelta::seconds(60);

/// What could not be seen, by fingerprint, and when that was so last.
struct Blind(BTreeMap<String, Timestamp>);

impl Blind {
    /// Before the first look nothing was seen.
    fn before(fleet: &ProxyFleet, now: Timestamp) -> Self {
        let all = domain::signal::unseen(fleet, None, &Matrix::default());
        Self(all.into_iter().map(|signal| (signal, now)).collect())
    }

    /// With what cannot be seen now, all that could not be seen throughout the time that makes it over.
    fn lately(&mut self, unseen: Vec<String>, now: Timestamp) -> Vec<String> {
        self.0.extend(unseen.into_iter().map(|signal| (signal, now)));
        self.0.retain(|_, at| now - *at < CALM);
        self.0.keys().cloned().collect()
    }
}

pub(crate) async fn watch(core: Arc<Core>, settings: WatchSettings) {
    let mut fleets: Vec<Watched> = core.inventory.fleets.iter().map(Watched::new).collect();
    let now = core.clock.now();
    let mut blind: Vec<Blind> = core.inventory.fleets.iter().map(|fleet| Blind::before(fleet, now)).collect();
    let (mut felts, mut forgotten) = (Felt::default(), None);
    loop {
        let looked = tokio::time::Instant::now();
        let wait = core.clock.sleep(settings.every);
        let felt = felts.round(&core, settings.error_share_query.as_ref());
        // Each fleet is told as soon as it has been looked at: one whose region hangs holds back no other.
        let watched = core.inventory.fleets.iter().zip(fleets.iter_mut().zip(&mut blind));
        let rounds = watched.map(async |(fleet, (watched, blind))| {
            // What is not answered by then is taken in by the next round.
            let view = watched.look(&core, settings.every / 4, &felt).await;
            keep(&core, &view).await;
            say(&core, fleet, &view, blind).await;
        });
        join_all(rounds).await;
        end_unknown(&core).await;
        let keep = TimeDelta::from_std(settings.keep).unwrap_or(TimeDelta::MAX);
        let before = core.clock.now() - keep;
        match core.soon(store::fleets::forget_before(&core.pool, before, forgotten)).await {
            Ok(()) => forgotten = Some(before),
            Err(e) => tracing::warn!("old samples were not forgotten: {e}"),
        }
        wait.await;
        tokio::time::sleep_until(looked + settings.at_most_every).await;
    }
}

/// Keeps what a round saw of a fleet, for the situation page and its charts.
async fn keep(core: &Core, view: &FleetView) {
    let samples = view.matrix.as_ref().map(|matrix| login_failures(matrix, view)).unwrap_or_default();
    if let Err(e) = core.soon(store::fleets::put(&core.pool, view)).await {
        tracing::warn!(fleet = view.fleet, "the view was not kept: {e}");
    }
    add(core, "login_failures", &samples).await;
    core.bell.ring(Topic::Fleets);
}

/// Says which logins fail, and that a fleet has no host. What no process has said for a minute is over; but of what cannot be seen just
/// now, nothing is said at all.
async fn say(core: &Core, fleet: &ProxyFleet, view: &FleetView, blind: &mut Blind) {
    let matrix = view.matrix.clone().map_or_else(|| Ok(Matrix::default()), serde_json::from_value);
    let matrix: Matrix = match matrix {
        Ok(matrix) => matrix,
        Err(e) => return tracing::warn!(fleet = view.fleet, "the login matrix cannot be read: {e}"),
    };
    let group = view.group.as_ref();
    let no_host = group.and_then(|group| domain::signal::of_group(&core.inventory, fleet, group));
    let (mut said, at) = (Ok(()), core.clock.now());
    for signal in domain::signal::of_logins(&fleet.id, &matrix).into_iter().chain(no_host) {
        let received = Received { signal: &signal, delivery: None, body: None, at };
        said = said.and(core.soon(store::signals::receive(&core.pool, received)).await.map(drop));
    }
    let unseen = blind.lately(domain::signal::unseen(fleet, group, &matrix), at);
    let calm = core.soon(store::signals::prober_is_calm(&core.pool, &fleet.id, &unseen, at - CALM, at)).await;
    if let Err(e) = said.and(calm.map(drop)) {
        tracing::warn!(fleet = view.fleet, "what the prober says was not kept: {e}");
    }
    core.bell.ring(Topic::Signals);
}

/// Ends what was said of fleets that the inventory does not have any more: no round looks after them. A process that still has one,
/// while a deploy lasts, says it again and again, and what was said lately is left alone.
async fn end_unknown(core: &Core) {
    let known: Vec<String> = core.inventory.fleets.iter().map(|fleet| fleet.id.clone()).collect();
    let at = core.clock.now();
    match core.soon(store::signals::prober_is_gone(&core.pool, &known, at - CALM, at)).await {
        Ok(0) => {}
        Ok(_) => core.bell.ring(Topic::Signals),
        Err(e) => tracing::warn!("what was said of fleets that are gone was not ended: {e}"),
    }
}

/// The share of failed tries through the hosts, per cluster.
fn login_failures(matrix: &Value, view: &FleetView) -> Vec<Sample> {
    let mut shares: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for cell in matrix.get("via").and_then(Value::as_array).into_iter().flatten() {
        let number = |field: &str| cell.get(field).and_then(Value::as_f64).unwrap_or_default();
        if let Some(cluster) = cell.get("cluster").and_then(Value::as_str) {
            let share = shares.entry(cluster).or_default();
            share.0 += number("failed");
            share.1 += number("tries");
        }
    }
    shares
        .into_iter()
        .filter(|(_, (_, tries))| *tries > 0.0)
        .map(|(cluster, (failed, tries))| Sample {
            subject: cluster.into(),
            at: view.at,
            value: failed / tries,
        })
        .collect()
}

async fn add(core: &Core, series: &str, samples: &[Sample]) {
    if let Err(e) = core.soon(store::fleets::add_samples(&core.pool, series, samples)).await {
        tracing::warn!(series, "samples were not kept: {e}");
    }
}

async fn observe(core: &Core, name: &str, input: Value) -> Result<Value, ActionError> {
    let action = core
        .registry
        .get(name)
        .ok_or_else(|| ActionError::refused("unknown_action", format!("there is no action `{name}`")))?;
    core.observer.once(action, &input).await.result.clone().map(|seen| Value::clone(&seen))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_seen_is_over_only_when_it_has_been_seen_for_as_long_as_makes_it_over() {
        let at = |seconds| Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let fleet: ProxyFleet = serde_json::from_value(json!({
            "id": "us", "region": "r", "group": "g", "clusters": ["a", "b"],
            "admin": { "user": "admin", "password": { "env": "ADMIN" } },
        }))
        .unwrap();
        let mut blind = Blind::before(&fleet, at(0));
        let all = ["logins_fail/us/a", "logins_fail/us/b", "no_host_in_service/us"];
        assert_eq!(blind.lately(Vec::new(), at(59)), all);
        assert_eq!(blind.lately(Vec::new(), at(60)), [""; 0]);
        let b = || vec!["logins_fail/us/b".to_owned()];
        assert_eq!(blind.lately(b(), at(3600)), b());
        assert_eq!(blind.lately(Vec::new(), at(3610)), b(), "one round that sees it again says little");
        assert_eq!(blind.lately(Vec::new(), at(3660)), [""; 0]);
    }
}
