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
//!   Whoever has proved nothing yet takes no room from those who have.
//! - A delivery that is too large is on the log, and a signal: nobody must believe that nothing was said. Of strangers nothing is kept.
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
use axum::body::{Body, HttpBody as _};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use domain::words::shorten;
use futures::StreamExt as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::app::App;
use crate::error::Problem;
use sns::Heard;

pub use proof::{Proof, Secret};
pub use sns::{Authority, Get, Sns};

/// So many characters of a hook's name are told on, and so many of why a delivery is refused are logged.
const LONGEST_NAME: usize = 64;
const LOGGED: usize = 500;

/// The name of SNS in the address.
const SNS: &str = "sns";

/// So many signals of one delivery are taken.
const MOST: usize = 1000;
/// So many share one commit.
const TOGETHER: usize = 100;
/// A body that takes longer is not waited for.
const LONGEST: Duration = Duration::from_secs(5);
/// The largest delivery that is read, in bytes: a group of some thousand alerts. Its sender would not come again with less.
const LARGEST: usize = 4 * 1024 * 1024;
/// A delivery takes a place for each so many bytes, one at least. So much of its text is kept, too.
const PLACE: usize = 256 * 1024;
/// So many places there are: 128 MiB. Deliveries that find none free wait their turn.
pub(crate) const PLACES: usize = 512;
/// And so many more for what is read before anybody knows who sends it.
pub(crate) const PLACES_OF_STRANGERS: usize = PLACES / 4;
/// What is no larger takes no place of those: most signed deliveries. A connection costs about as much anyway.
const SMALL: usize = 16 * 1024;

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

    /// Is its sender proven by the headers alone? A signature is of the body, so that nobody knows yet; without one, nobody ever will.
    fn is_proven(&self, name: &str, headers: &HeaderMap) -> Result<bool, Problem> {
        if self.sns.is_some() && name == SNS {
            return Ok(false);
        }
        let (source, proof) = self.open(name)?;
        proof.carried(source, headers).map_err(refused)?;
        Ok(matches!(proof, Proof::Token(_)))
    }

    fn open(&self, name: &str) -> Result<(Source, &Proof), Problem> {
        let source = Source::ALL.into_iter().find(|source| source.name() == name);
        source.and_then(|source| Some((source, self.proofs.get(&source)?))).ok_or_else(|| closed(name))
    }

    /// Believes a delivery, and reads it.
    pub(crate) async fn hear(
        &self,
        name: &str,
        now: Timestamp,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Heard, Problem> {
        if let Some(sns) = self.sns.as_ref().filter(|_| name == SNS) {
            return sns.hear(now, headers, body).await;
        }
        let (source, proof) = self.open(name)?;
        proof.check(source, headers, body).map_err(refused)?;
        let delivered = source.read(body).unwrap_or_else(|why| {
            tracing::warn!(source = name, "a delivery is not understood: {why}");
            vec![unclear(name, &why, body).into()]
        });
        Ok(Heard { delivered, confirm: None })
    }

    /// The names of those that are open.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.proofs.keys().map(|source| source.name()).chain(self.sns.as_ref().map(|_| SNS))
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
    let hooks = &app.settings().hooks;
    let headers = request.headers().clone();
    // Anybody can post anything here, by any name: the log gets no more of it than tells what it is.
    let name = shorten(&name, LONGEST_NAME);
    let told = |problem: &Problem| {
        tracing::warn!(source = name, "a delivery was refused: {}", shorten(&problem.detail, LOGGED));
    };
    let proven = hooks.is_proven(&name, &headers).inspect_err(told)?;
    let said = request.body().size_hint().upper().and_then(|size| usize::try_from(size).ok());
    if said.is_some_and(|size| size > LARGEST) {
        return Err(too_large(&app, &name, proven).await?);
    }
    // Before anything is read: however many post, only so much is held. Strangers take room as they go, of their own.
    let mut room = None;
    if proven {
        room = Some(places(&app, said.unwrap_or(LARGEST)).await?);
    }
    let strangers = (!proven).then(|| app.strangers());
    let (body, held) = match timeout(LONGEST, read(request.into_body(), strangers)).await {
        Ok(Ok(read)) => read,
        Ok(Err(Unread::TooLarge)) => return Err(too_large(&app, &name, proven).await?),
        Ok(Err(Unread::Broken(why))) => {
            tracing::warn!(source = name, "a delivery was not read: {why}");
            return Ok(StatusCode::BAD_REQUEST.into_response());
        }
        // Its sender comes again: a 4xx would be the end of it.
        Ok(Err(Unread::NoRoom)) | Err(_) => {
            tracing::warn!(
                source = name,
                "a delivery was not read: there was no room for it, or it took too long"
            );
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
    };
    let Heard { mut delivered, confirm } =
        hooks.hear(&name, app.now(), &headers, &body).await.inspect_err(told)?;
    if room.is_none() {
        room = Some(places(&app, body.len()).await?);
        drop(held);
    }
    if let Some(left_out) = delivered.len().checked_sub(MOST).filter(|&left_out| left_out > 0) {
        let why = format!(
            "of its {} signals the first {MOST} are taken, and {left_out} are left out",
            delivered.len()
        );
        tracing::warn!(source = name, "a delivery is too large: {why}");
        delivered.truncate(MOST);
        delivered.push(unclear(&name, &why, &body).into());
    }
    let said = delivered.len();
    // With the first only: a large delivery is not kept a thousand times over.
    let mut text = Some(kept(&name, &body));
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
    drop(room);
    if let (Some(address), Some(sns)) = (confirm, &hooks.sns) {
        sns.confirm(address).await?;
    }
    Ok((StatusCode::ACCEPTED, Json(json!({ "signals": said, "stored": stored }))).into_response())
}

/// Room for a delivery of somebody who is known.
async fn places(app: &App, size: usize) -> Result<SemaphorePermit<'_>, Problem> {
    app.intake().acquire_many(places_for(size)).await.map_err(Problem::internal)
}

fn places_for(size: usize) -> u32 {
    u32::try_from(size.div_ceil(PLACE).max(1)).unwrap_or(u32::MAX)
}

/// Why a delivery was not read.
enum Unread {
    TooLarge,
    NoRoom,
    Broken(String),
}

/// Reads a delivery. A stranger takes places only for what has come: saying that much will come, and sending little, holds nobody up.
/// The first is waited for, and no more while it is held: those who hold some and wait for others would wait for each other.
async fn read(
    body: Body,
    strangers: Option<&Semaphore>,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Unread> {
    let (mut read, mut held) = (Vec::new(), None::<SemaphorePermit<'_>>);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| Unread::Broken(e.to_string()))?;
        let size = read.len() + chunk.len();
        if size > LARGEST {
            return Err(Unread::TooLarge);
        }
        if let Some(strangers) = strangers.filter(|_| size > SMALL) {
            let has = held.as_ref().map_or(0, SemaphorePermit::num_permits);
            let more = places_for(size).saturating_sub(u32::try_from(has).unwrap_or(u32::MAX));
            match &mut held {
                Some(held) => held.merge(strangers.try_acquire_many(more).map_err(|_| Unread::NoRoom)?),
                None => held = Some(strangers.acquire_many(more).await.map_err(|_| Unread::NoRoom)?),
            }
        }
        read.extend_from_slice(&chunk);
    }
    Ok((read, held))
}

/// Tells of a delivery that is not read: on the log, and as a signal where it is known who sent it.
async fn too_large(app: &App, name: &str, proven: bool) -> Result<Problem, Problem> {
    let why = format!("it is larger than {} MiB", LARGEST / 1024 / 1024);
    tracing::warn!(source = name, proven, "a delivery was not read: {why}");
    if proven {
        let fingerprint = "not_understood/too_large".into();
        let signal = Signal { fingerprint, ..unclear(name, &why, &[]) };
        app.engine().receive_all(vec![(signal, None)], None).await?;
    }
    let detail = format!("The delivery was not read: {why}.");
    Ok(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail).remedy(
        "Let its sender put fewer alerts into one delivery: finer groups, or a limit such as `max_alerts`.",
    ))
}

/// The text of a delivery as it may be shown: what an earlier version has kept may still hold keys.
pub(crate) fn shown(source: &str, text: String) -> String {
    if source == SNS { sns::without_keys_if_any(text) } else { text }
}

/// The text of a delivery, as it is kept and shown.
fn kept(name: &str, body: &[u8]) -> String {
    let mut text = match name {
        SNS => sns::without_keys(body),
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    if text.len() > PLACE {
        text.truncate(text.floor_char_boundary(PLACE));
        text.push('…');
    }
    fit::text(text)
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
