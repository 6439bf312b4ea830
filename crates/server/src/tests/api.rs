//! The same as JSON.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::bench::Bench;

#[tokio::test]
async fn failures_are_problems_that_a_program_can_read() {
    let bench = Bench::new().await;
    let anonymous = bench.get("/api/v1/runs").await;
    assert_eq!(anonymous.header(header::CONTENT_TYPE), "application/problem+json");
    insta::assert_json_snapshot!("signed_out", anonymous.json());

    let person = bench.sign_in("ada").await;
    let nowhere = person.get("/api/v1/nowhere").await;
    insta::assert_json_snapshot!("not_found", nowhere.json());
    for (what, lists) in [
        ("runs", "firebreak runs"),
        ("signals", "firebreak signals"),
        ("incidents", "firebreak incident list"),
    ] {
        let none = person.get(&format!("/api/v1/{what}/{}", uuid::Uuid::nil())).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND);
        assert!(none.json()["remedy"].as_str().unwrap().contains(lists), "{}", none.text);
    }
    let unknown = person.post("/api/v1/runbooks/nothing/plan", "", &json!({})).await;
    insta::assert_json_snapshot!("unknown_runbook", unknown.json());
    let inputs = person
        .post("/api/v1/runbooks/switch-lamp/plan", "", &json!({ "fleet": "lamps-us", "moode": "x" }))
        .await;
    insta::assert_json_snapshot!("bad_inputs", inputs.json());
    let garbled = person.post("/api/v1/runs", "k", &json!({ "runbok": "switch-lamp" })).await;
    assert_eq!(garbled.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(garbled.json()["code"], "bad_request");
    assert!(garbled.json()["detail"].as_str().unwrap().contains("runbok"), "{}", garbled.text);
}

#[tokio::test]
async fn a_start_needs_a_key_and_the_same_key_starts_once() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let plan =
        person.post("/api/v1/runbooks/switch-lamp/plan", "", &json!({ "fleet": "lamps-eu" })).await.json();
    assert_eq!(plan["verdict"]["verdict"], "ready");
    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" }, "reason": "dark", "plan_hash": plan["hash"] });

    let without = person.post("/api/v1/runs", "", &body).await;
    assert_eq!(without.json()["code"], "no_idempotency_key");
    let first = person.post("/api/v1/runs", "key-1", &body).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    let again = person.post("/api/v1/runs", "key-1", &body).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json()["run_id"], first.json()["run_id"]);
    for inputs in
        [json!({ "fleet": "lamps-eu", "mode": "hard" }), json!({ "fleet": "lamps-eu", "cluster": "shard-b" })]
    {
        let other = json!({ "runbook": "switch-lamp", "inputs": inputs });
        let reused = person.post("/api/v1/runs", "key-1", &other).await;
        assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", reused.text);
        assert_eq!(
            (&reused.json()["code"], &reused.json()["run_id"]),
            (&json!("key_reused"), &first.json()["run_id"])
        );
    }
    let other = person.post("/api/v1/runs", "key-2", &body).await;
    assert_eq!(other.json()["code"], "locked");
    assert_eq!(other.json()["held_by"], first.json()["run_id"]);

    bench.lamp().warm = true;
    let run: uuid::Uuid = first.json()["run_id"].as_str().unwrap().parse().unwrap();
    bench.until(run, "succeeded").await;
    let told = person.get(&format!("/api/v1/runs/{run}")).await.json();
    let steps: Vec<_> =
        told["steps"].as_array().unwrap().iter().map(|s| (&s["path"], &s["status"])).collect();
    let done = json!("done");
    let expected = ["before", "is_off", "switch", "warm"].map(Value::from);
    assert_eq!(steps, expected.iter().map(|path| (path, &done)).collect::<Vec<_>>());
    assert_eq!(told["calls"][0]["request_id"], "req-1");
    let journal = person.get(&format!("/api/v1/runs/{run}/journal")).await.json();
    assert_eq!(journal[0]["entry"]["kind"], "requested");
    let list = person.get("/api/v1/runs?open=1").await.json();
    assert_eq!(list["runs"], json!([]));
}

#[tokio::test]
async fn a_run_is_paused_and_aborted_with_undo() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
    let run: uuid::Uuid =
        person.post("/api/v1/runs", "k", &body).await.json()["run_id"].as_str().unwrap().parse().unwrap();
    let path = format!("/api/v1/runs/{run}/ask");
    let no_key = person.post(&path, "not-a-uuid", &json!({ "ask": "pause", "reason": null })).await;
    assert_eq!(no_key.json()["code"], "no_idempotency_key");
    let key = || uuid::Uuid::now_v7().to_string();
    let pause = person.post(&path, &key(), &json!({ "ask": "pause", "reason": "lunch" })).await;
    assert_eq!(pause.status, StatusCode::ACCEPTED, "{}", pause.text);
    bench.until(run, "paused").await;
    let told = person.get(&format!("/api/v1/runs/{run}")).await.json();
    let asks = told["asks"].as_array().unwrap();
    assert_eq!(asks.iter().find(|a| a["ask"] == "pause").unwrap()["why_not"], "the run is paused already");
    let abort = json!({ "ask": "abort", "takeback": "all", "reason": "changed my mind" });
    let once = key();
    assert_eq!(person.post(&path, &once, &abort).await.status, StatusCode::ACCEPTED);
    bench.until(run, "undone").await;
    let again = person.post(&path, &once, &abort).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "its first answer may have been lost: {}", again.text);
    let other = person.post(&path, &once, &json!({ "ask": "resume" })).await;
    assert_eq!(other.json()["code"], "key_reused", "{}", other.text);
    assert!(!bench.lamp().on, "what was done is taken back");
    let late = person.post(&path, &key(), &abort).await;
    assert_eq!(late.json()["code"], "not_possible_now");
}

#[tokio::test]
async fn a_list_is_paged_by_cursor() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    bench.lamp().warm = true;
    // Whether each succeeds (the first) or is refused (the lamp is on), it is a run.
    for n in 0..=crate::web::runs::PAGE {
        let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
        let started = person.post("/api/v1/runs", &format!("k{n}"), &body).await;
        let run: uuid::Uuid = started.json()["run_id"].as_str().unwrap().parse().unwrap();
        bench.until(run, if n == 0 { "succeeded" } else { "refused" }).await;
    }
    let first = person.get("/api/v1/runs").await.json();
    assert_eq!(first["runs"].as_array().unwrap().len(), crate::web::runs::PAGE);
    let next = first["next"].as_str().unwrap();
    let second = person.get(&format!("/api/v1/runs?before={next}")).await.json();
    assert_eq!(second["runs"].as_array().unwrap().len(), 1);
    assert_eq!(second["next"], Value::Null);
    let wrong = person.get("/api/v1/runs?before=rubbish").await;
    assert_eq!(wrong.json()["code"], "bad_cursor");
}
