//! People, as JSON: an admin sees everybody, others see themselves.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Problem;
use crate::people::{self, End};
use crate::session::Visitor;

/// `GET /api/v1/people`
pub(crate) async fn list(State(app): State<App>, visitor: Visitor) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "people": people::list(&app, &visitor).await? })))
}

/// Whose.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PersonBody {
    /// By which name they are known.
    person: String,
}

async fn ended(app: &App, visitor: &Visitor, body: &PersonBody, what: End) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "ended": people::end(app, visitor, &body.person, what).await? })))
}

/// `POST /api/v1/people/sign-out`
pub(crate) async fn sign_out(
    State(app): State<App>,
    visitor: Visitor,
    Json(body): Json<PersonBody>,
) -> Result<Json<Value>, Problem> {
    ended(&app, &visitor, &body, End::Sessions).await
}

/// `POST /api/v1/people/revoke-tokens`
pub(crate) async fn revoke_tokens(
    State(app): State<App>,
    visitor: Visitor,
    Json(body): Json<PersonBody>,
) -> Result<Json<Value>, Problem> {
    ended(&app, &visitor, &body, End::Tokens).await
}

/// `POST /api/v1/people/let-go`
pub(crate) async fn let_go(
    State(app): State<App>,
    visitor: Visitor,
    Json(body): Json<PersonBody>,
) -> Result<Json<Value>, Problem> {
    ended(&app, &visitor, &body, End::Account).await
}
