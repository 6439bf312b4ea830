//! An abort in the middle of the replacement: what was done is taken back, as far as it can be, and nothing that runs is cut.

use serde_json::json;
use sim::{Phase, Sim};

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
