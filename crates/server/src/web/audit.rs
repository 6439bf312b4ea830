//! What people did: sign-ins, refused starts, and what they asked for and of runs; searched by who, what, when and where.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use store::search::Found;

use super::search::{Filter, some};
use super::{Frame, html};
use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::words;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
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
    html(&Page { frame: Frame::new(&app, &visitor, "audit", "Audit"), entries, filter, next })
}
