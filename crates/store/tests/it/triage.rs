//! Verdicts on a real Postgres: what they rest on, though clocks differ.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use domain::triage::Verdict;
use serde_json::json;
use store::private::TestDb;
use store::signals::{Received, receive};
use store::triage::{Given, NewVerdict, Offer, claim, give, lately};
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

/// Starts something for a signal of its own, by a process whose clock says `at`.
async fn started(db: &TestDb, about: &str, at: Timestamp, seen: i64) -> Given {
    let signal = signal(about);
    receive(db.pool(), Received { signal: &signal, delivery: None, body: None, at }).await.unwrap();
    let due = claim(db.pool(), 1, &[], at, 1).await.unwrap().remove(0);
    let verdict = NewVerdict {
        incident: None,
        notices: serde_json::json!([]),
        modes_seen: 0,
        due: &due,
        at,
        verdict: Verdict::Started,
        code: "fits",
        because: "Its guards hold.",
        rule: Some("light/off".into()),
        considered: json!([]),
        offer: Some(Offer {
            runbook: "light".into(),
            inputs: json!({}),
            title: format!("Light {about}"),
            targets: vec![format!("lamp:{about}")],
            incident: Uuid::now_v7(),
            start_key: about.into(),
            plan: json!({ "hash": about }),
        }),
        run_id: None,
        seen,
        look_at: None,
    };
    give(db.pool(), &verdict).await.unwrap()
}

#[tokio::test]
async fn a_start_by_a_process_whose_clock_is_behind_makes_the_next_verdict_stale_once_and_not_for_ever() {
    let db = TestDb::new().await.unwrap();
    let now = Timestamp::from_timestamp(1_715_092_200, 0).unwrap();
    let long_ago = now - TimeDelta::hours(1);
    let seen = async || lately(db.pool(), None, long_ago, long_ago).await.unwrap().seen;

    assert_eq!(started(&db, "a", now, seen().await).await, Given::Stored);
    let old = seen().await;
    assert_eq!(started(&db, "b", now - TimeDelta::seconds(5), old).await, Given::Stored);
    assert_eq!(started(&db, "c", now, old).await, Given::Stale, "it rests on what was so before b");
    assert_ne!(seen().await, old);
    assert_eq!(started(&db, "d", now, seen().await).await, Given::Stored);
}
