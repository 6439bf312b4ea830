//! The login prober and the symptom charts.
//!
//! Every few seconds each fleet's group is read, every cluster is logged in to directly and through every host, and the
//! customers' error share is asked of the metrics store, if one is configured. The newest view is kept for the situation
//! page, the numbers for its charts. What cannot be seen is said, never left as it was. Its looks are the shared observer's:
//! a run that waits for the same thing is served by them, and the other way round.

mod recent;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::action::ActionError;
use domain::inventory::ProxyFleet;
use serde_json::{Value, json};
use store::fleets::{FleetView, Sample};

use crate::{Core, Topic};
use recent::Recent;

const GROUP: &str = "autoscaling.describe_group";
const LOGINS: &str = "mysql.login_matrix";
const METRICS: &str = "metrics.query";

/// The actions that it looks with.
pub const WATCHES_WITH: [&str; 3] = [GROUP, LOGINS, METRICS];

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
}

pub(crate) async fn watch(core: Arc<Core>, settings: WatchSettings) {
    let mut recent: BTreeMap<String, Recent> = BTreeMap::new();
    loop {
        let looked = tokio::time::Instant::now();
        let wait = core.clock.sleep(settings.every);
        for fleet in &core.inventory.fleets {
            let mut view = look(&core, fleet).await;
            let samples =
                view.matrix.as_ref().map(|matrix| login_failures(matrix, &view)).unwrap_or_default();
            let recent = recent.entry(fleet.id.clone()).or_default();
            view.matrix = view.matrix.take().map(|round| recent.add(round));
            if view.matrix.is_none() {
                recent.forget();
            }
            if let Err(e) = store::fleets::put(&core.pool, &view).await {
                tracing::warn!(fleet = view.fleet, "the view was not kept: {e}");
            }
            add(&core, "login_failures", &samples).await;
        }
        if let Some(query) = &settings.error_share_query {
            match error_shares(&core, query).await {
                Ok(samples) => add(&core, "error_share", &samples).await,
                Err(e) => tracing::warn!("the customers' error share is not known: {e}"),
            }
        }
        let keep = TimeDelta::from_std(settings.keep).unwrap_or(TimeDelta::MAX);
        if let Err(e) = store::fleets::forget_before(&core.pool, core.clock.now() - keep).await {
            tracing::warn!("old samples were not forgotten: {e}");
        }
        core.bell.ring(Topic::Fleets);
        wait.await;
        tokio::time::sleep_until(looked + settings.at_most_every).await;
    }
}

/// The group, and the login matrix of its hosts.
async fn look(core: &Core, fleet: &ProxyFleet) -> FleetView {
    let mut view =
        FleetView { fleet: fleet.id.clone(), at: core.clock.now(), group: None, matrix: None, error: None };
    let group = json!({ "region": fleet.region, "group": fleet.group });
    match observe(core, GROUP, group).await {
        Ok(group) => view.group = Some(group),
        Err(e) => view.error = Some(format!("The group could not be read: {e}")),
    }
    let hosts = view.group.as_ref().and_then(|g| g.get("in_service")).and_then(Value::as_array);
    if let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty()) {
        let input = json!({ "fleet": fleet.id, "hosts": hosts, "tries": 5 });
        match observe(core, LOGINS, input).await {
            Ok(matrix) => view.matrix = Some(matrix),
            Err(e) => view.error = Some(format!("Logins could not be tried: {e}")),
        }
    }
    view
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

async fn error_shares(core: &Core, query: &str) -> Result<Vec<Sample>, ActionError> {
    let at = core.clock.now();
    let answer = observe(core, METRICS, json!({ "query": query })).await?;
    let samples = answer.get("samples").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(samples
        .iter()
        .filter_map(|sample| {
            let cluster = sample.pointer("/labels/cluster")?.as_str()?;
            let value = sample.get("value")?.as_f64().filter(|v| v.is_finite())?;
            Some(Sample { subject: cluster.to_owned(), at, value })
        })
        .collect())
}

async fn add(core: &Core, series: &str, samples: &[Sample]) {
    if let Err(e) = store::fleets::add_samples(&core.pool, series, samples).await {
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
