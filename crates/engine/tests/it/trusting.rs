//! What people say about triggers, verdicts and incidents, and what follows.

use std::time::Duration;

use domain::incident::{Ask, Severity};
use domain::runbook::Mode;
use domain::{Actor, Role};
use engine::{IncidentError, TriageSettings, TrustError};
use serde_json::json;
use store::search::Search;
use store::signals::SignalRow;

use crate::judging::{AUTO, ONE, RULE, code, runs, said, signal, until};
use crate::world::Bench;

fn lease() -> Duration {
    Duration::from_secs(10)
}

fn approver() -> Actor {
    Actor::with_role("grace", Role::Approver)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_mode_shadow_nothing_is_touched_and_what_was_not_done_is_on_the_scoreboard() {
    let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", "shadow"));
    let engine = bench.engine(lease()).await;
    engine.receive(&signal("one", "disk"), None, None).await.unwrap();
    until(&bench, &engine, "suggested", |s| code(s, "shadow")).await;
    assert!(runs(&bench).await.is_empty() && bench.world.made().is_empty());
    let (triggers, _) = engine.triggers().await.unwrap();
    assert_eq!((triggers[0].score.occasions, triggers[0].score.open), (1, 1));
    // A person does the same by hand: the trigger would have been earlier.
    engine.start(crate::world::request("by hand")).await.unwrap();
    let (triggers, _) = engine.triggers().await.unwrap();
    assert_eq!((triggers[0].score.same, triggers[0].score.open), (1, 0));
    assert!(triggers[0].score.median_lead_s.unwrap() >= 0);
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_that_is_set_holds_at_once_and_to_let_it_act_takes_an_approver_and_a_reason() {
    let bench = Bench::new(ONE)
        .await
        .saying(&AUTO.replace("auto", "ask"))
        .judging(TriageSettings { warm_up: Duration::ZERO, ..TriageSettings::default() });
    let engine = bench.engine(lease()).await;
    let responder = Actor::person("ana");
    let set = async |mode, by: &Actor, why: &str| engine.set_mode(RULE, mode, by, why).await;
    assert!(matches!(
        set(Some(Mode::Auto), &responder, "it is right").await,
        Err(TrustError::NotAllowed { .. })
    ));
    assert!(matches!(set(Some(Mode::Auto), &approver(), " ").await, Err(TrustError::NoReason)));
    assert!(matches!(
        engine.set_mode("test/other", None, &approver(), "x").await,
        Err(TrustError::NoSuchRule(_))
    ));
    set(Some(Mode::Shadow), &responder, "let us look first").await.unwrap();
    engine.receive(&signal("one", "disk"), None, None).await.unwrap();
    until(&bench, &engine, "suggested", |s| code(s, "shadow")).await;
    set(Some(Mode::Auto), &approver(), "it was right all week").await.unwrap();
    engine.judge_anew(last(&bench, &engine).await.id, &responder, "the mode has changed").await.unwrap();
    until(&bench, &engine, "done", |s| code(s, "started") || code(s, "acted")).await;
    assert_eq!(runs(&bench).await.len(), 1);
    // Back to what the file says.
    set(None, &responder, "enough for today").await.unwrap();
    let (triggers, _) = engine.triggers().await.unwrap();
    assert_eq!(triggers[0].mode, Mode::Ask);
    let search = Search { action: Some("trigger mode set".into()), ..Search::default() };
    let told = store::search::search(bench.pool(), &search, 10).await.unwrap();
    assert_eq!(told.len(), 3);
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ends_badly_moves_a_trigger_no_way_up_from_where_a_person_has_put_it() {
    let waits = ONE.replace(
        "  - id: set",
        "  - id: wait\n    use: world.look\n    with: { name: go }\n    until: out.value == 1\n    every: 1s\n    timeout: 100h\n  - id: set",
    );
    let bench = Bench::new(&waits)
        .await
        .saying(AUTO)
        .judging(TriageSettings { warm_up: Duration::ZERO, ..TriageSettings::default() });
    let engine = bench.engine(lease()).await;
    engine.receive(&signal("one", "disk"), None, None).await.unwrap();
    until(&bench, &engine, "joined", |s| s.first().is_some_and(|s| s.run_id.is_some())).await;
    let run = runs(&bench).await[0].id;
    engine.set_mode(RULE, Some(Mode::Shadow), &Actor::person("ana"), "it does harm").await.unwrap();
    let aborts = domain::run::Ask::Abort { takeback: domain::run::Takeback::Finally, reason: "harm".into() };
    crate::world::ask(&engine, run, aborts).await;
    bench.ended(run).await;
    let mode = async || {
        let (triggers, _) = engine.triggers().await.unwrap();
        (triggers[0].mode, triggers[0].set.as_ref().unwrap().by.clone())
    };
    assert_eq!(mode().await, (Mode::Shadow, "ana".to_owned()), "it was moved nowhere");
    // Nor where the failure was written down by somebody who had not seen yet what the person said.
    let late = "INSERT INTO trigger_mode (rule, mode, by, reason, at, run_id) VALUES ($1, 'ask', 'triage', 'x', now(), $2)";
    sqlx::query(late).bind(RULE).bind(run).execute(bench.pool()).await.unwrap();
    assert_eq!(mode().await, (Mode::Shadow, "triage".to_owned()));
    engine.shut_down().await;
}

async fn last(bench: &Bench, engine: &engine::Engine) -> SignalRow {
    until(bench, engine, "a signal", |s| !s.is_empty()).await.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_dismisses_a_signal_until_it_changes_or_is_judged_anew() {
    let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", "ask"));
    let id = said(&bench, &signal("one", "disk")).await;
    let engine = bench.engine(lease()).await;
    until(&bench, &engine, "asked", |s| code(s, "ask")).await;
    let ana = Actor::person("ana");
    engine.dismiss(id, &ana, "a test of the disk").await.unwrap();
    let signals = until(&bench, &engine, "dismissed", |s| code(s, "dismissed")).await;
    assert_eq!(signals[0].because.as_deref(), Some("ana says: a test of the disk"));
    assert!(matches!(
        engine.take_offer(id, &ana, None, None, Default::default()).await,
        Err(engine::OfferError::NotThere)
    ));
    // The same said again is not judged again; another label is.
    engine.receive(&signal("one", "disk"), None, None).await.unwrap();
    let mut changed = signal("one", "disk");
    changed.labels.insert("also".into(), "network".into());
    engine.receive(&changed, None, None).await.unwrap();
    until(&bench, &engine, "asked again", |s| code(s, "ask")).await;
    engine.dismiss(id, &ana, "still the test").await.unwrap();
    engine.judge_anew(id, &ana, "it was no test").await.unwrap();
    until(&bench, &engine, "asked once more", |s| code(s, "ask")).await;
    engine.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_has_one_driver_and_whoever_looked_too_early_looks_again() {
    let bench = Bench::new(ONE).await.saying(&AUTO.replace("auto", "ask")).calm();
    let id = said(&bench, &signal("one", "disk")).await;
    let engine = bench.engine(lease()).await;
    let signals = until(&bench, &engine, "asked", |s| code(s, "ask")).await;
    let incident = engine.incident(signals[0].incident.unwrap()).await.unwrap();
    assert_eq!((incident.number, incident.opened_by.as_str()), (1, "triage"));
    let (ana, bo) = (Actor::person("ana"), Actor::person("bo"));
    engine.in_incident(&incident, &Ask::Take, &ana).await.unwrap();
    // Bo saw nobody at the wheel.
    assert!(matches!(engine.in_incident(&incident, &Ask::Take, &bo).await, Err(IncidentError::Changed)));
    let incident = engine.incident(incident.id).await.unwrap();
    assert_eq!(incident.driver.as_deref(), Some("ana"));
    let hand_over = Ask::HandOver { to: "bo".into(), note: Some("the disk is replaced".into()) };
    engine.in_incident(&incident, &hand_over, &ana).await.unwrap();
    engine.in_incident(&incident, &Ask::Severity { severity: Severity::Sev2 }, &bo).await.unwrap();
    engine.in_incident(&incident, &Ask::Note { text: "It was the cable.".into() }, &bo).await.unwrap();
    let incident = engine.incident(incident.id).await.unwrap();
    assert_eq!((incident.driver.as_deref(), incident.severity), (Some("bo"), Some(Severity::Sev2)));
    let close = Ask::Close { reason: "repaired".into() };
    assert!(matches!(engine.in_incident(&incident, &close, &bo).await, Err(IncidentError::Refused(_))));
    engine.dismiss(id, &bo, "the alert lags").await.unwrap();
    engine.in_incident(&incident, &close, &bo).await.unwrap();
    let said = store::incidents::said(bench.pool(), incident.id).await.unwrap();
    let told: Vec<_> = said.iter().map(|s| (s.action.as_str(), s.by.as_str())).collect();
    assert_eq!(
        told,
        [
            ("incident driver", "ana"),
            ("incident driver", "ana"),
            ("incident severity", "bo"),
            ("incident note", "bo"),
            ("signal dismissed", "bo"),
            ("incident closed", "bo"),
        ]
    );
    assert_eq!(said[1].details, json!({ "from": "ana", "to": "bo", "note": "the disk is replaced" }));
    engine.shut_down().await;
}
