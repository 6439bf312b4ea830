//! Limits over all runs, targets taken by hand, and release by force.

use std::time::Duration;

use domain::Actor;
use domain::brake::{Acknowledged, Brake, Overrides};
use domain::run::{Ask, Entry, Outcome, Status};
use engine::{AskError, BrakeError, Engine, StartError, StartRequest};
use serde_json::Map;
use uuid::Uuid;

use crate::world::{Bench, Trouble, ask, request};

const ONE: &str = "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 1 }\n";

/// Waits for `go` before it changes anything.
const WAITS: &str = r#"
steps:
  - id: wait
    use: world.look
    with: { name: go }
    until: out.value == 1
    every: 1s
    timeout: 100h
  - id: set
    use: world.set
    with: { name: a, value: 1 }
"#;

fn lease() -> Duration {
    Duration::from_secs(10)
}

fn limited(steps: &str, rule: &str) -> String {
    format!("limits:\n  - {{ name: \"failover of a\", {rule} }}\n{}", steps.trim_start())
}

fn person(name: &str) -> Actor {
    Actor::person(name)
}

fn admin(name: &str) -> Actor {
    Actor::with_role(name, domain::Role::Admin)
}

fn by(name: &str, key: &str) -> StartRequest {
    StartRequest { by: Actor::person(name), ..request(key) }
}

fn acknowledging(request: StartRequest) -> StartRequest {
    let acknowledge =
        vec![Acknowledged { limit: "failover of a".into(), reason: "the first one failed".into() }];
    StartRequest { overrides: Overrides { acknowledge, ..Overrides::default() }, ..request }
}

async fn refused(engine: &Engine, request: StartRequest) -> Brake {
    match engine.start(request).await {
        Err(StartError::Held(brake)) => *brake,
        other => panic!("not held back: {other:?}"),
    }
}

#[tokio::test]
async fn starts_that_race_for_a_budget_do_not_overdraw_it() {
    // No two of them want the same lock: nothing but the budget holds them apart.
    let bench =
        Bench::new(&limited(ONE, "at_most: 3, per: 7d")).await.with("\"thing\"", "\"thing:${run.id}\"");
    let engines = [bench.engine(lease()).await, bench.engine(lease()).await];
    let starts = (0..16).map(|n| {
        let engine = engines[n % 2].clone();
        async move { engine.start(request(&format!("key {n}"))).await }
    });
    let outcomes = futures::future::join_all(starts).await;
    let started: Vec<Uuid> = outcomes.iter().filter_map(|o| Some(o.as_ref().ok()?.run_id)).collect();
    assert_eq!(started.len(), 3, "{outcomes:?}");
    for outcome in &outcomes {
        if let Err(e) = outcome {
            let StartError::Held(brake) = e else { panic!("{e}") };
            let Brake::Limit(spent) = &**brake else { panic!("{brake}") };
            assert!(spent.used.iter().all(|u| started.contains(&u.run_id) && u.by == "ana"), "{spent:?}");
            assert_eq!((spent.used.len(), spent.free_at.is_some()), (3, true));
        }
    }
    let uses =
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM limit_use").fetch_one(bench.pool()).await.unwrap();
    assert_eq!(uses, 3, "what was refused was not counted");
}

#[tokio::test]
async fn a_double_click_is_one_use() {
    let bench = Bench::new(&limited(ONE, "at_most: 1, per: 7d")).await;
    let engine = bench.engine(lease()).await;
    let (first, second) = tokio::join!(engine.start(request("key")), engine.start(request("key")));
    assert_eq!(first.unwrap().run_id, second.unwrap().run_id);
}

#[tokio::test]
async fn a_budget_is_acknowledged_by_a_person_with_a_reason_and_free_again_in_time() {
    let bench = Bench::new(&limited(ONE, "at_most: 1, per: 7d")).await;
    let engine = bench.engine(lease()).await;
    let run = engine.start(request("first")).await.unwrap().run_id;
    bench.ended(run).await;
    let Brake::Limit(spent) = refused(&engine, request("second")).await else { panic!() };
    assert_eq!((spent.used[0].run_id, spent.used[0].ended_at.is_some()), (run, true));
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    assert!(
        matches!(&plan.brakes[..], [Brake::Limit(s)] if s.limit.name == "failover of a"),
        "{:?}",
        plan.brakes
    );
    let alert = StartRequest { by: Actor::system("alert"), ..acknowledging(request("alert")) };
    assert!(matches!(engine.start(alert).await, Err(StartError::BadOverride(_))));
    let again = engine.start(acknowledging(request("second"))).await.unwrap().run_id;
    bench.ended(again).await;
    let journal = bench.journal(again).await;
    assert!(
        matches!(&journal[0].entry, Entry::Requested { overrides, .. } if overrides.acknowledge.len() == 1)
    );
    let audit = store::search::search(bench.pool(), &store::search::Search::default(), 100).await.unwrap();
    let entry = audit.iter().find(|e| e.action == "started despite a limit").unwrap();
    assert_eq!((entry.actor.as_str(), &entry.details["reason"]), ("ana", &"the first one failed".into()));

    let bench = Bench::new(&limited(ONE, "at_most: 1, per: 1s")).await;
    let engine = bench.engine(lease()).await;
    for key in ["first", "second"] {
        let run = engine.start(request(key)).await.unwrap().run_id;
        bench.ended(run).await;
        bench.clock.sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_cool_down_begins_when_the_run_has_ended_and_counts_no_refused_run() {
    let text = limited(WAITS, "cooldown: 7d");
    let bench = Bench::new(&text).await.with("\"thing\"", "\"thing:${run.id}\"");
    let engine = bench.engine(lease()).await;
    let run = engine.start(request("first")).await.unwrap().run_id;
    let Brake::Limit(spent) = refused(&engine, request("second")).await else { panic!() };
    assert_eq!((spent.used[0].run_id, spent.free_at), (run, None), "nobody knows when the first one ends");
    bench.world.put("go", 1);
    let ended = bench.ended(run).await.at();
    let Brake::Limit(spent) = refused(&engine, request("second")).await else { panic!() };
    assert_eq!(spent.free_at, Some(ended + chrono::TimeDelta::days(7)));

    let guarded = "steps:\n  - id: guard\n    assert: '1 > 2'\n    message: not now\n  - id: set\n    use: world.set\n    with: { name: a, value: 1 }\n";
    let bench = Bench::new(&limited(guarded, "cooldown: 7d")).await;
    let engine = bench.engine(lease()).await;
    for key in ["first", "second"] {
        let run = engine.start(request(key)).await.unwrap().run_id;
        assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Refused);
    }
}

#[tokio::test]
async fn a_target_taken_by_hand_is_left_alone_by_everybody_else() {
    let bench = Bench::new(ONE).await.with("\"thing\"", "\"cluster:a\"");
    let engine = bench.engine(lease()).await;
    let brakes = engine.brakes();
    brakes.take("cluster:a", &person("ana"), "I am on it", None).await.unwrap();
    let Brake::HandLock(lock) = refused(&engine, by("bob", "bob")).await else { panic!() };
    assert_eq!((lock.holder.as_str(), lock.reason.as_str()), ("ana", "I am on it"));
    refused(&engine, StartRequest { by: Actor::system("ana"), ..request("alert") }).await;
    let run = engine.start(by("ana", "ana")).await.unwrap().run_id;
    bench.ended(run).await;

    assert!(
        matches!(brakes.take("cluster:a", &person("bob"), "me too", None).await, Err(BrakeError::Held(h)) if h.holder == "ana")
    );
    assert!(matches!(
        brakes.give_back("cluster:a", &person("bob"), None).await,
        Err(BrakeError::NotThere(_))
    ));
    assert!(matches!(
        brakes.take("cluster", &person("bob"), "typo", None).await,
        Err(BrakeError::BadName(_))
    ));
    assert!(matches!(
        brakes.give_back("cluster:a", &person("bob"), Some("ana is asleep")).await,
        Err(BrakeError::NotAllowed { .. })
    ));
    brakes.give_back("cluster:a", &admin("bob"), Some("ana is asleep")).await.unwrap();
    // A lock with an end is over by itself.
    brakes
        .take("cluster:a", &person("ana"), "again", Some(bench.clock.now() + chrono::TimeDelta::seconds(60)))
        .await
        .unwrap();
    bench.clock.sleep(Duration::from_secs(61)).await;
    assert!(brakes.in_force().await.unwrap().locks.is_empty());
    let run = engine.start(by("bob", "later")).await.unwrap().run_id;
    bench.ended(run).await;
    brakes.take("cluster:a", &person("bob"), "mine now", None).await.unwrap();
    let actions: Vec<String> = store::search::search(bench.pool(), &store::search::Search::default(), 100)
        .await
        .unwrap()
        .into_iter()
        .map(|e| e.action)
        .collect();
    assert!(actions.contains(&"lock of another person released".to_owned()), "{actions:?}");
}

#[tokio::test]
async fn a_start_and_a_hand_that_race_for_a_target_do_not_both_get_it() {
    let bench = Bench::new(ONE).await.with("\"thing\"", "\"cluster:a\"");
    let engine = bench.engine(lease()).await;
    for n in 0..12 {
        let (brakes, bob) = (engine.brakes(), person(&format!("bob{n}")));
        let (started, taken) = tokio::join!(
            engine.start(by("ana", &format!("key {n}"))),
            brakes.take("cluster:a", &bob, "I am on it", None)
        );
        match (started, taken) {
            (Ok(started), Err(BrakeError::Held(held))) => {
                assert_eq!(held.run_id, Some(started.run_id));
                bench.ended(started.run_id).await;
            }
            (Err(StartError::Held(brake)), Ok(())) => {
                assert_eq!(brake.code(), "taken_by_hand");
                engine.brakes().give_back("cluster:a", &bob, None).await.unwrap();
            }
            // One after the other: the run had ended before the hand came.
            (Ok(started), Ok(())) => {
                assert!(bench.state(started.run_id).await.outcome().is_some());
                engine.brakes().give_back("cluster:a", &bob, None).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Somebody has said that it did not happen, or has left it as it is: that is not seen, and it may still land.
#[tokio::test]
async fn no_lock_is_released_by_force_while_a_call_that_was_left_out_may_still_land() {
    let text = "steps:\n  - { id: set, use: world.set, with: { name: a, value: 5 } }\n  - { id: low, assert: false, message: No., on_failure: pause }\n";
    let bench = Bench::new(text).await.with("\"thing\"", "\"cluster:a\"").calm();
    bench.world.trouble(Trouble::LosesCall);
    let engine = bench.engine(lease()).await;
    let run = engine.start(by("ana", "first")).await.unwrap().run_id;
    bench.until(run, "looking", |s| s.node(&"set".into()).is_some_and(|n| n.status == Status::Unclear)).await;
    ask(&engine, run, Ask::StopLooking { step: "set".into() }).await;
    bench.until(run, "asked", |s| s.word() == "outcome_unknown").await;
    ask(&engine, run, Ask::Skip { step: "set".into(), reason: "leave it".into() }).await;
    bench.until(run, "at the next step", |s| s.node(&"low".into()).is_some() && s.paused().is_some()).await;
    let moving = engine.brakes().force("cluster:a", run, &admin("eve"), "it hangs").await;
    assert!(matches!(moving, Err(BrakeError::Moving(of)) if of == run), "{moving:?}");
}

#[tokio::test]
async fn a_lock_released_by_force_is_taken_back_before_its_run_moves_again() {
    let bench = Bench::new(WAITS).await.with("\"thing\"", "\"cluster:a\"");
    let engine = bench.engine(lease()).await;
    let brakes = engine.brakes();
    let first = engine.start(by("ana", "first")).await.unwrap().run_id;
    let moving = brakes.force("cluster:a", first, &admin("eve"), "it hangs").await;
    assert!(matches!(moving, Err(BrakeError::Moving(run)) if run == first), "{moving:?}");
    ask(&engine, first, Ask::Pause { reason: None }).await;
    bench.until(first, "paused", |s| s.word() == "paused").await;
    let refused = brakes.force("cluster:a", first, &person("bob"), "it hangs").await;
    assert!(matches!(refused, Err(BrakeError::NotAllowed { .. })), "{refused:?}");
    brakes.force("cluster:a", first, &admin("eve"), "it hangs").await.unwrap();
    assert!(matches!(
        brakes.force("cluster:a", first, &admin("eve"), "again").await,
        Err(BrakeError::NotThere(_))
    ));

    let second = engine.start(by("bob", "second")).await.unwrap().run_id;
    let resume = engine.ask(first, Uuid::now_v7(), &Actor::person("ana"), &Ask::Resume).await;
    assert!(matches!(&resume, Err(AskError::LockLost(held)) if held.run_id == Some(second)), "{resume:?}");
    assert_eq!(bench.state(first).await.word(), "paused");
    bench.world.put("go", 1);
    bench.ended(second).await;
    brakes.take("cluster:a", &admin("eve"), "by hand", None).await.unwrap();
    let resume = engine.ask(first, Uuid::now_v7(), &Actor::person("ana"), &Ask::Resume).await;
    assert!(matches!(&resume, Err(AskError::LockLost(held)) if held.holder == "eve"), "{resume:?}");
    brakes.give_back("cluster:a", &admin("eve"), None).await.unwrap();
    ask(&engine, first, Ask::Resume).await;
    assert_eq!(bench.ended(first).await.outcome().unwrap().0, Outcome::Succeeded);
    assert!(brakes.in_force().await.unwrap().locks.is_empty());
}

/// One step waits for a person; another is making its change.
#[tokio::test]
async fn a_lock_is_not_forced_from_a_run_whose_change_is_under_way_though_it_is_paused() {
    let steps = r#"
steps:
  - id: both
    together:
      left:
        - id: set
          use: world.set
          with: { name: a, value: 1 }
      right:
        - id: wait
          use: world.look
          with: { name: go }
          until: out.value == 1
          every: 1s
          timeout: 100h
        - id: guard
          assert: 1 > 2
          message: not now
          on_failure: pause
"#;
    let bench = Bench::new(steps).await.with("\"thing\"", "\"cluster:a\"");
    let told = std::sync::Arc::new(tokio::sync::Notify::new());
    bench.world.trouble(crate::world::Trouble::PanicsWhen(told.clone()));
    let (engine, run) = bench.start().await;
    bench.until(run, "making its change", |s| s.in_flight().next().is_some()).await;
    bench.world.put("go", 1);
    bench.until(run, "paused", |s| s.word() == "paused").await;
    let forced = engine.brakes().force("cluster:a", run, &admin("eve"), "it hangs").await;
    assert!(matches!(forced, Err(BrakeError::Moving(_))), "{forced:?}");
    // Whoever makes it is no more, and nobody drives the run on: it keeps its target until the call can take effect no more.
    told.notify_one();
    let stuck = "SELECT count(*) FROM run WHERE state = 'stuck'";
    while sqlx::query_scalar::<_, i64>(stuck).fetch_one(bench.pool()).await.unwrap() < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let state = bench.state(run).await;
    let intent = state.node(&"both[left].set".into()).unwrap().intent.clone().unwrap();
    let window = engine::Settings::default().signature_window;
    let safe = intent.lands_before(window);
    for (now, freed) in [(safe - chrono::TimeDelta::seconds(60), false), (safe, true)] {
        let clock = std::sync::Arc::new(engine::clock::ScaledClock::set(now, 1.0));
        let brakes = engine::Brakes::new(bench.pool().clone(), clock, engine::Known::default(), window);
        assert_eq!(brakes.force("cluster:a", run, &admin("eve"), "it hangs").await.is_ok(), freed);
    }
}
