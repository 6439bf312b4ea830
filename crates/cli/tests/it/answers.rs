//! A run that waits for a person is answered from a terminal, by the commands that are shown there.

use serde_json::{Value, json};
use sim::{EVERYBODY, Options, Sim};

use crate::kills::small_world;
use crate::remote::Terminal;
use crate::served::Served;

/// A policy without some of its actions.
fn without(policy: &Value, actions: &[&str]) -> Value {
    let mut left = policy.clone();
    for statement in left["Statement"].as_array_mut().unwrap() {
        statement["Action"]
            .as_array_mut()
            .unwrap()
            .retain(|action| !actions.contains(&action.as_str().unwrap()));
    }
    left["Statement"].as_array_mut().unwrap().retain(|one| one["Action"] != json!([]));
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_step_is_answered_by_the_commands_that_are_shown() {
    let sim = Sim::start(small_world(), Options { speed: 100.0, ..Options::default() }).await.unwrap();
    // The hosts fall sick within the first minute.
    sim.clock().sleep(std::time::Duration::from_secs(120)).await;
    // Nothing is killed here, and a worker that starts anew answers nobody meanwhile.
    let served = Served::on_with(&sim, &json!({ "worker": { "lease_s": 30.0 } })).await;
    let ada = Terminal::of(&served, "ada", &[]);
    let policy = served.command(&["runbook", "permissions", "replace-proxysql"]);
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let (launch, protect) = ("autoscaling:SetDesiredCapacity", "autoscaling:SetInstanceProtection");
    sim.allow_only(EVERYBODY, &without(&policy, &[launch, protect])).unwrap();
    let inputs = ["fleet=proxysql-us", "cluster=shard-b"];
    let run = ["run", "replace-proxysql", inputs[0], inputs[1], "--yes"];
    let (code, started) = ada.json(&[&run[..], &["--detach", "--json"]].concat());
    assert_eq!(code, 0, "{started}");
    let id = started["run_id"].as_str().unwrap();
    let end = &id[id.len() - 8..];

    assert_eq!(ada.said(&["watch", end]).0, 4);
    let (code, shown, why) = ada.said(&["show", end]);
    assert_eq!(code, 0, "{shown}{why}");
    let retry = format!("firebreak retry {id} --step launch");
    for told in [
        "a person must decide: Launch as many new hosts as are to be removed (launch)",
        &format!("→ allow `{launch}`"),
        &retry,
        &format!("firebreak mark-done {id} --step launch --reason \"…\""),
        &format!("firebreak skip {id} --step launch --reason \"…\""),
        &format!("firebreak abort {id} --undo --reason \"…\""),
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let (code, _, why) = ada.said(&["retry", end]);
    assert!(code == 2 && why.contains(&retry), "{code}: {why}");
    let (code, _, why) = ada.said(&["did-not-happen", end, "--reason", "x"]);
    assert!(code == 3 && why.contains("no step of this run waits for that"), "{code}: {why}");
    let (code, _, why) = ada.said(&["skip", end, "--step", "nothing", "--reason", "x"]);
    assert_eq!(code, 3, "{why}");
    assert_eq!(ada.said(&["mark-done", end, "--step", "launch", "--reason", "x", "--output", "{"]).0, 2);

    sim.allow_only(EVERYBODY, &without(&policy, &[protect])).unwrap();
    let (code, said, why) = ada.said(&["retry", end, "--step", "launch"]);
    assert!(code == 0 && said.contains("Asked to retry"), "{said}{why}");
    let waits = || ada.json(&["show", end, "--json"]).1["decisions"][0]["path"] == "protect";
    let late = std::time::Instant::now() + crate::served::PATIENCE;
    while !waits() {
        assert!(std::time::Instant::now() < late, "it never came to the next refusal");
        ada.said(&["watch", end]);
    }
    let marked = ["mark-done", end, "--step", "protect", "--reason", "nobody scales in", "--output", "null"];
    assert_eq!(ada.said(&marked).0, 0);
    let journal = ada.json(&["audit", "search", "--run", end, "--json"]).1.to_string();
    assert!(journal.contains("nobody scales in"), "{journal}");
}
