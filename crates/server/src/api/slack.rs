//! Who speaks for whom in Slack, as JSON: one's own links; an admin sees and removes everybody's. A link is made in Slack, and confirmed
//! by whoever is signed in: a program can make none.

use axum::Json;
use axum::extract::{Path, State};
use domain::{Role, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::slack::link;

/// A member of a Slack team who speaks for a person.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[schemars(rename = "SlackLink")]
pub(crate) struct LinkRow {
    id: Uuid,
    /// The team's id.
    team: String,
    /// The member's id in it.
    member: String,
    /// As Slack calls them.
    called: String,
    person: String,
    /// What they may do there at most.
    role: Role,
    made_at: Timestamp,
}

/// `GET /api/v1/slack/links`
pub(crate) async fn list(State(app): State<App>, visitor: Visitor) -> Result<Json<Value>, Problem> {
    let links = link::list(&app, &visitor).await?.into_iter().map(|link| LinkRow {
        id: link.id,
        team: link.member.team,
        member: link.member.id,
        called: link.member.called,
        person: link.person,
        role: link.role,
        made_at: link.made_at,
    });
    Ok(Json(json!({ "links": links.collect::<Vec<_>>() })))
}

/// `POST /api/v1/slack/links/{id}/remove`
pub(crate) async fn remove(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, Problem> {
    link::take_away(&app, &visitor, id).await?;
    Ok(Json(json!({ "removed": id })))
}
