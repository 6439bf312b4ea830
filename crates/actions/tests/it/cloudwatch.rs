//! CloudWatch: metrics and alarms, over the signed calls of our own.

use std::time::Duration;

use domain::action::ErrorClass;
use serde_json::json;
use sim::{ApiFault, ApiTrouble, EVERYBODY, FaultKind};

use crate::harness::{REGION, Stage};

fn cpu(instance: &str) -> serde_json::Value {
    json!({ "region": REGION, "metric": "CPUUtilization", "dimensions": { "DBInstanceIdentifier": instance }, "minutes": 5 })
}

#[tokio::test]
async fn the_values_of_a_metric_are_told_oldest_first() {
    let stage = Stage::calm().await;
    stage.sim.strike(FaultKind::Surge { cluster: "shard-b".into(), times: 2.0 });
    stage.sim.step(Duration::from_secs(180)).await.unwrap();
    let seen = stage.look("cloudwatch.metric", cpu("shard-b-1")).await.unwrap();
    let values: Vec<f64> =
        seen["values"].as_array().unwrap().iter().map(|v| v["value"].as_f64().unwrap()).collect();
    assert_eq!(values.len(), 5, "{seen}");
    assert!(values[0] < 45.0 && values[4] > 60.0, "the surge began three minutes ago: {seen}");
    assert_eq!(seen["latest"], json!(values[4]));
    assert_eq!(seen["lowest"].as_f64(), values.iter().copied().reduce(f64::min));
    assert_eq!(seen["highest"].as_f64(), values.iter().copied().reduce(f64::max));
    let nothing = stage.look("cloudwatch.metric", cpu("nobody-1")).await.unwrap();
    assert_eq!((&nothing["values"], &nothing["latest"]), (&json!([]), &json!(null)));

    let call = &stage.calls()[0];
    assert_eq!((call.service.as_str(), call.operation.as_str()), ("cloudwatch", "GetMetricData"));
    assert!(call.request_id.is_some() && call.target == "CPUUtilization of shard-b-1", "{call:?}");
}

#[tokio::test]
async fn alarms_that_ring_are_named() {
    let stage = Stage::calm().await;
    let input = json!({ "region": REGION, "prefix": "shard-b" });
    stage.sim.step(Duration::from_secs(180)).await.unwrap();
    let calm = stage.look("cloudwatch.describe_alarms", input.clone()).await.unwrap();
    assert_eq!((calm["alarms"].as_array().unwrap().len(), &calm["ringing"]), (2, &json!([])));
    stage.sim.strike(FaultKind::Surge { cluster: "shard-b".into(), times: 4.0 });
    stage.sim.step(Duration::from_secs(300)).await.unwrap();
    let ringing = stage.look("cloudwatch.describe_alarms", input).await.unwrap();
    assert_eq!(ringing["ringing"], json!(["shard-b-cpu"]));
    let input = json!({ "region": REGION, "state": "ALARM" });
    let only = stage.look("cloudwatch.describe_alarms", input).await.unwrap();
    let alarm = &only["alarms"][0];
    assert_eq!(alarm["dimensions"], json!({ "DBClusterIdentifier": "shard-b", "Role": "WRITER" }), "{only}");
    assert!(alarm["since"].is_string() && !alarm["reason"].as_str().unwrap().is_empty(), "{only}");
}

#[tokio::test]
async fn refusals_and_patience_are_told_apart_and_a_missing_permission_is_named() {
    let stage = Stage::calm().await;
    let trouble = |trouble| {
        let fault = ApiFault {
            service: Some("monitoring".into()),
            operation: None,
            trouble,
            probability: 1.0,
            next: Some(1),
        };
        stage.sim.strike(FaultKind::Api(fault));
    };
    trouble(ApiTrouble::Throttle);
    let busy = stage.look("cloudwatch.metric", cpu("shard-b-1")).await.unwrap_err();
    assert_eq!(busy.class, ErrorClass::Busy, "{busy:?}");
    trouble(ApiTrouble::InternalError);
    let passes = stage.look("cloudwatch.metric", cpu("shard-b-1")).await.unwrap_err();
    assert_eq!(passes.class, ErrorClass::Transient, "{passes:?}");
    stage.sim.allow_only(EVERYBODY, &json!({ "Version": "2012-10-17", "Statement": [] })).unwrap();
    let refused = stage.look("cloudwatch.metric", cpu("shard-b-1")).await.unwrap_err();
    assert_eq!((refused.class, refused.code.as_str()), (ErrorClass::Refused, "AccessDenied"));
    assert!(refused.remedy.unwrap().contains("`cloudwatch:GetMetricData`"));
}

#[tokio::test]
async fn what_makes_no_sense_is_not_asked() {
    let stage = Stage::calm().await;
    for (field, value) in [("minutes", json!(0)), ("period_s", json!(90)), ("dimensions", json!({}))] {
        let mut input = cpu("shard-b-1");
        input[field] = value;
        let error = stage.look("cloudwatch.metric", input).await.unwrap_err();
        assert!(error.code == "bad_input" && error.message.contains(field), "{error}");
    }
    assert!(stage.calls().is_empty());
}
