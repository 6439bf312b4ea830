//! An abort in the middle: what was done is taken back, as far as it can be, and nothing that runs is cut.

use std::time::{Duration, Instant};

use domain::run::{Outcome, State, Status};
use serde_json::json;
use sim::{FaultKind, HealthCheck, Phase, Sim};
use uuid::Uuid;

use crate::kills::{reached, small_world};
use crate::served::{PATIENCE, Served, ended};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_with_undo_while_a_host_drains_leaves_a_group_that_serves() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on(&sim).await;
    let old = sim.edit(|world| world.host_ids());
    let mut paused = sim.hold("PROXYSQL PAUSE", Phase::AfterEffect);
    let person = served.person().await;
    let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" });
    let plan = person.post("/api/v1/runbooks/replace-proxysql/plan", &inputs).await;
    let body = json!({ "runbook": "replace-proxysql", "inputs": inputs, "reason": "a test", "plan_hash": plan["hash"] });
    let run: Uuid = person.post("/api/v1/runs", &body).await["run_id"].as_str().unwrap().parse().unwrap();
    reached(&served, run, &mut paused, "PROXYSQL PAUSE", "after").await;
    let told = person.get(&format!("/api/v1/runs/{run}")).await;
    let all = told["asks"].as_array().unwrap().iter().find(|ask| ask["takeback"] == "all").unwrap();
    let back = all["preview"]["takes_back"].as_array().unwrap();
    let launch = back.iter().find(|back| back["step"] == "launch").unwrap();
    assert!(launch["leaves"].as_str().unwrap().starts_with("hosts that have come by then stay"), "{launch}");
    let ask = json!({ "ask": "abort", "takeback": "all", "reason": "a test" });
    person.post(&format!("/api/v1/runs/{run}/ask"), &ask).await;
    paused.release();

    let row = ended(&served.db, run).await;
    assert_eq!((row.state.as_str(), row.message.as_deref()), ("undone", Some("Aborted by on-call: a test")));
    let changes: Vec<_> =
        sim.ledger().into_iter().filter(|e| e.mutating && e.effect.is_some()).map(|e| e.operation).collect();
    assert_eq!(
        changes,
        [
            "SuspendProcesses",
            "UpdateAutoScalingGroup",
            "SetDesiredCapacity",
            "SetInstanceProtection",
            "PROXYSQL PAUSE",
            "PROXYSQL RESUME",
            "SetInstanceProtection",
            "ResumeProcesses",
        ],
        "the maximum stays where it must: four hosts run"
    );
    let told = person.get(&format!("/api/v1/runs/{run}")).await;
    let back =
        told["comparison"]["differences"].as_array().unwrap().iter().filter(|d| d["kind"] == "taken_back");
    let back: Vec<_> = back.map(|d| d["step"].as_str().unwrap()).collect();
    assert!(back.contains(&"quiet") && !back.contains(&"launch") && !back.contains(&"make_room"), "{back:?}");
    assert!(store::pages::locks(served.db.pool()).await.unwrap().is_empty(), "the fleet is free again");

    // What is too many by now is taken out by the runbook for that, and what is sick with it.
    let inputs = json!({ "fleet": "proxysql-us", "hosts": 2, "which": "sick" });
    let run = person.start("remove-proxysql-hosts", inputs, None).await;
    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{:?}", row.message);
    let left = sim.edit(|world| world.host_ids());
    assert_eq!((left.len(), left.iter().any(|host| old.contains(host))), (2, false), "{left:?}");
}

/// To a machine that has ended nothing can be said, and packets to it are lost: its pause needs no taking back, and what else
/// there is is taken back all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_with_undo_after_a_host_has_ended_takes_back_all_the_rest() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    sim.strike(FaultKind::DeadHostsSilent { fleet: "proxysql-us".into() });
    let served = Served::on(&sim).await;
    let mut ending = sim.hold("TerminateInstanceInAutoScalingGroup", Phase::AfterEffect);
    let person = served.person().await;
    let old = sim.edit(|world| world.host_ids());
    let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" });
    let run = person.start("replace-proxysql", inputs, None).await;
    reached(&served, run, &mut ending, "TerminateInstanceInAutoScalingGroup", "after").await;
    while old.iter().all(|host| sim.edit(|world| world.host_ids()).contains(host)) {
        sim.clock().sleep(Duration::from_secs(5)).await;
    }
    let ask = json!({ "ask": "abort", "takeback": "all", "reason": "a test" });
    person.post(&format!("/api/v1/runs/{run}/ask"), &ask).await;
    ending.release();

    let state = until(&served, run, |state| state.outcome().is_some()).await;
    let gone: Vec<_> =
        state.nodes().filter(|(_, node)| node.is_gone()).map(|(step, _)| step.as_str()).collect();
    assert!(
        matches!(gone[..], [one] if one.starts_with("undo:remove[") && one.ends_with("].pause")),
        "{gone:?}"
    );
    assert_eq!(state.outcome().unwrap().0, Outcome::Undone);
    let changes: Vec<_> =
        sim.ledger().into_iter().filter(|e| e.mutating && e.effect.is_some()).map(|e| e.operation).collect();
    assert_eq!(changes.last().map(String::as_str), Some("ResumeProcesses"), "{changes:?}");
}

/// Waits until a run is as wanted, also while it is paused.
async fn until(served: &Served, run: Uuid, wanted: impl Fn(&State) -> bool) -> State {
    let end = Instant::now() + PATIENCE;
    loop {
        let state = State::replay(&store::runs::journal(served.db.pool(), run).await.unwrap()).unwrap();
        if wanted(&state) {
            return state;
        }
        assert!(state.outcome().is_none() && Instant::now() < end, "{}: {:?}", state.word(), state.outcome());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A group that goes on desiring hosts that are not to be had never rests, and every later plan would stop at that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_with_undo_where_no_hosts_are_to_be_had_leaves_a_group_that_rests() {
    for (runbook, given) in [
        ("replace-proxysql", json!({ "fleet": "proxysql-us", "cluster": "shard-b" })),
        ("add-proxysql-capacity", json!({ "fleet": "proxysql-us", "hosts": 1 })),
    ] {
        let mut world = small_world();
        if runbook == "add-proxysql-capacity" {
            world.faults.clear();
        }
        let sim = Sim::start(world, sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
        sim.strike(FaultKind::NoCapacity { zone: None });
        let served = Served::on(&sim).await;
        let person = served.person().await;
        let hosts = sim.edit(|world| world.host_ids());
        let run = person.start(runbook, given.clone(), None).await;
        let no_hosts_come = |state: &State| {
            state.nodes().any(|(step, node)| step.as_str() == "ready" && node.status == Status::Failed)
        };
        until(&served, run, no_hosts_come).await;
        let ask = json!({ "ask": "abort", "takeback": "all", "reason": "a test" });
        person.post(&format!("/api/v1/runs/{run}/ask"), &ask).await;
        let state = until(&served, run, |state| state.outcome().is_some()).await;
        assert_eq!(state.outcome().unwrap().0, Outcome::Undone);
        let plan = person.post(&format!("/api/v1/runbooks/{runbook}/plan"), &given).await;
        assert_eq!(plan["verdict"]["verdict"], "ready", "{plan:#}");
        assert_eq!(sim.edit(|world| world.host_ids()), hosts, "none of them went");
    }
}

/// To the load balancer a host that was paused is a dead one for two minutes more: a group that looked meanwhile would replace it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_of_a_restart_leaves_the_host_to_its_group() {
    let mut world = small_world();
    world.fleets[0].health_check = HealthCheck::Elb;
    for fault in &mut world.faults {
        if let FaultKind::SickHosts { hosts, .. } = &mut fault.fault {
            *hosts = Some(1);
        }
    }
    let sim = Sim::start(world, sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on(&sim).await;
    let mut paused = sim.hold("PROXYSQL PAUSE", Phase::AfterEffect);
    let person = served.person().await;
    let hosts = sim.edit(|world| world.host_ids());
    let inputs = json!({ "fleet": "proxysql-us", "host": hosts[0] });
    let run = person.start("restart-one-proxysql-host", inputs, None).await;
    reached(&served, run, &mut paused, "PROXYSQL PAUSE", "after").await;
    sim.clock().sleep(Duration::from_secs(90)).await;
    let ask = json!({ "ask": "abort", "takeback": "finally", "reason": "a test" });
    person.post(&format!("/api/v1/runs/{run}/ask"), &ask).await;
    paused.release();

    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "aborted", "{:?}", row.message);
    sim.clock().sleep(Duration::from_secs(60)).await;
    let ledger = sim.ledger();
    let last = ledger.iter().rfind(|e| e.mutating && e.effect.is_some()).unwrap();
    assert_eq!(last.operation, "ResumeProcesses", "the group looks after its hosts again");
    assert_eq!(sim.edit(|world| world.host_ids()), hosts, "and finds all of them healthy");
}
