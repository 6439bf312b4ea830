//! The prober over a fleet that is drawn by hand: what it says when hosts are gone, and of what it cannot see.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::action::{ActionError, Ctx, ErrorClass, Observe, Registry};
use domain::inventory::Inventory;
use domain::notice::Channels;
use domain::signal::{PROBER, Signal};
use engine::clock::ScaledClock;
use engine::{Engine, Library, Parts, Settings, WatchSettings};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use store::fleets::FleetView;
use store::private::TestDb;
use store::signals::{SignalFilter, SignalRow};
use tokio::time::{Instant, timeout};

/// How the fleet is.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// Hosts in service; nothing, when the group cannot be read.
    hosts: Option<Vec<&'static str>>,
    /// The cluster that cannot be tried.
    blind: Option<&'static str>,
    /// The cluster to which every login through hosts fails.
    sick: Option<&'static str>,
    /// The group that is asked for in vain: its region answers nobody.
    hangs: Option<&'static str>,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Seen>>);

#[derive(Deserialize, JsonSchema)]
struct Any {
    #[serde(default)]
    hosts: Vec<Value>,
    #[serde(default)]
    clusters: Vec<String>,
    #[serde(default)]
    group: String,
}

struct Group(World);

impl Observe for Group {
    const NAME: &'static str = "autoscaling.describe_group";
    const SUMMARY: &'static str = "Looks";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Any;
    type Output = Value;

    async fn observe(&self, _ctx: &Ctx, input: &Any) -> Result<Value, ActionError> {
        let hangs = self.0.0.lock().unwrap().hangs;
        if hangs == Some(input.group.as_str()) {
            std::future::pending().await
        }
        let Some(hosts) = self.0.0.lock().unwrap().hosts.clone() else { return Err(dark()) };
        let serving: Vec<_> = hosts.iter().map(|id| json!({ "id": id, "ip": "10.0.0.1" })).collect();
        Ok(
            json!({ "in_service": serving, "ids": hosts, "pending": [], "leaving": [], "other": [], "desired": 2, "suspended": [] }),
        )
    }

    fn command(&self, _input: &Any) -> String {
        String::new()
    }
}

struct Logins(World);

impl Observe for Logins {
    const NAME: &'static str = "mysql.login_matrix";
    const SUMMARY: &'static str = "Looks";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Any;
    type Output = Value;

    async fn observe(&self, _ctx: &Ctx, input: &Any) -> Result<Value, ActionError> {
        let seen = self.0.0.lock().unwrap().clone();
        let cluster = input.clusters[0].as_str();
        if seen.blind == Some(cluster) {
            return Err(dark());
        }
        let failed = if seen.sick == Some(cluster) { 5 } else { 0 };
        let via = |host: &Value| json!({ "host": host["id"], "cluster": cluster, "tries": 5, "failed": failed, "error": { "kind": "access_denied" } });
        let direct =
            json!({ "host": "direct", "cluster": cluster, "tries": 5, "failed": 0, "read_only": false });
        Ok(json!({ "direct": [direct], "via": input.hosts.iter().map(via).collect::<Vec<_>>() }))
    }

    fn command(&self, _input: &Any) -> String {
        String::new()
    }
}

/// A metrics store that answers nobody.
struct Metrics;

impl Observe for Metrics {
    const NAME: &'static str = "metrics.query";
    const SUMMARY: &'static str = "Hangs";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Any;
    type Output = Value;

    async fn observe(&self, _ctx: &Ctx, _input: &Any) -> Result<Value, ActionError> {
        std::future::pending().await
    }

    fn command(&self, _input: &Any) -> String {
        String::new()
    }
}

fn dark() -> ActionError {
    ActionError::new(ErrorClass::Transient, "dark", "nothing can be seen")
}

struct Bench {
    db: TestDb,
    engine: Engine,
    world: World,
}

impl Bench {
    async fn new(seen: Seen) -> Self {
        Self::of(seen, None, &[]).await
    }

    /// With what is asked of the metrics store, and with more fleets, each of one cluster and named like its group.
    async fn of(seen: Seen, error_share_query: Option<String>, more: &[&str]) -> Self {
        let (db, world) = (TestDb::new().await.unwrap(), World(Arc::new(Mutex::new(seen))));
        let account = json!({ "user": "probe", "password": { "file": "p" } });
        let cluster = |id: &str| json!({ "id": id, "region": "eu-west-1", "endpoint": id, "customers_percent": 1.0, "probe": account });
        let fleet = |id: &str, group: &str, clusters: &[&str]| json!({ "id": id, "region": "eu-west-1", "group": group, "clusters": clusters, "admin": account });
        let clusters: Vec<Value> = ["a", "b"].iter().chain(more).map(|id| cluster(id)).collect();
        let others = more.iter().map(|id| fleet(id, id, &[id]));
        let fleets: Vec<Value> = std::iter::once(fleet("f", "g", &["a", "b"])).chain(others).collect();
        let inventory = json!({ "clusters": clusters, "fleets": fleets });
        let inventory: Inventory = serde_json::from_value(inventory).unwrap();
        let registry = Registry::default()
            .observing(Group(world.clone()))
            .observing(Logins(world.clone()))
            .observing(Metrics);
        let engine = Engine::launch(Parts {
            channels: Channels::new(),
            pool: db.pool().clone(),
            library: Library::open(std::iter::empty(), &registry),
            registry,
            inventory: Arc::new(inventory),
            clock: Arc::new(ScaledClock::set("2024-05-07T14:42:00Z".parse().unwrap(), 100.0)),
            settings: Settings::default(),
        })
        .await
        .unwrap();
        engine.watch(WatchSettings {
            every: Duration::from_secs(5),
            at_most_every: Duration::from_millis(10),
            error_share_query,
            keep: Duration::from_secs(3600),
            alarms: None,
        });
        Self { db, engine, world }
    }

    fn is(&self, seen: Seen) {
        *self.world.0.lock().unwrap() = seen;
    }

    /// Waits until the newest view of the first fleet, and the signals, are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&FleetView, &[SignalRow]) -> bool) {
        let first = |views: &[FleetView], signals: &[SignalRow]| {
            views.first().is_some_and(|view| wanted(view, signals))
        };
        self.until_all(what, first).await;
    }

    /// The same with the views of all fleets.
    async fn until_all(&self, what: &str, wanted: impl Fn(&[FleetView], &[SignalRow]) -> bool) {
        let (mut rings, end) = (self.engine.listen(), Instant::now() + Duration::from_secs(60));
        loop {
            let views = store::fleets::all(self.db.pool()).await.unwrap();
            let signals = store::signals::list(self.db.pool(), SignalFilter::default(), 100).await.unwrap();
            if wanted(&views, &signals) {
                return;
            }
            assert!(Instant::now() < end, "never {what}: {views:#?} {signals:#?}");
            let _ = timeout(Duration::from_millis(200), rings.recv()).await;
        }
    }
}

fn is(signals: &[SignalRow], kind: &str, state: &str) -> bool {
    signals.iter().any(|signal| signal.kind == kind && signal.state == state)
}

fn clusters(view: &FleetView, side: &str) -> usize {
    view.matrix.as_ref().and_then(|matrix| matrix[side].as_array()).map_or(0, Vec::len)
}

#[tokio::test]
async fn a_fleet_without_hosts_is_said_and_its_clusters_are_still_tried_directly() {
    let hosts = || Some(vec!["i-1", "i-2"]);
    let bench = Bench::new(Seen { hosts: Some(Vec::new()), ..Seen::default() }).await;
    bench.until("said", |_, signals| is(signals, "no_host_in_service", "firing")).await;
    bench.until("tried", |view, _| (clusters(view, "direct"), clusters(view, "via")) == (2, 0)).await;
    // Nobody knows whether they are back; but direct logins need no group.
    bench.is(Seen::default());
    bench.until("blind", |view, _| view.error.is_some() && clusters(view, "direct") == 2).await;
    let blind_since = bench.engine.clock().now();
    bench.until("blind for long", |view, _| (view.at - blind_since).num_seconds() > 120).await;
    bench.until("still said", |_, signals| is(signals, "no_host_in_service", "firing")).await;
    bench.is(Seen { hosts: hosts(), ..Seen::default() });
    bench.until("over", |_, signals| is(signals, "no_host_in_service", "resolved")).await;
}

#[tokio::test]
async fn what_the_prober_said_of_a_cluster_is_not_over_because_it_cannot_be_tried_any_more() {
    let hosts = || Some(vec!["i-1", "i-2"]);
    let bench = Bench::new(Seen { hosts: hosts(), sick: Some("b"), ..Seen::default() }).await;
    bench.until("said", |_, signals| is(signals, "logins_fail", "firing")).await;
    // It cannot be tried itself, and then nobody knows through which hosts: direct logins were well all the time.
    let cannot_be_tried = Seen { hosts: hosts(), blind: Some("b"), ..Seen::default() };
    let no_host_is_known = Seen { sick: Some("b"), ..Seen::default() };
    for (blind, seen) in [(cannot_be_tried, 1), (no_host_is_known, 2)] {
        bench.is(blind);
        let blind_since = bench.engine.clock().now();
        bench
            .until("blind for long", |view, _| {
                (view.at - blind_since).num_seconds() > 180 && clusters(view, "direct") == seen
            })
            .await;
        bench.until("still said", |_, signals| is(signals, "logins_fail", "firing")).await;
    }
    bench.is(Seen { hosts: hosts(), ..Seen::default() });
    bench.until("over", |_, signals| is(signals, "logins_fail", "resolved")).await;
}

#[tokio::test]
async fn a_metrics_store_and_a_region_that_hang_hold_back_no_other_fleet() {
    let hosts = || Some(vec!["i-1", "i-2"]);
    let seen = Seen { hosts: hosts(), sick: Some("b"), hangs: Some("z"), ..Seen::default() };
    let bench = Bench::of(seen, Some("error_share".into()), &["z"]).await;
    let logins_fail = |signals: &[SignalRow]| is(signals, "logins_fail", "firing");
    bench.until("said", |view, signals| clusters(view, "via") == 4 && logins_fail(signals)).await;
    // Of the region that hangs it is told that it was not seen; its cluster is tried all the same.
    bench
        .until_all("told", |views, _| {
            views.iter().any(|view| {
                let error = view.error.as_deref().unwrap_or_default();
                view.fleet == "z" && error.contains("no answer in time") && clusters(view, "direct") == 1
            })
        })
        .await;
    // And the rounds go on.
    let before = bench.engine.clock().now();
    bench.until("again", |view, _| view.at > before && clusters(view, "via") == 4).await;
}

#[tokio::test]
async fn what_was_said_of_a_fleet_that_has_left_the_inventory_is_over_soon() {
    let bench = Bench::new(Seen { hosts: Some(vec!["i-1"]), ..Seen::default() }).await;
    let signal: Signal = serde_json::from_value(json!({
        "source": PROBER, "kind": "no_host_in_service", "fingerprint": "no_host_in_service/old", "state": "firing",
        "summary": "old has no host in service.", "labels": { "fleet": "old" },
    }))
    .unwrap();
    bench.engine.receive(&signal, None, None).await.unwrap();
    bench.until("over", |_, signals| is(signals, "no_host_in_service", "resolved")).await;
}
