//! Slack, by its Web API: `chat.postMessage`.
//!
//! The API knows no idempotency key. So each message carries its id as metadata, and a lost answer is cleared up by reading the newest
//! messages. All that is told of one incident goes into one thread.

use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Voice, http};
use crate::secrets::Secret;

/// So many of the newest messages are read.
const READ: &str = "100";

pub(super) struct Slack {
    voice: Voice,
    http: Client,
    api: Url,
    channel: String,
    token: Secret,
}

/// What every method answers.
#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    ts: Option<String>,
    #[serde(default)]
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    ts: String,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    event_payload: Value,
}

impl Slack {
    pub(super) fn new(voice: Voice, api: &str, channel: String, token: Secret) -> Result<Self, String> {
        if channel.trim().is_empty() {
            return Err("`channel` is empty; write the id of the channel, such as C0123456789".into());
        }
        Ok(Self { voice, http: http::client()?, api: http::address(api)?, channel, token })
    }

    fn message(&self, letter: &Letter<'_>) -> Value {
        let (notice, title) = (letter.notice, self.voice.title(&letter.notice.title));
        let sign = match notice.urgency {
            Urgency::Info => ":information_source:",
            Urgency::Good => ":white_check_mark:",
            Urgency::Attention => ":raised_hand:",
            Urgency::Bad => ":rotating_light:",
        };
        let words = format!("{sign} *<{}|{}>*\n{}", letter.link, escape(&title), escape(&notice.text));
        let mut message = json!({
            "channel": self.channel,
            // For notifications, and for whoever hears it read.
            "text": format!("{title}. {}", notice.text),
            "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": cut(&words, 2900) } }],
            "metadata": { "event_type": "firebreak_notice", "event_payload": { "id": letter.id, "key": notice.key } },
            "unfurl_links": false,
        });
        if let Some(ts) = letter.thread.and_then(|thread| thread["ts"].as_str()) {
            message["thread_ts"] = ts.into();
            // What somebody must decide is not hidden in a thread.
            message["reply_broadcast"] = (notice.urgency >= Urgency::Attention).into();
        }
        message
    }

    fn method(&self, name: &str) -> Result<Url, Undelivered> {
        self.api.join(name).map_err(|e| Undelivered::Never(e.to_string()))
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Result<Answer, Undelivered> {
        let answer = http::send(request.bearer_auth(self.token.expose())).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refusal());
        }
        let read: Answer = serde_json::from_slice(&answer.body)
            .map_err(|e| Undelivered::Unclear(format!("its answer is not understood: {e}")))?;
        if read.ok {
            return Ok(read);
        }
        let error = read.error.unwrap_or_else(|| "an error without a name".into());
        let said = format!("Slack says {error}");
        // https://docs.slack.dev/reference/methods/chat.postMessage: these pass, and say that nothing was done.
        match error.as_str() {
            "ratelimited" | "rate_limited" | "message_limit_exceeded" | "service_unavailable" => {
                Err(Undelivered::Later { error: said, after: answer.retry_after })
            }
            "internal_error" | "fatal_error" | "request_timeout" => Err(Undelivered::Unclear(said)),
            _ => Err(Undelivered::Never(said)),
        }
    }
}

impl Channel for Slack {
    fn least(&self) -> Urgency {
        self.voice.least
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            let request = self.http.post(self.method("chat.postMessage")?).json(&self.message(letter));
            let answer = self.ask(request).await?;
            Ok(answer.ts.map(|ts| json!({ "channel": answer.channel, "ts": ts })))
        }
        .boxed()
    }

    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        async move {
            let thread = letter.thread.and_then(|thread| thread["ts"].as_str());
            let name = if thread.is_some() { "conversations.replies" } else { "conversations.history" };
            let mut query =
                vec![("channel", self.channel.as_str()), ("limit", READ), ("include_all_metadata", "true")];
            query.extend(thread.map(|ts| ("ts", ts)));
            // A token that may not read cannot tell; that is not the message's fault.
            let answer =
                self.ask(self.http.get(self.method(name)?).query(&query)).await.map_err(|e| match e {
                    Undelivered::Never(why) => Undelivered::Unclear(why),
                    other => other,
                })?;
            let id = Value::from(letter.id.to_string());
            let ours =
                |message: &&Message| message.metadata.as_ref().is_some_and(|m| m.event_payload["id"] == id);
            Ok(match answer.messages.iter().find(ours) {
                Some(found) => Found::There(Some(json!({ "channel": self.channel, "ts": found.ts }))),
                None => Found::NotThere,
            })
        }
        .boxed()
    }
}

/// As Slack asks for it: <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
