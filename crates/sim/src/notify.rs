//! AWS tells others: what happens in the world is delivered to whoever has subscribed, as SNS delivers it, or as EventBridge.
//!
//! ```text
//!  physics (news) ─▶ said: JSON as AWS writes it ─┬─▶ SNS: an envelope, signed (sign) ─▶ post
//!                                                  └─▶ EventBridge: the event, with your header ─▶ post
//! ```
//!
//! - Alarms of CloudWatch go to the topic by themselves; events of RDS and Auto Scaling by a rule of EventBridge. EventBridge's
//!   own deliveries hold all three as events.
//! - A subscription to the topic is confirmed before anything is delivered, and hears only of what happens from then on.
//! - A delivery that is not taken is tried three more times, 20 simulated seconds apart; what is answered with less than 500
//!   has been taken. Both as SNS does.
//!
//! Deliberately absent: the API of SNS (a subscription is made by `/_sim/subscribe`), HTTPS, version 1 of the signature: ring
//! does not sign by SHA-1.

mod post;
mod said;
mod sign;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::physics::News;
use crate::shared::Shared;

pub(crate) use sign::{AUTHORITY, SIGNER};

/// Real time between two looks for news.
const PAUSE: Duration = Duration::from_millis(25);
/// Simulated time between two tries.
const AGAIN: Duration = Duration::from_secs(20);
/// However fast the clock runs, the other side gets so much real time to recover.
const AT_LEAST: Duration = Duration::from_millis(250);
const TRIES: usize = 4;

/// Who is told, and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase", deny_unknown_fields)]
pub enum Subscriber {
    /// A subscription to the topic, over HTTP.
    Sns {
        /// `http://host:port/path`.
        endpoint: String,
    },
    /// An API destination of EventBridge.
    EventBridge {
        /// `http://host:port/path`.
        endpoint: String,
        /// The name and value of the header that its connection adds.
        header: (String, String),
    },
}

/// Confirmations that are waited for, by their token: from which news on the subscriber hears.
#[derive(Default)]
pub(crate) struct Confirmations(Mutex<BTreeMap<String, watch::Sender<Option<usize>>>>);

impl Confirmations {
    fn expect(&self, token: &str) -> watch::Receiver<Option<usize>> {
        let (tell, told) = watch::channel(None);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), tell);
        told
    }

    /// Whether somebody waits for this one. What happens after the news of this moment is heard, however soon it does.
    pub(crate) fn confirm(&self, token: &str, news: usize) -> bool {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get(token).map(|tell| tell.send_replace(Some(news))).is_some()
    }

    /// Completes when all that were asked for so far have come.
    pub(crate) async fn all(&self) {
        let waiting: Vec<_> = {
            let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            asked.values().map(watch::Sender::subscribe).collect()
        };
        for mut confirmed in waiting {
            let _ = confirmed.wait_for(Option::is_some).await;
        }
    }
}

/// The one topic of the world.
pub(crate) fn topic(shared: &Shared) -> String {
    shared.world(|w| format!("arn:aws:sns:{}:{}:incidents", w.world.region, w.world.account))
}

/// Delivers until the simulator stops.
pub(crate) fn subscribe(shared: &Arc<Shared>, subscriber: Subscriber) {
    let shared = shared.clone();
    tokio::spawn(async move {
        let until = shared.clone();
        tokio::select! {
            () = deliver(&shared, &subscriber) => {}
            () = until.stopped() => {}
        }
    });
}

async fn deliver(shared: &Shared, subscriber: &Subscriber) {
    let mut read = shared.world(|w| w.news.len());
    if let Subscriber::Sns { endpoint } = subscriber {
        let token = shared.request_id();
        let mut confirmed = shared.confirmations.expect(&token);
        if !send(shared, subscriber, &invitation(shared, &token)).await {
            tracing::warn!(endpoint, "the subscription was not answered");
        }
        if let Ok(from) = confirmed.wait_for(Option::is_some).await {
            read = from.unwrap_or(read);
        }
    }
    loop {
        let said: Vec<Value> = shared.world(|w| {
            let new = &w.news[read..];
            read += new.len();
            new.iter().filter_map(|news| said_by(shared, subscriber, w, news)).collect()
        });
        for message in said {
            let message = match subscriber {
                Subscriber::Sns { .. } => notification(shared, &message),
                Subscriber::EventBridge { .. } => message,
            };
            send(shared, subscriber, &message).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn said_by(shared: &Shared, subscriber: &Subscriber, world: &crate::Physics, news: &News) -> Option<Value> {
    match (subscriber, news) {
        (Subscriber::Sns { .. }, News::Alarm { .. }) => said::alarm(world, news, &topic_of(world)),
        _ => said::event(world, news, &shared.request_id()),
    }
}

fn topic_of(world: &crate::Physics) -> String {
    format!("arn:aws:sns:{}:{}:incidents", world.world.region, world.world.account)
}

fn invitation(shared: &Shared, token: &str) -> Value {
    let (topic, base) = (topic(shared), shared.endpoint());
    let asked = format!("{base}/_sim/sns/confirm?Action=ConfirmSubscription&TopicArn={topic}&Token={token}");
    sign::signed(
        json!({
            "Type": "SubscriptionConfirmation",
            "MessageId": shared.request_id(),
            "Token": token,
            "TopicArn": topic,
            "Message": format!("You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the SubscribeURL included in this message."),
            "SubscribeURL": asked,
            "Timestamp": shared.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
        }),
        base,
    )
}

fn notification(shared: &Shared, message: &Value) -> Value {
    let mut envelope = json!({
        "Type": "Notification",
        "MessageId": shared.request_id(),
        "TopicArn": topic(shared),
        "Message": message.to_string(),
        "Timestamp": shared.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
    });
    if let (Some(name), Some(state)) = (message["AlarmName"].as_str(), message["NewStateValue"].as_str()) {
        envelope["Subject"] =
            json!(format!("{state}: \"{name}\" in {}", message["Region"].as_str().unwrap_or_default()));
    }
    sign::signed(envelope, shared.endpoint())
}

/// Whether it was taken in the end.
async fn send(shared: &Shared, subscriber: &Subscriber, message: &Value) -> bool {
    let (endpoint, headers) = match subscriber {
        Subscriber::Sns { endpoint } => {
            let told = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
            let headers = vec![
                ("content-type", "text/plain; charset=UTF-8".to_owned()),
                ("x-amz-sns-message-type", told("Type")),
                ("x-amz-sns-message-id", told("MessageId")),
                ("x-amz-sns-topic-arn", told("TopicArn")),
            ];
            (endpoint, headers)
        }
        Subscriber::EventBridge { endpoint, header } => {
            let json = ("content-type", "application/json; charset=utf-8".to_owned());
            (endpoint, vec![json, (header.0.as_str(), header.1.clone())])
        }
    };
    for _ in 0..TRIES {
        match post::post(endpoint, &headers, &message.to_string()).await {
            Ok(status) if status < 500 => return true,
            Ok(status) => tracing::debug!(endpoint, status, "a delivery was not taken"),
            Err(error) => tracing::debug!(endpoint, %error, "a delivery was not taken"),
        }
        tokio::join!(shared.clock.sleep(AGAIN), tokio::time::sleep(AT_LEAST));
    }
    false
}
