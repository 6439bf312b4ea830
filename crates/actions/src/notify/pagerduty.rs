//! Notes on PagerDuty's own incidents: who works there sees what Firebreak does about it.
//!
//! The API knows no idempotency key. So each note ends with its id, and a lost answer is cleared up by reading the notes.

use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Voice, http};
use crate::secrets::Secret;

pub(super) struct PagerDuty {
    voice: Voice,
    http: Client,
    api: Url,
    token: Secret,
    from: String,
}

#[derive(Deserialize)]
struct Notes {
    notes: Vec<Note>,
}

#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    content: String,
}

impl PagerDuty {
    pub(super) fn new(voice: Voice, api: &str, token: Secret, from: String) -> Result<Self, String> {
        if !from.contains('@') {
            return Err(format!("`from` is `{from}`; write the mail address of a PagerDuty user"));
        }
        Ok(Self { voice, http: http::client()?, api: http::address(api)?, token, from })
    }

    fn notes(&self, letter: &Letter<'_>) -> Result<Url, Undelivered> {
        let theirs = letter.theirs.unwrap_or_default();
        let mut url = self.api.clone();
        match url.path_segments_mut() {
            Ok(mut path) => drop(path.pop_if_empty().extend(["incidents", theirs, "notes"])),
            Err(()) => return Err(Undelivered::Never("the API's address cannot be extended".into())),
        }
        Ok(url)
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request
            .header("authorization", format!("Token token={}", self.token.expose()))
            .header("accept", "application/vnd.pagerduty+json;version=2")
            .header("from", &self.from)
    }
}

/// What a note ends with.
fn mark(letter: &Letter<'_>) -> String {
    format!("(Firebreak {})", letter.id)
}

impl Channel for PagerDuty {
    fn least(&self) -> Urgency {
        self.voice.least
    }

    fn follows(&self) -> Option<&'static str> {
        Some("pagerduty")
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            let (title, text) = (self.voice.title(&letter.notice.title), &letter.notice.text);
            let content = format!("{title}\n{text}\n{}\n{}", letter.link, mark(letter));
            let body = json!({ "note": { "content": content } });
            let answer = http::send(self.signed(self.http.post(self.notes(letter)?).json(&body))).await?;
            if answer.status.is_success() { Ok(None) } else { Err(answer.refusal()) }
        }
        .boxed()
    }

    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        async move {
            let answer = http::send(self.signed(self.http.get(self.notes(letter)?))).await?;
            if !answer.status.is_success() {
                return Err(answer.refusal());
            }
            let read: Notes = serde_json::from_slice(&answer.body)
                .map_err(|e| Undelivered::Unclear(format!("its answer is not understood: {e}")))?;
            let mark = mark(letter);
            let there = read.notes.iter().any(|note| note.content.contains(&mark));
            Ok(if there { Found::There(None) } else { Found::NotThere })
        }
        .boxed()
    }
}
