//! The simulator's own HTTP side: `/_sim/*` for tests, a page for people, and a Prometheus for signals.
//!
//! The Prometheus answers instant queries for two recorded series per cluster and nothing else: enough
//! for a client that asks for a name, with or without one label.

mod page;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fault::FaultKind;
use crate::notify::{self, Subscriber};
use crate::physics::Sample;
use crate::shared::Shared;

type Sim = State<Arc<Shared>>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/_sim", get(page::world))
        .route("/_sim/faults", get(page::faults).post(page::strike))
        .route("/_sim/state", get(async |State(s): Sim| Json(s.world(|w| w.state()))))
        .route("/_sim/clock", get(clock).post(set_clock))
        .route("/_sim/step", post(step))
        .route("/_sim/ledger", get(async |State(s): Sim| Json(s.ledger())))
        .route("/_sim/customers", get(customers))
        .route("/_sim/operations", get(async || Json(crate::operations())))
        .route("/_sim/world", get(async |State(s): Sim| Json(s.world(|w| w.info()))))
        .route("/_sim/fault", post(fault))
        .route("/_sim/policy", post(policy))
        .route("/_sim/subscribe", post(subscribe))
        .route("/_sim/sns/confirm", get(confirm))
        .route("/_sim/sns/signer.pem", get(async || notify::SIGNER))
        .route("/_sim/sns/authority.pem", get(async || notify::AUTHORITY))
        .route("/_sim/{*rest}", any(unknown))
        .route("/api/v1/query", get(query_get).post(query_post))
        .with_state(shared)
}

async fn unknown() -> Response {
    let error = "the control API has clock, step, state, ledger, customers, operations, world, fault, policy, subscribe and sns under /_sim/, and a page at /_sim";
    (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: Option<DateTime<Utc>>,
}

/// All samples, or those after `?since=2024-05-07T14:42:00Z`: a page that draws them asks for the new ones.
async fn customers(State(shared): Sim, Query(Since { since }): Query<Since>) -> Json<Vec<Sample>> {
    let since = since.unwrap_or(DateTime::<Utc>::MIN_UTC);
    Json(shared.world(|w| w.samples_after(since).to_vec()))
}

async fn clock(State(shared): Sim) -> Json<Value> {
    let started_at = shared.world(|w| w.world.start);
    Json(json!({ "now": shared.clock.now(), "started_at": started_at, "speed": shared.clock.speed() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Speed {
    speed: f64,
}

async fn set_clock(shared: Sim, Json(Speed { speed }): Json<Speed>) -> Response {
    if !speed.is_finite() || speed < 0.0 {
        let error =
            json!({ "error": format!("speed must be 0 or more simulated seconds per second, not {speed}") });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    }
    shared.clock.set_speed(speed);
    clock(shared).await.into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    seconds: u32,
}

/// Jumps ahead; when it answers, the world has moved and every socket follows it.
async fn step(State(shared): Sim, Json(Step { seconds }): Json<Step>) -> Response {
    shared.clock.step(Duration::from_secs(seconds.into()));
    match shared.listeners.settle(&shared).await {
        Ok(()) => clock(State(shared)).await.into_response(),
        Err((address, error)) => {
            let error = json!({ "error": format!("cannot listen on {address}: {error}") });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response()
        }
    }
}

async fn fault(State(shared): Sim, Json(fault): Json<FaultKind>) -> Response {
    let wrong = shared.world(|w| w.unknown_name(&fault));
    match wrong {
        Some(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
        None => {
            shared.world(|w| w.strike(fault));
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

/// What a caller may do: an IAM policy; `null` lifts it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restriction {
    /// The access key; `*` is everybody.
    caller: String,
    policy: Value,
}

async fn policy(State(shared): Sim, Json(Restriction { caller, policy }): Json<Restriction>) -> Response {
    if policy.is_null() {
        shared.policies.lift(&caller);
        return StatusCode::NO_CONTENT.into_response();
    }
    match shared.policies.set(&caller, &policy) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))).into_response(),
    }
}

/// From now on tells somebody what happens.
async fn subscribe(State(shared): Sim, Json(subscriber): Json<Subscriber>) -> Json<Value> {
    notify::subscribe(&shared, subscriber);
    Json(json!({ "topic": notify::topic(&shared) }))
}

#[derive(Deserialize)]
struct Token {
    #[serde(rename = "Token")]
    token: String,
}

/// `ConfirmSubscription`, by the address that the invitation named.
async fn confirm(State(shared): Sim, Query(Token { token }): Query<Token>) -> Response {
    let news = shared.world(|w| w.news.len());
    if shared.confirmations.confirm(&token, news) {
        return Json(json!({ "SubscriptionArn": format!("{}:{token}", notify::topic(&shared)) }))
            .into_response();
    }
    (StatusCode::BAD_REQUEST, Json(json!({ "error": "nobody waits for this token" }))).into_response()
}

async fn query_get(shared: Sim, RawQuery(query): RawQuery) -> Response {
    query_post(shared, query.unwrap_or_default()).await
}

async fn query_post(State(shared): Sim, form: String) -> Response {
    let query = form_urlencoded::parse(form.as_bytes()).find(|(k, _)| k == "query").map(|(_, v)| v);
    match selector(query.as_deref().unwrap_or_default()) {
        Ok((name, cluster)) => Json(instant(&shared, &name, cluster.as_deref())).into_response(),
        Err(error) => {
            let body = json!({ "status": "error", "errorType": "bad_data", "error": error });
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

/// `name` or `name{cluster="x"}`.
fn selector(query: &str) -> Result<(String, Option<String>), String> {
    let query = query.trim();
    let (name, labels) = match query.split_once('{') {
        Some((name, rest)) => (name.trim(), rest.strip_suffix('}')),
        None => (query, Some("")),
    };
    let unsupported =
        || format!("this Prometheus understands only NAME and NAME{{cluster=\"x\"}}, not `{query}`");
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(unsupported());
    }
    match labels.ok_or_else(unsupported)?.trim() {
        "" => Ok((name.into(), None)),
        label => {
            let (key, value) = label.split_once('=').ok_or_else(unsupported)?;
            let value = value.trim().strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            match (key.trim(), value) {
                ("cluster", Some(value)) if !value.contains('"') => Ok((name.into(), Some(value.into()))),
                _ => Err(unsupported()),
            }
        }
    }
}

fn instant(shared: &Shared, name: &str, cluster: Option<&str>) -> Value {
    let read: Option<fn(&Sample) -> f64> = match name {
        "cluster:request_error_share" => Some(Sample::error_share),
        "cluster:requests_per_second" => Some(Sample::requests_per_second),
        _ => None,
    };
    let now = shared.clock.now().timestamp_millis() as f64 / 1000.0;
    let samples: Vec<Sample> = shared.world(|w| w.last_samples().to_vec());
    let series = |s: &Sample| {
        let value = read.map(|read| read(s))?;
        let labels = json!({ "__name__": name, "cluster": s.cluster });
        Some(json!({ "metric": labels, "value": [now, value.to_string()] }))
    };
    let wanted = samples.iter().filter(|s| cluster.is_none_or(|c| c == s.cluster));
    let result: Vec<Value> = wanted.filter_map(series).collect();
    json!({ "status": "success", "data": { "resultType": "vector", "result": result } })
}

#[cfg(test)]
mod tests {
    use super::selector;

    #[test]
    fn only_plain_selectors_are_understood() {
        assert_eq!(selector("a:b"), Ok(("a:b".into(), None)));
        assert_eq!(selector(" a:b{cluster=\"shard-b\"} "), Ok(("a:b".into(), Some("shard-b".into()))));
        for bad in ["", "sum(a)", "a{", "a{cluster=x}", "a{job=\"x\"}", "a > 1"] {
            assert!(selector(bad).is_err(), "{bad}");
        }
    }
}
