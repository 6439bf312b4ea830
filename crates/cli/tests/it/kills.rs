//! kill -9 before and after every single change of the runbook: the run goes on and ends well, each change made once.

use std::collections::BTreeMap;

use serde_json::json;
use sim::{FaultKind, Phase, Sim, TimedFault, World};

use crate::served::{PATIENCE, Served, ended};

/// The incident, with two hosts and three clusters, and the hosts sick from the start.
pub(crate) fn small_world() -> World {
    let mut world = World::incident_2024_05_07();
    world.clusters.retain(|c| ["shard-a", "shard-b", "shard-e"].contains(&c.id.as_str()));
    let fleet = &mut world.fleets[0];
    (fleet.min, fleet.desired, fleet.max) = (2, 2, 3);
    world.faults = vec![TimedFault {
        at_s: 0,
        fault: FaultKind::SickHosts {
            fleet: fleet.asg.clone(),
            cluster: "shard-b".into(),
            from: 0.3,
            to: 0.5,
            ramp_s: 60,
            new_hosts_too: false,
        },
    }];
    world
}

/// Every change that replacing two hosts one after the other makes, in order.
const CHANGES: [&str; 11] = [
    "SuspendProcesses",
    "UpdateAutoScalingGroup",
    "SetDesiredCapacity",
    "SetInstanceProtection",
    "PROXYSQL PAUSE",
    "TerminateInstanceInAutoScalingGroup",
    "PROXYSQL PAUSE",
    "TerminateInstanceInAutoScalingGroup",
    "SetInstanceProtection",
    "UpdateAutoScalingGroup",
    "ResumeProcesses",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_and_after_each_change_the_run_goes_on_and_makes_each_change_once() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let mut served = Served::on(&sim).await;
    // Each trap is set while no server runs, or before the run begins: nothing can slip past it.
    let mut before = sim.hold(CHANGES[0], Phase::BeforeEffect);
    let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" });
    let run = served.person().await.start("replace-proxysql", inputs).await;
    for (n, change) in CHANGES.into_iter().enumerate() {
        reached(&mut before, change, "before").await;
        served.kill();
        // Its intent is in the journal, and no answer will ever tell that it never arrived.
        before.lose();
        let mut after = sim.hold(change, Phase::AfterEffect);
        served.start();
        reached(&mut after, change, "after").await;
        served.kill();
        // It took effect, and its answer is lost.
        before = sim.hold(CHANGES.get(n + 1).copied().unwrap_or("none"), Phase::BeforeEffect);
        after.lose();
        served.start();
    }

    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{:?}", row.message);
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    let changes: Vec<_> = sim.ledger().into_iter().filter(|e| e.mutating && e.effect.is_some()).collect();
    for change in &changes {
        *made.entry(format!("{} {:?}", change.operation, change.params)).or_default() += 1;
    }
    assert!(made.values().all(|n| *n == 1), "{made:#?}");
    assert_eq!(changes.iter().map(|c| c.operation.as_str()).collect::<Vec<_>>(), CHANGES);
    assert_eq!(sim.error_share("shard-b"), 0.0);

    // After two and twenty restarts the page still tells all of it: who asked, and every step.
    let page = served.person().await.get(&format!("/api/v1/runs/{run}")).await;
    assert_eq!(
        (&page["run"]["state"], &page["run"]["requested_by"]),
        (&json!("succeeded"), &json!("on-call"))
    );
    let steps = page["steps"].as_array().unwrap();
    assert!(
        steps.len() > 20
            && steps.iter().all(|s| ["done", "skipped"].contains(&s["status"].as_str().unwrap())),
        "{steps:#?}"
    );
    let journal = store::runs::journal(served.db.pool(), run).await.unwrap();
    let taken_over =
        journal.iter().filter(|r| matches!(r.entry, domain::run::Entry::TakenOver { .. })).count();
    // Each kill costs one take-over; a machine that stalls past the short lease of this test may add some.
    assert!(taken_over >= 2 * CHANGES.len(), "{taken_over}");
}

pub(crate) async fn reached(hold: &mut sim::Hold, change: &str, when: &str) {
    let reached = tokio::time::timeout(PATIENCE, hold.reached()).await;
    assert!(matches!(reached, Ok(Some(_))), "{change} ({when}) was never reached");
}
