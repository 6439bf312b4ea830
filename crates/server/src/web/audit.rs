//! What people did: sign-ins, refused starts, and what they asked for and of runs; searched by who, what, when and where.
//! Before it, the reviews that wait for somebody.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use store::reviews::Review;
use store::search::Found;

use super::refused::Refusal;
use super::search::{Filter, some};
use super::{Frame, with_status};
use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::particulars;
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
    /// Why nothing was looked for.
    wrong: Option<Problem>,
    refused: Refusal,
}

/// What an entry of the audit can say that somebody did, and of a run's journal: the words that a search takes.
pub(crate) const ACTIONS: [&str; 46] = [
    "account let go",
    "asked",
    "drill ended",
    "drill started",
    "freeze entered",
    "freeze lifted",
    "freezes imported",
    "glass broken",
    "incident closed",
    "incident driver",
    "incident note",
    "incident opened",
    "incident severity",
    "incident title",
    "kill switch off",
    "kill switch on",
    "lock given back",
    "lock of another person released",
    "lock released by force",
    "lock taken by hand",
    "name taken",
    "requested",
    "review closed",
    "role changed",
    "runbook added",
    "runbook as before",
    "runbook changed",
    "runbook refused",
    "runbook removed",
    "sign-in refused",
    "signal dismissed",
    "signal to be judged anew",
    "signed in",
    "signed out",
    "signed out by an admin",
    "signed out by the provider",
    "signed out everywhere",
    "slack link removed",
    "slack linked",
    "started despite a freeze",
    "started despite a limit",
    "token made",
    "token revoked",
    "tokens revoked by an admin",
    "trigger demoted",
    "trigger mode set",
];

/// … and the beginning of those that tell with the code of an error why a run was not started.
pub(crate) const REFUSED: &str = "start refused: ";

impl Page {
    /// Why a review was not closed that does not wait any more.
    fn no_review(&self) -> Option<&Problem> {
        self.refused.gone("review", |id| self.reviews.iter().any(|review| review.id.to_string() == id))
    }

    fn actions(&self) -> impl Iterator<Item = String> {
        let refused = crate::error::REFUSES.iter().map(|code| format!("{REFUSED}{code}"));
        ACTIONS.iter().map(ToString::to_string).chain(refused)
    }
}

/// `GET /audit`
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let page = draw(&app, &visitor, filter).await?;
    let status = page.wrong.as_ref().map_or(StatusCode::OK, |problem| problem.status);
    with_status(status, &page)
}

async fn draw(app: &App, visitor: &Visitor, filter: Filter) -> Result<Page, Problem> {
    let ((entries, next), wrong) = match some(app, &filter).await {
        Ok(found) => (found, None),
        // What was typed stays, to be mended.
        Err(problem) if problem.status.is_client_error() => (Default::default(), Some(problem)),
        Err(problem) => return Err(problem),
    };
    let next = next.map(|cursor| filter.next(&cursor));
    let reviews = store::reviews::open(app.pool()).await?;
    let frame = Frame::new(app, visitor, "audit", "Audit");
    Ok(Page { frame, reviews, entries, filter, next, wrong, refused: Refusal::default() })
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
    match close_review(&app, &visitor, id, &closing.note).await {
        Ok(()) => Ok(Redirect::to("/audit").into_response()),
        Err(problem) => {
            let filled = vec![("note".to_owned(), closing.note)];
            let (status, refused) = Refusal::of("review", id.to_string(), filled, problem)?;
            let mut page = draw(&app, &visitor, Filter::default()).await?;
            page.refused = refused;
            with_status(status, &page)
        }
    }
}

/// Closes a review, and goes on to the end of it even if the browser hangs up.
pub(crate) async fn close_review(app: &App, visitor: &Visitor, id: i64, note: &str) -> Result<(), Problem> {
    let (engine, by, note) = (app.engine().clone(), visitor.actor(), note.to_owned());
    to_the_end(async move { engine.close_review(id, &by, &note).await })
        .await?
        .map_err(|error| Problem::from(error).link("Back to the audit", "/audit"))
}
