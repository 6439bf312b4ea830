//! Lost answers, lost workers, lost leases: each change is made once.

use std::time::Duration;

use domain::action::ErrorClass;
use domain::run::{Ask, Entry, How, Outcome};
use serde_json::Value;

use crate::world::{Bench, Trouble, ask, request};

const SET: &str = "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n";
const RING: &str = "steps:\n  - id: ring\n    use: world.ring\n    with: { name: a, value: 5 }\n";

#[tokio::test]
async fn a_lost_answer_is_found_by_looking_and_the_call_is_not_repeated() {
    let bench = Bench::new(SET).await;
    bench.world.trouble(Trouble::LosesAnswer);
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(state.node(&"set".into()).unwrap().how, Some(How::FoundDone));
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn a_lost_call_is_repeated_only_after_the_old_one_can_no_longer_land() {
    let bench = Bench::new(SET).await;
    bench.world.trouble(Trouble::LosesCall);
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    let attempts = &state.node(&"set".into()).unwrap().attempts;
    assert_eq!(attempts.len(), 2);
    let waited = attempts[1].at - attempts[0].at;
    assert!(waited >= chrono::TimeDelta::seconds(300), "{waited}");
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn every_attempt_of_a_step_carries_its_token_and_another_step_another_one() {
    let bench = Bench::new(
        "steps:\n  - { id: set, use: world.set, with: { name: a, value: 5 } }\n  - { id: then, use: world.set, with: { name: b, value: 1 } }\n",
    )
    .await;
    bench.world.trouble(Trouble::LosesCall);
    bench.world.trouble(Trouble::Fails(ErrorClass::Busy));
    let (_engine, run) = bench.start().await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    let tokens = bench.world.0.lock().unwrap().tokens.clone();
    let (set, then) = (format!("{run}:set"), format!("{run}:then"));
    assert_eq!(tokens, [set.clone(), set.clone(), set, then]);
}

#[tokio::test]
async fn a_blind_call_of_unknown_outcome_is_left_to_a_person() {
    let bench = Bench::new(RING).await;
    bench.world.trouble(Trouble::LosesAnswer);
    let (engine, run) = bench.start().await;
    bench.until(run, "unknown", |s| s.word() == "outcome_unknown" && s.paused().is_some()).await;
    assert_eq!(bench.world.made().len(), 1);
    let reason = "the bell was heard".to_owned();
    ask(&engine, run, Ask::MarkDone { step: "ring".into(), reason, output: Value::Null }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made().len(), 1);
}

const LONG: &str = r#"
steps:
  - id: set
    use: world.set
    with: { name: a, value: 1 }
  - id: wait
    use: world.look
    with: { name: go }
    until: out.value == 1
    every: 1s
    timeout: 100h
  - id: last
    use: world.set
    with: { name: b, value: 1 }
"#;

#[tokio::test]
async fn a_worker_that_drains_hands_its_run_to_the_next() {
    let bench = Bench::new(LONG).await;
    let (first, run) = bench.start().await;
    bench.until(run, "waiting", |s| s.node(&"wait".into()).is_some()).await;
    first.shut_down().await;
    let _second = bench.engine(Duration::from_secs(10)).await;
    bench.world.put("go", 1);
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert!(
        bench.journal(run).await.iter().any(|r| matches!(r.entry, Entry::TakenOver { .. }) && r.epoch == 2)
    );
}

/// A worker that is frozen past its lease (here: its lease is taken away behind its back) writes nothing any more.
#[tokio::test]
async fn a_worker_whose_lease_is_gone_is_fenced_and_the_run_goes_on_elsewhere() {
    let bench = Bench::new(LONG).await;
    let first = bench.engine(Duration::from_secs(300)).await;
    let run = first.start(request("key")).await.unwrap().run_id;
    bench.until(run, "waiting", |s| s.node(&"wait".into()).is_some()).await;
    // To the database the first worker is dead from here on; it does not know, and keeps driving.
    store::workers::release(bench.pool(), 1).await.unwrap();
    let _second = bench.engine(Duration::from_secs(10)).await;
    bench.until(run, "taken over", |s| s.epoch() == 2).await;
    bench.world.put("go", 1);
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 1), ("b".to_owned(), 1)], "both drove, one wrote");
    let journal = bench.journal(run).await;
    assert!(journal.windows(2).all(|w| w[0].epoch <= w[1].epoch && w[0].seq + 1 == w[1].seq));
}

#[tokio::test]
async fn the_journal_cannot_be_changed_or_removed() {
    let bench = Bench::new(SET).await;
    let (_engine, run) = bench.start().await;
    bench.ended(run).await;
    for statement in ["UPDATE journal SET kind = 'x'", "DELETE FROM journal", "TRUNCATE journal"] {
        let refused = sqlx::query(statement).execute(bench.pool()).await.unwrap_err().to_string();
        assert!(refused.contains("append-only") || refused.contains("foreign key"), "{refused}");
    }
}
