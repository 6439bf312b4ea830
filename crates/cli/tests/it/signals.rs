//! Nobody is at the keyboard, and the process is killed at every turn.

use std::time::{Duration, Instant};

use serde_json::json;
use sim::Sim;
use store::pages::RunFilter;
use store::private::TestDb;
use store::signals::{SignalFilter, SignalRow};

use crate::kills::small_world;
use crate::served::{PATIENCE, Served, ended};

/// Waits, on the database's bell, until a signal is as wanted.
pub(crate) async fn until(db: &TestDb, what: &str, wanted: impl Fn(&SignalRow) -> bool) -> SignalRow {
    let mut bell = store::listener::PgListener::connect_with(db.pool()).await.unwrap();
    bell.listen("firebreak").await.unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let all = store::signals::list(db.pool(), SignalFilter::default(), 100).await.unwrap();
        if let Some(found) = all.iter().find(|signal| wanted(signal)) {
            return found.clone();
        }
        assert!(Instant::now() < end, "never {what}: {all:#?}");
        let _ = tokio::time::timeout(Duration::from_millis(200), bell.recv()).await;
    }
}

fn of_shard_b(signal: &SignalRow) -> bool {
    signal.labels["cluster"] == "shard-b"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_once_it_has_seen_and_once_it_has_decided_it_recovers_by_one_run() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let automation = json!({
        "triggers": { "replace-proxysql/logins-fail": "auto", "failover-cluster/logins-fail": "auto" },
        "automation": { "warm_up_s": 1 },
    });
    let mut served = Served::on_with(&sim, &automation).await;
    until(&served.db, "seen", of_shard_b).await;
    served.kill();
    served.start();
    until(&served.db, "decided", |s| of_shard_b(s) && s.verdict.as_deref() == Some("started")).await;
    served.kill();
    served.start();
    let signal = until(&served.db, "started", |s| of_shard_b(s) && s.run_id.is_some()).await;
    let run = ended(&served.db, signal.run_id.unwrap()).await;
    assert_eq!((run.state.as_str(), run.runbook.as_str()), ("succeeded", "replace-proxysql"), "{run:#?}");
    assert_eq!(run.requested_by, "trigger replace-proxysql/logins-fail");
    let runs = store::pages::runs(served.db.pool(), &RunFilter::default(), 100).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:#?}");
    let launched =
        sim.ledger().into_iter().filter(|e| e.operation == "SetDesiredCapacity" && e.effect.is_some());
    assert_eq!(launched.count(), 1);
    // The page tells why, also after all the restarts.
    let person = served.person().await;
    let page = person.get(&format!("/api/v1/runs/{}", run.id)).await;
    assert_eq!(page["cause"]["rule"], "replace-proxysql/logins-fail");
    let signals = person.get("/api/v1/signals").await;
    assert!(!signals["signals"].as_array().unwrap().is_empty());
}
