//! Channels against servers that take a message and lose the answer, are busy, refuse, or are not there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actions::notify::{ChannelKind, ChannelSettings, Tls, channels};
use actions::secrets::Secret;
use domain::notice::{Channel, Found, Letter, Notice, Undelivered, Urgency, letter_id};
use domain::trace::{Span, Trace};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A service: what it was asked, and what it answers next.
#[derive(Clone, Default)]
pub(crate) struct Service {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

/// Method and path, headers, body.
pub(crate) type Asked = (String, BTreeMap<String, String>, Vec<u8>);
/// Status, seconds of `Retry-After`, body.
pub(crate) type Answer = (u16, Option<u64>, Value);

impl Service {
    pub(crate) async fn answering(answers: &[Answer]) -> (Self, String) {
        let service = Self { answers: Arc::new(Mutex::new(answers.to_vec())), ..Self::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = service.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.serve(stream).await;
            }
        });
        (service, url)
    }

    async fn serve(&self, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let mut line = String::new();
        read.read_line(&mut line).await.unwrap();
        let first = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            read.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; length];
        read.read_exact(&mut body).await.unwrap();
        self.asked.lock().unwrap().push((first, headers, body));
        let (status, retry_after, body) = self.answers.lock().unwrap().remove(0);
        let retry_after = retry_after.map(|s| format!("retry-after: {s}\r\n")).unwrap_or_default();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "HTTP/1.1 {status} X\r\n{retry_after}location: /elsewhere\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        write.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

pub(crate) fn json_of(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn channel(kind: ChannelKind) -> Arc<dyn Channel> {
    let settings = ChannelSettings { name: "x".into(), least: Urgency::Info, kind };
    channels([settings], Some("staging")).unwrap().remove("x").unwrap()
}

fn notice() -> Notice {
    Notice {
        key: "asked:1".into(),
        kind: "asked".into(),
        urgency: Urgency::Attention,
        title: "Decide: Replace <hosts> & more".into(),
        text: "Its guards hold.".into(),
        path: "/signals/1".into(),
        incident: None,
        thread: None,
        place: None,
    }
}

fn letter<'a>(notice: &'a Notice, thread: Option<&'a Value>) -> Letter<'a> {
    let id = letter_id("x", &notice.key);
    Letter {
        notice,
        link: "https://firebreak.example.com/signals/1",
        id,
        thread,
        theirs: Some("PT4KHLK"),
        trace: None,
    }
}

fn slack(api: String) -> Arc<dyn Channel> {
    channel(ChannelKind::Slack { api, channel: "C1".into(), token: Secret::new("xoxb-1") })
}

#[tokio::test]
async fn slack_is_told_with_an_id_in_a_thread_and_its_answers_are_understood() {
    let ok = json!({ "ok": true, "channel": "C1", "ts": "1715093000.000100" });
    let answers = [
        (200, None, ok),
        (429, Some(30), json!({ "ok": false, "error": "ratelimited" })),
        (500, None, Value::Null),
        (200, None, json!({ "ok": false, "error": "channel_not_found" })),
    ];
    let (service, url) = Service::answering(&answers).await;
    let (slack, notice) = (slack(url), notice());
    let receipt = slack.send(&letter(&notice, None)).await.unwrap().unwrap();
    assert_eq!(receipt, json!({ "channel": "C1", "ts": "1715093000.000100" }));
    let busy = slack.send(&letter(&notice, Some(&receipt))).await.unwrap_err();
    assert!(
        matches!(&busy, Undelivered::Later { after: Some(after), .. } if *after == Duration::from_secs(30)),
        "{busy:?}"
    );
    assert!(matches!(slack.send(&letter(&notice, None)).await, Err(Undelivered::Unclear(_))));
    let shut = slack.send(&letter(&notice, None)).await.unwrap_err();
    assert!(matches!(shut, Undelivered::Later { .. }), "somebody will let it in: {shut:?}");

    let asked = service.asked();
    let (line, headers, first) = (&asked[0].0, &asked[0].1, json_of(&asked[0].2));
    assert_eq!(
        (line.as_str(), headers["authorization"].as_str()),
        ("POST /chat.postMessage", "Bearer xoxb-1")
    );
    assert_eq!(first["metadata"]["event_payload"]["id"], letter_id("x", "asked:1").to_string());
    let words = first["blocks"][0]["text"]["text"].as_str().unwrap();
    assert!(
        words.contains("[staging] Decide: Replace &lt;hosts&gt; &amp; more>*\nIts guards hold."),
        "{words}"
    );
    assert_eq!(first.get("thread_ts"), None);
    let second = json_of(&asked[1].2);
    assert_eq!(
        (&second["thread_ts"], &second["reply_broadcast"]),
        (&json!("1715093000.000100"), &json!(true))
    );
}

#[tokio::test]
async fn what_slack_has_is_found_by_its_id_and_a_token_that_may_not_read_cannot_tell() {
    let notice = notice();
    let id = letter_id("x", &notice.key).to_string();
    let ours = json!({ "ts": "2.0", "metadata": { "event_type": "firebreak_notice", "event_payload": { "id": id } } });
    let answers = [
        (200, None, json!({ "ok": true, "messages": [{ "ts": "3.0" }, ours] })),
        (
            200,
            None,
            json!({ "ok": true, "messages": [{ "ts": "3.0", "metadata": { "event_payload": {} } }] }),
        ),
        (200, None, json!({ "ok": false, "error": "missing_scope" })),
    ];
    let (service, url) = Service::answering(&answers).await;
    let slack = slack(url);
    let thread = json!({ "channel": "C1", "ts": "1.0" });
    let found = slack.find(&letter(&notice, Some(&thread))).await.unwrap();
    assert_eq!(found, Found::There(Some(json!({ "channel": "C1", "ts": "2.0" }))));
    assert_eq!(slack.find(&letter(&notice, None)).await.unwrap(), Found::NotThere);
    assert_eq!(
        slack.find(&letter(&notice, None)).await.unwrap_err(),
        Undelivered::Unclear("Slack says missing_scope".into())
    );
    let lines: Vec<String> = service.asked().into_iter().map(|(line, ..)| line).collect();
    assert!(
        lines[0].starts_with("GET /conversations.replies?channel=C1") && lines[0].contains("ts=1.0"),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("GET /conversations.history?channel=C1"), "{}", lines[1]);
}

#[tokio::test]
async fn a_note_at_pagerduty_ends_with_its_id_by_which_it_is_found() {
    let notice = notice();
    let mark = format!("(Firebreak {})", letter_id("x", &notice.key));
    let there = json!({ "notes": [{ "content": "acknowledged" }, { "content": format!("said\n{mark}") }] });
    let answers = [
        (201, None, json!({ "note": {} })),
        (200, None, there),
        (200, None, json!({ "notes": [] })),
        (401, None, json!({ "error": { "message": "no" } })),
        (403, None, Value::Null),
        (404, None, Value::Null),
    ];
    let (service, url) = Service::answering(&answers).await;
    let kind =
        ChannelKind::PagerDuty { api: url, token: Secret::new("key"), from: "oncall@example.com".into() };
    let pagerduty = channel(kind);
    assert_eq!(pagerduty.follows(), Some("pagerduty"));
    assert_eq!(pagerduty.send(&letter(&notice, None)).await.unwrap(), None);
    assert_eq!(pagerduty.find(&letter(&notice, None)).await.unwrap(), Found::There(None));
    assert_eq!(pagerduty.find(&letter(&notice, None)).await.unwrap(), Found::NotThere);
    for _ in 0..3 {
        let shut = pagerduty.send(&letter(&notice, None)).await;
        assert!(matches!(shut, Err(Undelivered::Later { .. })), "somebody will see to the key: {shut:?}");
    }
    let (line, headers, body) = service.asked().remove(0);
    assert_eq!(line, "POST /incidents/PT4KHLK/notes");
    assert_eq!(
        (headers["authorization"].as_str(), headers["from"].as_str()),
        ("Token token=key", "oncall@example.com")
    );
    assert!(json_of(&body)["note"]["content"].as_str().unwrap().ends_with(&mark), "{}", json_of(&body));
}

#[tokio::test]
async fn a_webhook_is_signed_and_follows_no_redirect_and_nobody_there_means_later() {
    let answers = [(200, None, Value::Null), (302, None, Value::Null)];
    let (service, url) = Service::answering(&answers).await;
    let webhook = channel(ChannelKind::Webhook { url: url.clone(), secret: Secret::new("secret") });
    let notice = notice();
    assert_eq!(webhook.send(&letter(&notice, None)).await.unwrap(), None);
    assert!(matches!(webhook.send(&letter(&notice, None)).await, Err(Undelivered::Never(_))));
    assert_eq!(webhook.find(&letter(&notice, None)).await.unwrap(), Found::Harmless);
    let (_, headers, body) = service.asked().remove(0);
    let body = String::from_utf8(body).unwrap();
    let signed = hmac_of("secret", &format!("{}.{body}", headers["x-firebreak-timestamp"]));
    assert_eq!(headers["x-firebreak-signature"], format!("v1={signed}"));
    assert_eq!(headers["x-firebreak-id"], letter_id("x", "asked:1").to_string());

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = channel(ChannelKind::Webhook { url: format!("http://{free}/"), secret: Secret::new("s") });
    assert!(matches!(nobody.send(&letter(&notice, None)).await, Err(Undelivered::Later { .. })));
}

fn hmac_of(secret: &str, text: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// What a mail server says to each recipient in turn.
struct Rcpts(Vec<&'static str>);

impl From<&'static str> for Rcpts {
    fn from(all: &'static str) -> Self {
        Self(vec![all])
    }
}

impl From<[&'static str; 2]> for Rcpts {
    fn from(each: [&'static str; 2]) -> Self {
        Self(each.into())
    }
}

/// A mail server that speaks what it must; `end` is what it says to the message, and nothing means that it hangs up.
async fn mail_server(rcpt: impl Into<Rcpts>, end: Option<&'static str>) -> (u16, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(String::new()));
    let (keeps, mut rcpts) = (heard.clone(), rcpt.into().0.into_iter().cycle());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 mail.test ESMTP\r\n").await.unwrap();
        let mut text = false;
        while let Ok(Some(line)) = lines.next_line().await {
            keeps.lock().unwrap().push_str(&format!("{line}\n"));
            let reply = match (text, line.split([' ', ':']).next().unwrap()) {
                (true, _) if line == "." => {
                    text = false;
                    match end {
                        Some(reply) => reply,
                        None => return,
                    }
                }
                (true, _) => continue,
                (false, "EHLO") => "250 mail.test",
                (false, "RCPT") => rcpts.next().unwrap(),
                (false, "DATA") => {
                    text = true;
                    "354 go on"
                }
                (false, "QUIT") => "221 bye",
                (false, _) => "250 ok",
            };
            if write.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
                return;
            }
        }
    });
    (port, heard)
}

fn mail(port: u16) -> Arc<dyn Channel> {
    channel(ChannelKind::Mail {
        host: "127.0.0.1".into(),
        port,
        tls: Tls::None,
        login: None,
        from: "firebreak@example.com".into(),
        to: vec!["oncall@example.com".into(), "boss@example.com".into()],
    })
}

#[tokio::test]
async fn mail_is_taken_refused_put_off_or_unclear_as_the_server_says() {
    let notice = notice();
    let (port, heard) = mail_server("250 ok", Some("250 queued")).await;
    assert_eq!(mail(port).send(&letter(&notice, None)).await.unwrap(), None);
    let said = heard.lock().unwrap().clone();
    assert!(
        said.contains("RCPT TO:<boss@example.com>") && said.contains("Subject: [staging] Decide: Replace"),
        "{said}"
    );
    assert!(said.contains(&format!("{}@example.com", letter_id("x", "asked:1"))), "{said}");
    assert!(said.contains("https://firebreak.example.com/signals/1"), "{said}");

    let (port, _) = mail_server("450 later, please", Some("250 queued")).await;
    assert!(matches!(mail(port).send(&letter(&notice, None)).await, Err(Undelivered::Later { .. })));
    let (port, _) = mail_server("550 no such user", Some("250 queued")).await;
    let never = mail(port).send(&letter(&notice, None)).await.unwrap_err();
    assert!(matches!(never, Undelivered::Never(_)) && never.to_string().contains("boss@"), "{never:?}");
    let (port, _) = mail_server("530 authenticate first", Some("250 queued")).await;
    assert!(matches!(mail(port).send(&letter(&notice, None)).await, Err(Undelivered::Later { .. })));
    // Somebody who has left, or whose box is full, does not keep it from the others.
    for refusal in ["550 no such user", "452 mailbox full"] {
        let (port, heard) = mail_server(["250 ok", refusal], Some("250 queued")).await;
        let receipt = mail(port).send(&letter(&notice, None)).await.unwrap().unwrap();
        let why = receipt["refused"]["boss@example.com"].as_str().unwrap();
        assert!(
            why.contains(refusal.split(' ').next().unwrap())
                && receipt["refused"].as_object().unwrap().len() == 1
        );
        assert!(heard.lock().unwrap().contains("DATA"));
    }
    let (port, _) = mail_server(["550 no such user", "450 later, please"], Some("250 queued")).await;
    assert!(matches!(mail(port).send(&letter(&notice, None)).await, Err(Undelivered::Later { .. })));
    let (port, _) = mail_server("250 ok", Some("451 disk full")).await;
    assert!(matches!(mail(port).send(&letter(&notice, None)).await, Err(Undelivered::Later { .. })));
    // The text was handed over, and then nothing: it may have been taken.
    let (port, _) = mail_server("250 ok", None).await;
    assert!(matches!(mail(port).send(&letter(&notice, None)).await, Err(Undelivered::Unclear(_))));
    assert!(matches!(mail(port).find(&letter(&notice, None)).await, Err(Undelivered::Unclear(_))));
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert!(matches!(mail(free).send(&letter(&notice, None)).await, Err(Undelivered::Later { .. })));
}

#[tokio::test]
async fn a_run_comes_to_a_collector_as_one_trace_and_what_it_does_not_take_is_said() {
    let (from, to) = ("2024-05-07T14:00:00Z".parse().unwrap(), "2024-05-07T14:00:02.5Z".parse().unwrap());
    let span = |id, parent, name: &str, outside| Span {
        id: [id; 8],
        parent,
        name: name.into(),
        from,
        to,
        outside,
        failed: outside.then(|| "Throttling".into()),
        tries: vec![(to, "slow down".into())],
        about: vec![("firebreak.attempt", 2.into()), ("firebreak.changes", true.into())],
    };
    let spans =
        vec![span(1, None, "heal", false), span(2, Some([1; 8]), "autoscaling.SetDesiredCapacity", true)];
    let trace = Trace { id: letter_id("run", "7"), spans };
    let answers =
        [(200, None, Value::Null), (400, None, json!("no such tenant")), (503, Some(9), Value::Null)];
    let (service, url) = Service::answering(&answers).await;
    let headers = vec![("x-tenant".to_owned(), Secret::new("ops"))];
    let collector = channel(ChannelKind::Otlp { url: format!("{url}v1/traces"), headers });
    let notice = notice();
    let letter = Letter { trace: Some(&trace), ..letter(&notice, None) };
    assert_eq!(collector.send(&letter).await, Ok(None));
    let refused = collector.send(&letter).await.unwrap_err();
    assert!(matches!(&refused, Undelivered::Never(why) if why.contains("no such tenant")), "{refused:?}");
    let busy = collector.send(&letter).await.unwrap_err();
    assert!(
        matches!(busy, Undelivered::Later { after: Some(after), .. } if after == Duration::from_secs(9)),
        "{busy:?}"
    );
    assert_eq!(collector.find(&letter).await, Ok(Found::Harmless), "the same ids say so");
    assert!(collector.takes_traces());

    let (line, headers, body) = &service.asked()[0];
    assert_eq!(
        (line.as_str(), headers["content-type"].as_str(), headers["x-tenant"].as_str()),
        ("POST /v1/traces", "application/x-protobuf", "ops")
    );
    let told = ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans.remove(0);
    let of_us = format!("{:?}", told.resource.unwrap().attributes);
    assert!(of_us.contains("deployment.environment.name") && of_us.contains("staging"), "{of_us}");
    let spans = &told.scope_spans[0].spans;
    assert_eq!(spans[1].parent_span_id, spans[0].span_id);
    assert!(spans.iter().all(|span| span.trace_id == trace.id.as_bytes()));
    assert_eq!(spans[0].end_time_unix_nano - spans[0].start_time_unix_nano, 2_500_000_000);
    assert_eq!(
        (spans[0].status.is_none(), spans[1].status.as_ref().unwrap().message.as_str()),
        (true, "Throttling")
    );
    assert_eq!((spans[1].kind(), spans[1].events.len()), (SpanKind::Client, 1));
}

#[tokio::test]
async fn a_collector_that_takes_a_part_says_how_much_is_missing() {
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "too old".into(),
        }),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked).await.unwrap();
        let body = partial.encode_to_vec();
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    });
    let collector = channel(ChannelKind::Otlp { url, headers: Vec::new() });
    let trace = Trace { id: letter_id("run", "7"), spans: Vec::new() };
    let notice = notice();
    let letter = Letter { trace: Some(&trace), ..letter(&notice, None) };
    let missing = Err(Undelivered::Never("it did not take 1 of 0 spans: too old".into()));
    assert_eq!(collector.send(&letter).await, missing);
}
