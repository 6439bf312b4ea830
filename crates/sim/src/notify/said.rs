//! News as AWS writes them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::aws::{group_arn, named_dimensions, subnet};
use crate::physics::{AlarmState, News, Physics, RdsEvent, Watch};

/// An event of EventBridge; nothing for what RDS says under a number that is not known here.
pub(super) fn event(world: &Physics, news: &News, id: &str) -> Option<Value> {
    let (kind, source, at, resources, detail) = match news {
        News::Rds(said) => {
            let (kind, detail) = rds(world, said)?;
            (kind, "aws.rds", said.at, vec![detail["SourceArn"].clone()], detail)
        }
        News::Alarm { at, watch, before, after, reason } => {
            let watch = &world.watches[*watch];
            let detail = state_change(world, watch, (*before, *after), reason, *at);
            (
                "CloudWatch Alarm State Change",
                "aws.cloudwatch",
                *at,
                vec![json!(alarm_arn(world, watch))],
                detail,
            )
        }
        News::Scaled { at, group, activity, instance } => {
            let (kind, detail) = scaled(world, *group, *activity, instance.as_deref());
            (kind, "aws.autoscaling", *at, vec![json!(group_arn(world, *group))], detail)
        }
    };
    Some(json!({
        "version": "0", "id": id, "detail-type": kind, "source": source, "account": world.world.account,
        "time": at.to_rfc3339_opts(SecondsFormat::Secs, true), "region": world.world.region, "resources": resources,
        "detail": detail,
    }))
}

/// An alarm as CloudWatch puts it into a topic.
pub(super) fn alarm(world: &Physics, news: &News, topic: &str) -> Option<Value> {
    let News::Alarm { at, watch, before, after, reason } = news else { return None };
    let watch = &world.watches[*watch];
    let alarm = &watch.alarm;
    let dimensions: Vec<Value> = named_dimensions(world, watch.subject)
        .into_iter()
        .map(|(name, value)| json!({ "value": value, "name": name }))
        .collect();
    Some(json!({
        "AlarmName": alarm.name,
        "AlarmDescription": null,
        "AWSAccountId": world.world.account,
        "NewStateValue": after.name(),
        "NewStateReason": reason,
        "StateChangeTime": plus_zero(*at),
        // For people: a name, not an id.
        "Region": format!("Simulated ({})", world.world.region),
        "AlarmArn": alarm_arn(world, watch),
        "OldStateValue": before.name(),
        "OKActions": [topic],
        "AlarmActions": [topic],
        "InsufficientDataActions": [topic],
        "Trigger": {
            "MetricName": alarm.metric, "Namespace": "AWS/RDS", "StatisticType": "Statistic",
            "Statistic": alarm.statistic.name().to_uppercase(), "Unit": null, "Dimensions": dimensions,
            "Period": alarm.period_s, "EvaluationPeriods": alarm.evaluation_periods,
            "DatapointsToAlarm": alarm.datapoints_to_alarm, "ComparisonOperator": alarm.comparison.name().0,
            "Threshold": alarm.threshold, "TreatMissingData": alarm.missing.name(), "EvaluateLowSampleCountPercentile": "",
        },
    }))
}

fn alarm_arn(world: &Physics, watch: &Watch) -> String {
    format!("arn:aws:cloudwatch:{}:{}:alarm:{}", world.world.region, world.world.account, watch.alarm.name)
}

/// Not as RFC 3339 has it.
fn plus_zero(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()
}

fn state_change(
    world: &Physics,
    watch: &Watch,
    (before, after): (AlarmState, AlarmState),
    reason: &str,
    at: DateTime<Utc>,
) -> Value {
    let alarm = &watch.alarm;
    let dimensions: Map<String, Value> = named_dimensions(world, watch.subject)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let metric = json!({ "namespace": "AWS/RDS", "name": alarm.metric, "dimensions": dimensions });
    let stat = json!({ "metric": metric, "period": alarm.period_s, "stat": alarm.statistic.name() });
    json!({
        "alarmName": alarm.name,
        "configuration": { "metrics": [{ "id": "m1", "metricStat": stat, "returnData": true }] },
        "previousState": { "value": before.name() },
        "state": { "value": after.name(), "reason": reason, "timestamp": plus_zero(at) },
    })
}

fn rds(world: &Physics, said: &RdsEvent) -> Option<(&'static str, Value)> {
    let number = number(&said.message)?;
    let (kind, source, arn) = match said.source_type {
        "db-cluster" => ("RDS DB Cluster Event", "CLUSTER", "cluster"),
        _ => ("RDS DB Instance Event", "DB_INSTANCE", "db"),
    };
    let (region, account) = (&world.world.region, &world.world.account);
    let detail = json!({
        "EventCategories": said.categories,
        "SourceType": source,
        "SourceArn": format!("arn:aws:rds:{region}:{account}:{arn}:{}", said.source),
        "Date": said.at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "Message": said.message,
        "SourceIdentifier": said.source,
        "EventID": format!("RDS-EVENT-{number}"),
    });
    Some((kind, detail))
}

/// `DescribeEvents` knows no numbers, EventBridge does.
fn number(message: &str) -> Option<&'static str> {
    let numbers = [
        ("Started cross AZ failover", "0073"),
        ("Started same AZ failover", "0072"),
        ("Completed ", "0071"),
        ("Promoting previous primary again", "0070"),
        ("Applying modification to database instance class", "0012"),
        ("Finished applying modification to DB instance class", "0014"),
        ("DB instance restarted", "0006"),
        ("DB instance shutdown", "0004"),
    ];
    numbers.into_iter().find(|(begins, _)| message.starts_with(begins)).map(|(_, number)| number)
}

fn scaled(world: &Physics, group: usize, activity: usize, instance: Option<&str>) -> (&'static str, Value) {
    let done = &world.groups[group].activities[activity];
    let launch = done.description.starts_with("Launching");
    let failed = done.status == "Failed";
    let kind = match (launch, failed) {
        (true, false) => "EC2 Instance Launch Successful",
        (true, true) => "EC2 Instance Launch Unsuccessful",
        (false, false) => "EC2 Instance Terminate Successful",
        (false, true) => "EC2 Instance Terminate Unsuccessful",
    };
    let millis = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let detail = json!({
        // AWS says so of what was successful, too.
        "StatusCode": if failed { "Failed" } else { "InProgress" },
        "AutoScalingGroupName": world.world.fleets[group].asg,
        "ActivityId": done.id,
        "Details": { "Availability Zone": done.zone, "Subnet ID": subnet(&done.zone) },
        "RequestId": done.id,
        "StatusMessage": done.status_message.as_deref().unwrap_or_default(),
        "StartTime": millis(done.start),
        "EndTime": done.end.map(millis),
        "EC2InstanceId": instance.unwrap_or_default(),
        "Cause": done.cause,
        "Description": done.description,
    });
    (kind, detail)
}
