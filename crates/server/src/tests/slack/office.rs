//! A server with a workspace of Slack that is busy, loses answers and delivers twice; and what its members type and press.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use domain::chat::{Card, Chat};
use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use domain::{Clock as _, Role};
use engine::clock::SystemClock;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use store::pages::RunFilter;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::tests::bench::{Answer, Bench, Setting};
use crate::{Secret, Slack};

pub(super) const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// Longer than anything here takes; what lasts longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Slack does with the next thing that it is asked; afterwards it works.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    /// 429.
    Busy,
    /// Does it, and the answer is lost.
    LosesAnswer,
    /// Does not do it, and says so by 500: nobody knows.
    Breaks,
}

/// A workspace, as far as it is asked.
#[derive(Default)]
pub(super) struct Workspace {
    pub(super) moods: Mutex<Vec<Mood>>,
    /// What is told to one person, the newest last.
    pub(super) told: Mutex<Vec<(String, Value)>>,
    /// Forms that were opened.
    pub(super) forms: Mutex<Vec<Value>>,
    /// Messages by their number: the id that they were posted with, and what they show.
    pub(super) posted: Mutex<Vec<(Uuid, Option<u64>, String)>>,
    pub(super) cards: Mutex<BTreeMap<u64, Vec<Card>>>,
    moved: Notify,
}

impl Workspace {
    /// Does something, in the mood of the moment.
    pub(super) fn do_it<T>(&self, act: impl FnOnce() -> T) -> Result<T, Undelivered> {
        let mood = self.moods.lock().unwrap().pop();
        let done = match mood {
            None => Ok(act()),
            Some(Mood::Busy) => {
                Err(Undelivered::Later { error: "busy".into(), after: Some(Duration::from_millis(20)) })
            }
            Some(Mood::LosesAnswer) => {
                act();
                Err(Undelivered::Unclear("the answer was lost".into()))
            }
            Some(Mood::Breaks) => Err(Undelivered::Unclear("it answered 500".into())),
        };
        self.moved.notify_waiters();
        done
    }

    pub(super) fn moody(&self, moods: &[Mood]) {
        *self.moods.lock().unwrap() = moods.iter().rev().copied().collect();
    }

    /// Waits until it is as wanted.
    pub(super) async fn until<T>(&self, what: &str, wanted: impl Fn(&Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let moved = self.moved.notified();
            if let Some(found) = wanted(self) {
                return found;
            }
            assert!(Instant::now() < end, "never {what}: {:#?}", self.told.lock().unwrap());
            let _ = tokio::time::timeout(Duration::from_secs(1), moved).await;
        }
    }

    /// Waits for the answer to an address that has these words.
    pub(super) async fn answered(&self, url: &str, words: &str) -> Value {
        self.until(words, |this| {
            let told = this.told.lock().unwrap();
            told.iter()
                .rev()
                .find(|(to, said)| to == url && said.to_string().contains(words))
                .map(|(_, said)| said.clone())
        })
        .await
    }

    /// The newest state of the only message of a run that is shown.
    pub(super) async fn shown(&self, what: &str, wanted: impl Fn(&Card) -> bool) -> Card {
        self.until(what, |this| {
            let cards = this.cards.lock().unwrap();
            cards.values().filter_map(|all| all.last()).find(|card| wanted(card)).cloned()
        })
        .await
    }
}

impl Channel for Workspace {
    fn least(&self) -> Urgency {
        Urgency::Info
    }

    fn is_board(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        let thread = letter.thread.and_then(|thread| thread["ts"].as_u64());
        let post = || {
            let mut posted = self.posted.lock().unwrap();
            posted.push((letter.id, thread, letter.notice.title.clone()));
            Some(json!({ "channel": letter.notice.place, "ts": posted.len() }))
        };
        std::future::ready(self.do_it(post)).boxed()
    }

    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        let at = self.posted.lock().unwrap().iter().position(|(id, ..)| *id == letter.id);
        let there = |at: usize| Found::There(Some(json!({ "channel": letter.notice.place, "ts": at + 1 })));
        std::future::ready(Ok(at.map_or(Found::NotThere, there))).boxed()
    }
}

impl Chat for Workspace {
    fn place(&self) -> Option<&str> {
        Some("C0")
    }

    fn edit<'a>(
        &'a self,
        at: &'a Value,
        card: &'a Card,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        let ts = at["ts"].as_u64().unwrap();
        let show = || self.cards.lock().unwrap().entry(ts).or_default().push(card.clone());
        std::future::ready(self.do_it(show)).boxed()
    }

    fn answer<'a>(&'a self, url: &'a str, message: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        let tell = || self.told.lock().unwrap().push((url.to_owned(), message.clone()));
        std::future::ready(self.do_it(tell)).boxed()
    }

    fn whisper<'a>(
        &'a self,
        place: &'a str,
        member: &'a str,
        message: &'a Value,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        let tell = || self.told.lock().unwrap().push((format!("{place}/{member}"), message.clone()));
        std::future::ready(self.do_it(tell)).boxed()
    }

    fn open<'a>(&'a self, _: &'a str, view: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(self.do_it(|| self.forms.lock().unwrap().push(view.clone()))).boxed()
    }
}

/// A server with a workspace.
pub(super) struct Office {
    pub(super) bench: Bench,
    pub(super) workspace: Arc<Workspace>,
}

pub(super) fn signed(path: &str, body: &str, secret: &str, at: i64) -> Request<Body> {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{at}:{body}").as_bytes());
    Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("x-slack-request-timestamp", at.to_string())
        .header("x-slack-signature", format!("v0={}", hex::encode(mac.finalize().into_bytes())))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

pub(super) fn typed(member: &str, text: &str, trigger: &str) -> String {
    let url = format!("https://hooks.slack.com/{trigger}");
    form(&[
        ("team_id", "T1"),
        ("user_id", member),
        ("user_name", "somebody"),
        ("channel_id", "C7"),
        ("api_app_id", "A1"),
        ("command", "/firebreak"),
        ("text", text),
        ("trigger_id", trigger),
        ("response_url", &url),
    ])
}

pub(super) fn now() -> i64 {
    SystemClock.now().timestamp()
}

impl Office {
    pub(super) async fn new() -> Self {
        let workspace = Arc::new(Workspace::default());
        let slack = Slack {
            secrets: vec![Secret::new(SECRET)],
            teams: vec!["T1".into()],
            app: Some("A1".into()),
            chat: workspace.clone(),
        };
        let bench = Bench::set(
            &[],
            crate::tests::hooks::open(),
            Setting { slack: Some(slack), ..Setting::default() },
        )
        .await;
        Self { bench, workspace }
    }

    pub(super) async fn send(&self, path: &str, body: &str) -> Answer {
        self.bench.send(signed(path, body, SECRET, now())).await
    }

    /// Types something, under a fresh id; what is said at once, and the address for what comes later.
    pub(super) async fn types(&self, member: &str, text: &str) -> (String, String) {
        let trigger = Uuid::now_v7().to_string();
        let answer = self.send("/slack/commands", &typed(member, text, &trigger)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let said = answer.json();
        assert_eq!(said["response_type"], "ephemeral", "{said}");
        (
            said["blocks"][0]["text"]["text"].as_str().unwrap().to_owned(),
            format!("https://hooks.slack.com/{trigger}"),
        )
    }

    pub(super) fn press(member: &str, value: &Value, ephemeral: bool, trigger: &str) -> String {
        let payload = json!({
            "type": "block_actions", "team": { "id": "T1" }, "user": { "id": member, "username": "x" }, "api_app_id": "A1",
            "trigger_id": trigger, "channel": { "id": "C7" }, "container": { "is_ephemeral": ephemeral },
            "response_url": format!("https://hooks.slack.com/{trigger}"),
            "actions": [{ "type": "button", "action_id": "x", "value": value, "action_ts": trigger }],
        });
        form(&[("payload", &payload.to_string())])
    }

    /// Presses a button; the address for what is said.
    pub(super) async fn presses(&self, member: &str, value: &Value, ephemeral: bool) -> String {
        let trigger = Uuid::now_v7().to_string();
        let answer = self.send("/slack/interactions", &Self::press(member, value, ephemeral, &trigger)).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""));
        format!("https://hooks.slack.com/{trigger}")
    }

    /// Sends the form that was opened last, with one field.
    pub(super) async fn fills(&self, member: &str, text: &str) -> Answer {
        self.fills_all(member, &[("field", text)]).await
    }

    /// Waits for the form of this number.
    pub(super) async fn form(&self, number: usize) -> Value {
        let opened = |this: &Workspace| this.forms.lock().unwrap().get(number - 1).cloned();
        self.workspace.until("a form", opened).await
    }

    /// The same with many: a box is ticked where its text is `true`. Whatever the form has besides is left as it is.
    pub(super) async fn fills_all(&self, member: &str, fields: &[(&str, &str)]) -> Answer {
        let view = self.workspace.forms.lock().unwrap().last().unwrap().clone();
        let mut values = serde_json::Map::new();
        for block in view["blocks"].as_array().unwrap().iter().filter(|block| block["type"] == "input") {
            let (id, element) = (block["block_id"].as_str().unwrap(), &block["element"]);
            let given = fields.iter().find(|(name, _)| *name == id).map(|(_, text)| *text);
            let state = if element["type"] == "checkboxes" {
                let ticked = if given == Some("true") { element["options"].clone() } else { json!([]) };
                json!({ "type": "checkboxes", "selected_options": ticked })
            } else {
                let value = given.map_or_else(|| element["initial_value"].clone(), Value::from);
                json!({ "type": "plain_text_input", "value": value })
            };
            values.insert(id.to_owned(), json!({ id: state }));
        }
        for (name, _) in fields {
            assert!(values.contains_key(*name), "the form has no {name}: {view}");
        }
        let payload = json!({
            "type": "view_submission", "team": { "id": "T1" }, "user": { "id": member }, "api_app_id": "A1",
            "trigger_id": Uuid::now_v7(),
            "view": {
                "callback_id": view["callback_id"], "private_metadata": view["private_metadata"],
                "state": { "values": values },
            },
        });
        self.send("/slack/interactions", &form(&[("payload", &payload.to_string())])).await
    }

    /// Links a member to a person with a role, as people do it.
    pub(super) async fn links(&self, member: &str, person: &str, role: Role) {
        let (said, _) = self.types(member, "link").await;
        let path = said.split("http://localhost:8080").nth(1).unwrap().split('|').next().unwrap().to_owned();
        let person = self.bench.sign_in_as(person, role).await;
        let page = person.get(&path).await;
        assert!(page.text.contains(member) && page.text.contains("is to speak for you"), "{}", page.text);
        assert_eq!(person.form(&path, &[]).await.status, StatusCode::SEE_OTHER);
    }

    /// Types `run`, and waits for the preview; its [Run] and [Cancel].
    pub(super) async fn previews(&self, member: &str, runbook: &str) -> (Value, Value) {
        let (said, url) = self.types(member, &format!("run {runbook} fleet=lamps-eu it is dark")).await;
        assert!(said.starts_with("Looking, to plan"), "{said}");
        let preview = self.workspace.answered(&url, "Plan `").await;
        let buttons = preview["blocks"][1]["elements"].clone();
        (buttons[0]["value"].clone(), buttons[1]["value"].clone())
    }

    pub(super) async fn previewed_text(&self, member: &str, runbook: &str) -> String {
        let (_, url) = self.types(member, &format!("run {runbook} fleet=lamps-eu")).await;
        self.workspace.answered(&url, "Plan `").await.to_string()
    }

    pub(super) async fn runs(&self) -> Vec<store::pages::RunRow> {
        store::pages::runs(self.bench.engine.pool(), &RunFilter::default(), 100).await.unwrap()
    }
}
