//! Runs that had to wait ask once more for freezes and limits before they begin.

use std::time::Duration;

use chrono::TimeDelta;
use domain::brake::{Acknowledged, Brake, Overrides};
use domain::plan::Plan;
use domain::run::{Ask, Entry, Outcome, State};
use domain::{Actor, Role};
use engine::{AskError, Engine, StartRequest};
use uuid::Uuid;

use crate::world::{Bench, ask, request};

const SET: &str = "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n";
/// Clock time flies here, and a busy machine takes its time.
const AMPLE: &str = "approval: { within: 150h }";
const LONG: Duration = Duration::from_secs(10);

fn bob() -> Actor {
    Actor::with_role("bob", Role::Approver)
}

async fn planned(engine: &Engine, key: &str) -> StartRequest {
    let plan: Plan = engine.plan("test", &serde_json::Map::new()).await.unwrap();
    StartRequest { plan: Some(plan), ..request(key) }
}

/// Asks for a run that bob must agree to.
async fn asked(engine: &Engine, overrides: Overrides) -> (Uuid, String) {
    let request = StartRequest { overrides, ..planned(engine, "key").await };
    let hash = request.plan.as_ref().unwrap().hash.clone();
    (engine.start(request).await.unwrap().run_id, hash)
}

async fn agree(engine: &Engine, run: Uuid, hash: &str) {
    let approve = Ask::Approve { step: None, plan_hash: Some(hash.to_owned()) };
    engine.ask(run, Uuid::now_v7(), &bob(), &approve).await.unwrap();
}

/// A freeze for the next month.
async fn freeze(bench: &Bench, engine: &Engine, reason: &str) -> Uuid {
    let now = bench.clock.now();
    engine.brakes().freeze(None, (now, now + TimeDelta::days(30)), &bob(), reason).await.unwrap().id
}

fn despite() -> Ask {
    Ask::BeginDespite { reason: "customers cannot log in".into() }
}

async fn held_back(bench: &Bench, run: Uuid) -> State {
    let state = bench.until(run, "held back", |s| s.held_back().is_some()).await;
    assert_eq!((state.word(), bench.world.made().len()), ("paused", 0));
    state
}

async fn succeeded(bench: &Bench, run: Uuid) {
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
}

fn times_held(journal: &[domain::run::Record]) -> usize {
    journal.iter().filter(|r| matches!(r.entry, Entry::HeldBack { .. })).count()
}

#[tokio::test]
async fn a_run_that_is_agreed_to_in_a_freeze_waits_for_a_person_holds_nothing_and_goes_on_by_their_word() {
    let bench = Bench::new(SET).await.saying(AMPLE);
    let engine = bench.engine(LONG).await;
    let (run, hash) = asked(&engine, Overrides::default()).await;
    freeze(&bench, &engine, "holidays").await;
    agree(&engine, run, &hash).await;
    let state = held_back(&bench, run).await;
    let why = &state.paused().unwrap().why;
    assert!(why.starts_with("held back before it has begun: all changes are frozen until"), "{why}");
    assert!(why.contains("holidays (entered by bob)"), "{why}");
    assert_eq!(store::pages::locks(bench.pool()).await.unwrap(), [], "it is in nobody's way");

    // To resume is to ask again: the freeze is still on, also for a process that takes the run over.
    let seq = state.seq();
    ask(&engine, run, Ask::Resume).await;
    bench.until(run, "held back again", |s| s.seq() > seq + 1 && s.held_back().is_some()).await;
    engine.shut_down().await;
    let engine = bench.engine(LONG).await;
    bench.until(run, "taken over", |s| s.epoch() == 2).await;
    held_back(&bench, run).await;
    let silent = Ask::BeginDespite { reason: " ".into() };
    let silent = engine.ask(run, Uuid::now_v7(), &bob(), &silent).await;
    assert!(matches!(silent, Err(AskError::Refused(_))), "{silent:?}");
    let viewer = engine.ask(run, Uuid::now_v7(), &Actor::with_role("eve", Role::Viewer), &despite()).await;
    assert!(matches!(viewer, Err(AskError::NotAllowed(_))), "{viewer:?}");
    ask(&engine, run, despite()).await;
    succeeded(&bench, run).await;
    assert_eq!(times_held(&bench.journal(run).await), 2);
}

#[tokio::test]
async fn a_freeze_that_is_over_lets_it_go_when_it_is_resumed_and_an_abort_ends_it() {
    for lifted in [true, false] {
        let bench = Bench::new(SET).await.saying(AMPLE);
        let engine = bench.engine(LONG).await;
        let (run, hash) = asked(&engine, Overrides::default()).await;
        let freeze = freeze(&bench, &engine, "holidays").await;
        agree(&engine, run, &hash).await;
        held_back(&bench, run).await;
        if lifted {
            engine.brakes().lift(freeze, &bob(), "the shops are closed").await.unwrap();
            ask(&engine, run, Ask::Resume).await;
            succeeded(&bench, run).await;
        } else {
            let takeback = domain::run::Takeback::Finally;
            ask(&engine, run, Ask::Abort { takeback, reason: "after the holidays".into() }).await;
            assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Aborted);
            assert_eq!(bench.world.made(), []);
        }
    }
}

#[tokio::test]
async fn what_was_confirmed_at_the_request_is_not_asked_again_and_what_came_later_is() {
    for later in [false, true] {
        let bench = Bench::new(SET).await.saying(AMPLE);
        let engine = bench.engine(LONG).await;
        freeze(&bench, &engine, "holidays").await;
        let (run, hash) = asked(&engine, Overrides { despite_freeze: true, ..Overrides::default() }).await;
        if later {
            freeze(&bench, &engine, "the auditors are here").await;
        }
        agree(&engine, run, &hash).await;
        if later {
            let state = held_back(&bench, run).await;
            let brakes = &state.held_back().unwrap().brakes;
            assert!(
                matches!(&brakes[..], [Brake::Freeze(f)] if f.reason == "the auditors are here"),
                "{brakes:?}"
            );
            ask(&engine, run, despite()).await;
        }
        succeeded(&bench, run).await;
    }
}

#[tokio::test]
async fn a_limit_that_others_used_up_meanwhile_holds_it_back_and_its_own_use_counts_from_when_it_begins() {
    for rule in ["at_most: 1, per: 7d", "cooldown: 7d"] {
        let text = format!("limits:\n  - {{ name: \"failover of a\", {rule} }}\n{SET}");
        let bench = Bench::new(&text).await.saying(AMPLE);
        let engine = bench.engine(LONG).await;
        let (run, hash) = asked(&engine, Overrides::default()).await;
        // Somebody could not wait: their run passes the limit, and is agreed to first.
        let acknowledge =
            vec![Acknowledged { limit: "failover of a".into(), reason: "it is worse there".into() }];
        let overrides = Overrides { acknowledge, ..Overrides::default() };
        let urgent = StartRequest { overrides, ..planned(&engine, "urgent").await };
        let urgent_hash = urgent.plan.as_ref().unwrap().hash.clone();
        let urgent = engine.start(urgent).await.unwrap().run_id;
        agree(&engine, urgent, &urgent_hash).await;
        succeeded(&bench, urgent).await;
        {
            let mut world = bench.world.0.lock().unwrap();
            world.made.clear();
            world.numbers.clear();
        }
        agree(&engine, run, &hash).await;
        let state = held_back(&bench, run).await;
        let brakes = &state.held_back().unwrap().brakes;
        assert!(
            matches!(&brakes[..], [Brake::Limit(s)] if s.used.len() == 1 && s.used[0].run_id == urgent),
            "{brakes:?}"
        );
        ask(&engine, run, despite()).await;
        succeeded(&bench, run).await;
        let newest = "SELECT run_id FROM limit_use ORDER BY at DESC LIMIT 1";
        let newest: Uuid = sqlx::query_scalar(newest).fetch_one(bench.pool()).await.unwrap();
        assert_eq!(newest, run);
    }
}

#[tokio::test]
async fn a_new_plan_that_is_accepted_in_a_freeze_does_not_begin_either() {
    let bench = Bench::new(SET).await;
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    bench.world.put("a", 2);
    let run = engine.start(request).await.unwrap().run_id;
    let state = bench.until(run, "drifted", |s| s.drift().is_some()).await;
    let freeze = freeze(&bench, &engine, "holidays").await;
    ask(&engine, run, Ask::AcceptPlan { plan_hash: state.drift().unwrap().plan.hash.clone() }).await;
    held_back(&bench, run).await;
    assert_eq!(store::pages::locks(bench.pool()).await.unwrap().len(), 1, "it keeps what it has");
    engine.brakes().lift(freeze, &bob(), "the shops are closed").await.unwrap();
    ask(&engine, run, Ask::Resume).await;
    succeeded(&bench, run).await;
}

#[tokio::test]
async fn what_only_looks_begins_in_a_freeze_once_people_agree() {
    let look = "steps:\n  - id: see\n    use: world.look\n    with: { name: a }\n";
    let bench = Bench::new(look).await.saying(AMPLE);
    let engine = bench.engine(LONG).await;
    let (run, hash) = asked(&engine, Overrides::default()).await;
    freeze(&bench, &engine, "holidays").await;
    agree(&engine, run, &hash).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(times_held(&bench.journal(run).await), 0);
}

const LOOKS: &str = "steps:\n  - id: see\n    use: world.look\n    with: { name: b }\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n";

/// A run whose plan is being compared: nothing can be seen, so that it is compared again and again.
async fn comparing() -> (Bench, Engine, Uuid) {
    let bench = Bench::new(LOOKS).await.calm();
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    dark(&bench, true);
    let before = bench.looks();
    let run = engine.start(request).await.unwrap().run_id;
    // The first comparison is over, and it waits.
    while bench.looks() < before + 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (bench, engine, run)
}

fn dark(bench: &Bench, dark: bool) {
    bench.world.0.lock().unwrap().looks_fail = dark;
}

/// A freeze is on by now. It holds the run back, with its locks; once lifted, the run begins.
async fn is_held_and_let_go(bench: &Bench, engine: &Engine, run: Uuid, frozen: Uuid) {
    let held = |s: &State| s.held_back().is_some() || s.outcome().is_some();
    let state = bench.until(run, "held back", held).await;
    assert_eq!((state.word(), bench.world.made().len()), ("paused", 0));
    assert_eq!(store::pages::locks(bench.pool()).await.unwrap().len(), 1, "it keeps what it has");
    engine.brakes().lift(frozen, &bob(), "the shops are closed").await.unwrap();
    ask(engine, run, Ask::Resume).await;
    succeeded(bench, run).await;
    assert_eq!(times_held(&bench.journal(run).await), 1);
}

#[tokio::test]
async fn a_run_that_is_paused_before_it_begins_and_resumed_in_a_freeze_does_not_begin() {
    let (bench, engine, run) = comparing().await;
    ask(&engine, run, Ask::Pause { reason: None }).await;
    bench.until(run, "paused", |s| s.held().is_some()).await;
    let frozen = freeze(&bench, &engine, "holidays").await;
    // Also where the comparison that was under way before comes to its end only now.
    ask(&engine, run, Ask::Resume).await;
    bench.until(run, "resumed", |s| s.held().is_none()).await;
    dark(&bench, false);
    is_held_and_let_go(&bench, &engine, run, frozen).await;
}

#[tokio::test]
async fn a_run_that_was_paused_because_its_plan_could_not_be_compared_does_not_begin_in_a_freeze() {
    let bench = Bench::new(LOOKS).await;
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    dark(&bench, true);
    let run = engine.start(request).await.unwrap().run_id;
    bench.until(run, "paused", |s| s.paused().is_some()).await;
    let frozen = freeze(&bench, &engine, "holidays").await;
    dark(&bench, false);
    ask(&engine, run, Ask::Resume).await;
    is_held_and_let_go(&bench, &engine, run, frozen).await;
}

#[tokio::test]
async fn a_run_that_nobody_drove_for_a_while_does_not_begin_in_a_freeze_when_it_is_taken_over() {
    let (bench, engine, run) = comparing().await;
    engine.shut_down().await;
    let frozen = freeze(&bench, &engine, "holidays").await;
    dark(&bench, false);
    let engine = bench.engine(LONG).await;
    is_held_and_let_go(&bench, &engine, run, frozen).await;
}

#[tokio::test]
async fn a_freeze_that_begins_while_a_plan_cannot_be_compared_is_met() {
    let (bench, engine, run) = comparing().await;
    let frozen = freeze(&bench, &engine, "holidays").await;
    dark(&bench, false);
    is_held_and_let_go(&bench, &engine, run, frozen).await;
}

/// What it uses up itself is not in its way.
#[tokio::test]
async fn a_run_that_is_taken_over_before_it_begins_is_not_held_back_by_its_own_limit() {
    let limits = "limits:\n  - { name: \"failover of a\", at_most: 1, per: 7d }\n";
    let bench = Bench::new(&format!("{limits}{LOOKS}")).await.calm();
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    dark(&bench, true);
    let run = engine.start(request).await.unwrap().run_id;
    engine.shut_down().await;
    dark(&bench, false);
    let _engine = bench.engine(LONG).await;
    succeeded(&bench, run).await;
    assert_eq!(times_held(&bench.journal(run).await), 0);
}
