//! What people did: sign-ins, refused starts, and what they asked for and of runs; searched by who, what, when and where.
//! Before it, the reviews that wait for somebody.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use store::reviews::Review;
use store::search::Found;

use super::search::{Filter, some};
use super::{Frame, html};
use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::session::Visitor;
use crate::words;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    reviews: Vec<Review>,
    entries: Vec<Found>,
    filter: Filter,
    next: Option<String>,
}

/// `GET /audit`
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let (entries, next) = some(&app, &filter).await?;
    let next = next.map(|cursor| filter.next(&cursor));
    let reviews = store::reviews::open(app.pool()).await?;
    html(&Page { reviews, frame: Frame::new(&app, &visitor, "audit", "Audit"), entries, filter, next })
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
