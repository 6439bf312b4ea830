//! What a plan sees: how often it looks at what does not answer, what it waits for, and what it makes of that when it is compared.

use std::time::Duration;

use domain::action::ErrorClass;
use domain::plan::{Plan, PlannedOutcome, Verdict};
use domain::run::{Ask, Entry, Gate, Outcome};
use engine::{Engine, StartError, StartRequest};
use serde_json::{Map, Value, json};

use crate::world::{Bench, ask, request};

const SEE: &str = "steps:\n  - id: see\n    use: world.look\n    with: { name: b }\n    on_failure: continue\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n";

/// What is late tells itself from what is ill by healing within half a minute.
const LATE: &str = r#"
steps:
  - id: see
    use: world.look
    with: { name: ill }
    until: out.value == 0
    every: 5s
    timeout: 30s
    on_timeout: continue
  - id: is_ill
    assert: steps.see.value > 0
    message: It is well.
  - id: set
    use: world.set
    with: { name: a, value: 5 }
"#;

const LONG: Duration = Duration::from_secs(10);

async fn plan(engine: &Engine) -> Plan {
    engine.plan("test", &Map::new()).await.unwrap()
}

async fn looked(bench: &Bench, times: u64) {
    while bench.looks() < times {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_hangs_costs_a_plan_one_look_and_what_is_throttled_or_fails_at_once_is_looked_at_again() {
    let bench = Bench::new(SEE).await;
    let engine = bench.engine(LONG).await;
    for (class, hangs, looks) in
        [(ErrorClass::Transient, true, 1), (ErrorClass::Transient, false, 4), (ErrorClass::Busy, true, 4)]
    {
        {
            let mut world = bench.world.0.lock().unwrap();
            (world.looks_fail, world.fails_as, world.hangs) = (true, Some(class), hangs);
        }
        let before = bench.looks();
        let plan = plan(&engine).await;
        assert!(matches!(plan.steps[0].outcome, PlannedOutcome::Skipped { .. }), "{plan:#?}");
        assert_eq!(bench.looks() - before, looks, "{class:?}, hangs: {hangs}");
    }
}

#[tokio::test]
async fn what_could_not_be_seen_when_the_plan_was_made_either_hides_no_drift() {
    let bench = Bench::new(SEE).await;
    let engine = bench.engine(LONG).await;
    bench.world.0.lock().unwrap().hidden.insert("b".into());
    let seen = plan(&engine).await;
    assert_eq!(seen.verdict, Verdict::Ready);
    bench.world.put("a", 2);
    let run = engine.start(StartRequest { plan: Some(seen), ..request("key") }).await.unwrap().run_id;
    let state = bench.until(run, "paused", |s| s.paused().is_some()).await;
    let drift = state.drift().unwrap_or_else(|| panic!("{:?}", state.paused()));
    assert_eq!(drift.differences.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), ["set"]);
    ask(&engine, run, Ask::AcceptPlan { plan_hash: drift.plan.hash.clone() }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn what_was_seen_when_the_plan_was_made_and_cannot_be_seen_now_is_no_drift_though_there_is_one_beside_it()
 {
    let bench = Bench::new(SEE).await;
    let engine = bench.engine(LONG).await;
    let seen = plan(&engine).await;
    bench.world.0.lock().unwrap().hidden.insert("b".into());
    bench.world.put("a", 2);
    let run = engine.start(StartRequest { plan: Some(seen), ..request("key") }).await.unwrap().run_id;
    let state = bench.until(run, "paused", |s| s.paused().is_some()).await;
    assert_eq!((state.gate(), state.drift().is_some()), (Some(&Gate::Plan), false));
    bench.world.0.lock().unwrap().hidden.clear();
    ask(&engine, run, Ask::Resume).await;
    bench.until(run, "drifted", |s| s.drift().is_some()).await;
}

#[tokio::test]
async fn what_was_waited_for_when_the_plan_was_made_and_cannot_be_seen_now_is_no_drift() {
    let bench = Bench::new(LATE).await.with("timeout: 30s", "timeout: 5h");
    let engine = bench.engine(LONG).await;
    bench.world.put("ill", 1);
    let seen = plan(&engine).await;
    assert!(matches!(seen.steps[0].outcome, PlannedOutcome::Waits { .. }), "{seen:#?}");
    bench.world.0.lock().unwrap().hidden.insert("ill".into());
    let run = engine.start(StartRequest { plan: Some(seen), ..request("key") }).await.unwrap().run_id;
    let state = bench.until(run, "paused", |s| s.paused().is_some()).await;
    assert_eq!((state.gate(), state.drift().is_some()), (Some(&Gate::Plan), false), "{:?}", state.paused());
}

#[tokio::test]
async fn a_plan_waits_for_what_heals_by_itself_as_its_run_would() {
    let bench = Bench::new(LATE).await.calm();
    let engine = bench.engine(LONG).await;
    bench.world.put("ill", 1);
    let heals = async {
        looked(&bench, 1).await;
        bench.world.put("ill", 0);
    };
    let (plan, ()) = tokio::join!(plan(&engine), heals);
    let stops = Verdict::Stops { step: "is_ill".into(), message: "It is well.".into() };
    assert_eq!(plan.verdict, stops);
}

#[tokio::test]
async fn a_plan_takes_what_is_still_there_when_the_time_of_a_wait_is_over_and_waits_for_no_hours() {
    for (timeout, known) in [("30s", true), ("5h", false)] {
        let bench = Bench::new(LATE).await.with("timeout: 30s", &format!("timeout: {timeout}"));
        let engine = bench.engine(LONG).await;
        bench.world.put("ill", 1);
        let plan = plan(&engine).await;
        assert_eq!(matches!(plan.steps[0].outcome, PlannedOutcome::Looked), known, "{plan:#?}");
        assert_eq!(matches!(plan.steps[1].outcome, PlannedOutcome::Holds { .. }), known, "{plan:#?}");
        assert_eq!(plan.verdict, Verdict::Ready);
        assert!(bench.looks() > 1);
    }
}

/// Its next look would be four days later.
#[tokio::test]
async fn a_plan_that_has_no_patience_left_does_not_sleep_until_the_next_look() {
    let bench = Bench::new(LATE).await.with("every: 5s", "every: 100h").with("timeout: 30s", "timeout: 160h");
    let engine = bench.engine(LONG).await;
    bench.world.put("ill", 1);
    let plan = plan(&engine).await;
    assert!(matches!(plan.steps[0].outcome, PlannedOutcome::Waits { .. }), "{plan:#?}");
    // It looks once at least, and would sleep for hours.
}

#[tokio::test]
async fn a_comparison_waits_for_what_heals_by_itself_where_the_plan_looks_like_another_one() {
    let bench = Bench::new(&LATE.replace("steps.see.value > 0", "steps.see.value == 0")).await.calm();
    let engine = bench.engine(LONG).await;
    let seen = plan(&engine).await;
    assert_eq!(seen.verdict, Verdict::Ready);
    bench.world.put("ill", 1);
    let before = bench.looks();
    let run = engine.start(StartRequest { plan: Some(seen), ..request("key") }).await.unwrap().run_id;
    // The first comparison waits for nothing; the second one does.
    looked(&bench, before + 2).await;
    bench.world.put("ill", 0);
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert!(!bench.journal(run).await.iter().any(|r| matches!(r.entry, Entry::Drifted { .. })));
}

#[tokio::test]
async fn a_guard_that_the_run_goes_on_despite_ends_no_plan() {
    let text = r#"
steps:
  - id: note
    assert: 1 == 2
    message: It is late.
    on_failure: continue
  - id: set
    use: world.set
    with: { name: a, value: 5 }
"#;
    let bench = Bench::new(text).await;
    let engine = bench.engine(LONG).await;
    let seen = plan(&engine).await;
    assert_eq!(seen.steps[0].outcome, PlannedOutcome::Skipped { why: "It is late.".into() });
    assert_eq!((seen.verdict.clone(), seen.changes().count()), (Verdict::Ready, 1));
    let run = engine.start(StartRequest { plan: Some(seen), ..request("key") }).await.unwrap().run_id;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
}

const MANY: &str = r#"
inputs:
  clusters: { type: list, of: cluster, optional: true, description: Which clusters }
  fleets: { type: list, of: proxy_fleet, optional: true, description: Which fleets }
  note: { type: list, of: string, optional: true, description: Anything else }
steps:
  - id: set
    use: world.set
    with: { name: a, value: 5 }
"#;

#[tokio::test]
async fn what_a_list_names_is_reached_and_typed_like_what_stands_alone() {
    let account = json!({ "user": "u", "password": { "env": "X" } });
    let cluster = |id: &str, percent: f64| json!({ "id": id, "region": "r", "endpoint": id, "customers_percent": percent, "probe": account });
    let fleet = json!({ "id": "us", "region": "r", "group": "g", "clusters": ["c"], "admin": account });
    let clusters = [cluster("a", 10.0), cluster("b", 20.0), cluster("c", 40.0)];
    let bench =
        Bench::new(MANY).await.knowing(json!({ "clusters": clusters, "fleets": [fleet] })).risk("high");
    let engine = bench.engine(LONG).await;
    let plan = async |inputs: Value| engine.plan("test", inputs.as_object().unwrap()).await.unwrap();
    let seen = |plan: &Plan| (plan.title.clone(), plan.customers_percent);
    assert_eq!(seen(&plan(json!({ "clusters": "a, b" })).await), ("Test: a, b".into(), 30.0));
    let both = plan(json!({ "clusters": ["a", "c"], "fleets": ["us"], "note": ["x", "a"] })).await;
    assert_eq!(seen(&both), ("Test: a, c, us".into(), 50.0));
    assert_eq!(seen(&plan(json!({})).await), ("Test".into(), 0.0));
    let inputs = json!({ "clusters": "a, b" });
    let request = StartRequest { inputs: inputs.as_object().unwrap().clone(), ..request("key") };
    match engine.start(request.clone()).await {
        Err(StartError::NotConfirmed { target, .. }) => assert_eq!(target, "a, b"),
        other => panic!("{other:?}"),
    }
    assert!(engine.start(StartRequest { confirm: Some("a, b".into()), ..request }).await.unwrap().new);
}
