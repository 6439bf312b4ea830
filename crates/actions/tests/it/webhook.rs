//! Signed calls, against the simulated load shedder and against receivers that misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use actions::{Settings, SetupError, Webhook};
use domain::action::{Effect, ErrorClass};
use domain::inventory::{Inventory, SecretRef};
use serde_json::{Value, json};
use sim::{Options, SHEDDER_SECRET, Sim, World};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Bench, Done, Doorkeeper, secret};

const SEND: &str = "webhook.send";

async fn bench(url: String, key: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let hook = Webhook { url, secret: secret(&folder, "key", key) };
    with(BTreeMap::from([("load-shedder".to_owned(), hook)]), folder).await
}

async fn with(webhooks: BTreeMap<String, Webhook>, folder: TempDir) -> Bench {
    Bench::new(Inventory::default(), Settings { webhooks, ..Settings::default() }, folder).await
}

/// The harness's clock stands at the epoch; so does this world.
async fn world() -> Sim {
    let world = World { faults: vec![], start: chrono::DateTime::UNIX_EPOCH, ..World::incident_2024_05_07() };
    Sim::start(world, Options { speed: 0.0, ..Options::default() }).await.unwrap()
}

fn shed(percent: u32) -> Value {
    json!({
        "to": "load-shedder",
        "body": { "cluster": "shard-b", "percent": percent, "for_s": 600 },
        "take_back": { "cluster": "shard-b", "percent": 0 },
    })
}

#[tokio::test]
async fn a_signed_call_is_believed_done_once_and_taken_back() {
    let sim = world().await;
    let mut bench = bench(format!("{}/shedder", sim.endpoint()), SHEDDER_SECRET).await;
    let done = bench.change(SEND, shed(30)).await.unwrap();
    assert_eq!((&done.output()["status"], &done.output()["answer"]["percent"]), (&json!(200), &json!(30.0)));
    let Done::Applied { changes, .. } = &done else { panic!("{done:?}") };
    assert_eq!(changes[0].object, "webhook load-shedder (127.0.0.1)");

    // The same step again, as after a lost answer: the receiver knows it.
    bench.change(SEND, shed(30)).await.unwrap();
    let effects = |sim: &Sim| sim.ledger().into_iter().filter(|e| e.effect.is_some()).count();
    assert_eq!(effects(&sim), 1);
    let calls = bench.calls();
    assert_eq!(calls[0].request_id, Some(sim.ledger()[0].request_id.clone()));
    assert_eq!(calls[1].request_id, calls[0].request_id, "it is answered as it was the first time");

    bench.ctx.token = "run/undo:step".into();
    bench.take_back(done.undo()).await.unwrap();
    assert_eq!(effects(&sim), 2);
    assert_eq!(sim.ledger()[1].operation, "StopShedding");
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_the_words_of_the_receiver() {
    let sim = world().await;
    let bench = bench(format!("{}/shedder", sim.endpoint()), "another secret").await;
    let error = bench.change(SEND, shed(30)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "http_401"));
    assert!(error.message.contains("its signature is wrong"), "{error}");
    assert!(sim.ledger().is_empty());
}

#[tokio::test]
async fn a_closed_gate_sends_nothing() {
    let sim = world().await;
    let mut bench = bench(format!("{}/shedder", sim.endpoint()), SHEDDER_SECRET).await;
    bench.close_gate();
    let error = bench.change(SEND, shed(30)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Busy, "gate_closed"));
    assert!(sim.ledger().is_empty());
}

#[tokio::test]
async fn the_gate_is_asked_when_the_connection_stands() {
    let door = Doorkeeper::new();
    let mut bench = bench(door.endpoint(), SHEDDER_SECRET).await;
    bench.ctx.gate = door.gate();
    let error = bench.change(SEND, shed(30)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Busy, "gate_closed"), "{error}");
    assert_eq!(door.body(), "", "nothing that could be acted on has left");
}

/// A receiver that answers this, whatever it is asked; nothing at all to an empty one.
async fn receiver(answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let _ = stream.read(&mut request).await;
            if answer.is_empty() {
                silent.push(stream);
            } else {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    url
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn each_answer_means_what_it_says() {
    for (status, class, code) in [
        ("429 Too Many Requests", ErrorClass::Busy, "http_429"),
        ("503 Service Unavailable", ErrorClass::Unknown, "http_503"),
        ("500 Internal Server Error", ErrorClass::Unknown, "http_500"),
        ("302 Found", ErrorClass::Refused, "http_302"),
        ("422 Unprocessable Entity", ErrorClass::Refused, "http_422"),
    ] {
        let url = receiver(answer(status, "no,  not\nso: a-long-secret")).await;
        let error = bench(url, "a-long-secret").await.change(SEND, shed(30)).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (class, code), "{error}");
        assert!(!error.message.contains("a-long-secret"), "{error}");
        assert_eq!(status.starts_with("422"), error.message.contains("no, not so: (secret)"), "{error}");
    }
    let done = bench(receiver(answer("204 No Content", "")).await, "a-long-secret").await;
    assert_eq!(
        done.change(SEND, shed(30)).await.unwrap().output(),
        &json!({ "status": 204, "answer": null })
    );
}

#[tokio::test]
async fn silence_is_unknown_and_no_connection_is_not() {
    let mut silent = bench(receiver(String::new()).await, "a-long-secret").await;
    silent.ctx.deadline = Duration::from_millis(200);
    let error = silent.change(SEND, shed(30)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Unknown, "timeout"));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error =
        bench(format!("http://{nobody}/"), "a-long-secret").await.change(SEND, shed(30)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "cannot_connect"), "{error}");
    assert_eq!(silent.registry.get(SEND).unwrap().spec().effect, Effect::Token);
}

#[tokio::test]
async fn a_name_that_is_not_configured_and_an_address_that_is_none_are_told() {
    let bench = bench("https://shedder.example.com/".into(), "a-long-secret").await;
    let mut input = shed(30);
    input["to"] = json!("https://elsewhere.example.com");
    let error = bench.change(SEND, input).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "not_configured"));
    assert!(error.message.contains("configured are: load-shedder"), "{error}");
    assert!(error.remedy.unwrap().contains("under `webhooks`"));

    for url in ["shedder", "ftp://shedder.example.com/"] {
        let folder = tempfile::tempdir().unwrap();
        let hook = Webhook { url: url.into(), secret: secret(&folder, "key", "x") };
        let settings = Settings { webhooks: BTreeMap::from([("s".into(), hook)]), ..Settings::default() };
        let error = actions::registry(Inventory::default().into(), settings).await.err().unwrap();
        assert!(matches!(&error, SetupError::Webhook { name, .. } if name == "s"), "{error}");
    }
    let hook =
        Webhook { url: "https://x/".into(), secret: SecretRef::Env("FIREBREAK_TEST_SURELY_UNSET".into()) };
    let settings = Settings { webhooks: BTreeMap::from([("s".into(), hook)]), ..Settings::default() };
    let error = actions::registry(Inventory::default().into(), settings).await.err().unwrap().to_string();
    assert!(error.contains("FIREBREAK_TEST_SURELY_UNSET") && error.contains("the webhook `s`"), "{error}");
}
