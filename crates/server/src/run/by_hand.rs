//! The rest of a run as a manual: for whoever goes on by hand when Firebreak is not to be trusted with it.
//!
//! Written from the text that the run is pinned to and from what it has seen so far, out of Postgres alone.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::run::SoFar;
use domain::runbook::manual::Manual;
use domain::runbook::{Children, parse};

use super::Looks;
use crate::app::App;
use crate::error::{Problem, Thing};
use crate::ids;

/// `GET /runs/{id}/by-hand`: Markdown, as a file.
pub(crate) async fn rest(State(app): State<App>, Path(word): Path<String>) -> Result<Response, Problem> {
    let id = ids::meant(&app, Thing::Run, &word).await?;
    let run = super::read(&app, id, Looks::Newest).await?;
    let not_now = |why: &str| {
        Problem::new(StatusCode::CONFLICT, "not_possible_now", why)
            .link("The runbook", format!("/runbooks/{}", run.row.runbook))
    };
    if run.row.ended_at.is_some() {
        return Err(not_now("The run has ended: nothing of it is left to do by hand."));
    }
    let runbook = parse(&run.row.runbook, &run.text).map_err(|_| {
        not_now("The run's text cannot be read by this version, so its rest cannot be written down.")
    })?;
    let mut children = Children::new();
    for (name, hash) in run.state.children() {
        let text = store::pages::runbook_text(app.pool(), hash).await?.unwrap_or_default();
        if let Ok(child) = parse(name, &text) {
            children.insert(name.clone(), child.into());
        }
    }
    let inputs = run.row.inputs.as_object().cloned().unwrap_or_default();
    let so_far = SoFar::of(&runbook, &run.state);
    let manual = Manual {
        runbook: &runbook,
        children: &children,
        registry: app.engine().registry(),
        inventory: app.engine().inventory(),
        inputs: &inputs,
        rest: Some(so_far.rest()),
    };
    let name = format!("attachment; filename=\"{}-{}-by-hand.md\"", runbook.name, &id.to_string()[..8]);
    let headers =
        [(header::CONTENT_TYPE, "text/markdown; charset=utf-8"), (header::CONTENT_DISPOSITION, &name)];
    Ok((headers, manual.markdown()).into_response())
}
