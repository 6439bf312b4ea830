//! A load shedder in front of the customers' application: it takes signed calls, and turns requests to one cluster away.
//!
//! ```text
//!  POST /shedder   X-Firebreak-Timestamp, X-Firebreak-Signature (HMAC-SHA256 of `timestamp.body`), X-Firebreak-Id
//!  { "cluster": "shard-b", "percent": 30, "for_s": 900 }      0 per cent ends it; by itself it ends after `for_s`
//! ```
//!
//! An id that it knows is answered as it was the first time, and nothing is done. In the ledger a call is `Shed` or
//! `StopShedding` of the service `shedder`, and it has the fault dials and traps of the AWS API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::fault::ApiTrouble;
use crate::hold::{Lost, Phase};
use crate::ledger::LedgerEntry;
use crate::shared::Shared;

/// What the shedder and whoever calls it both know.
pub const SHEDDER_SECRET: &str = "the-load-shedders-secret";

/// A signature is taken for so many seconds; they pass as fast as the clock that it was made by.
const WINDOW_S: f64 = 300.0;

/// The calls that it did, by id: request id and answer.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<BTreeMap<String, (String, Value)>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    cluster: String,
    percent: f64,
    #[serde(default)]
    for_s: u32,
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/shedder", post(receive)).with_state(shared)
}

/// In a task of its own: what was begun is finished, even if the caller has gone.
async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let running = tokio::spawn(async move {
        let until = shared.clone();
        tokio::select! {
            answer = serve(shared, headers, body) => answer,
            () = until.stopped() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    });
    running.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn serve(shared: Arc<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let refused = |status: StatusCode, why: String| (status, Json(json!({ "error": why }))).into_response();
    if let Err(why) = proven(&shared, &headers, &body) {
        return refused(StatusCode::UNAUTHORIZED, why.into());
    }
    let Some(id) = headers.get("x-firebreak-id").and_then(|id| id.to_str().ok()).map(str::to_owned) else {
        return refused(StatusCode::BAD_REQUEST, "it has no X-Firebreak-Id".into());
    };
    let wanted: Body = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(e) => return refused(StatusCode::UNPROCESSABLE_ENTITY, e.to_string()),
    };
    let Body { cluster, percent, for_s } = wanted;
    let Some(c) = shared.world(|w| w.clusters.iter().position(|c| c.id == cluster)) else {
        return refused(StatusCode::NOT_FOUND, format!("there is no cluster `{cluster}`"));
    };
    if !(0.0..=90.0).contains(&percent) || (percent > 0.0 && for_s == 0) {
        let why = "percent must be 0 to 90, and more than 0 needs for_s".to_owned();
        return refused(StatusCode::UNPROCESSABLE_ENTITY, why);
    }
    if let Some(answer) = shared.shedder.answer(&id) {
        return answer;
    }
    let mut entry = LedgerEntry {
        n: 0,
        at: shared.clock.now(),
        service: "shedder".into(),
        operation: if percent > 0.0 { "Shed" } else { "StopShedding" }.into(),
        caller: "webhook".into(),
        params: [("cluster".to_owned(), cluster.clone()), ("percent".to_owned(), percent.to_string())].into(),
        mutating: true,
        effect: None,
        request_id: shared.request_id(),
        status: 200,
    };
    let trouble = shared.world(|w| w.dials.meet("shedder", &entry.operation));
    let failed = match trouble {
        Some(ApiTrouble::Throttle) => Some(StatusCode::TOO_MANY_REQUESTS),
        Some(ApiTrouble::Refused) => Some(StatusCode::FORBIDDEN),
        Some(ApiTrouble::InternalError) => Some(StatusCode::INTERNAL_SERVER_ERROR),
        Some(ApiTrouble::Unavailable) => Some(StatusCode::SERVICE_UNAVAILABLE),
        Some(ApiTrouble::TimeoutBefore) => {
            shared.enter(LedgerEntry { status: 0, ..entry });
            return std::future::pending().await;
        }
        Some(ApiTrouble::Latency { .. } | ApiTrouble::TimeoutAfter) | None => None,
    };
    if let Some(status) = failed {
        shared.enter(LedgerEntry { status: status.as_u16(), ..entry });
        return refused(status, "not now".into());
    }
    if let Err(Lost) = shared.holds.pass(Phase::BeforeEffect, &entry).await {
        return std::future::pending().await;
    }
    let unanswered = trouble == Some(ApiTrouble::TimeoutAfter);
    let entry = shared.world(|w| {
        entry.effect = w.shed(c, percent, i64::from(for_s));
        entry.status = if unanswered { 0 } else { 200 };
        let until = w.shedding(c).map(|s| s.until);
        let answer = json!({ "cluster": cluster, "percent": percent, "until": until });
        shared.shedder.remember(&id, &entry.request_id, answer);
        shared.enter(entry)
    });
    let lost = shared.holds.pass(Phase::AfterEffect, &entry).await;
    match shared.shedder.answer(&id) {
        Some(answer) if !unanswered && lost.is_ok() => answer,
        _ => std::future::pending().await,
    }
}

impl Known {
    fn remember(&self, id: &str, request_id: &str, answer: Value) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(id.to_owned(), (request_id.to_owned(), answer));
    }

    fn answer(&self, id: &str) -> Option<Response> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (request_id, answer) = known.get(id)?;
        Some(([("x-request-id", request_id.clone())], Json(answer.clone())).into_response())
    }
}

/// Who cannot sign is not heard.
fn proven(shared: &Shared, headers: &HeaderMap, body: &[u8]) -> Result<(), &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let sent = header("x-firebreak-timestamp").ok_or("it has no X-Firebreak-Timestamp")?;
    let at: i64 = sent.parse().map_err(|_| "its X-Firebreak-Timestamp is no number of seconds")?;
    let age = shared.clock.now().timestamp().abs_diff(at) as f64;
    if age > WINDOW_S * shared.clock.speed().max(1.0) {
        return Err("its X-Firebreak-Timestamp is more than five minutes off");
    }
    let given = header("x-firebreak-signature").and_then(|given| given.strip_prefix("v1="));
    let given = given.and_then(|hex| hex::decode(hex).ok()).ok_or("it is not signed")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(SHEDDER_SECRET.as_bytes()).map_err(|_| "no key")?;
    mac.update(sent.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&given).map_err(|_| "its signature is wrong")
}
