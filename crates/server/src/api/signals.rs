//! Signals and their verdicts, as JSON.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::web::signals::{Filter, Overruling, find, overrule, some, take};

/// `GET /api/v1/signals?firing=1&before=…`
pub(crate) async fn list(
    State(app): State<App>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Problem> {
    let (signals, next) = some(&app, &filter).await?;
    Ok(Json(json!({ "signals": signals, "next": next })))
}

/// `GET /api/v1/signals/{id}`: with all its verdicts, the newest first.
pub(crate) async fn one(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<Value>, Problem> {
    let signal = find(&app, id).await?;
    let verdicts = store::triage::verdicts(app.pool(), id).await?;
    Ok(Json(json!({ "signal": signal, "verdicts": verdicts })))
}

/// What is said with a start.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Taking {
    /// The `verdict_id` with which the signal was shown: when something else is offered by now, nothing is started (`plan_changed`).
    verdict: Option<i64>,
    /// What must be typed where the risk demands it.
    confirm: Option<String>,
}

/// `POST /api/v1/signals/{id}/start`: starts what a rule has prepared. The same again is the same run, whoever asks.
pub(crate) async fn start(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Json(taking): Json<Taking>,
) -> Result<Response, Problem> {
    let started = take(&app, &visitor, id, taking.verdict, taking.confirm).await?;
    let status = if started.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({ "run_id": started.run_id, "new": started.new }))).into_response())
}

/// Why.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saying {
    reason: String,
}

/// `POST /api/v1/signals/{id}/dismiss`: nothing is to be done about it, until it changes.
pub(crate) async fn dismiss(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Json(saying): Json<Saying>,
) -> Result<Json<Value>, Problem> {
    overrule(&app, &visitor, id, Overruling::Dismiss, saying.reason).await?;
    one(State(app), Path(id)).await
}

/// `POST /api/v1/signals/{id}/judge`: judges it anew, also when a person has dismissed it.
pub(crate) async fn judge(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Json(saying): Json<Saying>,
) -> Result<Json<Value>, Problem> {
    overrule(&app, &visitor, id, Overruling::JudgeAnew, saying.reason).await?;
    one(State(app), Path(id)).await
}
