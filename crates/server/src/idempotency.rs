//! The same request again does nothing again: an `Idempotency-Key` on any POST of the API that has no other way to tell.
//!
//! ```text
//!  key unknown ─▶ claimed ─▶ done ─▶ answer kept for a day ─▶ the same request: the same answer, `Idempotency-Replayed: true`
//!                    │                                      └▶ another request: 422
//!                    └─▶ refused: the key is given back, because nothing was done
//! ```
//!
//! Starts and wishes have keys of their own that end in the run's own rows (routes say so), and so do not come here. Nor does the
//! making of a token: its answer is a secret, and its name tells a second time from the first.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use store::answered::{self, Known};

use crate::app::{App, to_the_end};
use crate::error::{Problem, key_reused};
use crate::routes::BODY_LIMIT;
use crate::session::Visitor;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Wraps a route: a request with a key is done once.
pub(crate) async fn once(State(app): State<App>, visitor: Visitor, request: Request, next: Next) -> Response {
    let worker = async move { at_most_once(&app, &visitor, request, next).await };
    // Whoever hangs up must still find the answer when they come back.
    to_the_end(worker).await.and_then(|answer| answer).unwrap_or_else(IntoResponse::into_response)
}

async fn at_most_once(
    app: &App,
    visitor: &Visitor,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(key) = key(request.headers())? else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large."))?;
    let key = digest(&[visitor.person.as_bytes(), key.as_bytes()]);
    let asked = digest(&[parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), &body]);
    match answered::claim(app.pool(), &key, &asked).await? {
        Known::Fresh => {
            let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
            keep(app, &key, answer).await
        }
        Known::Answered { status, body } => replay(status, body),
        Known::AtWork => {
            let detail = "The same request is being worked on.";
            Err(Problem::new(StatusCode::CONFLICT, "at_work", detail)
                .remedy("Ask again in a second.")
                .retry_after(1))
        }
        Known::Other => {
            Err(key_reused("This Idempotency-Key was used for another request; nothing was done."))
        }
    }
}

async fn keep(app: &App, key: &[u8], answer: Response) -> Result<Response, Problem> {
    if !answer.status().is_success() {
        answered::give_back(app.pool(), key).await?;
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let body: Bytes = to_bytes(body, usize::MAX).await.map_err(Problem::internal)?;
    answered::put(app.pool(), key, parts.status.as_u16(), &body).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(status: u16, body: Vec<u8>) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(status).map_err(Problem::internal)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REPLAYED, HeaderValue::from_static("true")),
    ];
    Ok((status, headers, body).into_response())
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(key) if key.len() <= 200 => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_idempotency_key",
            "An Idempotency-Key has 1 to 200 plain characters.",
        )
        .remedy("Send a new UUID, and the same one again when you repeat the request.")),
    }
}

/// Of several parts, none of which can be taken for another.
fn digest(parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_vec()
}
