//! What a request to a channel came to: taken, surely not taken, or nobody knows.

use std::error::Error;
use std::time::Duration;

use domain::notice::Undelivered;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode};

pub(crate) use crate::http::address;

/// Of an answer so much is read: enough for every list that is asked for.
const LONGEST: usize = 4 * 1024 * 1024;

/// A client that follows no redirect: a message goes where it was configured to go, or nowhere.
pub(crate) fn client() -> Result<Client, String> {
    let redirect = reqwest::redirect::Policy::none();
    Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(15))
        .redirect(redirect)
        .build()
        .map_err(|e| e.to_string())
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    pub(crate) retry_after: Option<Duration>,
}

/// Sends; an error says whether it may have been taken.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, Undelivered> {
    let mut response = request.send().await.map_err(|e| {
        let said = told(&e);
        match () {
            () if e.is_builder() => Undelivered::Never(said),
            () if e.is_connect() => Undelivered::Later { error: said, after: None },
            () => Undelivered::Unclear(said),
        }
    })?;
    let (status, retry_after) = (response.status(), retry_after(&response));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| Undelivered::Unclear(told(&e)))? {
        if body.len() + chunk.len() > LONGEST {
            return Err(Undelivered::Unclear("its answer is longer than any that is expected".into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body, retry_after })
}

impl Answer {
    /// What an answer that is no success means, where the service does not say it in its body. Who is not let in, or finds nothing where
    /// it was, has a wrong credential or address: that is the configuration's fault and not the message's, and somebody will see to it.
    pub(crate) fn refusal(&self) -> Undelivered {
        let words: String =
            String::from_utf8_lossy(&self.body).split_whitespace().collect::<Vec<_>>().join(" ");
        let words: String = words.chars().take(200).collect();
        let error = if words.is_empty() {
            format!("it answered {}", self.status)
        } else {
            format!("it answered {}: {words}", self.status)
        };
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Undelivered::Later { error, after: self.retry_after },
            // It has not begun, by its own words.
            StatusCode::SERVICE_UNAVAILABLE => Undelivered::Later { error, after: self.retry_after },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Undelivered::Later { error, after: None }
            }
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                Undelivered::Unclear(error)
            }
            _ => Undelivered::Never(error),
        }
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(3600)))
}

/// An error with its causes, without the address: that may hold a secret.
fn told(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connect() {
        "cannot connect".to_owned()
    } else {
        "the connection broke".to_owned()
    };
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
