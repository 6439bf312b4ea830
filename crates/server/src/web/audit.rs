//! What people did that no journal tells: sign-ins, refused starts.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use store::audit::Entry;

use super::{Frame, html};
use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::words;

const SHOWN: i64 = 200;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    entries: Vec<Entry>,
}

/// `GET /audit`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let entries = store::audit::newest(app.pool(), SHOWN).await?;
    html(&Page { frame: Frame::new(&app, &visitor, "audit", "Audit"), entries })
}
