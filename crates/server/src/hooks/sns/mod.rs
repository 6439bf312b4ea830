//! Amazon SNS: alarms of CloudWatch, and events of RDS and Auto Scaling that EventBridge puts into a topic.
//!
//! ```sh
//! aws sns subscribe --topic-arn "$TOPIC" --protocol https --notification-endpoint https://firebreak.example.com/hooks/sns
//! ```
//!
//! ```text
//!  message ─▶ topic on the list? ─▶ sent within the hour? ─▶ whose certificate? (`place`) ─▶ does it sign this? (`certificate`)
//!          ─▶ Notification: read (`aws`)     SubscriptionConfirmation: kept, and only then confirmed
//! ```
//!
//! - A good signature says that *some* topic of AWS sent it, and anybody may have a topic. So the list of topics is what lets a
//!   message in; it is asked first, and nothing is fetched for a topic that is not on it.
//! - SNS delivers a message again under the same `MessageId`, which is remembered; and after an hour it gives up, so that an older
//!   message is a copy.
//! - SNS takes every answer below 500 for "delivered". What is ours to mend (a certificate that cannot be fetched, a
//!   database that does not answer) is answered with 503, and comes again; what is wrong with the message is refused for good.
//! - A subscription is confirmed by a GET to the address that SNS signed, never by credentials of our own: a hook holds none.
//! - What is kept of a message lacks its links and its token ([`without_keys`]).
//! - A topic that no longer delivers here is a signal that fires until it does again.
//!
//! **Who fetches.** Asking the outside is the business of `actions`, which this crate must not know. So the binary hands in
//! the one function that is needed ([`Get`]): one way to ask, and nothing of AWS in here.
//!
//! Deliberately absent: raw delivery, which has no signature (refused, with the way out); certificates kept on disk: the
//! first message after a start needs AWS to answer.

mod certificate;
mod place;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use chrono::TimeDelta;
use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use futures::future::BoxFuture;
use serde::Deserialize;

use self::certificate::{Certificates, Version};
use self::place::Ground;
use super::{Delivered, aws, refused, unclear};
use crate::error::Problem;

pub use certificate::Authority;

/// Asks an address of the outside (GET) and answers what it holds, or why not. It follows no redirect, takes a few seconds
/// at most, and reads no more than a certificate has.
pub type Get = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;

/// SNS gives up after an hour.
const OLDEST: TimeDelta = TimeDelta::hours(1);
/// Clocks differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// What whoever reads it could end or confirm the subscription with.
const KEYS: [&str; 3] = ["UnsubscribeURL", "SubscribeURL", "Token"];

/// Topics that may say something, and what proves that they do.
pub struct Sns {
    topics: BTreeSet<String>,
    ground: Ground,
    certificates: Certificates,
    get: Get,
}

/// What a message is after its proof.
pub(crate) struct Heard {
    pub(super) delivered: Vec<Delivered>,
    /// To be asked once it is stored.
    pub(super) confirm: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(rename = "Type")]
    kind: String,
    message_id: String,
    topic_arn: String,
    message: String,
    timestamp: String,
    subject: Option<String>,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    certificate: String,
}

impl Sns {
    /// AWS's own. Nothing is asked yet.
    pub fn new(topics: impl IntoIterator<Item = String>, get: Get) -> Self {
        let (topics, certificates) = (topics.into_iter().collect(), Certificates::default());
        Self { topics, ground: Ground::Amazon, certificates, get }
    }

    /// A simulated one: certificates lie below its endpoint, and are this authority's.
    ///
    /// # Errors
    /// Why the endpoint is no address.
    pub fn simulated(self, endpoint: &str, authority: Authority) -> Result<Self, String> {
        Ok(Self { ground: Ground::simulated(endpoint, authority)?, ..self })
    }

    /// Believes a message, or says why not.
    pub(super) async fn hear(
        &self,
        now: Timestamp,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Heard, Problem> {
        if headers.get("x-amz-sns-rawdelivery").is_some_and(|raw| raw == "true") {
            return Err(not_signed("it was delivered raw, and so without a signature"));
        }
        let message: Message = serde_json::from_slice(body)
            .map_err(|e| not_signed(&format!("it is no message of SNS ({e})")))?;
        self.prove(now, &message).await?;
        match message.kind.as_str() {
            "Notification" => Ok(Heard { delivered: vec![message.read()], confirm: None }),
            "SubscriptionConfirmation" => {
                let asked = message.subscribe_url.as_deref().unwrap_or_default();
                let confirm = self.ground.confirmation(asked).map_err(refused)?;
                let said = "its messages come here from now on";
                let signal = subscription(&message.topic_arn, SignalState::Resolved, said);
                Ok(Heard { delivered: vec![message.as_delivered(signal)], confirm: Some(confirm) })
            }
            "UnsubscribeConfirmation" => {
                let said = "its messages no longer come here";
                let signal = subscription(&message.topic_arn, SignalState::Firing, said);
                Ok(Heard { delivered: vec![message.as_delivered(signal)], confirm: None })
            }
            other => Err(refused(format!("its type is `{other}`"))),
        }
    }

    async fn prove(&self, now: Timestamp, message: &Message) -> Result<(), Problem> {
        if !self.topics.contains(&message.topic_arn) {
            return Err(refused(format!("its topic `{}` is not on the list", message.topic_arn)));
        }
        let at = aws::time(&message.timestamp).ok_or_else(|| refused("its Timestamp is no time"))?;
        if now - at > OLDEST {
            return Err(refused("its Timestamp is not of the last hour"));
        }
        let version = Version::named(&message.signature_version)
            .ok_or_else(|| refused("its SignatureVersion is neither 1 nor 2"))?;
        let address = self.ground.certificate(&message.certificate).map_err(refused)?;
        let signed = message.signed().ok_or_else(|| refused("it lacks what its type has"))?;
        let certificate = self.certificates.at(&address, &self.ground, &self.get).await?;
        certificate.proves(now, version, &signed, &message.signature).map_err(refused)?;
        // It is from SNS, whose clock is right: ours is slow, and whoever mends it finds the message delivered again.
        if at - now > SKEW {
            let why =
                format!("an SNS message is of {at}, and here it is {now}: the clock of this machine is slow");
            tracing::error!("{why}");
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "clock_is_slow", why));
        }
        Ok(())
    }

    /// Tells SNS that its messages are welcome.
    pub(super) async fn confirm(&self, address: String) -> Result<(), Problem> {
        (self.get)(address).await.map(drop).map_err(|why| {
            tracing::warn!("a subscription of SNS could not be confirmed: {why}");
            unreachable("The subscription could not be confirmed; SNS asks again.")
        })
    }
}

impl Message {
    /// What its signature is of: names and values, a line each, in the order of the names.
    fn signed(&self) -> Option<String> {
        let subject = self.subject.as_deref().map(|subject| ("Subject", subject));
        let (message, id) = (("Message", &*self.message), ("MessageId", &*self.message_id));
        let (at, topic, kind) =
            (("Timestamp", &*self.timestamp), ("TopicArn", &*self.topic_arn), ("Type", &*self.kind));
        let fields = if self.kind == "Notification" {
            vec![Some(message), Some(id), subject, Some(at), Some(topic), Some(kind)]
        } else {
            let address = ("SubscribeURL", self.subscribe_url.as_deref()?);
            let token = ("Token", self.token.as_deref()?);
            [message, id, address, at, token, topic, kind].map(Some).into()
        };
        Some(fields.into_iter().flatten().map(|(name, value)| format!("{name}\n{value}\n")).collect())
    }

    fn read(self) -> Delivered {
        let signal = aws::read("sns", self.message.as_bytes()).unwrap_or_else(|why| {
            tracing::warn!(source = "sns", "a delivery is not understood: {why}");
            // By what was published: the envelope is another one each time.
            unclear("sns", &why, self.message.as_bytes())
        });
        self.as_delivered(signal)
    }

    fn as_delivered(&self, signal: Signal) -> Delivered {
        Delivered { signal, delivery: Some(self.message_id.clone()) }
    }
}

/// A message without what lets whoever has it confirm or end the subscription: people look at what was received, and none of them may
/// cut the feed off by opening a link.
pub(super) fn without_keys(body: &[u8]) -> String {
    let Ok(mut message) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body) else {
        return String::new();
    };
    message.retain(|name, _| !KEYS.contains(&name.as_str()));
    serde_json::Value::Object(message).to_string()
}

/// The same of what was kept; as it is, where there is none.
pub(super) fn without_keys_if_any(text: String) -> String {
    if KEYS.iter().any(|key| text.contains(key)) { without_keys(text.as_bytes()) } else { text }
}

fn subscription(topic: &str, state: SignalState, said: &str) -> Signal {
    Signal {
        source: "sns".into(),
        kind: "subscription".into(),
        fingerprint: format!("subscription/{topic}"),
        state,
        severity: None,
        summary: format!("The topic {topic}: {said}."),
        labels: [("topic".to_owned(), topic.to_owned())].into(),
        started_at: None,
    }
}

fn not_signed(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "not_signed", format!("The delivery cannot be believed: {why}."))
        .remedy("Turn raw message delivery of the subscription off, and let nobody but SNS post here.")
}

/// Told to SNS, which comes again.
fn unreachable(what: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "sns_unreachable", what)
        .remedy("Let this host reach sns.<region>.amazonaws.com over HTTPS.")
}

impl fmt::Debug for Sns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sns").field("topics", &self.topics).finish_non_exhaustive()
    }
}
