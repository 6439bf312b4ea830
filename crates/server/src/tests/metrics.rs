//! What Prometheus reads: who may, what it finds, and that the rules which are given with it ask for nothing else.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use domain::Role;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Bench, Person, wish};

/// The value of a sample, by its name with its labels.
fn sample(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

#[tokio::test]
async fn prometheus_reads_them_with_a_token_and_nobody_without() {
    let bench = Bench::new().await;
    let refused = bench.get("/metrics").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.header(header::WWW_AUTHENTICATE).starts_with("Bearer"), "as programs are told");
    let prometheus = bench.program("ada", wish("prometheus", Role::Viewer)).await;
    let read = prometheus.get("/metrics").await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.text);
    assert_eq!(read.header(header::CONTENT_TYPE), "text/plain; version=0.0.4; charset=utf-8");
    // Whoever is to be woken when nothing answers must not be woken because a token has come to its end.
    let tokens = store::tokens::list(bench.engine.pool(), None).await.unwrap();
    let ends = sample(&read.text, "firebreak_token_expires_timestamp_seconds");
    assert_eq!(ends, Some(tokens[0].expires_at.timestamp() as f64), "{}", read.text);
    let seen = bench.sign_in("ada").await.get("/metrics").await;
    assert!(!seen.text.contains("token_expires"), "a session shows none: {}", seen.text);
}

#[tokio::test]
async fn while_the_database_is_away_a_token_that_was_good_reads_what_this_process_counts() {
    let bench = Bench::new().await;
    let prometheus = bench.program("ada", wish("prometheus", Role::Viewer)).await;
    let later = bench.program("ada", wish("later", Role::Viewer)).await;
    let text = prometheus.get("/metrics").await.text;
    assert_eq!(sample(&text, "firebreak_database_up"), Some(1.0), "{text}");
    bench.engine.pool().close().await;
    let read = prometheus.get("/metrics").await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.text);
    assert_eq!(sample(&read.text, "firebreak_database_up"), Some(0.0), "{}", read.text);
    assert!(sample(&read.text, "firebreak_runs_driven").is_some(), "{}", read.text);
    assert!(sample(&read.text, "firebreak_workers").is_none(), "nobody knows: {}", read.text);
    // Nobody can tell whether that one is good; and it is for reading these alone.
    for refused in [later.get("/metrics").await, prometheus.get("/api/v1/runs").await] {
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
    }
}

async fn start(person: &Person<'_>) -> Uuid {
    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
    let started = person.post("/api/v1/runs", &Uuid::now_v7().to_string(), &body).await;
    started.json()["run_id"].as_str().unwrap().parse().unwrap()
}

async fn ask(person: &Person<'_>, run: Uuid, ask: Value) {
    let answer = person.post(&format!("/api/v1/runs/{run}/ask"), &Uuid::now_v7().to_string(), &ask).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
}

#[tokio::test]
async fn a_run_is_counted_while_it_goes_on_and_when_it_has_ended_and_so_is_what_it_called() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let read = async || ada.get("/metrics").await.text;
    let mut topics = bench.engine.listen();
    let run = start(&ada).await;
    while bench.lamp().switched == 0 {
        topics.recv().await.unwrap();
    }
    ask(&ada, run, json!({ "ask": "pause", "reason": "a test" })).await;
    bench.until(run, "paused").await;
    let text = read().await;
    assert_eq!(sample(&text, "firebreak_runs{state=\"paused\"}"), Some(1.0), "{text}");
    assert_eq!(sample(&text, "firebreak_runs_driven"), Some(1.0), "{text}");
    assert_eq!(sample(&text, "firebreak_runs_undriven"), Some(0.0), "{text}");
    assert_eq!(sample(&text, "firebreak_workers"), Some(1.0), "{text}");
    let calls = "firebreak_changing_calls_total{action=\"lamp.set\",answer=\"done\"}";
    assert_eq!(sample(&text, calls), Some(1.0), "{text}");
    assert!(sample(&text, "firebreak_lease_left_seconds").unwrap() > 0.0, "{text}");

    ask(&ada, run, json!({ "ask": "abort", "takeback": "all", "reason": "a test" })).await;
    bench.engine.driven(run).await;
    bench.get("/no/such/page").await;
    for method in ["NONSENSE-1", "NONSENSE-2"] {
        bench.send(Request::builder().method(method).uri("/").body(Body::empty()).unwrap()).await;
    }
    let text = read().await;
    assert_eq!(sample(&text, "firebreak_runs{state=\"paused\"}"), None, "{text}");
    let ends = "firebreak_runs_ended_total{runbook=\"switch-lamp\",outcome=\"undone\"}";
    assert_eq!(sample(&text, ends), Some(1.0), "{text}");
    let births = "firebreak_commit_seconds_count{what=\"births\"}";
    assert_eq!(sample(&text, births), Some(1.0), "{text}");
    let asks = "firebreak_http_request_seconds_count{method=\"POST\",route=\"/api/v1/runs/{id}/ask\",status=\"202\"}";
    assert_eq!(sample(&text, asks), Some(2.0), "by its route, not by what it was asked for: {text}");
    let lost = "firebreak_http_request_seconds_count{method=\"GET\",route=\"none\",status=\"404\"}";
    assert_eq!(sample(&text, lost), Some(1.0), "{text}");
    assert!(!text.contains("NONSENSE") && text.contains("method=\"other\""), "{text}");
}

#[tokio::test]
async fn the_rules_that_are_given_ask_for_nothing_that_is_not_there() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    start(&ada).await; // what has nothing to tell is not there
    let prometheus = bench.program("ada", wish("prometheus", Role::Viewer)).await;
    let there = prometheus.get("/metrics").await.text;
    let rules = include_str!("../../../../deploy/prometheus-rules.yaml");
    let names: BTreeSet<&str> = rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("firebreak_"))
        .collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(there.contains(&format!("# TYPE {family} ")), "{family}: {there}");
    }
    for state in ["stuck", "outcome_unknown", "paused"] {
        assert!(rules.contains(state));
        assert!(
            include_str!("../../../domain/src/run/state.rs").contains(&format!("\"{state}\"")),
            "{state}"
        );
    }
}
