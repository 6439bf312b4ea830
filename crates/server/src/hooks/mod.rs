//! Alerts of other systems: `POST /hooks/{source}`.
//!
//! ```text
//!  raw bytes ─▶ verify (signature or token) ─▶ read (one file for each source) ─▶ store ─▶ only then 202
//! ```
//!
//! - Verified over the raw bytes, before anything is parsed. A source that the configuration does not name is closed.
//! - What is verified and not understood is kept and shown as an unclear signal, never dropped: a sender that is told 4xx drops
//!   the alert, or turns its feed off (PagerDuty, after three).
//! - Only what could not be stored is answered with 5xx, so that the sender tries again; the same said twice counts up.
//! - Deliveries that come at the same time share commits. What is held at once is bounded: a storm waits on the wire, not in memory.
//! - Nothing is decided here: see `engine::triage`.

mod alertmanager;
mod aws;
mod datadog;
mod eventbridge;
mod fit;
mod generic;
mod grafana;
mod opsgenie;
mod pagerduty;
mod proof;
mod sns;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::app::App;
use crate::error::Problem;
use sns::Heard;

pub use proof::{Proof, Secret};
pub use sns::{Authority, Get, Sns};

/// The name of SNS in the address.
const SNS: &str = "sns";

/// More signals than one delivery has.
const MOST: usize = 1000;
/// So many share one commit.
const TOGETHER: usize = 100;
/// A body that takes longer is not waited for.
const LONGEST: Duration = Duration::from_secs(5);
/// So many deliveries are held at the same time; others wait their turn.
pub(crate) const AT_ONCE: usize = 512;

/// How each source proves itself; what is not here is closed.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    proofs: BTreeMap<Source, Proof>,
    sns: Option<Arc<Sns>>,
}

/// Who may say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Prometheus Alertmanager, version 4 of its webhook. Proves itself by a token.
    Alertmanager,
    /// Datadog, with our template. By a token.
    Datadog,
    /// EventBridge, by an API destination. By a token.
    EventBridge,
    /// Whatever can sign JSON.
    Generic,
    /// Grafana's alerting. By a token, or by its signature.
    Grafana,
    /// Opsgenie. By a token.
    Opsgenie,
    /// PagerDuty, version 3 of its webhooks. By its signature.
    PagerDuty,
}

/// A signal that was delivered, and the source's id for that.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivered {
    pub(crate) signal: Signal,
    delivery: Option<String>,
}

impl From<Signal> for Delivered {
    fn from(signal: Signal) -> Self {
        Self { signal, delivery: None }
    }
}

impl Hooks {
    /// Opens a source.
    #[must_use]
    pub fn with(mut self, source: Source, proof: Proof) -> Self {
        self.proofs.insert(source, proof);
        self
    }

    /// Opens SNS, which proves itself in its own way.
    #[must_use]
    pub fn with_sns(self, sns: Sns) -> Self {
        Self { sns: Some(Arc::new(sns)), ..self }
    }

    /// Believes a delivery, and reads it.
    async fn hear(
        &self,
        name: &str,
        now: Timestamp,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Heard, Problem> {
        if let Some(sns) = self.sns.as_ref().filter(|_| name == SNS) {
            return sns.hear(now, headers, body).await;
        }
        let open = Source::ALL.into_iter().find(|source| source.name() == name);
        let (source, proof) =
            open.and_then(|source| Some((source, self.proofs.get(&source)?))).ok_or_else(|| closed(name))?;
        proof.check(source, headers, body).map_err(refused)?;
        let delivered = source.read(body).unwrap_or_else(|why| {
            tracing::warn!(source = name, "a delivery is not understood: {why}");
            vec![unclear(name, &why, body).into()]
        });
        Ok(Heard { delivered, confirm: None })
    }

    /// Those that are open, by their tokens and signatures.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        self.proofs.keys().copied()
    }
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Alertmanager,
        Self::Datadog,
        Self::EventBridge,
        Self::Generic,
        Self::Grafana,
        Self::Opsgenie,
        Self::PagerDuty,
    ];

    /// Its name in the address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Datadog => "datadog",
            Self::EventBridge => "eventbridge",
            Self::Generic => "generic",
            Self::Grafana => "grafana",
            Self::Opsgenie => "opsgenie",
            Self::PagerDuty => "pagerduty",
        }
    }

    pub(crate) fn read(self, body: &[u8]) -> Result<Vec<Delivered>, String> {
        match self {
            Self::Alertmanager => alertmanager::read(body),
            Self::Datadog => datadog::read(body),
            Self::EventBridge => eventbridge::read(body),
            Self::Generic => generic::read(body),
            Self::Grafana => grafana::read(body),
            Self::Opsgenie => opsgenie::read(body),
            Self::PagerDuty => pagerduty::read(body),
        }
    }
}

/// `POST /hooks/{source}`
pub(crate) async fn receive(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    // Before anything is read: however many post, only so many bodies are held.
    let _room = app.intake().acquire().await.map_err(Problem::internal)?;
    let headers = request.headers().clone();
    let body = match timeout(LONGEST, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(refused)) => return Ok(refused.into_response()),
        Err(_) => return Ok(StatusCode::REQUEST_TIMEOUT.into_response()),
    };
    let hooks = &app.settings().hooks;
    let Heard { mut delivered, confirm } =
        hooks.hear(&name, app.now(), &headers, &body).await.inspect_err(|problem| {
            tracing::warn!(source = name, "a delivery was refused: {}", problem.detail);
        })?;
    if delivered.len() > MOST {
        let why = format!("it holds {} signals, and {MOST} are taken", delivered.len());
        delivered = vec![unclear(&name, &why, &body).into()];
    }
    let said = delivered.len();
    // With the first only: a large delivery is not kept a thousand times over.
    let mut text = Some(fit::text(String::from_utf8_lossy(&body).into_owned()));
    let mut stored = 0;
    let mut delivered = delivered.into_iter().map(fit::fit).map(|fitting| (fitting.signal, fitting.delivery));
    loop {
        let together: Vec<_> = delivered.by_ref().take(TOGETHER).collect();
        if together.is_empty() {
            break;
        }
        let rows = app.engine().receive_all(together, text.take()).await?;
        stored += rows.iter().flatten().count();
    }
    if let (Some(address), Some(sns)) = (confirm, &hooks.sns) {
        sns.confirm(address).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "signals": said, "stored": stored }))).into_response())
}

/// What cannot be read, kept.
fn unclear(source: &str, why: &str, body: &[u8]) -> Signal {
    Signal {
        source: source.into(),
        kind: "not_understood".into(),
        fingerprint: format!("not_understood/{}", &hex::encode(Sha256::digest(body))[..16]),
        state: SignalState::Unclear,
        severity: None,
        summary: format!("A delivery of {source} is not understood: {why}."),
        labels: BTreeMap::new(),
        started_at: None,
    }
}

fn closed(name: &str) -> Problem {
    let detail = format!("The configuration opens no hook `{name}`.");
    Problem::new(StatusCode::UNAUTHORIZED, "hook_closed", detail)
        .remedy(format!("Add `{name}` under `hooks` in the configuration, with what proves it."))
}

fn refused(why: impl fmt::Display) -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "not_proven",
        format!("The delivery does not prove who sent it: {why}."),
    )
    .remedy("Compare what the sender is set up with, and what `hooks` in the configuration says.")
}

/// Text that is there.
fn some(text: &str) -> Option<String> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The first text that is there.
fn first<'a>(texts: impl IntoIterator<Item = Option<&'a str>>) -> Option<String> {
    texts.into_iter().flatten().find_map(some)
}

/// From JSON, or why not.
fn json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|e| e.to_string())
}
