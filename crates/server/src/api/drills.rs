//! Drills, as JSON: which there are, the one that is played, and how those went that were played.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use domain::drill::Player;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::web::drills::{PLAYED, Part, begin, find, part};

/// A drill that was played, in a line: its curves are told where it is asked for alone.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct PlayedRow {
    id: Uuid,
    /// Name of its file.
    name: String,
    title: String,
    player: Player,
    /// Who started it.
    by: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    /// Did it end well? Nothing, where it was given up or goes on.
    recovered: Option<bool>,
    seconds_to_recovered: Option<i64>,
}

impl From<store::drills::Drill> for PlayedRow {
    fn from(drill: store::drills::Drill) -> Self {
        let store::drills::Drill { id, name, title, player, by, started_at, ended_at, score } = drill;
        let recovered = score.as_ref().map(|score| score.recovered);
        let seconds_to_recovered = score.and_then(|score| score.seconds_to_recovered);
        Self { id, name, title, player, by, started_at, ended_at, recovered, seconds_to_recovered }
    }
}

/// `GET /api/v1/drills`: without `offers` where none can be played.
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let drills = app.settings().drills.clone();
    let offers = drills.as_ref().map(|drills| drills.offers());
    let playing = drills.and_then(|drills| drills.playing());
    let played = store::drills::newest(app.people(), PLAYED).await?;
    let played: Vec<PlayedRow> = played.into_iter().map(Into::into).collect();
    Ok(Json(json!({ "offers": offers, "playing": playing, "played": played })))
}

/// A drill that is to be played.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrillBody {
    /// Its name, as `offers` has it.
    drill: String,
    /// Who acts in it; people, when absent.
    player: Option<Player>,
}

/// `POST /api/v1/drills`
pub(crate) async fn start(
    State(app): State<App>,
    visitor: Visitor,
    Json(DrillBody { drill, player }): Json<DrillBody>,
) -> Result<Response, Problem> {
    let id = begin(&app, &visitor, drill, player.unwrap_or(Player::People)).await?;
    let location = [(header::LOCATION, format!("/api/v1/drills/{id}"))];
    Ok((StatusCode::CREATED, location, Json(told(&app, id).await?)).into_response())
}

/// `GET /api/v1/drills/{id}`: with its score, and how it stands while it is on.
pub(crate) async fn one(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Json<Value>, Problem> {
    Ok(Json(told(&app, id).await?))
}

/// `POST /api/v1/drills/{id}/end`: ends it and scores it; its world stays to be looked at.
pub(crate) async fn end(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, Problem> {
    part(&app, &visitor, id, Part::End).await?;
    Ok(Json(told(&app, id).await?))
}

/// `POST /api/v1/drills/{id}/leave`: takes its world away; one that is not over is given up.
pub(crate) async fn leave(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, Problem> {
    part(&app, &visitor, id, Part::Leave).await?;
    Ok(Json(told(&app, id).await?))
}

async fn told(app: &App, id: Uuid) -> Result<Value, Problem> {
    let (drill, playing) = find(app, id).await?;
    Ok(json!({ "drill": drill, "playing": playing }))
}
