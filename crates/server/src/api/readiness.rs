//! Rehearsals, as JSON.

use axum::Json;
use axum::extract::State;
use domain::readiness::Answer;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Problem;
use crate::web::readiness::Which;

/// `GET /api/v1/readiness`: every runbook on every target, what would stop first.
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "readiness": app.engine().readiness().await? })))
}

/// `POST /api/v1/readiness`: rehearses one now, and tells what it showed.
pub(crate) async fn rehearse(
    State(app): State<App>,
    Json(Which { runbook, target }): Json<Which>,
) -> Result<Json<Answer>, Problem> {
    Ok(Json(app.engine().rehearse(&runbook, &target).await?))
}
