//! Runbooks and plans, as JSON.

use axum::Json;
use axum::extract::{Path, State};
use domain::plan::Plan;
use domain::runbook::Runbook;
use engine::{Shelf, StartError};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::error::Problem;
use crate::plans;
use crate::session::Visitor;
use crate::web::form::choices;

/// `GET /api/v1/runbooks`
pub(crate) async fn list(State(app): State<App>) -> Json<Value> {
    let runbooks: Vec<Value> =
        app.engine().library().iter().map(|(name, shelf)| told(&app, name, shelf)).collect();
    Json(json!({ "runbooks": runbooks }))
}

/// `GET /api/v1/runbooks/{name}`
pub(crate) async fn one(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let library = app.engine().library();
    let shelf = library.get(&name).ok_or_else(|| {
        let known = library.iter().map(|(name, _)| name.to_owned()).collect();
        Problem::from(StartError::UnknownRunbook { name: name.clone(), known })
    })?;
    let mut told = told(&app, &name, &shelf);
    told["text"] = json!(&*shelf.text);
    Ok(Json(told))
}

fn told(app: &App, name: &str, shelf: &Shelf) -> Value {
    let mut told = match &shelf.runbook {
        Ok(runbook) => json!({
            "name": name, "title": runbook.title, "when": runbook.when, "risk": runbook.risk, "file": shelf.file,
            "hash": runbook.hash, "approval": runbook.approval(),
            "policy": app.engine().policies().of(name), "inputs": inputs(app, runbook),
        }),
        Err(mistakes) => json!({ "name": name, "file": shelf.file, "mistakes": &**mistakes }),
    };
    if let Some(refused) = &shelf.refused {
        told["refused"] = json!({ "mistakes": &*refused.mistakes });
    }
    told
}

fn inputs(app: &App, runbook: &Runbook) -> Vec<Value> {
    let inventory = app.engine().inventory();
    let each = runbook.inputs.iter().map(|input| {
        let values = choices(&input.kind, inventory).map(|c| c.into_iter().map(|(value, _)| value).collect::<Vec<_>>());
        json!({
            "name": input.name, "type": input.kind, "description": input.description, "optional": input.optional,
            "default": input.default, "choices": values,
        })
    });
    each.collect()
}

/// `POST /api/v1/runbooks/{name}/plan`, with the inputs as the body. Changes nothing.
pub(crate) async fn plan(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Json(inputs): Json<Map<String, Value>>,
) -> Result<Json<Plan>, Problem> {
    Ok(Json(plans::make(&app, &visitor.actor(), &name, &inputs).await?))
}
