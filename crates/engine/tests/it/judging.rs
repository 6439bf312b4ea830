//! From a signal to one run, whatever dies in between.

use std::time::Duration;

use chrono::TimeDelta;
use domain::Actor;
use domain::signal::{Signal, SignalState};
use domain::triage::{Budget, Verdict};
use engine::{Engine, Topic, TriageSettings};
use serde_json::{Value, json};
use store::pages::{RunFilter, RunRow};
use store::signals::{Received, SignalFilter, SignalRow};
use store::triage::{Belongs, Given, NewVerdict, Offer};
use uuid::Uuid;

use crate::world::{Bench, request};

pub(crate) const ONE: &str = "steps:\n  - id: look\n    use: world.look\n    with: { name: a }\n  - id: low\n    title: It is low\n    assert: steps.look.value < 10\n    message: It is ${steps.look.value} already.\n  - id: set\n    use: world.set\n    with: { name: a, value: 1 }\n";
pub(crate) const AUTO: &str =
    "triggers: [{ name: bad, where: signal.kind == \"bad\", mode: auto, cooldown: 1s }]";
pub(crate) const RULE: &str = "test/bad";

fn lease() -> Duration {
    Duration::from_secs(10)
}

pub(crate) fn signal(source: &str, about: &str) -> Signal {
    Signal {
        source: source.into(),
        kind: "bad".into(),
        fingerprint: about.into(),
        state: SignalState::Firing,
        severity: None,
        summary: format!("{about} is bad."),
        labels: [("name".to_owned(), about.to_owned())].into(),
        started_at: None,
    }
}

/// Said while no process lives.
pub(crate) async fn said(bench: &Bench, signal: &Signal) -> Uuid {
    let received = Received { signal, delivery: None, body: None, at: bench.clock.now() };
    store::signals::receive(bench.pool(), received).await.unwrap().unwrap()
}

pub(crate) async fn runs(bench: &Bench) -> Vec<RunRow> {
    store::pages::runs(bench.pool(), &RunFilter::default(), 100).await.unwrap()
}

async fn all(bench: &Bench) -> Vec<SignalRow> {
    store::signals::list(bench.pool(), SignalFilter::default(), 100).await.unwrap()
}

/// Waits until the signals are as wanted.
pub(crate) async fn until(
    bench: &Bench,
    engine: &Engine,
    what: &str,
    wanted: impl Fn(&[SignalRow]) -> bool,
) -> Vec<SignalRow> {
    let mut rings = engine.listen();
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let signals = all(bench).await;
        if wanted(&signals) {
            return signals;
        }
        assert!(tokio::time::Instant::now() < patience, "never {what}: {signals:#?}");
        loop {
            let ring = tokio::time::timeout(Duration::from_millis(500), rings.recv()).await;
            if !matches!(ring, Ok(Ok(topic)) if !matches!(topic, Topic::Signals | Topic::Run(_))) {
                break;
            }
        }
    }
}

pub(crate) fn code(signals: &[SignalRow], wanted: &str) -> bool {
    signals.first().and_then(|s| s.code.as_deref()) == Some(wanted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_mode_auto_starts_one_run_as_itself_and_no_second_for_the_same_incident() {
    let bench = Bench::new(ONE).await.saying(AUTO);
    said(&bench, &signal("one", "disk")).await;
    // Three processes judge; the trouble is said again and again, also by another source.
    let engines = [bench.engine(lease()).await, bench.engine(lease()).await, bench.engine(lease()).await];
    for (n, engine) in engines.iter().enumerate() {
        engine.receive(&signal("one", "disk"), None, None).await.unwrap();
        engine.receive(&signal(&format!("other {n}"), "disk"), None, None).await.unwrap();
    }
    let done = |signals: &[SignalRow]| {
        signals.len() == 4 && signals.iter().all(|s| matches!(s.code.as_deref(), Some("acted")))
    };
    let signals = until(&bench, &engines[0], "done once, and told so of every signal", done).await;
    let found = runs(&bench).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].requested_by.as_str(), found[0].state.as_str()), ("trigger test/bad", "succeeded"));
    assert_eq!(bench.world.made(), [("a".to_owned(), 1)]);
    let incidents: std::collections::BTreeSet<_> = signals.iter().filter_map(|s| s.incident).collect();
    assert_eq!(incidents.len(), 1);
    let cause = store::triage::cause(bench.pool(), found[0].id).await.unwrap().unwrap();
    assert_eq!(
        (cause.rule.as_str(), cause.verdict.as_str(), cause.summary.as_str()),
        (RULE, "started", "disk is bad.")
    );
    for engine in engines {
        engine.shut_down().await;
    }
}

/// A verdict that a process stored before it died, without having started its run.
async fn decided_by_the_dead(bench: &Bench) -> String {
    let engine = bench.engine(lease()).await;
    let plan = engine.plan("test", &serde_json::Map::new()).await.unwrap();
    engine.shut_down().await;
    let id = said(bench, &signal("one", "disk")).await;
    let sql =
        "INSERT INTO worker (name, lease_until) VALUES ('dead', now() - interval '1 hour') RETURNING id";
    let worker: i64 = sqlx::query_scalar(sql).fetch_one(bench.db.pool()).await.unwrap();
    let later = bench.clock.now() + TimeDelta::days(1);
    let due = store::triage::claim(bench.pool(), worker, &[], later, 10).await.unwrap();
    let due = due.into_iter().find(|due| due.id == id).unwrap();
    let (incident, at) = (Uuid::now_v7(), bench.clock.now());
    let start_key = format!("signal:{incident}:test:thing");
    let verdict = NewVerdict {
        incident: Some(Belongs::Opening {
            id: incident,
            title: "Test".into(),
            targets: vec!["thing".into()],
        }),
        notices: serde_json::json!([]),
        modes_seen: 0,
        due: &due,
        at,
        verdict: Verdict::Started,
        code: "started",
        because: "It fits.",
        rule: Some(RULE.into()),
        considered: json!([]),
        offer: Some(Offer {
            runbook: "test".into(),
            inputs: json!({}),
            start_key: start_key.clone(),
            plan: serde_json::to_value(plan).unwrap(),
        }),
        run_id: None,
        seen: 0,
        look_at: Some(at),
    };
    assert_eq!(store::triage::give(bench.pool(), &verdict).await.unwrap(), Given::Stored);
    start_key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_storing_and_deciding_or_deciding_and_starting_there_is_one_run() {
    let bench = Bench::new(ONE).await.saying(AUTO);
    let key = decided_by_the_dead(&bench).await;
    assert!(runs(&bench).await.is_empty());
    let engines = [bench.engine(lease()).await, bench.engine(lease()).await];
    until(&bench, &engines[0], "done", |signals| code(signals, "acted")).await;
    let found = runs(&bench).await;
    assert_eq!(found.len(), 1);
    assert_eq!(store::triage::run_of(bench.pool(), &key).await.unwrap().unwrap().0.id, found[0].id);
    assert_eq!(bench.world.made().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_a_guard_refused_has_done_nothing_and_the_rule_may_start_another_within_its_budget() {
    let bench = Bench::new(ONE).await.saying(AUTO);
    let key = decided_by_the_dead(&bench).await;
    // What it decided is carried out by hand here, on a world that has changed meanwhile.
    bench.world.put("a", 12);
    let engine = bench.engine(lease()).await;
    let refused = engine.start(request(&key)).await.unwrap().run_id;
    bench.ended(refused).await;
    bench.world.put("a", 3);
    until(&bench, &engine, "done", |signals| code(signals, "acted")).await;
    let mut outcomes: Vec<_> = runs(&bench).await.into_iter().filter_map(|run| run.outcome).collect();
    outcomes.sort();
    assert_eq!(outcomes, ["refused", "succeeded"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_while_it_judges_leaves_the_signal_to_the_others() {
    let bench = Bench::new(ONE).await.saying(AUTO);
    let id = said(&bench, &signal("one", "disk")).await;
    let sql =
        "INSERT INTO worker (name, lease_until) VALUES ('dies', now() + interval '1 second') RETURNING id";
    let worker: i64 = sqlx::query_scalar(sql).fetch_one(bench.db.pool()).await.unwrap();
    let later = bench.clock.now() + TimeDelta::days(1);
    let claimed = store::triage::claim(bench.pool(), worker, &[], later, 10).await.unwrap();
    assert_eq!(claimed.iter().map(|due| due.id).collect::<Vec<_>>(), [id]);
    // While it lives, nobody else is given it.
    assert!(store::triage::claim(bench.pool(), worker + 1, &[], later, 10).await.unwrap().is_empty());
    let engine = bench.engine(lease()).await;
    until(&bench, &engine, "done", |signals| code(signals, "acted")).await;
    assert_eq!(runs(&bench).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brakes_hold_a_rule_and_what_they_held_starts_when_they_are_released() {
    let bench = Bench::new(ONE).await.saying(AUTO).with("[\"thing\"]", "[\"thing:one\"]");
    let engine = bench.engine(lease()).await;
    let (brakes, ana) = (engine.brakes(), Actor::person("ana"));
    brakes.stop(None, &ana, "a wrong view").await.unwrap();
    engine.receive(&signal("one", "disk"), None, None).await.unwrap();
    let held = until(&bench, &engine, "held", |signals| code(signals, "kill_switch")).await;
    assert!(held[0].because.as_deref().unwrap().contains("a wrong view"), "{held:#?}");
    brakes.allow(None, &ana, "understood").await.unwrap();
    brakes.take("thing:one", &ana, "I am on it", None).await.unwrap();
    until(&bench, &engine, "held by hand", |signals| code(signals, "taken_by_hand")).await;
    assert!(runs(&bench).await.is_empty());
    brakes.give_back("thing:one", &ana, None).await.unwrap();
    until(&bench, &engine, "done", |signals| code(signals, "acted")).await;
    assert_eq!(runs(&bench).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_says_no_is_the_evidence_and_when_it_changes_its_mind_so_does_the_verdict() {
    let bench = Bench::new(ONE).await.saying(AUTO);
    bench.world.put("a", 12);
    let engine = bench.engine(lease()).await;
    let id = engine.receive(&signal("one", "disk"), None, None).await.unwrap().unwrap();
    let refuted = until(&bench, &engine, "refuted", |signals| code(signals, "refuted")).await;
    assert!(
        refuted[0].because.as_deref().unwrap().contains("by its guard `low`: It is 12 already."),
        "{refuted:#?}"
    );
    assert!(runs(&bench).await.is_empty() && bench.world.made().is_empty(), "evidence changes nothing");
    bench.world.put("a", 3);
    until(&bench, &engine, "done", |signals| code(signals, "acted")).await;
    let words: Vec<_> =
        store::triage::verdicts(bench.pool(), id).await.unwrap().into_iter().rev().map(|v| v.code).collect();
    assert_eq!(words.first().map(String::as_str), Some("refuted"));
    assert!(words.contains(&"started".to_owned()), "{words:?}");
}

/// It was looked at, and what was seen forbids it, which is neither blindness nor a guard that says that something else is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_what_is_there_forbids_is_told_in_its_own_words_as_one_that_would_help_and_may_not() {
    for (change, words) in [
        ("world.set\n    with: { name: a, value: 101 }", "its step `set` may not be done: at most 100"),
        ("world.add\n    with: { name: a, value: 9 }", "its step `set` may not be done: at most ten"),
    ] {
        let bench =
            Bench::new(ONE).await.saying(AUTO).with("world.set\n    with: { name: a, value: 1 }", change);
        bench.world.put("a", 3);
        let engine = bench.engine(lease()).await;
        engine.receive(&signal("one", "disk"), None, None).await.unwrap();
        let barred = until(&bench, &engine, "barred", |signals| code(signals, "barred")).await;
        assert!(barred[0].because.as_deref().unwrap().contains(words), "{barred:#?}");
        assert!(barred[0].incident.is_some(), "somebody must look");
        engine.shut_down().await;
    }
}

#[tokio::test]
async fn an_incident_is_not_over_while_a_run_on_its_targets_waits_half_way() {
    let waits = "steps:\n  - { id: low, assert: false, message: No., on_failure: pause }\n";
    let bench = Bench::new(waits).await;
    let quiet = async || store::triage::quiet_incidents(bench.pool(), bench.clock.now()).await.unwrap().len();
    let (engine, run) = bench.start().await;
    bench.until(run, "waiting", |s| s.paused().is_some()).await;
    engine.shut_down().await;
    // Nobody lives who might close it.
    sqlx::query("INSERT INTO incident (id, title, targets, opened_at) VALUES ($1, 'T', '{thing}', $2)")
        .bind(Uuid::now_v7())
        .bind(bench.clock.now() - TimeDelta::hours(2))
        .execute(bench.pool())
        .await
        .unwrap();
    assert_eq!(quiet().await, 0);
    sqlx::query("DELETE FROM lock WHERE run_id = $1").bind(run).execute(bench.pool()).await.unwrap();
    assert_eq!(quiet().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_run_of_a_person_a_rule_joins_and_then_rests() {
    let wait = ONE.replace(
        "  - id: set",
        "  - id: wait\n    use: world.look\n    with: { name: go }\n    until: out.value == 1\n    every: 1s\n    timeout: 100h\n  - id: set",
    );
    let bench = Bench::new(&wait).await.saying(&AUTO.replace("1s", "100h"));
    let engine = bench.engine(lease()).await;
    let run = engine.start(request("by hand")).await.unwrap().run_id;
    engine.receive(&signal("one", "disk"), None, None).await.unwrap();
    let joined = until(&bench, &engine, "joined", |signals| code(signals, "joined")).await;
    assert_eq!(joined[0].run_id, Some(run));
    bench.world.put("go", 1);
    bench.ended(run).await;
    until(&bench, &engine, "resting", |signals| code(signals, "cooldown")).await;
    assert_eq!(runs(&bench).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_judge_at_the_same_time_never_overdraw_the_budget() {
    let inputs = "inputs: { name: { type: string, description: Which } }";
    let rule = AUTO.replace("mode:", "inputs: { name: \"${signal.labels.name}\" }, mode:");
    let budget = Budget { per_rule: 3, per_target: 1, in_all: 100, storm: 100 };
    let bench = Bench::new(ONE)
        .await
        .saying(&rule)
        .saying(inputs)
        .with("[\"thing\"]", "[\"thing:${inputs.name}\"]")
        .with("{ name: a, value: 1 }", "{ name: \"${inputs.name}\", value: 1 }")
        .calm()
        .judging(TriageSettings { budget, warm_up: Duration::ZERO, ..TriageSettings::default() });
    for n in 0..10 {
        said(&bench, &signal("one", &format!("disk{n}"))).await;
    }
    let engines = [bench.engine(lease()).await, bench.engine(lease()).await, bench.engine(lease()).await];
    let settled = |signals: &[SignalRow]| {
        signals.iter().all(|s| matches!(s.code.as_deref(), Some("budget" | "started" | "acted")))
            && signals.iter().filter(|s| s.run_id.is_some()).count() == 3
    };
    until(&bench, &engines[0], "settled", settled).await;
    assert_eq!(runs(&bench).await.len(), 3);
    let asked = all(&bench).await.into_iter().filter(|s| s.verdict.as_deref() == Some("asked")).count();
    assert_eq!(asked, 7, "what is beyond the budget asks people");
    let considered: Vec<Value> = {
        let one = all(&bench).await.into_iter().find(|s| s.code.as_deref() == Some("budget")).unwrap();
        store::triage::verdicts(bench.pool(), one.id)
            .await
            .unwrap()
            .into_iter()
            .map(|v| v.considered)
            .collect()
    };
    assert_eq!(considered[0][0]["standing"], "fits");
}
