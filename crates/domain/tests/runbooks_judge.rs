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
    json!({ "id": id, "writer": writer, "status": "available", "pending": [], "size": size, "memory_gib": memory_gib, "class": "c", "tier": 1 })
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

/// Where nobody can say how large the writer is, only its own class is as large; and a serverless reader of a late tier is as small as
/// what it has to do.
#[test]
fn a_writer_of_unknown_size_is_followed_by_one_of_its_class() {
    let failover = book("failover-cluster");
    let Body::Value(able) = body(&failover, "able") else { panic!("no value") };
    let is_able = |writer: &str, reader: &str, tier: u32| {
        let one = |id: &str, class: &str, size: f64| {
            let mut one = instance(id, size, 4.0 * size);
            (one["class"], one["tier"]) = (json!(class), json!(tier));
            one
        };
        let sizes = |class: &str| if class.ends_with("medium") { 0.25 } else { 0.0 };
        let (writer, reader) = (one("writer", writer, sizes(writer)), one("r", reader, sizes(reader)));
        let before = json!({ "members": [writer, reader] });
        let scope = scope(json!({ "smaller": false }), [("before", before), ("writer", writer)]);
        able.eval(&scope).unwrap().as_array().unwrap().len() == 1
    };
    assert!(is_able("db.serverless", "db.serverless", 1));
    assert!(!is_able("db.serverless", "db.serverless", 2), "it does not grow with the writer");
    assert!(!is_able("db.serverless", "db.t4g.medium", 0));
    assert!(is_able("db.new.huge", "db.new.huge", 2));
    assert!(!is_able("db.t4g.medium", "db.serverless", 0), "nobody knows how small");
}

#[test]
fn a_reader_of_the_last_tier_writes_only_where_there_is_no_other() {
    for (name, of) in [("failover-cluster", "able"), ("resize-cluster", "before")] {
        let book = book(name);
        let chosen = |tiers: &[u32]| {
            let reader =
                |(n, tier): (usize, &u32)| json!({ "id": format!("r{n}"), "writer": false, "tier": tier });
            let readers = json!(tiers.iter().enumerate().map(reader).collect::<Vec<_>>());
            let value = if of == "able" { readers } else { json!({ "members": readers }) };
            let Body::Value(meant) = body(&book, "meant") else { panic!("no value") };
            let meant = meant.eval(&scope(json!({}), [(of, value)])).unwrap();
            meant.as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[0, 1, 15]), ["r0", "r1"], "{name}");
        assert_eq!(chosen(&[15, 15]), ["r0", "r1"], "{name}");
    }
}

#[test]
fn zones_of_unequal_numbers_are_told_because_auto_scaling_evens_them_out() {
    let replace = book("replace-proxysql");
    let said = |zones: &[&str], suspended: &[&str]| {
        let host = |az: &&str| json!({ "id": format!("i-{az}"), "az": az });
        let hosts: Vec<_> = zones.iter().map(host).collect();
        let group = json!({ "desired": zones.len(), "in_service": hosts, "zones": ["a", "b"], "suspended": suspended, "ids": [] });
        let mut scope = scope(
            json!({}),
            [("now", group.clone()), ("group", group), ("verify", json!({ "direct_failing_clusters": [] }))],
        );
        let Body::Value(per_zone) = body(&replace, "per_zone") else { panic!("no value") };
        let counted = per_zone.eval(&scope).unwrap();
        scope.steps.insert("per_zone".into(), Slot::Known(Arc::new(counted)));
        replace.result.as_ref().unwrap().words(&scope)
    };
    assert!(said(&["a", "a", "a", "b"], &[]).contains("unequal numbers of hosts (a: 3, b: 1)"));
    assert!(said(&["a", "a"], &[]).contains("(a: 2, b: 0)"), "one that is empty counts as well");
    assert_eq!(said(&["a", "a", "b"], &[]), "All steps are done, and the symptom is gone.");
    assert_eq!(said(&["a", "a", "a", "b"], &["AZRebalance"]), "All steps are done, and the symptom is gone.");
}

/// Hosts of other fleets in front of a cluster have connections to it, too.
#[test]
fn the_hosts_of_all_fleets_share_a_clusters_connections() {
    let replace = book("replace-proxysql");
    let fits = |beside: Value| {
        let hosts = |n: usize| json!(vec![json!({ "id": "i" }); n]);
        let other = json!({ "id": "old", "clusters": ["b"], "backend_connections": 400 });
        let mut scope = scope(
            json!({ "fleet": { "id": "us", "clusters": ["a", "b"], "backend_connections": 400 } }),
            [
                ("group", json!({ "in_service": hosts(6) })),
                ("old", hosts(6)),
                ("beside", json!([other])),
                ("beside_hosts", beside),
            ],
        );
        let clusters = [("a", 5000), ("b", 5000), ("c", 1)];
        let clusters = clusters.map(|(id, most)| json!({ "id": id, "max_connections": most }));
        scope.inventory = json!({ "clusters": clusters }).into();
        guard(&replace, "room_for_connections", &scope).is_none()
    };
    let hosts =
        |n: usize| json!([{ "key": "old", "hosts": { "in_service": vec![json!({ "id": "o" }); n] } }]);
    assert!(fits(hosts(0)));
    assert!(!fits(hosts(6)), "18 of 400 each");
    assert!(fits(json!([{ "key": "old", "hosts": null }])), "what cannot be seen is not counted");
    assert!(fits(Value::Null), "there is no other fleet");
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
        let scope = scope(
            json!({ "planned": true }),
            [("ways", json!([well, way])), ("target", json!("shard-b-2")), ("unseen", json!([]))],
        );
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
        let steps =
            [("now", group.clone()), ("group", group.clone()), ("verify", seen), ("per_zone", json!([]))];
        replace.result.as_ref().unwrap().words(&scope(json!({}), steps))
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
