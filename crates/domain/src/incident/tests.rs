//! Who may do what in an incident, and when.

use super::*;

fn at(s: i64) -> Timestamp {
    Timestamp::from_timestamp(1_715_093_000 + s, 0).unwrap()
}

fn incident() -> Incident {
    Incident {
        id: Uuid::nil(),
        number: 17,
        title: "Logins fail".into(),
        targets: vec!["fleet:us".into()],
        severity: None,
        opened_at: at(0),
        opened_by: "triage".into(),
        driver: Some("grace".into()),
        driver_since: Some(at(60)),
        closed_at: None,
        closed_by: None,
    }
}

fn refused(incident: &Incident, by: &Actor, ask: &Ask, firing: i64) -> String {
    allowed(incident, by, ask, firing).unwrap_err().to_string()
}

#[test]
fn who_looks_does_nothing_and_who_responds_does() {
    let note = Ask::Note { text: "It began with shard-e.".into() };
    assert_eq!(allowed(&incident(), &Actor::person("ada"), &note, 1), Ok(()));
    let viewer = Actor::with_role("eve", Role::Viewer);
    assert_eq!(refused(&incident(), &viewer, &note, 0), "this takes a responder, and you are a viewer");
    assert!(may_open(&viewer, "t", &["fleet:us".into()]).is_err());
}

#[test]
fn what_says_nothing_or_too_much_is_refused() {
    let ada = Actor::person("ada");
    assert_eq!(refused(&incident(), &ada, &Ask::Note { text: " \n".into() }, 0), "a note is missing");
    let long = Ask::Note { text: "x".repeat(LONGEST_NOTE + 1) };
    assert_eq!(refused(&incident(), &ada, &long, 0), "a note is longer than 4000 characters");
    assert_eq!(
        refused(&incident(), &ada, &Ask::Note { text: "a\0b".into() }, 0),
        "a note holds a NUL character"
    );
    assert!(
        may_open(&ada, "Logins fail", &[]).unwrap_err().to_string().starts_with("name at least one target")
    );
}

#[test]
fn one_has_it_and_it_is_not_handed_to_whoever_has_it() {
    let (ada, grace) = (Actor::person("ada"), Actor::person("grace"));
    assert_eq!(allowed(&incident(), &ada, &Ask::Take, 1), Ok(()));
    assert_eq!(refused(&incident(), &grace, &Ask::Take, 1), "you have INC-17 already");
    let to = |to: &str| Ask::HandOver { to: to.into(), note: None };
    assert_eq!(allowed(&incident(), &grace, &to("ada"), 1), Ok(()));
    assert_eq!(refused(&incident(), &grace, &to(" grace "), 1), "grace has INC-17 already");
}

#[test]
fn it_is_not_closed_while_a_signal_fires_and_once_closed_only_told() {
    let (ada, close) = (Actor::person("ada"), Ask::Close { reason: "False alarm.".into() });
    assert!(refused(&incident(), &ada, &close, 1).starts_with("a signal of it fires still; dismiss"));
    assert!(refused(&incident(), &ada, &close, 2).starts_with("2 signals of it fire still; dismiss"));
    assert_eq!(allowed(&incident(), &ada, &close, 0), Ok(()));
    let closed = Incident { closed_at: Some(at(900)), ..incident() };
    for ask in [Ask::Take, close] {
        assert!(refused(&closed, &ada, &ask, 0).starts_with("INC-17 is closed"));
    }
    assert_eq!(allowed(&closed, &ada, &Ask::Note { text: "Cause: memory.".into() }, 0), Ok(()));
}

#[test]
fn times_count_from_what_came_before_and_leave_out_what_has_not_happened() {
    let times = Times {
        began: Some(at(0)),
        judged: Some(at(3)),
        decided: None,
        changed: Some(at(23)),
        recovered: Some(at(700)),
    };
    let told: Vec<_> =
        times.steps().into_iter().map(|(name, _, after)| (name, after.map(|d| d.num_seconds()))).collect();
    assert_eq!(
        told,
        [
            ("first signal", None),
            ("first verdict", Some(3)),
            ("first change", Some(20)),
            ("symptom gone", Some(677))
        ]
    );
    assert_eq!(times.lasted().map(|d| d.num_seconds()), Some(700));
}
