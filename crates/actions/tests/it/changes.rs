//! Changing groups: each change once, stated absolutely, refused where it would harm.

use domain::action::{ErrorClass, UndoCall};
use serde_json::{Value, json};
use sim::FaultKind;

use crate::harness::{Done, GROUP, REGION, Stage, strings};

fn with(more: Value) -> Value {
    let mut input = json!({ "region": REGION, "group": GROUP });
    for (key, value) in more.as_object().unwrap() {
        input[key] = value.clone();
    }
    input
}

#[tokio::test]
async fn hosts_are_launched_up_to_the_limits() {
    let stage = Stage::calm().await;
    let error = stage.change("autoscaling.scale_to", with(json!({ "desired": 12 }))).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "beyond_limits"));
    assert!(error.message.contains("6 to 8") && error.message.contains("12"), "{error}");
    assert_eq!(stage.changes(), [""; 0]);

    let raised = stage.change("autoscaling.set_max_size", with(json!({ "max": 12 }))).await.unwrap();
    assert_eq!(raised.output(), &json!({ "group": GROUP, "max": 12 }));
    let scaled = stage.change("autoscaling.scale_to", with(json!({ "desired": 12 }))).await.unwrap();
    let Done::Applied { output, changes, undo, predicted } = scaled else { panic!("{scaled:?}") };
    assert_eq!(Some(output), predicted);
    assert_eq!((&changes[0].before, &changes[0].after), (&json!(6), &json!(12)));
    let undo = undo.unwrap();
    let again = stage.change("autoscaling.scale_to", with(json!({ "desired": 12 }))).await.unwrap();
    assert!(matches!(again, Done::AlreadySo(_)));
    assert_eq!(stage.changes(), ["UpdateAutoScalingGroup", "SetDesiredCapacity"]);

    let before = stage.sim.clock().now();
    let group = stage.until(|group| group["in_service"].as_array().unwrap().len() == 12).await;
    assert!(stage.sim.clock().now() > before, "hosts boot in simulated time");
    assert_eq!(group["pending"], json!([]));

    // The old maximum cannot come back while more hosts are desired: AWS would choose whom to terminate. Taking it back
    // restores what it can, and cuts nothing that runs.
    let error = stage.change("autoscaling.set_max_size", with(json!({ "max": 8 }))).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "beyond_limits"));
    let kept = stage.take_back(raised.undo()).await.unwrap();
    assert!(matches!(&kept, Done::AlreadySo(output) if output["max"] == 12), "{kept:?}");
    let kept = stage.take_back(*undo).await.unwrap();
    assert!(matches!(&kept, Done::AlreadySo(output) if output["desired"] == 12), "{kept:?}");
}

#[tokio::test]
async fn a_launch_is_taken_back_as_far_as_it_did_not_happen() {
    let stage = Stage::calm().await;
    stage.change("autoscaling.set_max_size", with(json!({ "max": 12 }))).await.unwrap();
    let undo = stage.change("autoscaling.scale_to", with(json!({ "desired": 8 }))).await.unwrap().undo();
    stage.until(|group| group["in_service"].as_array().unwrap().len() == 8).await;
    stage.sim.strike(FaultKind::NoCapacity { zone: None });
    stage.change("autoscaling.scale_to", with(json!({ "desired": 12 }))).await.unwrap();
    let before = stage.group().await;

    let done = stage.take_back(undo.clone()).await.unwrap();
    let Done::Applied { output, changes, undo: again, predicted } = done else { panic!("{done:?}") };
    assert_eq!((output["desired"].as_i64(), Some(output)), (Some(8), predicted), "eight are there, and stay");
    assert_eq!((&changes[0].before, &changes[0].after, again), (&json!(12), &json!(8), None));
    stage.sim.clock().step(std::time::Duration::from_secs(600));
    let after = stage.group().await;
    assert_eq!((&after["desired"], &after["ids"]), (&json!(8), &before["ids"]));

    // Whoever has lowered it meanwhile is not overruled, whatever was desired before.
    let input = with(json!({ "instance": strings(&after["ids"])[0], "decrement": true }));
    stage.change("autoscaling.terminate_instance", input).await.unwrap();
    let undo = UndoCall { input: with(json!({ "desired": 8, "spare_hosts": true })), ..undo };
    let kept = stage.take_back(undo).await.unwrap();
    assert!(matches!(&kept, Done::AlreadySo(output) if output["desired"] == 7), "{kept:?}");
}

#[tokio::test]
async fn fewer_hosts_than_are_desired_now_are_never_asked_for() {
    let stage = Stage::calm().await;
    stage.change("autoscaling.scale_to", with(json!({ "desired": 8 }))).await.unwrap();
    // Within the limits, and yet AWS would choose whom to terminate.
    let error = stage.change("autoscaling.scale_to", with(json!({ "desired": 7 }))).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "would_shrink"));
    assert!(error.message.contains("is 8 now") && error.message.contains('7'), "{error}");
    assert!(error.remedy.unwrap().contains("autoscaling.terminate_instance"));
    assert_eq!((&stage.group().await["desired"], stage.changes().len()), (&json!(8), 1));
}

#[tokio::test]
async fn the_old_maximum_is_restored() {
    let stage = Stage::calm().await;
    let raised = stage.change("autoscaling.set_max_size", with(json!({ "max": 12 }))).await.unwrap();
    stage.take_back(raised.undo()).await.unwrap();
    assert_eq!(stage.group().await["max"], 8);
    let error = stage.change("autoscaling.set_max_size", with(json!({ "max": 5 }))).await.unwrap_err();
    assert_eq!(error.code, "beyond_limits");
}

#[tokio::test]
async fn only_what_was_running_is_suspended_and_resumed() {
    let stage = Stage::calm().await;
    let processes = |names: &[&str]| with(json!({ "processes": names }));
    stage.change("autoscaling.suspend_processes", processes(&["ScheduledActions"])).await.unwrap();
    let both = processes(&["AZRebalance", "ScheduledActions"]);
    let done = stage.change("autoscaling.suspend_processes", both.clone()).await.unwrap();
    assert_eq!(done.output()["changed"], json!(["AZRebalance"]));
    assert_eq!(stage.group().await["suspended"], json!(["AZRebalance", "ScheduledActions"]));
    let again = stage.change("autoscaling.suspend_processes", both).await.unwrap();
    assert!(matches!(again, Done::AlreadySo(_)));
    let back = stage.take_back(done.undo()).await.unwrap();
    assert_eq!(back.output()["changed"], json!(["AZRebalance"]));
    assert_eq!(
        stage.group().await["suspended"],
        json!(["ScheduledActions"]),
        "somebody else's stays suspended"
    );
    assert_eq!(stage.changes(), ["SuspendProcesses", "SuspendProcesses", "ResumeProcesses"]);
}

/// A host that was paused is a dead one to the load balancer for some time after: a group that asks it would replace the host.
#[tokio::test]
async fn a_group_looks_again_only_once_the_load_balancer_finds_the_host_healthy() {
    let stage = Stage::calm().await;
    let host = stage.group().await["in_service"][0].clone();
    let target_group = stage.sim.world_info().fleets[0].target_group_arn.clone();
    let input =
        json!({ "processes": ["HealthCheck"], "once_healthy": host["id"], "target_group": target_group });
    let suspended = stage.change("autoscaling.suspend_processes", with(input)).await.unwrap().undo();
    let pause = json!({ "fleet": "us", "host": host });
    let paused = stage.change("proxysql.pause", pause).await.unwrap().undo();
    let pass = |seconds| stage.sim.clock().step(std::time::Duration::from_secs(seconds));
    // Its connections drain while it is unhealthy, which is a state of its own.
    stage.sim.strike(sim::FaultKind::UnhealthyDrains { fleet: GROUP.into(), drain_s: 60 });
    pass(90);
    let error = stage.take_back(suspended.clone()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Busy, "not_healthy_yet"), "{error}");
    assert!(error.message.contains("`unhealthy.draining`"), "{error}");
    pass(60);
    stage.take_back(paused).await.unwrap();
    pass(1);
    let error = stage.take_back(suspended.clone()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Busy, "not_healthy_yet"), "{error}");
    assert!(error.message.contains("`unhealthy`"), "{error}");
    pass(120);
    assert!(matches!(stage.take_back(suspended).await.unwrap(), Done::Applied { .. }));
    assert_eq!(stage.group().await["suspended"], json!([]));

    // One that the load balancer does not know, and a group without one, are not waited for.
    for (host, target_group) in [(json!("i-0gone"), json!(target_group)), (host["id"].clone(), Value::Null)] {
        let input =
            with(json!({ "processes": ["HealthCheck"], "once_healthy": host, "target_group": target_group }));
        let suspended = stage.change("autoscaling.suspend_processes", input).await.unwrap().undo();
        assert!(matches!(stage.take_back(suspended).await.unwrap(), Done::Applied { .. }));
    }
}

#[tokio::test]
async fn a_process_that_does_not_exist_is_refused_with_those_that_do() {
    let stage = Stage::calm().await;
    let input = with(json!({ "processes": ["Azrebalance"] }));
    let error = stage.change("autoscaling.suspend_processes", input).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "bad_input"));
    assert!(error.message.contains("AZRebalance"), "{error}");
}

#[tokio::test]
async fn protection_is_set_and_taken_back() {
    let stage = Stage::calm().await;
    let ids = strings(&stage.group().await["ids"]);
    let protect = |ids: &[String], protected: bool| with(json!({ "instances": ids, "protected": protected }));
    stage.change("autoscaling.protect_instances", protect(&ids[..1], true)).await.unwrap();
    let done = stage.change("autoscaling.protect_instances", protect(&ids[..2], true)).await.unwrap();
    assert_eq!(done.output()["changed"], json!([ids[1]]));
    stage.take_back(done.undo()).await.unwrap();
    let hosts = stage.group().await["in_service"].clone();
    let protected: Vec<&Value> = hosts
        .as_array()
        .unwrap()
        .iter()
        .filter(|h| h["protected"] == json!(true))
        .map(|h| &h["id"])
        .collect();
    assert_eq!(protected, [&json!(ids[0])]);

    let gone = ["i-0nope".to_owned()];
    let done = stage.change("autoscaling.protect_instances", protect(&gone, false)).await.unwrap();
    assert!(matches!(done, Done::AlreadySo(_)), "nothing to unprotect on a host that has left");
    let error = stage.change("autoscaling.protect_instances", protect(&gone, true)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Gone, "instance_not_in_group"));
    let many: Vec<String> = (0..51).map(|n| format!("i-{n}")).collect();
    let error = stage.change("autoscaling.protect_instances", protect(&many, true)).await.unwrap_err();
    assert_eq!(error.code, "too_many_instances");
}

#[tokio::test]
async fn exactly_the_named_host_is_terminated() {
    let stage = Stage::calm().await;
    let terminate = |id: &str| with(json!({ "instance": id, "decrement": true }));
    let old = strings(&stage.group().await["ids"])[0].clone();
    let error = stage.change("autoscaling.terminate_instance", terminate(&old)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "below_minimum"));
    assert!(error.message.contains('6') && error.message.contains(&old), "{error}");

    stage.change("autoscaling.scale_to", with(json!({ "desired": 7 }))).await.unwrap();
    stage.until(|group| group["in_service"].as_array().unwrap().len() == 7).await;
    let done = stage.change("autoscaling.terminate_instance", terminate(&old)).await.unwrap();
    let Done::Applied { output, changes, predicted, .. } = done else { panic!("{done:?}") };
    assert_eq!(output, json!({ "instance": old, "state": "Terminating" }));
    assert_eq!(Some(output), predicted);
    assert_eq!(changes[0].after, "Terminating, one fewer desired");
    let group = stage.group().await;
    assert_eq!(group["desired"], 6);
    assert_eq!(group["leaving"], json!([old]));
    let again = stage.change("autoscaling.terminate_instance", terminate(&old)).await.unwrap();
    assert!(matches!(again, Done::AlreadySo(_)));
    stage.until(|group| group["leaving"] == json!([])).await;
    let gone = stage.change("autoscaling.terminate_instance", terminate(&old)).await.unwrap();
    assert_eq!(gone.output()["state"], "gone");
    assert_eq!(stage.changes(), ["SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup"]);
    assert_eq!(stage.group().await["desired"], 6, "the decrement happened once");
}

#[tokio::test]
async fn an_empty_target_is_never_all() {
    let stage = Stage::calm().await;
    for (action, input) in [
        ("autoscaling.suspend_processes", with(json!({ "processes": [] }))),
        ("autoscaling.resume_processes", with(json!({ "processes": [] }))),
        ("autoscaling.protect_instances", with(json!({ "instances": [], "protected": true }))),
        ("autoscaling.protect_instances", with(json!({ "instances": [""], "protected": true }))),
        ("autoscaling.terminate_instance", with(json!({ "instance": "", "decrement": true }))),
        ("autoscaling.scale_to", json!({ "region": REGION, "group": " ", "desired": 7 })),
        ("ec2.describe_instances", json!({ "region": REGION, "instances": [] })),
        ("mysql.login_matrix", json!({ "fleet": "us", "hosts": [] })),
        (
            "mysql.login_matrix",
            json!({ "fleet": "us", "hosts": [{ "id": "i", "ip": "127.0.0.1" }], "clusters": [] }),
        ),
        ("proxysql.pause", json!({ "fleet": "us", "host": { "id": "", "ip": "" } })),
    ] {
        let error = stage.change(action, input.clone()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Refused, "{action} {input}: {error}");
        assert!(error.message.contains("empty"), "{action}: {error}");
    }
    assert_eq!(stage.sim.ledger().len(), 0, "nothing was even asked");
}

#[tokio::test]
async fn a_group_outside_the_inventory_is_not_touched() {
    let stage = Stage::calm().await;
    let action = stage.registry.get("autoscaling.scale_to").unwrap();
    let input = json!({ "region": REGION, "group": "web", "desired": 7 });
    let error = action.plan(&input, &json!({ "desired": 6, "min": 0, "max": 9 })).unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "not_in_inventory"));
}

#[tokio::test]
async fn hosts_are_launched_in_one_zone_and_the_same_step_launches_them_once() {
    let stage = Stage::calm().await;
    let group = stage.group().await;
    let zone = group["in_service"][0]["az"].as_str().unwrap().to_owned();
    let launch = |zone: &str, count: i32| with(json!({ "zone": zone, "count": count }));
    for (input, code) in [
        (launch("us-east-1z", 1), "bad_input"),
        (launch(&zone, 0), "bad_input"),
        (launch(&zone, 3), "beyond_limits"),
    ] {
        let error = stage.change("autoscaling.launch_instances", input).await.unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, code), "{error}");
    }
    assert_eq!(stage.changes(), [""; 0]);
    let done = stage.change("autoscaling.launch_instances", launch(&zone, 2)).await.unwrap();
    let new = strings(&done.output()["instances"]);
    assert_eq!(new.len(), 2);
    assert_eq!((&done.output()["missing"], &done.output()["why_missing"]), (&json!(0), &Value::Null));
    // As after an answer that was lost: the same token, the same hosts.
    let action = stage.registry.get("autoscaling.launch_instances").unwrap();
    let (input, facts) =
        (launch(&zone, 2), json!({ "desired": 6, "max": 8, "zones": [], "suspended": false }));
    let again = action.apply(&stage.ctx, &input, &facts);
    assert_eq!(strings(&again.await.unwrap()["instances"]), new);
    let group = stage.until(|group| group["in_service"].as_array().unwrap().len() == 8).await;
    assert!(new.iter().all(|id| strings(&group["ids"]).contains(id)), "{group}");

    stage.change("autoscaling.suspend_processes", with(json!({ "processes": ["Launch"] }))).await.unwrap();
    let error = stage.change("autoscaling.launch_instances", launch(&zone, 1)).await.unwrap_err();
    assert_eq!(error.code, "launch_suspended");
}

#[tokio::test]
async fn a_zone_without_room_launches_nothing_and_says_why() {
    let stage = Stage::calm().await;
    let zone = stage.group().await["in_service"][0]["az"].as_str().unwrap().to_owned();
    stage.sim.strike(sim::FaultKind::NoCapacity { zone: Some(zone.clone()) });
    let input = with(json!({ "zone": zone, "count": 1 }));
    let error = stage.change("autoscaling.launch_instances", input).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "not_launched"));
    assert!(error.message.contains("InsufficientInstanceCapacity"), "{error}");
    assert_eq!(stage.group().await["desired"], 6);
}

/// They run: nobody would know of them if it were told as a refusal.
#[tokio::test]
async fn a_zone_with_room_for_some_launches_those_and_says_how_many_are_missing() {
    let stage = Stage::calm().await;
    let zone = stage.group().await["in_service"][0]["az"].as_str().unwrap().to_owned();
    stage.sim.strike(sim::FaultKind::RoomFor { zone: zone.clone(), instances: 1 });
    let input = with(json!({ "zone": zone, "count": 2 }));
    let done = stage.change("autoscaling.launch_instances", input).await.unwrap();
    let new = strings(&done.output()["instances"]);
    assert_eq!((new.len(), &done.output()["missing"]), (1, &json!(1)), "{:?}", done.output());
    assert!(done.output()["why_missing"].as_str().unwrap().contains("InsufficientInstanceCapacity"));
    let group = stage.until(|group| group["in_service"].as_array().unwrap().len() == 7).await;
    assert!(strings(&group["ids"]).contains(&new[0]) && group["desired"] == 7, "{group}");
}

#[tokio::test]
async fn one_refresh_goes_on_at_a_time_and_a_lost_answer_is_found_again() {
    let stage = Stage::calm().await;
    let refresh =
        |min: i32, max: i32| with(json!({ "min_healthy": min, "max_healthy": max, "warmup_s": 60 }));
    let error = stage.change("autoscaling.start_refresh", refresh(50, 160)).await.unwrap_err();
    assert_eq!(error.code, "bad_input");
    let action = stage.registry.get("autoscaling.start_refresh").unwrap();
    let before = action.observe(&stage.ctx, &refresh(100, 133)).await.unwrap();
    assert_eq!(action.happened(&refresh(100, 133), &before, &before).unwrap(), None);
    let done = stage.change("autoscaling.start_refresh", refresh(100, 133)).await.unwrap();
    let now = action.observe(&stage.ctx, &refresh(100, 133)).await.unwrap();
    assert_eq!(action.happened(&refresh(100, 133), &before, &now).unwrap().as_ref(), Some(done.output()));
    let error = stage.change("autoscaling.start_refresh", refresh(100, 133)).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "refresh_active"));
    let cancelled = stage.change("autoscaling.cancel_refresh", with(json!({}))).await.unwrap();
    assert_eq!(cancelled.output()["refresh"], done.output()["refresh"]);
    assert_eq!(stage.changes(), ["StartInstanceRefresh", "CancelInstanceRefresh"]);
}
