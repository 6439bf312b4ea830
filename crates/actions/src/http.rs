//! One HTTP call to a service that is not AWS: its gate, its deadline, its record, and what its failure means.
//!
//! ```text
//!  connect ──no──▶ not sent: transient
//!     │ yes
//!     ▼
//!  gate open? ──no──▶ not sent: busy, `gate_closed`
//!     │ yes
//!     ▼
//!   socket ─▶ 2xx ▶ done · 429 (or 420) ▶ busy · 3xx and 4xx ▶ refused
//!           ─▶ 5xx, no answer, deadline ▶ unknown for a change, transient for a look
//! ```
//!
//! Where the gate is asked, [`crate::departure`] says.
//!
//! Redirects are never followed: what is signed for one place is not sent to another.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use domain::action::{ActionError, CallRecord, Ctx, ErrorClass, GateClosed};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, RequestBuilder, StatusCode, Url};
use tokio::time::{Instant, timeout};

use crate::departure::Departure;
use crate::errors::source;
use crate::secrets::Secret;

/// A client with a deadline for the connection; the whole call has the action's.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder().connect_timeout(Duration::from_secs(2)).redirect(Policy::none()).build()
}

/// A base address, checked: what is sent in the open, only this machine may read.
pub(crate) fn address(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|e| format!("`{url}` is no address: {e}"))?;
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http"
            if parsed.host_str().is_some_and(|host| matches!(host, "127.0.0.1" | "localhost" | "[::1]")) =>
        {
            Ok(parsed)
        }
        _ => Err(format!("`{url}` is not https, and what is sent there could be read on its way")),
    }
}

/// What is called, on what, and whether it changes something.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) service: &'static str,
    pub(crate) operation: &'a str,
    pub(crate) target: &'a str,
    pub(crate) mutating: bool,
    /// What the service knows us by; it is cut out of whatever the service says.
    pub(crate) secret: &'a Secret,
}

/// An answer of the 2xx kind.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// An answer of any kind, as far as it is read.
struct Received {
    status: StatusCode,
    request_id: Option<String>,
    body: Vec<u8>,
}

/// More is not read of an answer.
const MOST_BYTES: usize = 64 * 1024;
/// So much of a refusal is told.
const FIRST_WORDS: usize = 200;

impl Call<'_> {
    /// Sends it, and keeps a record.
    pub(crate) async fn send(self, ctx: &Ctx, request: RequestBuilder) -> Result<Answer, ActionError> {
        let departure = self.mutating.then(|| Departure::through(ctx.gate.clone()));
        let (at, started) = (ctx.clock.now(), Instant::now());
        let answer = timeout(ctx.deadline, Box::pin(receive(request, departure.as_ref()))).await;
        let sent = departure.is_some_and(|departure| departure.shut());
        let (request_id, result) = match answer {
            Ok(Ok(received)) => (received.request_id.clone(), self.judge(received)),
            Ok(Err(Unanswered::Held(closed))) => (None, Err(self.held(&closed))),
            Ok(Err(Unanswered::Failed(error))) => (None, Err(self.failed(error, sent))),
            Err(_) => {
                let waited = format!("no answer within {:.1} s", ctx.deadline.as_secs_f64());
                (None, Err(self.silent(sent, "timeout", &waited)))
            }
        };
        ctx.calls.push(CallRecord {
            at,
            service: self.service.to_owned(),
            operation: self.operation.to_owned(),
            target: self.target.to_owned(),
            request_id,
            status: result.as_ref().map_or_else(|error| error.code.clone(), |_| "ok".to_owned()),
            duration_ms: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            mutating: self.mutating,
        });
        result
    }

    fn judge(self, received: Received) -> Result<Answer, ActionError> {
        let Received { status, body, .. } = received;
        let code = format!("http_{}", status.as_u16());
        match status {
            status if status.is_success() => Ok(Answer { status, body }),
            // 420 is Statuspage's.
            status if [420, 429].contains(&status.as_u16()) => {
                let message = format!("{}: it asks for patience ({}).", self.name(), status.as_u16());
                Err(ActionError::new(ErrorClass::Busy, code, message))
            }
            status if status.is_server_error() => {
                Err(self.silent(true, &code, &format!("it answered {status}")))
            }
            status if status.is_redirection() => Err(ActionError::refused(
                code,
                format!("{}: it answered {status}, and redirects are not followed.", self.name()),
            )
            .remedy("write the address that it leads to into the configuration")),
            status => {
                let said = self.first_words(&body);
                let said = if said.is_empty() { String::new() } else { format!(": {said}") };
                Err(ActionError::refused(code, format!("{}: it answered {status}{said}", self.name())))
            }
        }
    }

    /// The beginning of what was said, in one line and without our secret.
    fn first_words(self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.replace(self.secret.expose(), "(secret)").chars().take(FIRST_WORDS).collect()
    }

    fn held(self, closed: &GateClosed) -> ActionError {
        ActionError::new(ErrorClass::Busy, "gate_closed", format!("{}: {closed}.", self.name()))
    }

    fn failed(self, error: reqwest::Error, sent: bool) -> ActionError {
        if let Some(closed) = source::<GateClosed>(&error) {
            return self.held(closed);
        }
        if error.is_connect() {
            let message = format!("{}: no connection, so nothing was sent: {}.", self.name(), cause(error));
            return ActionError::new(ErrorClass::Transient, "cannot_connect", message);
        }
        self.silent(sent, "no_answer", &cause(error))
    }

    /// Nothing came back that can be read.
    fn silent(self, sent: bool, code: &str, why: &str) -> ActionError {
        let (class, what) = match (self.mutating, sent) {
            (true, true) => (ErrorClass::Unknown, " was sent, and it is not known whether it took effect"),
            (true, false) => (ErrorClass::Transient, " was not sent"),
            (false, _) => (ErrorClass::Transient, ""),
        };
        ActionError::new(class, code, format!("{}{what}: {why}.", self.name()))
    }

    fn name(self) -> String {
        format!("{} {} ({})", self.service, self.operation, self.target)
    }
}

/// Why there is no answer.
enum Unanswered {
    Held(GateClosed),
    Failed(reqwest::Error),
}

impl From<reqwest::Error> for Unanswered {
    fn from(error: reqwest::Error) -> Self {
        Self::Failed(error)
    }
}

async fn receive(request: RequestBuilder, departure: Option<&Departure>) -> Result<Received, Unanswered> {
    let (client, request) = request.build_split();
    let mut request = request?;
    if let Some(departure) = departure {
        match request.body().and_then(Body::as_bytes).filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => {
                let guarded = departure.guard(Bytes::copy_from_slice(bytes));
                *request.body_mut() = Some(Body::wrap(guarded));
            }
            // Nobody asks it for bytes.
            None => departure.leave().map_err(Unanswered::Held)?,
        }
    }
    let mut response = client.execute(request).await?;
    let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let (status, mut body) = (response.status(), Vec::new());
    while let Some(chunk) = response.chunk().await? {
        let left = MOST_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if body.len() == MOST_BYTES {
            break;
        }
    }
    Ok(Received { status, request_id: id, body })
}

/// The whole chain of causes in one line, without the address.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
