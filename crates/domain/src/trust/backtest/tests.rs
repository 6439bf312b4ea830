//! A small past, replayed against rules as they were and as they might be.

use serde_json::json;

use super::*;
use crate::runbook::{Runbook, parse};

fn runbook(condition: &str) -> Runbook {
    let text = format!(
        r#"runbook: replace
title: Replace
when: It is sick.
risk: medium
inputs:
  fleet: {{ type: string, description: Which }}
locks: ["fleet:${{inputs.fleet}}"]
triggers:
  - name: x
    where: {condition}
    inputs: {{ fleet: us }}
    mode: ask
steps:
  - id: a
    assert: 1 == 1
    message: no
"#
    );
    parse("replace", &text).unwrap()
}

fn past(n: u128, kind: &str, verdict: &str, standing: Option<&str>) -> Past {
    let at = Timestamp::from_timestamp(1_715_000_000 + i64::try_from(n).unwrap() * 60, 0).unwrap();
    let considered = standing
        .map(|s| json!({ "rule": "replace/x", "mode": "ask", "standing": s, "says": "sick: Says no." }));
    let signal = Signal {
        source: "generic".into(),
        kind: kind.into(),
        fingerprint: n.to_string(),
        state: SignalState::Firing,
        severity: None,
        summary: String::new(),
        labels: [("fleet".to_owned(), "us".to_owned())].into(),
        started_at: None,
    };
    Past {
        id: Uuid::from_u128(n),
        at,
        signal,
        verdict: Some(verdict.into()),
        rule: considered.as_ref().map(|_| "replace/x".into()),
        incident: considered.as_ref().map(|_| Uuid::from_u128(1)),
        targets: vec!["fleet:us".into()],
        considered: considered.into_iter().collect(),
    }
}

fn replayed(condition: &str, mode: Mode, pasts: &[Past]) -> Report {
    let (runbook, rule) = (runbook(condition), Rule { runbook: "replace".into(), trigger: "x".into() });
    let rules = [Edited { rule: &rule, trigger: &runbook.triggers[0], mode, typed: false }];
    let inventory = Arc::new(json!({}));
    let mut replay = Replay::new(&rules, &inventory, Budget::default());
    pasts.iter().for_each(|past| replay.next(past));
    replay.report()
}

fn changes(report: &Report) -> Vec<(&str, &str, usize)> {
    report.changes.iter().map(|c| (c.then.verdict.as_str(), c.now.verdict.as_str(), c.signals)).collect()
}

fn month() -> Vec<Past> {
    vec![
        past(0, "logins_fail", "asked", Some("fits")),
        past(1, "logins_fail", "suppressed", Some("refuted")),
        past(2, "logins_fail", "asked", Some("fits")),
        past(3, "disk_full", "ignored", None),
    ]
}

#[test]
fn rules_as_they_were_change_nothing() {
    let report = replayed(r#"signal.kind == "logins_fail""#, Mode::Ask, &month());
    assert_eq!((report.signals, report.same, report.changes.len()), (4, 4, 0));
}

#[test]
fn in_mode_auto_it_starts_once_for_an_incident_and_what_a_guard_refused_stays_refused() {
    let report = replayed(r#"signal.kind == "logins_fail""#, Mode::Auto, &month());
    // The second signal of the same incident joins what the first has started.
    assert_eq!(report.same, 1);
    let mut found = changes(&report);
    found.sort_unstable();
    assert_eq!(found, [("asked", "joined", 1), ("asked", "started", 1), ("suppressed", "joined", 1)]);
}

#[test]
fn of_what_a_rule_did_not_take_then_nobody_knows_what_its_guards_would_say() {
    let report = replayed(r#"signal.kind in ["logins_fail", "disk_full"]"#, Mode::Auto, &month()[3..]);
    assert_eq!(changes(&report), [("ignored", "planned", 1)]);
    assert_eq!(report.changes[0].examples, [Uuid::from_u128(3)]);
    assert_eq!(report.changes[0].now.rule.as_deref(), Some("replace/x"));
}

#[test]
fn what_is_not_taken_any_more_is_ignored_and_a_condition_that_breaks_is_told() {
    let report = replayed(r#"signal.kind == "other""#, Mode::Ask, &month()[..1]);
    assert_eq!(changes(&report), [("asked", "ignored", 1)]);
    let report = replayed("signal.labels.hosts > 3", Mode::Ask, &month()[..1]);
    assert!(report.broken.contains_key("replace/x"), "{report:?}");
}

#[test]
fn what_was_barred_then_stays_barred() {
    let barred = past(0, "logins_fail", "suppressed", Some("barred"));
    let report = replayed(r#"signal.kind == "logins_fail""#, Mode::Auto, &[barred]);
    assert_eq!((report.signals, report.same), (1, 1), "{report:?}");
}
