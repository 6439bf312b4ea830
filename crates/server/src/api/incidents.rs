//! Incidents, triggers and the outbox, as JSON.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::incident::Ask;
use domain::runbook::Mode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::incident::{find, pack, read};
use crate::session::Visitor;
use crate::web::incidents::{Filter, act, some};
use crate::web::outbox;
use crate::web::triggers::set;

/// `GET /api/v1/incidents?open=1&before=…`: the newest first.
pub(crate) async fn list(
    State(app): State<App>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Problem> {
    let (incidents, next) = some(&app, &filter).await?;
    Ok(Json(json!({ "incidents": incidents, "next": next })))
}

/// An incident that a person opens.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    title: String,
    /// Lock names, such as `fleet:proxysql-us` or `cluster:shard-b`.
    targets: Vec<String>,
}

/// `POST /api/v1/incidents`: opens one, or finds the one that is open at one of these targets.
pub(crate) async fn open(
    State(app): State<App>,
    visitor: Visitor,
    Json(Opening { title, targets }): Json<Opening>,
) -> Result<Response, Problem> {
    let (engine, by) = (app.engine().clone(), visitor.actor());
    let (id, new) = to_the_end(async move { engine.open_incident(&title, &targets, &by).await }).await??;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({ "incident": id, "new": new }))).into_response())
}

/// `GET /api/v1/incidents/{incident}`: with its timeline, signals, runs and times. The same as its post-mortem pack.
pub(crate) async fn one(State(app): State<App>, Path(word): Path<String>) -> Result<Json<Value>, Problem> {
    let view = read(&app, find(&app, &word).await?).await?;
    Ok(Json(pack::json(&view, app.engine().registry())))
}

/// `POST /api/v1/incidents/{incident}/ask`: `{ "ask": "note", "text": … }`, `severity`, `title`, `take`, `hand_over`, `close`.
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Visitor,
    Path(word): Path<String>,
    Json(ask): Json<Ask>,
) -> Result<Json<Value>, Problem> {
    let id = find(&app, &word).await?;
    act(&app, &visitor, id, ask, None).await?;
    Ok(Json(json!({ "incident": app.engine().incident(id).await? })))
}

/// `GET /api/v1/triggers`: modes and scores.
pub(crate) async fn triggers(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let (triggers, occasions) = app.engine().triggers().await?;
    let occasions = occasions.iter().map(|o| json!({ "occasion": o, "compared": o.compared() }));
    Ok(Json(json!({ "triggers": triggers, "occasions": occasions.collect::<Vec<_>>() })))
}

/// A mode.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModeBody {
    /// `runbook/trigger`
    rule: String,
    /// As configured when absent.
    mode: Option<Mode>,
    reason: String,
}

/// `POST /api/v1/triggers/mode`
pub(crate) async fn set_mode(
    State(app): State<App>,
    visitor: Visitor,
    Json(ModeBody { rule, mode, reason }): Json<ModeBody>,
) -> Result<Json<Value>, Problem> {
    set(&app, &visitor, &rule, mode, &reason).await?;
    Ok(Json(json!({ "rule": rule, "mode": mode })))
}

/// `GET /api/v1/outbox?state=untold&before=…`: the newest messages first.
pub(crate) async fn outbox(
    State(app): State<App>,
    Query(filter): Query<outbox::Filter>,
) -> Result<Json<Value>, Problem> {
    let (messages, next) = outbox::some(&app, &filter).await?;
    Ok(Json(json!({ "messages": messages, "next": next })))
}
