//! Lost answers, lost workers, lost leases: each change is made once.

use std::time::Duration;

use domain::Actor;
use domain::action::ErrorClass;
use domain::run::{Ask, Entry, How, Outcome, State, Status};
use engine::Engine;
use serde_json::Value;
use uuid::Uuid;

use crate::world::{Bench, Trouble, ask, request};

const SET: &str = "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n";
const ADD: &str = "steps:\n  - id: add\n    use: world.add\n    with: { name: a, value: 6 }\n";
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

/// A look may miss that it took effect, as of a failover that went back; a person says so or not.
#[tokio::test]
async fn a_call_that_may_not_be_repeated_is_looked_for_as_long_and_then_left_to_a_person() {
    let bench =
        Bench::new("steps:\n  - id: turn\n    use: world.turn\n    with: { name: a, value: 5 }\n").await;
    bench.world.trouble(Trouble::LosesCall);
    let (engine, run) = bench.start().await;
    let state = bench.until(run, "unknown", |s| s.word() == "outcome_unknown" && s.paused().is_some()).await;
    let deadline = state.node(&"turn".into()).unwrap().intent.as_ref().unwrap().deadline;
    assert!(state.at() - deadline >= chrono::TimeDelta::seconds(360), "{deadline} {}", state.at());
    assert_eq!(bench.world.made(), []);
    let reason = "nothing in CloudTrail".to_owned();
    ask(&engine, run, Ask::DidNotHappen { step: "turn".into(), reason }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
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

/// What it would be refused for now is its own effect.
#[tokio::test]
async fn a_call_whose_answer_was_lost_is_made_again_under_its_token_though_it_would_not_be_allowed_twice() {
    let bench = Bench::new(ADD).await;
    bench.world.trouble(Trouble::LosesAnswer);
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded, "{:?}", state.outcome());
    assert_eq!(bench.world.made(), [("a".to_owned(), 6)]);
    assert_eq!(bench.world.0.lock().unwrap().tokens.len(), 2);
    // Another run's is another call, and refused.
    let engine = bench.engine(Duration::from_secs(10)).await;
    let second = engine.start(request("second")).await.unwrap().run_id;
    let state = bench.until(second, "refused", |s| s.paused().is_some() || s.outcome().is_some()).await;
    assert_eq!(state.node(&"add".into()).unwrap().error.as_ref().unwrap().code, "full");
}

/// It was answered since: what forbids it hours later is something else.
#[tokio::test]
async fn a_call_that_was_refused_after_an_answer_was_lost_is_not_sent_again_where_it_is_forbidden() {
    let bench = Bench::new(ADD).await;
    bench.world.trouble(Trouble::LosesAnswer);
    bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
    let (engine, run) = bench.start().await;
    bench.until(run, "refused", |s| s.paused().is_some()).await;
    let sent = bench.world.0.lock().unwrap().tokens.len();
    assert_eq!(sent, 2);
    ask(&engine, run, Ask::Retry { step: "add".into() }).await;
    let forbidden =
        |s: &State| s.node(&"add".into()).is_some_and(|n| n.error.as_ref().is_some_and(|e| e.code == "full"));
    bench.until(run, "forbidden", forbidden).await;
    assert_eq!(bench.world.0.lock().unwrap().tokens.len(), sent);
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_left_to_a_person() {
    let bench = Bench::new(ADD).await;
    for _ in 0..100 {
        bench.world.trouble(Trouble::LosesAnswer);
    }
    let (_engine, run) = bench.start().await;
    bench.until(run, "unknown", |s| s.word() == "outcome_unknown").await;
    assert_eq!(bench.world.made().len(), 1);
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

/// Whoever takes the run over looks anew: a process that is told to stop does not wait for minutes until it knows.
#[tokio::test]
async fn a_worker_that_drains_hands_on_what_it_was_looking_for() {
    let (bench, first, run) = lost(Trouble::LosesCall).await;
    tokio::time::timeout(Duration::from_secs(60), first.shut_down()).await.expect("it looks on");
    // It lands after all, and whoever looks sees it.
    bench.world.put("a", 5);
    let _second = bench.engine(Duration::from_secs(10)).await;
    let state = bench.ended(run).await;
    assert_eq!(state.node(&"set".into()).unwrap().how, Some(How::FoundDone));
    assert_eq!(bench.world.made(), [], "the call was not made again");
}

/// It came hours after the wait's time was over, and its first look is throttled.
#[tokio::test]
async fn one_look_that_fails_decides_nothing_for_a_process_that_takes_a_wait_over_when_its_time_is_over() {
    let mut bench = Bench::new(LONG).await.calm();
    let (first, run) = bench.start().await;
    bench.until(run, "waiting", |s| s.node(&"wait".into()).is_some()).await;
    first.shut_down().await;
    bench = {
        let later = bench.clock.now() + chrono::TimeDelta::hours(200);
        bench.at(later).calm()
    };
    bench.world.put("go", 1);
    bench.world.0.lock().unwrap().blinks = 1;
    let _second = bench.engine(Duration::from_secs(10)).await;
    let state = bench.until(run, "over", |s| s.paused().is_some() || s.outcome().is_some()).await;
    assert_eq!(state.outcome().map(|(outcome, _)| outcome), Some(Outcome::Succeeded), "{:?}", state.paused());
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
    for statement in
        ["UPDATE journal_line SET kind = 'x'", "DELETE FROM journal_line", "TRUNCATE journal_line"]
    {
        let refused = sqlx::query(statement).execute(bench.pool()).await.unwrap_err().to_string();
        assert!(refused.contains("append-only") || refused.contains("foreign key"), "{refused}");
    }
}

/// A call was lost, and nobody would be asked for minutes: on this clock, longer than any test.
async fn lost(trouble: Trouble) -> (Bench, Engine, Uuid) {
    let bench = Bench::new(SET).await.calm();
    bench.world.trouble(trouble);
    let (engine, run) = bench.start().await;
    bench.until(run, "looking", |s| s.node(&"set".into()).is_some_and(|n| n.status == Status::Unclear)).await;
    (bench, engine, run)
}

async fn stop_looking(bench: &Bench, engine: &Engine, run: Uuid) -> State {
    ask(engine, run, Ask::StopLooking { step: "set".into() }).await;
    bench.until(run, "asked", |s| s.word() == "outcome_unknown" && s.paused().is_some()).await
}

#[tokio::test]
async fn a_person_cuts_the_look_short_and_is_asked_now_with_what_a_last_look_saw() {
    let (bench, engine, run) = lost(Trouble::LosesCall).await;
    let state = stop_looking(&bench, &engine, run).await;
    let node = state.node(&"set".into()).unwrap();
    assert_eq!(node.facts, Some(serde_json::json!({ "value": 0 })));
    let (bob, wish) = (Actor::person("bob"), Ask::StopLooking { step: "set".into() });
    let again = engine.ask(run, Uuid::now_v7(), &bob, &wish).await.unwrap_err();
    assert_eq!(again.to_string(), "nobody looks any more: say what you found");
    let done = Ask::MarkDone { step: "set".into(), reason: "I made it".into(), output: Value::Null };
    ask(&engine, run, done).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [], "the call was not made again");
}

#[tokio::test]
async fn a_last_look_that_finds_the_effect_asks_nobody() {
    let (bench, engine, run) = lost(Trouble::LosesCall).await;
    bench.world.put("a", 5);
    ask(&engine, run, Ask::StopLooking { step: "set".into() }).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(state.node(&"set".into()).unwrap().how, Some(How::FoundDone));
}

#[tokio::test]
async fn what_did_not_happen_is_made_anew_only_when_no_copy_can_land_any_more_whoever_drives_the_run() {
    for landed in [false, true] {
        let (bench, engine, run) = lost(Trouble::LosesCall).await;
        stop_looking(&bench, &engine, run).await;
        let reason = "CloudTrail has nothing".to_owned();
        ask(&engine, run, Ask::DidNotHappen { step: "set".into(), reason }).await;
        let waits = |s: &State| matches!(s.node(&"set".into()).unwrap().status, Status::RetryLater(at) if at > s.at());
        let state = bench.until(run, "waiting", waits).await;
        let node = state.node(&"set".into()).unwrap();
        let error = node.attempts.last().unwrap().error.clone().unwrap();
        assert_eq!(error.code, "may_still_land");
        let Status::RetryLater(safe) = node.status else { panic!("{:?}", node.status) };
        let deadline = node.intent.as_ref().unwrap().deadline;
        assert_eq!(safe - deadline, chrono::TimeDelta::seconds(360));
        assert_eq!(bench.world.made(), []);
        // The copy lands after all, or it does not; either way the number is set once.
        if landed {
            bench.world.put("a", 5);
        }
        engine.shut_down().await;
        let fast = bench.at(safe);
        let _engine = fast.engine(Duration::from_secs(10)).await;
        let state = fast.ended(run).await;
        assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
        assert_eq!(fast.world.made().len(), usize::from(!landed));
        let how = state.node(&"set".into()).unwrap().how.clone();
        assert_eq!(how == Some(How::FoundDone), landed, "{how:?}");
    }
}

#[tokio::test]
async fn where_no_look_is_answered_a_person_is_asked_at_once_too() {
    let (bench, engine, run) = lost(Trouble::LosesCall).await;
    bench.world.0.lock().unwrap().dark = true;
    let state = stop_looking(&bench, &engine, run).await;
    assert_eq!(state.node(&"set".into()).unwrap().facts.as_ref().unwrap()["code"], "dark");
}

#[tokio::test]
async fn an_action_that_panics_stops_its_run_which_says_so_and_the_next_process_goes_on() {
    let bench = Bench::new(SET).await;
    bench.world.trouble(Trouble::Panics);
    let (engine, run) = bench.start().await;
    let mut rings = engine.listen();
    let message: String = loop {
        let stuck = sqlx::query_scalar("SELECT message FROM run WHERE id = $1 AND state = 'stuck'").bind(run);
        if let Some(message) = stuck.fetch_optional(bench.pool()).await.unwrap() {
            break message;
        }
        tokio::time::timeout(Duration::from_secs(60), rings.recv()).await.unwrap().unwrap();
    };
    assert!(message.starts_with("a bug of Firebreak (on purpose)"), "{message}");

    engine.shut_down().await;
    let _next = bench.engine(Duration::from_secs(10)).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)], "looked for, not found, and made once");
}

/// A new version dies in the middle of a call, and an old one takes its run over: that it cannot look is not that it failed.
#[tokio::test]
async fn a_version_that_cannot_look_for_a_call_asks_a_person_and_passes_nothing() {
    let bench =
        Bench::new(&format!("{SET}    on_failure: continue\n  - {{ id: then, value: 1 }}\n")).await.calm();
    bench.world.trouble(Trouble::LosesCall);
    let (engine, run) = bench.start().await;
    bench.until(run, "looking", |s| s.node(&"set".into()).is_some_and(|n| n.status == Status::Unclear)).await;
    engine.shut_down().await;
    let bench = bench.older();
    let engine = bench.engine(Duration::from_secs(10)).await;
    let over = |s: &State| s.outcome().is_some() || s.paused().is_some();
    let state = bench.until(run, "asked", over).await;
    assert_eq!((state.word(), state.node(&"then".into()).is_some()), ("outcome_unknown", false));
    let node = state.node(&"set".into()).unwrap();
    assert_eq!(node.facts.as_ref().unwrap()["code"], "unknown_action");
    assert_eq!(store::pages::locks(bench.pool()).await.unwrap().len(), 1, "it may still land");
    let reason = "it landed".to_owned();
    ask(&engine, run, Ask::MarkDone { step: "set".into(), reason, output: Value::Null }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
}
