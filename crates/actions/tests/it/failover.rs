//! Handing the writer's part to another instance: once, to the one that was named, and never soon after another time.

use domain::action::ErrorClass;
use serde_json::{Value, json};
use sim::FaultKind;

use crate::harness::{Done, REGION, Stage};

fn to(target: &str) -> Value {
    json!({ "region": REGION, "cluster": "shard-b", "target": target })
}

async fn cluster(stage: &Stage) -> Value {
    stage.look("rds.describe_cluster", json!({ "region": REGION, "cluster": "shard-b" })).await.unwrap()
}

async fn events(stage: &Stage) -> Value {
    stage.look("rds.failover_events", json!({ "region": REGION, "cluster": "shard-b" })).await.unwrap()
}

/// Looks until the failover is over.
async fn over(stage: &Stage) -> Value {
    loop {
        let seen = cluster(stage).await;
        if seen["status"] == "available" {
            return seen;
        }
        stage.sim.clock().step(std::time::Duration::from_secs(1));
    }
}

#[tokio::test]
async fn the_named_reader_becomes_the_writer_and_a_second_time_is_refused() {
    let stage = Stage::calm().await;
    assert_eq!(cluster(&stage).await["writer"], "shard-b-1");
    assert_eq!(events(&stage).await["started"], 0);
    let done = stage.change("rds.failover_cluster", to("shard-b-3")).await.unwrap();
    let Done::Applied { output, changes, undo, predicted } = done else { panic!("{done:?}") };
    assert_eq!((Some(&output), &undo), (predicted.as_ref(), &None));
    assert_eq!((&changes[0].before, &changes[0].after), (&json!("shard-b-1"), &json!("shard-b-3")));

    // Accepted is not over: meanwhile nothing else is begun.
    let busy = stage.change("rds.failover_cluster", to("shard-b-2")).await.unwrap_err();
    assert_eq!((busy.class, busy.code.as_str()), (ErrorClass::Refused, "cluster_busy"));
    let after = over(&stage).await;
    assert_eq!(after["writer"], "shard-b-3");
    let told = events(&stage).await;
    assert_eq!((&told["started"], &told["reverted"]), (&json!(1), &json!(false)));
    assert!(told["events"].to_string().contains("customer initiated"), "{told}");

    let again = stage.change("rds.failover_cluster", to("shard-b-3")).await.unwrap();
    assert!(matches!(again, Done::AlreadySo(_)), "{again:?}");
    let soon = stage.change("rds.failover_cluster", to("shard-b-1")).await.unwrap_err();
    assert_eq!((soon.class, soon.code.as_str()), (ErrorClass::Refused, "failed_over_lately"));
    assert!(soon.message.contains("shard-b-3 is the writer now"), "{soon}");
    assert_eq!(stage.changes(), ["FailoverDBCluster"]);
}

#[tokio::test]
async fn one_that_goes_back_is_told_and_not_tried_again() {
    let stage = Stage::calm().await;
    stage.sim.strike(FaultKind::FailoverReverts { cluster: "shard-b".into() });
    stage.change("rds.failover_cluster", to("shard-b-2")).await.unwrap();
    let after = over(&stage).await;
    assert_eq!(after["writer"], "shard-b-1", "green, and the old writer");
    assert_eq!(events(&stage).await["reverted"], true);
    let repeat = stage.change("rds.failover_cluster", to("shard-b-2")).await.unwrap_err();
    assert_eq!(repeat.code, "failed_over_lately");
}

#[tokio::test]
async fn a_blue_green_deployment_is_seen_from_the_cluster_that_it_is_of() {
    let stage = Stage::calm().await;
    let input = |cluster: &str| json!({ "region": REGION, "cluster": cluster });
    let found = stage.look("rds.blue_green_deployments", input("shard-b")).await.unwrap();
    assert_eq!(found["active"], json!([]));
    stage.sim.strike(FaultKind::BlueGreen { cluster: "shard-b".into() });
    let found = stage.look("rds.blue_green_deployments", input("shard-b")).await.unwrap();
    let [there] = found["active"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&there["side"], &there["status"]), (&json!("blue"), &json!("AVAILABLE")));
    let green = stage.look("rds.blue_green_deployments", input("shard-b-green-a1b2c3")).await.unwrap();
    assert_eq!(green["active"][0]["side"], "green");
    let other = stage.look("rds.blue_green_deployments", input("shard-a")).await.unwrap();
    assert_eq!(other["active"], json!([]), "the cluster of another name");
}

#[tokio::test]
async fn only_a_reader_of_a_known_cluster_can_be_named() {
    let stage = Stage::calm().await;
    for target in ["shard-b-1x", "shard-a-2"] {
        let error = stage.change("rds.failover_cluster", to(target)).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "no_such_reader"), "{error}");
        assert!(error.message.contains("shard-b-2"), "{error}");
    }
    assert_eq!(stage.changes(), [""; 0]);
}

#[tokio::test]
async fn a_failover_of_which_rds_does_not_tell_that_it_began_counts_all_the_same() {
    for (goes_back, rest) in [(false, "Completed"), (true, "Promoting previous primary again")] {
        let stage = Stage::calm().await;
        let saying = Some("Started".to_owned());
        stage.sim.strike(FaultKind::EventsLost { cluster: "shard-b".into(), saying });
        if goes_back {
            stage.sim.strike(FaultKind::FailoverReverts { cluster: "shard-b".into() });
        }
        stage.change("rds.failover_cluster", to("shard-b-2")).await.unwrap();
        over(&stage).await;
        let told = events(&stage).await;
        assert_eq!((&told["started"], &told["reverted"]), (&json!(1), &json!(goes_back)), "{told}");
        assert!(told["events"].to_string().contains(rest) && told["last_started"].is_string(), "{told}");
        let soon = stage.change("rds.failover_cluster", to("shard-b-3")).await.unwrap_err();
        assert_eq!(soon.code, "failed_over_lately", "{soon}");
        assert_eq!(stage.changes(), ["FailoverDBCluster"]);
    }
}

/// A cluster that went back looks as if nothing had been; its events, where they are told, do not.
#[tokio::test]
async fn a_failover_whose_answer_was_lost_and_that_went_back_is_known_by_its_events_and_else_by_nothing() {
    for (dial, known) in [
        (None, true),
        (Some(FaultKind::EventsLate { cluster: "shard-b".into(), late_s: 600 }), false),
        (Some(FaultKind::EventsLost { cluster: "shard-b".into(), saying: None }), false),
    ] {
        let stage = Stage::calm().await;
        stage.sim.strike(FaultKind::FailoverReverts { cluster: "shard-b".into() });
        dial.clone().into_iter().for_each(|dial| stage.sim.strike(dial));
        let action = stage.registry.get("rds.failover_cluster").unwrap();
        let before = action.observe(&stage.ctx, &to("shard-b-2")).await.unwrap();
        stage.change("rds.failover_cluster", to("shard-b-2")).await.unwrap();
        assert_eq!(over(&stage).await["writer"], "shard-b-1");
        let now = action.observe(&stage.ctx, &to("shard-b-2")).await.unwrap();
        let happened = action.happened(&to("shard-b-2"), &before, &now).unwrap();
        assert_eq!(happened.is_some(), known, "{dial:?}: {now}");
        // And so it is never made again by itself.
        assert!(!action.spec().repeatable);
    }
}
