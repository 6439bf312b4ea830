//! SNS and EventBridge, with messages that openssl has signed for an authority of these tests: `hooks/samples/sns/record.sh`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use futures::FutureExt as _;
use serde_json::Value;
use store::signals::{SignalFilter, SignalRow};

use super::bench::{Answer, Bench};
use crate::{Authority, Get, Hooks, Proof, Secret, Sns, Source};

const TOPIC: &str = "arn:aws:sns:us-east-1:111122223333:incidents";
const ENDPOINT: &str = "http://127.0.0.1:4599";

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../hooks/samples/", $name))
    };
}

const ALARM: &str = sample!("sns/alarm.v1.json");

/// What lies at the endpoint, and what was asked there.
#[derive(Default)]
struct Outside {
    asked: Mutex<Vec<String>>,
    /// So many times nobody answers.
    silent: AtomicU32,
}

impl Outside {
    fn get(self: &Arc<Self>) -> Get {
        let outside = self.clone();
        Arc::new(move |address| {
            let outside = outside.clone();
            async move { outside.answer(&address) }.boxed()
        })
    }

    fn answer(&self, address: &str) -> Result<Vec<u8>, String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(address.to_owned());
        if self.silent.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok() {
            return Err("nobody answers".into());
        }
        match address.strip_prefix(ENDPOINT).unwrap_or("elsewhere") {
            "/_sim/sns/signer.pem" => Ok(sample!("sns/signer.pem").into()),
            "/_sim/sns/expired.pem" => Ok(sample!("sns/expired.pem").into()),
            "/_sim/sns/stranger.pem" => Ok(sample!("sns/stranger.pem").into()),
            path if path.starts_with("/?Action=ConfirmSubscription") => Ok(Vec::new()),
            _ => Err("there is nothing".into()),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn open(topic: &str) -> (Bench, Arc<Outside>) {
    let outside = Arc::new(Outside::default());
    let authority = Authority::read(sample!("sns/authority.pem").as_bytes()).unwrap();
    let sns = Sns::new([topic.to_owned()], outside.get()).simulated(ENDPOINT, authority).unwrap();
    (Bench::opened(&[], Hooks::default().with_sns(sns)).await, outside)
}

async fn post(bench: &Bench, body: &str) -> Answer {
    // As SNS sends it: JSON that calls itself plain text.
    let request = Request::post("/hooks/sns").header("content-type", "text/plain; charset=UTF-8");
    bench.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn signals(bench: &Bench) -> Vec<SignalRow> {
    store::signals::list(bench.engine.pool(), SignalFilter::default(), 100).await.unwrap()
}

fn told(signal: &SignalRow) -> Value {
    serde_json::json!({
        "source": signal.source, "kind": signal.kind, "state": signal.state, "summary": signal.summary,
        "labels": signal.labels, "started_at": signal.started_at,
    })
}

#[tokio::test]
async fn messages_of_both_signatures_are_believed_once_and_their_certificate_is_fetched_once() {
    let (bench, outside) = open(TOPIC).await;
    let other = sample!("sns/rds-event.json");
    for message in [ALARM, ALARM, sample!("sns/alarm.v2.json"), other, other] {
        let answer = post(&bench, message).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    }
    let all = signals(&bench).await;
    assert_eq!(all.iter().map(|s| s.count).collect::<Vec<_>>(), [1, 1], "a copy is no second message");
    assert_eq!(outside.asked(), [format!("{ENDPOINT}/_sim/sns/signer.pem")]);
    let mut said: Vec<Value> = all.iter().map(told).collect();
    said.sort_by_key(Value::to_string);
    insta::assert_json_snapshot!("sns", said);
}

#[tokio::test]
async fn who_looks_at_a_message_finds_nothing_in_it_that_ends_or_confirms_the_subscription() {
    let (bench, _) = open(TOPIC).await;
    // As AWS sends it; it is not part of what is signed.
    let link = "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-east-1:111122223333:incidents:c9135db0";
    let alarm = ALARM.replacen('{', &format!("{{ \"UnsubscribeURL\": \"{link}\","), 1);
    for message in [&alarm, sample!("sns/subscription.json")] {
        assert_eq!(post(&bench, message).await.status, StatusCode::ACCEPTED);
    }
    let person = bench.sign_in_as("vic", domain::Role::Viewer).await;
    // And one that was kept whole by a version that did not know better.
    let whole = "UPDATE signal SET body = $1 WHERE body LIKE '%StateChangeTime%'";
    let kept = sqlx::query(whole).bind(&alarm).execute(bench.engine.pool()).await.unwrap();
    assert_eq!(kept.rows_affected(), 1);
    for signal in signals(&bench).await {
        let page = person.get(&format!("/signals/{}", signal.id)).await.text;
        assert!(page.contains("SigningCertURL") && page.contains("MessageId"), "the rest is shown: {page}");
        for secret in ["UnsubscribeURL", "Action=Unsubscribe", "Action=ConfirmSubscription", "2336412f37f"] {
            assert!(!page.contains(secret), "{secret}: {page}");
        }
    }
}

#[tokio::test]
async fn what_was_changed_comes_late_or_from_elsewhere_is_refused() {
    let (bench, outside) = open(TOPIC).await;
    let changed = |from: &str, to: &str| ALARM.replacen(from, to, 1);
    let refused = [
        (changed("ALARM", "OK"), "not of this message"),
        (changed("\"Subject\"", "\"Subjekt\""), "not of this message"),
        (changed("22b80b92", "22b80b93"), "not of this message"),
        (changed("\"SignatureVersion\": \"1\"", "\"SignatureVersion\": \"2\""), "not of this message"),
        (changed("\"SignatureVersion\": \"1\"", "\"SignatureVersion\": \"3\""), "neither 1 nor 2"),
        (changed(":incidents", ":accidents"), "not on the list"),
        (sample!("sns/alarm.late.json").to_owned(), "not of the last hour"),
        (sample!("sns/alarm.expired.json").to_owned(), "not within its time"),
        (sample!("sns/alarm.stranger.json").to_owned(), "not of the authority"),
        (changed("http://127.0.0.1:4599/_sim", "http://127.0.0.1:4598/_sim"), "does not lie at SNS"),
        (changed("http://127.0.0.1:4599/_sim", "https://sns.us-east-1.amazonaws.com"), "does not lie at SNS"),
        (changed("signer.pem", "signer.der"), "does not lie at SNS"),
        (sample!("sns/subscription.elsewhere.json").to_owned(), "SubscribeURL is not SNS's"),
        (changed("\"Notification\"", "\"SubscriptionConfirmation\""), "lacks what its type has"),
    ];
    for (body, why) in refused {
        let answer = post(&bench, &body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{why}: {}", answer.text);
        assert!(answer.text.contains(why), "{why}: {}", answer.text);
    }
    for body in ["not json", "{}", "[]"] {
        assert_eq!(post(&bench, body).await.status, StatusCode::BAD_REQUEST);
    }
    let raw = Request::post("/hooks/sns").header("x-amz-sns-rawdelivery", "true");
    let answer = bench.send(raw.body(Body::from(ALARM)).unwrap()).await;
    assert!(answer.status == StatusCode::BAD_REQUEST && answer.text.contains("raw message delivery"));
    assert!(signals(&bench).await.is_empty());
    let there = |asked: &String| asked.starts_with("http://127.0.0.1:4599/_sim/sns/");
    assert!(outside.asked().iter().all(there), "{:?}", outside.asked());
}

#[tokio::test]
async fn nothing_is_fetched_for_a_topic_that_is_not_ours() {
    let (bench, outside) = open("arn:aws:sns:us-east-1:111122223333:others").await;
    for message in [ALARM, sample!("sns/subscription.json")] {
        assert_eq!(post(&bench, message).await.status, StatusCode::UNAUTHORIZED);
    }
    assert!(outside.asked().is_empty());
}

#[tokio::test]
async fn what_is_ours_to_mend_is_told_so_that_sns_comes_again() {
    let (bench, outside) = open(TOPIC).await;
    outside.silent.store(1, Relaxed);
    assert_eq!(post(&bench, ALARM).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(signals(&bench).await.is_empty());
    assert_eq!(post(&bench, ALARM).await.status, StatusCode::ACCEPTED);
    assert_eq!(signals(&bench).await.len(), 1);

    // Kept, and not confirmed: SNS asks again, and is answered.
    outside.silent.store(1, Relaxed);
    let subscription = sample!("sns/subscription.json");
    assert_eq!(post(&bench, subscription).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(post(&bench, subscription).await.status, StatusCode::ACCEPTED);
    let confirmed = outside.asked().into_iter().filter(|asked| asked.contains("ConfirmSubscription"));
    assert_eq!(confirmed.count(), 2);
}

#[tokio::test]
async fn a_message_from_the_future_tells_that_our_clock_is_slow_and_comes_again() {
    let (bench, _) = open(TOPIC).await;
    // The message is of 14:00.
    for (now, code) in [("13:50:00", Some("clock_is_slow")), ("13:56:00", None), ("14:50:00", None)] {
        let now = format!("2024-05-07T{now}Z").parse().unwrap();
        let heard = bench.settings.hooks.hear("sns", now, &HeaderMap::new(), ALARM.as_bytes()).await;
        assert_eq!(heard.err().map(|problem| problem.code), code, "{now}");
    }
    let changed = ALARM.replacen("22b80b92", "22b80b93", 1);
    let now = "2024-05-07T13:50:00Z".parse().unwrap();
    let heard = bench.settings.hooks.hear("sns", now, &HeaderMap::new(), changed.as_bytes()).await;
    assert_eq!(
        heard.err().map(|problem| problem.code),
        Some("not_proven"),
        "only SNS's own time is believed"
    );
}

#[tokio::test]
async fn a_topic_that_no_longer_delivers_is_a_signal_until_it_does_again() {
    let (bench, _) = open(TOPIC).await;
    for (message, state) in
        [(sample!("sns/unsubscribed.json"), "firing"), (sample!("sns/subscription.json"), "resolved")]
    {
        assert_eq!(post(&bench, message).await.status, StatusCode::ACCEPTED);
        let all = signals(&bench).await;
        assert_eq!((all.len(), all[0].state.as_str(), all[0].kind.as_str()), (1, state, "subscription"));
    }
}

#[tokio::test]
async fn eventbridge_says_the_same_by_itself() {
    let token = "a token that is long enough";
    let hooks = Hooks::default().with(Source::EventBridge, Proof::Token(Secret::new(token)));
    let bench = Bench::opened(&[], hooks).await;
    // Another alarm than the one of the event.
    let alarm = sample!("cloudwatch-alarm.json").replace(":alarm:shard-b", ":alarm:also-shard-b");
    let samples = [
        sample!("rds-event.json"),
        sample!("rds-instance-event.json"),
        sample!("autoscaling-event.json"),
        sample!("alarm-event.json"),
        &alarm,
        r#"{"id":"1","source":"aws.s3","detail-type":"Object Created","detail":{}}"#,
    ];
    // Each is delivered again.
    for sample in samples.into_iter().chain(samples) {
        let request = Request::post("/hooks/eventbridge").header("x-firebreak-token", token);
        let answer = bench.send(request.body(Body::from(sample.to_owned())).unwrap()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    }
    let all = signals(&bench).await;
    let counts: Vec<_> = all.iter().map(|s| (s.kind.as_str(), s.count)).collect();
    assert!(counts.contains(&("rds_event", 1)) && !counts.contains(&("rds_event", 2)), "{counts:?}");
    let mut said: Vec<Value> = all.iter().map(told).collect();
    said.sort_by_key(Value::to_string);
    insta::assert_json_snapshot!("eventbridge", said);
}
