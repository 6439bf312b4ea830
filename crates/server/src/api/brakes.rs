//! What holds Firebreak back, as JSON: the kill switch, freezes, locks.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use engine::InForce;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::session::Visitor;

/// `GET /api/v1/brakes`
pub(crate) async fn in_force(State(app): State<App>) -> Result<Json<InForce>, Problem> {
    Ok(Json(app.engine().brakes().in_force().await?))
}

/// Whose changes, and why.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchBody {
    /// One runbook; all when absent.
    runbook: Option<String>,
    reason: String,
}

/// `POST /api/v1/brakes/stop`: the kill switch.
pub(crate) async fn stop(
    State(app): State<App>,
    visitor: Visitor,
    Json(SwitchBody { runbook, reason }): Json<SwitchBody>,
) -> Result<Json<Value>, Problem> {
    let brakes = app.engine().brakes();
    let new =
        to_the_end(async move { brakes.stop(runbook.as_deref(), &visitor.actor(), &reason).await }).await??;
    Ok(Json(json!({ "on": true, "new": new })))
}

/// `POST /api/v1/brakes/allow`: releases it.
pub(crate) async fn allow(
    State(app): State<App>,
    visitor: Visitor,
    Json(SwitchBody { runbook, reason }): Json<SwitchBody>,
) -> Result<Json<Value>, Problem> {
    let brakes = app.engine().brakes();
    to_the_end(async move { brakes.allow(runbook.as_deref(), &visitor.actor(), &reason).await }).await??;
    Ok(Json(json!({ "on": false })))
}

/// A freeze.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreezeBody {
    /// One runbook; all when absent.
    runbook: Option<String>,
    /// Now when absent.
    starts: Option<Timestamp>,
    ends: Timestamp,
    reason: String,
}

/// `POST /api/v1/brakes/freezes`
pub(crate) async fn freeze(
    State(app): State<App>,
    visitor: Visitor,
    Json(body): Json<FreezeBody>,
) -> Result<Response, Problem> {
    let (brakes, starts) = (app.engine().brakes(), body.starts.unwrap_or_else(|| app.now()));
    let freeze = to_the_end(async move {
        brakes.freeze(body.runbook.as_deref(), (starts, body.ends), &visitor.actor(), &body.reason).await
    })
    .await??;
    Ok((StatusCode::CREATED, Json(freeze)).into_response())
}

/// Why.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonBody {
    reason: String,
}

/// `POST /api/v1/brakes/freezes/{id}/lift`
pub(crate) async fn lift(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Json(ReasonBody { reason }): Json<ReasonBody>,
) -> Result<Json<Value>, Problem> {
    let brakes = app.engine().brakes();
    to_the_end(async move { brakes.lift(id, &visitor.actor(), &reason).await }).await??;
    Ok(Json(json!({ "lifted": id })))
}

/// A calendar.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalendarBody {
    /// One runbook; all when absent.
    runbook: Option<String>,
    /// The text of the .ics file.
    calendar: String,
    /// The time zone of times that name none, such as `Europe/Berlin`.
    zone: Option<String>,
}

/// `POST /api/v1/brakes/freezes/import`
pub(crate) async fn import(
    State(app): State<App>,
    visitor: Visitor,
    Json(CalendarBody { runbook, calendar, zone }): Json<CalendarBody>,
) -> Result<Json<Value>, Problem> {
    let brakes = app.engine().brakes();
    let imported = to_the_end(async move {
        brakes.import(runbook.as_deref(), &calendar, zone.as_deref(), &visitor.actor()).await
    })
    .await??;
    Ok(Json(json!(imported)))
}

/// "I am on it."
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakeBody {
    target: String,
    reason: String,
    until: Option<Timestamp>,
}

/// `POST /api/v1/brakes/locks`
pub(crate) async fn take(
    State(app): State<App>,
    visitor: Visitor,
    Json(TakeBody { target, reason, until }): Json<TakeBody>,
) -> Result<Response, Problem> {
    let (brakes, told) = (app.engine().brakes(), json!({ "target": target, "holder": visitor.person }));
    to_the_end(async move { brakes.take(&target, &visitor.actor(), &reason, until).await }).await??;
    Ok((StatusCode::CREATED, Json(told)).into_response())
}

/// A target that is given back; somebody else's, with a reason.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GiveBackBody {
    target: String,
    reason: Option<String>,
}

/// `POST /api/v1/brakes/locks/give-back`
pub(crate) async fn give_back(
    State(app): State<App>,
    visitor: Visitor,
    Json(GiveBackBody { target, reason }): Json<GiveBackBody>,
) -> Result<Json<Value>, Problem> {
    let (brakes, told) = (app.engine().brakes(), json!({ "released": target }));
    to_the_end(async move { brakes.give_back(&target, &visitor.actor(), reason.as_deref()).await }).await??;
    Ok(Json(told))
}

/// A lock of a run that waits for a person.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForceBody {
    target: String,
    run_id: Uuid,
    reason: String,
}

/// `POST /api/v1/brakes/locks/force`
pub(crate) async fn force(
    State(app): State<App>,
    visitor: Visitor,
    Json(ForceBody { target, run_id, reason }): Json<ForceBody>,
) -> Result<Json<Value>, Problem> {
    let (brakes, told) = (app.engine().brakes(), json!({ "released": target, "run_id": run_id }));
    to_the_end(async move { brakes.force(&target, run_id, &visitor.actor(), &reason).await }).await??;
    Ok(Json(told))
}
