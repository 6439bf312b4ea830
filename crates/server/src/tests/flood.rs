//! A flood of alerts: none is lost, each counts as often as it was said, and each gets its verdict. How fast it goes on a real
//! machine is measured by `cargo xtask bench-hooks`.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::stream::{self, StreamExt as _};
use serde_json::json;

use super::bench::Bench;
use super::hooks::proven;
use crate::Source;

const DISTINCT: usize = 2000;
const REPEATS: usize = 5000;
/// Alerts of one delivery.
const GROUP: usize = 20;

fn group(numbers: impl Iterator<Item = usize>) -> String {
    let alerts: Vec<_> = numbers
        .map(|n| json!({ "status": "firing", "labels": { "alertname": "Flood", "n": n.to_string() }, "fingerprint": format!("f{n}") }))
        .collect();
    json!({ "version": "4", "alerts": alerts }).to_string()
}

async fn numbers(bench: &Bench, sql: &'static str) -> (i64, i64) {
    sqlx::query_as(sql).fetch_one(bench.engine.pool()).await.unwrap()
}

#[tokio::test]
async fn of_a_flood_nothing_is_lost_and_everything_is_judged() {
    let bench = Bench::new().await;
    let begun = Instant::now();
    let first = (0..DISTINCT / GROUP).map(|n| group(n * GROUP..(n + 1) * GROUP));
    // Of any twenty, each other from another delivery: they meet each other's rows.
    let again = (0..REPEATS / GROUP).map(|n| group((0..GROUP).map(move |k| (n * 7 + k * 101) % DISTINCT)));
    let send = async |body: String| {
        let mut request = Request::post("/hooks/alertmanager");
        for (name, value) in proven(Source::Alertmanager, body.as_bytes()) {
            request = request.header(name, value);
        }
        let answer = bench.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    };
    stream::iter(first.chain(again)).for_each_concurrent(64, send).await;
    let stored = numbers(&bench, "SELECT count(*), sum(count)::bigint FROM signal").await;
    assert_eq!(stored, (DISTINCT as i64, (DISTINCT + REPEATS) as i64));

    let judged = "SELECT count(*) FILTER (WHERE verdict IS NULL), count(*) FILTER (WHERE claim IS NOT NULL) FROM signal";
    let mut rings = bench.engine.listen();
    while numbers(&bench, judged).await != (0, 0) {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "not judged: {:?}",
            numbers(&bench, judged).await
        );
        let _ = tokio::time::timeout(Duration::from_millis(200), rings.recv()).await;
    }
}
