//! Steps that hold others, waits, and what past runs tell, on a real Postgres.

use std::time::Duration;

use domain::action::ErrorClass;
use domain::plan::{DeviationKind, compare};
use domain::run::{Ask, Entry, Outcome, Status};
use engine::StartError;
use serde_json::{Map, Value, json};

use crate::world::{Bench, Trouble, ask, output, request};

const CHILD: &str = r#"locks: ["number:${inputs.name}"]
inputs:
  name: { type: string, description: Which number }
steps:
  - id: quiet
    use: world.set
    with: { name: quiet, value: 1 }
    finally: undo
  - id: set
    use: world.set
    with: { name: "${inputs.name}", value: 7 }
    undo: automatic
verify:
  use: world.look
  with: { name: "${inputs.name}" }
  until: out.value == 7
  timeout: 1m
  message: it is not seven
"#;

const NESTED: &str = r#"
steps:
  - id: both
    together:
      left:
        - id: heal
          run: child
          with: { name: a }
      right:
        - id: items
          each: '["x", "y", "z"]'
          at_once: 100%
          stop_after: 2
          steps:
            - id: set
              use: world.set
              with: { name: "${item}", value: 1 }
        - id: pause
          wait: 10m
  - id: last
    use: world.set
    with: { name: last, value: "${steps.both.left.heal.set.value + (steps.both.right.pause == 600 ? 1 : 0)}" }
"#;

async fn nested() -> Bench {
    let mut bench = Bench::new(NESTED).await;
    bench.shelve("child", CHILD);
    bench
}

#[tokio::test]
async fn branches_items_children_and_waits_inside_each_other_change_everything_once() {
    let bench = nested().await;
    let (engine, run) = bench.start().await;
    // The lock of the child is the run's, from its start on.
    bench.until(run, "waiting", |s| s.node(&"both[right].pause".into()).is_some()).await;
    let locks: Vec<_> =
        store::pages::locks(bench.pool()).await.unwrap().into_iter().map(|l| l.target).collect();
    assert_eq!(locks, ["number:a", "thing"]);
    assert!(matches!(engine.start(request("another")).await, Err(StartError::Locked(_))));
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    let mut made = bench.world.made();
    made.sort();
    let once = [("a", 7), ("last", 8), ("quiet", 0), ("quiet", 1), ("x", 1), ("y", 1), ("z", 1)];
    assert_eq!(made, once.map(|(name, value)| (name.to_owned(), value)));
    let node = state.node(&"both[right].pause".into()).unwrap();
    assert!(node.ended_at.unwrap() - node.started_at >= chrono::TimeDelta::minutes(10));
    assert_eq!(output(&state, "both")["left"]["heal"]["set"], json!({ "value": 7 }));
}

#[tokio::test]
async fn a_run_that_is_taken_over_goes_on_with_the_childs_text_it_started_with() {
    let mut bench = Bench::new(
        "steps:\n  - id: pause\n    wait: 20m\n  - id: heal\n    run: child\n    with: { name: a }\n",
    )
    .await;
    bench.shelve("child", CHILD);
    let (engine, run) = bench.start().await;
    let waiting = bench.until(run, "waiting", |s| s.node(&"pause".into()).is_some()).await;
    engine.shut_down().await;
    // Another process, on which the file says something else by now.
    bench.shelve("child", &CHILD.replace("value: 7", "value: 9").replace("== 7", "== 9"));
    let _other = bench.engine(Duration::from_secs(10)).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.get("a"), 7);
    let until = waiting.node(&"pause".into()).unwrap().until;
    assert_eq!(state.node(&"pause".into()).unwrap().until, until, "the wait is not begun anew");
    let journal = bench.journal(run).await;
    assert!(journal.iter().any(|r| matches!(r.entry, Entry::TakenOver { .. })));
}

#[tokio::test]
async fn an_abort_in_a_branch_takes_back_the_childs_changes_too() {
    let bench = nested().await;
    let (engine, run) = bench.start().await;
    bench
        .until(run, "child over", |s| {
            s.node(&"both[left].heal".into()).is_some_and(|n| n.status == Status::Done)
                && s.node(&"both[right].pause".into()).is_some()
        })
        .await;
    ask(&engine, run, Ask::Abort { takeback: domain::run::Takeback::All, reason: "enough".into() }).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Undone);
    assert_eq!((bench.world.get("a"), bench.world.get("quiet"), bench.world.get("x")), (0, 0, 1));
}

#[tokio::test]
async fn a_failed_item_is_borne_and_the_second_stops_the_step() {
    let steps = r#"
steps:
  - id: all
    each: '["a", "b", "c", "d"]'
    stop_after: 2
    use: world.set
    with: { name: "${item}", value: 1 }
"#;
    let bench = Bench::new(steps).await;
    bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
    let (_engine, run) = bench.start().await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made().len(), 3);
    assert_eq!(output(&state, "all")[0], Value::Null);

    let bench = Bench::new(steps).await;
    bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
    bench.world.trouble(Trouble::Fails(ErrorClass::Refused));
    let (engine, run) = bench.start().await;
    let state = bench.until(run, "paused", |s| s.word() == "paused").await;
    assert_eq!(state.paused().unwrap().step, Some("all".into()));
    assert_eq!(bench.world.made(), []);
    ask(&engine, run, Ask::Retry { step: "all".into() }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made().len(), 4);
}

#[tokio::test]
async fn a_plan_tells_all_forms_changes_nothing_and_is_what_the_run_then_does() {
    let bench = nested().await;
    let engine = bench.engine(Duration::from_secs(10)).await;
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    let told: Vec<_> = plan
        .steps
        .iter()
        .map(|s| (s.path.to_string(), serde_json::to_value(&s.outcome).unwrap()["outcome"].clone()))
        .collect();
    let told: Vec<_> = told.iter().map(|(path, what)| (path.as_str(), what.as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            ("both[left].heal", "runs"),
            ("both[left].heal.quiet", "changes"),
            ("both[left].heal.set", "changes"),
            ("both[left].heal.verify", "waits"),
            ("both[right].items[x].set", "changes"),
            ("both[right].items[y].set", "changes"),
            ("both[right].items[z].set", "changes"),
            ("both[right].pause", "lets_pass"),
            ("last", "known_after"),
        ]
    );
    assert_eq!(bench.world.made(), []);
    assert_eq!(plan.locks.iter().map(|l| l.target.as_str()).collect::<Vec<_>>(), ["thing", "number:a"]);
    assert_eq!(plan.forecast.as_ref().map(|f| (f.total, f.expected_s)), Some((None, 600)), "no history yet");

    let started =
        engine.start(engine::StartRequest { plan: Some(plan.clone()), ..request("key") }).await.unwrap();
    let state = bench.ended(started.run_id).await;
    let told = compare(&plan, &state, engine.registry());
    assert_eq!(told.as_planned, 5);
    let kinds: Vec<_> = told.foreseen().map(|d| (d.kind, d.step.as_str(), d.why.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (DeviationKind::Beyond, "last", "the plan could only tell it after `both`"),
            (DeviationKind::TakenBack, "both[left].heal.quiet", "the runbook takes it back at its end"),
        ]
    );
    assert_eq!(told.unforeseen().count(), 0, "{told:#?}");
    let taken_back = domain::plan::made(&state, engine.registry());
    let taken_back: Vec<_> =
        taken_back.iter().filter(|made| made.taken_back.is_some()).map(|made| made.step.as_str()).collect();
    assert_eq!(taken_back, ["both[left].heal.quiet"]);

    // The next plan knows how long it took, step by step, and still is the same plan as far as its hash goes.
    let again = engine.plan("test", &Map::new()).await.unwrap();
    let forecast = again.forecast.clone().unwrap();
    assert!(forecast.total.unwrap().p50_s >= 600 && forecast.total.unwrap().of == 1);
    assert!(forecast.step(&"both[right].pause".into()).unwrap().p50_s >= 600);
    assert_eq!(forecast.step(&"both[right].items[q].set".into()).unwrap().of, 3);
    let mut unforeseen = again.clone();
    unforeseen.forecast = None;
    assert_eq!(unforeseen.digest(), again.hash);
}

/// What a plan says of a step.
fn told(plan: &domain::plan::Plan, step: &str) -> Value {
    let step = plan.steps.iter().find(|s| s.path.to_string() == step).unwrap();
    serde_json::to_value(&step.outcome).unwrap()
}

#[tokio::test]
async fn a_guard_over_what_every_item_looked_at_is_asked_by_the_plan() {
    let bench = Bench::new(
        r#"
steps:
  - id: all
    each: '["a", "b"]'
    at_once: 100%
    steps:
      - id: look
        use: world.look
        with: { name: "${item}" }
  - id: set
    title: Those that are set
    value: "${steps.all.filter(one, one.look.value != 0)}"
  - id: none
    assert: size(steps.set) == 0
    message: ${steps.set.map(one, one.key).join(", ")} is set
"#,
    )
    .await;
    bench.world.put("b", 5);
    let engine = bench.engine(Duration::from_secs(10)).await;
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    let guard = told(&plan, "none");
    assert_eq!((&guard["outcome"], &guard["message"]), (&json!("stops"), &json!("b is set")), "{guard}");
}

#[tokio::test]
async fn what_rests_on_a_look_after_a_change_says_nothing_yet() {
    let bench = Bench::new(
        r#"
steps:
  - id: set
    use: world.set
    with: { name: a, value: 7 }
  - id: after
    use: world.look
    with: { name: a }
  - id: seven
    value: "${steps.after.value == 7}"
  - id: is_seven
    assert: steps.seven
    message: it is not seven
"#,
    )
    .await;
    let engine = bench.engine(Duration::from_secs(10)).await;
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    assert_eq!(told(&plan, "is_seven")["outcome"], "known_after");
}

#[tokio::test]
async fn what_differs_from_the_plan_is_named() {
    let bench = Bench::new(
        r#"
steps:
  - id: one
    use: world.set
    with: { name: a, value: 1 }
  - id: two
    use: world.set
    with: { name: b, value: 1 }
  - id: three
    use: world.set
    with: { name: c, value: 1 }
    on_failure: continue
"#,
    )
    .await;
    let engine = bench.engine(Duration::from_secs(10)).await;
    let plan = engine.plan("test", &Map::new()).await.unwrap();
    bench.world.put("a", 5);
    bench.world.put("b", 1);
    // Started without it: a start with a plan that the world has left behind pauses before it does anything.
    let started = engine.start(request("key")).await.unwrap();
    bench.ended(started.run_id).await;
    let told = compare(&plan, &bench.state(started.run_id).await, engine.registry());
    assert_eq!((told.as_planned, told.unforeseen().count()), (1, 2));
    let [one, two] = told.differences.as_slice() else { panic!("{told:#?}") };
    assert_eq!((one.kind, &one.done), (DeviationKind::Otherwise, &Some((json!(5), json!(1)))));
    assert_eq!(
        (two.kind, two.why.as_str()),
        (DeviationKind::NotDone, "it was so already; nothing was called")
    );
}

#[tokio::test]
async fn what_a_person_says_did_not_happen_is_done_anew_with_their_reason() {
    let bench =
        Bench::new("steps:\n  - id: ring\n    use: world.ring\n    with: { name: a, value: 5 }\n").await;
    bench.world.trouble(Trouble::LosesCall);
    let (engine, run) = bench.start().await;
    bench.until(run, "unknown", |s| s.word() == "outcome_unknown" && s.paused().is_some()).await;
    ask(&engine, run, Ask::DidNotHappen { step: "ring".into(), reason: "nobody heard it".into() }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made().len(), 1);
    let journal = bench.journal(run).await;
    let said = journal.iter().find_map(|r| match &r.entry {
        Entry::Asked { by, ask, refused: None, .. } => Some((by.name().to_owned(), ask.reason()?.to_owned())),
        _ => None,
    });
    assert_eq!(said, Some(("ana".into(), "nobody heard it".into())));
}
