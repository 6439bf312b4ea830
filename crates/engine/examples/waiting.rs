//! What waiting costs: `cargo run --release -p engine --example waiting -- [RUNS] [WINDOW] [SETTLING]`.
//!
//! Starts ten runs, then as many as asked (10,000), on a private Postgres, in a process that holds the engine and nothing
//! else. Each run looks at its group, changes something, and waits for a condition on one of ten groups whose answers are
//! as large as those of real ones. When all wait and their subjects have become quiet, it prints what the process takes
//! (memory, processor) and what is asked of the outside per minute, by ten runs and by all. Then it changes every group at
//! once, and last it lets a second engine take all runs over.
//!
//! Linux only: memory and processor time are read from `/proc/self`.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::Actor;
use domain::action::{
    ActionError, CallRecord, Change, Ctx, Effect, ObjectChange, Observe, Registry, UndoCall,
};
use domain::inventory::{Cluster, Credentials, Inventory, ProxyFleet, SecretRef};
use engine::clock::SystemClock;
use engine::{Engine, Library, Parts, Settings, StartRequest};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::PgPool;
use store::private::TestDb;

/// The binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const GROUPS: usize = 10;
const RUNBOOK: &str = r#"
runbook: waiting
title: Wait for a group
when: To measure what waiting costs
risk: low
locks: ["bench:${inputs.mark}"]
inputs:
  group:
    type: string
    description: Which group
  mark:
    type: string
    description: What to set
steps:
  - id: before
    use: bench.describe_group
    with: { region: eu-west-1, group: "${inputs.group}" }
  - id: room
    assert: steps.before.max > size(steps.before.in_service)
    message: there is no room
  - id: set
    use: bench.set_mark
    with: { region: eu-west-1, mark: "${inputs.mark}" }
    undo: automatic
  - id: wait
    use: bench.describe_group
    with: { region: eu-west-1, group: "${inputs.group}" }
    until: size(out.in_service.filter(h, h.healthy)) > size(steps.before.in_service) + 1
    every: 5s
    timeout: 1d
"#;

/// Ten groups of twenty hosts; all grow by one host at a time.
struct World {
    more: AtomicI64,
    requests: AtomicU64,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GroupInput {
    region: String,
    group: String,
}

#[derive(Serialize, JsonSchema)]
struct Group {
    group: String,
    max: i64,
    in_service: Vec<Host>,
}

#[derive(Serialize, JsonSchema)]
struct Host {
    id: String,
    az: String,
    ip: String,
    protected: bool,
    healthy: bool,
    launched_at: String,
}

struct DescribeGroup(Arc<World>);

impl Observe for DescribeGroup {
    const NAME: &'static str = "bench.describe_group";
    const SUMMARY: &'static str = "Looks at a group";
    const PERMISSIONS: &'static [&'static str] = &["autoscaling:DescribeAutoScalingGroups"];
    type Input = GroupInput;
    type Output = Group;

    async fn observe(&self, ctx: &Ctx, input: &GroupInput) -> std::result::Result<Group, ActionError> {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(30)).await;
        ctx.calls.push(call(ctx, "DescribeAutoScalingGroups", &input.group, false));
        let hosts = 0..20 + self.0.more.load(Ordering::Relaxed);
        let host = |n| Host {
            id: format!("i-0123456789abc{n:04}"),
            az: "eu-west-1a".into(),
            ip: format!("10.0.0.{n}"),
            protected: false,
            healthy: true,
            launched_at: "2024-05-07T14:42:00Z".into(),
        };
        Ok(Group { group: input.group.clone(), max: 100, in_service: hosts.map(host).collect() })
    }

    fn command(&self, input: &GroupInput) -> String {
        format!("describe {}", input.group)
    }
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MarkInput {
    region: String,
    mark: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Mark {
    mark: Option<String>,
}

struct SetMark;

impl Change for SetMark {
    const NAME: &'static str = "bench.set_mark";
    const SUMMARY: &'static str = "Sets a mark";
    const PERMISSIONS: &'static [&'static str] = &["autoscaling:CreateOrUpdateTags"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    type Input = MarkInput;
    type Facts = Mark;
    type Output = Mark;

    async fn observe(&self, _ctx: &Ctx, _input: &MarkInput) -> std::result::Result<Mark, ActionError> {
        Ok(Mark { mark: None })
    }

    fn settled(&self, _input: &MarkInput, _facts: &Mark) -> Option<Mark> {
        None
    }

    fn plan(&self, input: &MarkInput, _facts: &Mark) -> std::result::Result<Vec<ObjectChange>, ActionError> {
        let (object, property) = ("group".to_owned(), "mark".to_owned());
        Ok(vec![ObjectChange { object, property, before: Value::Null, after: input.mark.clone().into() }])
    }

    fn predict(&self, _input: &MarkInput, _facts: &Mark) -> Option<Mark> {
        None
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        input: &MarkInput,
        _facts: &Mark,
    ) -> std::result::Result<Mark, ActionError> {
        ctx.calls.push(call(ctx, "CreateOrUpdateTags", &input.mark, true));
        Ok(Mark { mark: Some(input.mark.clone()) })
    }

    fn undo(&self, input: &MarkInput, _facts: &Mark) -> Option<UndoCall> {
        let input = json!({ "region": input.region, "mark": "" });
        Some(UndoCall::new(Self::NAME, input))
    }

    fn command(&self, input: &MarkInput) -> String {
        format!("mark {}", input.mark)
    }
}

fn call(ctx: &Ctx, operation: &str, target: &str, mutating: bool) -> CallRecord {
    CallRecord {
        at: ctx.clock.now(),
        service: "autoscaling".into(),
        operation: operation.into(),
        target: target.into(),
        request_id: Some(uuid::Uuid::now_v7().to_string()),
        status: "ok".into(),
        duration_ms: 30,
        mutating,
    }
}

/// As large as that of a company with some dozens of shards.
fn inventory() -> Inventory {
    let login = || Credentials { user: "probe".into(), password: SecretRef::Env("PROBE_PASSWORD".into()) };
    let cluster = |n: usize| Cluster {
        id: format!("shard-{n}"),
        region: "eu-west-1".into(),
        account: None,
        identifier: Some(format!("production-shard-{n}")),
        endpoint: format!("production-shard-{n}.cluster-abcdefghijkl.eu-west-1.rds.amazonaws.com"),
        port: 3306,
        customers_percent: 2.5,
        max_connections: 5000,
        probe: login(),
    };
    let fleet = |n: usize| ProxyFleet {
        id: format!("proxysql-{n}"),
        region: "eu-west-1".into(),
        account: None,
        group: format!("proxysql-{n}"),
        target_group: None,
        port: 6033,
        admin_port: 6032,
        admin: login(),
        clusters: (0..40).map(|n| format!("shard-{n}")).collect(),
        backend_connections: 1000,
    };
    Inventory {
        account: None,
        accounts: Vec::new(),
        clusters: (0..40).map(cluster).collect(),
        fleets: (0..4).map(fleet).collect(),
    }
}

async fn launch(pool: &PgPool, world: &Arc<World>) -> Result<Engine> {
    let registry = Registry::default().observing(DescribeGroup(world.clone())).changing(SetMark);
    let library = Library::open([("waiting.yaml".to_owned(), RUNBOOK.trim_start().to_owned())], &registry);
    if let Some(Err(mistakes)) = library.get("waiting").map(|shelf| shelf.runbook.clone()) {
        return Err(format!("{mistakes:?}").into());
    }
    let parts = Parts {
        channels: Default::default(),
        pool: pool.clone(),
        registry,
        inventory: Arc::new(inventory()),
        library,
        clock: Arc::new(SystemClock),
        // What is measured is waiting, not how well a lease is kept on a machine that has other things to do.
        settings: Settings { lease: Duration::from_secs(120), ..Settings::default() },
    };
    Ok(Engine::launch(parts).await?)
}

async fn start(engine: &Engine, runs: std::ops::Range<usize>) {
    let starts = futures::stream::iter(runs.map(|n| async move {
        let inputs = json!({ "group": format!("proxysql-{}", n % GROUPS), "mark": format!("run {n}") });
        let request = StartRequest {
            runbook: "waiting".into(),
            inputs: inputs.as_object().cloned().unwrap_or_else(Map::new),
            by: Actor::person("bench"),
            reason: None,
            idem_key: format!("key {n}"),
            plan: None,
            overrides: Default::default(),
            confirm: None,
            wait: false,
        };
        if let Err(e) = engine.start(request).await {
            println!("run {n} was not started: {e}");
            std::process::exit(1);
        }
    }));
    starts.buffer_unordered(16).for_each(|()| async {}).await;
}

/// How many entries of that kind there are.
async fn entries(pool: &PgPool, kind: &str) -> Result<i64> {
    let count = "SELECT count(*) FROM journal WHERE kind = $1";
    Ok(sqlx::query_scalar(count).bind(kind).fetch_one(pool).await?)
}

async fn until(pool: &PgPool, kind: &str, wanted: usize) -> Result<Duration> {
    let began = Instant::now();
    while entries(pool, kind).await? < i64::try_from(wanted)? {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(began.elapsed())
}

/// Resident memory in MB, from the line of that name.
fn memory(name: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such line")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kilobytes / 1024.0)
}

/// Processor time so far, in seconds; the kernel counts it in hundredths.
fn processor() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).ok_or("no ticks");
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

struct Steady {
    processor_percent: f64,
    requests_per_minute: f64,
}

async fn steady(world: &World, window: Duration) -> Result<Steady> {
    let (began, spent, asked) = (Instant::now(), processor()?, world.requests.load(Ordering::Relaxed));
    tokio::time::sleep(window).await;
    let seconds = began.elapsed().as_secs_f64();
    let requests = u32::try_from(world.requests.load(Ordering::Relaxed) - asked)?;
    Ok(Steady {
        processor_percent: (processor()? - spent) / seconds * 100.0,
        requests_per_minute: f64::from(requests) / seconds * 60.0,
    })
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let runs: usize = args.next().map_or(Ok(10_000), |n| n.parse())?;
    let window = Duration::from_secs(args.next().map_or(Ok(60), |n| n.parse())?);
    // Until a subject that nothing happens to is looked at as slowly as it ever will be.
    let settling = Duration::from_secs(args.next().map_or(Ok(150), |n| n.parse())?);
    let db = TestDb::new().await?;
    let world = Arc::new(World { more: AtomicI64::new(0), requests: AtomicU64::new(0) });
    let engine = launch(db.pool(), &world).await?;
    println!("engine alone          {:6.1} MB", memory("VmRSS")?);

    start(&engine, 0..GROUPS).await;
    until(db.pool(), "observed", GROUPS).await?;
    tokio::time::sleep(settling).await;
    let few = steady(&world, window).await?;
    println!("{GROUPS} runs wait          {:6.1} MB   {}", memory("VmRSS")?, few);

    let began = Instant::now();
    start(&engine, GROUPS..runs).await;
    until(db.pool(), "observed", runs).await?;
    println!("all were started and wait after {:.1} s", began.elapsed().as_secs_f64());
    tokio::time::sleep(settling).await;
    let all = steady(&world, window).await?;
    println!(
        "{runs} runs wait       {:6.1} MB   {}   (most so far {:.1} MB)",
        memory("VmRSS")?,
        all,
        memory("VmHWM")?
    );
    println!("requests, {runs} runs to {GROUPS}: {:.2}", all.requests_per_minute / few.requests_per_minute);
    println!("looks {:?}", engine.looks());

    let (spent, began) = (processor()?, Instant::now());
    world.more.store(1, Ordering::Relaxed);
    until(db.pool(), "observed", 2 * runs).await?;
    println!(
        "every group changed: told to all after {:.1} s, with {:.1} s of processor   {:6.1} MB",
        began.elapsed().as_secs_f64(),
        processor()? - spent,
        memory("VmRSS")?
    );

    let began = Instant::now();
    engine.shut_down().await;
    println!("handed back after {:.1} s", began.elapsed().as_secs_f64());
    let second = launch(db.pool(), &world).await?;
    let took = until(db.pool(), "taken_over", runs).await?;
    println!("taken over by another engine within {:.1} s   {:6.1} MB", took.as_secs_f64(), memory("VmRSS")?);
    drop(second);
    Ok(())
}

impl std::fmt::Display for Steady {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.2} % of a core, {:.0} requests a minute",
            self.processor_percent, self.requests_per_minute
        )
    }
}
