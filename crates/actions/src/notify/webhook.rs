//! A webhook, signed as Firebreak's own `generic` hook wants it.
//!
//! The receiver may meet a message again, under the same `X-Firebreak-Id`: an answer that was lost is cleared up by sending it again.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Voice, http};
use crate::secrets::Secret;

pub(super) struct Webhook {
    voice: Voice,
    http: Client,
    url: Url,
    secret: Secret,
}

impl Webhook {
    pub(super) fn new(voice: Voice, url: &str, secret: Secret) -> Result<Self, String> {
        Ok(Self { voice, http: http::client()?, url: http::address(url)?, secret })
    }

    fn body(&self, letter: &Letter<'_>) -> String {
        let notice = letter.notice;
        json!({
            "id": letter.id, "key": notice.key, "kind": notice.kind, "urgency": notice.urgency, "title": self.voice.title(&notice.title),
            "text": notice.text, "link": letter.link, "incident": notice.incident,
        })
        .to_string()
    }
}

/// `v1=<hex>`: HMAC-SHA256 of `timestamp.body`.
fn signature(secret: &Secret, at: u64, body: &str) -> Result<String, Undelivered> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes());
    let mut mac = mac.map_err(|e| Undelivered::Never(e.to_string()))?;
    mac.update(format!("{at}.{body}").as_bytes());
    Ok(format!("v1={}", hex::encode(mac.finalize().into_bytes())))
}

impl Channel for Webhook {
    fn least(&self) -> Urgency {
        self.voice.least
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            // The receiver compares it with its own clock, so it is the wall's and no drill's.
            #[expect(clippy::disallowed_methods, reason = "a signature carries the wall's time")]
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let body = self.body(letter);
            let request = self
                .http
                .post(self.url.clone())
                .header(CONTENT_TYPE, "application/json")
                .header("x-firebreak-id", letter.id.to_string())
                .header("x-firebreak-timestamp", at)
                .header("x-firebreak-signature", signature(&self.secret, at, &body)?)
                .body(body);
            let answer = http::send(request).await?;
            if answer.status.is_success() { Ok(None) } else { Err(answer.refusal()) }
        }
        .boxed()
    }

    fn find<'a>(&'a self, _: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        std::future::ready(Ok(Found::NotThere)).boxed()
    }
}
