//! Verdicts on a real Postgres: what they rest on, though clocks differ.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use domain::incident::Ask;
use domain::signal::{Signal, SignalState};
use domain::triage::Verdict;
use domain::{Actor, Role, Timestamp};
use serde_json::json;
use sqlx::{Connection as _, PgConnection, PgPool};
use store::incidents;
use store::private::TestDb;
use store::signals::{Received, receive};
use store::triage::{Belongs, Due, Given, NewVerdict, Offer, claim, close_quiet, give, incident, lately};
use uuid::Uuid;

fn signal(about: &str) -> Signal {
    Signal {
        source: "generic".into(),
        kind: "lamp_is_off".into(),
        fingerprint: about.into(),
        state: SignalState::Firing,
        severity: None,
        summary: format!("{about} is off."),
        labels: BTreeMap::new(),
        started_at: None,
    }
}

/// A signal of its own, to be judged here.
async fn due(db: &TestDb, about: &str, at: Timestamp) -> Due {
    let signal = signal(about);
    receive(db.pool(), Received { signal: &signal, delivery: None, body: None, at }).await.unwrap();
    claim(db.pool(), 1, &[], at, 1).await.unwrap().remove(0)
}

/// Starts something for it, at these targets.
fn start<'a>(due: &'a Due, at: Timestamp, seen: i64, incident: Uuid, targets: &[&str]) -> NewVerdict<'a> {
    let about = &due.signal.fingerprint;
    NewVerdict {
        incident: Some(Belongs::Opening {
            id: incident,
            title: format!("Light {about}"),
            targets: targets.iter().map(|&target| target.to_owned()).collect(),
        }),
        notices: json!([]),
        modes_seen: 0,
        due,
        at,
        verdict: Verdict::Started,
        code: "fits",
        because: "Its guards hold.",
        rule: Some("light/off".into()),
        considered: json!([]),
        offer: Some(Offer {
            runbook: "light".into(),
            inputs: json!({}),
            start_key: about.clone(),
            plan: json!({ "hash": about }),
        }),
        run_id: None,
        seen,
        look_at: None,
    }
}

/// Starts something for a signal of its own, by a process whose clock says `at`.
async fn started(db: &TestDb, about: &str, at: Timestamp, seen: i64) -> Given {
    let due = due(db, about, at).await;
    give(db.pool(), &start(&due, at, seen, Uuid::now_v7(), &[&format!("lamp:{about}")])).await.unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_timestamp(1_715_092_200, 0).unwrap()
}

/// A person opens an incident.
async fn opened(db: &TestDb, target: &str, at: Timestamp) -> Uuid {
    let ada = Actor::with_role("ada", Role::Responder);
    incidents::open(db.pool(), Uuid::now_v7(), target, &[target.to_owned()], &ada, at).await.unwrap()
}

async fn close(pool: &PgPool, id: Uuid) -> bool {
    let (seen, ask) =
        (incidents::one(pool, id).await.unwrap().unwrap(), Ask::Close { reason: "over".into() });
    incidents::act(pool, &seen, &ask, &Actor::with_role("ada", Role::Responder), now()).await.unwrap()
}

async fn waiting(pool: &PgPool) -> i64 {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::query_scalar(waits).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn a_start_by_a_process_whose_clock_is_behind_makes_the_next_verdict_stale_once_and_not_for_ever() {
    let db = TestDb::new().await.unwrap();
    let now = now();
    let long_ago = now - TimeDelta::hours(1);
    let seen = async || lately(db.pool(), None, long_ago, long_ago).await.unwrap().seen;

    assert_eq!(started(&db, "a", now, seen().await).await, Given::Stored);
    let old = seen().await;
    assert_eq!(started(&db, "b", now - TimeDelta::seconds(5), old).await, Given::Stored);
    assert_eq!(started(&db, "c", now, old).await, Given::Stale, "it rests on what was so before b");
    assert_ne!(seen().await, old);
    assert_eq!(started(&db, "d", now, seen().await).await, Given::Stored);
}

#[tokio::test]
async fn a_signal_at_the_targets_of_two_open_incidents_is_judged_in_the_older_one() {
    let db = TestDb::new().await.unwrap();
    let targets = ["fleet:x", "cluster:b"];
    let older = opened(&db, "fleet:x", now() - TimeDelta::hours(1)).await;
    let newer = opened(&db, "cluster:b", now()).await;
    assert_ne!(older, newer);
    let found = incident(db.pool(), &targets.map(str::to_owned)).await.unwrap();
    assert_eq!(found, Some(older));
    let due = due(&db, "a", now()).await;
    let start = |id| start(&due, now(), 0, id, &targets);
    assert_eq!(
        give(db.pool(), &start(Uuid::now_v7())).await.unwrap(),
        Given::Stale,
        "a third would be opened"
    );
    assert_eq!(give(db.pool(), &start(older)).await.unwrap(), Given::Stored);
    assert_eq!(incidents::firing(db.pool(), older).await.unwrap(), 1);
}

#[tokio::test]
async fn no_verdict_is_stored_in_an_incident_that_was_closed_also_where_none_is_open() {
    let db = TestDb::new().await.unwrap();
    let closed = opened(&db, "fleet:x", now()).await;
    assert!(close(db.pool(), closed).await);
    let due = due(&db, "a", now()).await;
    assert_eq!(give(db.pool(), &start(&due, now(), 0, closed, &["fleet:x"])).await.unwrap(), Given::Stale);
    assert_eq!(
        give(db.pool(), &start(&due, now(), 0, Uuid::now_v7(), &["fleet:x"])).await.unwrap(),
        Given::Stored
    );
}

#[tokio::test]
async fn what_is_said_without_an_offer_is_not_stored_in_an_incident_that_was_closed_meanwhile_either() {
    let db = TestDb::new().await.unwrap();
    let seen = opened(&db, "fleet:x", now()).await;
    let due = due(&db, "a", now()).await;
    let said = |verdict, incident: Option<Uuid>| NewVerdict {
        verdict,
        offer: None,
        incident: incident.map(Belongs::To),
        ..start(&due, now(), 0, Uuid::nil(), &[])
    };
    assert!(close(db.pool(), seen).await);
    for verdict in [Verdict::Suppressed, Verdict::Joined, Verdict::Ignored] {
        assert_eq!(give(db.pool(), &said(verdict, Some(seen))).await.unwrap(), Given::Stale, "{verdict:?}");
    }
    assert_eq!(incidents::firing(db.pool(), seen).await.unwrap(), 0);
    assert_eq!(give(db.pool(), &said(Verdict::Suppressed, None)).await.unwrap(), Given::Stored);
}

#[tokio::test]
async fn what_is_judged_anew_leaves_the_incident_that_is_over_and_joins_the_next_one_though_it_says_the_same()
{
    let db = TestDb::new().await.unwrap();
    let ada = Actor::with_role("ada", Role::Responder);
    let mut due = due(&db, "a", now()).await;
    let id = due.id;
    let said = async |due: &Due, incident: Option<Uuid>| {
        let verdict = NewVerdict {
            verdict: Verdict::Suppressed,
            offer: None,
            incident: incident.map(Belongs::To),
            look_at: Some(now()),
            ..start(due, now(), 0, Uuid::nil(), &[])
        };
        give(db.pool(), &verdict).await.unwrap()
    };
    let at = async || store::signals::one(db.pool(), id).await.unwrap().unwrap().incident;
    let anew = async || claim(db.pool(), 1, &[], now(), 1).await.unwrap().remove(0);

    let first = opened(&db, "fleet:x", now()).await;
    assert_eq!(said(&due, Some(first)).await, Given::Stored);
    assert!(store::trust::dismiss(db.pool(), id, &ada, "a test", now()).await.unwrap());
    assert!(close(db.pool(), first).await);
    assert!(store::trust::judge_anew(db.pool(), id, &ada, "it was none", now()).await.unwrap());
    due = anew().await;
    assert_eq!((said(&due, None).await, at().await), (Given::Stored, None));
    let second = opened(&db, "fleet:x", now()).await;
    due = anew().await;
    assert_eq!((said(&due, Some(second)).await, at().await), (Given::Same, Some(second)));
}

#[tokio::test]
async fn what_is_held_back_opens_its_incident_and_offers_nothing() {
    let db = TestDb::new().await.unwrap();
    let id = Uuid::now_v7();
    let due = due(&db, "a", now()).await;
    let held = NewVerdict {
        verdict: Verdict::Suppressed,
        code: "freeze",
        offer: None,
        ..start(&due, now(), 0, id, &["fleet:x"])
    };
    assert_eq!(give(db.pool(), &held).await.unwrap(), Given::Stored);
    assert_eq!(incident(db.pool(), &["fleet:x".to_owned()]).await.unwrap(), Some(id));
    assert_eq!(incidents::firing(db.pool(), id).await.unwrap(), 1);
    assert!(store::triage::offered(db.pool(), due.id).await.unwrap().is_none());
}

/// Puts a signal that fires into an incident while somebody closes it: the verdict has found it open and is not stored yet when the
/// other one looks. Was it closed?
async fn closed_meanwhile<F>(db: &TestDb, id: Uuid, closing: impl FnOnce(PgPool) -> F) -> bool
where
    F: Future<Output = bool> + Send + 'static,
{
    let due = due(db, "a", now()).await;
    // The verdict stops where it tells of itself: somebody has said the same and not committed.
    let mut held = PgConnection::connect_with(&db.pool().connect_options()).await.unwrap();
    let notices = json!([{ "channel": "ops", "key": "a", "message": {}, "incident": id }]);
    sqlx::raw_sql("BEGIN").execute(&mut held).await.unwrap();
    sqlx::query("SELECT tell($1, now())").bind(&notices).execute(&mut held).await.unwrap();
    let pool = db.pool().clone();
    let giving = tokio::spawn(async move {
        let verdict = NewVerdict { notices, ..start(&due, now(), 0, id, &["fleet:x"]) };
        give(&pool, &verdict).await.unwrap()
    });
    while waiting(db.pool()).await < 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let closing = tokio::spawn(closing(db.pool().clone()));
    while !closing.is_finished() && waiting(db.pool()).await < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut held).await.unwrap();
    assert_eq!(giving.await.unwrap(), Given::Stored);
    closing.await.unwrap()
}

#[tokio::test]
async fn nobody_closes_an_incident_that_a_signal_is_just_joining() {
    let db = TestDb::new().await.unwrap();
    let id = opened(&db, "fleet:x", now()).await;
    assert!(!closed_meanwhile(&db, id, move |pool| async move { close(&pool, id).await }).await);
    assert_eq!(incidents::firing(db.pool(), id).await.unwrap(), 1);
    assert!(incidents::one(db.pool(), id).await.unwrap().unwrap().closed_at.is_none());
}

#[tokio::test]
async fn no_incident_ends_by_itself_while_a_signal_is_just_joining_it() {
    let db = TestDb::new().await.unwrap();
    let id = opened(&db, "fleet:x", now()).await;
    let quiet =
        move |pool: PgPool| async move { close_quiet(&pool, id, now(), now(), &json!([])).await.unwrap() };
    assert!(!closed_meanwhile(&db, id, quiet).await);
    assert!(incidents::one(db.pool(), id).await.unwrap().unwrap().closed_at.is_none());
}

/// Nobody waits for one who holds something and does nothing.
async fn nobody_stands_in_the_way(pool: &PgPool) {
    let waits = "SELECT count(*) FROM pg_stat_activity w, pg_stat_activity b
                  WHERE b.pid = ANY (pg_blocking_pids(w.pid)) AND b.state LIKE 'idle in transaction%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(waits).fetch_one(pool).await.unwrap(), 0);
}

#[tokio::test]
async fn whoever_freezes_while_closing_an_incident_keeps_no_verdict_waiting() {
    let db = TestDb::new().await.unwrap();
    let (by_hand, quiet) = (opened(&db, "fleet:x", now()).await, opened(&db, "fleet:y", now()).await);
    let due = due(&db, "a", now()).await;
    // Both wait for their turn, and then their processes stand still.
    let mut held = PgConnection::connect_with(&db.pool().connect_options()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT pg_advisory_xact_lock(triage_key())").execute(&mut held).await.unwrap();
    let pool = db.pool();
    let notices = json!([]);
    let mut closing = std::pin::pin!(async {
        tokio::join!(close(pool, by_hand), async { close_quiet(pool, quiet, now(), now(), &notices).await })
    });
    while waiting(pool).await < 2 {
        let _ = tokio::time::timeout(Duration::from_millis(5), &mut closing).await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut held).await.unwrap();
    let verdict = start(&due, now(), 0, Uuid::now_v7(), &["lamp:a"]);
    let mut giving = std::pin::pin!(give(pool, &verdict));
    let given = loop {
        if let Ok(given) = tokio::time::timeout(Duration::from_millis(5), &mut giving).await {
            break given.unwrap();
        }
        nobody_stands_in_the_way(pool).await;
    };
    assert_eq!(given, Given::Stored);
    for id in [by_hand, quiet] {
        assert!(incidents::one(pool, id).await.unwrap().unwrap().closed_at.is_some());
    }
}
