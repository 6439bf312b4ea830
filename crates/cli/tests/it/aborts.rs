//! An abort in the middle: what was done is taken back, as far as it can be, and nothing that runs is cut.

use std::time::Duration;

use serde_json::json;
use sim::{FaultKind, HealthCheck, Phase, Sim};

use crate::kills::{reached, small_world};
use crate::served::{Served, ended};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_with_undo_while_a_host_drains_leaves_a_group_that_serves() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on(&sim).await;
    let mut paused = sim.hold("PROXYSQL PAUSE", Phase::AfterEffect);
    let person = served.person().await;
    let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" });
    let run = person.start("replace-proxysql", inputs, None).await;
    reached(&served, run, &mut paused, "PROXYSQL PAUSE", "after").await;
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
    assert!(store::pages::locks(served.db.pool()).await.unwrap().is_empty(), "the fleet is free again");
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
