//! Prometheus, as it answers on the wire.

use std::time::Duration;

use actions::{Settings, SetupError};
use domain::action::ErrorClass;
use domain::inventory::Inventory;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::Bench;

/// A server that answers every request with this, and tells what it was asked.
async fn prometheus(
    status: &'static str,
    body: &'static str,
) -> (String, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (asked, questions) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap();
            let line = String::from_utf8_lossy(&request[..n]).lines().next().unwrap_or_default().to_owned();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.send(line).await.unwrap();
        }
    });
    (url, questions)
}

async fn bench(url: Option<String>) -> Bench {
    let settings = Settings { prometheus: url, ..Settings::default() };
    Bench::new(Inventory::default(), settings, tempfile::tempdir().unwrap()).await
}

#[tokio::test]
async fn samples_are_read() {
    let body = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"cluster":"shard-b"},"value":[1715092920,"0.52"]}]}}"#;
    let (url, mut questions) = prometheus("200 OK", body).await;
    let bench = bench(Some(url)).await;
    let answer = bench.look("metrics.query", json!({ "query": "rate(x[1m]) > 0" })).await.unwrap();
    assert_eq!(answer, json!({ "samples": [{ "labels": { "cluster": "shard-b" }, "value": 0.52 }] }));
    let question = questions.recv().await.unwrap();
    assert!(question.starts_with("GET /api/v1/query?query=rate%28x%5B1m%5D%29+%3E+0 "), "{question}");
    assert_eq!(bench.calls()[0].service, "prometheus");
}

#[tokio::test]
async fn a_bad_expression_is_refused_in_its_own_words() {
    let body = r#"{"status":"error","errorType":"bad_data","error":"1:6: parse error"}"#;
    let (url, _questions) = prometheus("400 Bad Request", body).await;
    let error = bench(Some(url)).await.look("metrics.query", json!({ "query": "rate(" })).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "bad_data"));
    assert!(error.message.contains("1:6: parse error"), "{error}");
}

#[tokio::test]
async fn silence_and_absence_are_transient() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut silent = bench(Some(url)).await;
    silent.ctx.deadline = Duration::from_millis(200);
    let error = silent.look("metrics.query", json!({ "query": "up" })).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "timeout"));
    drop(listener);
    let error = silent.look("metrics.query", json!({ "query": "up" })).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "cannot_connect"), "{error}");
}

#[tokio::test]
async fn without_a_server_it_says_what_to_add() {
    let error = bench(None).await.look("metrics.query", json!({ "query": "up" })).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "not_configured"));
    assert!(error.remedy.unwrap().contains("prometheus"));
    let settings = Settings { prometheus: Some("not a url".into()), ..Settings::default() };
    let error = actions::registry(Inventory::default().into(), settings).await.err().unwrap();
    assert!(
        matches!(error, SetupError::Prometheus { .. }) && error.to_string().contains("not a url"),
        "{error}"
    );
}
