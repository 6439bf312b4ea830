//! A stand-in for Atlassian's Statuspage: incidents of one page, in the shape of its API.
//!
//! `POST` and `GET /v1/pages/{page}/incidents`, `GET` and `PATCH …/{incident}`, by `Authorization: OAuth <token>`. As there, a
//! repeated `POST` makes another incident. In the ledger a call is `CreateIncident` or `UpdateIncident` of the service `statuspage`,
//! and it has the traps of the AWS API.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use serde_json::{Map, Value, json};

use crate::hold::{Lost, Phase};
use crate::ledger::LedgerEntry;
use crate::physics::bits;
use crate::shared::Shared;

/// The API token that it knows.
pub const STATUSPAGE_TOKEN: &str = "the-statuspage-token";
/// The one page that it has.
pub const STATUSPAGE_PAGE: &str = "kctbh9vrtdwd";

const STATUSES: [&str; 4] = ["investigating", "identified", "monitoring", "resolved"];

/// All incidents, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Incidents(Mutex<Vec<Map<String, Value>>>);

type Sim = State<Arc<Shared>>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/pages/{page}/incidents", get(list).post(create))
        .route("/v1/pages/{page}/incidents/{incident}", get(one).patch(update))
        .with_state(shared)
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}

/// Is the caller known, and the page there?
fn admit(headers: &HeaderMap, page: &str) -> Result<(), Box<Response>> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given != Some(&format!("OAuth {STATUSPAGE_TOKEN}")) {
        return Err(Box::new(refused(StatusCode::UNAUTHORIZED, "Could not authenticate")));
    }
    if page != STATUSPAGE_PAGE {
        return Err(Box::new(refused(StatusCode::NOT_FOUND, "Page not found")));
    }
    Ok(())
}

impl Incidents {
    fn with<R>(&self, act: impl FnOnce(&mut Vec<Map<String, Value>>) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn find(&self, id: &str) -> Option<Map<String, Value>> {
        self.with(|all| all.iter().find(|i| i["id"] == id).cloned())
    }
}

async fn list(State(shared): Sim, Path(page): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refusal) = admit(&headers, &page) {
        return *refusal;
    }
    let all: Vec<Value> =
        shared.statuspage.with(|all| all.iter().rev().cloned().map(Value::Object).collect());
    Json(all).into_response()
}

async fn one(State(shared): Sim, Path((page, id)): Path<(String, String)>, headers: HeaderMap) -> Response {
    if let Err(refusal) = admit(&headers, &page) {
        return *refusal;
    }
    match shared.statuspage.find(&id) {
        Some(incident) => Json(Value::Object(incident)).into_response(),
        None => refused(StatusCode::NOT_FOUND, "Incident not found"),
    }
}

async fn create(
    State(shared): Sim,
    Path(page): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Err(refusal) = admit(&headers, &page) {
        return *refusal;
    }
    let given = &body["incident"];
    let (name, status) = (given["name"].as_str().unwrap_or_default(), given["status"].as_str());
    if name.is_empty() {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "Name can't be blank");
    }
    let status = status.unwrap_or("investigating");
    if !STATUSES.contains(&status) {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "Status is not included in the list");
    }
    let number = shared.statuspage.with(|all| all.len()) as u64;
    let id = format!("{:012x}", bits(shared.seed, "incident", number) >> 16);
    let now = shared.clock.now();
    let incident = json!({
        "id": id,
        "page_id": page,
        "name": name,
        "status": status,
        "impact": given["impact_override"].as_str().unwrap_or("none"),
        "shortlink": format!("https://stspg.io/{}", &id[..6]),
        "created_at": now,
        "updated_at": now,
        "metadata": metadata(given),
        "incident_updates": [{ "status": status, "body": given["body"], "created_at": now }],
    });
    let told = format!("{status}: {name}");
    answer(&shared, "CreateIncident", name, move |all| {
        all.extend(incident.as_object().cloned());
        Some((told, incident))
    })
    .await
}

async fn update(
    State(shared): Sim,
    Path((page, id)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Err(refusal) = admit(&headers, &page) {
        return *refusal;
    }
    if shared.statuspage.find(&id).is_none() {
        return refused(StatusCode::NOT_FOUND, "Incident not found");
    }
    let given = body["incident"].clone();
    let now = shared.clock.now();
    let of = id.clone();
    answer(&shared, "UpdateIncident", &of, move |all| {
        let incident = all.iter_mut().find(|i| i["id"] == id)?;
        let status = given["status"].as_str().map(str::to_owned);
        if let Some(status) = &status {
            incident.insert("status".into(), json!(status));
        }
        if !given["metadata"].is_null() {
            incident.insert("metadata".into(), metadata(&given));
        }
        incident.insert("updated_at".into(), json!(now));
        let told = json!({ "status": incident["status"], "body": given["body"], "created_at": now });
        if let Some(updates) = incident.get_mut("incident_updates").and_then(Value::as_array_mut) {
            updates.insert(0, told);
        }
        Some((format!("{id} is {}", incident["status"]), Value::Object(incident.clone())))
    })
    .await
}

/// Its values must be objects; others are dropped.
fn metadata(given: &Value) -> Value {
    let mut kept = given["metadata"].as_object().cloned().unwrap_or_default();
    kept.retain(|_, value| value.is_object());
    Value::Object(kept)
}

/// Enters the call, makes its change, and answers; as AWS's calls it can be held.
async fn answer(
    shared: &Arc<Shared>,
    operation: &str,
    about: &str,
    change: impl FnOnce(&mut Vec<Map<String, Value>>) -> Option<(String, Value)>,
) -> Response {
    let mut entry = LedgerEntry {
        n: 0,
        at: shared.clock.now(),
        service: "statuspage".into(),
        operation: operation.into(),
        caller: "api".into(),
        params: [("incident".to_owned(), about.to_owned())].into(),
        mutating: true,
        effect: None,
        request_id: shared.request_id(),
        status: if operation == "CreateIncident" { 201 } else { 200 },
    };
    if let Err(Lost) = shared.holds.pass(Phase::BeforeEffect, &entry).await {
        return std::future::pending().await;
    }
    let Some((told, incident)) = shared.statuspage.with(change) else {
        return refused(StatusCode::NOT_FOUND, "Incident not found");
    };
    entry.effect = Some(told);
    let entry = shared.world(|_| shared.enter(entry));
    if let Err(Lost) = shared.holds.pass(Phase::AfterEffect, &entry).await {
        return std::future::pending().await;
    }
    let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::OK);
    (status, [("x-request-id", entry.request_id)], Json(incident)).into_response()
}
