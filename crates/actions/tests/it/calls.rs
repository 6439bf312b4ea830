//! One call: its gate, its record, and what its failures mean.

use std::time::Duration;

use actions::Settings;
use domain::action::ErrorClass;
use serde_json::json;
use sim::{ApiFault, ApiTrouble, FaultKind};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::harness::{self, Bench, Doorkeeper, GROUP, REGION, Stage};

fn trouble(operation: &str, trouble: ApiTrouble) -> FaultKind {
    FaultKind::Api(ApiFault {
        service: Some("autoscaling".into()),
        operation: Some(operation.into()),
        trouble,
        probability: 1.0,
        next: Some(1),
    })
}

fn scale() -> serde_json::Value {
    json!({ "region": REGION, "group": GROUP, "desired": 7 })
}

#[tokio::test]
async fn each_call_is_recorded_with_the_service_s_own_id() {
    let stage = Stage::calm().await;
    stage.change("autoscaling.scale_to", scale()).await.unwrap();
    let (calls, ledger) = (stage.calls(), stage.sim.ledger());
    let ours: Vec<_> =
        calls.iter().map(|c| (c.operation.as_str(), c.request_id.as_deref().unwrap(), c.mutating)).collect();
    let theirs: Vec<_> =
        ledger.iter().map(|e| (e.operation.as_str(), e.request_id.as_str(), e.mutating)).collect();
    assert_eq!(ours, theirs);
    assert!(
        calls.iter().all(|call| call.status == "ok" && call.target == GROUP && call.service == "autoscaling")
    );
}

#[tokio::test]
async fn a_closed_gate_sends_nothing() {
    let mut stage = Stage::calm().await;
    stage.bench.close_gate();
    let error = stage.change("autoscaling.scale_to", scale()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Busy, "gate_closed"));
    assert!(error.message.contains("the lease has run out"), "{error}");
    assert_eq!(stage.changes(), [""; 0]);
    let call = stage.calls().pop().unwrap();
    assert_eq!((call.status.as_str(), call.mutating), ("gate_closed", true));
    stage.group().await; // looking needs no gate
}

#[tokio::test]
async fn the_gate_is_asked_when_the_connection_stands() {
    let stage = Stage::calm().await;
    let door = Doorkeeper::new();
    let (inventory, secrets) = harness::inventory(&stage.sim);
    let settings = Settings { aws_endpoint: Some(door.endpoint()), ..Settings::default() };
    let mut bench = Bench::new(inventory, settings, secrets).await;
    bench.ctx.gate = door.gate();
    let action = bench.registry.get("autoscaling.scale_to").unwrap();
    let facts = json!({ "desired": 6, "min": 0, "max": 9 });
    let error = action.apply(&bench.ctx, &scale(), &facts).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Busy, "gate_closed"), "{error}");
    assert!(error.message.contains("thrown meanwhile"), "{error}");
    assert_eq!(door.body(), "", "nothing that could be acted on has left");
}

#[tokio::test]
async fn throttling_is_busy() {
    let stage = Stage::calm().await;
    stage.sim.strike(trouble("DescribeAutoScalingGroups", ApiTrouble::Throttle));
    let error = stage.change("autoscaling.scale_to", scale()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Busy, "{error}");
    stage.sim.strike(trouble("SetDesiredCapacity", ApiTrouble::Throttle));
    let error = stage.change("autoscaling.scale_to", scale()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Busy, "{error}");
    let sent = stage.changes();
    assert_eq!(sent, ["SetDesiredCapacity"], "the SDK retries nothing");
}

#[tokio::test]
async fn a_server_error_is_transient_for_a_look_and_unknown_for_a_change() {
    for fault in [ApiTrouble::InternalError, ApiTrouble::Unavailable] {
        let stage = Stage::calm().await;
        stage.sim.strike(trouble("DescribeAutoScalingGroups", fault.clone()));
        let error = stage.change("autoscaling.scale_to", scale()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{error}");
        stage.sim.strike(trouble("SetDesiredCapacity", fault));
        let error = stage.change("autoscaling.scale_to", scale()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Unknown, "{error}");
        assert_eq!(stage.changes(), ["SetDesiredCapacity"], "the SDK retries nothing");
    }
}

#[tokio::test]
async fn silence_after_sending_is_unknown_and_can_be_looked_up() {
    let mut stage = Stage::calm().await;
    stage.bench.ctx.deadline = Duration::from_millis(600);
    stage.sim.strike(trouble("SetDesiredCapacity", ApiTrouble::TimeoutAfter));
    let error = stage.change("autoscaling.scale_to", scale()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Unknown, "timeout"));
    let call = stage.calls().pop().unwrap();
    assert_eq!((call.operation.as_str(), call.status.as_str()), ("SetDesiredCapacity", "timeout"));
    assert_eq!(stage.group().await["desired"], 7, "it had taken effect");

    stage.sim.strike(trouble("DescribeAutoScalingGroups", ApiTrouble::TimeoutBefore));
    let input = json!({ "region": REGION, "group": GROUP });
    let error = stage.look("autoscaling.describe_group", input).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "timeout"));
}

#[tokio::test]
async fn nobody_there_is_transient_even_for_a_change() {
    let stage = Stage::calm().await;
    let action = stage.registry.get("autoscaling.scale_to").unwrap();
    let facts = action.observe(&stage.ctx, &scale()).await.unwrap();
    let Stage { sim, bench } = stage;
    sim.stop().await;
    let action = bench.registry.get("autoscaling.scale_to").unwrap();
    let error = action.apply(&bench.ctx, &scale(), &facts).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "cannot_connect"), "{error}");
}

#[tokio::test]
async fn a_connection_cut_after_sending_is_unknown_for_a_change_alone() {
    let stage = Stage::calm().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let (inventory, secrets) = harness::inventory(&stage.sim);
    let settings = Settings { aws_endpoint: Some(endpoint), ..Settings::default() };
    let bench = Bench::new(inventory, settings, secrets).await;
    let action = bench.registry.get("autoscaling.scale_to").unwrap();
    let error = action.observe(&bench.ctx, &scale()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "no_answer"), "{error}");
    let facts = json!({ "desired": 6, "min": 0, "max": 9 });
    let error = action.apply(&bench.ctx, &scale(), &facts).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Unknown, "no_answer"), "{error}");
}
