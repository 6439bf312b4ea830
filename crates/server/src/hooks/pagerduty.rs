//! PagerDuty, version 3 of its webhooks.
//!
//! An incident that is triggered, acknowledged, escalated or reopened fires; one that is resolved is over; everything else that
//! happens to it (a note, a responder) says nothing about the trouble. Its signature carries no time, so that a copy of an old
//! delivery proves itself for ever: the event's id is remembered instead. One that is reopened keeps its id and the time at which it
//! was made, so that the trouble began anew when it was reopened.

use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use serde::Deserialize;

use super::{Delivered, first, json};

#[derive(Deserialize)]
struct Body {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    event_type: String,
    #[serde(default)]
    occurred_at: Option<Timestamp>,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Data {
    id: String,
    title: Option<String>,
    urgency: Option<String>,
    incident_key: Option<String>,
    created_at: Option<Timestamp>,
    service: Option<Named>,
    priority: Option<Named>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    summary: Option<String>,
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let Event { id, event_type, occurred_at, data } = json::<Body>(body)?.event;
    let state = match event_type.as_str() {
        "incident.triggered"
        | "incident.acknowledged"
        | "incident.unacknowledged"
        | "incident.escalated"
        | "incident.reopened" => SignalState::Firing,
        "incident.resolved" => SignalState::Resolved,
        _ => return Ok(Vec::new()),
    };
    if data.id.is_empty() {
        return Err("its incident has no id".into());
    }
    let reopened = occurred_at.filter(|_| event_type == "incident.reopened");
    let started_at = reopened.or(data.created_at);
    let service = data.service.and_then(|service| service.summary);
    let priority = data.priority.and_then(|priority| priority.summary);
    let labels = [
        ("service", service),
        ("title", data.title.clone()),
        ("urgency", data.urgency.clone()),
        ("priority", priority),
        ("incident_key", data.incident_key),
    ];
    let signal = Signal {
        source: "pagerduty".into(),
        kind: "incident".into(),
        fingerprint: data.id,
        state,
        severity: data.urgency,
        summary: first([data.title.as_deref(), Some("An incident at PagerDuty")]).unwrap_or_default(),
        labels: labels.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect(),
        started_at,
    };
    Ok(vec![Delivered { signal, delivery: Some(id) }])
}
