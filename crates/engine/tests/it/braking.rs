//! The kill switch and freezes.

use std::time::{Duration, Instant};

use domain::Actor;
use domain::brake::{BadOverride, Brake, Overrides};
use domain::plan::Verdict;
use domain::run::{Ask, Entry, Outcome, State, Status, Takeback};
use engine::{BrakeError, Brakes, Engine, Known, StartError, StartRequest};
use serde_json::Map;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::world::{Bench, FOREIGN, ask, request};

fn lease() -> Duration {
    Duration::from_secs(10)
}

/// Ten changes, a soak before each: over a second in all.
fn ten() -> String {
    let step = |n: usize| {
        format!(
            "  - id: wait{n}\n    use: world.look\n    with: {{ name: go }}\n    until: out.value == 0\n    for: 2m\n    every: 10s\n    timeout: 1h\n  - id: set{n}\n    use: world.set\n    with: {{ name: n{n}, value: 1 }}\n    undo: automatic\n"
        )
    };
    format!("steps:\n{}", (0..10).map(step).collect::<String>())
}

/// One change, a wait for `go`, and another change.
const TWO: &str = r#"
steps:
  - id: first
    use: world.set
    with: { name: a, value: 1 }
    undo: automatic
  - id: wait
    use: world.look
    with: { name: go }
    until: out.value == 1
    every: 1s
    timeout: 100h
  - id: second
    use: world.set
    with: { name: b, value: 1 }
"#;

const ONE: &str = "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 1 }\n";

fn person(name: &str) -> Actor {
    Actor::person(name)
}

/// Resumes a paused run, and waits until it has ended or was stopped again.
async fn resumed(bench: &Bench, engine: &Engine, run: Uuid) -> State {
    let before = bench.state(run).await.seq();
    ask(engine, run, Ask::Resume).await;
    let over = |s: &State| s.outcome().is_some() || s.seq() > before && s.paused().is_some();
    bench.until(run, "ended or stopped again", over).await
}

async fn audited(bench: &Bench, action: &str) -> usize {
    store::search::search(bench.pool(), &store::search::Search::default(), 100)
        .await
        .unwrap()
        .iter()
        .filter(|e| e.action == action)
        .count()
}

#[tokio::test]
async fn a_switch_set_at_one_replica_stops_the_next_change_of_another_and_a_person_resumes_it() {
    let bench = Bench::new(&ten()).await;
    let (here, there) = (bench.engine(lease()).await, bench.engine(lease()).await);
    let run = there.start(request("key")).await.unwrap().run_id;
    bench.until(run, "underway", |s| s.node(&"set1".into()).is_some_and(|n| n.status == Status::Done)).await;
    assert!(here.brakes().stop(None, &person("bob"), "it does strange things").await.unwrap());
    let stopped = Instant::now();
    let state = bench.until(run, "stopped", |s| s.word() == "paused").await;
    let why = &state.paused().unwrap().why;
    assert!(why.contains("kill switch") && why.contains("bob") && why.contains("strange things"), "{why}");
    let made = bench.world.made().len();
    assert!((2..10).contains(&made), "{made}");
    let latest = *bench.world.begun().last().unwrap();
    assert!(latest.saturating_duration_since(stopped) <= Duration::from_secs(1));

    // Resumed while it is on, it is stopped again; released, it waits for a person all the same.
    assert!(resumed(&bench, &here, run).await.outcome().is_none());
    assert_eq!(bench.world.made().len(), made);
    here.brakes().allow(None, &person("bob"), "understood").await.unwrap();
    assert_eq!(bench.state(run).await.word(), "paused");
    // A replica that has not heard of the release yet stops the run once more.
    while resumed(&bench, &here, run).await.outcome().is_none() {}
    assert_eq!(bench.state(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made().len(), 10, "each change was made once");
    assert_eq!((audited(&bench, "kill switch on").await, audited(&bench, "kill switch off").await), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_read_is_on_and_passes_by_itself() {
    let bench = Bench::new(TWO).await;
    let (_engine, run) = bench.start().await;
    bench.until(run, "waiting", |s| s.node(&"wait".into()).is_some()).await;
    // The one connection that reads the switch is cut, and cannot come back; those that write the journal live on.
    let options = bench.pool().connect_options();
    let database = options.get_database().unwrap().to_owned();
    let mut admin = PgConnection::connect_with(&(*options).clone().database("postgres")).await.unwrap();
    let allow = |yes: bool| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS {yes}")))
    };
    allow(false).execute(&mut admin).await.unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'SELECT scope, by, reason, since FROM kill_switch%'";
    let cut: i64 = sqlx::query_scalar(cut).bind(&database).fetch_one(&mut admin).await.unwrap();
    assert_eq!(cut, 1);
    // What was read before is good for a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.world.put("go", 1);
    while bench.state(run).await.node(&"wait".into()).unwrap().status != Status::Done {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(bench.world.made().len(), 1);
    let readable = Instant::now();
    allow(true).execute(&mut admin).await.unwrap();
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert!(bench.world.begun()[1] >= readable);
}

#[tokio::test]
async fn a_switch_stops_undoing_as_well() {
    let bench = Bench::new(TWO).await;
    let (engine, run) = bench.start().await;
    bench.until(run, "waiting", |s| s.node(&"wait".into()).is_some()).await;
    engine.brakes().stop(Some("test"), &person("bob"), "hands off").await.unwrap();
    // That is how long it may take until every replica knows.
    tokio::time::sleep(Duration::from_secs(1)).await;
    ask(&engine, run, Ask::Abort { takeback: Takeback::All, reason: "enough".into() }).await;
    let state = bench.until(run, "halted", |s| s.word() == "paused").await;
    assert!(state.paused().unwrap().why.contains("kill switch"));
    assert_eq!(bench.world.made(), [("a".to_owned(), 1)], "nothing was taken back");
    engine.brakes().allow(Some("test"), &person("bob"), "go on").await.unwrap();
    while resumed(&bench, &engine, run).await.outcome().is_none() {}
    assert_eq!(bench.state(run).await.outcome().unwrap().0, Outcome::Undone);
    assert_eq!(bench.world.get("a"), 0);
}

#[tokio::test]
async fn nothing_starts_while_the_switch_is_on_and_the_plan_says_so() {
    let mut bench = Bench::new(ONE).await;
    bench.shelve("another", ONE);
    let engine = bench.engine(lease()).await;
    engine.brakes().stop(Some("another"), &person("bob"), "not this one").await.unwrap();
    let run = engine.start(request("first")).await.unwrap().run_id;
    bench.ended(run).await;
    assert!(matches!(engine.brakes().stop(None, &person("bob"), " ").await, Err(BrakeError::NoReason)));
    engine.brakes().stop(None, &person("bob"), "lunch").await.unwrap();
    assert!(!engine.brakes().stop(None, &person("eve"), "me too").await.unwrap(), "the first one stays");
    let refused = engine.start(request("second")).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Held(b) if matches!(&**b, Brake::KillSwitch(s) if s.by == "bob")),
        "{refused}"
    );
    let despite = Overrides { despite_freeze: true, ..Overrides::default() };
    let refused = engine.start(StartRequest { overrides: despite, ..request("third") }).await;
    assert!(matches!(refused, Err(StartError::Held(_))), "nobody gets past it");
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    assert!(
        matches!(&plan.verdict, Verdict::Stops { message, .. } if message.contains("lunch")),
        "{:?}",
        plan.verdict
    );
    assert_eq!(audited(&bench, "start refused: kill_switch").await, 2);
    engine.brakes().allow(None, &person("eve"), "back").await.unwrap();
    assert!(matches!(
        engine.brakes().allow(None, &person("eve"), "back").await,
        Err(BrakeError::NotThere(_))
    ));
    engine.start(request("second")).await.unwrap();
}

#[tokio::test]
async fn a_freeze_stops_triggers_and_makes_people_confirm() {
    let mut bench = Bench::new(ONE).await;
    bench.shelve("another", ONE);
    let engine = bench.engine(lease()).await;
    let now = bench.clock.now();
    let days = chrono::TimeDelta::days;
    let freeze =
        engine.brakes().freeze(None, (now, now + days(30)), &person("bob"), "holidays").await.unwrap();
    engine.brakes().freeze(None, (now + days(30), now + days(60)), &person("bob"), "not yet").await.unwrap();
    engine
        .brakes()
        .freeze(Some("another"), (now, now + days(60)), &person("bob"), "not this one")
        .await
        .unwrap();

    let despite = Overrides { despite_freeze: true, ..Overrides::default() };
    let alert = StartRequest { by: Actor::system("alert"), ..request("alert") };
    assert!(matches!(engine.start(alert.clone()).await, Err(StartError::Held(_))));
    let alert = StartRequest { overrides: despite.clone(), ..alert };
    assert!(matches!(engine.start(alert).await, Err(StartError::BadOverride(BadOverride::NotAPerson))));
    let refused = engine.start(request("ana")).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Held(b) if b.code() == "freeze" && b.to_string().contains("holidays")),
        "{refused}"
    );
    let silent = StartRequest { overrides: despite.clone(), reason: None, ..request("ana") };
    assert!(matches!(engine.start(silent).await, Err(StartError::BadOverride(BadOverride::NoReason))));
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    assert_eq!((plan.verdict.clone(), plan.brakes.len()), (Verdict::Ready, 1));

    let run =
        engine.start(StartRequest { overrides: despite.clone(), ..request("ana") }).await.unwrap().run_id;
    bench.ended(run).await;
    let journal = bench.journal(run).await;
    assert!(matches!(&journal[0].entry, Entry::Requested { overrides, .. } if *overrides == despite));
    assert_eq!(audited(&bench, "started despite a freeze").await, 1);
    assert_eq!(audited(&bench, "start refused: freeze").await, 2);

    engine.brakes().lift(freeze.id, &person("eve"), "the shops are closed").await.unwrap();
    engine.start(StartRequest { by: Actor::system("alert"), ..request("alert") }).await.unwrap();
}

#[tokio::test]
async fn brakes_that_cannot_be_read_stop_every_start() {
    let bench = Bench::new(ONE).await;
    let engine = bench.engine(lease()).await;
    for table in ["freeze_window", "kill_switch", "hand_lock"] {
        let rename = |from: &str, to: &str| sqlx::AssertSqlSafe(format!("ALTER TABLE {from} RENAME TO {to}"));
        sqlx::raw_sql(rename(table, "hidden")).execute(bench.pool()).await.unwrap();
        assert!(matches!(engine.start(request("key")).await, Err(StartError::Store(_))), "{table}");
        sqlx::raw_sql(rename("hidden", table)).execute(bench.pool()).await.unwrap();
    }
    let run = engine.start(request("key")).await.unwrap().run_id;
    bench.ended(run).await;
    assert_eq!(bench.world.made().len(), 1);
}

#[tokio::test]
async fn a_calendar_is_imported_again_and_again_and_stays_one() {
    let bench = Bench::new(ONE).await;
    let engine = bench.engine(lease()).await;
    let text = |extra: &str| {
        format!(
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:xmas\r\nDTSTART;VALUE=DATE:20241220\r\nDTEND;VALUE=DATE:20250103\r\nSUMMARY:Holidays\r\n{extra}END:VEVENT\r\nEND:VCALENDAR\r\n"
        )
    };
    let import = async |extra: &str| {
        engine.brakes().import(None, &text(extra), Some("Europe/Berlin"), &person("bob")).await.unwrap()
    };
    let first = import("").await;
    assert_eq!((first.events, first.windows, first.replaced), (1, 1, 0));
    assert_eq!(import("").await.replaced, 1);
    let freezes = engine.brakes().in_force().await.unwrap().freezes;
    assert_eq!((freezes.len(), freezes[0].reason.as_str()), (1, "Holidays"));
    assert_eq!(freezes[0].starts.to_rfc3339(), "2024-12-19T23:00:00+00:00");
    let refused = engine
        .brakes()
        .import(None, &text("RRULE:FREQ=SOMETIMES\r\n"), Some("Europe/Berlin"), &person("bob"))
        .await;
    assert!(matches!(refused, Err(BrakeError::Calendar(_))), "{refused:?}");
    assert_eq!(engine.brakes().in_force().await.unwrap().freezes.len(), 1, "and nothing was lost");
    assert_eq!(import("STATUS:CANCELLED\r\n").await.windows, 0);
    assert!(engine.brakes().in_force().await.unwrap().freezes.is_empty());
}

#[tokio::test]
async fn a_calendar_that_is_imported_for_one_runbook_lifts_no_freeze_of_another() {
    let mut bench = Bench::new(ONE).await;
    bench.shelve("other", ONE);
    let engine = bench.engine(lease()).await;
    let text = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:xmas\r\nDTSTART:20241220T000000Z\r\nDTEND:20250103T000000Z\r\nSUMMARY:Holidays\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    for scope in [None, Some("test"), Some("other"), Some("test")] {
        engine.brakes().import(scope, text, None, &person("bob")).await.unwrap();
    }
    let freezes = engine.brakes().in_force().await.unwrap().freezes;
    let mut scopes: Vec<&str> = freezes.iter().map(|f| f.scope.as_str()).collect();
    scopes.sort_unstable();
    assert_eq!(scopes, ["*", "other", "test"]);
}

#[tokio::test]
async fn somebody_elses_work_refuses_the_run_before_it_changes_anything() {
    let text = r#"
steps:
  - id: look
    use: world.look
    with: { name: theirs }
  - id: set
    use: world.set
    with: { name: a, value: 1 }
  - id: look_again
    use: world.look
    with: { name: mine }
"#;
    let bench = Bench::new(text).await;
    let engine = bench.engine(lease()).await;
    // Work that the run itself has under way, after its first change, is not somebody else's.
    bench.world.put("mine", FOREIGN);
    bench.world.put("theirs", FOREIGN);
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    assert!(
        matches!(&plan.verdict, Verdict::Stops { message, .. } if message.contains("somebody counts")),
        "{:?}",
        plan.verdict
    );
    assert_eq!(plan.foreign.len(), 1);
    let run = engine.start(request("first")).await.unwrap().run_id;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Refused);
    assert_eq!(state.node(&"look".into()).unwrap().error.as_ref().unwrap().code, domain::run::FOREIGN_WORK);
    assert_eq!(bench.world.made(), []);
    bench.world.put("theirs", 0);
    let run = engine.start(request("second")).await.unwrap().run_id;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
}

/// A child of two changes with a wait for `go` between them, and its parent, whose other branch changes something of its own.
const CHILD: &str = r#"locks: ["a child"]
steps:
  - id: one
    use: world.set
    with: { name: a, value: 1 }
    undo: automatic
  - id: wait
    use: world.look
    with: { name: go }
    until: out.value == 1
    every: 1s
    timeout: 100h
  - id: two
    use: world.set
    with: { name: b, value: 1 }
"#;
const PARENT: &str = r#"
steps:
  - id: both
    together:
      left:
        - id: heal
          run: child
      right:
        - id: wait
          use: world.look
          with: { name: first }
          until: out.value == 1
          every: 1s
          timeout: 100h
        - id: own
          use: world.set
          with: { name: c, value: 1 }
"#;

async fn parent() -> Bench {
    let mut bench = Bench::new(PARENT).await;
    bench.shelve("child", CHILD);
    bench
}

#[tokio::test]
async fn a_switch_on_a_childs_name_stops_the_childs_next_change_and_not_its_parents() {
    let bench = parent().await;
    let (engine, run) = bench.start().await;
    bench.until(run, "underway", |s| s.node(&"both[left].heal.wait".into()).is_some()).await;
    engine.brakes().stop(Some("child"), &person("bob"), "it heals the wrong one").await.unwrap();

    // What the parent does outside of the child goes on,
    bench.world.put("first", 1);
    let own = |s: &State| s.node(&"both[right].own".into()).is_some_and(|n| n.status == Status::Done);
    bench.until(run, "its own change", own).await;
    assert!(bench.state(run).await.paused().is_none());
    // and the next change of the child does not.
    bench.world.put("go", 1);
    let state = bench.until(run, "stopped", |s| s.word() == "paused").await;
    let why = &state.paused().unwrap().why;
    assert!(why.contains("the kill switch for child was thrown by bob: it heals the wrong one"), "{why}");
    assert_eq!(bench.world.made(), [("a".to_owned(), 1), ("c".to_owned(), 1)]);

    // Its change is not taken back either while the switch is on; then all of it is.
    ask(&engine, run, Ask::Abort { takeback: Takeback::All, reason: "enough".into() }).await;
    let halted = |s: &State| s.aborting().is_some() && s.word() == "paused";
    bench.until(run, "halted", halted).await;
    assert_eq!(bench.world.get("a"), 1);
    engine.brakes().allow(Some("child"), &person("bob"), "understood").await.unwrap();
    while resumed(&bench, &engine, run).await.outcome().is_none() {}
    assert_eq!(bench.state(run).await.outcome().unwrap().0, Outcome::Undone);
    assert_eq!(bench.world.get("a"), 0);
}

#[tokio::test]
async fn a_run_whose_first_change_is_a_stopped_childs_is_planned_to_stop_and_stops_there() {
    let mut bench = Bench::new("steps:\n  - id: heal\n    run: child\n").await;
    bench.shelve("child", CHILD);
    let engine = bench.engine(lease()).await;
    engine.brakes().stop(Some("child"), &person("bob"), "not this one").await.unwrap();
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    assert!(
        matches!(&plan.verdict, Verdict::Stops { step, message } if step.as_str() == "heal" && message.contains("not this one")),
        "{:?}",
        plan.verdict
    );
    let run = engine.start(request("key")).await.unwrap().run_id;
    let state = bench.until(run, "stopped", |s| s.word() == "paused").await;
    assert!(state.paused().unwrap().why.contains("kill switch for child"), "{:?}", state.paused());
    // Whoever lets it go on all the same is told where it stops.
    let stops = engine.ask(run, Uuid::now_v7(), &person("ann"), &Ask::Resume).await.unwrap().unwrap();
    let told = "not this one. The run stops again before the first change that `child` makes for it.";
    assert!(stops.to_string().ends_with(told), "{stops}");
    bench.until(run, "stopped again", |s| s.word() == "paused" && s.seq() > state.seq() + 1).await;
    assert_eq!(bench.world.made(), []);
    engine.brakes().allow(Some("child"), &person("bob"), "understood").await.unwrap();
    bench.world.put("go", 1);
    while resumed(&bench, &engine, run).await.outcome().is_none() {}
    assert_eq!(bench.state(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made().len(), 2);
}

#[tokio::test]
async fn what_is_not_there_is_not_said_to_be_stopped_and_what_has_run_can_be() {
    let bench = Bench::new(ONE).await;
    let engine = bench.engine(lease()).await;
    let (bob, now) = (person("bob"), bench.clock.now());
    let brakes = engine.brakes();
    let mistyped = |refused: BrakeError| {
        let said = refused.to_string();
        assert!(matches!(refused, BrakeError::BadName(_)) && said.contains("did you mean `test`?"), "{said}");
    };
    mistyped(brakes.stop(Some("tset"), &bob, "x").await.unwrap_err());
    let hour = (now, now + chrono::TimeDelta::hours(1));
    mistyped(brakes.freeze(Some("tests"), hour, &bob, "x").await.unwrap_err());
    mistyped(brakes.import(Some("tes"), "BEGIN:VCALENDAR\nEND:VCALENDAR\n", None, &bob).await.unwrap_err());
    let on = brakes.in_force().await.unwrap();
    assert!(on.switches.is_empty() && on.freezes.is_empty());

    // Its file is gone, and what was begun by it goes on.
    let run = engine.start(request("key")).await.unwrap().run_id;
    bench.ended(run).await;
    engine.reload(Vec::new()).await.unwrap();
    engine.brakes().stop(Some("test"), &bob, "x").await.unwrap();
    // And where nobody knows what there is, everything may be.
    let (clock, window) = (engine.clock().clone(), Duration::from_secs(300));
    let blind = Brakes::new(bench.pool().clone(), clock, Known::default(), window);
    blind.stop(Some("any"), &bob, "x").await.unwrap();
    engine.brakes().allow(Some("any"), &bob, "whatever is there by now").await.unwrap();
}

#[test]
fn a_target_of_a_kind_that_the_inventory_has_must_be_one_of_its() {
    // Looked at without a database: the names alone.
    let targets: Vec<String> = ["cluster:shard-a", "cluster:shard-b"].map(str::to_owned).into();
    let known = Known { runbooks: None, targets };
    for fine in ["cluster:shard-b", "fleet:any", "deploy:web"] {
        assert!(known.has_target(fine).is_ok(), "{fine}");
    }
    let said = known.has_target("cluster:shrad-b").unwrap_err().to_string();
    assert!(said.contains("nothing was done; did you mean `cluster:shard-b`?"), "{said}");
    let said = known.has_target("cluster:x").unwrap_err().to_string();
    assert!(said.contains("there are: cluster:shard-a, cluster:shard-b"), "{said}");
}

const LOOK: &str = "steps:\n  - id: see\n    use: world.look\n    with: { name: a }\n";
const LOOK_AROUND: &str =
    "steps:\n  - id: see\n    use: world.look\n    with: { name: a }\n  - id: closer\n    run: child\n";

#[tokio::test]
async fn what_only_looks_with_all_that_it_runs_is_held_back_by_no_switch_and_no_freeze() {
    let mut bench = Bench::new(LOOK_AROUND).await.with("thing", "cluster:a");
    bench.shelve("child", LOOK);
    let engine = bench.engine(lease()).await;
    let (now, bob) = (bench.clock.now(), person("bob"));
    for scope in [None, Some("test"), Some("child")] {
        engine.brakes().stop(scope, &bob, "nothing moves").await.unwrap();
        engine
            .brakes()
            .freeze(scope, (now, now + chrono::TimeDelta::days(60)), &bob, "holidays")
            .await
            .unwrap();
    }
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    assert_eq!((plan.verdict, plan.brakes), (Verdict::Ready, vec![]));
    let alert = StartRequest { by: Actor::system("alert"), ..request("alert") };
    for request in [request("ana"), alert] {
        let run = engine.start(request).await.unwrap().run_id;
        assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    }
    // What somebody has in hand stays theirs, and the same click again lands on its run.
    engine.brakes().take("cluster:a", &bob, "I am on it", None).await.unwrap();
    let refused = engine.start(request("third")).await.unwrap_err();
    assert!(matches!(&refused, StartError::Held(b) if matches!(&**b, Brake::HandLock(_))), "{refused}");
    assert!(!engine.start(request("ana")).await.unwrap().new);
}

#[tokio::test]
async fn a_change_in_what_it_runs_or_for_each_of_a_list_or_in_a_branch_is_a_change_of_its_own() {
    let each =
        "steps:\n  - id: all\n    each: '[\"a\"]'\n    use: world.set\n    with: { name: a, value: 1 }\n";
    let branch = "steps:\n  - id: both\n    together:\n      left:\n        - id: see\n          use: world.look\n          with: { name: a }\n      right:\n        - id: set\n          use: world.set\n          with: { name: a, value: 1 }\n";
    for (steps, child) in [(LOOK_AROUND, CHILD), (each, LOOK), (branch, LOOK)] {
        let mut bench = Bench::new(steps).await;
        bench.shelve("child", child);
        let engine = bench.engine(lease()).await;
        engine.brakes().stop(None, &person("bob"), "nothing moves").await.unwrap();
        let refused = engine.start(request("key")).await.unwrap_err();
        assert!(matches!(&refused, StartError::Held(b) if b.code() == "kill_switch"), "{steps}: {refused}");
    }
}

#[tokio::test]
async fn looking_that_is_counted_is_held_back_with_everything_that_is() {
    let bench = Bench::new(LOOK).await.saying("limits: [{ name: looks, at_most: 3, per: 1h }]");
    let engine = bench.engine(lease()).await;
    engine.brakes().stop(None, &person("bob"), "nothing moves").await.unwrap();
    assert_eq!(engine.plan("test", &Map::new()).await.unwrap().brakes.len(), 1);
    assert!(matches!(engine.start(request("key")).await, Err(StartError::Held(_))));
}
