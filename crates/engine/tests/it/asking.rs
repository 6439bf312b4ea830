//! What people ask of a run.

use domain::action::ErrorClass;
use domain::run::{Ask, Entry, Outcome, Status, Takeback};
use serde_json::Value;
use uuid::Uuid;

use crate::world::{Bench, Trouble, ask};

const TWO: &str = r#"
steps:
  - id: first
    use: world.set
    with: { name: a, value: 1 }
    undo: automatic
  - id: second
    use: world.set
    with: { name: b, value: 1 }
"#;

#[tokio::test]
async fn a_failed_step_pauses_the_run_and_can_be_tried_again() {
    let bench = Bench::new(TWO).await;
    bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
    let (engine, run) = bench.start().await;
    let state = bench.until(run, "paused", |s| s.word() == "paused").await;
    assert_eq!(state.paused().unwrap().why, "it did not work");
    ask(&engine, run, Ask::Retry { step: "first".into() }).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(state.node(&"first".into()).unwrap().attempts.len(), 2);
    assert_eq!(bench.world.made(), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
}

#[tokio::test]
async fn a_failed_step_can_be_skipped_or_marked_as_done_by_a_person_with_a_reason() {
    for (wish, status) in [
        (Ask::Skip { step: "first".into(), reason: "not needed".into() }, Status::Skipped),
        (Ask::MarkDone { step: "first".into(), reason: "by hand".into(), output: Value::Null }, Status::Done),
    ] {
        let bench = Bench::new(TWO).await;
        bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
        let (engine, run) = bench.start().await;
        bench.until(run, "paused", |s| s.word() == "paused").await;
        ask(&engine, run, wish).await;
        let state = bench.ended(run).await;
        assert_eq!(state.node(&"first".into()).unwrap().status, status);
        assert_eq!(bench.world.made(), [("b".to_owned(), 1)]);
    }
}

const WAITING: &str = r#"
steps:
  - id: set
    use: world.set
    with: { name: a, value: 1 }
    undo: automatic
  - id: quiet
    use: world.set
    with: { name: quiet, value: 1 }
    finally: undo
  - id: wait
    use: world.look
    with: { name: go }
    until: out.value == 1
    every: 1s
    timeout: 10h
  - id: last
    use: world.set
    with: { name: b, value: 1 }
"#;

fn waits(state: &domain::run::State) -> bool {
    state.node(&"wait".into()).is_some_and(|n| n.status == Status::Running)
}

#[tokio::test]
async fn a_pause_starts_nothing_new_until_resumed() {
    let bench = Bench::new(WAITING).await;
    let (engine, run) = bench.start().await;
    bench.until(run, "waiting", waits).await;
    ask(&engine, run, Ask::Pause { reason: None }).await;
    bench.until(run, "paused", |s| s.word() == "paused").await;
    bench.world.put("go", 1);
    let state =
        bench.until(run, "done waiting", |s| s.node(&"wait".into()).unwrap().status == Status::Done).await;
    assert_eq!(state.word(), "paused");
    assert_eq!(bench.world.get("b"), 0);
    ask(&engine, run, Ask::Resume).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.get("b"), 1);
}

#[tokio::test]
async fn an_abort_takes_back_what_was_chosen() {
    for (takeback, outcome, a) in
        [(Takeback::Finally, Outcome::Aborted, 1), (Takeback::All, Outcome::Undone, 0)]
    {
        let bench = Bench::new(WAITING).await;
        let (engine, run) = bench.start().await;
        bench.until(run, "waiting", waits).await;
        ask(&engine, run, Ask::Abort { takeback, reason: "enough".into() }).await;
        let state = bench.ended(run).await;
        assert_eq!(state.outcome(), Some((outcome, "Aborted by ana: enough")));
        assert_eq!((bench.world.get("a"), bench.world.get("quiet"), bench.world.get("b")), (a, 0, 0));
    }
}

#[tokio::test]
async fn an_undo_that_fails_leaves_the_run_stuck_until_a_person_decides() {
    let bench = Bench::new(WAITING).await;
    let (engine, run) = bench.start().await;
    bench.until(run, "waiting", waits).await;
    bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
    ask(&engine, run, Ask::Abort { takeback: Takeback::All, reason: "enough".into() }).await;
    let state = bench.until(run, "stuck", |s| s.word() == "stuck").await;
    assert_eq!(state.paused().unwrap().step, Some("undo:quiet".into()));
    ask(&engine, run, Ask::Retry { step: "undo:quiet".into() }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Undone);
    assert_eq!((bench.world.get("a"), bench.world.get("quiet")), (0, 0));
}

#[tokio::test]
async fn the_same_wish_is_answered_once_and_an_impossible_one_is_refused() {
    let bench = Bench::new(WAITING).await;
    let (engine, run) = bench.start().await;
    bench.until(run, "waiting", waits).await;
    let ana = domain::Actor::person("ana");
    let id = Uuid::now_v7();
    engine.ask(run, id, &ana, &Ask::Pause { reason: None }).await.unwrap();
    bench.until(run, "paused", |s| s.word() == "paused").await;
    ask(&engine, run, Ask::Resume).await;
    bench.until(run, "running", |s| s.word() == "running").await;
    engine.ask(run, id, &ana, &Ask::Pause { reason: None }).await.unwrap();
    assert!(engine.ask(run, Uuid::now_v7(), &ana, &Ask::Resume).await.is_err());
    bench.world.put("go", 1);
    bench.ended(run).await;
    let answered =
        bench.journal(run).await.into_iter().filter(|r| matches!(r.entry, Entry::Asked { .. })).count();
    assert_eq!(answered, 2);
}

#[tokio::test]
async fn what_is_gone_needs_no_taking_back() {
    let bench = Bench::new(WAITING).await;
    let (engine, run) = bench.start().await;
    bench.until(run, "waiting", waits).await;
    bench.world.trouble(Trouble::Fails(ErrorClass::Gone));
    ask(&engine, run, Ask::Abort { takeback: Takeback::All, reason: "enough".into() }).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Undone);
    assert_eq!(state.node(&"undo:quiet".into()).unwrap().status, Status::Failed, "and the page says why");
    assert_eq!(bench.world.get("a"), 0);
}
