//! Every runbook × every change: refuse it, keep it busy, fail it, lose it, lose its answer. (Kill the worker before and
//! after it: `kills`.) The run ends well, and the simulator's ledger shows each change once.
//!
//! Nothing here names a step: what a runbook changes is read from the ledger of a run in which nothing goes wrong. What
//! this test needs to know of a runbook is the world it is for, and its inputs: [`stage`]. A runbook without one fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use domain::action::ActionError;
use domain::run::{Ask, State, Status, is_past};
use serde_json::{Value, json};
use sim::{ApiFault, ApiTrouble, FaultKind, LedgerEntry, Phase, Sim, TimedFault, World};
use uuid::Uuid;

use crate::kills::{reached, small_world};
use crate::served::{PATIENCE, Person, Served, ended};

/// A world in which the runbook is the right thing to do, as small as it can be, and what it is given. It makes its
/// changes one after the other, so that there is an order to compare.
pub(crate) struct Stage {
    pub(crate) runbook: String,
    pub(crate) world: World,
    given: Value,
    /// What has passed before it begins.
    before: Duration,
    /// Simulated seconds per second.
    pub(crate) speed: f64,
}

/// Takes the place of the oldest host's id, which chance draws.
const FIRST_HOST: &str = "{first host}";
/// Runbooks that only look.
const READ_ONLY: [&str; 1] = ["diagnose-logins"];

fn stage(runbook: &str) -> Option<Stage> {
    let with = |fault: FaultKind| World { faults: vec![TimedFault { at_s: 0, fault }], ..small_world() };
    let (mut before, mut speed) = (Duration::ZERO, 100.0);
    let (world, inputs) = match runbook {
        "replace-proxysql" => {
            (small_world(), json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" }))
        }
        "failover-cluster" => {
            let fault = FaultKind::WriterExhausted { cluster: "shard-b".into(), share: 0.6 };
            // Planned, so that all of its looks are made.
            (with(fault), json!({ "cluster": "shard-b", "planned": true }))
        }
        "fail-back-cluster" => {
            before = Duration::from_secs(2 * 3600);
            let fault = FaultKind::ClusterFailover { cluster: "shard-b".into(), duration_s: 60 };
            (with(fault), json!({ "cluster": "shard-b" }))
        }
        "resize-cluster" => {
            speed = 300.0;
            let mut world = World { faults: Vec::new(), ..small_world() };
            world.clusters.iter_mut().filter(|c| c.id == "shard-e").for_each(|c| c.readers = 3);
            (world, json!({ "cluster": "shard-e", "class": "db.r6i.12xlarge" }))
        }
        "resize-instance" => {
            speed = 300.0;
            let world = World { faults: Vec::new(), ..small_world() };
            let inputs = json!({ "cluster": "shard-e", "instance": "shard-e-2", "class": "db.r6i.12xlarge" });
            (world, inputs)
        }
        "add-proxysql-capacity" => {
            let world = World { faults: Vec::new(), ..small_world() };
            (world, json!({ "fleet": "proxysql-us", "hosts": 2 }))
        }
        "remove-proxysql-hosts" => {
            let mut world = World { faults: Vec::new(), ..small_world() };
            world.fleets[0].min = 1;
            (world, json!({ "fleet": "proxysql-us", "hosts": 1 }))
        }
        "restart-one-proxysql-host" => {
            let fault = FaultKind::SickHosts {
                fleet: "proxysql-us".into(),
                cluster: "shard-b".into(),
                from: 0.8,
                to: 0.9,
                ramp_s: 60,
                hosts: Some(1),
                new_hosts_too: false,
            };
            let mut world = with(fault);
            world.fleets[0].health_check = sim::HealthCheck::Elb;
            (world, json!({ "fleet": "proxysql-us", "host": FIRST_HOST }))
        }
        "shed-load" => {
            before = Duration::from_secs(5 * 60);
            let surge = |at_s, times| TimedFault {
                at_s,
                fault: FaultKind::Surge { cluster: "shard-b".into(), times },
            };
            let world = World { faults: vec![surge(0, 3.6), surge(120, 2.0)], ..small_world() };
            // Longer than all the restarts of a test take: by itself it ends nothing.
            (world, json!({ "cluster": "shard-b", "at_most": "12h" }))
        }
        "diagnose-logins" => (small_world(), json!({ "fleet": "proxysql-us" })),
        _ => return None,
    };
    Some(Stage { runbook: runbook.to_owned(), world, given: inputs, before, speed })
}

/// All runbooks that change something, by listing the folder.
pub(crate) fn stages() -> Vec<Stage> {
    let mut stages = all_stages();
    stages.retain(|stage| !READ_ONLY.contains(&stage.runbook.as_str()));
    stages
}

pub(crate) fn all_stages() -> Vec<Stage> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runbooks");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    let known = |name: &String| {
        stage(name).unwrap_or_else(|| panic!("{name} has no stage: add a world and inputs here"))
    };
    names.iter().map(known).collect()
}

/// Plays something on every stage, three at a time: a run mostly waits. Each on a thread of its own, so that starting the server of
/// one never keeps the traps of another waiting.
pub(crate) fn on_each_stage<F: Future<Output = ()>>(play: impl Fn(Stage) -> F + Sync) {
    on_each_of(stages(), play);
}

/// The same on these.
pub(crate) fn on_each_of<F: Future<Output = ()>>(stages: Vec<Stage>, play: impl Fn(Stage) -> F + Sync) {
    let stages = Mutex::new(stages);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .unwrap();
                while let Some(stage) = { stages.lock().unwrap().pop() } {
                    runtime.block_on(play(stage));
                }
            });
        }
    });
}

/// What took effect, in order.
pub(crate) fn changes(sim: &Sim) -> Vec<LedgerEntry> {
    sim.ledger().into_iter().filter(|e| e.mutating && e.effect.is_some()).collect()
}

impl Stage {
    /// The world, at the moment for the runbook.
    pub(crate) async fn sim(&self) -> Sim {
        self.sim_at(self.speed).await
    }

    /// The same, at another speed.
    pub(crate) async fn sim_at(&self, speed: f64) -> Sim {
        let options = sim::Options { speed, ..sim::Options::default() };
        let sim = Sim::start(self.world.clone(), options).await.unwrap();
        sim.step(self.before).await.unwrap();
        sim
    }

    /// Starts a run of it, with whatever its risk demands.
    pub(crate) async fn begin(&self, sim: &Sim, served: &Served, person: &Person) -> Uuid {
        served.begin(person, &self.runbook, &self.inputs(sim)).await
    }

    /// What the runbook is given in this world.
    pub(crate) fn inputs(&self, sim: &Sim) -> Value {
        let first = sim.edit(|world| world.host_ids()).remove(0);
        let mut inputs = self.given.clone();
        for input in inputs.as_object_mut().unwrap().values_mut().filter(|i| *i == FIRST_HOST) {
            *input = json!(first);
        }
        inputs
    }

    /// The changes of a run in which nothing goes wrong.
    pub(crate) async fn clean(&self) -> Vec<LedgerEntry> {
        let sim = self.sim().await;
        let served = Served::on(&sim).await;
        let run = self.begin(&sim, &served, &served.person().await).await;
        let row = ended(&served.db, run).await;
        assert_eq!(row.state, "succeeded", "{}: {:?}", self.runbook, row.message);
        let changes = changes(&sim);
        assert!(!changes.is_empty(), "{} changes nothing", self.runbook);
        changes
    }

    /// The run ended well, and did neither more nor less than without the faults.
    pub(crate) async fn each_once(&self, sim: &Sim, served: &Served, run: Uuid, clean: &[LedgerEntry]) {
        let row = ended(&served.db, run).await;
        assert_eq!(row.state, "succeeded", "{}: {:?}", self.runbook, row.message);
        let made = changes(sim);
        let operations =
            |changes: &[LedgerEntry]| changes.iter().map(|c| c.operation.clone()).collect::<Vec<_>>();
        assert_eq!(operations(&made), operations(clean), "{}", self.runbook);
        for cluster in &self.world.clusters {
            let down = sim.edit(|world| world.most_changing(&cluster.id));
            assert!(down <= 1, "{}: {down} instances of {} were down at once", self.runbook, cluster.id);
        }
        for (n, change) in made.iter().enumerate() {
            let again = made[n + 1..]
                .iter()
                .find(|c| (&c.operation, &c.params) == (&change.operation, &change.params));
            assert_eq!(again, None, "{}: made twice", self.runbook);
        }
    }
}

/// The next call of this operation meets trouble.
fn meets(sim: &Sim, change: &LedgerEntry, trouble: ApiTrouble) {
    let (service, operation) = (Some(change.service.clone()), Some(change.operation.clone()));
    sim.strike(FaultKind::Api(ApiFault { service, operation, trouble, probability: 1.0, next: Some(1) }));
}

#[test]
fn each_change_is_throttled_fails_is_lost_and_loses_its_answer_and_is_made_once() {
    on_each_stage(|stage| async move {
        let clean = stage.clean().await;
        let sim = stage.sim().await;
        let served = Served::on(&sim).await;
        let prepare = |n: usize| -> Option<sim::Hold> {
            let change = clean.get(n)?;
            meets(&sim, change, ApiTrouble::Throttle);
            // A ProxySQL that hangs up is a call that is lost, as it is below, and costs as long a look.
            if change.service != "proxysql" {
                meets(&sim, change, ApiTrouble::Unavailable);
            }
            Some(sim.hold(&change.operation, Phase::BeforeEffect))
        };
        // Whatever is set for a change is set before the one before it is let go.
        let mut next = prepare(0);
        let run = stage.begin(&sim, &served, &served.person().await).await;
        for (n, change) in clean.iter().enumerate() {
            let mut before = next.take().unwrap();
            reached(&served, run, &mut before, &change.operation, "before").await;
            let mut after = sim.hold(&change.operation, Phase::AfterEffect);
            before.lose();
            reached(&served, run, &mut after, &change.operation, "after").await;
            next = prepare(n + 1);
            after.lose();
        }
        stage.each_once(&sim, &served, run, &clean).await;
    });
}

#[test]
fn a_change_that_is_refused_waits_for_a_person_and_goes_on_where_it_was() {
    on_each_stage(|stage| async move {
        let clean = stage.clean().await;
        let sim = stage.sim().await;
        let served = Served::on(&sim).await;
        let person = served.person().await;
        // Every second call is refused, beginning with the first: each change once, and not its retry.
        let mut times: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for change in &clean {
            *times.entry((&change.service, &change.operation)).or_default() += 1;
        }
        for ((service, operation), times) in times {
            let (service, operation) = (Some(service.to_owned()), Some(operation.to_owned()));
            let trouble = ApiTrouble::Refused;
            let fault = ApiFault { service, operation, trouble, probability: 0.5, next: Some(times) };
            sim.strike(FaultKind::Api(fault));
        }
        let run = stage.begin(&sim, &served, &person).await;
        while let Some((step, _)) = refused(&served, run).await {
            person.post(&format!("/api/v1/runs/{run}/ask"), &json!({ "ask": "retry", "step": step })).await;
        }
        let row = ended(&served.db, run).await;
        assert_eq!(row.state, "succeeded", "{}: {:?}", stage.runbook, row.message);
        // A refused undo does not hold up the others, so that only their order may differ.
        let sorted = |changes: &[LedgerEntry]| {
            let mut operations: Vec<_> = changes.iter().map(|c| c.operation.clone()).collect();
            operations.sort();
            operations
        };
        assert_eq!(sorted(&changes(&sim)), sorted(&clean), "{}", stage.runbook);
        for change in &clean {
            let refused = sim.ledger().iter().any(|e| e.status == 403 && e.operation == change.operation);
            assert!(refused, "{} was never refused", change.operation);
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runbook_that_only_looks_changes_nothing() {
    for stage in all_stages().into_iter().filter(|s| READ_ONLY.contains(&s.runbook.as_str())) {
        let sim = stage.sim().await;
        let served = Served::on(&sim).await;
        let run = stage.begin(&sim, &served, &served.person().await).await;
        let row = ended(&served.db, run).await;
        assert_eq!(row.state, "succeeded", "{}: {:?}", stage.runbook, row.message);
        assert!(!sim.ledger().iter().any(|e| e.mutating), "{}", stage.runbook);
    }
}

/// Waits until the run waits for a person at a step that was refused, and says at which, and why; `None` when it has ended.
/// A step whose retry is on its way is not meant.
pub(crate) async fn refused(served: &Served, run: Uuid) -> Option<(String, ActionError)> {
    let mut bell = store::listener::PgListener::connect_with(served.db.pool()).await.unwrap();
    bell.listen("firebreak").await.unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let journal = store::runs::journal(served.db.pool(), run).await.unwrap();
        let state = State::replay(&journal).unwrap();
        let asked = store::inbox::after(served.db.pool(), run, state.inbox()).await.unwrap();
        let refused =
            state.nodes().filter(|(_, node)| node.status == Status::Failed).find_map(|(step, node)| {
                let error = node.error.as_ref()?;
                // `1045` is what ProxySQL says to an account that may only look.
                let codes = ["AccessDenied", "UnauthorizedOperation", "http_403", "1045"];
                let refused = codes.contains(&error.code.as_str());
                // What the run has gone on without is not what it waits at.
                let waits = is_past(&state, &Ask::Retry { step: step.clone() }).is_ok();
                (refused && waits).then(|| (step.as_str().to_owned(), error.clone()))
            });
        if refused.is_some() && asked.is_empty() && ["paused", "stuck"].contains(&state.word()) {
            return refused;
        }
        if state.outcome().is_some() {
            return None;
        }
        assert!(Instant::now() < end, "it neither waits nor ends: {}", state.word());
        let _ = tokio::time::timeout(Duration::from_secs(1), bell.recv()).await;
    }
}
