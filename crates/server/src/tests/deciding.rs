//! What a person sees before they decide: an unknown outcome, an abort.

use axum::http::{StatusCode, header};
use domain::Actor;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Bench, Person, run_of};

const SIGNAL: &str = r#"runbook: signal
title: Give a signal
when: It is dark.
risk: low
inputs:
  fleet: { type: proxy_fleet, description: Whose lamp }
locks: ["fleet:${inputs.fleet.id}"]
steps:
  - id: switch
    use: lamp.set
    with: { lamp: other, on: true }
    undo: automatic
  - id: signal
    use: lamp.signal
    with: { lamp: "${inputs.fleet.id}", on: true }
"#;

async fn unknown(bench: &Bench, person: &Person<'_>) -> Uuid {
    // The first call is answered, the signal is not.
    bench.lamp().on = true;
    bench.lamp().silent = 1;
    let fields = person.planned("signal").await;
    let run = run_of(&person.start("signal", &fields).await);
    bench.until(run, "outcome_unknown").await;
    run
}

#[tokio::test]
async fn of_an_unknown_outcome_intent_and_facts_are_side_by_side_with_three_answers() {
    let bench = Bench::with(&[("signal", SIGNAL)]).await;
    let person = bench.sign_in("ada").await;
    let run = unknown(&bench, &person).await;
    let page = person.get(&format!("/runs/{run}")).await.text;
    for shown in [
        "Right before the call",
        "<h3>Now</h3>",
        "lamp.signal",
        "It happened…",
        "It did not happen…",
        "Abandon…",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let told = person.get(&format!("/api/v1/runs/{run}")).await.json();
    let decision = &told["decisions"][0];
    assert_eq!((&decision["path"], &decision["unknown"]), (&json!("signal"), &json!(true)));
    assert_eq!(decision["before"][0], json!(["on", "yes"]));
    let asks: Vec<_> = decision["choices"].as_array().unwrap().iter().map(|c| &c["ask"]).collect();
    assert_eq!(asks, ["mark_done", "did_not_happen", "abort"]);

    // A word without a reason is none.
    let key = Uuid::now_v7().to_string();
    let answer = |reason: &'static str| {
        let (path, key) = (format!("/runs/{run}/ask"), key.clone());
        let person = &person;
        async move {
            let fields =
                [("ask", "did_not_happen"), ("id", key.as_str()), ("step", "signal"), ("reason", reason)];
            person.form(&path, &fields).await
        }
    };
    assert_eq!(answer(" ").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer("I looked, it is dark").await.status, StatusCode::SEE_OTHER);
    bench.until(run, "succeeded").await;
    let timeline = person.get(&format!("/runs/{run}?tab=timeline")).await.text;
    assert!(timeline.contains("I looked, it is dark") && timeline.contains("by ada"), "{timeline}");
    assert_eq!(bench.lamp().switched, 1);
}

#[tokio::test]
async fn of_a_run_that_a_failed_branch_ends_the_answers_say_that_it_ends() {
    let (head, _) = SIGNAL.split_once("steps:").unwrap();
    let text = format!(
        r#"{head}steps:
  - id: both
    together:
      left:
        - id: signal
          use: lamp.signal
          with: {{ lamp: "${{inputs.fleet.id}}", on: true }}
      right:
        - id: warm
          use: lamp.look
          with: {{ lamp: other }}
          until: out.warm
          every: 1s
          timeout: 2m
          on_failure: undo
"#
    );
    let bench = Bench::with(&[("signal", text.as_str())]).await;
    let person = bench.sign_in("ada").await;
    bench.lamp().silent = 1;
    let fields = person.planned("signal").await;
    let run = run_of(&person.start("signal", &fields).await);
    bench.until(run, "outcome_unknown").await;
    let choices = async || {
        let told = person.get(&format!("/api/v1/runs/{run}")).await.json();
        let choices = told["decisions"][0]["choices"].as_array().unwrap().clone();
        let word = |choice: &Value, key: &str| choice[key].as_str().unwrap().to_owned();
        choices.iter().map(|c| (word(c, "ask"), word(c, "says"))).collect::<Vec<_>>()
    };
    assert!(choices().await[0].1.contains("the run goes on"));
    // It is not warm in time.
    let ending = loop {
        let choices = choices().await;
        if choices.len() > 3 {
            break choices;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let asks: Vec<_> = ending.iter().map(|(ask, _)| ask.as_str()).collect();
    assert_eq!(asks, ["mark_done", "did_not_happen", "abort", "skip"]);
    assert!(ending[..2].iter().all(|(_, says)| says.contains("the run ends")), "{ending:?}");
}

#[tokio::test]
async fn while_it_is_looked_for_a_lost_call_one_click_has_the_question_asked_now() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    bench.lamp().silent = 1;
    bench.lamp().warm = true;
    let struck = ["fleet:lamps-eu".to_owned()];
    let (incident, _) =
        bench.engine.open_incident("It is dark", &struck, &Actor::person("ada")).await.unwrap();
    let fields = person.planned("switch-lamp").await;
    let mut topics = bench.engine.listen();
    let run = run_of(&person.start("switch-lamp", &fields).await);
    let (page, path) = (format!("/runs/{run}"), format!("/api/v1/runs/{run}"));
    let decision = async || person.get(&path).await.json()["decisions"][0].clone();
    let looking = loop {
        let looking = decision().await;
        if looking["looking"] == true {
            break looking;
        }
        topics.recv().await.unwrap();
    };
    assert_eq!((&looking["path"], &looking["choices"][0]["ask"]), (&json!("switch"), &json!("stop_looking")));
    let text = person.get(&page).await.text;
    assert!(text.contains("data-looking=\"switch\"") && text.contains("data-ask=\"stop_looking\""), "{text}");
    assert!(!text.contains("data-decision"), "nothing must be decided yet");

    let id = Uuid::now_v7().to_string();
    let fields = [("ask", "stop_looking"), ("id", id.as_str()), ("step", "switch")];
    assert_eq!(person.form(&format!("{page}/ask"), &fields).await.status, StatusCode::SEE_OTHER);
    bench.until(run, "outcome_unknown").await;
    let asked = decision().await;
    assert_eq!((&asked["looking"], &asked["unknown"]), (&json!(false), &json!(true)));
    assert_eq!(asked["facts"][0], json!(["on", "no"]));
    let text = person.get(&page).await.text;
    for shown in
        ["somebody did not want to look for its effect any longer", "once no copy of the lost one can"]
    {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    let happened = json!({ "ask": "mark_done", "step": "switch", "reason": "I see light" });
    person.post(&format!("{path}/ask"), &Uuid::now_v7().to_string(), &happened).await;
    bench.until(run, "succeeded").await;
    assert_eq!(bench.lamp().switched, 0, "the call was not made again");
    let pack = person.get(&format!("/incidents/{incident}/post-mortem.md")).await.text;
    assert!(
        pack.contains("What it changed:") && pack.contains("(as ada says)"),
        "nothing answered so: {pack}"
    );
}

#[tokio::test]
async fn the_rest_of_a_run_is_there_to_be_done_by_hand_until_it_has_ended() {
    let bench = Bench::with(&[("signal", SIGNAL)]).await;
    let person = bench.sign_in("ada").await;
    let run = unknown(&bench, &person).await;
    let path = format!("/runs/{run}/by-hand");
    assert!(person.get(&format!("/runs/{run}")).await.text.contains(&path));
    let rest = person.get(&path).await;
    assert!(rest.header(header::CONTENT_DISPOSITION).contains("signal-"), "{:?}", rest.headers);
    let text = &rest.text;
    assert!(!text.contains("### 1. ") && text.contains("### 2. "), "the first step is done: {text}");
    assert!(text.contains("The run made this change and never heard what became of it."), "{text}");
    assert!(text.contains("change lamp set ") && text.contains("\"switch\": {"), "{text}");
    assert!(!text.contains("What takes back"), "the lamp was on already: {text}");

    let key = Uuid::now_v7().to_string();
    let fields =
        [("ask", "did_not_happen"), ("id", key.as_str()), ("step", "signal"), ("reason", "it is dark")];
    person.form(&format!("/runs/{run}/ask"), &fields).await;
    bench.until(run, "succeeded").await;
    assert_eq!(person.get(&path).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn to_abandon_ends_the_run_and_leaves_the_call_as_it_is() {
    let bench = Bench::with(&[("signal", SIGNAL)]).await;
    let person = bench.sign_in("ada").await;
    let run = unknown(&bench, &person).await;
    let body = json!({ "ask": "abort", "takeback": "finally", "reason": "nobody knows" });
    let answer = person.post(&format!("/api/v1/runs/{run}/ask"), &Uuid::now_v7().to_string(), &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    bench.until(run, "aborted").await;
    assert_eq!(bench.lamp().switched, 0);
}

#[tokio::test]
async fn before_an_abort_it_is_told_what_stays_and_what_is_taken_back() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let fields = person.planned("switch-lamp").await;
    let run = run_of(&person.start("switch-lamp", &fields).await);
    let path = format!("/api/v1/runs/{run}");
    let mut topics = bench.engine.listen();
    let told = loop {
        let told = person.get(&path).await.json();
        if told["steps"][3]["status"] == "running" {
            break told;
        }
        topics.recv().await.unwrap();
    };
    let preview = |takeback: &str| {
        let asks = told["asks"].as_array().unwrap();
        let ask = asks.iter().find(|a| a["ask"] == "abort" && a["takeback"] == takeback).unwrap();
        ask["preview"].clone()
    };
    assert_eq!(preview("finally")["left"], json!(["switch"]));
    assert_eq!(preview("all")["left"], Value::Array(vec![]));
    let back =
        json!([{ "step": "switch", "action": "lamp.set", "input": { "lamp": "lamps-eu", "on": false } }]);
    assert_eq!(preview("all")["takes_back"], back);
    let page = person.get(&format!("/runs/{run}")).await.text;
    assert!(page.contains("data-ask=\"abort-all\"") && page.contains("data-ask=\"abort-finally\""), "{page}");
    assert!(
        page.contains(
            "Taken back, in this order:<ol class=\"gathered\"><li>Switch it on <code>switch</code>"
        ),
        "{page}"
    );
    assert!(
        page.contains("Stays behind:<ol class=\"gathered\"><li>Switch it on <code>switch</code>"),
        "{page}"
    );
    bench.lamp().warm = true;
    bench.until(run, "succeeded").await;
}

#[tokio::test]
async fn a_step_of_a_paused_run_is_paused_and_what_an_abort_cuts_short_is_interrupted() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let fields = person.planned("switch-lamp").await;
    let run = run_of(&person.start("switch-lamp", &fields).await);
    let page = format!("/runs/{run}");
    let step = async || {
        let text = person.get(&page).await.text;
        let step =
            text.split("data-step=\"warm\"").nth(1).unwrap().split("</details>").next().unwrap().to_owned();
        (step, text)
    };
    let mut topics = bench.engine.listen();
    while !step().await.0.contains("</svg>Waiting</span>") {
        topics.recv().await.unwrap();
    }
    let ask = async |fields: &[(&str, &str)]| {
        let id = Uuid::now_v7().to_string();
        let fields: Vec<_> = fields.iter().copied().chain([("id", id.as_str())]).collect();
        assert_eq!(person.form(&format!("{page}/ask"), &fields).await.status, StatusCode::SEE_OTHER);
    };
    ask(&[("ask", "pause")]).await;
    bench.until(run, "paused").await;
    let (warm, all) = step().await;
    assert!(warm.contains("</svg>Paused</span>"), "{warm}");
    assert!(!all.contains("id=\"at-work\""), "nothing goes on: {all}");
    ask(&[("ask", "abort"), ("reason", "enough"), ("takeback", "finally")]).await;
    bench.until(run, "aborted").await;
    let (warm, _) = step().await;
    assert!(
        warm.contains("</svg>Interrupted</span>") && warm.contains("Interrupted: the run is ending"),
        "{warm}"
    );
    assert!(!warm.contains("Skipped"), "nobody skipped it: {warm}");
}
