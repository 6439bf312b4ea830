//! Who may pass which brake, and how each is told.

use serde_json::json;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn only_a_person_with_a_reason_overrides() {
    let ana = Actor::person("ana");
    let alert = Actor::system("alert");
    let freeze = Overrides { despite_freeze: true, ..Overrides::default() };
    assert_eq!(freeze.check(&ana, Some("customers are down")), Ok(()));
    assert_eq!(freeze.check(&ana, Some("  ")), Err(BadOverride::NoReason));
    assert_eq!(freeze.check(&alert, Some("x")), Err(BadOverride::NotAPerson));
    let limit = |reason: &str| Overrides {
        acknowledge: vec![Acknowledged { limit: "failover".into(), reason: reason.into() }],
        ..Overrides::default()
    };
    assert_eq!(limit("the first one failed").check(&ana, None), Ok(()));
    assert_eq!(limit("").check(&ana, Some("x")), Err(BadOverride::NoReason));
    assert_eq!(Overrides::default().check(&alert, None), Ok(()));
}

#[test]
fn a_brake_says_who_holds_what_and_until_when() {
    let lock = Brake::HandLock(HandLock {
        target: "cluster:a".into(),
        holder: "ana".into(),
        reason: "I am on it".into(),
        since: at("2024-05-07T14:00:00Z"),
        until: Some(at("2024-05-07T15:00:00Z")),
    });
    assert_eq!(
        lock.to_string(),
        "ana works on `cluster:a` by hand since 2024-05-07 14:00:00 UTC, until 2024-05-07 15:00:00 UTC: I am on it"
    );
    assert_eq!(lock.way(&Actor::person("ana")), Way::Free);
    assert_eq!(lock.way(&Actor::person("bob")), Way::None);
    assert_eq!(lock.way(&Actor::system("ana")), Way::None);
    let spent: Brake = serde_json::from_value(json!({
        "brake": "limit", "name": "failover of a", "at_most": 1, "per_s": 3600, "free_at": "2024-05-07T15:00:00+00:00",
        "used": [{ "run_id": Uuid::nil(), "title": "Fail over: a", "by": "bob", "at": "2024-05-07T14:00:00+00:00", "ended_at": null }],
    }))
    .unwrap();
    assert_eq!(
        spent.to_string(),
        "the limit \"failover of a\", at most 1 per 1h, is used up by run 00000000-0000-0000-0000-000000000000 \
         (Fail over: a), started by bob at 2024-05-07 14:00:00 UTC; free again at 2024-05-07 15:00:00 UTC"
    );
    assert_eq!(spent.way(&Actor::system("alert")), Way::None);
}
