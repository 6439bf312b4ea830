//! Opsgenie: an outgoing webhook with a custom header `X-Firebreak-Token`, since it signs nothing.
//!
//! An alert that is created fires, one that is closed or deleted is over; everything else that happens to it says nothing about
//! the trouble. `createdAt` is in milliseconds, `updatedAt` in nanoseconds.

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use serde::Deserialize;

use super::{Delivered, first, json, some};

#[derive(Deserialize)]
struct Body {
    action: String,
    alert: Alert,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    alert_id: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    alias: String,
    #[serde(default)]
    entity: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    priority: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    created_at: Option<i64>,
    #[serde(default)]
    details: BTreeMap<String, serde_json::Value>,
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let Body { action, alert } = json(body)?;
    let state = match action.as_str() {
        "Create" => SignalState::Firing,
        "Close" | "Delete" => SignalState::Resolved,
        _ => return Ok(Vec::new()),
    };
    if alert.alert_id.is_empty() {
        return Err("its alert has no id".into());
    }
    let told = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut labels: BTreeMap<String, String> =
        alert.details.iter().map(|(name, value)| (name.clone(), told(value))).collect();
    let own = [
        ("alias", some(&alert.alias)),
        ("entity", some(&alert.entity)),
        ("alert_source", some(&alert.source)),
        ("tags", some(&alert.tags.join(","))),
    ];
    labels.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let delivery = format!("{}:{action}", alert.alert_id);
    let signal = Signal {
        source: "opsgenie".into(),
        kind: "alert".into(),
        fingerprint: alert.alert_id,
        state,
        severity: some(&alert.priority),
        summary: first([Some(alert.message.as_str()), Some("An alert at Opsgenie")]).unwrap_or_default(),
        labels,
        started_at: alert.created_at.and_then(Timestamp::from_timestamp_millis),
    };
    Ok(vec![Delivered { signal, delivery: Some(delivery) }])
}
