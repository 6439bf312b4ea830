//! Tokens, as JSON: one's own; an admin sees everybody's.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Role;
use domain::token::{DAYS, Scope, Wish};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::tokens;

/// `GET /api/v1/tokens`
pub(crate) async fn list(State(app): State<App>, visitor: Visitor) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "tokens": tokens::list(&app, &visitor).await? })))
}

/// A token that somebody wants.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    name: String,
    /// At most yours; a responder when absent.
    #[serde(default)]
    role: Role,
    /// It only looks.
    #[serde(default)]
    read_only: bool,
    /// It starts and steers runs of these alone.
    runbooks: Option<Vec<String>>,
    /// For how many days; 90 when absent.
    days: Option<u32>,
}

/// `POST /api/v1/tokens`: the only answer that has the secret in it.
pub(crate) async fn make(
    State(app): State<App>,
    visitor: Visitor,
    Json(body): Json<TokenBody>,
) -> Result<Response, Problem> {
    let TokenBody { name, role, read_only, runbooks, days } = body;
    let wish = Wish { name, role, scope: Scope { read_only, runbooks }, days: days.unwrap_or(DAYS) };
    let (secret, token) = tokens::make(&app, &visitor, &wish).await?;
    Ok((StatusCode::CREATED, Json(json!({ "secret": secret, "token": token }))).into_response())
}

/// `POST /api/v1/tokens/{id}/revoke`
pub(crate) async fn revoke(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, Problem> {
    tokens::revoke(&app, &visitor, id).await?;
    Ok(Json(json!({ "revoked": id })))
}
