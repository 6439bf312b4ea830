//! Reviews of broken glass, as JSON.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::web::audit::close_review;

/// `GET /api/v1/reviews`: the open ones.
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "reviews": store::reviews::open(app.pool()).await? })))
}

/// What was found.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Closing {
    note: String,
}

/// `POST /api/v1/reviews/{number}/close`
pub(crate) async fn close(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<i64>,
    Json(closing): Json<Closing>,
) -> Result<Json<Value>, Problem> {
    close_review(&app, &visitor, id, &closing.note).await?;
    Ok(Json(json!({ "review": store::reviews::one(app.pool(), id).await? })))
}
