//! The fleets in front of a cluster that fails over: all of them are asked, with the hosts that they have at the time.

use std::time::{Duration, Instant};

use domain::run::{State, Status};
use serde_json::json;
use sim::{FaultKind, Phase, Sim, TimedFault, World};
use uuid::Uuid;

use crate::kills::{reached, small_world};
use crate::served::{self, PATIENCE, Served, ended};

/// A world in which the writer of shard-b has no connections left, and what else is wrong.
async fn exhausted(world: World, beside: Option<FaultKind>) -> Sim {
    let exhausted = FaultKind::WriterExhausted { cluster: "shard-b".into(), share: 0.6 };
    let faults = [exhausted].into_iter().chain(beside).map(|fault| TimedFault { at_s: 0, fault }).collect();
    Sim::start(World { faults, ..world }, sim::Options { speed: 100.0, ..Default::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_the_second_fleet_that_keeps_the_old_writer_holds_the_failover_back() {
    let mut world = small_world();
    let second = sim::Fleet { asg: "proxysql-eu".into(), target_group: None, ..world.fleets[0].clone() };
    world.fleets.push(second);
    let keeps =
        FaultKind::StuckWriter { fleet: "proxysql-eu".into(), cluster: "shard-b".into(), hosts: Some(1) };
    let sim = exhausted(world, Some(keeps)).await;
    let served = Served::on(&sim).await;
    let run =
        served.begin(&served.person().await, "failover-cluster", &json!({ "cluster": "shard-b" })).await;
    let (failed, why) = failure(&served, run).await;
    assert!(failed.starts_with("reached[proxysql-eu]"), "{failed}");
    let host = sim.edit(|world| world.host_ids()).into_iter().find(|host| why.contains(host));
    assert!(
        host.is_some() && why.contains("shard-b-1, read-only") && why.contains("replace-proxysql"),
        "{why}"
    );
}

/// Waits until a step has failed; which, and why.
async fn failure(served: &Served, run: Uuid) -> (String, String) {
    let end = Instant::now() + PATIENCE;
    loop {
        let state = State::replay(&store::runs::journal(served.db.pool(), run).await.unwrap()).unwrap();
        let failed = state.nodes().find(|(_, node)| node.status == Status::Failed);
        if let Some((step, node)) = failed {
            return (step.as_str().to_owned(), node.error.as_ref().unwrap().message.clone());
        }
        assert!(state.outcome().is_none() && Instant::now() < end, "{}: {:?}", state.word(), state.outcome());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sick_hosts_of_the_second_fleet_are_no_reason_for_a_failover_and_are_named() {
    let mut world = small_world();
    let second = sim::Fleet { asg: "proxysql-eu".into(), target_group: None, ..world.fleets[0].clone() };
    world.fleets.push(second);
    for fault in &mut world.faults {
        if let FaultKind::SickHosts { fleet, .. } = &mut fault.fault {
            *fleet = "proxysql-eu".into();
        }
    }
    let sim = Sim::start(world, sim::Options { speed: 100.0, ..Default::default() }).await.unwrap();
    let served = Served::on(&sim).await;
    let person = served.person().await;
    sim.clock().sleep(Duration::from_secs(60)).await;
    let plan = person.post("/api/v1/runbooks/failover-cluster/plan", &json!({ "cluster": "shard-b" })).await;
    let said = plan.to_string();
    assert!(said.contains("Run replace-proxysql for proxysql-eu."), "{plan:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_has_been_emptied_holds_no_failover_up() {
    let mut world = small_world();
    let serving = world.fleets[0].asg.clone();
    let emptied = sim::Fleet { asg: "proxysql-old".into(), target_group: None, ..world.fleets[0].clone() };
    world.fleets.insert(0, sim::Fleet { min: 0, desired: 1, ..emptied });
    for cluster in &mut world.clusters {
        cluster.fleet = Some(serving.clone());
    }
    let sim = exhausted(world, None).await;
    sim.edit(|world| world.terminate_in_group(&world.host_ids()[0], true)).unwrap();
    let served = Served::on(&sim).await;
    let (person, inputs) = (served.person().await, json!({ "cluster": "shard-b" }));
    let shed = person.post("/api/v1/runbooks/shed-load/plan", &inputs).await.to_string();
    assert!(shed.contains("Direct logins fail for another reason"), "it has asked the other fleet: {shed}");
    let run = served.begin(&person, "failover-cluster", &inputs).await;
    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{:?}", row.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_dies_while_the_cluster_fails_over_is_not_asked_for_the_new_writer() {
    let slow = FaultKind::SlowFailovers { cluster: "shard-b".into(), duration_s: 360 };
    let sim = exhausted(small_world(), Some(slow)).await;
    let served = Served::on(&sim).await;
    let mut called = sim.hold("FailoverDBCluster", Phase::AfterEffect);
    let run =
        served.begin(&served.person().await, "failover-cluster", &json!({ "cluster": "shard-b" })).await;
    reached(&served, run, &mut called, "FailoverDBCluster", "after").await;
    sim.edit(|world| world.terminate_instance(&world.host_ids()[0])).unwrap();
    called.release();
    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{:?}", row.message);
}

/// Nobody would wait for a load balancer that the configuration does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_behind_another_load_balancer_than_the_configuration_names_are_left_alone() {
    let sim = Sim::start(small_world(), sim::Options { speed: 100.0, ..Default::default() }).await.unwrap();
    sim.clock().sleep(Duration::from_secs(60)).await;
    let arn = sim.world_info().fleets[0].target_group_arn.clone().unwrap();
    let host = sim.edit(|world| world.host_ids()).remove(0);
    for (named, said) in
        [(json!(null), "names no target group"), (json!(format!("{arn}0")), "names arn:aws:")]
    {
        let passwords = tempfile::tempdir().unwrap();
        let mut inventory = served::inventory(&sim.world_info(), passwords.path());
        inventory["fleets"][0]["target_group"] = named;
        let served = Served::on_with(&sim, &json!({ "inventory": inventory })).await;
        let person = served.person().await;
        for (runbook, inputs) in [
            ("replace-proxysql", json!({ "fleet": "proxysql-us", "cluster": "shard-b" })),
            ("restart-one-proxysql-host", json!({ "fleet": "proxysql-us", "host": host })),
        ] {
            let plan = person.post(&format!("/api/v1/runbooks/{runbook}/plan"), &inputs).await.to_string();
            let enter = format!("Enter {arn} as `target_group`");
            assert!(plan.contains(said) && plan.contains(&enter), "{runbook}: {plan}");
        }
    }
}

/// What its group launches in its place is proven by nobody: the run says so, and what to do, before hosts go and in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_host_that_has_left_its_group_is_named() {
    for (operation, at, and) in [
        ("SetInstanceProtection", "registered", "abort and undo, then begin anew"),
        ("TerminateInstanceInAutoScalingGroup", ".floor", "Old hosts have been removed already"),
    ] {
        let sim =
            Sim::start(small_world(), sim::Options { speed: 100.0, ..Default::default() }).await.unwrap();
        let old = sim.edit(|world| world.host_ids());
        let served = Served::on(&sim).await;
        let mut done = sim.hold(operation, Phase::AfterEffect);
        let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" });
        let run = served.begin(&served.person().await, "replace-proxysql", &inputs).await;
        reached(&served, run, &mut done, operation, "after").await;
        let new = loop {
            match sim.edit(|world| world.host_ids()).into_iter().find(|host| !old.contains(host)) {
                Some(new) => break new,
                None => sim.clock().sleep(Duration::from_secs(5)).await,
            }
        };
        sim.edit(|world| world.terminate_in_group(&new, false)).unwrap();
        done.release();
        let (step, why) = failure(&served, run).await;
        assert!(step.ends_with(at) && why.contains(&new) && why.contains(and), "{step}: {why}");
    }
}
