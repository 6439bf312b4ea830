//! Pausing and resuming a ProxySQL host.

use domain::action::ErrorClass;
use serde_json::json;

use crate::harness::{Done, Stage};

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
