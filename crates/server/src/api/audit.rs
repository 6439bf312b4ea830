//! The audit, as JSON.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::error::{Problem, Thing};
use crate::web::search::{Filter, some};

/// `GET /api/v1/audit?actor=…&action=…&target=…&step=…&run=…&text=…&since=…&until=…&after=…`
pub(crate) async fn search(
    State(app): State<App>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Problem> {
    let (entries, next) = some(&app, &filter).await?;
    Ok(Json(json!({ "entries": entries, "next": next })))
}

/// `GET /api/v1/runs/{id}/proof`: whether its journal is as it was written, and how far blocks cover it.
pub(crate) async fn proof(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<Value>, Problem> {
    store::pages::run(app.pool(), id).await?.ok_or_else(|| Problem::no_such(Thing::Run))?;
    let report = store::proof::of_run(app.pool(), id).await?;
    let sealed = store::seals::of_run(app.pool(), id).await?;
    Ok(Json(json!({ "whole": report.is_whole(), "sealed": sealed, "report": report })))
}
