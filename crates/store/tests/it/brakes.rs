//! Calendars of freezes.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::brake::calendar::{Event, Window};
use sqlx::{Connection as _, PgConnection};
use store::brakes::{freezes, import_freezes};
use store::private::TestDb;
use tokio::time::{Duration, Instant, sleep};

fn now() -> Timestamp {
    "2024-05-07T15:00:00Z".parse().unwrap()
}

fn calendar() -> [Event; 1] {
    let window = Window { starts: now(), ends: now() + TimeDelta::days(1), reason: "a holiday".into() };
    [Event { uid: "holiday@example.com".into(), windows: vec![window] }]
}

#[tokio::test]
async fn a_calendar_that_two_import_at_the_same_time_freezes_once() {
    let db = TestDb::new().await.unwrap();
    // A start is at it: both imports have begun by the time the first of them may go on.
    let mut start = PgConnection::connect_with(&db.pool().connect_options()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT pg_advisory_xact_lock_shared(brakes_key())")
        .execute(&mut start)
        .await
        .unwrap();
    let imports = ["ana", "bob"].map(|by| {
        let pool = db.pool().clone();
        tokio::spawn(async move { import_freezes(&pool, &calendar(), "*", by, now()).await })
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let patience = Instant::now() + Duration::from_secs(60);
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(db.pool()).await.unwrap() < 2 {
        assert!(Instant::now() < patience, "they never wait");
        sleep(Duration::from_millis(10)).await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut start).await.unwrap();
    let mut replaced = 0;
    for import in imports {
        replaced += import.await.unwrap().unwrap().replaced;
    }
    assert_eq!(replaced, 1, "the second has replaced what the first had entered");
    assert_eq!(freezes(db.pool(), now(), 10).await.unwrap().len(), 1);
}
