//! Datadog. It sends whatever its template says, so ours is `deploy/datadog-webhook.json`; with a custom header
//! `{"X-Firebreak-Token": "…"}`, since it signs nothing.
//!
//! A test that is sent by hand leaves the variables as they are (`$ALERT_ID`): kept as not understood.

use std::collections::BTreeMap;

use domain::signal::{Signal, SignalState};
use serde::Deserialize;

use super::{Delivered, first, json};

#[derive(Deserialize)]
struct Body {
    alert_id: String,
    transition: String,
    cycle_key: String,
    title: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    priority: String,
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let body: Body = json(body)?;
    if [&body.alert_id, &body.cycle_key].iter().any(|value| value.is_empty() || value.starts_with('$')) {
        return Err("its variables were not filled in, as in a test that is sent by hand".into());
    }
    let state = match body.transition.as_str() {
        "Triggered" | "Re-Triggered" | "Renotify" | "Warn" | "Re-Warn" | "No Data" | "Re-No Data" => {
            SignalState::Firing
        }
        "Recovered" => SignalState::Resolved,
        other => return Err(format!("its transition is `{other}`")),
    };
    // `cluster:shard-b,env:prod`
    let mut labels: BTreeMap<String, String> = body
        .scope
        .split(',')
        .filter_map(|tag| tag.trim().split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    labels.insert("monitor".into(), body.alert_id);
    labels.insert("title".into(), body.title.clone());
    let signal = Signal {
        source: "datadog".into(),
        kind: "monitor".into(),
        fingerprint: body.cycle_key,
        state,
        severity: first([Some(body.priority.as_str())]),
        summary: first([Some(body.title.as_str()), Some(body.text.as_str())]).unwrap_or_default(),
        labels,
        started_at: None,
    };
    Ok(vec![signal.into()])
}
