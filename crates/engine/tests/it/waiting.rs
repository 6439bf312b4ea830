//! Many runs that wait for the same thing.

use std::time::Duration;

use domain::run::Outcome;
use domain::signal::Signal;
use engine::{Engine, StartRequest};
use uuid::Uuid;

use crate::judging::signal;
use crate::world::{Bench, request};

const WAIT: &str = "steps:\n  - id: wait\n    use: world.look\n    with: { name: a }\n    until: out.value == 1\n    every: 60s\n    timeout: 7d\n";

async fn start(engine: &Engine, n: usize) -> Vec<Uuid> {
    let starts = (0..n).map(|n| {
        let request = StartRequest { idem_key: format!("key {n}"), ..request("") };
        async { engine.start(request).await.unwrap().run_id }
    });
    futures::future::join_all(starts).await
}

/// Until all have seen what they wait for once.
async fn all_wait(bench: &Bench, runs: &[Uuid]) {
    for run in runs {
        bench.until(*run, "waiting", |s| s.node(&"wait".into()).is_some_and(|n| n.seen.is_some())).await;
    }
}

#[tokio::test]
async fn two_hundred_runs_wait_with_one_look_and_a_change_ends_them_all() {
    let bench = Bench::new(WAIT).await.unlocked();
    let engine = bench.engine(Duration::from_secs(10)).await;
    let runs = start(&engine, 200).await;
    all_wait(&bench, &runs).await;
    let counts = engine.looks();
    assert_eq!((counts.subjects, counts.watchers), (1, 200), "{counts:?}");
    // Looks that only confirm what is known leave no rows: each run keeps its first, however often it was looked.
    let looks = bench.looks();
    while bench.looks() < looks + 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let calls: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outside_call").fetch_one(bench.pool()).await.unwrap();
    assert_eq!(calls, 200);
    bench.world.put("a", 1);
    for run in runs {
        assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
        // The look that ended the wait is on the run's own page.
        assert_eq!(store::calls::of_run(bench.pool(), run, 10).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn replicas_divide_what_may_be_asked_and_the_last_one_has_all_of_it() {
    let bench = Bench::new(WAIT).await;
    // Long enough for neither to lose it on a busy machine: then it would never hear how many they are.
    let lease = Duration::from_secs(10);
    let (first, second) = (bench.engine(lease).await, bench.engine(lease).await);
    let share = async |engine: &Engine, processes: u32| {
        while engine.looks().processes != processes {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    share(&first, 2).await;
    share(&second, 2).await;
    first.shut_down().await;
    share(&second, 1).await;
}

#[tokio::test]
async fn what_a_dead_worker_left_is_taken_over_all_at_once() {
    let bench = Bench::new(WAIT).await.unlocked();
    let first = bench.engine(Duration::from_secs(10)).await;
    let runs = start(&first, 150).await;
    all_wait(&bench, &runs).await;
    first.shut_down().await;
    let second = bench.engine(Duration::from_secs(10)).await;
    for run in &runs {
        bench.until(*run, "taken over", |s| s.epoch() == 2).await;
    }
    bench.world.put("a", 1);
    for run in runs {
        assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    }
    drop(second);
}

#[tokio::test]
async fn a_wish_is_answered_though_nobody_rings() {
    let bench = Bench::new(WAIT).await.unlocked();
    let (_engine, run) = bench.start().await;
    all_wait(&bench, &[run]).await;
    let ask = domain::run::Ask::Pause { reason: None };
    let by = domain::Actor::person("ana");
    store::inbox::put(bench.pool(), run, Uuid::now_v7(), &by, &ask, bench.clock.now()).await.unwrap();
    bench.until(run, "paused", |s| s.word() == "paused").await;
}

/// It would look a day later.
#[tokio::test]
async fn an_event_brings_a_look_forward() {
    let bench = Bench::new(
        "steps:\n  - id: wait\n    use: rds.look\n    with: { name: shard-b }\n    until: out.value == 1\n    every: 24h\n    timeout: 7d\n",
    )
    .await;
    let engine = bench.engine(Duration::from_secs(10)).await;
    let runs = start(&engine, 1).await;
    all_wait(&bench, &runs).await;
    bench.world.put("shard-b", 1);
    let told = bench.clock.now();
    let event = Signal {
        kind: "rds_event".into(),
        labels: [("region".to_owned(), "us-east-1".to_owned()), ("cluster".to_owned(), "shard-b".to_owned())]
            .into(),
        ..signal("eventbridge", "RDS-EVENT-0071/shard-b")
    };
    engine.receive(&event, None, None).await.unwrap();
    let state = bench.ended(runs[0]).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert!(state.at() - told < chrono::TimeDelta::hours(20), "{}", state.at() - told);
}
