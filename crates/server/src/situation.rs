//! How things are, worked out once for the page and for the API: fleets, login matrix, errors, findings, runs, locks.
//!
//! Read from Postgres alone, so it is shown also while AWS is down. How old each view is stands beside it, and what is too
//! old is never shown as if it were new.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::incident::Incident;
use domain::inventory::ProxyFleet;
use serde::{Deserialize, Serialize};
use store::fleets::{FleetView, Sample};
use store::pages::{RunFilter, RunRow};
use store::signals::{SignalFilter, SignalRow};

use crate::app::App;
use crate::chart::{self, Chart};
use crate::error::Problem;
use crate::on_it::OnIt;
use crate::words;
use domain::advice::{self, Cell, Finding, Matrix};
use domain::brake::{EVERYTHING, Freeze, KillSwitch};
use engine::InForce;
use store::locks::Held;

/// So many signals are shown; the ledger has them all.
const SIGNALS: i64 = 50;
/// What was not told is shown for so long: a message is tried for about a day.
const UNTOLD: TimeDelta = TimeDelta::days(2);

/// What is older than this (clock time) is stale.
fn stale_after() -> TimeDelta {
    TimeDelta::seconds(60)
}

/// What customers see, by the metrics source.
const ERRORS: &str = "Share of requests that fail";

/// How far back the chart looks (clock time).
fn window() -> TimeDelta {
    TimeDelta::minutes(60)
}

/// And how far at least.
fn least_window() -> TimeDelta {
    TimeDelta::minutes(10)
}

/// How things are.
#[derive(Debug, Serialize)]
pub(crate) struct Situation {
    pub(crate) at: Timestamp,
    /// What is wrong, the worst first.
    pub(crate) findings: Vec<Found>,
    /// What could not be seen, in sentences: as long as there is any, nobody can say that all is well.
    pub(crate) unseen: Vec<String>,
    /// Everything was seen just now, and nothing was found to be wrong. Every face asks this alone before it says so.
    pub(crate) well: bool,
    pub(crate) fleets: Vec<Fleet>,
    pub(crate) clusters: Vec<Cluster>,
    /// Incidents that are open.
    pub(crate) incidents: Vec<Incident>,
    /// Runs that have not ended.
    pub(crate) runs: Vec<RunRow>,
    /// Kill switches that are on.
    pub(crate) switches: Vec<KillSwitch>,
    /// Freezes that are on, or begin within a day.
    pub(crate) freezes: Vec<Freeze>,
    pub(crate) locks: Vec<Held>,
    /// Signals that fire, each with what became of it: first those that offer something, then the newest.
    pub(crate) signals: Vec<SignalRow>,
    /// How many fire, shown or not.
    pub(crate) firing: i64,
    /// Where somebody went on alone, and nobody has looked at it yet.
    pub(crate) reviews: Vec<store::reviews::Review>,
    /// What would stop if it were needed now.
    pub(crate) not_ready: Vec<engine::Readiness>,
    /// What people elsewhere were not told of late.
    pub(crate) untold: Vec<store::outbox::Untold>,
    #[serde(skip)]
    pub(crate) chart: Option<Chart>,
}

/// What is wrong, and who is on it already.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    #[serde(flatten)]
    pub(crate) finding: Finding,
    /// The run or the person that holds a target of what is advised, or the run that will.
    pub(crate) on_it: Option<OnIt>,
}

impl Found {
    async fn of(app: &App, finding: Finding, locks: &[Held], wanted: &[Held]) -> Result<Self, Problem> {
        let inputs = finding.runbook.iter().flat_map(|advised| &advised.inputs);
        let targets: Vec<String> = inputs.map(|(kind, id)| format!("{kind}:{id}")).collect();
        // Who holds it comes before who only wants it.
        let held = locks.iter().chain(wanted).find(|held| targets.contains(&held.target));
        let on_it = match held {
            Some(held) => Some(OnIt::of(app, held.clone()).await?),
            None => None,
        };
        Ok(Self { finding, on_it })
    }
}

/// A proxy fleet and what was last seen of it.
#[derive(Debug, Serialize)]
pub(crate) struct Fleet {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) group: String,
    /// When it was seen.
    pub(crate) seen_at: Option<Timestamp>,
    /// Seconds since then (clock time).
    pub(crate) age_s: Option<i64>,
    /// Too old to act on, or never seen.
    pub(crate) stale: bool,
    /// Why something is missing.
    pub(crate) error: Option<String>,
    pub(crate) desired: Option<i64>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) suspended: Vec<String>,
    /// Clusters that are reached through it, in the inventory's order: the matrix's columns.
    pub(crate) clusters: Vec<String>,
    pub(crate) matrix: Option<Matrix>,
}

/// A host of a fleet.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Host {
    pub(crate) id: String,
    pub(crate) zone: String,
    pub(crate) address: String,
    /// `in service`, `starting`, `leaving`, `other`.
    pub(crate) state: &'static str,
    pub(crate) protected: bool,
    pub(crate) healthy: bool,
}

/// A cluster and its customers' errors.
#[derive(Debug, Serialize)]
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) customers_percent: f64,
    /// The newest share of failed requests (or, where those are not known, of failed login tries), 0 to 1.
    pub(crate) error_share: Option<f64>,
}

impl Situation {
    /// How many signals fire that are not shown.
    pub(crate) fn more_signals(&self) -> usize {
        usize::try_from(self.firing).unwrap_or_default().saturating_sub(self.signals.len())
    }

    /// Is everything stopped, not just one runbook?
    pub(crate) fn all_stopped(&self) -> bool {
        self.switches.iter().any(|s| s.scope == EVERYTHING)
    }
}

/// Reads how things are.
pub(crate) async fn read(app: &App) -> Result<Situation, Problem> {
    let (pool, now) = (app.pool(), app.now());
    let inventory = app.engine().inventory();
    let views = store::fleets::all(pool).await?;
    let mut series = ERRORS;
    // Another process's clock may be ahead of this one's.
    let span = (now - window(), now + window());
    let mut samples = store::fleets::samples(pool, "error_share", span).await?;
    if samples.is_empty() {
        series = "Share of login tries that fail";
        samples = store::fleets::samples(pool, "login_failures", span).await?;
    }
    let runs = store::pages::runs(pool, &RunFilter { open: true, ..RunFilter::default() }, 50).await?;
    let InForce { switches, mut freezes, locks } = app.engine().brakes().in_force().await?;
    freezes.retain(|f| f.starts - now < TimeDelta::days(1));
    let reviews = store::reviews::open(pool).await?;
    let mut not_ready = app.engine().readiness().await?;
    not_ready.retain(|row| row.shown.as_ref().is_some_and(|shown| shown.ready == Some(false)));
    let untold = store::outbox::untold(pool, now - UNTOLD).await?;
    let signals = signals(app).await?;
    let firing = store::signals::firing(pool).await?;
    let incidents = store::incidents::now_open(pool).await?;

    let fleets: Vec<Fleet> = inventory
        .fleets
        .iter()
        .map(|fleet| seen(fleet, views.iter().find(|v| v.fleet == fleet.id), now))
        .collect();
    let mut findings: Vec<Finding> = Vec::new();
    for (fleet, known) in fleets.iter().zip(&inventory.fleets).filter(|(fleet, _)| !fleet.stale) {
        let group = views.iter().find(|v| v.fleet == fleet.id).and_then(|v| v.group.as_ref());
        findings.extend(group.and_then(|group| advice::no_host(inventory, known, group)));
        findings.extend(fleet.matrix.iter().flat_map(|matrix| advice::logins(&fleet.id, matrix)));
    }
    let newest = newest(&samples, now);
    if series == ERRORS {
        findings.extend(advice::unexplained(&newest, &findings));
    }
    let clusters = inventory
        .clusters
        .iter()
        .map(|cluster| Cluster {
            id: cluster.id.clone(),
            region: cluster.region.clone(),
            customers_percent: cluster.customers_percent,
            error_share: newest.iter().find(|(id, _)| *id == cluster.id).map(|(_, value)| *value),
        })
        .collect();
    // From the first number on: an hour of nothing before it tells nothing.
    let first = samples.iter().map(|s| s.at).min().unwrap_or(now);
    let chart = chart::draw(series, &samples, first.min(now - least_window()), now);
    // Of thousands of runs that wait, it reads a line each: only where somebody is told who is on it.
    let wanted = if findings.is_empty() { Vec::new() } else { store::locks::wanted(pool).await? };
    let mut found = Vec::with_capacity(findings.len());
    for finding in findings {
        found.push(Found::of(app, finding, &locks, &wanted).await?);
    }
    let findings = found;
    let mut unseen = unseen(&fleets);
    if app.settings().watches_errors {
        let said = if series == ERRORS { samples.as_slice() } else { &[] };
        unseen.extend(errors_unseen(said, &newest, now));
    }
    Ok(Situation {
        at: now,
        well: findings.is_empty() && unseen.is_empty(),
        findings,
        unseen,
        fleets,
        clusters,
        incidents,
        runs,
        switches,
        freezes,
        locks,
        signals,
        firing,
        reviews,
        not_ready,
        untold,
        chart,
    })
}

/// What fires: what somebody can start with one click is never pushed out by what came after it.
async fn signals(app: &App) -> Result<Vec<SignalRow>, Problem> {
    let mut signals = store::signals::offers(app.pool(), None, SIGNALS).await?;
    let firing = SignalFilter { firing: true, before: None };
    let newest = store::signals::list(app.pool(), firing, SIGNALS).await?;
    let room = usize::try_from(SIGNALS).unwrap_or(usize::MAX).saturating_sub(signals.len());
    let others = newest.into_iter().filter(|signal| !signals.iter().any(|offer| offer.id == signal.id));
    let others: Vec<_> = others.take(room).collect();
    signals.extend(others);
    Ok(signals)
}

/// What could not be seen of fleets. A view that is new says nothing of what is not in it.
fn unseen(fleets: &[Fleet]) -> Vec<String> {
    if fleets.is_empty() {
        return vec!["The inventory names no proxy fleet, so there is nothing to watch.".into()];
    }
    fleets.iter().filter_map(Fleet::unseen).collect()
}

/// What is not seen any more of what the metrics source says; a cluster of which it never said anything may have no such number.
fn errors_unseen(samples: &[Sample], newest: &[(String, f64)], now: Timestamp) -> Option<String> {
    if samples.is_empty() {
        return Some(
            "How many requests fail is not known: the metrics source has not said so in the last hour."
                .into(),
        );
    }
    let mut silent: Vec<(&str, Timestamp)> = Vec::new();
    for sample in samples.iter().filter(|s| !newest.iter().any(|(subject, _)| *subject == s.subject)) {
        match silent.last_mut() {
            Some((subject, at)) if *subject == sample.subject => *at = sample.at,
            _ => silent.push((&sample.subject, sample.at)),
        }
    }
    let last = silent.iter().map(|(_, at)| *at).max()?;
    let whose: Vec<_> = silent.iter().map(|(subject, _)| *subject).collect();
    let ago = words::span(now - last);
    Some(format!(
        "How many requests of {} fail was last said {ago} ago, by the metrics source.",
        whose.join(", ")
    ))
}

/// The newest value of each subject that is not stale.
fn newest(samples: &[Sample], now: Timestamp) -> Vec<(String, f64)> {
    let mut newest: Vec<(String, f64)> = Vec::new();
    for sample in samples.iter().filter(|s| now - s.at <= stale_after()) {
        match newest.last_mut() {
            Some((subject, value)) if *subject == sample.subject => *value = sample.value,
            _ => newest.push((sample.subject.clone(), sample.value)),
        }
    }
    newest
}

/// The group as `autoscaling.describe_group` tells it; what it does not tell stays empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    desired: Option<i64>,
    in_service: Vec<Serving>,
    pending: Vec<String>,
    leaving: Vec<String>,
    other: Vec<String>,
    suspended: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Serving {
    id: String,
    az: String,
    ip: String,
    protected: bool,
    healthy: bool,
}

fn seen(fleet: &ProxyFleet, view: Option<&FleetView>, now: Timestamp) -> Fleet {
    let mut error = view.and_then(|v| v.error.clone());
    let mut unreadable = |what: &str, e: serde_json::Error| {
        error.get_or_insert_with(|| format!("The {what} that was seen cannot be read: {e}"));
    };
    let group: Option<Group> = view
        .and_then(|v| v.group.clone())
        .and_then(|g| serde_json::from_value(g).map_err(|e| unreadable("group", e)).ok());
    let matrix: Option<Matrix> = view
        .and_then(|v| v.matrix.clone())
        .and_then(|m| serde_json::from_value(m).map_err(|e| unreadable("login matrix", e)).ok());
    let group = group.unwrap_or_default();
    let mut hosts: Vec<Host> = group
        .in_service
        .into_iter()
        .map(|h| Host {
            id: h.id,
            zone: h.az,
            address: h.ip,
            state: "in service",
            protected: h.protected,
            healthy: h.healthy,
        })
        .collect();
    for (ids, state) in [(group.pending, "starting"), (group.leaving, "leaving"), (group.other, "other")] {
        hosts.extend(ids.into_iter().map(|id| Host {
            id,
            zone: String::new(),
            address: String::new(),
            state,
            protected: false,
            healthy: false,
        }));
    }
    let age = view.map(|v| now - v.at);
    Fleet {
        id: fleet.id.clone(),
        region: fleet.region.clone(),
        group: fleet.group.clone(),
        seen_at: view.map(|v| v.at),
        age_s: age.map(|a| a.num_seconds()),
        stale: age.is_none_or(|a| a > stale_after()),
        error,
        desired: group.desired,
        hosts,
        suspended: group.suspended,
        clusters: fleet.clusters.clone(),
        matrix,
    }
}

impl Fleet {
    /// How old the view is, in words.
    pub(crate) fn age(&self) -> String {
        match self.age_s {
            None => "never seen".into(),
            Some(s) => format!("seen {} ago", words::span(TimeDelta::seconds(s))),
        }
    }

    /// What could not be seen of it, in a sentence.
    fn unseen(&self) -> Option<String> {
        let id = &self.id;
        match (&self.error, self.age_s) {
            (_, None) => return Some(format!("{id} was never seen: nothing is known of it.")),
            (_, Some(_)) if self.stale => {
                return Some(format!("What is known of {id} is too old to say how it is: {}.", self.age()));
            }
            (Some(error), _) => return Some(format!("Not all of {id} could be seen. {error}")),
            (None, _) => {}
        }
        // Where there is no host, that is found to be wrong.
        let hosts = self.hosts.iter().any(|host| host.state == "in service");
        let lacks = |cells: Option<&Vec<Cell>>, cluster: &String| {
            !cells.into_iter().flatten().any(|cell| cell.cluster == *cluster && cell.tries > 0)
        };
        let matrix = self.matrix.as_ref();
        let untried = |cluster: &&String| {
            lacks(matrix.map(|m| &m.direct), cluster) || (hosts && lacks(matrix.map(|m| &m.via), cluster))
        };
        let untried: Vec<&str> = self.clusters.iter().filter(untried).map(String::as_str).collect();
        (!untried.is_empty()).then(|| {
            format!("Not all logins of {id} were tried within the last minute: to {}.", untried.join(", "))
        })
    }

    /// The direct logins, in the order of the columns.
    pub(crate) fn direct(&self) -> Vec<Heat> {
        self.row(|m| &m.direct, "direct")
    }

    /// The logins through a host, in the order of the columns.
    pub(crate) fn through(&self, host: &str) -> Vec<Heat> {
        self.row(|m| &m.via, host)
    }

    /// What a host itself counted in the last minute, in words; nothing of one that did not tell.
    pub(crate) fn counted(&self, host: &str) -> Option<(String, bool)> {
        let counted = self.matrix.as_ref()?.hosts.iter().find(|counted| counted.host == host)?;
        let tried = counted.connected + counted.failed;
        let clients = words::many(counted.clients, "client");
        let says = match counted.failed {
            0 => clients,
            failed => format!("{clients}, {failed} of {} failed", words::many(tried, "connection")),
        };
        Some((says, counted.failed > 0))
    }

    /// Did any host tell what it counts?
    pub(crate) fn counts(&self) -> bool {
        self.matrix.as_ref().is_some_and(|matrix| !matrix.hosts.is_empty())
    }

    fn row(&self, cells: fn(&Matrix) -> &Vec<Cell>, host: &str) -> Vec<Heat> {
        let cells = self.matrix.as_ref().map(cells);
        self.clusters
            .iter()
            .map(|cluster| {
                let cell = cells.and_then(|c| c.iter().find(|c| c.cluster == *cluster && c.host == host));
                Heat::of(cluster, host, cell)
            })
            .collect()
    }
}

/// A cell of the heat map.
#[derive(Debug)]
pub(crate) struct Heat {
    /// `h0` (all well) to `h4` (all fail), or `none`.
    pub(crate) class: &'static str,
    /// `ok`, `31 %`, `–`.
    pub(crate) text: String,
    /// In a sentence.
    pub(crate) says: String,
}

impl Heat {
    fn of(cluster: &str, host: &str, cell: Option<&Cell>) -> Self {
        let path = if host == "direct" { "directly".to_owned() } else { format!("through {host}") };
        let Some((cell, failed)) = cell.and_then(|c| Some((c, c.failed_share()?))) else {
            return Self { class: "none", text: "–".into(), says: format!("{cluster} {path}: not tried") };
        };
        let class = match failed {
            f if f <= 0.0 => "h0",
            f if f < 0.25 => "h1",
            f if f < 0.5 => "h2",
            f if f < 1.0 => "h3",
            _ => "h4",
        };
        let text = if cell.failed == 0 { "ok".into() } else { words::share(&failed) };
        let why = cell.error.as_ref().map_or_else(String::new, |e| format!(": {}", e.message));
        let says = format!("{cluster} {path}: {} of {} tries failed{why}", cell.failed, cell.tries);
        Self { class, text, says }
    }
}
