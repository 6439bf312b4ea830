//! Nobody is at the keyboard, and the process is killed at every turn; and what senders write is shown in a terminal.

use std::time::{Duration, Instant};

use serde_json::json;
use sim::Sim;
use store::pages::RunFilter;
use store::private::TestDb;
use store::signals::{SignalFilter, SignalRow};

use crate::kills::small_world;
use crate::remote::Terminal;
use crate::served::{PATIENCE, Served, ended, http};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sender_wrote_is_shown_in_a_terminal_and_does_nothing_else_there() {
    const TOKEN: &str = "a token that is long enough";
    /// Takes the line back, fills the clipboard, rings, and adds a line that looks like one of ours.
    const FORGED: &str = "\u{1b}[2K\u{1b}]52;c;cm0=\u{7}\u{9b}1AAll is well.\n  firebreak abort";
    let mut world = small_world();
    world.faults.clear();
    let sim = Sim::start(world, sim::Options { speed: 10.0, ..sim::Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let hooks = json!({ "hooks": { "alertmanager": { "token": { "file": token } } } });
    let served = Served::on_with(&sim, &hooks).await;
    let labels = json!({ "alertname": "Forged", "cluster": "shard-b" });
    let alert = json!({ "status": "firing", "labels": labels, "annotations": { "summary": FORGED } });
    let told = http()
        .post(format!("{}/hooks/alertmanager", served.url))
        .bearer_auth(TOKEN)
        .json(&json!({ "version": "4", "alerts": [alert] }));
    let answer = told.send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    let signal = until(&served.db, "the alert", |s| s.kind == "Forged").await.id.to_string();

    let [ada, bob] = ["ada", "bob"].map(|person| Terminal::of(&served, person, &[]));
    let seen = r"\u001b[2K\u001b]52;c;cm0=\u0007\u009b1AAll is well. ⏎   firebreak abort";
    for args in [&["signals"][..], &["signal", &signal]] {
        let (code, said, why) = ada.said(args);
        assert!(code == 0 && said.contains(seen), "{args:?}: {said:?}{why:?}");
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{args:?}: {said:?}");
    }
    // A script gets what was sent, and a person who looks at that sees no more than the script does.
    let (_, said, _) = ada.said(&["signal", &signal, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["signal"]["summary"], FORGED);
    assert!(!said.contains('\u{9b}'), "{said:?}");

    // In a refusal, too.
    assert_eq!(ada.said(&["lock", "cluster:shard-a", "--reason", FORGED]).0, 0);
    let (code, _, why) = bob.said(&["lock", "cluster:shard-a", "--reason", "me too"]);
    assert!(code == 3 && why.contains(r"\u001b[2K"), "{code}: {why:?}");
    assert!(!why.chars().any(|c| c.is_control() && c != '\n'), "{why:?}");
}
