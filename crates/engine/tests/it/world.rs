//! A world of named numbers: one action looks at them, two change them, and any call can be made to fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::action::{
    ActionError, CallRecord, Change, Ctx, Effect, ErrorClass, ForeignWork, ObjectChange, Observe, Registry,
    UndoCall,
};
use domain::inventory::Inventory;
use domain::notice::{Channel, Channels};
use domain::run::{Entry, Record, State};
use domain::{Actor, Clock, Timestamp};
use engine::clock::ScaledClock;
use engine::{Engine, Library, Parts, Settings, StartRequest, TriageSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::private::TestDb;
use store::{PgPool, StoreError};
use tokio::sync::Notify;
use uuid::Uuid;

/// What the next call of `world.set` does instead of just working.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Fails with this class, changing nothing.
    Fails(ErrorClass),
    /// Takes effect, and its answer is lost.
    LosesAnswer,
    /// Does not take effect, and nobody can tell from the answer.
    LosesCall,
    /// Is a bug.
    Panics,
    /// The same, once it is told.
    PanicsWhen(Arc<Notify>),
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) numbers: BTreeMap<String, i64>,
    /// Every call that took effect.
    pub(crate) made: Vec<(String, i64)>,
    /// When each of them began, before the gate was asked.
    pub(crate) begun: Vec<Instant>,
    /// The token of every call, also of those that took no effect.
    pub(crate) tokens: Vec<String>,
    pub(crate) trouble: VecDeque<Trouble>,
    pub(crate) looks_fail: bool,
    /// Of which class such a failure is, when it is not the usual one.
    pub(crate) fails_as: Option<ErrorClass>,
    /// The next look hangs for a while, and tells no call.
    pub(crate) hangs: bool,
    /// These cannot be looked at.
    pub(crate) hidden: BTreeSet<String>,
    /// So many looks fail, and then no more.
    pub(crate) blinks: u32,
    /// Changes cannot be looked up either.
    pub(crate) dark: bool,
    pub(crate) looks: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World(pub(crate) Arc<Mutex<Inner>>);

impl World {
    pub(crate) fn get(&self, name: &str) -> i64 {
        self.0.lock().unwrap().numbers.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn put(&self, name: &str, value: i64) {
        self.0.lock().unwrap().numbers.insert(name.into(), value);
    }

    pub(crate) fn begun(&self) -> Vec<Instant> {
        self.0.lock().unwrap().begun.clone()
    }

    pub(crate) fn made(&self) -> Vec<(String, i64)> {
        self.0.lock().unwrap().made.clone()
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.0.lock().unwrap().trouble.push_back(trouble);
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Number {
    value: i64,
}

/// `world.look`, or the same of RDS.
struct Look<const RDS: bool>(World);

/// A number at which somebody else is at work.
pub(crate) const FOREIGN: i64 = 666;

fn call(ctx: &Ctx, operation: &str, target: &str) -> CallRecord {
    CallRecord {
        at: ctx.clock.now(),
        service: "world".into(),
        operation: operation.into(),
        target: target.into(),
        request_id: None,
        status: "ok".into(),
        duration_ms: 1,
        mutating: false,
    }
}

impl<const RDS: bool> Observe for Look<RDS> {
    const NAME: &'static str = if RDS { "rds.look" } else { "world.look" };
    const SUMMARY: &'static str = "Looks at a number";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Named;
    type Output = Number;

    async fn observe(&self, ctx: &Ctx, input: &Named) -> Result<Number, ActionError> {
        if std::mem::take(&mut self.0.0.lock().unwrap().hangs) {
            self.0.0.lock().unwrap().looks += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let class = self.0.0.lock().unwrap().fails_as.unwrap_or(ErrorClass::Transient);
            return Err(ActionError::new(class, "timeout", "not through in time"));
        }
        let mut inner = self.0.0.lock().unwrap();
        ctx.calls.push(call(ctx, "Look", &input.name));
        inner.looks += 1;
        let blinks = inner.blinks > 0;
        inner.blinks = inner.blinks.saturating_sub(1);
        if blinks || inner.looks_fail || inner.hidden.contains(&input.name) {
            let class = inner.fails_as.unwrap_or(ErrorClass::Transient);
            return Err(ActionError::new(class, "dark", "nothing can be seen"));
        }
        drop(inner);
        Ok(Number { value: self.0.get(&input.name) })
    }

    fn foreign(output: &Value) -> Vec<ForeignWork> {
        let busy = output.get("value").and_then(Value::as_i64) == Some(FOREIGN);
        busy.then(|| ForeignWork { object: "a number".into(), what: "somebody counts".into() })
            .into_iter()
            .collect()
    }

    fn command(&self, input: &Named) -> String {
        format!("look {}", input.name)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Target {
    name: String,
    value: i64,
}

/// `world.set` can be looked up afterwards; `world.ring` cannot; `world.turn` can, and is not made twice by itself.
struct Set<const BLIND: bool, const ONCE: bool>(World);

impl<const BLIND: bool, const ONCE: bool> Change for Set<BLIND, ONCE> {
    const NAME: &'static str = match (BLIND, ONCE) {
        (true, _) => "world.ring",
        (false, true) => "world.turn",
        (false, false) => "world.set",
    };
    const REPEATABLE: bool = !ONCE;
    const SUMMARY: &'static str = "Sets a number";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = if BLIND { Effect::Blind } else { Effect::Probe };
    const UNDOABLE: bool = true;
    type Input = Target;
    type Facts = Number;
    type Output = Number;

    async fn observe(&self, _ctx: &Ctx, input: &Target) -> Result<Number, ActionError> {
        if self.0.0.lock().unwrap().dark {
            return Err(ActionError::new(ErrorClass::Transient, "dark", "nothing can be seen"));
        }
        Ok(Number { value: self.0.get(&input.name) })
    }

    fn settled(&self, input: &Target, facts: &Number) -> Option<Number> {
        (!BLIND && input.value == facts.value).then_some(Number { value: input.value })
    }

    fn plan(&self, input: &Target, facts: &Number) -> Result<Vec<ObjectChange>, ActionError> {
        if input.value > 100 {
            return Err(ActionError::refused("too_much", "at most 100"));
        }
        Ok(vec![ObjectChange {
            object: input.name.clone(),
            property: "value".into(),
            before: facts.value.into(),
            after: input.value.into(),
        }])
    }

    fn predict(&self, input: &Target, _facts: &Number) -> Option<Number> {
        Some(Number { value: input.value })
    }

    async fn apply(&self, ctx: &Ctx, input: &Target, _facts: &Number) -> Result<Number, ActionError> {
        let begun = Instant::now();
        ctx.gate.check().map_err(|e| ActionError::new(ErrorClass::Transient, "gate", e.to_string()))?;
        let trouble = {
            let mut inner = self.0.0.lock().unwrap();
            inner.tokens.push(ctx.token.clone());
            inner.trouble.pop_front()
        };
        if let Some(Trouble::PanicsWhen(told)) = trouble {
            told.notified().await;
            panic!("on purpose");
        }
        let mut inner = self.0.0.lock().unwrap();
        let lost = |what| Err(ActionError::new(ErrorClass::Unknown, "lost", what));
        match trouble {
            Some(Trouble::Fails(class)) => return Err(ActionError::new(class, "trouble", "it did not work")),
            Some(Trouble::LosesCall) => return lost("the call was lost"),
            Some(Trouble::Panics) => {
                drop(inner);
                panic!("on purpose");
            }
            Some(Trouble::LosesAnswer) => {
                inner.begun.push(begun);
                inner.numbers.insert(input.name.clone(), input.value);
                inner.made.push((input.name.clone(), input.value));
                return lost("the answer was lost");
            }
            Some(Trouble::PanicsWhen(_)) | None => {}
        }
        ctx.calls.push(CallRecord { mutating: true, ..call(ctx, "Set", &input.name) });
        inner.begun.push(begun);
        inner.numbers.insert(input.name.clone(), input.value);
        inner.made.push((input.name.clone(), input.value));
        Ok(Number { value: input.value })
    }

    fn undo(&self, input: &Target, facts: &Number) -> Option<UndoCall> {
        let input = json!({ "name": input.name, "value": facts.value });
        Some(UndoCall::new("world.set", input))
    }

    fn command(&self, input: &Target) -> String {
        format!("set {} {}", input.name, input.value)
    }
}

/// Adds to a number, which may not grow above ten; a call that is made again under its token does nothing more.
struct Add(World);

impl Change for Add {
    const NAME: &'static str = "world.add";
    const SUMMARY: &'static str = "Adds to a number";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = Effect::Token;
    const UNDOABLE: bool = false;
    type Input = Target;
    type Facts = Number;
    type Output = Number;

    async fn observe(&self, _ctx: &Ctx, input: &Target) -> Result<Number, ActionError> {
        Ok(Number { value: self.0.get(&input.name) })
    }

    fn settled(&self, _input: &Target, _facts: &Number) -> Option<Number> {
        None
    }

    fn forbidden(&self, input: &Target, facts: &Number) -> Option<ActionError> {
        (facts.value + input.value > 10).then(|| ActionError::refused("full", "at most ten"))
    }

    fn plan(&self, input: &Target, facts: &Number) -> Result<Vec<ObjectChange>, ActionError> {
        let (before, after) = (facts.value.into(), (facts.value + input.value).into());
        Ok(vec![ObjectChange { object: input.name.clone(), property: "value".into(), before, after }])
    }

    fn predict(&self, _input: &Target, _facts: &Number) -> Option<Number> {
        None
    }

    async fn apply(&self, ctx: &Ctx, input: &Target, _facts: &Number) -> Result<Number, ActionError> {
        ctx.gate.check().map_err(|e| ActionError::new(ErrorClass::Transient, "gate", e.to_string()))?;
        let mut inner = self.0.0.lock().unwrap();
        if !inner.tokens.contains(&ctx.token) {
            *inner.numbers.entry(input.name.clone()).or_default() += input.value;
            inner.made.push((input.name.clone(), input.value));
        }
        inner.tokens.push(ctx.token.clone());
        match inner.trouble.pop_front() {
            Some(Trouble::Fails(class)) => Err(ActionError::new(class, "trouble", "it did not work")),
            Some(_) => Err(ActionError::new(ErrorClass::Unknown, "lost", "the answer was lost")),
            None => Ok(Number { value: inner.numbers[&input.name] }),
        }
    }

    fn undo(&self, _input: &Target, _facts: &Number) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &Target) -> String {
        format!("add {} {}", input.name, input.value)
    }
}

/// A database, a world, a runbook, and engines on them.
pub(crate) struct Bench {
    pub(crate) db: TestDb,
    pub(crate) world: World,
    pub(crate) clock: Arc<dyn Clock>,
    runbook: String,
    /// Another way to the database: through a wire, or with fewer rights than the owner's.
    elsewhere: Option<PgPool>,
    others: Vec<(String, String)>,
    triage: TriageSettings,
    channels: Channels,
    /// Has no `world.set`.
    lacks: bool,
    inventory: Arc<Inventory>,
}

/// A thousand times as fast as the wall: five minutes of waiting are a third of a second.
const SPEED: f64 = 1000.0;

impl Bench {
    /// `steps` is the body of the runbook, from `steps:` on.
    pub(crate) async fn new(steps: &str) -> Self {
        let start: Timestamp = "2024-05-07T14:42:00Z".parse().unwrap();
        let header = "runbook: test\ntitle: Test\nwhen: In tests\nrisk: low\nlocks: [\"thing\"]\n";
        Self {
            db: TestDb::new().await.unwrap(),
            world: World::default(),
            clock: Arc::new(ScaledClock::set(start, SPEED)),
            runbook: format!("{header}{steps}"),
            elsewhere: None,
            others: Vec::new(),
            triage: TriageSettings::default(),
            channels: Channels::new(),
            lacks: false,
            inventory: Arc::default(),
        }
    }

    /// With what there is.
    pub(crate) fn knowing(mut self, inventory: serde_json::Value) -> Self {
        self.inventory = Arc::new(serde_json::from_value(inventory).unwrap());
        self
    }

    /// With another runbook that may be run by it; in place of the one of that name, if there is one.
    pub(crate) fn shelve(&mut self, name: &str, rest: &str) {
        let header = format!("runbook: {name}\ntitle: Other\nwhen: In tests\nrisk: low\n");
        self.others.retain(|(file, _)| *file != format!("{name}.yaml"));
        self.others.push((format!("{name}.yaml"), format!("{header}{rest}")));
    }

    /// With somebody elsewhere to be told.
    pub(crate) fn telling(mut self, name: &str, channel: Arc<dyn Channel>) -> Self {
        self.channels.insert(name.into(), channel);
        self
    }

    /// With other bounds for what rules may do.
    pub(crate) fn judging(mut self, triage: TriageSettings) -> Self {
        self.triage = triage;
        self
    }

    pub(crate) fn severe(self) -> Self {
        self.risk("severe")
    }

    pub(crate) fn risk(mut self, risk: &str) -> Self {
        self.runbook = self.runbook.replace("risk: low", &format!("risk: {risk}"));
        self
    }

    /// With another key at the top of the runbook.
    pub(crate) fn saying(mut self, line: &str) -> Self {
        self.runbook = self.runbook.replace("locks:", &format!("{line}\nlocks:"));
        self
    }

    /// With a clock that goes hardly faster than the wall's: half an hour is longer than any test.
    pub(crate) fn calm(mut self) -> Self {
        self.clock = Arc::new(ScaledClock::set(self.clock.now(), 5.0));
        self
    }

    /// Of a version that has no `world.set` yet, and other runbooks.
    pub(crate) fn older(mut self) -> Self {
        let head = self.runbook.split("steps:").next().unwrap_or_default().to_owned();
        self.runbook = head + "steps:\n  - { id: one, value: 1 }\n";
        self.lacks = true;
        self
    }

    /// At another time.
    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        self.clock = Arc::new(ScaledClock::set(now, SPEED));
        self
    }

    /// On another database than its own.
    pub(crate) fn on(mut self, pool: PgPool) -> Self {
        self.elsewhere = Some(pool);
        self
    }

    /// Many runs of it at the same time.
    pub(crate) fn unlocked(mut self) -> Self {
        self.runbook = self.runbook.replace("locks: [\"thing\"]\n", "");
        self
    }

    /// How often the world was looked at by `world.look`.
    pub(crate) fn looks(&self) -> u64 {
        self.world.0.lock().unwrap().looks
    }

    /// The same with something else in the text.
    pub(crate) fn with(mut self, from: &str, to: &str) -> Self {
        assert!(self.runbook.contains(from), "{from} is not in {}", self.runbook);
        self.runbook = self.runbook.replace(from, to);
        self
    }

    /// With the rights that the application has in production.
    pub(crate) fn with_application_rights(mut self) -> Self {
        self.elsewhere = Some(self.db.pool_as("firebreak_app"));
        self
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.elsewhere.as_ref().unwrap_or_else(|| self.db.pool())
    }

    /// Another process, as far as the database can tell.
    pub(crate) async fn engine(&self, lease: Duration) -> Engine {
        self.launch(lease).await.unwrap()
    }

    pub(crate) async fn launch(&self, lease: Duration) -> Result<Engine, StoreError> {
        let registry = Registry::default()
            .observing(Look::<false>(self.world.clone()))
            .observing(Look::<true>(self.world.clone()))
            .changing(Set::<true, false>(self.world.clone()))
            .changing(Set::<false, true>(self.world.clone()))
            .changing(Add(self.world.clone()));
        let registry =
            if self.lacks { registry } else { registry.changing(Set::<false, false>(self.world.clone())) };
        let files =
            std::iter::once(("test.yaml".to_owned(), self.runbook.clone())).chain(self.others.clone());
        let library = Library::open(files, &registry);
        if let Err(mistakes) = &library.get("test").unwrap().runbook {
            panic!("{}", domain::runbook::render("test.yaml", &self.runbook, mistakes, false));
        }
        Engine::launch(Parts {
            channels: self.channels.clone(),
            pool: self.pool().clone(),
            registry,
            inventory: self.inventory.clone(),
            library,
            clock: self.clock.clone(),
            // Runs rest whenever they can: every test is one of resting, too.
            settings: Settings {
                lease,
                rest_after: Duration::ZERO,
                triage: self.triage.clone(),
                ..Settings::default()
            },
        })
        .await
    }

    /// A run on an engine with a comfortable lease.
    pub(crate) async fn start(&self) -> (Engine, Uuid) {
        let engine = self.engine(Duration::from_secs(10)).await;
        let started = engine.start(request("key")).await.unwrap();
        (engine, started.run_id)
    }

    /// Its journal goes on with an entry of a kind that this version does not know.
    pub(crate) async fn write_of_tomorrow(&self, run_id: Uuid) {
        let mut owner = self.db.pool().acquire().await.unwrap();
        let entry = "UPDATE journal_line SET entry = json_build_object('kind', 'of_tomorrow')";
        let entry = format!("{entry} WHERE run_id = '{run_id}' AND seq = 2");
        for sql in ["SET session_replication_role = replica", &entry, "RESET session_replication_role"] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut *owner).await.unwrap();
        }
        assert!(store::runs::journal(self.pool(), run_id).await.is_err());
    }

    pub(crate) async fn journal(&self, run_id: Uuid) -> Vec<Record> {
        store::runs::journal(self.pool(), run_id).await.unwrap()
    }

    pub(crate) async fn state(&self, run_id: Uuid) -> State {
        State::replay(&self.journal(run_id).await).unwrap()
    }

    /// Waits until the state is as wanted; a minute is the end of all patience.
    pub(crate) async fn until(&self, run_id: Uuid, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        let mut bell = store::listener::PgListener::connect_with(self.pool()).await.unwrap();
        bell.listen("firebreak").await.unwrap();
        let patience = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let state = self.state(run_id).await;
            if wanted(&state) {
                return state;
            }
            if tokio::time::Instant::now() > patience {
                let journal: Vec<Entry> = self.journal(run_id).await.into_iter().map(|r| r.entry).collect();
                panic!("never {what}: {journal:#?}");
            }
            // The bell makes it fast, looking again makes it right.
            let _ = tokio::time::timeout(Duration::from_secs(1), bell.recv()).await;
        }
    }

    /// Waits until it has ended. By then its row and its journal say the same, whatever has happened to it.
    pub(crate) async fn ended(&self, run_id: Uuid) -> State {
        let state = self.until(run_id, "ended", |s| s.outcome().is_some()).await;
        self.is_whole(run_id).await;
        state
    }

    /// Its row and its journal say the same.
    pub(crate) async fn is_whole(&self, run_id: Uuid) {
        let report = store::proof::of_run(self.pool(), run_id).await.unwrap();
        assert!(report.is_whole(), "{:#?}", report.breaks);
    }
}

pub(crate) fn request(key: &str) -> StartRequest {
    StartRequest {
        runbook: "test".into(),
        inputs: Map::new(),
        by: Actor::person("ana"),
        reason: Some("a test".into()),
        idem_key: key.into(),
        plan: None,
        overrides: Default::default(),
        confirm: None,
        wait: false,
    }
}

pub(crate) async fn ask(engine: &Engine, run_id: Uuid, ask: domain::run::Ask) {
    engine.ask(run_id, Uuid::now_v7(), &Actor::person("ana"), &ask).await.unwrap();
}

pub(crate) fn output(state: &State, step: &str) -> Value {
    state.node(&step.into()).map(|n| Value::clone(&n.output)).unwrap_or_default()
}
