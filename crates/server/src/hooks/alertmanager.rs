//! Prometheus Alertmanager, version 4 of its webhook: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.
//!
//! ```yaml
//! receivers:
//!   - name: firebreak
//!     webhook_configs:
//!       - url: https://firebreak.example.com/hooks/alertmanager
//!         http_config: { authorization: { credentials_file: /etc/alertmanager/firebreak.token } }
//! ```
//!
//! An alert's `alertname` is the signal's kind, its fingerprint is ours. `startsAt` tells a late delivery from a new one. One that is
//! not understood is a signal that says so, and the rest of its group fires all the same.

use std::collections::BTreeMap;

use chrono::DateTime;
use domain::signal::{Signal, SignalState};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Delivered, first, json, some, unclear};
use crate::words;

#[derive(Deserialize)]
pub(super) struct Group {
    version: String,
    #[serde(default, rename = "truncatedAlerts")]
    truncated: u64,
    alerts: Vec<Value>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "startsAt")]
    starts_at: String,
    #[serde(default)]
    fingerprint: String,
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let group: Group = json(body)?;
    if group.version != "4" {
        return Err(format!("its version is `{}`, and 4 is understood", group.version));
    }
    Ok(group.signals("alertmanager", body))
}

impl Group {
    /// Grafana sends the same, under another version.
    pub(super) fn signals(self, source: &str, body: &[u8]) -> Vec<Delivered> {
        let mut signals: Vec<Delivered> = Vec::new();
        for alert in self.alerts {
            let text = alert.to_string();
            let read = serde_json::from_value(alert).map_err(|e| format!("an alert in it is none: {e}"));
            let signal = read.and_then(|alert: Alert| alert.signal(source));
            signals.push(signal.unwrap_or_else(|why| unclear(source, &why, text.as_bytes())).into());
        }
        if self.truncated > 0 {
            let why =
                format!("its sender has cut {} off (`max_alerts`)", words::many(self.truncated, "alert"));
            signals.push(unclear(source, &why, body).into());
        }
        signals
    }
}

impl Alert {
    fn signal(self, source: &str) -> Result<Signal, String> {
        let state = match self.status.as_str() {
            "firing" => SignalState::Firing,
            "resolved" => SignalState::Resolved,
            other => return Err(format!("an alert's status is `{other}`, neither firing nor resolved")),
        };
        let name = self.labels.get("alertname").and_then(|name| some(name));
        let kind = name.ok_or("an alert has no label `alertname`")?;
        let said =
            ["summary", "description", "message"].map(|name| self.annotations.get(name).map(String::as_str));
        let fingerprint = if self.fingerprint.is_empty() {
            hex::encode(Sha256::digest(serde_json::json!(self.labels).to_string()))[..16].to_owned()
        } else {
            self.fingerprint
        };
        Ok(Signal {
            source: source.into(),
            fingerprint,
            state,
            severity: self.labels.get("severity").cloned(),
            summary: first(said).unwrap_or_else(|| kind.clone()),
            started_at: DateTime::parse_from_rfc3339(&self.starts_at).ok().map(|at| at.to_utc()),
            labels: self.labels,
            kind,
        })
    }
}
