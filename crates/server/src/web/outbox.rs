//! The outbox: what people elsewhere were told, and what they were not.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use store::outbox::{OutboxFilter, OutboxRow, Which};

use super::cursor::{cursor, read_cursor};
use super::{Frame, html};
use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::words;

/// So many are on one page.
const PAGE: usize = 100;

/// Which messages a list shows: their words in an address, and how the page calls them.
const WHICH: [(&str, &str); 7] = [
    ("", "all"),
    ("untold", "not told, or not to everybody"),
    ("waiting", "waiting"),
    ("unclear", "perhaps sent"),
    ("failed", "not sent"),
    ("left_out", "not for the channel"),
    ("sent", "sent"),
];

/// Which messages a list shows, as the page's form and the API's query say it.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(crate) struct Filter {
    /// `waiting`, `sent`, `left_out`, `unclear`, `failed`; or `untold`: whatever people were not told, or not all of them.
    state: String,
    /// A cursor, from the page before.
    before: Option<String>,
}

impl Filter {
    fn read(&self) -> Result<OutboxFilter<'_>, Problem> {
        if !WHICH.iter().any(|(word, _)| *word == self.state) {
            let detail = format!("`{}` is no state of a message.", self.state);
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_filter", detail).link("Outbox", "/outbox"));
        }
        let which = match self.state.as_str() {
            "" => Which::All,
            "untold" => Which::Untold,
            state => Which::InState(state),
        };
        let before = self
            .before
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(|text| read_cursor(text, ("Outbox", "/outbox")))
            .transpose()?;
        Ok(OutboxFilter { which, before })
    }
}

/// One page of them, and where the next one begins.
pub(crate) async fn some(app: &App, filter: &Filter) -> Result<(Vec<OutboxRow>, Option<String>), Problem> {
    let limit = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let mut messages = store::outbox::list(app.pool(), filter.read()?, limit).await?;
    let more = messages.len() > PAGE;
    messages.truncate(PAGE);
    let last = messages.last().filter(|_| more);
    let next = last.map(|last| cursor(last.at, last.id));
    Ok((messages, next))
}

#[derive(Template)]
#[template(path = "outbox.html")]
struct Page {
    frame: Frame,
    filter: Filter,
    messages: Vec<OutboxRow>,
    next: Option<String>,
}

impl Page {
    fn which(&self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        WHICH.iter()
    }

    fn shows(&self, word: &str) -> bool {
        self.filter.state == word
    }

    fn text<'a>(&self, message: &'a OutboxRow, name: &str) -> &'a str {
        message.message[name].as_str().unwrap_or_default()
    }
}

/// `GET /outbox`
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let (messages, next) = some(&app, &filter).await?;
    let frame = Frame::new(&app, &visitor, "signals", "Outbox");
    html(&Page { frame, filter, messages, next })
}
