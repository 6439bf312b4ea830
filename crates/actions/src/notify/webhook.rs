//! A webhook, signed as Firebreak's own `generic` hook wants it.
//!
//! The receiver may meet a message again, under the same `X-Firebreak-Id`: an answer that was lost is cleared up by sending it again.

use std::time::UNIX_EPOCH;

use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde_json::{Value, json};

use super::{Voice, http};
use crate::secrets::Secret;
use crate::wall;
use crate::webhook::signature;

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

impl Channel for Webhook {
    fn least(&self) -> Urgency {
        self.voice.least
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            // The receiver compares it with its own clock, so it is the wall's and no drill's.
            let at = wall::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let at = i64::try_from(at).unwrap_or(i64::MAX);
            let body = self.body(letter);
            let signature = signature(&self.secret, at, &body).map_err(Undelivered::Never)?;
            let request = self
                .http
                .post(self.url.clone())
                .header(CONTENT_TYPE, "application/json")
                .header("x-firebreak-id", letter.id.to_string())
                .header("x-firebreak-timestamp", at)
                .header("x-firebreak-signature", signature)
                .body(body);
            let answer = http::send(request).await?;
            if answer.status.is_success() { Ok(None) } else { Err(answer.refusal()) }
        }
        .boxed()
    }

    fn find<'a>(&'a self, _: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        std::future::ready(Ok(Found::Harmless)).boxed()
    }
}
