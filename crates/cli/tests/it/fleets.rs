//! A cluster behind two fleets: its failover is not done before the hosts of both have found the new writer.

use std::time::{Duration, Instant};

use domain::run::{State, Status};
use serde_json::json;
use sim::{FaultKind, Sim, TimedFault, World};

use crate::kills::small_world;
use crate::served::{PATIENCE, Served};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_the_second_fleet_that_keeps_the_old_writer_holds_the_failover_back() {
    let mut world = small_world();
    let second = sim::Fleet { asg: "proxysql-eu".into(), target_group: None, ..world.fleets[0].clone() };
    world.fleets.push(second);
    let cluster = || "shard-b".to_owned();
    let faults = [
        FaultKind::WriterExhausted { cluster: cluster(), share: 0.6 },
        FaultKind::StuckWriter { fleet: "proxysql-eu".into(), cluster: cluster(), hosts: Some(1) },
    ];
    let faults = faults.map(|fault| TimedFault { at_s: 0, fault }).to_vec();
    let sim = Sim::start(World { faults, ..world }, sim::Options { speed: 100.0, ..Default::default() });
    let sim = sim.await.unwrap();
    let served = Served::on(&sim).await;
    let run =
        served.begin(&served.person().await, "failover-cluster", &json!({ "cluster": "shard-b" })).await;
    let end = Instant::now() + PATIENCE;
    let failed = loop {
        let state = State::replay(&store::runs::journal(served.db.pool(), run).await.unwrap()).unwrap();
        let failed = state.nodes().find(|(_, node)| node.status == Status::Failed);
        if let Some((step, _)) = failed {
            break step.as_str().to_owned();
        }
        assert!(state.outcome().is_none() && Instant::now() < end, "{}: {:?}", state.word(), state.outcome());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(failed.starts_with("others_reached[proxysql-eu]"), "{failed}");
}
