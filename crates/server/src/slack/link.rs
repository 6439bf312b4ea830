//! A member of a Slack team speaks for a person: who is signed in says so, once, on a page of ours.
//!
//! ```text
//!  /firebreak link ─▶ a link that works once, for 15 min ─▶ page: "U… of T… is to speak for you" ─▶ a form with the session's token
//! ```
//!
//! The page names the member, because whoever got the link may have passed it on. What they may do there is what the person may who
//! confirmed it; it stays so until the link is removed, on the page of settings, by them or an admin.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::token::{Deed, reach};
use serde_json::Value;
use store::slack::{Link, Member};
use uuid::Uuid;

use super::blocks::{escape, told};
use crate::app::App;
use crate::error::{Problem, out_of_scope, sentence};
use crate::session::{LINK_VALID, Visitor, hash, token};
use crate::web::{Frame, html};

/// The answer to somebody who wants to be linked.
pub(super) async fn offer(app: &App, member: &Member) -> Result<Value, Problem> {
    let code = token().map_err(Problem::internal)?;
    store::slack::add_code(app.people(), &hash(&code), member, LINK_VALID).await?;
    let url = format!("{}/settings/slack/link/{code}", app.settings().public_url);
    let minutes = LINK_VALID.as_secs() / 60;
    Ok(told(&format!(
        "Open <{}|this link> where you are signed in to Firebreak, and confirm that it is you. It works once, for {minutes} minutes. \
         Give it to nobody.",
        escape(&url)
    )))
}

#[derive(Template)]
#[template(path = "slack_link.html")]
struct Page {
    frame: Frame,
    visitor: Visitor,
    member: Member,
    code: String,
}

fn spent() -> Problem {
    let detail = "This link does not work (any more), or its member of Slack speaks for somebody already.";
    Problem::new(StatusCode::GONE, "slack_link_spent", detail)
        .remedy("Type `/firebreak link` in Slack for a new one; a link that is in the way is removed under Settings.")
        .link("Settings", "/settings")
}

/// `GET /settings/slack/link/{token}`: a look does not use it up.
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(code): Path<String>,
) -> Result<Response, Problem> {
    let member = store::slack::code(app.people(), &hash(&code)).await?.ok_or_else(spent)?;
    html(&Page { frame: Frame::new(&app, &visitor, "settings", "Link Slack"), visitor, member, code })
}

/// `POST /settings/slack/link/{token}`
pub(crate) async fn confirm(
    State(app): State<App>,
    visitor: Visitor,
    Path(code): Path<String>,
) -> Result<Response, Problem> {
    if !store::slack::confirm(app.people(), &hash(&code), &visitor.actor(), app.now()).await? {
        return Err(spent());
    }
    Ok(Redirect::to("/settings").into_response())
}

/// The links that somebody may see.
pub(crate) async fn list(app: &App, visitor: &Visitor) -> Result<Vec<Link>, Problem> {
    Ok(store::slack::links(app.people(), reach(&visitor.actor())).await?)
}

/// `POST /settings/slack/links/{id}/remove`
pub(crate) async fn remove(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    take_away(&app, &visitor, id).await?;
    Ok(Redirect::to("/settings").into_response())
}

/// Removes a link of theirs, or, for an admin, anybody's.
pub(crate) async fn take_away(app: &App, visitor: &Visitor, id: Uuid) -> Result<(), Problem> {
    let by = visitor.actor();
    by.within_scope(Deed::Other).map_err(|e| out_of_scope(sentence(&e.to_string())))?;
    if store::slack::remove(app.people(), id, reach(&by), &by, app.now()).await? {
        return Ok(());
    }
    let detail = "There is no such link of yours that could be removed.";
    Err(Problem::new(StatusCode::CONFLICT, "not_there", detail)
        .remedy("It may be removed already: look at the list again.")
        .link("Settings", "/settings"))
}
