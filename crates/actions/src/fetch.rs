//! What a hook must ask of the outside before it believes a message: the certificate of SNS, and the address that confirms
//! a subscription. Which addresses may be asked is decided by the one who asks.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};

use crate::SetupError;

/// A certificate has two thousand bytes.
const MOST: usize = 64 * 1024;
/// The one whose message waits for it waits 15 s.
const LONGEST: Duration = Duration::from_secs(5);

/// What an address holds, once it has answered.
type Held = BoxFuture<'static, Result<Vec<u8>, String>>;

/// A function that asks an address (GET, no redirect) and answers what it holds, or why not. Nothing is asked yet.
///
/// # Errors
/// [`SetupError`]: no HTTP client can be built.
pub fn fetch() -> Result<impl Fn(String) -> Held + Send + Sync, SetupError> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = Client::builder()
        .redirect(Policy::none())
        .timeout(LONGEST)
        .build()
        .map_err(|e| SetupError::Http(e.to_string()))?;
    Ok(move |address: String| get(http.clone(), address).boxed())
}

async fn get(http: Client, address: String) -> Result<Vec<u8>, String> {
    let said = |e: reqwest::Error| e.to_string();
    let answer = http.get(&address).send().await.map_err(said)?;
    if !answer.status().is_success() {
        return Err(format!("{address} answers {}", answer.status()));
    }
    held(answer, MOST).await
}

/// What an answer holds, if it is not too much.
pub(crate) async fn held(mut answer: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut held = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| e.to_string())? {
        held.extend_from_slice(&chunk);
        if held.len() > most {
            return Err(format!("{} holds more than {most} bytes", answer.url()));
        }
    }
    Ok(held)
}
