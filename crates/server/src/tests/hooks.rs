//! The alerts intake, with a recorded sample of each source; and what becomes of what came in, on the pages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use domain::Clock as _;
use domain::signal::SignalState;
use engine::Topic;
use engine::clock::SystemClock;
use futures::{StreamExt as _, stream};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use store::signals::{SignalFilter, SignalRow};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::bench::{Answer, Bench, run_of};
use crate::app::App;
use crate::hooks::{PLACES, PLACES_OF_STRANGERS, receive};
use crate::{Hooks, Proof, Secret, Source};

const TOKEN: &str = "a token that is long enough";
const SECRET: &str = "a secret that is long enough";

pub(super) const SAMPLES: [(Source, &str); 5] = [
    (Source::Alertmanager, include_str!("../hooks/samples/alertmanager.json")),
    (Source::Grafana, include_str!("../hooks/samples/grafana.json")),
    (Source::PagerDuty, include_str!("../hooks/samples/pagerduty.json")),
    (Source::Datadog, include_str!("../hooks/samples/datadog.json")),
    (Source::Opsgenie, include_str!("../hooks/samples/opsgenie.json")),
];

pub(super) fn open() -> Hooks {
    let secrets = || vec![Secret::new("the one before, long enough"), Secret::new(SECRET)];
    Source::ALL.into_iter().fold(Hooks::default(), |hooks, source| match source {
        Source::Generic | Source::PagerDuty | Source::Grafana => hooks.with(source, Proof::Signed(secrets())),
        _ => hooks.with(source, Proof::Token(Secret::new(TOKEN))),
    })
}

fn hmac(secret: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    hex::encode(mac.finalize().into_bytes())
}

/// The headers that prove it.
pub(super) fn proven(source: Source, body: impl AsRef<[u8]>) -> Vec<(&'static str, String)> {
    let body = body.as_ref();
    match source {
        Source::PagerDuty => {
            let signature = hmac(SECRET, &[body]);
            vec![("x-pagerduty-signature", format!("v1={},v1={signature}", "00".repeat(32)))]
        }
        Source::Grafana => vec![("x-grafana-alerting-signature", hmac(SECRET, &[body]))],
        Source::Generic => signed(SystemClock.now().timestamp(), body),
        Source::Alertmanager => vec![("authorization", format!("Bearer {TOKEN}"))],
        Source::Datadog | Source::EventBridge | Source::Opsgenie => {
            vec![("x-firebreak-token", TOKEN.to_owned())]
        }
    }
}

fn signed(at: i64, body: impl AsRef<[u8]>) -> Vec<(&'static str, String)> {
    let at = at.to_string();
    let signature = hmac(SECRET, &[at.as_bytes(), b".", body.as_ref()]);
    vec![("x-firebreak-timestamp", at), ("x-firebreak-signature", format!("v1={signature}"))]
}

async fn post(bench: &Bench, source: &str, headers: &[(&'static str, String)], body: &str) -> Answer {
    let mut request = Request::post(format!("/hooks/{source}"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    bench.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn deliver(bench: &Bench, source: Source, body: &str) {
    let answer = post(bench, source.name(), &proven(source, body), body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}: {}", source.name(), answer.text);
}

async fn signals(bench: &Bench) -> Vec<SignalRow> {
    store::signals::list(bench.engine.pool(), SignalFilter::default(), 100).await.unwrap()
}

/// Waits until all signals have a verdict, and answers them.
async fn judged(bench: &Bench) -> Vec<SignalRow> {
    let mut rings = bench.engine.listen();
    loop {
        let all = signals(bench).await;
        if all.iter().all(|signal| signal.verdict.is_some()) {
            return all;
        }
        while rings.recv().await.unwrap() != Topic::Signals {}
    }
}

#[tokio::test]
async fn each_source_proves_itself_or_is_not_heard() {
    let bench = Bench::new().await;
    for (source, sample) in SAMPLES {
        let wrong: Vec<_> = proven(source, sample)
            .into_iter()
            .map(|(name, value)| (name, value.replace("a token", "b token").replace(['a', 'b', 'c'], "d")))
            .collect();
        for headers in [vec![], wrong] {
            let answer = post(&bench, source.name(), &headers, sample).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}: {}", source.name(), answer.text);
            assert_eq!(answer.json()["code"], "not_proven");
        }
        if matches!(source, Source::PagerDuty | Source::Grafana) {
            let other = sample.replace("shard-b", "shard-c");
            let answer = post(&bench, source.name(), &proven(source, sample), &other).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "another body: {}", source.name());
        }
    }
    let answer = post(&bench, "nagios", &[], "{}").await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (StatusCode::UNAUTHORIZED, &Value::from("hook_closed"))
    );
    // Whoever invents names fills no log with them.
    let answer = post(&bench, &"x".repeat(5000), &[], "{}").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.text.contains("xxx…") && answer.text.len() < 600, "{}", answer.text);
    assert!(signals(&bench).await.is_empty());
}

#[tokio::test]
async fn a_signed_delivery_is_good_for_five_minutes() {
    let bench = Bench::new().await;
    let body = r#"{ "kind": "requests_fail", "summary": "A third fails." }"#;
    let now = SystemClock.now().timestamp();
    for (at, status) in [
        (now - 400, StatusCode::UNAUTHORIZED),
        (now + 400, StatusCode::UNAUTHORIZED),
        (now - 200, StatusCode::ACCEPTED),
    ] {
        assert_eq!(post(&bench, "generic", &signed(at, body), body).await.status, status, "{}", at - now);
    }
    let mut later = signed(now - 400, body);
    later[0].1 = now.to_string();
    let answer = post(&bench, "generic", &later, body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "the time is signed, too");
}

#[tokio::test]
async fn a_recorded_sample_of_each_source_becomes_a_signal() {
    let bench = Bench::new().await;
    for (source, sample) in SAMPLES {
        deliver(&bench, source, sample).await;
    }
    let mut told: Vec<Value> = signals(&bench)
        .await
        .into_iter()
        .map(|s| {
            serde_json::json!({
                "source": s.source, "kind": s.kind, "state": s.state, "severity": s.severity, "summary": s.summary,
                "labels": s.labels, "started_at": s.started_at,
            })
        })
        .collect();
    told.sort_by_key(Value::to_string);
    insta::assert_json_snapshot!("samples", told);
}

#[tokio::test]
async fn the_same_again_counts_up_and_what_is_over_and_comes_late_opens_nothing() {
    let bench = Bench::new().await;
    let group = |status: &str, started: &str| {
        format!(
            r#"{{ "version": "4", "alerts": [{{ "status": "{status}", "labels": {{ "alertname": "A" }}, "startsAt": "{started}", "fingerprint": "f" }}] }}"#
        )
    };
    let (one, two) = ("2024-05-07T14:43:00Z", "2024-05-07T15:00:00Z");
    let states = [
        ("firing", one, 1, "firing", 1),
        ("firing", one, 1, "firing", 2),
        ("resolved", one, 1, "resolved", 3),
        ("resolved", one, 1, "resolved", 4),
        ("firing", one, 1, "resolved", 5),
        ("firing", two, 2, "firing", 1),
    ];
    for (status, started, rows, state, count) in states {
        deliver(&bench, Source::Alertmanager, &group(status, started)).await;
        let all = signals(&bench).await;
        assert_eq!(
            (all.len(), all[0].state.as_str(), all[0].count),
            (rows, state, count),
            "{status} {started}"
        );
    }
}

#[tokio::test]
async fn a_delivery_that_its_source_repeats_under_the_same_id_is_taken_once() {
    let bench = Bench::new().await;
    let sample = SAMPLES[2].1;
    deliver(&bench, Source::PagerDuty, sample).await;
    deliver(&bench, Source::PagerDuty, sample).await;
    assert_eq!(signals(&bench).await[0].count, 1);
    // Long after it is over, a copy of the first delivery opens nothing.
    let over =
        sample.replace("incident.triggered", "incident.resolved").replace("01CH754SM17", "02CH754SM17");
    deliver(&bench, Source::PagerDuty, &over).await;
    deliver(&bench, Source::PagerDuty, sample).await;
    let all = signals(&bench).await;
    assert_eq!((all.len(), all[0].state.as_str()), (1, "resolved"));
}

#[tokio::test]
async fn an_incident_that_pagerduty_opens_again_fires_again() {
    let bench = Bench::new().await;
    let sample = SAMPLES[2].1;
    let (over, again, copy) = (
        event("02", "resolved", "14:50:00"),
        event("03", "reopened", "14:51:00"),
        event("04", "triggered", "14:44:02"),
    );
    let said = [(sample, 1, "firing"), (&over, 1, "resolved"), (&copy, 1, "resolved"), (&again, 2, "firing")];
    for (body, rows, state) in said {
        deliver(&bench, Source::PagerDuty, body).await;
        let all = signals(&bench).await;
        assert_eq!((all.len(), all[0].state.as_str()), (rows, state), "{body}");
    }
    deliver(&bench, Source::PagerDuty, &event("05", "resolved", "14:55:00")).await;
    assert!(signals(&bench).await.iter().all(|s| s.state == "resolved"));
}

/// The sample, as another event of the same incident.
fn event(id: &str, what: &str, at: &str) -> String {
    let event = SAMPLES[2].1.replace("01CH754SM17", &format!("{id}CH754SM17"));
    event.replace("incident.triggered", &format!("incident.{what}")).replace("14:44:02.123", at)
}

#[tokio::test]
async fn a_cycle_of_datadog_that_has_recovered_does_not_fire_again() {
    let bench = Bench::new().await;
    let sample = SAMPLES[3].1;
    let (over, next) =
        (sample.replace("\"Triggered\"", "\"Recovered\""), sample.replace("17150930", "17150931"));
    let said = [(sample, 1, "firing"), (&over, 1, "resolved"), (sample, 1, "resolved"), (&next, 2, "firing")];
    for (body, rows, state) in said {
        deliver(&bench, Source::Datadog, body).await;
        let all = signals(&bench).await;
        assert_eq!((all.len(), all[0].state.as_str()), (rows, state), "{body}");
    }
}

#[tokio::test]
async fn an_event_that_comes_when_it_would_be_over_is_kept_as_over() {
    let bench = Bench::new().await;
    let event = include_str!("../hooks/samples/rds-event.json");
    // The bench's clock begins at 14:00.
    for (old, state) in [("13:59", "firing"), ("13:40", "resolved")] {
        let body = event.replace("13:59", old).replace("844e2571", old).replace("shard-b", old);
        deliver(&bench, Source::EventBridge, &body).await;
        assert_eq!(signals(&bench).await[0].state, state, "{old}");
    }
    assert!(judged(&bench).await.iter().any(|s| s.code.as_deref() == Some("resolved")));
}

#[tokio::test]
async fn what_is_proven_and_not_understood_is_kept_and_shown() {
    let bench = Bench::new().await;
    let bad = [
        (Source::Alertmanager, "not json", "expected"),
        (Source::Alertmanager, r#"{ "version": "5", "alerts": [] }"#, "its version is `5`"),
        (Source::Generic, r#"{ "kind": "k", "summary": "s", "stat": "resolved" }"#, "unknown field `stat`"),
        (Source::Datadog, &SAMPLES[3].1.replace("4711", "$ALERT_ID"), "not filled in"),
    ];
    for (source, body, _) in &bad {
        deliver(&bench, *source, body).await;
        deliver(&bench, *source, body).await;
    }
    let all = judged(&bench).await;
    assert_eq!(all.len(), bad.len(), "the same again counts up: {all:#?}");
    for (.., words) in bad {
        let kept =
            all.iter().find(|s| s.summary.contains(words)).unwrap_or_else(|| panic!("{words}: {all:#?}"));
        assert_eq!((kept.state.as_str(), kept.count), (SignalState::Unclear.word(), 2));
        assert_eq!((kept.verdict.as_deref(), kept.code.as_deref()), (Some("ignored"), Some("unclear")));
    }
    let page = bench.sign_in("ada").await.get("/signals").await;
    assert!(page.text.contains("unknown field `stat`") && page.text.contains("Not understood"));
}

/// A group of Alertmanager with so many alerts of about a kilobyte.
fn group(alerts: usize) -> String {
    let why = "x".repeat(900);
    let alert = |n| {
        serde_json::json!({ "status": "firing", "labels": { "alertname": "Flood" }, "annotations": { "description": why },
                            "fingerprint": format!("f{n}") })
    };
    serde_json::json!({ "version": "4", "alerts": (0..alerts).map(alert).collect::<Vec<_>>() }).to_string()
}

#[tokio::test]
async fn of_a_group_as_large_as_a_storm_makes_it_every_alert_is_taken_and_its_text_is_cut() {
    let bench = Bench::new().await;
    let body = group(400);
    assert!(body.len() > 400 * 900);
    deliver(&bench, Source::Alertmanager, &body).await;
    let sql = "SELECT count(*), max(length(body))::bigint FROM signal WHERE state = 'firing'";
    let (stored, longest): (i64, i64) = sqlx::query_as(sql).fetch_one(bench.engine.pool()).await.unwrap();
    assert_eq!((stored, longest), (400, 256 * 1024 + 1));
}

#[tokio::test]
async fn of_more_alerts_than_are_taken_the_first_are_and_a_signal_says_how_many_are_left_out() {
    let bench = Bench::new().await;
    deliver(&bench, Source::Alertmanager, &group(1100)).await;
    let sql = "SELECT count(*) FILTER (WHERE state = 'firing'), count(*) FILTER (WHERE state = 'unclear' AND summary LIKE '%100 are left out%') FROM signal";
    let counts: (i64, i64) = sqlx::query_as(sql).fetch_one(bench.engine.pool()).await.unwrap();
    assert_eq!(counts, (1000, 1));
}

/// A delivery of which so much comes, and then nothing any more. It says when it is at that point.
fn unfinished(size: usize, waits: &Arc<Semaphore>) -> Request<Body> {
    let begun = stream::once(async move { Ok::<_, std::io::Error>(vec![b'x'; size]) });
    let waits = waits.clone();
    let never = stream::once(async move {
        waits.add_permits(1);
        std::future::pending().await
    });
    let request = Request::post("/hooks/pagerduty").header("x-pagerduty-signature", "v1=00");
    request.body(Body::from_stream(begun.chain(never))).unwrap()
}

#[tokio::test]
async fn strangers_who_dribble_hold_nobody_up() {
    let bench = Bench::new().await;
    let app = App::new(bench.engine.clone(), bench.settings.clone());
    let free = || (app.intake().available_permits(), app.strangers().available_permits());
    let begin = async |how_many: u32, size: usize| {
        let waits = Arc::new(Semaphore::new(0));
        let mut strangers = JoinSet::new();
        for _ in 0..how_many {
            strangers.spawn(receive(
                State(app.clone()),
                Path("pagerduty".to_owned()),
                unfinished(size, &waits),
            ));
        }
        drop(waits.acquire_many(how_many).await.unwrap());
        strangers
    };
    // More than there are places.
    let small = begin(600, 1).await;
    assert_eq!(free(), (PLACES, PLACES_OF_STRANGERS));
    // What has really come takes room, of what is kept for it.
    let large = begin(3, 300 * 1024).await;
    assert_eq!(free(), (PLACES, PLACES_OF_STRANGERS - 6));
    for (source, sample) in SAMPLES {
        let mut request = Request::post("/");
        for (name, value) in proven(source, sample) {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(sample)).unwrap();
        let answer = receive(State(app.clone()), Path(source.name().to_owned()), request).await;
        assert_eq!(answer.unwrap().status(), StatusCode::ACCEPTED, "{}", source.name());
    }
    drop((small, large));
}

#[tokio::test]
async fn who_holds_room_does_not_wait_for_more_and_is_told_to_come_again() {
    let bench = Bench::new().await;
    let app = App::new(bench.engine.clone(), bench.settings.clone());
    let all_but_one = u32::try_from(PLACES_OF_STRANGERS - 1).unwrap();
    let taken = app.strangers().acquire_many(all_but_one).await.unwrap();
    let chunks = [vec![b'x'; 200 * 1024], vec![b'x'; 100 * 1024]].map(Ok::<_, std::io::Error>);
    let request = Request::post("/hooks/pagerduty").header("x-pagerduty-signature", "v1=00");
    let request = request.body(Body::from_stream(stream::iter(chunks))).unwrap();
    let answer = receive(State(app.clone()), Path("pagerduty".to_owned()), request).await.unwrap();
    // A sender that is told 4xx does not come again.
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(taken);
    assert_eq!(app.strangers().available_permits(), PLACES_OF_STRANGERS);
}

#[tokio::test]
async fn what_carries_no_signature_is_refused_before_it_is_read() {
    let bench = Bench::new().await;
    let app = App::new(bench.engine.clone(), bench.settings.clone());
    for source in [Source::PagerDuty, Source::Grafana, Source::Generic] {
        let body = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let request = Request::post("/").body(body).unwrap();
        let refused = receive(State(app.clone()), Path(source.name().to_owned()), request).await;
        assert_eq!(refused.unwrap_err().code, "not_proven", "{}", source.name());
    }
}

#[tokio::test]
async fn an_odd_alert_is_told_and_those_beside_it_fire() {
    let bench = Bench::new().await;
    let alert =
        |status: &str, name: &str| json!({ "status": status, "labels": { name: "ProxySQLLoginErrors" } });
    for (source, version) in [(Source::Alertmanager, "4"), (Source::Grafana, "1")] {
        let alerts = [
            alert("firing", "nameless"),
            alert("snoozed", "alertname"),
            json!({ "status": "firing", "labels": { "alertname": 7 } }),
            json!("no alert"),
            alert("firing", "alertname"),
        ];
        deliver(&bench, source, &json!({ "version": version, "alerts": alerts }).to_string()).await;
        let all = signals(&bench).await;
        let of = |state: &str| {
            all.iter().filter(|s| s.source == source.name() && s.state == state).collect::<Vec<_>>()
        };
        let fires: Vec<_> = of("firing").iter().map(|signal| signal.kind.as_str()).collect();
        assert_eq!(fires, ["ProxySQLLoginErrors"], "{}", source.name());
        assert_eq!(of("unclear").len(), 4, "{all:#?}");
        assert!(of("unclear").iter().any(|signal| signal.summary.contains("no label `alertname`")));
    }
}

#[tokio::test]
async fn a_delivery_that_is_too_large_is_not_read_and_a_signal_says_so_if_its_sender_is_known() {
    let bench = Bench::new().await;
    let body = "x".repeat(4 * 1024 * 1024 + 1);
    let stranger = vec![("authorization", "Bearer of something else".to_owned())];
    let answer = post(&bench, "alertmanager", &stranger, &body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    // Who has signed it is only known of what was read.
    let answer = post(&bench, "grafana", &proven(Source::Grafana, &body), &body).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &Value::from("too_large"))
    );
    assert!(signals(&bench).await.is_empty());

    let headers = proven(Source::Alertmanager, &body);
    let answer = post(&bench, "alertmanager", &headers, &body).await;
    assert_eq!(
        (answer.status, &answer.json()["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &Value::from("too_large"))
    );
    // One that does not say how large it is.
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>(body)]);
    let request = Request::post("/hooks/alertmanager").header(headers[0].0, &headers[0].1);
    let answer = bench.send(request.body(Body::from_stream(chunks)).unwrap()).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let all = signals(&bench).await;
    assert_eq!((all.len(), all[0].state.as_str(), all[0].count), (1, "unclear", 2));
    assert!(all[0].summary.contains("larger than 4 MiB"), "{}", all[0].summary);
}

/// A lamp that may be lit when somebody says that it is dark.
fn lit(mode: &str) -> String {
    format!(
        r#"runbook: light
title: Light the lamp
when: It is dark
risk: medium
inputs:
  fleet: {{ type: proxy_fleet, description: Whose lamp }}
locks: ["fleet:${{inputs.fleet.id}}"]
triggers:
  - name: dark
    where: signal.kind == "dark" && signal.labels.team != "night"
    inputs: {{ fleet: "${{signal.labels.fleet}}" }}
    mode: {mode}
steps:
  - {{ id: before, use: lamp.look, with: {{ lamp: "${{inputs.fleet.id}}" }} }}
  - {{ id: is_off, title: The lamp is off, assert: steps.before.on == false, message: The lamp is on already. }}
  - {{ id: switch, use: lamp.set, with: {{ lamp: "${{inputs.fleet.id}}", on: true }} }}
"#
    )
}

const DARK: &str = r#"{ "kind": "dark", "summary": "It is dark.", "labels": { "fleet": "lamps-eu" } }"#;

#[tokio::test]
async fn a_signal_asks_with_its_evidence_and_one_click_starts_the_run() {
    let bench = Bench::with(&[("light", &lit("ask"))]).await;
    deliver(&bench, Source::Generic, DARK).await;
    let signal = judged(&bench).await.remove(0);
    assert_eq!(
        (signal.verdict.as_deref(), signal.code.as_deref()),
        (Some("asked"), Some("ask")),
        "{signal:#?}"
    );
    assert_eq!(bench.lamp().switched, 0);

    let person = bench.sign_in("ada").await;
    let home = person.get("/").await;
    assert!(home.text.contains("It is dark.") && home.text.contains("data-offer=\"light\""), "{}", home.text);
    let page = person.get(&format!("/signals/{}", signal.id)).await;
    assert!(page.text.contains("Evidence: the plan of light") && page.text.contains("The lamp is off"));
    assert!(page.text.contains("/runbooks/light?fleet=lamps-eu"), "{}", page.text);

    let start = format!("/signals/{}/start", signal.id);
    let run = run_of(&person.form(&start, &[]).await);
    // A second click, and somebody else's, are the same run.
    assert_eq!(run_of(&person.form(&start, &[]).await), run);
    let other = bench.sign_in("bob").await.post(&format!("/api/v1{start}"), "", &serde_json::json!({})).await;
    assert_eq!((other.status, &other.json()["run_id"]), (StatusCode::OK, &Value::from(run.to_string())));
    bench.until(run, "succeeded").await;
    assert_eq!(bench.lamp().switched, 1);

    let page = person.get(&format!("/runs/{run}")).await;
    assert!(page.text.contains("generic: It is dark.") && page.text.contains("prepared by light/dark"));
    let cause = &person.get(&format!("/api/v1/runs/{run}")).await.json()["cause"];
    assert_eq!(
        (&cause["signal"], &cause["rule"]),
        (&Value::from(signal.id.to_string()), &Value::from("light/dark"))
    );
}

#[tokio::test]
async fn an_offer_of_high_risk_has_a_field_for_what_must_be_typed() {
    let bench = Bench::with(&[("light", &lit("ask").replace("risk: medium", "risk: high"))]).await;
    deliver(&bench, Source::Generic, DARK).await;
    let signal = judged(&bench).await.remove(0);
    let person = bench.sign_in("ada").await;
    for path in ["/", "/signals", &format!("/signals/{}", signal.id)] {
        let page = person.get(path).await.text;
        assert!(
            page.contains("Type <code>lamps-eu</code>") && page.contains("name=\"confirm\""),
            "{path}: {page}"
        );
    }
    let start = format!("/signals/{}/start", signal.id);
    assert_eq!(
        person.form(&start, &[("confirm", "lamps-us")]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let run = run_of(&person.form(&start, &[("confirm", "lamps-eu")]).await);
    bench.until(run, "succeeded").await;
}

#[tokio::test]
async fn a_rule_in_mode_shadow_only_writes_down_what_it_would_have_done() {
    let bench = Bench::with(&[("light", &lit("shadow"))]).await;
    deliver(&bench, Source::Generic, DARK).await;
    let signal = judged(&bench).await.remove(0);
    assert_eq!(signal.verdict.as_deref(), Some("suggested"));
    let list = bench.sign_in("ada").await.get("/api/v1/signals?firing=1").await.json();
    assert_eq!(list["signals"][0]["code"], "shadow");
    assert_eq!(bench.lamp().switched, 0);
}

#[tokio::test]
async fn whoever_may_not_start_runs_takes_no_offer_and_the_refusal_is_audited() {
    let bench = Bench::with(&[("light", &lit("ask"))]).await;
    deliver(&bench, Source::Generic, DARK).await;
    let signal = judged(&bench).await.remove(0);
    let viewer = bench.sign_in_as("vic", domain::Role::Viewer).await;
    let answer = viewer.form(&format!("/signals/{}/start", signal.id), &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text);
    let audit = bench.sign_in("ada").await.get("/api/v1/audit?actor=vic").await;
    assert!(audit.text.contains("start refused: not_allowed"), "{}", audit.text);
}

#[tokio::test]
async fn why_nothing_happened_is_told_of_every_signal() {
    let bench = Bench::with(&[("light", &lit("auto"))]).await;
    bench.lamp().on = true;
    for body in [
        DARK.to_owned(),
        DARK.replace("dark\"", "cold\""),
        DARK.replace("lamps-eu", "lamps-us"),
        DARK.replace("\"labels\": {", "\"state\": \"resolved\", \"labels\": { \"team\": \"day\","),
        DARK.replace("\"labels\": {", "\"labels\": { \"team\": \"night\","),
    ] {
        deliver(&bench, Source::Generic, &body).await;
    }
    let mut codes: Vec<_> = judged(&bench).await.into_iter().map(|s| s.code.unwrap()).collect();
    codes.sort();
    assert_eq!(codes, ["no_rule", "no_rule", "refuted", "resolved", "unfit"]);
    let page = bench.sign_in("ada").await.get("/signals").await;
    for words in
        ["by its guard `is_off`: The lamp is on already.", "No rule takes it.", "no proxy fleet `lamps-us`"]
    {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
}
