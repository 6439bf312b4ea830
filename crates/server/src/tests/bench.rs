//! A server to be asked, with a lamp for the outside.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use chrono::DateTime;
use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, Observe, Registry, UndoCall};
use domain::inventory::{Cluster, Credentials, Inventory, ProxyFleet, SecretRef};
use domain::notice::Channel;
use domain::policy::Policies;
use domain::token::{Scope, Wish};
use domain::{Actor, Role};
use engine::clock::ScaledClock;
use engine::{Engine, Library, Parts, Settings as EngineSettings, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::private::TestDb;
use tokio::sync::watch;
use tower::ServiceExt;
use uuid::Uuid;

use super::openapi::undescribed;
use crate::{Oidc, Settings};

pub(super) const SWITCH: &str = r#"runbook: switch-lamp
title: Switch the lamp on
when: |
  It is dark.
risk: medium
impact: "The lamp of ${inputs.fleet.id} is lit; whoever sleeps there wakes up."
inputs:
  fleet:   { type: proxy_fleet, description: Whose lamp }
  cluster: { type: cluster, optional: true, description: Who complained }
  mode:    { type: enum, values: [soft, hard], default: soft, description: How }
locks: ["fleet:${inputs.fleet.id}"]
steps:
  - id: before
    title: Look at the lamp
    use: lamp.look
    with: { lamp: "${inputs.fleet.id}" }
  - id: is_off
    title: The lamp is off
    assert: steps.before.on == false
    message: The lamp is on already.
  - id: switch
    title: Switch it on
    why: That is the point.
    use: lamp.set
    with: { lamp: "${inputs.fleet.id}", on: true }
    undo: automatic
  - id: warm
    title: Wait until it is warm
    use: lamp.look
    with: { lamp: "${inputs.fleet.id}" }
    until: out.warm
    every: 1s
    timeout: 1h
"#;

/// The outside.
#[derive(Debug, Default)]
pub(super) struct Lamp {
    pub(super) on: bool,
    pub(super) warm: bool,
    /// Refuses to be switched, with these words.
    pub(super) broken: Option<&'static str>,
    /// So many calls get no answer.
    pub(super) silent: u32,
    /// How often it was switched.
    pub(super) switched: u32,
}

type Shared = Arc<Mutex<Lamp>>;

struct Look(Shared);
/// `lamp.signal` is the same, only that nobody can tell afterwards whether it was seen.
struct Set<const BLIND: bool>(Shared);

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LookInput {
    lamp: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SetInput {
    lamp: String,
    on: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Seen {
    on: bool,
    warm: bool,
}

fn see(lamp: &Shared) -> Seen {
    let lamp = lamp.lock().unwrap_or_else(PoisonError::into_inner);
    Seen { on: lamp.on, warm: lamp.warm }
}

impl Observe for Look {
    const NAME: &'static str = "lamp.look";
    const SUMMARY: &'static str = "Look at a lamp";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = LookInput;
    type Output = Seen;

    async fn observe(&self, _: &Ctx, _: &LookInput) -> Result<Seen, ActionError> {
        Ok(see(&self.0))
    }

    fn command(&self, input: &LookInput) -> String {
        format!("lamp look {}", input.lamp)
    }
}

impl<const BLIND: bool> Change for Set<BLIND> {
    const NAME: &'static str = if BLIND { "lamp.signal" } else { "lamp.set" };
    const SUMMARY: &'static str = "Switch a lamp";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = if BLIND { Effect::Blind } else { Effect::Idempotent };
    const UNDOABLE: bool = true;
    type Input = SetInput;
    type Facts = Seen;
    type Output = Seen;

    async fn observe(&self, _: &Ctx, _: &SetInput) -> Result<Seen, ActionError> {
        Ok(see(&self.0))
    }

    fn settled(&self, input: &SetInput, facts: &Seen) -> Option<Seen> {
        (!BLIND && facts.on == input.on).then_some(Seen { on: facts.on, warm: facts.warm })
    }

    fn plan(&self, input: &SetInput, facts: &Seen) -> Result<Vec<ObjectChange>, ActionError> {
        Ok(vec![ObjectChange {
            object: format!("lamp {}", input.lamp),
            property: "on".into(),
            before: facts.on.into(),
            after: input.on.into(),
        }])
    }

    fn predict(&self, _: &SetInput, _: &Seen) -> Option<Seen> {
        None
    }

    async fn apply(&self, ctx: &Ctx, input: &SetInput, _: &Seen) -> Result<Seen, ActionError> {
        ctx.calls.push(domain::action::CallRecord {
            at: ctx.clock.now(),
            service: "lamp".into(),
            operation: "Set".into(),
            target: input.lamp.clone(),
            request_id: Some("req-1".into()),
            status: "ok".into(),
            duration_ms: 7,
            mutating: true,
        });
        let mut lamp = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = lamp.broken {
            return Err(ActionError::refused("broken", words).remedy("mend it, see `lamp <eu>`"));
        }
        if lamp.silent > 0 {
            lamp.silent -= 1;
            return Err(ActionError::new(domain::action::ErrorClass::Unknown, "lost", "there was no answer"));
        }
        lamp.on = input.on;
        lamp.switched += 1;
        Ok(Seen { on: lamp.on, warm: lamp.warm })
    }

    fn undo(&self, input: &SetInput, facts: &Seen) -> Option<UndoCall> {
        let input = serde_json::json!({ "lamp": input.lamp, "on": facts.on });
        Some(UndoCall::new(Self::NAME, input))
    }

    fn command(&self, input: &SetInput) -> String {
        format!("lamp set {} {}", input.lamp, input.on)
    }
}

/// A server that can be asked.
pub(super) struct Bench {
    pub(super) engine: Engine,
    pub(super) lamp: Shared,
    pub(super) router: Router,
    pub(super) settings: Settings,
    pub(super) ending: watch::Sender<bool>,
    // Last: dropped after what uses it.
    _db: TestDb,
}

/// What else is configured.
#[derive(Default)]
pub(super) struct Setting {
    pub(super) oidc: Option<Arc<Oidc>>,
    pub(super) policies: Policies,
    pub(super) slack: Option<crate::Slack>,
}

fn settings(hooks: crate::Hooks, setting: Setting, ending: watch::Receiver<bool>) -> Settings {
    Settings {
        public_url: "http://localhost:8080".into(),
        secure_cookies: false,
        environment: Some("test".into()),
        simulated: true,
        drills: None,
        drill: None,
        people: None,
        proxy: Some(proxy()),
        oidc: setting.oidc,
        requests_per_minute: 600,
        hooks,
        slack: setting.slack,
        watches_errors: false,
        ending,
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Every cookie that it sets, as a browser keeps it: `name=value`.
    pub(super) fn cookies(&self) -> Vec<String> {
        let all = self.headers.get_all(header::SET_COOKIE).iter().filter_map(|v| v.to_str().ok());
        all.filter_map(|v| v.split(';').next()).filter(|v| !v.ends_with('=')).map(str::to_owned).collect()
    }

    pub(super) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The value of a hidden field.
    pub(super) fn field(&self, name: &str) -> String {
        let at = format!("name=\"{name}\" value=\"");
        let from =
            self.text.find(&at).unwrap_or_else(|| panic!("no field {name} in {}", self.text)) + at.len();
        self.text[from..].split('"').next().unwrap().to_owned()
    }
}

/// A person with a browser.
pub(super) struct Person<'a> {
    bench: &'a Bench,
    pub(super) cookie: String,
    pub(super) csrf: String,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With other runbooks (name and text) on the shelf.
    pub(super) async fn with(more: &[(&str, &str)]) -> Self {
        Self::opened(more, super::hooks::open()).await
    }

    /// And with other hooks.
    pub(super) async fn opened(more: &[(&str, &str)], hooks: crate::Hooks) -> Self {
        Self::set(more, hooks, Setting::default()).await
    }

    /// And with more of its configuration.
    pub(super) async fn set(more: &[(&str, &str)], hooks: crate::Hooks, setting: Setting) -> Self {
        let high = SWITCH.replace("switch-lamp", "switch-lamp-high").replace("risk: medium", "risk: high");
        let limited = SWITCH.replace("switch-lamp", "switch-lamp-limited").replace(
            "steps:",
            "limits:\n  - { name: \"switching ${inputs.fleet.id}\", at_most: 1, per: 7d }\nsteps:",
        );
        let severe = SWITCH
            .replace("switch-lamp", "switch-lamp-severe")
            .replace("risk: medium", "risk: severe\napproval: { within: 150h }");
        let broken =
            "runbook: broken\ntitle: Broken\nwhen: never\nrisk: lax\nsteps: [{ id: one, value: 1 }]\n"
                .to_owned();
        let files = [
            ("switch-lamp.yaml".to_owned(), SWITCH.to_owned()),
            ("switch-lamp-high.yaml".to_owned(), high),
            ("switch-lamp-limited.yaml".to_owned(), limited),
            ("switch-lamp-severe.yaml".to_owned(), severe),
            ("broken.yaml".to_owned(), broken),
        ];
        let more = more.iter().map(|(name, text)| (format!("{name}.yaml"), (*text).to_owned()));
        let files: Vec<_> = files.into_iter().chain(more).collect();
        let db = TestDb::new().await.unwrap();
        let lamp = Shared::default();
        let registry = Registry::default()
            .observing(Look(lamp.clone()))
            .changing(Set::<false>(lamp.clone()))
            .changing(Set::<true>(lamp.clone()));
        let clock = ScaledClock::set(DateTime::from_timestamp(1_715_090_400, 0).unwrap(), 100.0);
        let library = Library::open(files, &registry);
        for name in ["switch-lamp", "switch-lamp-high", "switch-lamp-limited", "switch-lamp-severe"] {
            assert!(library.get(name).unwrap().runbook.is_ok(), "{:#?}", library.get(name).unwrap().runbook);
        }
        let engine = Engine::launch(Parts {
            channels: setting
                .slack
                .iter()
                .map(|slack| (domain::chat::BOARD.to_owned(), slack.chat.clone() as Arc<dyn Channel>))
                .collect(),
            pool: db.pool().clone(),
            library,
            registry,
            inventory: Arc::new(inventory()),
            clock: Arc::new(clock),
            settings: EngineSettings { policies: setting.policies.clone(), ..EngineSettings::default() },
        })
        .await
        .unwrap();
        if let Some(slack) = &setting.slack {
            engine.show_runs(slack.chat.clone());
        }
        let (ending, heard) = watch::channel(false);
        let settings = settings(hooks, setting, heard);
        Self {
            router: crate::router(engine.clone(), settings.clone()),
            settings,
            engine,
            lamp,
            ending,
            _db: db,
        }
    }

    /// The same database and engine, behind a server with another configuration.
    pub(super) fn behind(&mut self, oidc: Option<Arc<Oidc>>) {
        let setting = Setting { oidc, ..Setting::default() };
        self.settings = settings(super::hooks::open(), setting, self.ending.subscribe());
        self.router = crate::router(self.engine.clone(), self.settings.clone());
    }

    pub(super) fn lamp(&self) -> std::sync::MutexGuard<'_, Lamp> {
        self.lamp.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 4_000_000).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let missing = undescribed(method.as_str(), &path, parts.status, &text);
        assert!(
            missing.is_empty(),
            "describe these in crates/server/src/api/openapi/operations: {missing:?}"
        );
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// The path of a fresh link.
    pub(super) async fn link(&self, name: &str) -> String {
        self.link_as(name, Role::Responder).await
    }

    /// The same for another role.
    pub(super) async fn link_as(&self, name: &str, role: Role) -> String {
        let url = "http://localhost:8080/";
        let link = crate::sign_in_link(self.engine.pool(), name, role, url).await.unwrap();
        link.strip_prefix("http://localhost:8080").unwrap().to_owned()
    }

    pub(super) async fn sign_in(&self, name: &str) -> Person<'_> {
        self.sign_in_as(name, Role::Responder).await
    }

    pub(super) async fn sign_in_as(&self, name: &str, role: Role) -> Person<'_> {
        let path = self.link_as(name, role).await;
        let answer = self.send(Request::post(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        let cookie = answer.header(header::SET_COOKIE).split(';').next().unwrap().to_owned();
        let mut person = Person { bench: self, cookie, csrf: String::new() };
        person.csrf = person.get("/api/v1/session").await.json()["csrf"].as_str().unwrap().to_owned();
        person
    }

    /// Somebody with a session's cookie.
    pub(super) async fn person(&self, cookie: &str) -> Person<'_> {
        let mut person = Person { bench: self, cookie: cookie.to_owned(), csrf: String::new() };
        person.csrf = person.get("/api/v1/session").await.json()["csrf"].as_str().unwrap().to_owned();
        person
    }

    /// What the audit has of an action, the newest last: its target and details.
    pub(super) async fn audited(&self, action: &str) -> Vec<(String, Value)> {
        sqlx::query_as("SELECT target, details FROM audit WHERE action = $1 ORDER BY seq")
            .bind(action)
            .fetch_all(self.engine.pool())
            .await
            .unwrap()
    }

    /// A program with a token of a person.
    pub(super) async fn program(&self, person: &str, wish: Wish) -> Program<'_> {
        let by = Actor::with_role(person, Role::Admin);
        let now = self.engine.clock().now();
        let (token, _) = crate::make_token(self.engine.pool(), person, &wish, &by, now).await.unwrap();
        Program { bench: self, token }
    }

    /// Waits until a run is in a state; hears of every change, so it never sleeps.
    pub(super) async fn until(&self, run: Uuid, state: &str) {
        let mut topics = self.engine.listen();
        loop {
            let row = store::pages::run(self.engine.pool(), run).await.unwrap().unwrap();
            if row.state == state {
                return;
            }
            assert!(row.ended_at.is_none(), "the run is {}, not {state}: {:?}", row.state, row.message);
            while topics.recv().await.unwrap() != Topic::Run(run) {}
        }
    }
}

impl Person<'_> {
    pub(super) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder().method(method).uri(path).header(header::COOKIE, &self.cookie)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.bench.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    /// Sends a form, with the session's token.
    pub(super) async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("csrf", &self.csrf).extend_pairs(fields);
        let request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.finish()))
            .unwrap();
        self.bench.send(request).await
    }

    /// Sends JSON, with the session's token and a key.
    pub(super) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let mut request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-csrf-token", &self.csrf);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        self.bench.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Plans and starts on the page, as a person would. The form's fields.
    pub(super) async fn planned(&self, runbook: &str) -> Vec<(&'static str, String)> {
        let page = self.form(&format!("/runbooks/{runbook}/plan"), &[("input.fleet", "lamps-eu")]).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        vec![
            ("input.fleet", "lamps-eu".to_owned()),
            ("plan_hash", page.field("plan_hash")),
            ("idem_key", page.field("idem_key")),
            ("reason", "it is dark".to_owned()),
        ]
    }

    pub(super) async fn start(&self, runbook: &str, fields: &[(&'static str, String)]) -> Answer {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.form(&format!("/runbooks/{runbook}/start"), &fields).await
    }
}

/// A program with a token.
pub(super) struct Program<'a> {
    bench: &'a Bench,
    pub(super) token: String,
}

/// A token that may do what its role may.
pub(super) fn wish(name: &str, role: Role) -> Wish {
    Wish { name: name.into(), role, scope: Scope::default(), days: 1 }
}

impl Program<'_> {
    pub(super) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let bearer = format!("Bearer {}", self.token);
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, bearer)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.bench.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    /// Sends JSON, with a key unless it is empty.
    pub(super) async fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        let mut request = self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/json");
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        self.bench.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

/// The run that an answer leads to.
pub(super) fn run_of(answer: &Answer) -> Uuid {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    answer.header(header::LOCATION).strip_prefix("/runs/").unwrap().parse().unwrap()
}

/// One that is believed when it speaks from 10.0.0.0/8.
fn proxy() -> crate::TrustedProxy {
    crate::TrustedProxy {
        header: header::HeaderName::from_static("x-forwarded-user"),
        from: vec!["10.0.0.0/8".parse().unwrap()],
        role: Role::Viewer,
        people: [("ada".to_owned(), Role::Responder)].into(),
    }
}

fn inventory() -> Inventory {
    let secret = |user: &str| Credentials { user: user.into(), password: SecretRef::Env("NONE".into()) };
    let cluster = |id: &str, percent| Cluster {
        id: id.into(),
        region: "eu-west-1".into(),
        account: None,
        identifier: None,
        endpoint: "localhost".into(),
        port: 3306,
        customers_percent: percent,
        max_connections: 0,
        probe: secret("probe"),
    };
    Inventory {
        account: None,
        accounts: Vec::new(),
        clusters: vec![cluster("shard-a", 7.5), cluster("shard-b", 12.0)],
        fleets: vec![ProxyFleet {
            id: "lamps-eu".into(),
            region: "eu-west-1".into(),
            account: None,
            group: "lamps".into(),
            target_group: None,
            port: 6033,
            admin_port: 6032,
            admin: secret("admin"),
            clusters: vec!["shard-a".into(), "shard-b".into()],
            backend_connections: 1000,
        }],
    }
}
