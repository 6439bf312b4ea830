//! What signing in at an identity provider asks of it: its addresses, its keys, tokens for a code, claims. What is asked, and whether
//! the answer is believed, is the server's business.

use std::time::Duration;

use domain::identity::{Question, Reply};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Client;
use reqwest::header::{ACCEPT, AUTHORIZATION, DATE};
use reqwest::redirect::Policy;

use crate::SetupError;
use crate::fetch::held;

/// Keys with their certificates are the largest of it.
const MOST: usize = 512 * 1024;
/// Somebody waits for it before an empty page.
const LONGEST: Duration = Duration::from_secs(8);

/// What it answers, or why it did not.
type Answered = BoxFuture<'static, Result<Reply, String>>;

/// A function that asks (no redirect, no second try). Nothing is asked yet.
///
/// # Errors
/// [`SetupError`]: no HTTP client can be built.
pub fn provider() -> Result<impl Fn(Question) -> Answered + Send + Sync, SetupError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = Client::builder()
        .redirect(Policy::none())
        .timeout(LONGEST)
        .build()
        .map_err(|e| SetupError::Http(e.to_string()))?;
    Ok(move |question: Question| ask(http.clone(), question).boxed())
}

async fn ask(http: Client, question: Question) -> Result<Reply, String> {
    let Question { address, form, authorization } = question;
    let mut request = match &form {
        None => http.get(&address),
        Some(form) => http.post(&address).form(form),
    };
    request = request.header(ACCEPT, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    // Without the address, which may carry a name and a password of a proxy; the server names the one that it asked.
    let answer = request.send().await.map_err(|e| told(&e.without_url()))?;
    let status = answer.status().as_u16();
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    Ok(Reply { status, date, body: held(answer, MOST).await? })
}

/// With what lies below: it says whether the name, the connection or the certificate is to blame.
fn told(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
