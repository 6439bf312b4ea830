//! What people did that no journal tells: sign-ins, refused starts. Before it, the reviews that wait for somebody.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use store::audit::Entry;
use store::reviews::Review;

use super::{Frame, html};
use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::session::Visitor;
use crate::words;

const SHOWN: i64 = 200;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    reviews: Vec<Review>,
    entries: Vec<Entry>,
}

/// `GET /audit`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let entries = store::audit::newest(app.pool(), SHOWN).await?;
    let reviews = store::reviews::open(app.pool()).await?;
    html(&Page { reviews, frame: Frame::new(&app, &visitor, "audit", "Audit"), entries })
}

/// What a form says.
#[derive(Debug, Deserialize)]
pub(crate) struct Closing {
    note: String,
}

/// `POST /reviews/{number}/close`
pub(crate) async fn close(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<i64>,
    Form(closing): Form<Closing>,
) -> Result<Response, Problem> {
    close_review(&app, &visitor, id, &closing.note).await?;
    Ok(Redirect::to("/audit").into_response())
}

/// Closes a review, and goes on to the end of it even if the browser hangs up.
pub(crate) async fn close_review(app: &App, visitor: &Visitor, id: i64, note: &str) -> Result<(), Problem> {
    let (engine, by, note) = (app.engine().clone(), visitor.actor(), note.to_owned());
    to_the_end(async move { engine.close_review(id, &by, &note).await })
        .await?
        .map_err(|error| Problem::from(error).link("Back to the audit", "/audit"))
}
