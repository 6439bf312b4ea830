//! What happens between "somebody asks" and the first step, with two processes on one Postgres.

use std::time::Duration;

use domain::plan::Plan;
use domain::run::{Ask, Entry, Gate, Outcome, Status, Takeback};
use domain::{Actor, Role};
use engine::{AskError, Engine, ReviewError, StartError, StartRequest};
use uuid::Uuid;

use crate::telling::{Room, until};
use crate::world::{Bench, ask, request};

const SET: &str = "steps:\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n";

const WAIT: &str = r#"
steps:
  - id: set
    use: world.set
    with: { name: a, value: 5 }
  - id: wait
    use: world.look
    with: { name: go }
    until: out.value == 1
    every: 5s
    timeout: 100h
"#;

/// Clock time flies here, and a busy machine takes its time.
const AMPLE: &str = "approval: { within: 150h }";

fn bob() -> Actor {
    Actor::with_role("bob", Role::Approver)
}

fn cy() -> Actor {
    Actor::with_role("cy", Role::Approver)
}

fn admin(name: &str) -> Actor {
    Actor::with_role(name, Role::Admin)
}

async fn plan(engine: &Engine) -> Plan {
    engine.plan("test", &serde_json::Map::new()).await.unwrap()
}

/// A start as a page makes it: with the plan that was looked at.
async fn planned(engine: &Engine, key: &str) -> StartRequest {
    StartRequest { plan: Some(plan(engine).await), ..request(key) }
}

async fn started(engine: &Engine, request: StartRequest) -> Uuid {
    engine.start(request).await.unwrap().run_id
}

async fn asks(engine: &Engine, run: Uuid, by: &Actor, ask: Ask) -> Result<(), AskError> {
    engine.ask(run, Uuid::now_v7(), by, &ask).await.map(drop)
}

fn approve(plan_hash: &str) -> Ask {
    Ask::Approve { step: None, plan_hash: Some(plan_hash.to_owned()) }
}

fn says(error: AskError) -> String {
    error.to_string()
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_severe_runbook_is_started_by_nobody_alone_and_runs_once_another_person_agrees_elsewhere() {
    let bench = Bench::new(SET).await.severe().saying(AMPLE);
    let (here, there) = (bench.engine(LONG).await, bench.engine(LONG).await);
    assert!(matches!(here.start(request("no plan")).await, Err(StartError::NoPlan(_))));
    let viewer = StartRequest { by: Actor::with_role("eve", Role::Viewer), ..planned(&here, "viewer").await };
    assert!(matches!(here.start(viewer).await, Err(StartError::NotAllowed(Role::Viewer))));
    let mut forged = planned(&here, "forged").await;
    forged.plan.as_mut().unwrap().hash = "0".repeat(64);
    assert!(matches!(here.start(forged).await, Err(StartError::OtherPlan(_))));

    let request = StartRequest { by: admin("ana"), ..planned(&here, "key").await };
    let hash = request.plan.as_ref().unwrap().hash.clone();
    let again = request.clone();
    let run = started(&here, request).await;
    assert_eq!(here.start(again).await.unwrap().run_id, run, "a double click lands on the same run");
    let state = bench.state(run).await;
    assert_eq!((state.word(), state.gate()), ("waiting_for_approval", Some(&Gate::Approval)));
    assert_eq!(store::pages::locks(bench.pool()).await.unwrap(), [], "it is in nobody's way");
    // For as long as it waits: the clock went on between its request and its gate.
    bench.is_whole(run).await;

    let own = asks(&there, run, &admin("ana"), approve(&hash)).await.unwrap_err();
    assert_eq!(says(own), "you asked for it, so somebody else must agree");
    let responder = asks(&there, run, &Actor::person("dee"), approve(&hash)).await.unwrap_err();
    assert!(matches!(responder, AskError::NotAllowed(_)), "{responder}");
    let other = asks(&there, run, &bob(), approve("another")).await.unwrap_err();
    assert!(says(other).contains("another plan"));
    asks(&there, run, &bob(), approve(&hash)).await.unwrap();
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
    let late = says(asks(&here, run, &cy(), approve(&hash)).await.unwrap_err());
    assert!(late.starts_with("it is decided: approved by bob at "), "{late}");
}

#[tokio::test]
async fn severe_risk_needs_approval_also_where_the_file_does_not_say_so() {
    let bench = Bench::new(SET).await.severe();
    let engine = bench.engine(LONG).await;
    assert!(matches!(engine.start(request("no plan")).await, Err(StartError::NoPlan(_))));
    let run = started(&engine, planned(&engine, "key").await).await;
    assert!(matches!(bench.journal(run).await[1].entry, Entry::Gated { approval: Some(_) }));
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Expired);
    assert_eq!(bench.world.made(), []);
}

#[tokio::test]
async fn two_of_them_are_two_persons() {
    let bench = Bench::new(SET).await.saying("approval: { count: 2, within: 150h }");
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    let hash = request.plan.as_ref().unwrap().hash.clone();
    let run = started(&engine, request).await;
    asks(&engine, run, &bob(), approve(&hash)).await.unwrap();
    bench.until(run, "one voice", |s| s.ballot(None).unwrap().voices.len() == 1).await;
    let twice = says(asks(&engine, run, &bob(), approve(&hash)).await.unwrap_err());
    assert_eq!(twice, "you have agreed already; somebody else must, too");
    assert_eq!(bench.state(run).await.word(), "waiting_for_approval");
    asks(&engine, run, &cy(), approve(&hash)).await.unwrap();
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
}

#[tokio::test]
async fn a_rejection_ends_it_and_nobody_in_time_does_too() {
    let bench = Bench::new(SET).await.saying(AMPLE);
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    let run = started(&engine, request).await;
    let empty = Ask::Reject { step: None, reason: " ".into() };
    assert!(asks(&engine, run, &bob(), empty).await.is_err());
    asks(&engine, run, &bob(), Ask::Reject { step: None, reason: "not today".into() }).await.unwrap();
    let state = bench.ended(run).await;
    let (outcome, message) = state.outcome().unwrap();
    assert_eq!(outcome, Outcome::Refused);
    assert!(message.contains("bob") && message.contains("not today"), "{message}");

    // Four seconds of clock time are four milliseconds of the wall.
    let bench = Bench::new(SET).await.saying("approval: { within: 4s }");
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    let hash = request.plan.as_ref().unwrap().hash.clone();
    let run = started(&engine, request).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Expired);
    let late = says(asks(&engine, run, &bob(), approve(&hash)).await.unwrap_err());
    assert!(late.starts_with("it is decided: it expired at "), "{late}");
    assert_eq!(bench.world.made(), []);
}

#[tokio::test]
async fn nothing_that_others_must_agree_to_is_asked_for_without_a_reason() {
    let bench = Bench::new(SET).await.severe().saying(AMPLE);
    let engine = bench.engine(LONG).await;
    for reason in [None, Some(" ".to_owned())] {
        let silent = StartRequest { reason, ..planned(&engine, "key").await };
        assert!(
            matches!(engine.start(silent).await, Err(StartError::NoReason(runbook)) if runbook == "test")
        );
    }
}

#[tokio::test]
async fn glass_that_could_not_be_broken_is_not_told_as_broken_and_what_is_sent_twice_is_told_once() {
    let bench = Bench::new(&AGREE.replace("OTHERWISE", "pause")).await.with("\"thing\"", "\"cluster:a\"");
    let engine = bench.engine(LONG).await;
    let run = started(&engine, StartRequest { by: admin("ana"), ..request("key") }).await;
    bench.until(run, "asks", |s| s.word() == "waiting_for_approval").await;
    let told = async || {
        let audit = store::search::search(bench.pool(), &store::search::Search::default(), 50).await.unwrap();
        audit.iter().filter(|entry| entry.action == "glass broken").count()
    };
    ask(&engine, run, Ask::Pause { reason: None }).await;
    bench.until(run, "paused", |s| s.word() == "paused").await;
    engine.brakes().force("cluster:a", run, &admin("eve"), "it hangs").await.unwrap();
    engine.brakes().take("cluster:a", &admin("eve"), "by hand", None).await.unwrap();
    let (id, reason) = (Uuid::now_v7(), "nobody is awake".to_owned());
    let glass = Ask::BreakGlass { step: Some("agree".into()), reason, plan_hash: None };
    let refused = engine.ask(run, id, &admin("ana"), &glass).await;
    assert!(matches!(refused, Err(AskError::LockLost(held)) if held.holder == "eve"));
    assert_eq!(told().await, 0);

    engine.brakes().give_back("cluster:a", &admin("eve"), None).await.unwrap();
    ask(&engine, run, Ask::Resume).await;
    bench.until(run, "asks again", |s| s.word() == "waiting_for_approval").await;
    engine.ask(run, id, &admin("ana"), &glass).await.unwrap();
    // A terminal that was not answered says it again; the run may have moved on by then.
    let _ = engine.ask(run, id, &admin("ana"), &glass).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(told().await, 1);
}

#[tokio::test]
async fn whoever_breaks_the_glass_goes_on_alone_and_somebody_else_closes_the_review() {
    let bench = Bench::new(SET).await.severe().saying(AMPLE).telling("ops", Room::in_mood(&[], true));
    let engine = bench.engine(LONG).await;
    let run = started(&engine, StartRequest { by: admin("ana"), ..planned(&engine, "key").await }).await;
    let glass = |reason: &str| Ask::BreakGlass { step: None, reason: reason.to_owned(), plan_hash: None };
    assert!(matches!(asks(&engine, run, &bob(), glass("me")).await, Err(AskError::NotAllowed(_))));
    assert!(asks(&engine, run, &admin("ana"), glass(" ")).await.is_err(), "a reason is typed");
    assert_eq!(store::reviews::open(bench.pool()).await.unwrap(), []);
    asks(&engine, run, &admin("ana"), glass("nobody is awake")).await.unwrap();
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);

    let told = until(&bench, "told", |told| told.iter().any(|m| m.message["kind"] == "glass_broken")).await;
    let glass = told.iter().find(|m| m.message["kind"] == "glass_broken").unwrap();
    let text = "ana broke the glass: nobody is awake. Somebody else must look at it.";
    assert_eq!(
        (glass.message["text"].as_str(), glass.message["urgency"].as_str()),
        (Some(text), Some("bad"))
    );

    let reviews = store::reviews::open(bench.pool()).await.unwrap();
    let [review] = reviews.as_slice() else { panic!("{reviews:?}") };
    assert_eq!((review.run_id, review.opened_by.as_str()), (run, "ana"));
    assert_eq!(review.reason, "nobody is awake");
    let audit = store::search::search(bench.pool(), &store::search::Search::default(), 10).await.unwrap();
    assert!(audit.iter().any(|e| e.action == "glass broken" && e.actor == "ana"));

    let id = review.id;
    assert!(matches!(engine.close_review(id, &admin("ana"), "fine").await, Err(ReviewError::Own)));
    let dee = Actor::person("dee");
    assert!(matches!(engine.close_review(id, &dee, "fine").await, Err(ReviewError::NotAllowed(_))));
    assert!(matches!(engine.close_review(id, &bob(), " ").await, Err(ReviewError::NoNote)));
    engine.close_review(id, &bob(), "it was right").await.unwrap();
    assert!(
        matches!(engine.close_review(id, &cy(), "too").await, Err(ReviewError::Closed(by)) if by == "bob")
    );
    assert_eq!(store::reviews::open(bench.pool()).await.unwrap(), []);
    assert_eq!(
        store::reviews::of_run(bench.pool(), run).await.unwrap()[0].note.as_deref(),
        Some("it was right")
    );
    let report = store::proof::verify(&bench.db.url(), store::proof::Options::default()).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
}

/// A run that holds the lock until `go` is 1.
async fn holding(bench: &Bench, engine: &Engine) -> Uuid {
    let run = started(engine, request("holder")).await;
    bench.until(run, "waiting", |s| s.node(&"wait".into()).is_some()).await;
    run
}

fn waiting(key: &str) -> StartRequest {
    StartRequest { wait: true, ..request(key) }
}

async fn queued(bench: &Bench, run: Uuid) {
    bench.until(run, "in line", |s| matches!(s.gate(), Some(Gate::Locks { until: Some(_) }))).await;
}

#[tokio::test]
async fn who_comes_first_is_served_first_also_by_those_who_do_not_wait() {
    let bench = Bench::new(WAIT).await.calm();
    let (here, there) = (bench.engine(LONG).await, bench.engine(LONG).await);
    let holder = holding(&bench, &here).await;
    let first = started(&there, waiting("first")).await;
    queued(&bench, first).await;
    let second = started(&here, waiting("second")).await;
    queued(&bench, second).await;
    assert_eq!(bench.state(second).await.word(), "queued");
    let ahead = store::gate::ahead(bench.pool(), second).await.unwrap();
    let told: Vec<_> = ahead.iter().map(|a| (a.run_id, a.holds)).collect();
    assert_eq!(told, [(holder, true), (first, false)]);
    assert!(
        matches!(here.start(request("impatient")).await, Err(StartError::Locked(h)) if h.run_id == holder)
    );
    // One that is aborted in the line is out of it.
    let third = started(&here, waiting("third")).await;
    queued(&bench, third).await;
    let enough = Ask::Abort { takeback: Takeback::Finally, reason: "not needed".into() };
    ask(&there, third, enough).await;
    assert_eq!(bench.ended(third).await.outcome().unwrap().0, Outcome::Aborted);

    bench.world.put("go", 1);
    for run in [holder, first, second] {
        assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    }
    let admitted = |journal: Vec<domain::run::Record>| {
        journal.iter().find(|r| matches!(r.entry, Entry::Admitted { .. })).unwrap().at
    };
    assert!(admitted(bench.journal(first).await) < admitted(bench.journal(second).await));
}

#[tokio::test]
async fn nobody_takes_a_free_lock_past_the_line() {
    let bench = Bench::new(WAIT).await.calm();
    let engine = bench.engine(LONG).await;
    let holder = holding(&bench, &engine).await;
    let first = started(&engine, waiting("first")).await;
    queued(&bench, first).await;
    // The line stands still: its process is frozen, and the lock becomes free.
    engine.shut_down().await;
    sqlx::query("DELETE FROM lock WHERE run_id = $1").bind(holder).execute(bench.pool()).await.unwrap();
    let refused = sqlx::query("INSERT INTO lock (target, run_id, taken_at) VALUES ('thing', $1, now())")
        .bind(holder)
        .execute(bench.pool())
        .await;
    assert!(refused.unwrap_err().to_string().contains("others stand in line"));
    let ahead = store::runs::holder(bench.pool(), &["thing".to_owned()]).await.unwrap().unwrap();
    assert_eq!(ahead.run_id, first, "who asks is told who is next");
}

#[tokio::test]
async fn a_place_in_the_line_outlives_its_process() {
    let bench = Bench::new(WAIT).await.calm();
    let here = bench.engine(LONG).await;
    let holder = holding(&bench, &here).await;
    // As good as dead to the database: its runs are taken over from behind its back.
    let dying = bench.engine(Duration::from_secs(300)).await;
    let run = started(&dying, waiting("key")).await;
    queued(&bench, run).await;
    store::workers::release(bench.pool(), 2).await.unwrap();
    bench.until(run, "taken over", |s| s.epoch() == 2).await;
    assert_eq!(bench.state(run).await.word(), "queued");
    bench.world.put("go", 1);
    bench.ended(holder).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    let admitted = bench.journal(run).await.into_iter().filter(|r| matches!(r.entry, Entry::Admitted { .. }));
    assert_eq!(admitted.map(|r| r.epoch).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn who_stands_in_line_too_long_is_out_of_it() {
    let bench = Bench::new(WAIT).await;
    let engine = bench.engine(LONG).await;
    let holder = holding(&bench, &engine).await;
    let run = started(&engine, waiting("key")).await;
    let state = bench.ended(run).await;
    assert_eq!(state.outcome(), Some((Outcome::Expired, "Its locks did not become free in time.")));
    let waited = state.at() - state.started_at();
    assert!(waited >= domain::run::IN_LINE, "{waited}");
    assert!(bench.state(holder).await.outcome().is_none());
}

#[tokio::test]
async fn a_world_that_drifted_is_shown_and_asks_for_a_new_plan() {
    let bench = Bench::new(SET).await;
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    bench.world.put("a", 2);
    let run = started(&engine, request).await;
    let state = bench.until(run, "drifted", |s| s.drift().is_some()).await;
    assert_eq!(state.word(), "paused");
    assert!(state.paused().unwrap().why.starts_with("drift"));
    assert_eq!(bench.world.made(), []);
    let drift = state.drift().unwrap();
    let told = serde_json::to_value(&drift.differences).unwrap();
    assert_eq!(told[0]["path"], "set");
    assert_eq!(told[0]["was"]["changes"][0]["before"], 0);
    assert_eq!(told[0]["now"]["changes"][0]["before"], 2);
    let held = store::pages::locks(bench.pool()).await.unwrap();
    assert_eq!(held.len(), 1, "a run that is paused keeps its locks");

    assert!(
        says(asks(&engine, run, &Actor::person("ana"), Ask::Resume).await.unwrap_err()).contains("accept")
    );
    let stale = Ask::AcceptPlan { plan_hash: "0".repeat(64) };
    assert!(asks(&engine, run, &Actor::person("ana"), stale).await.is_err());
    // It drifts again before it is accepted: the new plan is compared, too.
    let accept = Ask::AcceptPlan { plan_hash: drift.plan.hash.clone() };
    bench.world.put("a", 3);
    ask(&engine, run, accept).await;
    let again =
        |s: &domain::run::State| s.drift().is_some_and(|d| d.plan.changes().next().unwrap().before == 3);
    let state = bench.until(run, "drifted again", again).await;
    ask(&engine, run, Ask::AcceptPlan { plan_hash: state.drift().unwrap().plan.hash.clone() }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(bench.world.made(), [("a".to_owned(), 5)]);
}

#[tokio::test]
async fn what_was_approved_and_then_drifted_is_approved_anew() {
    let bench = Bench::new(SET).await.saying(AMPLE);
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    let hash = request.plan.as_ref().unwrap().hash.clone();
    let run = started(&engine, request).await;
    bench.world.put("a", 2);
    asks(&engine, run, &bob(), approve(&hash)).await.unwrap();
    let state = bench.until(run, "drifted", |s| s.drift().is_some()).await;
    let new = state.drift().unwrap().plan.hash.clone();
    ask(&engine, run, Ask::AcceptPlan { plan_hash: new.clone() }).await;
    bench.until(run, "asked anew", |s| s.word() == "waiting_for_approval").await;
    assert_eq!(bench.world.made(), []);
    asks(&engine, run, &bob(), approve(&new)).await.unwrap();
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
}

#[tokio::test]
async fn a_plan_that_still_holds_starts_and_a_start_without_one_is_compared_with_nothing() {
    let bench = Bench::new(SET).await;
    let engine = bench.engine(LONG).await;
    let run = started(&engine, planned(&engine, "key").await).await;
    bench.ended(run).await;
    let kinds =
        |journal: Vec<domain::run::Record>| journal.iter().map(|r| r.entry.kind()).collect::<Vec<_>>();
    assert_eq!(kinds(bench.journal(run).await)[..3], ["requested", "plan_holds", "intent"]);
    bench.world.put("a", 0);
    let run = started(&engine, request("no plan")).await;
    bench.ended(run).await;
    assert_eq!(kinds(bench.journal(run).await)[..2], ["requested", "intent"]);
}

const AGREE: &str = r#"
steps:
  - id: agree
    approve: { by: responder, within: 150h, otherwise: OTHERWISE }
    message: Shall it be five?
  - id: set
    use: world.set
    with: { name: a, value: 5 }
"#;

#[tokio::test]
async fn a_step_waits_for_others_to_agree() {
    let bench = Bench::new(&AGREE.replace("OTHERWISE", "pause")).await;
    let engine = bench.engine(LONG).await;
    let told = serde_json::to_value(&plan(&engine).await.steps[0].outcome).unwrap();
    assert_eq!(told["outcome"], "waits");
    assert_eq!(told["until"], "the approval of a responder");
    let run = started(&engine, request("key")).await;
    let step = || Some("agree".into());
    bench.until(run, "asks", |s| s.word() == "waiting_for_approval").await;
    let yes = || Ask::Approve { step: step(), plan_hash: None };
    assert!(asks(&engine, run, &Actor::person("ana"), yes()).await.is_err(), "their own request");
    let no = Ask::Reject { step: step(), reason: "four".into() };
    asks(&engine, run, &Actor::person("dee"), no).await.unwrap();
    let state = bench.until(run, "paused", |s| s.word() == "paused").await;
    assert!(state.node(&"agree".into()).unwrap().error.as_ref().unwrap().message.contains("dee"));
    assert_eq!(bench.world.made(), []);
    ask(&engine, run, Ask::Retry { step: "agree".into() }).await;
    bench.until(run, "asks anew", |s| s.word() == "waiting_for_approval").await;
    asks(&engine, run, &Actor::person("dee"), yes()).await.unwrap();
    let state = bench.ended(run).await;
    assert_eq!(state.outcome().unwrap().0, Outcome::Succeeded);
    assert_eq!(crate::world::output(&state, "agree"), serde_json::json!({ "approved_by": ["dee"] }));
}

#[tokio::test]
async fn without_agreement_a_step_does_what_the_runbook_says() {
    for (otherwise, outcome, status) in
        [("fail", Outcome::Failed, None), ("continue", Outcome::Succeeded, Some(Status::Done))]
    {
        let steps = AGREE.replace("OTHERWISE", otherwise).replace("150h", "4s");
        let bench = Bench::new(&steps).await;
        let engine = bench.engine(LONG).await;
        let run = started(&engine, request("key")).await;
        let state = bench.ended(run).await;
        assert_eq!(state.outcome().unwrap().0, outcome);
        assert_eq!(state.node(&"set".into()).map(|n| n.status), status);
        let error = state.node(&"agree".into()).unwrap().error.clone().unwrap();
        assert_eq!(error.code, "approval_expired");
    }
}

#[tokio::test]
async fn high_risk_wants_the_target_typed_at_every_door() {
    let bench = Bench::new(SET).await.saying(AMPLE).risk("high");
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    match engine.start(request.clone()).await {
        Err(StartError::NotConfirmed { target, .. }) => assert_eq!(target, "test"),
        other => panic!("{other:?}"),
    }
    let typed = StartRequest { confirm: Some(" test ".into()), ..request };
    assert!(engine.start(typed).await.unwrap().new);
}

const LOOKS: &str = "steps:\n  - id: see\n    use: world.look\n    with: { name: b }\n  - id: set\n    use: world.set\n    with: { name: a, value: 5 }\n";

fn dark(bench: &Bench, dark: bool) {
    bench.world.0.lock().unwrap().looks_fail = dark;
}

/// Until somebody has tried to look so often.
async fn looked(bench: &Bench, times: u64) {
    while bench.looks() < times {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A throttled call is no other plan: whoever accepted "would stop here" would have accepted nothing.
#[tokio::test]
async fn a_plan_of_which_something_cannot_be_seen_for_a_moment_is_compared_again_and_is_no_drift() {
    let bench = Bench::new(LOOKS).await.calm();
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    dark(&bench, true);
    let before = bench.looks();
    let run = started(&engine, request).await;
    looked(&bench, before + 5).await;
    dark(&bench, false);
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    let journal = bench.journal(run).await;
    assert!(!journal.iter().any(|r| matches!(r.entry, Entry::Drifted { .. } | Entry::Paused { .. })));
}

#[tokio::test]
async fn what_cannot_be_seen_for_minutes_is_told_as_that_and_compared_again_once_somebody_resumes_the_run() {
    let bench = Bench::new(LOOKS).await;
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    dark(&bench, true);
    let run = started(&engine, request).await;
    let state = bench.until(run, "paused", |s| s.paused().is_some()).await;
    assert_eq!(state.gate(), Some(&Gate::Plan));
    let why = &state.paused().unwrap().why;
    assert_eq!(why, "whether the plan still holds could not be seen: nothing can be seen (dark)");
    dark(&bench, false);
    ask(&engine, run, Ask::Resume).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
}

#[tokio::test]
async fn a_run_that_is_paused_while_its_plan_is_compared_begins_with_what_is_true_when_it_is_resumed() {
    for other in [false, true] {
        let bench = Bench::new(LOOKS).await.calm();
        let engine = bench.engine(LONG).await;
        let request = planned(&engine, "key").await;
        dark(&bench, true);
        let before = bench.looks();
        let run = started(&engine, request).await;
        looked(&bench, before + 1).await;
        ask(&engine, run, Ask::Pause { reason: None }).await;
        bench.until(run, "paused", |s| s.held().is_some()).await;
        // The comparison comes to its end, with the same plan or another.
        if other {
            bench.world.put("a", 1);
        }
        dark(&bench, false);
        let so_far = bench.looks();
        looked(&bench, so_far + 1).await;
        let state = bench.state(run).await;
        assert_eq!((state.gate(), state.held().is_some()), (Some(&Gate::Plan), true), "{other}");
        bench.world.put("a", 0);
        ask(&engine, run, Ask::Resume).await;
        assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
        let journal = bench.journal(run).await;
        assert!(!journal.iter().any(|r| matches!(r.entry, Entry::Drifted { .. })));
        let at = |wanted: fn(&Entry) -> bool| journal.iter().position(|r| wanted(&r.entry)).unwrap();
        assert!(
            at(|e| matches!(e, Entry::PlanHolds { .. }))
                > at(|e| matches!(e, Entry::Asked { ask: Ask::Resume, .. }))
        );
    }
}

#[tokio::test]
async fn glass_is_not_broken_for_a_plan_that_nobody_has_seen() {
    let bench = Bench::new(SET).await.severe().saying(AMPLE);
    let engine = bench.engine(LONG).await;
    let request = planned(&engine, "key").await;
    let seen = request.plan.as_ref().unwrap().hash.clone();
    let run = started(&engine, request).await;
    bench.world.put("a", 2);
    asks(&engine, run, &bob(), approve(&seen)).await.unwrap();
    let state = bench.until(run, "drifted", |s| s.drift().is_some()).await;
    let new = state.drift().unwrap().plan.hash.clone();
    ask(&engine, run, Ask::AcceptPlan { plan_hash: new.clone() }).await;
    bench.until(run, "asked anew", |s| s.word() == "waiting_for_approval").await;
    let glass = |seen: &str| Ask::BreakGlass {
        step: None,
        reason: "nobody is awake".into(),
        plan_hash: Some(seen.to_owned()),
    };
    let stale = says(asks(&engine, run, &admin("ana"), glass(&seen)).await.unwrap_err());
    assert!(stale.contains("another plan"), "{stale}");
    assert_eq!(bench.world.made(), []);
    asks(&engine, run, &admin("ana"), glass(&new)).await.unwrap();
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
}
