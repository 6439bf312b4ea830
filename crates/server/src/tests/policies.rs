//! Policies of runbooks: who is refused, at every door, and who was told before they tried.

use axum::http::StatusCode;
use domain::Role;
use domain::policy::{Policies, Policy, Who};
use serde_json::json;

use super::bench::{Bench, Setting, run_of, wish};

const PARENT: &str = r#"runbook: light-all
title: Light all
when: It is dark everywhere.
risk: low
inputs:
  fleet: { type: proxy_fleet, description: Whose lamp }
steps:
  - id: one
    run: switch-lamp
    with: { fleet: "${inputs.fleet.id}" }
"#;

async fn bench() -> Bench {
    let who = |people: &[&str]| {
        Some(Who { people: people.iter().map(|&name| name.to_owned()).collect(), ..Who::default() })
    };
    let policies = Policies(
        [
            ("switch-lamp".to_owned(), Policy { start: who(&["ada"]), approve: None }),
            ("switch-lamp-severe".to_owned(), Policy { start: None, approve: who(&["carol"]) }),
        ]
        .into(),
    );
    let setting = Setting { policies, ..Setting::default() };
    Bench::set(&[("light-all", PARENT)], super::hooks::open(), setting).await
}

#[tokio::test]
async fn only_those_whom_the_policy_names_start_it_by_whichever_door_and_the_page_said_so() {
    let bench = bench().await;
    let (ada, root) = (bench.sign_in("ada").await, bench.sign_in_as("root", Role::Admin).await);
    let page = root.get("/runbooks/switch-lamp").await.text;
    assert!(
        page.contains("id=\"policy\"") && page.contains("among ada") && page.contains("id=\"narrowed\""),
        "{page}"
    );
    let page = root.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    assert_eq!(page.status, StatusCode::OK, "to plan changes nothing");
    assert!(
        page.text.contains("data-verdict=\"stops\"") && page.text.contains("id=\"start\" disabled"),
        "{}",
        page.text
    );
    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
    let refused = root.post("/api/v1/runs", "k", &body).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::FORBIDDEN, &json!("narrowed")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("among ada"), "{}", refused.text);
    assert_eq!(bench.audited("start refused: narrowed").await.len(), 1);
    // Nor by a runbook that runs it, nor by a token.
    let parent = json!({ "runbook": "light-all", "inputs": { "fleet": "lamps-eu" } });
    assert_eq!(root.post("/api/v1/runs", "p", &parent).await.json()["code"], "narrowed");
    let program = bench.program("root", wish("ci", Role::Admin)).await;
    assert_eq!(program.post("/api/v1/runs", "t", &body).await.json()["code"], "narrowed");
    assert_eq!(
        root.get("/api/v1/runbooks/switch-lamp").await.json()["policy"],
        json!({ "start": { "people": ["ada"] } })
    );

    assert!(!ada.get("/runbooks/switch-lamp").await.text.contains("id=\"narrowed\""));
    let fields = ada.planned("switch-lamp").await;
    let run = run_of(&ada.start("switch-lamp", &fields).await);
    // What stops is everybody's; what goes on is theirs.
    let ask = |what: &str| json!({ "ask": what, "reason": "a test" });
    let path = format!("/api/v1/runs/{run}/ask");
    let key = || uuid::Uuid::now_v7().to_string();
    assert_eq!(root.post(&path, &key(), &ask("pause")).await.status, StatusCode::ACCEPTED);
    bench.until(run, "paused").await;
    let refused = root.post(&path, &key(), &json!({ "ask": "resume" })).await;
    assert_eq!(refused.json()["code"], "narrowed", "{}", refused.text);
    let told = root.get(&format!("/api/v1/runs/{run}")).await.json();
    let resume = told["asks"].as_array().unwrap().iter().find(|a| a["ask"] == "resume").unwrap().clone();
    assert_eq!(resume["possible"], json!(false));
    assert!(resume["why_not"].as_str().unwrap().contains("among ada"), "{resume}");
    assert_eq!(ada.post(&path, &key(), &json!({ "ask": "resume" })).await.status, StatusCode::ACCEPTED);
    bench.until(run, "running").await;
}

#[tokio::test]
async fn only_those_whom_the_policy_names_agree_and_the_glass_can_still_be_broken() {
    let bench = bench().await;
    let (ada, root) = (bench.sign_in("ada").await, bench.sign_in_as("root", Role::Admin).await);
    let carol = bench.sign_in_as("carol", Role::Approver).await;
    let fields = ada.planned("switch-lamp-severe").await;
    let hash = fields.iter().find(|(name, _)| *name == "plan_hash").unwrap().1.clone();
    let run = run_of(&ada.start("switch-lamp-severe", &fields).await);
    let path = format!("/api/v1/runs/{run}/ask");
    let key = || uuid::Uuid::now_v7().to_string();
    let approve = json!({ "ask": "approve", "plan_hash": hash });
    let refused = root.post(&path, &key(), &approve).await;
    assert_eq!(refused.json()["code"], "narrowed", "{}", refused.text);
    let told = root.get(&format!("/api/v1/runs/{run}")).await.json();
    let choices = told["gate"]["approvals"][0].to_string();
    assert!(choices.contains("among carol"), "{choices}");
    let glass = choices.split("break_glass").nth(1).unwrap();
    assert!(glass.starts_with("\",\"possible\":true"), "{glass}");
    assert_eq!(carol.post(&path, &key(), &approve).await.status, StatusCode::ACCEPTED);
    bench.until(run, "running").await;
}
