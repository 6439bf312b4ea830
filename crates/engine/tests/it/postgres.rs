//! Postgres restarts, falls silent, and fails over to a standby, while a run goes on: each change is made once, and what
//! cannot be known is asked.

use std::sync::Arc;
use std::time::Duration;

use domain::Actor;
use domain::run::{Ask, Entry, How, Outcome, State, Status};
use engine::Engine;
use sqlx::{Connection as _, PgConnection, PgPool};
use store::StoreError;
use store::private::{Alone, Stop};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::wire::Wire;
use crate::world::{Bench, Trouble, ask, request};

/// Longer than anything here takes; what lasts longer has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Does what a process does: an incarnation that lost its lease stops, and another begins as soon as it can.
struct Process {
    bench: Arc<Bench>,
    engine: watch::Receiver<Option<Engine>>,
    serving: AbortHandle,
}

impl Process {
    fn of(bench: Bench, lease: Duration) -> Self {
        let bench = Arc::new(bench);
        let (tell, engine) = watch::channel(None);
        let working = bench.clone();
        let serving = tokio::spawn(async move {
            loop {
                if let Ok(engine) = working.launch(lease).await {
                    tell.send_replace(Some(engine.clone()));
                    engine.lost().await;
                    engine.shut_down().await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { bench, engine, serving: serving.abort_handle() }
    }

    async fn engine(&self) -> Engine {
        let mut engine = self.engine.clone();
        engine.wait_for(Option::is_some).await.unwrap().clone().unwrap()
    }

    async fn start(&self) -> Uuid {
        self.engine().await.start(request("key")).await.unwrap().run_id
    }

    /// Waits until the state is as wanted. A database that cannot be asked is asked again.
    async fn until(&self, run: Uuid, what: &str, wanted: impl Fn(&State) -> bool) -> State {
        let look = async {
            loop {
                // A connection that was in use a moment ago may be silent by now; the next try gets another one.
                let journal = store::runs::journal(self.bench.pool(), run);
                if let Ok(Ok(journal)) = tokio::time::timeout(Duration::from_secs(5), journal).await
                    && let Ok(state) = State::replay(&journal)
                    && wanted(&state)
                {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(state) => state,
            Err(_) => {
                let journal = store::runs::journal(self.bench.pool(), run).await;
                panic!("never {what}: {journal:#?}")
            }
        }
    }

    async fn waits_at(&self, run: Uuid, step: &str) {
        self.until(run, step, |s| s.node(&step.into()).is_some()).await;
    }

    async fn ended(&self, run: Uuid) -> State {
        self.until(run, "ended", |s| s.outcome().is_some()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Twenty changes, a gate, and twenty more.
fn forty() -> String {
    let set = |n: usize| format!("  - id: s{n}\n    use: world.set\n    with: {{ name: n{n}, value: 1 }}\n");
    let wait = "  - id: wait\n    use: world.look\n    with: { name: go }\n    until: out.value == 1\n    every: 1s\n    timeout: 100h\n";
    let halves: [String; 2] = [(1..=20).map(set).collect(), (21..=40).map(set).collect()];
    format!("steps:\n{}{wait}{}", halves[0], halves[1])
}

fn each_once(bench: &Bench, changes: usize) {
    let mut made = bench.world.made();
    assert_eq!(made.len(), changes, "{made:?}");
    made.sort();
    made.dedup();
    assert_eq!(made.len(), changes, "a change was made twice");
}

async fn database(server: &Alone) -> PgPool {
    store::connect(&server.url("postgres")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_restarts_in_the_middle_of_a_run() {
    let server = Alone::start().await.unwrap();
    for how in [Stop::Fast, Stop::Immediate] {
        let pool = database(&server).await;
        let process = Process::of(Bench::new(&forty()).await.on(pool), Duration::from_secs(4));
        let run = process.engine().await.start(request(&format!("{how:?}"))).await.unwrap().run_id;
        process.waits_at(run, "wait").await;
        process.bench.world.put("go", 1);
        server.stop(how).await.unwrap();
        server.resume().await.unwrap();
        let state = process.ended(run).await;
        assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
        each_once(&process.bench, 40);
    }
}

/// Nobody drives such a run: it must not look as if it went on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_a_bug_ends_while_postgres_is_away_says_so_once_it_is_back() {
    let server = Alone::start().await.unwrap();
    let pool = database(&server).await;
    // Long: whoever took the run over would go on with it.
    let process = Process::of(Bench::new(&forty()).await.on(pool), Duration::from_secs(60));
    let told = Arc::new(Notify::new());
    process.bench.world.trouble(Trouble::PanicsWhen(told.clone()));
    process.start().await;
    while process.bench.world.0.lock().unwrap().tokens.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop(Stop::Immediate).await.unwrap();
    told.notify_one();
    server.resume().await.unwrap();
    until(&server, "SELECT EXISTS (SELECT FROM run WHERE state = 'stuck' AND message LIKE '%on purpose%')")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_nothing_new_is_done_and_the_process_yields() {
    let server = Alone::start().await.unwrap();
    let pool = database(&server).await;
    let process = Process::of(Bench::new(&forty()).await.on(pool), Duration::from_secs(1));
    let run = process.start().await;
    process.waits_at(run, "wait").await;
    let engine = process.engine().await;
    server.stop(Stop::Immediate).await.unwrap();
    process.bench.world.put("go", 1);
    // Nobody can tell it, and it knows.
    tokio::time::timeout(PATIENCE, engine.lost()).await.unwrap();
    each_once(&process.bench, 20);
    server.resume().await.unwrap();
    let state = process.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    each_once(&process.bench, 40);
    let journal = process.bench.journal(run).await;
    assert!(
        journal.iter().any(|r| matches!(r.entry, Entry::TakenOver { .. })),
        "another incarnation went on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_holds_nothing_up() {
    let server = Alone::start().await.unwrap();
    let wire = Wire::to(server.socket()).await;
    let pool = store::connect(&wire.url("postgres")).await.unwrap();
    let process = Process::of(Bench::new(&forty()).await.on(pool), Duration::from_secs(1));
    let run = process.start().await;
    process.waits_at(run, "wait").await;
    let engine = process.engine().await;
    wire.swallow();
    process.bench.world.put("go", 1);
    tokio::time::timeout(PATIENCE, engine.lost()).await.unwrap();
    each_once(&process.bench, 20);
    // Every statement that was on its way waits for ever; the incarnation ends all the same.
    tokio::time::timeout(PATIENCE, engine.shut_down()).await.unwrap();
    wire.heal();
    let state = process.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    each_once(&process.bench, 40);
}

/// The lease is kept on a line of its own, so that nobody would take the run over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_is_heard_though_the_connection_that_asked_for_wishes_has_fallen_silent_alone() {
    let server = Alone::start().await.unwrap();
    let wire = Wire::to(server.socket()).await;
    let pool = store::connect(&wire.url("postgres")).await.unwrap();
    let process = Process::of(Bench::new(&forty()).await.on(pool), Duration::from_secs(6));
    let run = process.start().await;
    process.waits_at(run, "wait").await;
    // The question is on its way, and waits for this, when its connection falls silent. New ones are well.
    let elsewhere = database(&server).await;
    let mut held = elsewhere.begin().await.unwrap();
    sqlx::query("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let asks = "query LIKE '%max(n)%FROM inbox%' AND wait_event_type = 'Lock'";
    until(&server, &format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {asks})")).await;
    wire.swallow();
    wire.heal();
    held.rollback().await.unwrap();

    let (by, pause) = (Actor::person("bob"), Ask::Pause { reason: None });
    let at = process.bench.clock.now();
    store::inbox::put(&elsewhere, run, Uuid::now_v7(), &by, &pause, at).await.unwrap();
    let state = process.until(run, "paused", |s| s.paused().is_some()).await;
    assert_eq!(state.epoch(), 1, "the same incarnation has heard it");
}

/// A process that begins anew uses the pool it has, and nobody is there to start it once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_on_a_silent_connection_fails_soon_and_the_next_one_succeeds() {
    let server = Alone::start().await.unwrap();
    let wire = Wire::to(server.socket()).await;
    let pool = store::connect(&wire.url("postgres")).await.unwrap();
    let bench = Bench::new(&forty()).await.on(pool);
    // Just used, so that it is not asked whether it still answers.
    sqlx::query("SELECT 1").execute(bench.pool()).await.unwrap();
    wire.swallow();
    let launched = tokio::time::timeout(PATIENCE, bench.launch(Duration::from_millis(300))).await;
    assert!(launched.expect("an answer").is_err(), "nobody could be asked for a lease");
    wire.heal();
    let again = async {
        loop {
            match bench.launch(Duration::from_secs(4)).await {
                Ok(engine) => return engine.shut_down().await,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

/// A server, and a standby that has all that it has.
async fn pair(synchronous: bool) -> (Alone, Alone) {
    let primary = Alone::start().await.unwrap();
    database(&primary).await.close().await;
    let standby = primary.standby().await.unwrap();
    if synchronous {
        execute(&primary, "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        execute(&primary, "SELECT pg_reload_conf()").await;
    }
    (primary, standby)
}

async fn execute(server: &Alone, sql: &'static str) {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
}

/// Asks until the answer is yes.
async fn until(server: &Alone, question: &str) {
    let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let yes = async {
        while !sqlx::query_scalar::<_, bool>(sqlx::AssertSqlSafe(question))
            .fetch_one(&mut connection)
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, yes).await.unwrap_or_else(|_| panic!("never: {question}"));
}

const THREE: &str = r#"
steps:
  - id: first
    use: world.set
    with: { name: a, value: 1 }
  - id: one
    use: world.look
    with: { name: go }
    until: out.value >= 1
    every: 1s
    timeout: 100h
  - id: second
    use: world.set
    with: { name: b, value: 1 }
    undo: automatic
  - id: two
    use: world.look
    with: { name: go }
    until: out.value == 2
    every: 1s
    timeout: 100h
  - id: ring
    use: world.ring
    with: { name: c, value: 1 }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_lacks_the_newest_entries_finds_what_was_done_by_looking() {
    let (primary, standby) = pair(false).await;
    let wire = Wire::to(primary.socket()).await;
    let pool = store::connect(&wire.url("postgres")).await.unwrap();
    let process = Process::of(Bench::new(THREE).await.on(pool), Duration::from_secs(2));
    let run = process.start().await;
    process.waits_at(run, "one").await;
    // The standby has it all up to here, and nothing from here on.
    let at = format!("SELECT EXISTS (SELECT FROM journal WHERE run_id = '{run}' AND step = 'one')");
    until(&standby, &at).await;
    execute(&standby, "ALTER SYSTEM SET primary_conninfo = ''").await;
    execute(&standby, "SELECT pg_reload_conf()").await;
    until(&standby, "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)").await;
    process.bench.world.put("go", 1);
    process.waits_at(run, "two").await;
    let before = process.engine().await;

    primary.stop(Stop::Immediate).await.unwrap();
    standby.promote().await.unwrap();
    wire.lead_to(standby.socket());
    tokio::time::timeout(PATIENCE, before.lost()).await.unwrap();

    // The second change is in no journal any more; it is found, and not made again.
    // Whether this run has made it, and would have to take it back, nobody can tell any more.
    let state = process.until(run, "a question", |s| s.paused().is_some() && s.epoch() > 1000).await;
    assert_eq!(state.node(&"second".into()).unwrap().error.as_ref().unwrap().code, "entries_lost");
    ask(&process.engine().await, run, Ask::Retry { step: "second".into() }).await;
    let done = |s: &State| s.node(&"second".into()).is_some_and(|n| n.status == Status::Done);
    let state = process.until(run, "the second change", done).await;
    process.waits_at(run, "two").await;
    assert_eq!(state.node(&"second".into()).unwrap().how, Some(How::AlreadySo));
    // Whether the bell was rung nobody can see.
    process.bench.world.put("go", 2);
    let state = process.until(run, "a question", |s| s.paused().is_some()).await;
    assert_eq!(state.node(&"ring".into()).unwrap().error.as_ref().unwrap().code, "entries_lost");
    ask(&process.engine().await, run, Ask::Retry { step: "ring".into() }).await;
    assert_eq!(process.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    each_once(&process.bench, 3);
    let worker: i64 =
        sqlx::query_scalar("SELECT max(id) FROM worker").fetch_one(process.bench.pool()).await.unwrap();
    assert!(worker > 1 << 40, "no incarnation of the new timeline has an old one's number: {worker}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_takes_over_and_nothing_is_doubted() {
    let (primary, standby) = pair(true).await;
    let wire = Wire::to(primary.socket()).await;
    let pool = store::connect(&wire.url("postgres")).await.unwrap();
    let process = Process::of(Bench::new(THREE).await.on(pool.clone()), Duration::from_secs(2));
    let run = process.start().await;
    process.bench.world.put("go", 1);
    process.waits_at(run, "two").await;
    let before = process.engine().await;

    // For a while the name leads to a server that takes no writes. It answers, and is not believed to be the one.
    primary.stop(Stop::Immediate).await.unwrap();
    wire.lead_to(standby.socket());
    let refused = store::workers::register(&pool, "refused", Duration::from_secs(1));
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap().unwrap_err();
    assert!(matches!(refused, StoreError::Database(_)), "{refused}");
    standby.promote().await.unwrap();
    tokio::time::timeout(PATIENCE, before.lost()).await.unwrap();

    process.bench.world.put("go", 2);
    let state = process.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded, "and nobody was asked");
    assert!((2..1000).contains(&state.epoch()), "{}", state.epoch());
    each_once(&process.bench, 3);
}
