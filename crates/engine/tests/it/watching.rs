//! The prober over a fleet that is drawn by hand: what it says when hosts are gone, and of what it cannot see.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::action::{ActionError, Ctx, ErrorClass, Observe, Registry};
use domain::inventory::Inventory;
use domain::notice::Channels;
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
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Seen>>);

#[derive(Deserialize, JsonSchema)]
struct Any {
    #[serde(default)]
    hosts: Vec<Value>,
    #[serde(default)]
    clusters: Vec<String>,
}

struct Group(World);

impl Observe for Group {
    const NAME: &'static str = "autoscaling.describe_group";
    const SUMMARY: &'static str = "Looks";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Any;
    type Output = Value;

    async fn observe(&self, _ctx: &Ctx, _input: &Any) -> Result<Value, ActionError> {
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
        let (db, world) = (TestDb::new().await.unwrap(), World(Arc::new(Mutex::new(seen))));
        let account = json!({ "user": "probe", "password": { "file": "p" } });
        let cluster = |id: &str| json!({ "id": id, "region": "eu-west-1", "endpoint": id, "customers_percent": 1.0, "probe": account });
        let inventory: Inventory = serde_json::from_value(json!({
            "clusters": [cluster("a"), cluster("b")],
            "fleets": [{ "id": "f", "region": "eu-west-1", "group": "g", "clusters": ["a", "b"], "admin": account }],
        }))
        .unwrap();
        let registry = Registry::default().observing(Group(world.clone())).observing(Logins(world.clone()));
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
            error_share_query: None,
            keep: Duration::from_secs(3600),
            alarms: None,
        });
        Self { db, engine, world }
    }

    fn is(&self, seen: Seen) {
        *self.world.0.lock().unwrap() = seen;
    }

    /// Waits until the newest view and the signals are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&FleetView, &[SignalRow]) -> bool) {
        let (mut rings, end) = (self.engine.listen(), Instant::now() + Duration::from_secs(60));
        loop {
            let views = store::fleets::all(self.db.pool()).await.unwrap();
            let signals = store::signals::list(self.db.pool(), SignalFilter::default(), 100).await.unwrap();
            if views.first().is_some_and(|view| wanted(view, &signals)) {
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
