//! Would it work if it were needed tonight? Every runbook on every target, with what its newest rehearsal showed.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use domain::Timestamp;
use engine::Readiness;
use serde::Deserialize;

use super::{Frame, html};
use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::words;

#[derive(Template)]
#[template(path = "readiness.html")]
struct Page {
    frame: Frame,
    /// What can be rehearsed: what would stop first.
    rows: Vec<Readiness>,
    /// What cannot.
    asking: Vec<Asking>,
    every: Option<TimeDelta>,
}

/// A runbook that takes more than its target: what else, only a person can say.
struct Asking {
    runbook: String,
    title: String,
    asks: Vec<String>,
    targets: usize,
}

impl Page {
    fn new(frame: Frame, all: Vec<Readiness>, every: Option<TimeDelta>) -> Self {
        let (mut rows, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|row| row.case.asks.is_empty());
        rows.sort_by_key(|row| row.shown.as_ref().and_then(|shown| shown.ready) != Some(false));
        let mut asking: Vec<Asking> = Vec::new();
        for Readiness { case, title, .. } in others {
            match asking.last_mut().filter(|last| last.runbook == case.runbook && last.asks == case.asks) {
                Some(last) => last.targets += 1,
                None => asking.push(Asking { runbook: case.runbook, title, asks: case.asks, targets: 1 }),
            }
        }
        Self { frame, rows, asking, every }
    }

    /// How many would do that.
    fn count(&self, word: &str) -> usize {
        self.rows.iter().filter(|row| self.word(row) == word).count()
    }

    fn word(&self, row: &Readiness) -> &'static str {
        match row.shown.as_ref().and_then(|shown| shown.ready) {
            Some(true) => "ready",
            Some(false) => "stops",
            None => "unknown",
        }
    }

    /// Without its kind: the runbook says which it takes.
    fn target<'a>(&self, row: &'a Readiness) -> &'a str {
        row.case.target.split_once(':').map_or("everything", |(_, id)| id)
    }

    fn at<'a>(&self, row: &'a Readiness) -> Option<&'a Timestamp> {
        row.shown.as_ref()?.at.as_ref()
    }
}

/// `GET /readiness`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let rows = app.engine().readiness().await?;
    let every = app.engine().rehearses_every().and_then(|every| TimeDelta::from_std(every).ok());
    html(&Page::new(Frame::new(&app, &visitor, "runbooks", "Readiness"), rows, every))
}

/// A runbook and a target, as the page names them.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    /// Name of the runbook.
    pub(crate) runbook: String,
    /// `cluster:…` or `fleet:…`; empty for a runbook that is about nothing in particular.
    #[serde(default)]
    pub(crate) target: String,
}

/// What the form says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    runbook: String,
    target: String,
}

/// `POST /readiness`: rehearses one now.
pub(crate) async fn rehearse(
    State(app): State<App>,
    Form(Asked { runbook, target }): Form<Asked>,
) -> Result<Response, Problem> {
    app.engine().rehearse(&runbook, &target).await?;
    Ok(Redirect::to("/readiness").into_response())
}
