//! Rehearsals of the real runbooks on the simulated AWS: in peace all would work, and what would refuse tonight is told before.

use serde_json::{Value, json};
use sim::Sim;

use crate::kills::small_world;
use crate::served::{Person, Served};

async fn rehearse_all(person: &Person) -> Vec<Value> {
    let cases = person.get("/api/v1/readiness").await["readiness"].as_array().unwrap().clone();
    for case in cases.iter().filter(|case| case["asks"] == json!([])) {
        let which = json!({ "runbook": case["runbook"], "target": case["target"] });
        person.post("/api/v1/readiness", &which).await;
    }
    person.get("/api/v1/readiness").await["readiness"].as_array().unwrap().clone()
}

fn of<'a>(rows: &'a [Value], runbook: &str, target: &str) -> &'a Value {
    rows.iter().find(|row| row["runbook"] == runbook && row["target"] == target).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_peace_every_runbook_would_work_and_a_suspended_group_is_told_before_anybody_needs_it() {
    let mut world = small_world();
    world.faults.clear();
    let sim = Sim::start(world, sim::Options { speed: 10.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on(&sim).await;
    let person = served.person().await;
    let rows = rehearse_all(&person).await;
    let rehearsed: Vec<&Value> = rows.iter().filter(|row| row["asks"] == json!([])).collect();
    for row in &rehearsed {
        assert_eq!(row["shown"]["ready"], true, "{row:#}");
    }
    for (runbook, target) in [
        ("replace-proxysql", "fleet:proxysql-us"),
        ("failover-cluster", "cluster:shard-b"),
        ("fail-back-cluster", "cluster:shard-e"),
        ("shed-load", "cluster:shard-a"),
        ("add-proxysql-capacity", "fleet:proxysql-us"),
        ("diagnose-logins", "fleet:proxysql-us"),
    ] {
        assert!(
            rehearsed.iter().any(|row| row["runbook"] == runbook && row["target"] == target),
            "{runbook}"
        );
    }
    // It is not needed now, and the guards that ask say so.
    let unneeded = &of(&rows, "replace-proxysql", "fleet:proxysql-us")["shown"]["unneeded"];
    assert!(unneeded[0].as_str().unwrap().contains("nothing to heal"), "{unneeded}");
    assert_eq!(of(&rows, "resize-cluster", "cluster:shard-e")["asks"], json!(["class"]));
    let at_least = served.command(&["readiness", "--help"]);
    assert!(at_least.contains("--json"), "{at_least}");

    let group = sim.world_info().fleets[0].asg.clone();
    sim.edit(|world| world.suspend_processes(&group, &["Launch".to_owned()], true)).unwrap();
    let rows = rehearse_all(&person).await;
    let red = of(&rows, "replace-proxysql", "fleet:proxysql-us");
    assert_eq!(
        (&red["shown"]["ready"], &red["shown"]["step"]),
        (&json!(false), &json!("can_launch")),
        "{red:#}"
    );
    assert!(red["shown"]["message"].as_str().unwrap().contains("suspended"), "{red:#}");
    assert_eq!(of(&rows, "failover-cluster", "cluster:shard-b")["shown"]["ready"], true);
    // It comes first, and on the first page.
    assert_eq!(rows[0]["shown"]["ready"], false);
    let situation = person.text("/").await;
    assert!(situation.contains("not-ready") && situation.contains("Replace"), "{situation}");
    assert!(person.text("/readiness").await.contains("would stop"));
    assert!(sim.ledger().iter().all(|entry| !entry.mutating), "a rehearsal changes nothing");
}
