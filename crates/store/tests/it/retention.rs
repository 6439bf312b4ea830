//! What is old and done with goes; what anybody still needs, and history, stays.

use chrono::TimeDelta;
use domain::Timestamp;
use sqlx::PgPool;
use store::fleets::{Sample, add_samples, forget_before};
use store::private::TestDb;
use store::retention::{deliveries, messages, sign_ins};
use uuid::Uuid;

use crate::history::execute;

fn now() -> Timestamp {
    Timestamp::from_timestamp(1_715_092_200, 0).unwrap()
}

fn days_ago(days: i64) -> Timestamp {
    now() - TimeDelta::days(days)
}

/// The oldest that is kept.
fn horizon() -> Timestamp {
    days_ago(30)
}

async fn left(pool: &PgPool, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
}

async fn delivery(pool: &PgPool, source: &str, id: &str, at: Timestamp) {
    sqlx::query("INSERT INTO delivery (source, id, at) VALUES ($1, $2, $3)")
        .bind(source)
        .bind(id)
        .bind(at)
        .execute(pool)
        .await
        .unwrap();
}

async fn signal(pool: &PgPool, source: &str, state: &str, since: Timestamp, over: Option<Timestamp>) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen, resolved_at)
         VALUES ($1, $2, 'k', $1::text, $3, '', '{}', $4, $4, $5)",
    )
    .bind(id)
    .bind(source)
    .bind(state)
    .bind(since)
    .bind(over)
    .execute(pool)
    .await
    .unwrap();
    id
}

#[tokio::test]
async fn deliveries_go_in_batches_once_they_are_old_and_no_signal_of_their_source_rings_since_then() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    for n in 0..5 {
        delivery(pool, "sns", &format!("old {n}"), days_ago(40 + n)).await;
    }
    delivery(pool, "sns", "young", days_ago(29)).await;
    // An alarm that has been ringing for fifty days is read every few minutes, and known by its delivery.
    signal(pool, "alarms", "firing", days_ago(50), None).await;
    signal(pool, "sns", "resolved", days_ago(50), Some(days_ago(49))).await;
    delivery(pool, "alarms", "rings", days_ago(50)).await;
    delivery(pool, "alarms", "before it", days_ago(60)).await;

    assert_eq!(deliveries(pool, horizon(), 2).await.unwrap(), 2);
    assert_eq!(left(pool, "SELECT id FROM delivery WHERE source = 'sns' ORDER BY id").await.len(), 5);
    while deliveries(pool, horizon(), 2).await.unwrap() > 0 {}
    assert_eq!(left(pool, "SELECT id FROM delivery ORDER BY id").await, ["rings", "young"]);
}

/// A message that was told and settled so many days ago.
async fn message(
    pool: &PgPool,
    key: &str,
    path: &str,
    incident: Option<Uuid>,
    thread: Option<Uuid>,
    days: i64,
) {
    sqlx::query(
        "INSERT INTO outbox (channel, key, message, incident, thread, at, state, settled_at)
         VALUES ('mail', $1, jsonb_build_object('path', $2::text), $3, $4, $5, 'sent', $5)",
    )
    .bind(key)
    .bind(path)
    .bind(incident)
    .bind(thread)
    .bind(days_ago(days))
    .execute(pool)
    .await
    .unwrap();
}

async fn incident(pool: &PgPool, target: &str, closed: Option<Timestamp>) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO incident (id, title, targets, opened_at, closed_at) VALUES ($1, '', $2, $3, $4)",
    )
    .bind(id)
    .bind([target.to_owned()])
    .bind(days_ago(60))
    .bind(closed)
    .execute(pool)
    .await
    .unwrap();
    id
}

async fn run(pool: &PgPool, ended: Option<Timestamp>) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, epoch, seq, created_at, updated_at, ended_at)
         VALUES ($1, 'r', 'h', '', '{}', 'ana', $1::text, 'paused', 1, 1, $2, $2, $3)",
    )
    .bind(id)
    .bind(days_ago(60))
    .bind(ended)
    .execute(pool)
    .await
    .unwrap();
    id
}

#[tokio::test]
async fn messages_go_once_nobody_can_come_to_tell_them_again() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(pool, "INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ('h', 'r', '', now())")
        .await;
    let over = Some(days_ago(50));
    let (open, closed) = (incident(pool, "lamp:a", None).await, incident(pool, "lamp:b", over).await);
    let just_closed = incident(pool, "lamp:c", Some(days_ago(3))).await;
    let (going, ended, edited) = (run(pool, None).await, run(pool, over).await, run(pool, over).await);
    let (rings, quiet) = (
        signal(pool, "lamps", "firing", days_ago(60), None).await,
        signal(pool, "lamps", "resolved", days_ago(60), over).await,
    );
    sqlx::query("INSERT INTO run_card (run_id, place, due) VALUES ($1, 'c', now()), ($2, 'c', NULL)")
        .bind(edited)
        .bind(ended)
        .execute(pool)
        .await
        .unwrap();
    let to = |what: &str, id: Uuid| format!("/{what}/{id}");

    message(pool, "keep: open incident", &to("signals", quiet), Some(open), None, 55).await;
    message(pool, "keep: just closed", "/incidents/x", Some(just_closed), None, 55).await;
    message(pool, "keep: run goes on", &to("runs", going), None, None, 55).await;
    message(pool, "keep: edited still", "/elsewhere", None, Some(edited), 55).await;
    message(pool, "keep: signal rings", &to("signals", rings), None, None, 55).await;
    message(pool, "keep: young", "/triggers", None, None, 29).await;
    message(pool, "go: closed", &to("signals", quiet), Some(closed), None, 51).await;
    message(pool, "go: run ended", &to("runs", ended), None, Some(ended), 52).await;
    message(pool, "go: about nothing", "/triggers", None, None, 53).await;
    message(pool, "go: no such thing", "/runs/not-an-id", None, None, 54).await;
    let late = "INSERT INTO outbox (channel, key, message, at, due) VALUES ('mail', 'keep: not sent yet', '{}', $1, $1)";
    sqlx::query(late).bind(days_ago(55)).execute(pool).await.unwrap();

    let history = async || {
        left(pool, "SELECT (SELECT count(*) FROM run) || ' ' || (SELECT count(*) FROM signal) || ' ' || (SELECT count(*) FROM incident)").await
    };
    let before = history().await;
    assert_eq!(messages(pool, horizon(), 3).await.unwrap(), 3);
    assert_eq!(messages(pool, horizon(), 3).await.unwrap(), 1);
    assert_eq!(messages(pool, horizon(), 3).await.unwrap(), 0);
    let kept = left(pool, "SELECT key FROM outbox ORDER BY key").await;
    assert!(kept.len() == 7 && kept.iter().all(|key| key.starts_with("keep: ")), "{kept:?}");
    assert_eq!(history().await, before);
}

#[tokio::test]
async fn what_was_told_last_stays_however_old_because_news_is_what_came_since() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    message(pool, "long before", "/triggers", None, None, 43).await;
    message(pool, "the last", "/triggers", None, None, 40).await;
    while messages(pool, horizon(), 10).await.unwrap() > 0 {}
    assert_eq!(left(pool, "SELECT key FROM outbox").await, ["the last"]);
}

#[tokio::test]
async fn the_application_may_remove_them_and_nothing_of_history() {
    let db = TestDb::new().await.unwrap();
    delivery(db.pool(), "sns", "old", days_ago(40)).await;
    message(db.pool(), "old", "/triggers", None, None, 40).await;
    message(db.pool(), "new", "/triggers", None, None, 1).await;
    let application = db.pool_as("firebreak_app");
    assert_eq!(deliveries(&application, horizon(), 10).await.unwrap(), 1);
    assert_eq!(messages(&application, horizon(), 10).await.unwrap(), 1);
    for table in ["journal_line", "audit", "verdict"] {
        let refused =
            sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&application).await;
        assert!(refused.is_err(), "{table}");
    }
}

#[tokio::test]
async fn sessions_and_links_go_when_they_are_over_and_no_sooner() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(
        pool,
        "INSERT INTO session (token_hash, person, csrf, created_at, expires_at)
         SELECT n::text::bytea, 'ada', 'c', now() - interval '1 day', now() + CASE n WHEN 4 THEN 1 ELSE -1 END * interval '1 hour'
           FROM generate_series(1, 4) n",
    )
    .await;
    execute(
        pool,
        "INSERT INTO sign_in_link (token_hash, person, expires_at)
         VALUES ('1', 'ada', now() - interval '1 minute'), ('2', 'ada', now() + interval '1 minute')",
    )
    .await;
    for removed in [3, 1, 0] {
        assert_eq!(sign_ins(pool, 2).await.unwrap(), removed);
    }
    assert_eq!(left(pool, "SELECT token_hash::text FROM session").await, ["\\x34"]);
    assert_eq!(left(pool, "SELECT token_hash::text FROM sign_in_link").await, ["\\x32"]);
}

#[tokio::test]
async fn samples_of_an_incident_and_of_the_minutes_around_it_stay() {
    let db = TestDb::new().await.unwrap();
    let (pool, hours_ago) = (db.pool(), |hours: i64| now() - TimeDelta::hours(hours));
    let incident =
        "INSERT INTO incident (id, title, targets, opened_at, closed_at) VALUES ($1, 'T', '{x}', $2, $3)";
    for (opened, closed) in [(hours_ago(50), Some(hours_ago(48))), (hours_ago(9), None)] {
        let row = sqlx::query(incident).bind(Uuid::now_v7()).bind(opened).bind(closed);
        row.execute(pool).await.unwrap();
    }
    let ages = [
        (51 * 60, false),
        (50 * 60 + 10, true),
        (49 * 60, true),
        (47 * 60 + 50, true),
        (47 * 60, false),
        (8 * 60, true),
        (60, true),
    ];
    let samples: Vec<_> = ages
        .iter()
        .map(|(minutes, stays)| Sample {
            subject: if *stays { "stays" } else { "goes" }.into(),
            at: now() - TimeDelta::minutes(*minutes),
            value: 0.5,
        })
        .collect();
    add_samples(pool, "error_share", &samples).await.unwrap();
    // What was looked at the last time is not looked at again.
    forget_before(pool, hours_ago(2), Some(hours_ago(10))).await.unwrap();
    let all = "SELECT subject FROM sample";
    assert_eq!(left(pool, all).await.len(), samples.len());
    forget_before(pool, hours_ago(2), None).await.unwrap();
    assert_eq!(left(pool, all).await, ["stays"; 5]);
}
