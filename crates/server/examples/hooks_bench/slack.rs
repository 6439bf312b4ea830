//! People who type in Slack meanwhile: signed as Slack signs, by somebody who is linked, and timed from when each was due.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::chat::{Card, Chat};
use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use domain::{Actor, Clock as _, Role};
use engine::clock::SystemClock;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use server::{Secret, Slack};
use sqlx::PgPool;
use store::slack::Member;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// What people ask while everything rings, in turn.
const TYPED: [&str; 3] = ["status", "incident", "help"];

/// Takes all that is posted, and shows it to nobody.
struct Silence;

impl Channel for Silence {
    fn least(&self) -> Urgency {
        Urgency::Info
    }

    fn send<'a>(&'a self, _: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        std::future::ready(Ok(None)).boxed()
    }

    fn find<'a>(&'a self, _: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        std::future::ready(Ok(Found::NotThere)).boxed()
    }
}

impl Chat for Silence {
    fn place(&self) -> Option<&str> {
        None
    }

    fn edit<'a>(&'a self, _: &'a Value, _: &'a Card, _: &'a str) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(Ok(())).boxed()
    }

    fn answer<'a>(&'a self, _: &'a str, _: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(Ok(())).boxed()
    }

    fn whisper<'a>(&'a self, _: &'a str, _: &'a str, _: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(Ok(())).boxed()
    }

    fn open<'a>(&'a self, _: &'a str, _: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// A workspace that is heard.
pub(crate) fn workspace() -> Slack {
    Slack { secrets: vec![Secret::new(SECRET)], teams: vec!["T1".into()], app: None, chat: Arc::new(Silence) }
}

/// Somebody there is linked to a person.
pub(crate) async fn link(pool: &PgPool) {
    let member = Member { team: "T1".into(), id: "U1".into(), called: "ada".into() };
    store::slack::add_code(pool, b"code", &member, Duration::from_secs(60)).await.unwrap();
    let ada = Actor::with_role("ada", Role::Responder);
    assert!(store::slack::confirm(pool, b"code", &ada, SystemClock.now()).await.unwrap());
}

/// So many commands, so many a second; milliseconds until each was answered, sorted.
pub(crate) async fn typed(address: SocketAddr, rate: usize, all: usize) -> Vec<f64> {
    let begun = Instant::now();
    let each = (0..all).map(|n| {
        tokio::spawn(async move {
            let due = begun + Duration::from_secs_f64(n as f64 / rate as f64);
            sleep_until(due).await;
            let said = say(address, TYPED[n % TYPED.len()]).await;
            assert!(said.starts_with("HTTP/1.1 200") && said.contains("ephemeral"), "{said}");
            assert!(!said.contains("takes longer than usual"), "{said}");
            due.elapsed().as_secs_f64() * 1000.0
        })
    });
    let mut took = Vec::new();
    for one in each.collect::<Vec<_>>() {
        took.push(one.await.unwrap());
    }
    took.sort_by(f64::total_cmp);
    took
}

/// Types something, on a connection of its own as Slack does; the whole answer.
async fn say(address: SocketAddr, text: &str) -> String {
    let trigger = Uuid::now_v7().to_string();
    let url = format!("https://hooks.slack.com/{trigger}");
    let fields = [
        ("team_id", "T1"),
        ("user_id", "U1"),
        ("channel_id", "C7"),
        ("api_app_id", "A1"),
        ("command", "/firebreak"),
        ("text", text),
        ("trigger_id", &trigger),
        ("response_url", &url),
    ];
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let at = SystemClock.now().timestamp();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("v0:{at}:{body}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let request = format!(
        "POST /slack/commands HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         x-slack-request-timestamp: {at}\r\nx-slack-signature: v0={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
