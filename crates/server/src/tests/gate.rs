//! Between the request and the first step: who may, who must agree, who is ahead, and what became different.

use axum::http::{StatusCode, header};
use domain::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Bench, Person, SWITCH, run_of};

fn key() -> String {
    Uuid::now_v7().to_string()
}

async fn severe(person: &Person<'_>) -> Uuid {
    let fields = person.planned("switch-lamp-severe").await;
    run_of(&person.start("switch-lamp-severe", &fields).await)
}

#[tokio::test]
async fn a_severe_runbook_waits_for_another_person_who_approves_the_plan_on_its_page() {
    let bench = Bench::new().await;
    bench.lamp().warm = true;
    let ada = bench.sign_in_as("ada", Role::Admin).await;
    let bob = bench.sign_in_as("bob", Role::Approver).await;
    let form = ada.form("/runbooks/switch-lamp-severe/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(form.text.contains("autocomplete=\"off\" required></p>"), "whoever is to agree is told why");
    let body = json!({ "runbook": "switch-lamp-severe", "inputs": { "fleet": "lamps-eu" } });
    let alone = ada.post("/api/v1/runs", "k", &body).await;
    assert_eq!(
        (alone.status, &alone.json()["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("plan_needed"))
    );

    let plan = ada.form("/runbooks/switch-lamp-severe/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(plan.text.contains("It begins after the approval of an approver"), "{}", plan.text);
    let inputs = json!({ "fleet": "lamps-eu" });
    let body =
        json!({ "runbook": "switch-lamp-severe", "inputs": inputs, "plan_hash": plan.field("plan_hash") });
    let silent = ada.post("/api/v1/runs", "k", &body).await;
    assert_eq!(
        (silent.status, &silent.json()["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("no_reason"))
    );
    let run = severe(&ada).await;
    bench.until(run, "waiting_for_approval").await;
    assert!(ada.get("/").await.text.contains("Waits for approval"));
    let path = format!("/runs/{run}");
    let own = ada.get(&path).await;
    assert!(own.text.contains("you asked for it, so somebody else must agree"), "{}", own.text);
    assert_eq!(bench.lamp().switched, 0);

    let page = bob.get(&path).await;
    assert!(page.text.contains("Waits for the approval of an approver"), "{}", page.text);
    assert!(page.text.contains("data-ask=\"approve\"") && page.text.contains("data-ask=\"reject\""));
    let (hash, id) = (page.field("plan_hash"), key());
    let other = [("ask", "approve"), ("id", id.as_str()), ("plan_hash", "0")];
    let refused = bob.form(&format!("{path}/ask"), &other).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("another plan"));
    let agree = [("ask", "approve"), ("id", id.as_str()), ("plan_hash", hash.as_str())];
    assert_eq!(bob.form(&format!("{path}/ask"), &agree).await.status, StatusCode::SEE_OTHER);
    bench.until(run, "succeeded").await;
    assert_eq!(bench.lamp().switched, 1);
    let late = bob.form(&format!("{path}/ask"), &[("ask", "reject"), ("id", &key()), ("reason", "no")]).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(late.text.contains("It is decided: approved by bob at "), "{}", late.text);
    assert!(ada.get(&path).await.text.contains("The start: approved by bob at "));
}

#[tokio::test]
async fn what_is_agreed_to_in_a_freeze_is_held_back_and_the_page_says_by_what_and_what_can_be_done() {
    let bench = Bench::new().await;
    bench.lamp().warm = true;
    let ada = bench.sign_in_as("ada", Role::Admin).await;
    let bob = bench.sign_in_as("bob", Role::Approver).await;
    let run = severe(&ada).await;
    bench.until(run, "waiting_for_approval").await;
    let (reason, until) = ("holidays", "2031-01-01T00:00");
    let frozen = ada.form("/brakes/freezes", &[("reason", reason), ("ends", until)]).await;
    assert_eq!(frozen.status, StatusCode::SEE_OTHER, "{}", frozen.text);
    let (path, api) = (format!("/runs/{run}"), format!("/api/v1/runs/{run}"));
    let (hash, id) = (bob.get(&path).await.field("plan_hash"), key());
    let agree = [("ask", "approve"), ("id", id.as_str()), ("plan_hash", hash.as_str())];
    assert_eq!(bob.form(&format!("{path}/ask"), &agree).await.status, StatusCode::SEE_OTHER);
    bench.until(run, "paused").await;
    let page = ada.get(&path).await.text;
    assert!(page.contains("id=\"held-back\"") && page.contains("Begin despite it…"), "{page}");
    assert!(page.contains("all changes are frozen until 2031-01-01 00:00:00 UTC: holidays"), "{page}");
    let held = ada.get(&api).await.json()["gate"]["held_back"].clone();
    assert_eq!(
        (held["brakes"].as_array().unwrap().len(), &held["choices"][0]["ask"]),
        (1, &json!("begin_despite"))
    );

    let despite = |reason: &str| json!({ "ask": "begin_despite", "reason": reason });
    let ask = async |reason: &str| ada.post(&format!("{api}/ask"), &key(), &despite(reason)).await.status;
    assert_eq!(ask(" ").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(bench.lamp().switched, 0);
    assert_eq!(ask("it is pitch dark").await, StatusCode::ACCEPTED);
    bench.until(run, "succeeded").await;
    let told = ada.get(&format!("{path}?tab=timeline")).await.text;
    for shown in ["Held back before it has begun", "begin despite what holds it back: it is pitch dark"] {
        assert!(told.contains(shown), "{shown}: {told}");
    }
}

#[tokio::test]
async fn a_viewer_looks_and_does_nothing() {
    let bench = Bench::new().await;
    let eve = bench.sign_in_as("eve", Role::Viewer).await;
    assert_eq!(eve.get("/api/v1/session").await.json()["role"], "viewer");
    let fields = eve.planned("switch-lamp").await;
    let start = eve.start("switch-lamp", &fields).await;
    assert_eq!(start.status, StatusCode::FORBIDDEN);
    assert!(start.text.contains("data-problem=\"not_allowed\""));
    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
    assert_eq!(eve.post("/api/v1/runs", "k", &body).await.json()["code"], "not_allowed");
    assert!(eve.get("/audit").await.text.contains("start refused: not_allowed"));

    let ada = bench.sign_in("ada").await;
    let run = ada.post("/api/v1/runs", "k", &body).await.json()["run_id"].as_str().unwrap().to_owned();
    let ask = format!("/api/v1/runs/{run}/ask");
    let pause = eve.post(&ask, &key(), &json!({ "ask": "pause", "reason": null })).await;
    assert_eq!((pause.status, &pause.json()["code"]), (StatusCode::FORBIDDEN, &json!("not_allowed")));
    let told = eve.get(&format!("/api/v1/runs/{run}")).await.json();
    let pause = told["asks"].as_array().unwrap().iter().find(|a| a["ask"] == "pause").unwrap();
    assert_eq!(pause["why_not"], "to pause takes a responder, and you are a viewer");
}

#[tokio::test]
async fn broken_glass_is_shown_everywhere_until_somebody_else_closes_its_review() {
    let bench = Bench::new().await;
    bench.lamp().warm = true;
    let ada = bench.sign_in_as("ada", Role::Admin).await;
    let bob = bench.sign_in_as("bob", Role::Approver).await;
    let run = severe(&ada).await;
    let ask = format!("/runs/{run}/ask");
    let no_reason = ada.form(&ask, &[("ask", "break_glass"), ("id", &key()), ("reason", "")]).await;
    assert_eq!(no_reason.status, StatusCode::UNPROCESSABLE_ENTITY);
    let not_bob = bob.form(&ask, &[("ask", "break_glass"), ("id", &key()), ("reason", "me too")]).await;
    assert_eq!(not_bob.status, StatusCode::FORBIDDEN);
    // The form says which plan was on the page, and means no other.
    let page = ada.get(&format!("/runs/{run}")).await.text;
    let form = page.split("value=\"break_glass\"").nth(1).unwrap();
    let seen = form.split("name=\"plan_hash\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let other = "0".repeat(64);
    let stale = [("ask", "break_glass"), ("id", &key()), ("reason", "me"), ("plan_hash", &other)];
    let stale = ada.form(&ask, &stale).await;
    assert!(stale.status == StatusCode::CONFLICT && stale.text.contains("another plan"), "{}", stale.text);
    let glass = [("ask", "break_glass"), ("id", &key()), ("reason", "nobody is awake"), ("plan_hash", seen)];
    assert_eq!(ada.form(&ask, &glass).await.status, StatusCode::SEE_OTHER);
    bench.until(run, "succeeded").await;

    for path in ["/", "/audit", &format!("/runs/{run}")] {
        let page = bob.get(path).await;
        assert!(page.text.contains("ada broke the glass") && page.text.contains("nobody is awake"), "{path}");
    }
    let reviews = bob.get("/api/v1/reviews").await.json();
    assert_eq!(reviews["reviews"][0]["run_id"], json!(run));
    let id = reviews["reviews"][0]["id"].as_i64().unwrap();
    let own = ada.form(&format!("/reviews/{id}/close"), &[("note", "fine")]).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN);
    assert!(own.text.contains("somebody else must look at it"));
    let closed = bob.form(&format!("/reviews/{id}/close"), &[("note", "it was right")]).await;
    assert_eq!(closed.header(header::LOCATION), "/audit");
    assert!(!bob.get("/").await.text.contains("broke the glass"));
    assert!(bob.get(&format!("/runs/{run}")).await.text.contains("reviewed by bob: it was right"));
    assert!(bob.get("/audit").await.text.contains("review closed"));
    let again = bob.post(&format!("/api/v1/reviews/{id}/close"), "", &json!({ "note": "again" })).await;
    assert_eq!(again.json()["code"], "not_possible_now");
}

#[tokio::test]
async fn who_waits_for_a_lock_sees_who_holds_it() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let body = |wait| json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" }, "wait": wait });
    let holder = ada.post("/api/v1/runs", "k1", &body(false)).await.json()["run_id"].clone();
    assert_eq!(ada.post("/api/v1/runs", "k2", &body(false)).await.json()["code"], "locked");
    let waits = ada.post("/api/v1/runs", "k3", &body(true)).await;
    assert_eq!(waits.status, StatusCode::CREATED, "{}", waits.text);
    let run: Uuid = waits.json()["run_id"].as_str().unwrap().parse().unwrap();
    bench.until(run, "queued").await;
    let told = loop {
        // It stands in line as soon as its driver has found the lock held.
        let told = ada.get(&format!("/api/v1/runs/{run}")).await.json();
        if told["gate"]["ahead"] != json!([]) && told["gate"]["line"] != Value::Null {
            break told;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(told["gate"]["ahead"][0]["run_id"], holder);
    assert_eq!(told["gate"]["ahead"][0]["holds"], true);
    let page = ada.get(&format!("/runs/{run}")).await;
    assert!(page.text.contains("Stands in line"), "{}", page.text);
    let aborts: Vec<_> = page.text.split("data-ask=\"abort").skip(1).collect();
    assert!(aborts.len() == 1 && aborts[0].contains("Ends the run before it has begun."), "{}", page.text);
    assert!(page.text.contains(&format!("data-ahead={holder}")));
    assert!(page.text.contains("It is the first in line. It gives up at <time"), "{}", page.text);
    assert!(page.text.contains("<dt>Asked for at</dt>") && page.text.contains("<dt>Has waited</dt>"));
    assert_eq!(told["gate"]["line"]["before"], 0);
    let third = ada.post("/api/v1/runs", "k4", &body(true)).await.json();
    let third: Uuid = third["run_id"].as_str().unwrap().parse().unwrap();
    loop {
        let told = ada.get(&format!("/api/v1/runs/{third}")).await.json();
        if told["gate"]["line"]["before"] == 1 && told["gate"]["ahead"].as_array().unwrap().len() == 2 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(ada.get(&format!("/runs/{third}")).await.text.contains("1 run in line before it"));
    bench.lamp().warm = true;
    // By then the lamp is on already: the run had its turn, and its own guard stops it.
    bench.until(run, "refused").await;
    bench.until(third, "refused").await;
    let form = ada.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(form.text.contains("is free"));
}

#[tokio::test]
async fn what_became_different_is_shown_side_by_side_and_accepted_by_a_person() {
    let guard = "  - id: is_off\n    title: The lamp is off\n    assert: steps.before.on == false\n    message: The lamp is on already.\n";
    let unguarded = SWITCH.replace("switch-lamp", "switch-on").replace(guard, "");
    let bench = Bench::with(&[("switch-on", &unguarded)]).await;
    let ada = bench.sign_in("ada").await;
    let fields = ada.planned("switch-on").await;
    let guarded = ada.planned("switch-lamp").await;
    bench.lamp().on = true;
    // One that a guard refuses by now does nothing, and nobody is asked whether it may.
    let refused = run_of(&ada.start("switch-lamp", &guarded).await);
    bench.until(refused, "refused").await;
    let page = ada.get(&format!("/runs/{refused}")).await.text;
    assert!(page.contains("it would stop at “The lamp is off”: The lamp is on already."), "{page}");
    let run = run_of(&ada.start("switch-on", &fields).await);
    bench.until(run, "paused").await;
    let page = ada.get(&format!("/runs/{run}")).await;
    assert!(page.text.contains("The world has changed since the plan was made"), "{}", page.text);
    assert!(
        page.text.contains("data-difference=\"switch\"") && page.text.contains("lamp lamps-eu: on no → yes")
    );
    assert!(page.text.contains("it is so already"));
    let told = ada.get(&format!("/api/v1/runs/{run}")).await.json();
    let hash = told["gate"]["drift"]["plan_hash"].as_str().unwrap().to_owned();
    assert_eq!(told["plan"]["hash"], json!(hash), "programs show the plan that is asked about");
    assert_ne!(told["run"]["plan"]["hash"], json!(hash));
    let accept: Value = json!({ "ask": "accept_plan", "plan_hash": hash });
    let ask = format!("/api/v1/runs/{run}/ask");
    assert_eq!(ada.post(&ask, &key(), &accept).await.status, StatusCode::ACCEPTED);
    bench.lamp().warm = true;
    bench.until(run, "succeeded").await;
    assert_eq!(bench.lamp().switched, 0);
}
