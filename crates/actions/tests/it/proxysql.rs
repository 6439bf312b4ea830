//! Pausing and resuming a ProxySQL host.

use std::time::Duration;

use domain::action::ErrorClass;
use serde_json::{Value, json};
use sim::{ApiFault, ApiTrouble, FaultKind};

use crate::harness::{Done, GROUP, REGION, Stage};

#[tokio::test]
async fn a_host_is_paused_and_resumed() {
    let stage = Stage::calm().await;
    let host = stage.group().await["in_service"][0].clone();
    let input = json!({ "fleet": "us", "host": host });
    let status = stage.look("proxysql.status", input.clone()).await.unwrap();
    assert_eq!(status["paused"], false);
    assert_eq!((&status["servers_online"], &status["servers"]), (&json!(13), &json!(13)));
    assert!(status["clients"].as_u64().unwrap() > 0, "{status}");

    let done = stage.change("proxysql.pause", input.clone()).await.unwrap();
    assert_eq!(done.output()["paused"], true);
    assert_eq!(stage.look("proxysql.status", input.clone()).await.unwrap()["paused"], true);
    let again = stage.change("proxysql.pause", input.clone()).await.unwrap();
    assert!(matches!(again, Done::AlreadySo(_)));
    let undo = done.undo();
    assert_eq!(undo.action, "proxysql.resume");
    stage.take_back(undo).await.unwrap();
    assert_eq!(stage.look("proxysql.status", input).await.unwrap()["paused"], false);
    assert_eq!(stage.changes(), ["PROXYSQL PAUSE", "PROXYSQL RESUME"]);
    let calls = stage.calls();
    let changing: Vec<&str> = calls.iter().filter(|c| c.mutating).map(|c| c.operation.as_str()).collect();
    assert_eq!(changing, ["PROXYSQL PAUSE", "PROXYSQL RESUME"]);
}

#[tokio::test]
async fn a_closed_gate_pauses_nothing() {
    let mut stage = Stage::calm().await;
    let host = stage.group().await["in_service"][0].clone();
    stage.bench.close_gate();
    let error = stage.change("proxysql.pause", json!({ "fleet": "us", "host": host })).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Busy, "gate_closed"));
    assert_eq!(stage.changes(), [""; 0]);
}

#[tokio::test]
async fn a_host_without_an_admin_port_is_gone() {
    let stage = Stage::calm().await;
    // The simulator's networks begin at 127.2: nothing of the fleet listens here.
    let input = json!({ "fleet": "us", "host": { "id": "i-gone", "ip": "127.1.254.254" } });
    let error = stage.change("proxysql.pause", input).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Gone, "refused"), "{error}");
}

/// EC2 drops what is sent to a machine that has ended, which a broken network does as well: the group tells the two apart.
#[tokio::test]
async fn a_host_that_does_not_answer_is_gone_only_when_its_group_has_let_it_go() {
    let stage = Stage::calm().await;
    stage.sim.strike(FaultKind::DeadHostsSilent { fleet: GROUP.into() });
    let group = stage.group().await;
    let (host, other) = (&group["in_service"][0], &group["in_service"][1]);
    let paused = stage.change("proxysql.pause", json!({ "fleet": "us", "host": host })).await.unwrap();
    let end = json!({ "region": REGION, "group": GROUP, "instance": host["id"], "decrement": false });
    stage.change("autoscaling.terminate_instance", end).await.unwrap();
    let of = |group: &Value, stage: &str| group[stage].as_array().unwrap().contains(&host["id"]);
    stage.until(|group| !of(group, "ids") && !of(group, "leaving")).await;
    stage.sim.step(Duration::from_secs(1)).await.unwrap();

    let error = stage.take_back(paused.undo()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Gone, "timeout_connect"), "{error}");
    assert!(error.message.ends_with("Its group proxysql-us does not have it (any more)."), "{error}");
    // A member at an address where nobody answers.
    let lost = json!({ "fleet": "us", "host": { "id": other["id"], "ip": host["ip"] } });
    let error = stage.look("proxysql.status", lost).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "timeout_connect"), "{error}");
}

/// ProxySQL never answers a RESTART, and counts its uptime as if nothing had been.
#[tokio::test]
async fn a_restart_is_never_answered_and_is_seen_by_the_port_that_it_opened() {
    let stage = Stage::calm().await;
    let host = stage.group().await["in_service"][0].clone();
    let input = json!({ "fleet": "us", "host": host });
    let refused = stage.change("proxysql.restart", input.clone()).await.unwrap_err();
    assert_eq!(refused.code, "not_paused");

    stage.change("proxysql.pause", input.clone()).await.unwrap();
    let action = stage.registry.get("proxysql.restart").unwrap();
    let before = action.observe(&stage.ctx, &input).await.unwrap();
    assert_eq!(action.happened(&input, &before, &before).unwrap(), None);
    let lost = stage.change("proxysql.restart", input.clone()).await.unwrap_err();
    assert_eq!(lost.class, ErrorClass::Unknown, "{lost}");
    assert!(stage.look("proxysql.status", input.clone()).await.is_err(), "it is on its way up");

    stage.sim.step(Duration::from_secs(10)).await.unwrap();
    let now = action.observe(&stage.ctx, &input).await.unwrap();
    let done = action.happened(&input, &before, &now).unwrap();
    assert_eq!(done, Some(json!({ "host": host["id"] })), "{before} and then {now}");
    assert_eq!(stage.changes(), ["PROXYSQL PAUSE", "PROXYSQL RESTART"]);
}

#[tokio::test]
async fn a_host_that_was_restarted_while_paused_is_resumed_before_it_can_be_paused_again() {
    let stage = Stage::calm().await;
    let host = stage.group().await["in_service"][0].clone();
    let input = json!({ "fleet": "us", "host": host });
    let flags = |status: Value| (status["paused"].clone(), status["calls_itself_paused"].clone());
    let seen = async || flags(stage.look("proxysql.status", input.clone()).await.unwrap());
    assert_eq!(seen().await, (json!(false), json!(false)));
    stage.change("proxysql.pause", input.clone()).await.unwrap();
    assert_eq!(seen().await, (json!(true), json!(true)));
    stage.change("proxysql.restart", input.clone()).await.unwrap_err();
    stage.sim.step(Duration::from_secs(10)).await.unwrap();
    assert_eq!(seen().await, (json!(false), json!(true)));

    let refused = stage.change("proxysql.pause", input.clone()).await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Refused, "{refused}");
    assert!(
        refused.remedy.as_deref().is_some_and(|remedy| remedy.contains("PROXYSQL RESUME")),
        "{refused:?}"
    );
    assert!(matches!(stage.change("proxysql.resume", input.clone()).await, Ok(Done::Applied { .. })));
    assert_eq!(seen().await, (json!(false), json!(false)));
    stage.change("proxysql.pause", input.clone()).await.unwrap();
    assert_eq!(seen().await, (json!(true), json!(true)));
}

/// A fleet that has fallen silent does not ask Auto Scaling at each look at each of its hosts.
#[tokio::test]
async fn the_group_of_hosts_that_do_not_answer_is_asked_for_all_of_them_together() {
    let stage = Stage::calm().await;
    let group = stage.group().await;
    let hosts = group["in_service"].as_array().unwrap();
    // What follows are members at the address of one that has ended.
    stage.sim.strike(FaultKind::DeadHostsSilent { fleet: GROUP.into() });
    let end = json!({ "region": REGION, "group": GROUP, "instance": hosts[0]["id"], "decrement": false });
    stage.change("autoscaling.terminate_instance", end).await.unwrap();
    let of = |group: &Value, stage: &str| group[stage].as_array().unwrap().contains(&hosts[0]["id"]);
    stage.until(|group| !of(group, "ids") && !of(group, "leaving")).await;
    stage.sim.step(Duration::from_secs(1)).await.unwrap();
    let silent = |host: &Value| json!({ "fleet": "us", "host": { "id": host["id"], "ip": hosts[0]["ip"] } });
    let asked = || stage.calls().iter().filter(|c| c.operation == "DescribeAutoScalingGroups").count();
    asked();

    let there = || async {
        for host in &hosts[1..5] {
            let error = stage.look("proxysql.status", silent(host)).await.unwrap_err();
            assert_eq!(error.class, ErrorClass::Transient, "{error}");
        }
    };
    there().await;
    assert_eq!(asked(), 1);
    // That one is gone is believed of an answer to this very question only.
    let error = stage.look("proxysql.status", silent(&hosts[0])).await.unwrap_err();
    assert_eq!((error.class, asked()), (ErrorClass::Gone, 1), "{error}");
    stage.sim.step(Duration::from_secs(11)).await.unwrap();
    there().await;
    assert_eq!(asked(), 1);

    // One that cannot be asked is left alone.
    let (service, operation) = (Some("autoscaling".to_owned()), Some("DescribeAutoScalingGroups".to_owned()));
    let fault = ApiFault { service, operation, trouble: ApiTrouble::Throttle, probability: 1.0, next: None };
    stage.sim.strike(FaultKind::Api(fault));
    stage.sim.step(Duration::from_secs(11)).await.unwrap();
    there().await;
    let error = stage.look("proxysql.status", silent(&hosts[0])).await.unwrap_err();
    assert_eq!((error.class, asked()), (ErrorClass::Transient, 1), "{error}");
    assert!(error.message.contains("Whether its group still has it cannot be told"), "{error}");
}
