//! Whatever comes in by a hook: nothing panics, what is proven is kept, and no oddity of a sender is an error of ours (which it
//! would repeat for ever). Bytes at random, samples with a byte changed, samples with a value that nobody expects.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::stream::{self, StreamExt as _};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use super::bench::Bench;
use super::hooks::{SAMPLES, proven};
use crate::Source;

const AWS: [&str; 5] = [
    include_str!("../hooks/samples/cloudwatch-alarm.json"),
    include_str!("../hooks/samples/rds-event.json"),
    include_str!("../hooks/samples/rds-instance-event.json"),
    include_str!("../hooks/samples/autoscaling-event.json"),
    include_str!("../hooks/samples/alarm-event.json"),
];
const GENERIC: &str = r#"{ "kind": "requests_fail", "summary": "A third fails.", "labels": { "cluster": "shard-b" }, "state": "firing",
    "severity": "high", "fingerprint": "f-1", "started_at": "2024-05-07T14:43:00Z", "id": "d-1" }"#;

fn samples() -> Vec<(Source, &'static str)> {
    let aws = AWS.map(|sample| (Source::EventBridge, sample));
    SAMPLES.into_iter().chain(aws).chain([(Source::Generic, GENERIC)]).collect()
}

/// Raw JSON, or nearly.
fn odd() -> impl Strategy<Value = String> {
    let fixed = select(vec![
        "null".to_owned(),
        "true".into(),
        "{}".into(),
        "[]".into(),
        "\"\"".into(),
        "\" \"".into(),
        r#""\u0000""#.into(),
        r#""a\u0000b\u0000""#.into(),
        r#""\ud800""#.into(),
        r#""\udbff\udfff\ufffe""#.into(),
        "\"\u{202e}\u{feff}\u{10ffff}e\u{301}\u{1f468}\u{200d}\u{1f469}\"".into(),
        "1e308".into(),
        "1e999".into(),
        "-0.0".into(),
        i64::MIN.to_string(),
        i64::MAX.to_string(),
        u64::MAX.to_string(),
        format!("1{}", "0".repeat(400)),
        format!("\"{}\"", "x".repeat(60_000)),
        format!("\"{}\"", "é\\u0000".repeat(3_000)),
        format!("{}{}", "[".repeat(120), "]".repeat(120)),
        "[".repeat(20_000),
        format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000)),
        r#"{"a\u0000":"b"}"#.into(),
        r#"{"a":"1","a":"2"}"#.into(),
        r#""0000-01-01T00:00:00Z""#.into(),
        r#""9999-12-31T23:59:60Z""#.into(),
        r#""-262143-01-01T00:00:00Z""#.into(),
        r#""+262142-12-31T23:59:59Z""#.into(),
    ]);
    prop_oneof![3 => fixed, 1 => any::<String>().prop_map(|text| Value::from(text).to_string())]
}

/// Where all values of a sample are.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
            fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{}", escaped(name)), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), found));
        }
        _ => {}
    }
}

/// The sample with one value replaced.
fn replaced(sample: &str, at: Index, odd: &str) -> Vec<u8> {
    let mut value: Value = serde_json::from_str(sample).unwrap();
    let mut all = Vec::new();
    places(&value, "", &mut all);
    *value.pointer_mut(&all[at.index(all.len())]).unwrap() = "@here@".into();
    value.to_string().replace("\"@here@\"", odd).into_bytes()
}

fn changed(sample: &str, at: Index, byte: Option<u8>) -> Vec<u8> {
    let mut bytes = sample.as_bytes().to_vec();
    let at = at.index(bytes.len());
    match byte {
        Some(byte) => bytes[at] = byte,
        None => bytes.truncate(at),
    }
    bytes
}

fn any_body() -> impl Strategy<Value = (Source, Vec<u8>)> {
    (select(samples()), any::<Index>()).prop_flat_map(|((source, sample), at)| {
        let body = prop_oneof![
            1 => proptest::collection::vec(any::<u8>(), 0..300),
            1 => any::<String>().prop_map(String::into_bytes),
            6 => odd().prop_map(move |odd| replaced(sample, at, &odd)),
            2 => any::<Option<u8>>().prop_map(move |byte| changed(sample, at, byte)),
        ];
        (Just(source), body)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_source_panics_or_reads_what_has_no_fingerprint((source, body) in any_body()) {
        for delivered in source.read(&body).unwrap_or_default() {
            prop_assert_eq!(&delivered.signal.source, source.name());
            prop_assert!(!delivered.signal.fingerprint.is_empty() && !delivered.signal.kind.is_empty());
        }
    }
}

#[tokio::test]
async fn whatever_is_proven_is_stored_and_judged_and_shown() {
    let bench = Bench::new().await;
    let mut runner = TestRunner::deterministic();
    let bodies: Vec<_> = (0..600).map(|_| any_body().new_tree(&mut runner).unwrap().current()).collect();
    let send = async |(source, body): (Source, Vec<u8>)| {
        let mut request = Request::post(format!("/hooks/{}", source.name()));
        for (name, value) in proven(source, &body) {
            request = request.header(name, value);
        }
        let answer = bench.send(request.body(Body::from(body.clone())).unwrap()).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(2000)]).into_owned();
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}: {shown}: {}", source.name(), answer.text);
        // A message that SNS has not signed.
        let request = Request::post("/hooks/sns").body(Body::from(body)).unwrap();
        assert!(bench.send(request).await.status.is_client_error(), "{shown}");
    };
    stream::iter(bodies).for_each_concurrent(32, send).await;

    let open = || async {
        let sql = "SELECT count(*) FROM signal WHERE verdict IS NULL";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(bench.engine.pool()).await.unwrap()
    };
    let (mut rings, end) = (bench.engine.listen(), Instant::now() + Duration::from_secs(60));
    while open().await > 0 {
        assert!(Instant::now() < end, "{} signals were never judged", open().await);
        let _ = tokio::time::timeout(Duration::from_millis(200), rings.recv()).await;
    }
    let person = bench.sign_in("ada").await;
    for path in ["/", "/signals", "/api/v1/signals"] {
        assert_eq!(person.get(path).await.status, StatusCode::OK, "{path}");
    }
    let all = person.get("/api/v1/signals").await.json();
    for signal in all["signals"].as_array().unwrap() {
        let page = person.get(&format!("/signals/{}", signal["id"].as_str().unwrap())).await;
        assert_eq!(page.status, StatusCode::OK, "{signal}");
    }
}

#[tokio::test]
async fn a_hook_of_any_name_is_closed() {
    let bench = Bench::new().await;
    for name in ["%00", "%ff%fe", "..%2f..", "sns%20", "SNS", &"x".repeat(5000), "%E2%80%AE"] {
        let request = Request::post(format!("/hooks/{name}")).body(Body::from("{}")).unwrap();
        let status = bench.send(request).await.status;
        assert!(status.is_client_error(), "{name}: {status}");
    }
}
