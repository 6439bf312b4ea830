//! Slack, by its Web API: `chat.postMessage`.
//!
//! The API knows no idempotency key. So each message carries its id as metadata, and a lost answer is cleared up by reading the newest
//! messages, or the thread. All that is told of one incident goes into one thread.

use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::Voice;
use crate::secrets::Secret;
use crate::slack::{Api, Method, cut, escape};

pub(super) struct Slack {
    voice: Voice,
    api: Api,
    channel: String,
}

impl Slack {
    pub(super) fn new(voice: Voice, api: &str, channel: String, token: Secret) -> Result<Self, String> {
        if channel.trim().is_empty() {
            return Err("`channel` is empty; write the id of the channel, such as C0123456789".into());
        }
        Ok(Self { voice, api: Api::new(api, token)?, channel })
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
}

impl Channel for Slack {
    fn least(&self) -> Urgency {
        self.voice.least
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            let answer = self.api.post(Method::PostMessage, &self.message(letter)).await?;
            Ok(answer.ts.map(|ts| json!({ "channel": answer.channel, "ts": ts })))
        }
        .boxed()
    }

    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        async move {
            let thread = letter.thread.and_then(|thread| thread["ts"].as_str());
            self.api.find(&self.channel, thread, letter).await
        }
        .boxed()
    }
}
