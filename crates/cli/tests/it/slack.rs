//! The whole way through Slack: typed, previewed, started, recovered, and shown to the end, on a Slack that answers late, breaks,
//! loses answers and asks for patience.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sim::Sim;
use store::pages::RunFilter;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::kills::small_world;
use crate::served::{PATIENCE, Person, Served, ended, http};
use crate::signals::until;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const TOKEN: &str = "xoxb-1234567890-abcdef";

/// A workspace: what is in its channels, and how it behaves.
#[derive(Default)]
struct Inner {
    /// By number: the message as it is now, and how often it was edited.
    messages: Vec<(Value, usize)>,
    /// What was told to a person by an address.
    told: BTreeMap<String, Vec<Value>>,
    forms: Vec<Value>,
    calls: usize,
    /// How often each trouble was made.
    troubles: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Default)]
struct FakeSlack {
    inner: Arc<Mutex<Inner>>,
    moved: Arc<Notify>,
}

type Shared = State<FakeSlack>;

impl FakeSlack {
    async fn serve() -> (Self, String) {
        let slack = Self::default();
        let router = Router::new()
            .route("/chat.postMessage", post(post_message))
            .route("/chat.update", post(update))
            .route("/views.open", post(open_view))
            .route("/auth.test", post(who))
            .route("/conversations.history", get(messages))
            .route("/conversations.replies", get(messages))
            .route("/answers/{id}", post(answer))
            .with_state(slack.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (slack, url)
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, unless it is in the mood for trouble: every few calls it asks for patience, breaks before or after it has done
    /// it, or says nothing for a while.
    async fn troubled(&self, act: impl FnOnce(&mut Inner) -> Value) -> Response {
        let (trouble, done) = {
            let mut inner = self.inner();
            inner.calls += 1;
            let trouble = match inner.calls % 9 {
                2 => Some("429"),
                4 => Some("500"),
                6 => Some("lost"),
                8 => Some("late"),
                _ => None,
            };
            if let Some(trouble) = trouble {
                *inner.troubles.entry(trouble).or_default() += 1;
            }
            let done = (!matches!(trouble, Some("429" | "500"))).then(|| act(&mut inner));
            (trouble, done)
        };
        self.moved.notify_waiters();
        match (trouble, done) {
            (Some("429"), _) => (
                StatusCode::TOO_MANY_REQUESTS,
                [(header::RETRY_AFTER, "1")],
                Json(json!({ "ok": false, "error": "ratelimited" })),
            )
                .into_response(),
            // It was done, and nobody is told.
            (Some("500" | "lost"), _) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (Some(_), Some(done)) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Json(done).into_response()
            }
            (_, done) => Json(done.unwrap_or_default()).into_response(),
        }
    }

    async fn until<T>(&self, what: &str, wanted: impl Fn(&Inner) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let moved = self.moved.notified();
            if let Some(found) = wanted(&self.inner()) {
                return found;
            }
            if Instant::now() > end {
                let inner = self.inner();
                panic!("never {what}: {:#?} {:#?}", inner.messages, inner.told);
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), moved).await;
        }
    }

    /// Waits for what is told by an address.
    async fn told(&self, id: &str, words: &str) -> Value {
        self.until(words, |inner| {
            inner.told.get(id)?.iter().rev().find(|said| said.to_string().contains(words)).cloned()
        })
        .await
    }

    /// Waits until the message of a run shows these words; the message.
    async fn shows(&self, words: &str) -> Value {
        self.until(words, |inner| {
            let parents = inner.messages.iter().filter(|(message, _)| message["thread_ts"].is_null());
            parents.map(|(message, _)| message).find(|message| message.to_string().contains(words)).cloned()
        })
        .await
    }
}

async fn post_message(State(slack): Shared, Json(message): Json<Value>) -> Response {
    slack
        .troubled(move |inner| {
            let ts = format!("{}.0", inner.messages.len() + 1);
            let channel = message["channel"].clone();
            let mut message = message;
            message["ts"] = ts.clone().into();
            inner.messages.push((message, 0));
            json!({ "ok": true, "channel": channel, "ts": ts })
        })
        .await
}

async fn update(State(slack): Shared, Json(edited): Json<Value>) -> Response {
    slack
        .troubled(move |inner| {
            let Some((message, edits)) = inner.messages.iter_mut().find(|(m, _)| m["ts"] == edited["ts"])
            else {
                return json!({ "ok": false, "error": "message_not_found" });
            };
            for part in ["text", "blocks"] {
                message[part] = edited[part].clone();
            }
            *edits += 1;
            json!({ "ok": true, "channel": edited["channel"], "ts": edited["ts"] })
        })
        .await
}

async fn open_view(State(slack): Shared, Json(body): Json<Value>) -> Response {
    slack.inner().forms.push(body["view"].clone());
    slack.moved.notify_waiters();
    Json(json!({ "ok": true })).into_response()
}

async fn who(State(slack): Shared) -> Response {
    slack.inner().calls += 1;
    Json(json!({ "ok": true, "team": "Acme", "team_id": "T1", "user": "firebreak" })).into_response()
}

async fn messages(State(slack): Shared, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let inner = slack.inner();
    let there = inner.messages.iter().map(|(message, _)| message).filter(|message| {
        query.get("channel").is_some_and(|channel| message["channel"] == channel.as_str())
            && match query.get("ts") {
                Some(ts) => message["thread_ts"] == ts.as_str() || message["ts"] == ts.as_str(),
                None => message["thread_ts"].is_null(),
            }
    });
    Json(json!({ "ok": true, "messages": there.collect::<Vec<_>>() })).into_response()
}

async fn answer(State(slack): Shared, Path(id): Path<String>, Json(message): Json<Value>) -> Response {
    slack
        .troubled(move |inner| {
            inner.told.entry(id).or_default().push(message);
            json!("ok")
        })
        .await
}

/// Somebody in the workspace.
struct Member<'a> {
    id: &'static str,
    served: &'a Served,
    slack: &'a str,
    client: reqwest::Client,
}

impl Member<'_> {
    async fn send(&self, path: &str, body: String) -> (StatusCode, String) {
        let at = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("v0:{at}:{body}").as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self
            .client
            .post(format!("{}{path}", self.served.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-slack-request-timestamp", at.to_string())
            .header("x-slack-signature", format!("v0={hex}"))
            .body(body)
            .send()
            .await
            .unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// What is said at once, and the address of what is said later.
    async fn types(&self, text: &str) -> (String, String) {
        let id = Uuid::now_v7().to_string();
        let url = format!("{}answers/{id}", self.slack);
        let body = form(&[
            ("team_id", "T1"),
            ("user_id", self.id),
            ("user_name", self.id),
            ("channel_id", "C7"),
            ("api_app_id", "A1"),
            ("text", text),
            ("trigger_id", &id),
            ("response_url", &url),
        ]);
        let (status, said) = self.send("/slack/commands", body).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        (said, id)
    }

    async fn presses(&self, value: &Value, ephemeral: bool) -> String {
        let id = Uuid::now_v7().to_string();
        let payload = json!({
            "type": "block_actions", "team": { "id": "T1" }, "user": { "id": self.id }, "api_app_id": "A1", "trigger_id": id,
            "channel": { "id": "C7" }, "container": { "is_ephemeral": ephemeral },
            "response_url": format!("{}answers/{id}", self.slack),
            "actions": [{ "action_id": "x", "value": value, "action_ts": "1.0" }],
        });
        let body = form(&[("payload", &payload.to_string())]);
        // Slack heard no answer, and delivers it again.
        for _ in 0..2 {
            let (status, said) = self.send("/slack/interactions", body.clone()).await;
            assert_eq!((status, said.as_str()), (StatusCode::OK, ""));
        }
        id
    }

    async fn links(&self, person: &Person) {
        let (said, _) = self.types("link").await;
        let said: Value = serde_json::from_str(&said).unwrap();
        let words = said["blocks"][0]["text"]["text"].as_str().unwrap();
        let path = words.split(&self.served.url).nth(1).unwrap().split('|').next().unwrap();
        person.form(path).await;
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://localhost").unwrap();
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap().to_owned()
}

/// The configuration of the app, its secrets in files.
fn keys(slack: &str, folder: &std::path::Path) -> Value {
    let (secret, token) = (folder.join("signing"), folder.join("token"));
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::write(&token, TOKEN).unwrap();
    json!({
        "signing_secrets": [{ "file": secret }], "token": { "file": token }, "teams": ["T1"], "app": "A1", "channel": "C0",
        "api": slack,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_previewed_started_recovered_and_shown_to_the_end_on_a_slack_in_trouble() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let (slack, url) = FakeSlack::serve().await;
    let folder = tempfile::tempdir().unwrap();
    // The first seconds are no warm-up: what is seen is judged at once.
    let more = json!({ "slack": keys(&url, folder.path()), "automation": { "warm_up_s": 1 } });
    let served = Served::on_with(&sim, &more).await;
    let doctor = served.command(&["doctor"]);
    assert!(doctor.contains("slack: firebreak in Acme (T1)"), "{doctor}");
    let ada = Member { id: "U1", served: &served, slack: &url, client: http() };
    ada.links(&served.person().await).await;

    // Its hosts are sick by then, so that the plan has nothing to say against it.
    until(&served.db, "asked", |signal| signal.verdict.as_deref() == Some("asked")).await;
    let fleet = sim.world_info().fleets[0].asg.clone();
    let (said, id) =
        ada.types(&format!("run replace-proxysql fleet={fleet} cluster=shard-b logins fail")).await;
    assert!(said.contains("Looking, to plan"), "{said}");
    let preview = slack.told(&id, "Plan `").await;
    let run = &preview["blocks"][1]["elements"][0];
    assert_eq!(
        (&run["text"]["text"], preview["response_type"].as_str()),
        (&json!("Run"), Some("ephemeral")),
        "{preview}"
    );
    let pressed = ada.presses(&run["value"], true).await;
    slack.told(&pressed, "Started").await;

    let runs = store::pages::runs(served.db.pool(), &RunFilter::default(), 10).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:#?}");
    let run = ended(&served.db, runs[0].id).await;
    assert_eq!((run.state.as_str(), run.requested_by.as_str()), ("succeeded", "on-call"));
    let message = slack.shows("*Succeeded*").await;
    let words = message["blocks"][0]["text"]["text"].as_str().unwrap();
    assert!(words.contains("asked for by on-call: logins fail") && !words.contains("hourglass"), "{words}");
    assert_eq!(message["channel"], "C7", "where it was asked for");
    slack
        .until("its end in the thread", |inner| {
            let ends =
                |m: &Value| m["thread_ts"] == message["ts"] && m["text"].to_string().contains("Succeeded:");
            inner.messages.iter().any(|(m, _)| ends(m)).then_some(())
        })
        .await;
    let inner = slack.inner();
    let parents = inner.messages.iter().filter(|(message, _)| message["thread_ts"].is_null());
    assert_eq!(parents.count(), 1, "one message: {:#?}", inner.messages);
    let ids: Vec<_> =
        inner.messages.iter().map(|(m, _)| m["metadata"]["event_payload"]["id"].to_string()).collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), distinct.len(), "each once: {:#?}", inner.messages);
    assert!(ids.len() > 5, "its steps are told: {:#?}", inner.messages);
    assert!(inner.troubles.len() == 4, "{:?}", inner.troubles);
}

/// Before anything is done a second person must agree.
const CAREFUL: &str = r#"
runbook: look-carefully
title: Look carefully
when: Nobody dares
risk: severe
inputs:
  fleet: { type: proxy_fleet, description: Whose hosts }
locks: ["fleet:${inputs.fleet.id}"]
approval: { by: approver, count: 1, within: 150h }
steps:
  - id: group
    title: Look at the group
    use: autoscaling.describe_group
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_person_approves_by_a_button_and_the_message_says_who() {
    let mut world = small_world();
    world.faults.clear();
    let sim = Sim::start(world, sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let (slack, url) = FakeSlack::serve().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("runbooks")).unwrap();
    std::fs::write(folder.path().join("runbooks/look-carefully.yaml"), CAREFUL).unwrap();
    let more = json!({ "runbooks": folder.path().join("runbooks"), "slack": keys(&url, folder.path()) });
    let served = Served::on_with(&sim, &more).await;
    let member = |id| Member { id, served: &served, slack: &url, client: http() };
    let (ada, bob) = (member("U1"), member("U2"));
    ada.links(&served.person().await).await;
    bob.links(&served.second("bob", "approver").await).await;

    let fleet = sim.world_info().fleets[0].asg.clone();
    let (_, id) = ada.types(&format!("run look-carefully fleet={fleet} to be sure")).await;
    let preview = slack.told(&id, "Plan `").await;
    ada.presses(&preview["blocks"][1]["elements"][0]["value"], true).await;
    let asks = slack.shows("\"action_id\":\"approve\"").await;
    let agree = &asks["blocks"][2]["elements"][0]["value"];
    let own = ada.presses(agree, false).await;
    slack.told(&own, "so somebody else must agree").await;
    bob.presses(agree, false).await;
    let decided = slack.shows("approved by bob at ").await;
    assert!(!decided.to_string().contains("action_id"), "no button is left: {decided}");
    let runs = store::pages::runs(served.db.pool(), &RunFilter::default(), 10).await.unwrap();
    let run = ended(&served.db, runs[0].id).await;
    assert_eq!((runs.len(), run.state.as_str()), (1, "succeeded"));
    slack.shows("*Succeeded*").await;
}
