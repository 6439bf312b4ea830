//! Every runbook × every change: refuse it, keep it busy, fail it, lose it, lose its answer. (Kill the worker before and
//! after it: `kills`.) The run ends well, and the simulator's ledger shows each change once.
//!
//! Nothing here names a step: what a runbook changes is read from the ledger of a run in which nothing goes wrong. What
//! this test needs to know of a runbook is the world it is for, and its inputs: [`stage`]. A runbook without one fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use domain::action::ActionError;
use domain::run::{State, Status};
use serde_json::{Value, json};
use sim::{ApiFault, ApiTrouble, FaultKind, LedgerEntry, Phase, Sim, TimedFault, World};
use uuid::Uuid;

use crate::kills::{reached, small_world};
use crate::served::{PATIENCE, Served, ended};

/// A world in which the runbook is the right thing to do, as small as it can be, and what it is given. It makes its
/// changes one after the other, so that there is an order to compare.
pub(crate) struct Stage {
    pub(crate) runbook: String,
    pub(crate) world: World,
    pub(crate) inputs: Value,
}

fn stage(runbook: &str) -> Option<Stage> {
    let (world, inputs) = match runbook {
        "replace-proxysql" => {
            (small_world(), json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" }))
        }
        "failover-cluster" => {
            let mut world = small_world();
            let fault = FaultKind::WriterExhausted { cluster: "shard-b".into(), share: 0.6 };
            world.faults = vec![TimedFault { at_s: 0, fault }];
            (world, json!({ "cluster": "shard-b" }))
        }
        _ => return None,
    };
    Some(Stage { runbook: runbook.to_owned(), world, inputs })
}

/// All runbooks, by listing the folder.
pub(crate) fn stages() -> Vec<Stage> {
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

/// A simulated minute is less than a second.
pub(crate) fn fast() -> sim::Options {
    sim::Options { speed: 100.0, ..sim::Options::default() }
}

/// What took effect, in order.
pub(crate) fn changes(sim: &Sim) -> Vec<LedgerEntry> {
    sim.ledger().into_iter().filter(|e| e.mutating && e.effect.is_some()).collect()
}

impl Stage {
    /// The changes of a run in which nothing goes wrong.
    pub(crate) async fn clean(&self) -> Vec<LedgerEntry> {
        let sim = Sim::start(self.world.clone(), fast()).await.unwrap();
        let served = Served::on(&sim).await;
        let run = served.begin(&served.person().await, &self.runbook, &self.inputs).await;
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
        for (n, change) in made.iter().enumerate() {
            let again = made[n + 1..]
                .iter()
                .find(|c| (&c.operation, &c.params) == (&change.operation, &change.params));
            assert_eq!(again, None, "{}: made twice", self.runbook);
        }
    }
}

/// The next call of this operation meets trouble. ProxySQL's admin port has no such dials.
fn meets(sim: &Sim, change: &LedgerEntry, trouble: ApiTrouble) {
    let (service, operation) = (Some(change.service.clone()), Some(change.operation.clone()));
    sim.strike(FaultKind::Api(ApiFault { service, operation, trouble, probability: 1.0, next: Some(1) }));
}

fn has_dials(change: &LedgerEntry) -> bool {
    change.service != "proxysql"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_is_throttled_fails_is_lost_and_loses_its_answer_and_is_made_once() {
    for stage in stages() {
        let clean = stage.clean().await;
        let sim = Sim::start(stage.world.clone(), fast()).await.unwrap();
        let served = Served::on(&sim).await;
        let prepare = |n: usize| -> Option<sim::Hold> {
            let change = clean.get(n)?;
            if has_dials(change) {
                meets(&sim, change, ApiTrouble::Throttle);
                meets(&sim, change, ApiTrouble::Unavailable);
            }
            Some(sim.hold(&change.operation, Phase::BeforeEffect))
        };
        // Whatever is set for a change is set before the one before it is let go.
        let mut next = prepare(0);
        let run = served.begin(&served.person().await, &stage.runbook, &stage.inputs).await;
        for (n, change) in clean.iter().enumerate() {
            let mut before = next.take().unwrap();
            reached(&mut before, &change.operation, "before").await;
            let mut after = sim.hold(&change.operation, Phase::AfterEffect);
            before.lose();
            reached(&mut after, &change.operation, "after").await;
            next = prepare(n + 1);
            after.lose();
        }
        stage.each_once(&sim, &served, run, &clean).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_refused_waits_for_a_person_and_goes_on_where_it_was() {
    for stage in stages() {
        let clean = stage.clean().await;
        let sim = Sim::start(stage.world.clone(), fast()).await.unwrap();
        let served = Served::on(&sim).await;
        let person = served.person().await;
        let refusable: Vec<_> = clean.iter().filter(|c| has_dials(c)).collect();
        // Every second call is refused, beginning with the first: each change once, and not its retry.
        let mut times: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        for change in &refusable {
            *times.entry((&change.service, &change.operation)).or_default() += 1;
        }
        for ((service, operation), times) in times {
            let (service, operation) = (Some(service.to_owned()), Some(operation.to_owned()));
            let trouble = ApiTrouble::Refused;
            let fault = ApiFault { service, operation, trouble, probability: 0.5, next: Some(times) };
            sim.strike(FaultKind::Api(fault));
        }
        let run = served.begin(&person, &stage.runbook, &stage.inputs).await;
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
        for change in &refusable {
            let refused = sim.ledger().iter().any(|e| e.status == 403 && e.operation == change.operation);
            assert!(refused, "{} was never refused", change.operation);
        }
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
                let refused = ["AccessDenied", "UnauthorizedOperation"].contains(&error.code.as_str());
                refused.then(|| (step.as_str().to_owned(), error.clone()))
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
