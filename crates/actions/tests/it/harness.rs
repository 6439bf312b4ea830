//! What all tests share: an inventory over a simulator, and the life of an action as the engine leads it.

use std::io::Read;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actions::{ProbeLimits, Settings};
use chrono::{DateTime, Utc};
use domain::action::{ActionError, CallLog, CallRecord, Ctx, Gate, ObjectChange, Registry, UndoCall};
use domain::inventory::{Cluster, Credentials, Inventory, ProxyFleet, SecretRef};
use domain::{Clock, Timestamp};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sim::{Options, Sim, World};
use tempfile::TempDir;

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const GROUP: &str = "proxysql-us";

/// The simulator's clock as ours.
struct SimClock(sim::Clock);

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move { clock.sleep(duration).await })
    }
}

/// A clock that stands still.
pub(crate) struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        DateTime::<Utc>::UNIX_EPOCH
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(futures::future::pending())
    }
}

/// Actions, and what they are given.
pub(crate) struct Bench {
    pub(crate) registry: Registry,
    pub(crate) ctx: Ctx,
    _secrets: TempDir,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Done {
    /// Nothing was left to do.
    AlreadySo(Value),
    /// It was called.
    Applied {
        output: Value,
        changes: Vec<ObjectChange>,
        undo: Option<Box<UndoCall>>,
        predicted: Option<Value>,
    },
}

impl Done {
    pub(crate) fn output(&self) -> &Value {
        match self {
            Self::AlreadySo(output) | Self::Applied { output, .. } => output,
        }
    }

    pub(crate) fn undo(self) -> UndoCall {
        match self {
            Self::Applied { undo: Some(undo), .. } => *undo,
            other => panic!("no undo: {other:?}"),
        }
    }
}

impl Bench {
    pub(crate) async fn new(inventory: Inventory, settings: Settings, secrets: TempDir) -> Self {
        let registry = actions::registry(Arc::new(inventory), settings).await.unwrap();
        let ctx = Ctx {
            clock: Arc::new(Still),
            calls: CallLog::default(),
            gate: Gate::open(),
            deadline: Duration::from_secs(30),
            token: "run/step".into(),
        };
        Self { registry, ctx, _secrets: secrets }
    }

    pub(crate) async fn look(&self, action: &str, input: Value) -> Result<Value, ActionError> {
        let action = self.registry.get(action).unwrap_or_else(|| panic!("no action {action}"));
        action.validate(&input)?;
        action.observe(&self.ctx, &input).await
    }

    /// Looks, plans, and calls if something is left to do.
    pub(crate) async fn change(&self, action: &str, input: Value) -> Result<Done, ActionError> {
        let action = self.registry.get(action).unwrap_or_else(|| panic!("no action {action}"));
        action.validate(&input)?;
        let facts = action.observe(&self.ctx, &input).await?;
        if let Some(output) = action.settled(&input, &facts)? {
            return Ok(Done::AlreadySo(output));
        }
        let planned = action.plan(&input, &facts)?;
        if let Some(why) = planned.forbidden {
            return Err(why);
        }
        let output = action.apply(&self.ctx, &input, &facts).await?;
        let undo = action.undo(&input, &facts)?.map(Box::new);
        Ok(Done::Applied { output, changes: planned.changes, undo, predicted: planned.output })
    }

    pub(crate) async fn take_back(&self, undo: UndoCall) -> Result<Done, ActionError> {
        self.change(&undo.action, undo.input).await
    }

    pub(crate) fn calls(&self) -> Vec<CallRecord> {
        self.ctx.calls.take()
    }

    pub(crate) fn close_gate(&mut self) {
        self.ctx.gate = Gate::new(|| Err(domain::action::GateClosed("the lease has run out".into())));
    }
}

/// Somebody who takes connections only while the gate is asked, and says there whether one had come by then.
pub(crate) struct Doorkeeper {
    listener: Arc<std::net::TcpListener>,
    came: Arc<Mutex<Option<TcpStream>>>,
}

impl Doorkeeper {
    pub(crate) fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener: Arc::new(listener), came: Arc::default() }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// A gate that lets pass what asks before its connection stands, and nothing that asks when it does.
    pub(crate) fn gate(&self) -> Gate {
        let (listener, came) = (self.listener.clone(), self.came.clone());
        Gate::new(move || {
            let asked = Instant::now();
            // The kernel tells who connects a moment before it tells who listens.
            while asked.elapsed() < Duration::from_secs(1) {
                if let Ok((stream, _)) = listener.accept() {
                    *came.lock().unwrap() = Some(stream);
                    return Err(domain::action::GateClosed("the kill switch was thrown meanwhile".into()));
                }
                std::thread::yield_now();
            }
            Ok(())
        })
    }

    /// What came after the head of the request, until the other side went.
    pub(crate) fn body(&self) -> String {
        let mut stream =
            self.came.lock().unwrap().take().expect("a connection stood when the gate was asked");
        stream.set_nonblocking(false).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned()
    }
}

/// A simulator that stands still until it is stepped, with our actions on it.
pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) bench: Bench,
}

impl std::ops::Deref for Stage {
    type Target = Bench;

    fn deref(&self) -> &Bench {
        &self.bench
    }
}

impl Stage {
    /// The world of the incident, before anything goes wrong.
    pub(crate) async fn calm() -> Self {
        let world = World { faults: Vec::new(), ..World::incident_2024_05_07() };
        Self::with(world).await
    }

    pub(crate) async fn with(world: World) -> Self {
        let sim = Sim::start(world, Options { speed: 0.0, seed: 7, ..Options::default() }).await.unwrap();
        let (inventory, secrets) = inventory(&sim);
        let settings =
            Settings { aws_endpoint: Some(sim.endpoint().to_owned()), probe: quick(), ..Settings::default() };
        let mut bench = Bench::new(inventory, settings, secrets).await;
        bench.ctx.clock = Arc::new(SimClock(sim.clock()));
        Self { sim, bench }
    }

    pub(crate) async fn group(&self) -> Value {
        self.look("autoscaling.describe_group", json!({ "region": REGION, "group": GROUP })).await.unwrap()
    }

    /// Steps the clock until the group is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let group = self.group().await;
            if wanted(&group) {
                return group;
            }
            self.sim.clock().step(Duration::from_secs(5));
        }
        panic!("not within 50 simulated minutes: {:#}", self.group().await);
    }

    /// The changing calls that reached the simulator, by operation.
    pub(crate) fn changes(&self) -> Vec<String> {
        self.sim.ledger().into_iter().filter(|entry| entry.mutating).map(|entry| entry.operation).collect()
    }
}

/// Probes whose time-outs are short enough for a test that runs into one.
pub(crate) fn quick() -> ProbeLimits {
    ProbeLimits { connect: Duration::from_millis(800), ..ProbeLimits::default() }
}

/// A password in a file.
pub(crate) fn secret(folder: &TempDir, name: &str, value: &str) -> SecretRef {
    let path = folder.path().join(name);
    std::fs::write(&path, format!("{value}\n")).unwrap();
    SecretRef::File(path.display().to_string())
}

/// The simulator's world as an inventory.
pub(crate) fn inventory(sim: &Sim) -> (Inventory, TempDir) {
    let (info, folder) = (sim.world_info(), tempfile::tempdir().unwrap());
    let clusters = info
        .clusters
        .iter()
        .map(|cluster| Cluster {
            id: cluster.id.clone(),
            region: info.region.clone(),
            account: None,
            identifier: None,
            endpoint: cluster.endpoint.clone(),
            port: cluster.port,
            customers_percent: cluster.customers_percent,
            max_connections: cluster.max_connections,
            probe: Credentials {
                user: cluster.probe_user.clone(),
                password: secret(&folder, &cluster.id, &cluster.probe_password),
            },
        })
        .collect();
    let fleets = info
        .fleets
        .iter()
        .map(|fleet| ProxyFleet {
            id: "us".into(),
            region: fleet.region.clone(),
            account: None,
            group: fleet.asg.clone(),
            target_group: fleet.target_group_arn.clone(),
            port: fleet.mysql_port,
            admin_port: fleet.admin_port,
            admin: Credentials {
                user: fleet.admin_user.clone(),
                password: secret(&folder, &fleet.asg, &fleet.admin_password),
            },
            clusters: info
                .clusters
                .iter()
                .filter(|cluster| cluster.fleet == fleet.asg)
                .map(|cluster| cluster.id.clone())
                .collect(),
            backend_connections: fleet.backend_connections,
        })
        .collect();
    (Inventory { account: None, accounts: Vec::new(), clusters, fleets }, folder)
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{value}: {e}"))
}
