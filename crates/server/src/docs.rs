//! What each error code means and what to do, as pages: `/docs/errors` and `/docs/errors/{code}`, where the `type` of every problem leads.
//!
//! The text is one file beside this one. A test reads the sources and finds the code that has no paragraph, and the paragraph that has no
//! code. Codes of others (AWS, MySQL, HTTP) have one page for each kind.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::app::App;
use crate::error::Problem;
use crate::web::{Frame, html};
use crate::words;

const TEXT: &str = include_str!("docs/errors.md");

/// Pages that stand for codes of one kind.
#[cfg(test)]
pub(crate) const KINDS: [&str; 3] = ["aws", "http_status", "mysql"];

/// The paragraph of each code.
static PARAGRAPHS: LazyLock<BTreeMap<&str, &str>> = LazyLock::new(|| {
    let parts = TEXT.split("\n## ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).map(|(code, text)| (code.trim(), text.trim())).collect()
});

/// All codes that have a paragraph.
#[cfg(test)]
pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
    PARAGRAPHS.keys().copied()
}

/// The paragraph of a code, or of its kind.
pub(crate) fn paragraph(code: &str) -> Option<&'static str> {
    let kind = || match code {
        _ if code.starts_with("http_") => Some("http_status"),
        _ if !code.is_empty() && code.chars().all(|c| c.is_ascii_digit()) => Some("mysql"),
        // `AccessDenied`, `InvalidDBClusterStateFault`, `AuthFailure.X`: none of ours begins with a capital.
        _ if code.starts_with(|c: char| c.is_ascii_uppercase()) => Some("aws"),
        _ => None,
    };
    PARAGRAPHS.get(code).or_else(|| PARAGRAPHS.get(kind()?)).copied()
}

#[derive(Template)]
#[template(path = "error_codes.html")]
struct Page {
    frame: Frame,
    /// Codes with their paragraphs, as Markdown with nothing but code spans.
    shown: Vec<(String, &'static str)>,
    one: bool,
}

/// `GET /docs/errors`
pub(crate) async fn list(State(app): State<App>) -> Result<Response, Problem> {
    let shown = PARAGRAPHS.iter().map(|(code, text)| ((*code).to_owned(), *text)).collect();
    html(&Page { frame: Frame::bare(&app, "Error codes"), shown, one: false })
}

/// `GET /docs/errors/{code}`
pub(crate) async fn one(State(app): State<App>, Path(code): Path<String>) -> Result<Response, Problem> {
    let text = paragraph(&code).ok_or_else(|| Problem::not_found("such error code"))?;
    let shown = vec![(code.clone(), text)];
    html(&Page { frame: Frame::bare(&app, code), shown, one: true })
}
