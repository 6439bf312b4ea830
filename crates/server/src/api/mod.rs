//! JSON for programs, under `/api/v1`: the same as the pages, from the same sources.
//!
//! Failures are `application/problem+json`. Programs send `Authorization: Bearer` with a token, pages their cookie and, to
//! change something, the session's token as `X-CSRF-Token`. Each change but two takes an `Idempotency-Key` of your own; the same key
//! again does the same once. (A token's secret is told once; what a rule has prepared is one run, however often it is started.)

pub(crate) mod audit;
pub(crate) mod brakes;
pub(crate) mod drills;
pub(crate) mod incidents;
pub(crate) mod openapi;
pub(crate) mod people;
pub(crate) mod readiness;
pub(crate) mod reviews;
pub(crate) mod runbooks;
pub(crate) mod runs;
pub(crate) mod signals;
pub(crate) mod slack;
pub(crate) mod tokens;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::situation::{self, Situation};

/// `GET /api/v1/session`: who this is, and what its changes must carry (a token's: nothing).
pub(crate) async fn session(visitor: Visitor) -> Json<Value> {
    let csrf = Some(&visitor.csrf).filter(|_| visitor.token.is_none());
    Json(json!({
        "person": visitor.person, "role": visitor.role, "groups": visitor.groups, "csrf": csrf, "token": visitor.token,
    }))
}

/// `GET /api/v1/situation`
pub(crate) async fn situation(State(app): State<App>) -> Result<Json<Situation>, Problem> {
    Ok(Json(situation::read(&app).await?))
}

/// `GET /healthz`: this process answers.
pub(crate) async fn healthy() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: and so does the database.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    store::pages::locks(app.pool()).await?;
    Ok("ready\n")
}

/// The caller's `Idempotency-Key`, if there is one.
fn key(headers: &HeaderMap) -> &str {
    headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default()
}
