//! How the runbooks of the repository judge what they may see, also where no drill plays it: their own expressions, on outputs by hand.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use domain::runbook::{self, Body, Runbook, Scope, Slot};
use serde_json::{Value, json};

fn book(name: &str) -> Runbook {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../runbooks/{name}.yaml"));
    runbook::parse(name, &fs::read_to_string(file).unwrap()).unwrap()
}

fn body<'r>(book: &'r Runbook, step: &str) -> &'r Body {
    &book.steps.iter().find(|s| s.id == step).unwrap_or_else(|| panic!("no step {step}")).body
}

/// A guard: the words with which it stops the run, if it does.
fn guard(book: &Runbook, step: &str, scope: &Scope) -> Option<String> {
    let Body::Assert { that, message, .. } = body(book, step) else { panic!("{step} is no guard") };
    (!that.test(scope).unwrap()).then(|| message.words(scope))
}

fn scope<const N: usize>(inputs: Value, steps: [(&str, Value); N]) -> Scope {
    let steps = steps.map(|(id, output)| (id.to_owned(), Slot::Known(Arc::new(output))));
    Scope { inputs: inputs.into(), steps: BTreeMap::from(steps), ..Scope::default() }
}

fn instance(id: &str, size: f64, memory_gib: f64) -> Value {
    let writer = id == "writer";
    json!({ "id": id, "writer": writer, "status": "available", "pending": [], "size": size, "memory_gib": memory_gib })
}

#[test]
fn a_new_writer_is_measured_by_its_memory_and_only_a_wish_makes_it_smaller() {
    let failover = book("failover-cluster");
    let able = |writer: Value, reader: Value, smaller: bool| {
        let members = json!({ "members": [writer, reader] });
        let scope = scope(json!({ "smaller": smaller }), [("before", members), ("writer", writer)]);
        let Body::Value(able) = body(&failover, "able") else { panic!("no value") };
        able.eval(&scope).unwrap().as_array().unwrap().len() == 1
    };
    let (x2g_8xl, r6i_16xl, r6i_12xl) = ((8.0, 512.0), (16.0, 512.0), (12.0, 384.0));
    let of = |id: &str, (size, memory): (f64, f64)| instance(id, size, memory);
    assert!(able(of("writer", r6i_16xl), of("r", x2g_8xl), false), "as much memory");
    assert!(!able(of("writer", r6i_16xl), of("r", r6i_12xl), false));
    assert!(!able(of("writer", x2g_8xl), of("r", r6i_12xl), false), "larger by its number alone");
    assert!(able(of("writer", r6i_16xl), of("r", r6i_12xl), true), "it was asked for");
    // Where the table does not know a family, its number is all there is.
    assert!(able(of("writer", (8.0, 0.0)), of("r", (8.0, 256.0)), false));
    assert!(!able(of("writer", (8.0, 0.0)), of("r", (4.0, 0.0)), false));
}

/// What the resize lets pass at its beginning, the failover in its middle must not stop.
#[test]
fn a_resize_that_begins_can_hand_the_writers_part_on() {
    let (resize, failover) = (book("resize-cluster"), book("failover-cluster"));
    let Body::Value(able) = body(&failover, "able") else { panic!("no value") };
    for old in [(8.0, 256.0), (16.0, 512.0), (8.0, 0.0), (0.0, 0.0)] {
        for new in [(8.0, 256.0), (8.0, 512.0), (4.0, 128.0), (4.0, 256.0), (4.0, 0.0), (0.0, 0.0)] {
            for smaller in [false, true] {
                let writer = instance("writer", old.0, old.1);
                let before = json!({ "members": [writer, instance("r", old.0, old.1)] });
                let inputs = json!({ "smaller": smaller, "class": "new" });
                let begins =
                    scope(inputs.clone(), [("before", before), ("offer", json!({ "memory_gib": new.1 }))]);
                if guard(&resize, "not_smaller", &begins).is_some() {
                    continue;
                }
                let half = json!({ "members": [writer, instance("r", new.0, new.1)] });
                let half = scope(inputs, [("before", half), ("writer", writer)]);
                assert_eq!(able.eval(&half).unwrap().as_array().unwrap().len(), 1, "{old:?} to {new:?}");
            }
        }
    }
}

#[test]
fn only_the_failover_of_this_run_is_told_as_reverted() {
    let failover = book("failover-cluster");
    let said = |before: &[&str], told: &[&str], status: &str| {
        let back = |at: &&str| json!({ "at": at, "kind": "reverted", "message": "Promoting previous primary again: old" });
        let events = |at: &[&str]| json!({ "events": at.iter().map(back).collect::<Vec<_>>() });
        let scope = scope(
            json!({}),
            [
                ("target", json!("new")),
                ("after", json!({ "writer": "old", "status": status })),
                ("events", events(before)),
                ("told", events(told)),
            ],
        );
        guard(&failover, "handed_over", &scope).unwrap()
    };
    let (earlier, ours) = ("2024-05-07T14:02:20Z", "2024-05-07T14:20:20Z");
    assert!(said(&[], &[ours], "available").starts_with("Reverted"));
    assert!(said(&[earlier], &[earlier, ours], "available").starts_with("Reverted"));
    let slow = said(&[earlier], &[earlier], "failing-over");
    assert!(slow.starts_with("The failover is not over after 13 minutes"), "{slow}");
    // Whatever is told late: one that goes on has not gone back.
    assert!(said(&[], &[earlier], "failing-over").starts_with("The failover is not over"));
    assert!(said(&[earlier], &[earlier], "available").starts_with("The target is not the writer"));
}

#[test]
fn a_failover_says_that_the_symptom_is_gone_only_where_there_was_one() {
    let failover = book("failover-cluster");
    let said = |failures: u32, direct_failures: u32| {
        let well = json!({ "key": "us", "logins": { "failures": 0, "direct_failures": 0 } });
        let way =
            json!({ "key": "eu", "logins": { "failures": failures, "direct_failures": direct_failures } });
        let scope =
            scope(json!({ "planned": true }), [("ways", json!([well, way])), ("target", json!("shard-b-2"))]);
        failover.result.as_ref().unwrap().words(&scope)
    };
    assert_eq!(said(0, 0), "All steps are done, and every login finds the new writer, shard-b-2.");
    assert_eq!(said(0, 2), "All steps are done, and the symptom is gone.");
    assert_eq!(said(3, 0), "All steps are done, and the symptom is gone.");
}

#[test]
fn the_fleet_whose_hosts_fail_is_named_whichever_it_is() {
    let failover = book("failover-cluster");
    let way = |fleet: &str, failing: &[&str]| {
        let logins = json!({ "failures": failing.len(), "direct_failures": 0, "failing_hosts": failing });
        json!({ "key": fleet, "logins": logins })
    };
    let inputs = json!({ "planned": false, "cluster": { "id": "shard-b" } });
    let scope = scope(inputs, [("ways", json!([way("us", &[]), way("eu", &["i-1", "i-2"])]))]);
    let said = guard(&failover, "not_the_proxies", &scope).unwrap();
    assert!(said.contains("eu: i-1, i-2") && said.contains("Run replace-proxysql for eu."), "{said}");
}

/// The hosts are healed for the cluster that the run was about; one that is down beside it is for somebody else, and is named.
#[test]
fn a_replacement_is_judged_by_the_clusters_that_it_was_about() {
    let replace = book("replace-proxysql");
    let verify = replace.verify.as_ref().unwrap();
    let gone = |via: &[&str], direct: &[&str]| {
        let seen = json!({ "failing_clusters": via, "direct_failing_clusters": direct });
        let before = json!({ "failing_clusters": ["b", "e"], "direct_failing_clusters": ["e"] });
        let scope = scope(json!({}), [("diagnose", before)]).with_out(seen);
        verify.look.until.as_ref().unwrap().condition.test(&scope).unwrap()
    };
    assert!(gone(&[], &[]));
    assert!(gone(&["e"], &["e"]), "it is down, as it was");
    assert!(!gone(&["b", "e"], &["e"]), "the hosts still fail");
    assert!(!gone(&["b"], &["b"]), "the one that this is about is down now");
    assert!(gone(&["a"], &["a"]), "another trouble, which has come meanwhile");

    let group = json!({ "desired": 2, "in_service": [], "ids": [] });
    let said = |direct: &[&str]| {
        let seen = json!({ "direct_failing_clusters": direct });
        let scope = scope(json!({}), [("now", group.clone()), ("group", group.clone()), ("verify", seen)]);
        replace.result.as_ref().unwrap().words(&scope)
    };
    assert_eq!(said(&[]), "All steps are done, and the symptom is gone.");
    assert!(said(&["e"]).contains("Direct logins to e fail"), "{}", said(&["e"]));
}

#[test]
fn more_hosts_than_can_be_protected_are_refused_before_anything_is_launched() {
    let replace = book("replace-proxysql");
    let hosts = |n: usize| scope(json!({}), [("old", json!(vec!["i"; n]))]);
    assert_eq!(guard(&replace, "not_too_many", &hosts(50)), None);
    let said = guard(&replace, "not_too_many", &hosts(51)).unwrap();
    assert!(said.starts_with("51 hosts"), "{said}");
    let place = |id: &str| replace.steps.iter().position(|s| s.id == id).unwrap();
    assert!(place("not_too_many") < place("quiet"));
}

/// A host in Standby rests as it is: that it is in the way is told with its name, and not that the group will settle.
#[test]
fn hosts_that_keep_a_group_from_resting_are_named() {
    for name in ["replace-proxysql", "add-proxysql-capacity", "remove-proxysql-hosts"] {
        let book = book(name);
        let said = |leaving: &[&str], other: &[&str]| {
            let group = json!({ "pending": [], "leaving": leaving, "other": other, "desired": 1, "in_service": [{}] });
            guard(&book, "settled", &scope(json!({}), [("group", group)]))
        };
        assert_eq!(said(&[], &[]), None);
        let aside = said(&[], &["i-1", "i-2"]).unwrap();
        assert!(aside.contains("Set aside: i-1, i-2. A host in Standby stays so"), "{aside}");
        let leaving = said(&["i-3"], &[]).unwrap();
        assert!(leaving.contains("Leaving: i-3.") && !leaving.contains("Standby"), "{leaving}");
    }
}

/// A hook and the load balancer hold a host alike; who accepts that is let pass.
#[test]
fn what_holds_hosts_for_long_is_refused_unless_it_is_accepted() {
    let replace = book("replace-proxysql");
    let hook = |name: &str, s: u32| json!({ "name": name, "timeout_s": s });
    let hooks = |slow: bool, launching: u32, terminating: u32| {
        let hooks =
            json!({ "launching": [hook("boot", launching)], "terminating": [hook("bye", terminating)] });
        guard(&replace, "hooks_are_short", &scope(json!({ "slow": slow }), [("hooks", hooks)]))
    };
    assert_eq!(hooks(false, 600, 600), None);
    assert_eq!(hooks(true, 3600, 3600), None);
    let said = hooks(false, 3600, 3600).unwrap();
    assert!(said.contains("(boot: 3600 s, bye: 3600 s)") && said.contains("`slow`"), "{said}");
    let delay = |slow: bool, balancer: Value| {
        let inputs = json!({ "slow": slow, "fleet": { "target_group": "arn" } });
        guard(&replace, "lets_go", &scope(inputs, [("balancer", balancer)]))
    };
    let of = |s: u32| json!({ "deregistration_delay_s": s });
    assert_eq!((delay(false, Value::Null), delay(false, of(600)), delay(true, of(3600))), (None, None, None));
    assert!(delay(false, of(3600)).unwrap().contains("3600 s"));
}

#[test]
fn only_the_load_balancer_that_hosts_are_registered_with_is_waited_for() {
    for name in ["replace-proxysql", "restart-one-proxysql-host"] {
        let book = book(name);
        let said = |named: Value, registered: &[&str]| {
            let inputs = json!({ "fleet": { "id": "us", "group": "g", "target_group": named } });
            guard(
                &book,
                "balancer_known",
                &scope(inputs, [("group", json!({ "target_groups": registered }))]),
            )
        };
        assert_eq!((said(json!("a"), &["a"]), said(json!("a"), &["b", "a"])), (None, None));
        assert_eq!((said(json!(null), &[]), said(json!("a"), &[])), (None, None));
        let none = said(json!(null), &["a"]).unwrap();
        assert!(none.contains("names no target group. Enter a as `target_group`"), "{none}");
        let old = said(json!("old"), &["a", "b"]).unwrap();
        assert!(old.contains("names old. Enter the one that clients come through"), "{old}");
    }
}

#[test]
fn a_fleet_that_was_not_tried_is_not_one_without_hosts() {
    let failover = book("failover-cluster");
    let said = |hosts: &[&str]| {
        let diagnose = json!([{ "key": "us", "group": { "in_service": hosts }, "logins": null }]);
        let fleets = json!([{ "id": "us", "group": "us-asg" }]);
        let scope = scope(json!({}), [("ways", json!([])), ("diagnose", diagnose), ("fleets", fleets)]);
        guard(&failover, "has_hosts", &scope).unwrap()
    };
    assert!(said(&[]).starts_with("No fleet in front of it has a host in service (us-asg)"), "{}", said(&[]));
    assert!(
        said(&["i-1"]).starts_with("Logins were not tried through the hosts of us,"),
        "{}",
        said(&["i-1"])
    );
}

#[test]
fn a_finding_is_told_also_when_nobody_knows_which_alarms_ring() {
    let diagnose = book("diagnose-logins");
    let said = |alarms: Value| {
        let known = [("finding", json!("Found.")), ("beside", json!("")), ("alarms", alarms)];
        diagnose.result.as_ref().unwrap().words(&scope(json!({}), known))
    };
    assert_eq!(said(json!({ "ringing": [] })), "Found.");
    assert_eq!(said(json!({ "ringing": ["a", "b"] })), "Found. Alarms that ring: a, b.");
    assert_eq!(said(Value::Null), "Found. CloudWatch did not answer: which alarms ring is not known.");
}
