//! Looking: what the observing actions tell about a world that is known.

use domain::action::{Effect, ErrorClass};
use serde_json::json;

use crate::harness::{GROUP, REGION, Stage, strings};

#[tokio::test]
async fn a_group_is_told_in_full_and_spread_over_zones() {
    let stage = Stage::calm().await;
    let group = stage.group().await;
    assert_eq!(
        (group["desired"].as_i64(), group["min"].as_i64(), group["max"].as_i64()),
        (Some(6), Some(6), Some(8))
    );
    let hosts = group["in_service"].as_array().unwrap();
    assert_eq!(hosts.len(), 6);
    let zones: Vec<&str> = hosts.iter().map(|host| host["az"].as_str().unwrap()).collect();
    assert_eq!(&zones[..3], ["us-east-1a", "us-east-1b", "us-east-1c"]);
    assert_eq!(zones[..3], zones[3..]);
    let ids: Vec<&str> = hosts.iter().map(|host| host["id"].as_str().unwrap()).collect();
    assert_eq!(strings(&group["ids"]), ids);
    for host in hosts {
        assert!(host["ip"].as_str().unwrap().starts_with("127."), "{host}");
        assert_eq!((&host["protected"], &host["healthy"]), (&json!(false), &json!(true)));
        assert!(host["launched_at"].is_string(), "{host}");
    }
    assert_eq!(group["target_groups"].as_array().unwrap().len(), 1);
    for empty in ["pending", "leaving", "other", "suspended"] {
        assert_eq!(group[empty], json!([]), "{empty}");
    }
}

#[tokio::test]
async fn a_group_that_is_not_there_is_gone() {
    let stage = Stage::calm().await;
    let input = json!({ "region": REGION, "group": "nope" });
    let error = stage.look("autoscaling.describe_group", input).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Gone, "AutoScalingGroupNotFound"));
    assert!(error.message.contains("nope") && error.message.contains(REGION), "{error}");
}

#[tokio::test]
async fn activities_hooks_and_refreshes_of_a_quiet_group() {
    let stage = Stage::calm().await;
    let input = json!({ "region": REGION, "group": GROUP });
    let hooks = stage.look("autoscaling.describe_hooks", input.clone()).await.unwrap();
    assert_eq!(hooks, json!({ "launching": [], "terminating": [] }));
    let refreshes = stage.look("autoscaling.describe_refreshes", input.clone()).await.unwrap();
    assert_eq!(refreshes, json!({ "group": GROUP, "active": [] }));
    let activities = stage.look("autoscaling.describe_activities", input).await.unwrap();
    assert_eq!((&activities["failed"], &activities["running"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn pending_work_of_aws_itself_is_seen_as_somebody_elses() {
    let stage = Stage::calm().await;
    let foreign = async |action: &str, input: serde_json::Value| {
        let output = stage.look(action, input).await.unwrap();
        let found = stage.bench.registry.get(action).unwrap().foreign(&output);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let group = json!({ "region": REGION, "group": GROUP });
    let cluster = json!({ "region": REGION, "cluster": "shard-b" });
    assert!(foreign("autoscaling.describe_group", group.clone()).await.is_empty());
    assert!(foreign("autoscaling.describe_refreshes", group.clone()).await.is_empty());
    assert!(foreign("rds.describe_cluster", cluster.clone()).await.is_empty());

    stage.sim.strike(sim::FaultKind::InstanceRefresh { fleet: GROUP.into(), duration_s: 100 });
    stage.sim.strike(sim::FaultKind::ClusterFailover { cluster: "shard-b".into(), duration_s: 60 });
    stage.sim.clock().step(std::time::Duration::from_secs(40));
    let refresh = foreign("autoscaling.describe_refreshes", group.clone()).await;
    assert!(refresh[0].contains(GROUP) && refresh[0].contains("is InProgress, 40 % done"), "{refresh:?}");
    assert_eq!(
        foreign("rds.describe_cluster", cluster.clone()).await,
        ["DB cluster shard-b: its status is failing-over"]
    );
    stage.sim.clock().step(std::time::Duration::from_secs(80));
    assert!(foreign("autoscaling.describe_refreshes", group).await.is_empty());
    assert!(foreign("rds.describe_cluster", cluster).await.is_empty());
}

#[tokio::test]
async fn a_failed_launch_says_why() {
    let stage = Stage::calm().await;
    stage.sim.strike(sim::FaultKind::NoCapacity { zone: None });
    let before = stage.sim.clock().now();
    stage
        .change("autoscaling.scale_to", json!({ "region": REGION, "group": GROUP, "desired": 8 }))
        .await
        .unwrap();
    for _ in 0..60 {
        stage.sim.clock().step(std::time::Duration::from_secs(10));
        let input = json!({ "region": REGION, "group": GROUP, "since": before });
        let seen = stage.look("autoscaling.describe_activities", input).await.unwrap();
        if let Some(failed) = seen["failed"].as_array().unwrap().first() {
            assert_eq!(failed["status"], "Failed");
            assert!(failed["message"].as_str().unwrap().contains("capacity"), "{failed}");
            let later = stage.sim.clock().now() + chrono::TimeDelta::hours(1);
            let input = json!({ "region": REGION, "group": GROUP, "since": later });
            let none = stage.look("autoscaling.describe_activities", input).await.unwrap();
            assert_eq!(none["failed"], json!([]));
            return;
        }
    }
    panic!("no launch failed");
}

#[tokio::test]
async fn one_instance() {
    let stage = Stage::calm().await;
    let id = strings(&stage.group().await["ids"])[0].clone();
    let input = |id: &str| json!({ "region": REGION, "group": GROUP, "instance": id });
    let there = stage.look("autoscaling.describe_instance", input(&id)).await.unwrap();
    assert_eq!(
        there,
        json!({ "id": id, "state": "InService", "in_service": true, "leaving": false, "gone": false })
    );
    let gone = stage.look("autoscaling.describe_instance", input("i-0nope")).await.unwrap();
    assert_eq!((&gone["state"], &gone["gone"]), (&json!("gone"), &json!(true)));
}

#[tokio::test]
async fn machines_targets_and_clusters() {
    let stage = Stage::calm().await;
    let ids = strings(&stage.group().await["ids"]);
    let input = json!({ "region": REGION, "instances": [ids[0], "i-0123456789abcdef0"] });
    let machines = stage.look("ec2.describe_instances", input).await.unwrap();
    assert_eq!(machines["instances"].as_array().unwrap().len(), 1, "an unknown id fails nothing: {machines}");
    assert_eq!(machines["instances"][0]["state"], "running");

    let arn = stage.sim.world_info().fleets[0].target_group_arn.clone().unwrap();
    let input = json!({ "region": REGION, "target_group": arn });
    let targets = stage.look("elbv2.target_health", input).await.unwrap();
    let mut healthy = strings(&targets["healthy"]);
    let mut all = ids.clone();
    healthy.sort();
    all.sort();
    assert_eq!(healthy, all);
    assert_eq!(
        (&targets["deregistration_delay_s"], &targets["connection_termination"]),
        (&json!(300), &json!(false))
    );

    let input = json!({ "region": REGION, "cluster": "shard-e" });
    let cluster = stage.look("rds.describe_cluster", input).await.unwrap();
    assert_eq!((&cluster["id"], &cluster["status"]), (&json!("shard-e"), &json!("available")));
    let members = cluster["members"].as_array().unwrap();
    assert_eq!(members.len(), 2);
    assert_eq!((&members[0]["writer"], &members[0]["class"]), (&json!(true), &json!("db.r6i.8xlarge")));
    assert_eq!(cluster["writer"], members[0]["id"]);
    let input = json!({ "region": REGION, "cluster": "nope" });
    let error = stage.look("rds.describe_cluster", input).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Gone, "{error}");
    assert_eq!((&members[0]["size"], &members[0]["pending"]), (&json!(8.0), &json!([])));
}

#[tokio::test]
async fn every_action_describes_itself() {
    let stage = Stage::calm().await;
    let mut names = Vec::new();
    for action in stage.registry.iter() {
        let spec = action.spec();
        names.push(spec.name);
        assert!(!spec.summary.is_empty(), "{}", spec.name);
        let schema = serde_json::to_value(&spec.input).unwrap();
        assert_eq!(
            schema["additionalProperties"],
            json!(false),
            "{}: unknown fields must be refused",
            spec.name
        );
        for schema in [&schema, &serde_json::to_value(&spec.output).unwrap()] {
            for (field, schema) in schema["properties"].as_object().unwrap() {
                assert!(schema["description"].is_string(), "{}.{field} has no description", spec.name);
            }
        }
        // ProxySQL asks the group of a host that does not answer.
        let aws = ["autoscaling.", "cloudwatch.", "ec2.", "elbv2.", "proxysql.", "rds."]
            .iter()
            .any(|s| spec.name.starts_with(s));
        assert_eq!(aws, !spec.permissions.is_empty(), "{}", spec.name);
        assert!(spec.effect != Effect::Blind, "{}", spec.name);
    }
    assert_eq!(
        names,
        [
            "autoscaling.cancel_refresh",
            "autoscaling.describe_activities",
            "autoscaling.describe_group",
            "autoscaling.describe_hooks",
            "autoscaling.describe_instance",
            "autoscaling.describe_launches",
            "autoscaling.describe_refreshes",
            "autoscaling.launch_instances",
            "autoscaling.protect_instances",
            "autoscaling.resume_processes",
            "autoscaling.scale_to",
            "autoscaling.set_max_size",
            "autoscaling.start_refresh",
            "autoscaling.suspend_processes",
            "autoscaling.terminate_instance",
            "cloudwatch.describe_alarms",
            "cloudwatch.metric",
            "ec2.describe_instances",
            "elbv2.target_health",
            "metrics.query",
            "mysql.login_matrix",
            "mysql.replica_status",
            "proxysql.pause",
            "proxysql.restart",
            "proxysql.resume",
            "proxysql.statistics",
            "proxysql.status",
            "rds.blue_green_deployments",
            "rds.describe_cluster",
            "rds.failover_cluster",
            "rds.failover_events",
            "rds.modify_instance_class",
            "rds.orderable_zones",
            "rds.set_promotion_tier",
            "statuspage.post_incident",
            "statuspage.update",
            "webhook.send",
        ]
    );
}

#[tokio::test]
async fn command_lines_are_complete() {
    let stage = Stage::calm().await;
    let command = |action: &str, input| stage.registry.get(action).unwrap().command(&input).unwrap();
    assert_eq!(
        command("autoscaling.scale_to", json!({ "region": REGION, "group": GROUP, "desired": 8 })),
        "aws autoscaling set-desired-capacity --region us-east-1 --auto-scaling-group-name proxysql-us --no-honor-cooldown --desired-capacity 8"
    );
    let spares = json!({ "region": REGION, "group": GROUP, "desired": 6, "spare_hosts": true });
    assert_eq!(
        command("autoscaling.scale_to", spares),
        r#"sh -c 'aws autoscaling set-desired-capacity --region us-east-1 --auto-scaling-group-name proxysql-us --no-honor-cooldown --desired-capacity "$(aws autoscaling describe-auto-scaling-groups --region us-east-1 --auto-scaling-group-names proxysql-us --output text --query '\''AutoScalingGroups[0].min([DesiredCapacity, max([`6`, length(Instances[?!starts_with(LifecycleState, `"Terminat"`)])])])'\'')"'"#
    );
    assert_eq!(
        command(
            "autoscaling.suspend_processes",
            json!({ "region": REGION, "group": "a b", "processes": ["AZRebalance", "ScheduledActions"] })
        ),
        "aws autoscaling suspend-processes --region us-east-1 --auto-scaling-group-name 'a b' --scaling-processes AZRebalance ScheduledActions"
    );
    assert_eq!(
        command("proxysql.pause", json!({ "fleet": "us", "host": { "id": "i-1", "ip": "10.0.0.1" } })),
        "mysql --host 10.0.0.1 --port 6032 --user radmin --password --execute 'PROXYSQL PAUSE'"
    );
    let matrix = command(
        "mysql.login_matrix",
        json!({ "fleet": "us", "hosts": [{ "id": "i-1", "ip": "10.0.0.1" }], "clusters": ["shard-b"] }),
    );
    assert_eq!(matrix.lines().count(), 2, "{matrix}");
    assert!(!matrix.contains("secret"), "{matrix}");
}
