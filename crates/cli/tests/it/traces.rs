//! A run of a server as its collector of traces gets it.

use std::collections::{BTreeMap, HashSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::json;
use sim::{Options, Sim};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::kills::small_world;
use crate::served::{PATIENCE, Served, ended};

/// The body of the one request that comes, which is taken.
async fn taken(collector: TcpListener) -> Vec<u8> {
    let (mut stream, _) = collector.accept().await.unwrap();
    let (read, mut write) = stream.split();
    let (mut read, mut length) = (BufReader::new(read), 0);
    loop {
        let mut line = String::new();
        read.read_line(&mut line).await.unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = told.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    read.read_exact(&mut body).await.unwrap();
    write.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
    body
}

fn about(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &Any| match value {
        Any::StringValue(text) => text.clone(),
        other => format!("{other:?}"),
    };
    let pair = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        text(pair.value.as_ref().unwrap().value.as_ref().unwrap())
    };
    span.attributes.iter().map(|given| (given.key.as_str(), pair(given))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_of_hosts_is_one_trace_with_every_change_and_its_request_id() {
    let sim = Sim::start(small_world(), Options { speed: 100.0, ..Options::default() }).await.unwrap();
    // The hosts fall sick within the first minute.
    sim.clock().sleep(std::time::Duration::from_secs(120)).await;
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    let notify = json!({ "notify": { "traces": { "otlp": { "url": url } } }, "worker": { "lease_s": 30.0 } });
    let served = Served::on_with(&sim, &notify).await;
    let person = served.person().await;
    let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b" });
    let run = served.begin(&person, "replace-proxysql", &inputs).await;
    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{row:?}");

    let body = tokio::time::timeout(PATIENCE, taken(collector)).await.unwrap();
    let mut told = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let spans = told.resource_spans.remove(0).scope_spans.remove(0).spans;
    let ids: HashSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert_eq!(ids.len(), spans.len());
    let (whole, rest) = spans.split_first().unwrap();
    assert_eq!(
        (whole.trace_id.as_slice(), whole.name.as_str()),
        (run.as_bytes().as_slice(), "replace-proxysql")
    );
    assert_eq!(about(whole)["firebreak.outcome"], "succeeded");
    for span in rest {
        assert!(ids.contains(span.parent_span_id.as_slice()), "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    let steps: Vec<_> = rest.iter().filter(|span| span.kind() == SpanKind::Internal).collect();
    let removed = steps.iter().filter(|span| span.name.starts_with("remove[]."));
    assert!(removed.count() >= 2, "each item of an `each` has the name of all: {steps:#?}");

    // What AWS was asked to change, by the requests that it has kept itself.
    let changed: HashSet<String> = rest
        .iter()
        .map(about)
        .filter(|told| told.get("firebreak.changes").is_some_and(|changes| changes == "BoolValue(true)"))
        .filter_map(|told| told.get("aws.request_id").cloned())
        .collect();
    let kept: HashSet<String> = store::calls::of_run(served.db.pool(), run, 0)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|call| call.request_id)
        .collect();
    assert!(!changed.is_empty());
    assert_eq!(changed, kept);
}
