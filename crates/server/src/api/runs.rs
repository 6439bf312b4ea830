//! Runs, as JSON.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::brake::{Acknowledged, Overrides};
use domain::run::{Ask, Record};
use domain::runbook::resolve_inputs;
use engine::{StartRequest, Started};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::pages::RunRow;
use uuid::Uuid;

use super::key;
use crate::app::App;
use crate::error::{Problem, Thing, key_reused};
use crate::plans::{self, Agreed};
use crate::run;
use crate::session::Visitor;
use crate::web::runbooks::{audit_refusal, changed, idem_key, ready};
use crate::web::runs::{Filter, put, some};

/// `GET /api/v1/runs?open=1&runbook=…&before=…`
pub(crate) async fn list(
    State(app): State<App>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Problem> {
    let (runs, next) = some(&app, &filter).await?;
    Ok(Json(json!({ "runs": runs, "next": next })))
}

/// `GET /api/v1/runs/{id}`
pub(crate) async fn one(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, Problem> {
    let run = run::read(&app, id, run::Looks::All).await?;
    let by = run::Asker { by: visitor.actor(), policies: app.engine().policies() };
    let asks: Vec<_> = run::choices(&run.state, &by)
        .into_iter()
        .map(|c| {
            json!({
                "ask": c.ask, "takeback": c.takeback, "possible": c.why_not.is_none(), "why_not": c.why_not,
                "preview": c.preview,
            })
        })
        .collect();
    let paused = run.state.paused().map(|p| json!({ "why": p.why, "step": p.step, "at": p.at }));
    Ok(Json(json!({
        "run": run.row, "paused": paused, "plan": run.plan(), "steps": run.steps, "calls": run.calls, "asks": asks, "decisions": run.decisions(&by),
        "forecast": run.forecast, "remaining": run.remaining, "comparison": run.comparison,
        "gate": run.gate(&by), "cause": run.cause, "incidents": run.incidents, "now": run.now,
    })))
}

/// `GET /api/v1/runs/{id}/journal`
pub(crate) async fn journal(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Json<Vec<Record>>, Problem> {
    store::pages::run(app.pool(), id).await?.ok_or_else(|| Problem::no_such(Thing::Run))?;
    Ok(Json(store::runs::journal(app.pool(), id).await?))
}

/// A start.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartBody {
    runbook: String,
    #[serde(default)]
    inputs: Map<String, Value>,
    reason: Option<String>,
    /// The plan that was looked at: when it is not the plan any more, nothing is started.
    plan_hash: Option<String>,
    /// Start although there is a freeze; needs a reason.
    #[serde(default)]
    despite_freeze: bool,
    /// Limits to pass this once, each with its reason.
    #[serde(default)]
    acknowledge: Vec<Acknowledged>,
    /// What is typed to confirm, where the risk demands it.
    confirm: Option<String>,
    /// Stand in line for a lock that is held.
    #[serde(default)]
    wait: bool,
}

/// `POST /api/v1/runs`
pub(crate) async fn start(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    Json(body): Json<StartBody>,
) -> Result<Response, Problem> {
    let (runbook, given) = (body.runbook.clone(), body.inputs.clone());
    let started = match begin(&app, &visitor, key(&headers), body).await {
        Ok(started) => started,
        Err(problem) => {
            audit_refusal(&app, &visitor, &runbook, &problem).await?;
            return Err(problem);
        }
    };
    let row =
        store::pages::run(app.pool(), started.run_id).await?.ok_or_else(|| Problem::no_such(Thing::Run))?;
    if !started.new && !is_of(&app, &row, &runbook, &given) {
        let detail = "This Idempotency-Key was used for another start; nothing was started.";
        return Err(key_reused(detail).with("run_id", json!(row.id)));
    }
    let status = if started.new { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(header::LOCATION, format!("/api/v1/runs/{}", started.run_id))];
    Ok((status, location, Json(json!({ "run_id": started.run_id, "new": started.new, "run": row })))
        .into_response())
}

/// Is it the run of just this start? By what the runbook makes of the inputs today; an input that it did not have then tells nothing,
/// unless it was given.
fn is_of(app: &App, run: &RunRow, runbook: &str, given: &Map<String, Value>) -> bool {
    if run.runbook != runbook {
        return false;
    }
    let Ok((_, text)) = ready(app, runbook) else { return true };
    let Ok(now) = resolve_inputs(&text, app.engine().inventory(), given) else { return true };
    text.inputs.iter().all(|input| match (run.inputs.get(&input.name), now.get(&input.name)) {
        (None, Some(_)) => !given.contains_key(&input.name),
        (then, now) => then == now,
    })
}

async fn begin(app: &App, visitor: &Visitor, key: &str, body: StartBody) -> Result<Started, Problem> {
    let StartBody { runbook, inputs, reason, plan_hash, despite_freeze, acknowledge, confirm, wait } = body;
    let idem_key = idem_key(visitor, key)?;
    if let Some(started) = app.started(&idem_key).await? {
        return Ok(started);
    }
    let plan = match plan_hash {
        None => None,
        Some(hash) => match plans::agreed(app, &visitor.actor(), &runbook, &inputs, &hash).await? {
            Agreed::Yes(plan) => Some(*plan),
            Agreed::Changed(plan) => return Err(changed().with("plan", json!(plan))),
        },
    };
    let overrides = Overrides { despite_freeze, acknowledge };
    let by = visitor.actor();
    let request = StartRequest { runbook, inputs, by, reason, idem_key, plan, overrides, confirm, wait };
    Ok(app.start(request).await??)
}

/// `POST /api/v1/runs/{id}/ask`: answered by the worker that owns the run; the journal tells what came of it.
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Visitor,
    Path(run): Path<Uuid>,
    headers: HeaderMap,
    Json(ask): Json<Ask>,
) -> Result<Response, Problem> {
    let id = key(&headers).parse().map_err(|_| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "no_idempotency_key",
            "What is asked needs an `Idempotency-Key` that is a UUID.",
        )
        .remedy("Send a new UUID, and the same one again when you repeat the request.")
    })?;
    let note = put(&app, &visitor, run, id, ask).await?.map(|stops| stops.to_string());
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": id, "note": note }))).into_response())
}
