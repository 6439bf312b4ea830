//! Whatever can sign JSON.
//!
//! ```sh
//! body='{ "kind": "requests_fail", "summary": "A third of the requests to shard-b fail.", "labels": { "cluster": "shard-b" } }'
//! at=$(date +%s)
//! signature=$(printf '%s.%s' "$at" "$body" | openssl dgst -sha256 -hmac "$SECRET" -hex | sed 's/.* //')
//! curl -d "$body" -H "X-Firebreak-Timestamp: $at" -H "X-Firebreak-Signature: v1=$signature" https://firebreak.example.com/hooks/generic
//! ```
//!
//! A field that is not known is a mistake, told on the page of signals: a misspelt `state` must not fire for ever.

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Delivered, json, some};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    /// What is wrong, in the word that rules name it by.
    kind: String,
    /// In a sentence.
    summary: String,
    /// What it is about.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// `firing` (when absent) or `resolved`.
    #[serde(default)]
    state: State,
    severity: Option<String>,
    /// The same trouble has the same; kind and labels, when absent.
    fingerprint: Option<String>,
    /// RFC 3339.
    started_at: Option<Timestamp>,
    /// Of this delivery: the same id again changes nothing.
    id: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum State {
    #[default]
    Firing,
    Resolved,
}

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let Body { kind, summary, labels, state, severity, fingerprint, started_at, id } = json(body)?;
    let kind = some(&kind).ok_or("its `kind` is empty")?;
    let about = serde_json::json!([kind, labels]).to_string();
    let signal = Signal {
        source: "generic".into(),
        fingerprint: fingerprint
            .and_then(|given| some(&given))
            .unwrap_or_else(|| hex::encode(Sha256::digest(about))[..16].to_owned()),
        state: match state {
            State::Firing => SignalState::Firing,
            State::Resolved => SignalState::Resolved,
        },
        severity,
        summary: some(&summary).unwrap_or_else(|| kind.clone()),
        labels,
        started_at,
        kind,
    };
    Ok(vec![Delivered { signal, delivery: id }])
}
