//! Going through the steps.

use std::time::Duration;

use domain::run::{Ask, How, Outcome, Status};
use engine::StartError;
use serde_json::json;

use crate::world::{Bench, Trouble, ask, output, request};
use domain::action::ErrorClass;

#[tokio::test]
async fn steps_are_done_in_order_and_each_change_is_made_once() {
    let bench = Bench::new(
        r#"
steps:
  - id: before
    use: world.look
    with: { name: a }
  - id: guard
    assert: steps.before.value == 0
    message: not zero
  - id: double
    value: "${[1, 2, 3].map(n, n * 2)}"
  - id: set
    use: world.set
    with: { name: a, value: "${steps.before.value + 5}" }
  - id: left_out
    if: steps.set.value == 7
    use: world.set
    with: { name: a, value: 9 }
  - id: wait
    use: world.look
    with: { name: a }
    until: out.value == 5
    timeout: 1m
"#,
    )
    .await;
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
    assert_eq!(output(&state, "double"), json!([2, 4, 6]));
    assert_eq!(state.node(&"left_out".into()).unwrap().status, Status::Skipped);
    assert!(matches!(state.node(&"set".into()).unwrap().how, Some(How::Called { .. })));
}

#[tokio::test]
async fn what_is_so_already_is_not_called() {
    let bench =
        Bench::new("steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n").await;
    bench.world.put("a", 5);
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.node(&"set".into()).unwrap().how, Some(How::AlreadySo));
    assert_eq!(bench.world.made(), []);
}

#[tokio::test]
async fn a_double_click_lands_on_the_same_run_and_a_second_run_is_told_who_holds_the_lock() {
    let bench = Bench::new(
        "steps:\n  - id: wait\n    use: world.look\n    with: { name: a }\n    until: out.value == 1\n    every: 60s\n    timeout: 10h\n",
    )
    .await;
    let (engine, run) = bench.start().await;
    let again = engine.start(request("key")).await.unwrap();
    assert_eq!((again.run_id, again.new), (run, false));
    match engine.start(request("another key")).await {
        Err(StartError::Locked(holder)) => {
            assert_eq!((holder.run_id, holder.target.as_str()), (run, "thing"))
        }
        other => panic!("{other:?}"),
    }
    bench.world.put("a", 1);
    bench.ended(run).await;
    assert!(
        engine.start(request("another key")).await.unwrap().new,
        "the lock is released with the end of the run"
    );
}

#[tokio::test]
async fn each_item_is_done_with_at_most_so_many_at_once() {
    let bench = Bench::new(
        r#"
steps:
  - id: all
    each: '["a", "b", "c", "d"]'
    at_once: 50%
    steps:
      - id: set
        use: world.set
        with: { name: "${item}", value: 1 }
      - id: check
        assert: steps.set.value == 1
        message: not set
"#,
    )
    .await;
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    let mut made = bench.world.made();
    made.sort();
    assert_eq!(made, ["a", "b", "c", "d"].map(|name| (name.to_owned(), 1)));
    let keys: Vec<_> = output(&state, "all").as_array().unwrap().iter().map(|o| o["key"].clone()).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    // Two at once: the third is begun only after one of the first two is done.
    let journal = bench.journal(run).await;
    let mut under_way = 0_i32;
    for record in journal {
        match record.entry {
            domain::run::Entry::Intent { .. } => under_way += 1,
            domain::run::Entry::Done { step, .. } if step.as_str().ends_with(".check") => under_way -= 1,
            _ => {}
        }
        assert!(under_way <= 2);
    }
}

#[tokio::test]
async fn a_guard_before_any_change_ends_the_run_as_refused_with_its_message() {
    let bench = Bench::new(
        "steps:\n  - id: guard\n    assert: 1 == 2\n    message: one is not two\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n",
    )
    .await;
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome(), Some((Outcome::Refused, "one is not two")));
    assert_eq!(bench.world.made(), []);
}

#[tokio::test]
async fn an_empty_set_of_targets_is_refused() {
    let bench = Bench::new(
        "steps:\n  - id: all\n    each: '[\"a\"].filter(x, size(x) > 5)'\n    at_once: 1\n    use: world.look\n    with: { name: \"${item}\" }\n",
    )
    .await;
    let (_engine, run) = bench.start().await;
    let state = bench.until(run, "paused", |s| s.word() == "paused").await;
    assert_eq!(state.node(&"all".into()).unwrap().error.as_ref().unwrap().code, "empty_target_set");
}

#[tokio::test]
async fn what_is_marked_finally_is_taken_back_at_the_end_and_nothing_else() {
    let bench = Bench::new(
        r#"
steps:
  - id: quiet
    use: world.set
    with: { name: quiet, value: 1 }
    finally: undo
  - id: keep
    use: world.set
    with: { name: keep, value: 1 }
    undo: automatic
"#,
    )
    .await;
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!((bench.world.get("quiet"), bench.world.get("keep")), (0, 1));
    assert!(matches!(state.node(&"undo:quiet".into()).unwrap().how, Some(How::Called { .. })));
}

#[tokio::test]
async fn a_busy_service_uses_up_no_attempt_and_what_may_pass_is_retried() {
    let bench = Bench::new(
        "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n    retry: { attempts: 2, backoff: 1s }\n",
    )
    .await;
    for _ in 0..4 {
        bench.world.trouble(Trouble::Fails(ErrorClass::Busy));
    }
    bench.world.trouble(Trouble::Fails(ErrorClass::Transient));
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(state.node(&"set".into()).unwrap().attempts.len(), 6);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn a_wait_ends_with_its_timeout_and_says_for_what_it_waited() {
    let bench = Bench::new(
        "steps:\n  - id: wait\n    use: world.look\n    with: { name: a }\n    until: out.value == 1\n    every: 5s\n    timeout: 30s\n",
    )
    .await;
    let (_engine, run) = bench.start().await;
    let state = bench.until(run, "paused", |s| s.word() == "paused").await;
    let error = state.node(&"wait".into()).unwrap().error.clone().unwrap();
    assert_eq!(error.code, "timeout");
    assert!(error.message.contains("out.value == 1") && error.message.contains("30s"), "{}", error.message);
}

#[tokio::test]
async fn the_symptom_must_stay_gone_for_the_soak() {
    let verify = "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\nverify:\n  use: world.look\n  with: { name: symptom }\n  until: out.value == 0\n  for: 1m\n  every: 5s\n  timeout: 10m\n  message: it is still there\n";
    let bench = Bench::new(verify).await;
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    let node = state.node(&"verify".into()).unwrap();
    assert!(node.ended_at.unwrap() - node.started_at >= chrono::TimeDelta::minutes(1));

    let bench = Bench::new(verify).await;
    bench.world.put("symptom", 1);
    let (_engine, run) = bench.start().await;
    assert_eq!(bench.ended(run).await.outcome(), Some((Outcome::SymptomPersists, "it is still there")));
}

#[tokio::test]
async fn a_plan_tells_before_and_after_and_changes_nothing() {
    let bench = Bench::new(
        r#"
steps:
  - id: before
    use: world.look
    with: { name: a }
  - id: set
    use: world.set
    with: { name: a, value: "${steps.before.value + 5}" }
  - id: wait
    use: world.look
    with: { name: a }
    until: out.value == 5
    timeout: 1m
  - id: after
    use: world.set
    with: { name: b, value: "${steps.wait.value}" }
"#,
    )
    .await;
    let engine = bench.engine(Duration::from_secs(10)).await;
    let plan = engine.plan("test", &serde_json::Map::new()).await.unwrap();
    let outcomes = serde_json::to_value(plan.steps.iter().map(|s| &s.outcome).collect::<Vec<_>>()).unwrap();
    assert_eq!(
        outcomes,
        json!([
            { "outcome": "looked" },
            { "outcome": "changes", "changes": [{ "object": "a", "property": "value", "before": 0, "after": 5 }] },
            { "outcome": "waits", "until": "out.value == 5", "timeout_s": 60 },
            { "outcome": "known_after", "step": "wait" },
        ])
    );
    assert_eq!(bench.world.made(), []);
    assert_eq!(plan.hash, engine.plan("test", &serde_json::Map::new()).await.unwrap().hash);
    bench.world.put("a", 1);
    assert_ne!(plan.hash, engine.plan("test", &serde_json::Map::new()).await.unwrap().hash);
}

#[tokio::test]
async fn a_guard_on_what_is_looked_at_after_a_change_does_not_stop_the_plan() {
    let bench = Bench::new(
        r#"
steps:
  - id: set
    use: world.set
    with: { name: a, value: 5 }
  - id: seen
    use: world.look
    with: { name: a }
  - id: is_set
    assert: steps.seen.value == 5
    message: it is not 5
  - id: sum
    assert: 1 + 1 == 3
    message: what rests on nothing of the kind is a guard as any other
"#,
    )
    .await;
    let engine = bench.engine(Duration::from_secs(10)).await;
    let plan = engine.plan("test", &serde_json::Map::new()).await.unwrap();
    let outcomes = serde_json::to_value(plan.steps.iter().map(|s| &s.outcome).collect::<Vec<_>>()).unwrap();
    assert_eq!(outcomes[1], json!({ "outcome": "looked" }));
    assert_eq!(outcomes[2], json!({ "outcome": "known_after", "step": "set" }));
    assert_eq!(outcomes[3]["outcome"], "stops");
}

/// What was seen before is not what is there: the run does not go on with it, and does not say that it was seen.
#[tokio::test]
async fn what_cannot_be_seen_when_a_wait_is_over_is_looked_at_a_little_longer_and_then_left_to_a_person() {
    let wait = "steps:\n  - id: wait\n    use: world.look\n    with: { name: go }\n    until: out.value == 1\n    every: 5s\n    timeout: 30s\n    on_timeout: continue\n  - id: set\n    use: world.set\n    with: { name: a, value: 1 }\n";
    let bench = Bench::new(wait).await;
    bench.world.0.lock().unwrap().looks_fail = true;
    let (engine, run) = bench.start().await;
    let state = bench.until(run, "paused", |s| s.paused().is_some() || s.outcome().is_some()).await;
    assert_eq!(
        state.paused().unwrap().why,
        "whether `out.value == 1` could not be seen when its 30s were over: nothing can be seen (dark)"
    );
    assert!(bench.looks() < 60, "{} looks in a minute and a half", bench.looks());
    bench.world.0.lock().unwrap().looks_fail = false;
    ask(&engine, run, Ask::Retry { step: "wait".into() }).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(*state.node(&"wait".into()).unwrap().output, serde_json::json!({ "value": 0 }));
}
