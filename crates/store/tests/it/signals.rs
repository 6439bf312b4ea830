//! Two processes that write the same signals: they wait for each other in a line, and never in a circle.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::execute;
use chrono::TimeDelta;
use domain::Timestamp;
use domain::signal::{PROBER, Signal, SignalState};
use sqlx::{Connection as _, PgConnection, PgPool};
use store::private::TestDb;
use store::signals::{Received, prober_is_calm, prober_is_gone, receive, receive_all};

const FIRING: SignalState = SignalState::Firing;
const RESOLVED: SignalState = SignalState::Resolved;

fn at() -> Timestamp {
    Timestamp::from_timestamp(1_715_092_200, 0).unwrap()
}

fn signal(source: &str, about: &str, state: SignalState) -> Signal {
    Signal {
        source: source.into(),
        kind: "lamp_is_off".into(),
        fingerprint: about.into(),
        state,
        severity: None,
        summary: format!("{about} is off."),
        labels: BTreeMap::from([("fleet".to_owned(), "lamps".to_owned())]),
        started_at: None,
    }
}

async fn write(pool: &PgPool, source: &str, said: &[(&str, SignalState)]) {
    let signals: Vec<Signal> = said.iter().map(|(about, state)| signal(source, about, *state)).collect();
    let received: Vec<Received<'_>> =
        signals.iter().map(|signal| Received { signal, delivery: None, body: None, at: at() }).collect();
    receive_all(pool, &received).await.unwrap();
}

/// A connection that holds the row of a signal that fires.
async fn holding(db: &TestDb, about: &str) -> PgConnection {
    let mut connection = PgConnection::connect_with(&db.pool().connect_options()).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut connection).await.unwrap();
    take(&mut connection, about, "").await.unwrap();
    connection
}

async fn take(connection: &mut PgConnection, about: &str, how: &str) -> Result<(), sqlx::Error> {
    let sql = format!("SELECT id FROM signal WHERE fingerprint = $1 AND state = 'firing' FOR UPDATE {how}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(about).fetch_one(connection).await.map(drop)
}

/// Waits until somebody waits for a lock here.
async fn somebody_waits(pool: &PgPool) {
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(pool).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A source says something after so many minutes: since when by its own clock, also in minutes. What its signals are then, in the order in
/// which they were first said.
async fn says(pool: &PgPool, at_minute: i64, source: &str, state: SignalState, since: i64) -> Vec<String> {
    let minute = |n: i64| at() + TimeDelta::minutes(n);
    let signal = Signal { started_at: Some(minute(since)), ..signal(source, "a", state) };
    receive(pool, Received { signal: &signal, delivery: None, body: None, at: minute(at_minute) })
        .await
        .unwrap();
    states(pool).await.into_iter().map(|(_, state)| state).collect()
}

#[tokio::test]
async fn what_fires_again_since_the_same_time_is_a_late_copy_soon_after_its_end_and_fires_later() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    assert_eq!(says(pool, 0, "alertmanager", FIRING, 0).await, ["firing"]);
    assert_eq!(says(pool, 5, "alertmanager", RESOLVED, 0).await, ["resolved"]);
    assert_eq!(says(pool, 6, "alertmanager", FIRING, 0).await, ["resolved"]);
    assert_eq!(says(pool, 8, "alertmanager", FIRING, 0).await, ["resolved", "firing"]);
    assert_eq!(says(pool, 9, "alertmanager", RESOLVED, 0).await, ["resolved", "resolved"]);
    assert_eq!(says(pool, 10, "alertmanager", FIRING, 0).await, ["resolved", "resolved"]);
}

#[tokio::test]
async fn what_is_over_by_a_source_that_gives_each_time_its_own_fingerprint_stays_over() {
    let db = TestDb::new().await.unwrap();
    write(db.pool(), "datadog", &[("a", RESOLVED)]).await;
    write(db.pool(), "datadog", &[("a", FIRING)]).await;
    assert_eq!(states(db.pool()).await, [("a".to_owned(), "resolved".to_owned())]);
    assert_eq!(says(db.pool(), 600, "datadog", FIRING, 590).await, ["resolved"]);
    // Any other source fires.
    write(db.pool(), "lamps", &[("b", RESOLVED)]).await;
    write(db.pool(), "lamps", &[("b", FIRING)]).await;
    assert_eq!(states(db.pool()).await.last().unwrap().1, "firing");
}

#[tokio::test]
async fn of_messages_that_bear_their_time_an_older_one_than_the_newest_changes_nothing() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    assert_eq!(says(pool, 0, "sns", FIRING, 0).await, ["firing"]);
    assert_eq!(says(pool, 10, "sns", RESOLVED, 10).await, ["resolved"]);
    assert_eq!(says(pool, 40, "sns", FIRING, 0).await, ["resolved"], "the first, again");
    assert_eq!(says(pool, 50, "sns", FIRING, 50).await, ["resolved", "firing"]);
    let kept = says(pool, 51, "sns", RESOLVED, 10).await;
    assert_eq!(
        kept,
        ["resolved", "firing"],
        "the one before, again: counted where it was said, and ends nothing"
    );
    // It was over in between, and nobody heard of it until now.
    assert_eq!(says(pool, 61, "sns", FIRING, 60).await, ["resolved", "firing"]);
    assert_eq!(says(pool, 62, "sns", RESOLVED, 55).await.iter().filter(|s| *s == "firing").count(), 1);
    assert!(!says(pool, 70, "sns", RESOLVED, 70).await.contains(&"firing".to_owned()));
}

#[tokio::test]
async fn what_was_said_before_an_end_that_bears_its_time_and_comes_after_it_fires_nothing() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    assert_eq!(says(pool, 0, "sns", FIRING, 0).await, ["firing"]);
    assert_eq!(says(pool, 30, "sns", RESOLVED, 30).await, ["resolved"]);
    assert_eq!(says(pool, 40, "sns", FIRING, 20).await, ["resolved"], "of before the end");
    assert_eq!(says(pool, 50, "sns", FIRING, 45).await, ["resolved", "firing"]);
}

#[tokio::test]
async fn a_word_of_what_is_over_fires_nothing_however_late_and_what_was_reopened_fires() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    assert_eq!(says(pool, 0, "pagerduty", FIRING, 0).await, ["firing"]);
    assert_eq!(says(pool, 5, "pagerduty", RESOLVED, 0).await, ["resolved"]);
    assert_eq!(says(pool, 600, "pagerduty", FIRING, 0).await, ["resolved"], "acknowledged before, told now");
    assert_eq!(says(pool, 610, "pagerduty", FIRING, 605).await, ["resolved", "firing"], "reopened");
    assert_eq!(says(pool, 620, "pagerduty", FIRING, 0).await, ["resolved", "firing"]);
    assert_eq!(
        says(pool, 630, "pagerduty", RESOLVED, 0).await,
        ["resolved", "resolved"],
        "it bears when it was made"
    );
    // Reopened once more, before anybody heard that it was over; and told again when it is.
    assert_eq!(says(pool, 700, "pagerduty", FIRING, 695).await[2], "firing");
    assert_eq!(says(pool, 710, "pagerduty", FIRING, 705).await[2], "firing");
    assert_eq!(says(pool, 720, "pagerduty", RESOLVED, 0).await, ["resolved"; 3]);
    assert_eq!(says(pool, 730, "pagerduty", FIRING, 705).await, ["resolved"; 3]);
}

#[tokio::test]
async fn a_batch_locks_also_the_row_of_what_is_late_before_it_writes() {
    let db = TestDb::new().await.unwrap();
    write(db.pool(), "datadog", &[("a", FIRING), ("b", FIRING)]).await;
    write(db.pool(), "datadog", &[("a", RESOLVED)]).await;
    // What comes late has begun at another time than what is over, and bears the first place in the order.
    let late = Signal { started_at: Some(at() - TimeDelta::minutes(1)), ..signal("datadog", "a", FIRING) };
    let over = signal("datadog", "b", RESOLVED);
    let mut held = PgConnection::connect_with(&db.pool().connect_options()).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT id FROM signal WHERE fingerprint = 'a' FOR UPDATE")
        .execute(&mut held)
        .await
        .unwrap();
    let pool = db.pool().clone();
    let writing = tokio::spawn(async move {
        let received = [&late, &over].map(|signal| Received { signal, delivery: None, body: None, at: at() });
        receive_all(&pool, &received).await.unwrap();
    });
    somebody_waits(db.pool()).await;
    // Locking, not writing: nothing was inserted or updated by who waits.
    let sql =
        "SELECT query LIKE '%known AS MATERIALIZED%' AND query LIKE '%FOR UPDATE%' FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let locks: bool = sqlx::query_scalar(sql).fetch_one(db.pool()).await.unwrap();
    assert!(locks, "it waits for the row while it takes its turn");
    sqlx::raw_sql("COMMIT").execute(&mut held).await.unwrap();
    writing.await.unwrap();
    assert_eq!(
        states(db.pool()).await.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(),
        ["resolved"; 2]
    );
}

#[tokio::test]
async fn what_is_said_again_with_another_severity_is_judged_anew() {
    let db = TestDb::new().await.unwrap();
    let say = async |severity: Option<&str>| {
        let signal = Signal { severity: severity.map(str::to_owned), ..signal("lamps", "a", FIRING) };
        receive(db.pool(), Received { signal: &signal, delivery: None, body: None, at: at() }).await.unwrap();
        let sql = "SELECT change, look_at IS NOT NULL FROM signal";
        let now: (i64, bool) = sqlx::query_as(sql).fetch_one(db.pool()).await.unwrap();
        sqlx::raw_sql("UPDATE signal SET look_at = NULL").execute(db.pool()).await.unwrap();
        now
    };
    assert_eq!(say(None).await, (0, true));
    assert_eq!(say(None).await, (0, false));
    assert_eq!(say(Some("warning")).await, (1, true));
    assert_eq!(say(Some("warning")).await, (1, false));
    assert_eq!(say(Some("critical")).await, (2, true));
}

async fn states(pool: &PgPool) -> Vec<(String, String)> {
    sqlx::query_as("SELECT fingerprint, state FROM signal ORDER BY fingerprint, first_seen")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn who_waits_for_a_signal_holds_none_that_comes_after_it_whatever_is_over_and_whatever_fires() {
    for (a, b) in [(FIRING, RESOLVED), (RESOLVED, FIRING), (RESOLVED, RESOLVED), (FIRING, FIRING)] {
        let db = TestDb::new().await.unwrap();
        write(db.pool(), "lamps", &[("a", FIRING), ("b", FIRING)]).await;
        let mut held = holding(&db, "a").await;
        let pool = db.pool().clone();
        // Given in the wrong order, too.
        let writing = tokio::spawn(async move { write(&pool, "lamps", &[("b", b), ("a", a)]).await });
        somebody_waits(db.pool()).await;
        take(&mut held, "b", "NOWAIT").await.unwrap_or_else(|e| panic!("{a:?} {b:?}: {e}"));
        sqlx::raw_sql("COMMIT").execute(&mut held).await.unwrap();
        writing.await.unwrap();
        let expected = [("a".to_owned(), a.word().to_owned()), ("b".to_owned(), b.word().to_owned())];
        assert_eq!(states(db.pool()).await, expected);
    }
}

#[tokio::test]
async fn two_processes_that_say_the_opposite_of_the_same_signals_both_come_through() {
    let db = TestDb::new().await.unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("lamp {n:02}")).collect();
    let half = |even: SignalState, odd: SignalState| {
        let state = |(n, name)| (name, if n % 2 == 0 { even } else { odd });
        names.iter().map(String::as_str).enumerate().map(state).collect::<Vec<_>>()
    };
    write(db.pool(), "lamps", &half(FIRING, FIRING)).await;
    let (here, there) = (half(FIRING, RESOLVED), half(RESOLVED, FIRING));
    let (fires, one) = (half(FIRING, FIRING), [("lamp 11", RESOLVED)]);
    for _ in 0..25 {
        let pool = db.pool();
        tokio::join!(
            write(pool, "lamps", &here),
            write(pool, "lamps", &there),
            write(pool, "lamps", &fires),
            write(pool, "lamps", &one)
        );
    }
    let deadlocks: i64 =
        sqlx::query_scalar("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
            .fetch_one(db.pool())
            .await
            .unwrap();
    assert_eq!(deadlocks, 0, "Postgres had to end none of them");
}

#[tokio::test]
async fn what_the_prober_has_not_seen_is_ended_and_what_somebody_writes_just_now_is_not_waited_for() {
    let db = TestDb::new().await.unwrap();
    write(db.pool(), PROBER, &[("a", FIRING), ("b", FIRING), ("c", FIRING)]).await;
    let mut held = holding(&db, "a").await;
    let later = at() + TimeDelta::minutes(1);
    let calm = async |unseen: &[&str]| {
        let unseen: Vec<String> = unseen.iter().map(|one| (*one).to_owned()).collect();
        prober_is_calm(db.pool(), "lamps", &unseen, later, later).await.unwrap()
    };
    assert_eq!(calm(&["c"]).await, 1);
    sqlx::raw_sql("COMMIT").execute(&mut held).await.unwrap();
    assert_eq!(calm(&["c"]).await, 1, "it is ended the next time");
    assert_eq!(calm(&["c"]).await, 0, "nobody could look after it");
    assert_eq!(states(db.pool()).await[2], ("c".to_owned(), "firing".to_owned()));
    assert_eq!(calm(&[]).await, 1);
    assert!(states(db.pool()).await.iter().all(|(_, state)| state == "resolved"));
}

#[tokio::test]
async fn what_the_prober_said_of_a_fleet_that_nobody_knows_any_more_is_over_once_nobody_says_it() {
    let db = TestDb::new().await.unwrap();
    write(db.pool(), PROBER, &[("a", FIRING)]).await;
    write(db.pool(), "alertmanager", &[("b", FIRING)]).await;
    let later = at() + TimeDelta::minutes(1);
    let gone = async |known: &[&str], since| {
        let known: Vec<String> = known.iter().map(|one| (*one).to_owned()).collect();
        prober_is_gone(db.pool(), &known, since, later).await.unwrap()
    };
    assert_eq!(gone(&["lamps", "torches"], later).await, 0, "it is known");
    assert_eq!(gone(&["torches"], at()).await, 0, "somebody has just said it: there it is known");
    assert_eq!(gone(&["torches"], later).await, 1);
    assert_eq!(
        states(db.pool()).await,
        [("a".to_owned(), "resolved".to_owned()), ("b".to_owned(), "firing".to_owned())]
    );
    write(db.pool(), PROBER, &[("a", FIRING)]).await;
    assert_eq!(gone(&[], later).await, 1, "an inventory without fleets knows none");
}

#[tokio::test]
async fn of_offers_that_are_the_same_the_newest_is_told_and_none_pushes_out_another() {
    let db = TestDb::new().await.unwrap();
    for sql in [
        "INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen)
         SELECT gen_random_uuid(), 's', 'k', n::text, 'firing', n::text, '{}', now() - n * interval '1 minute', now()
           FROM generate_series(1, 5) AS n",
        "INSERT INTO verdict (signal, at, verdict, code, because, considered, start_key)
         SELECT id, first_seen, 'asked', 'ask', '', '[]', CASE summary WHEN '5' THEN 'other' ELSE 'same' END FROM signal",
        "UPDATE signal s SET verdict = v.id FROM verdict v WHERE v.signal = s.id",
    ] {
        execute(db.pool(), sql).await;
    }
    let offers = store::signals::offers(db.pool(), None, 3).await.unwrap();
    let told: Vec<_> = offers.iter().map(|signal| signal.summary.as_str()).collect();
    assert_eq!(told, ["1", "5", "2"]);
    assert_eq!(store::signals::firing(db.pool()).await.unwrap(), 5);
}
