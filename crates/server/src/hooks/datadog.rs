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
        "Triggered" | "Re-Triggered" | "Renotify" | "Warn" | "Re-Warn" => SignalState::Firing,
        // As of an alarm of CloudWatch without data: neither that the trouble is there nor that it is gone.
        "No Data" | "Re-No Data" => SignalState::Unclear,
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
    // `Warn` is a threshold of its own, which a rule may leave to people.
    labels.insert("transition".into(), body.transition);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_without_data_says_neither_that_the_trouble_is_there_nor_that_it_is_over() {
        let sample = include_str!("samples/datadog.json");
        let said = |transition: &str| {
            let body = sample.replacen("\"Triggered\"", &format!("\"{transition}\""), 1);
            let signal = read(body.as_bytes()).unwrap().remove(0).signal;
            (signal.state, signal.labels["transition"].clone())
        };
        assert_eq!(said("Triggered"), (SignalState::Firing, "Triggered".to_owned()));
        assert_eq!(said("Warn"), (SignalState::Firing, "Warn".to_owned()));
        assert_eq!(said("No Data").0, SignalState::Unclear);
        assert_eq!(said("Re-No Data").0, SignalState::Unclear);
    }
}
