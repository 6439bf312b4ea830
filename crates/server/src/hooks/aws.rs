//! What AWS says, whoever brings it (`sns`, `eventbridge`): alarms of CloudWatch, and events of RDS and Auto Scaling.
//!
//! | Said | kind | labels that a rule can ask for | state |
//! |---|---|---|---|
//! | an alarm | its name | `alarm`, `metric`, `namespace`, and its dimensions | ALARM fires, OK is over, INSUFFICIENT_DATA is unclear |
//! | an event of RDS | `rds_event` | `event` (`RDS-EVENT-0049`), `categories` | fires |
//! | an event of Auto Scaling | `autoscaling_event` | `event` (`EC2 Instance Launch Unsuccessful`), `status` | fires |
//!
//! Further labels of all: `account`, `region`, and what it is about: `cluster`, `instance`, `group`, by AWS's names; by the inventory's
//! where it has them ([`domain::signal::Signal::named_by`]): `cluster` then is its id there, and a group has its `fleet`.
//!
//! An event says that something has happened, and nobody says later that it is over: see [`domain::signal::EVENTS`]. One that comes
//! when it would be over by now is kept as over. What is older than what is known of the same ends nothing and fires nothing. An alarm
//! without data says neither that the trouble is there nor that it is gone, so it ends nothing and starts nothing.
//!
//! Traps: an alarm's times end in `+0000`, which RFC 3339 does not know; its `Region` is a name for people; its dimensions
//! are a list in SNS and a map in EventBridge, and those of one that calculates stand with the metrics that it calculates with, of
//! which the first is taken, as by `cloudwatch.describe_alarms`; the `SourceIdentifier` of RDS may or may not begin with `rds:`, so that the ARN is what
//! counts.

use std::collections::BTreeMap;

use chrono::DateTime;
use domain::Timestamp;
use domain::signal::{AUTO_SCALING_EVENT, RDS_EVENT, Signal, SignalState, alarm};
use serde::Deserialize;

use super::{first, json, some};

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Alarm(Box<Alarm>),
    Event(Box<Event>),
}

/// As CloudWatch publishes it to a topic.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Alarm {
    alarm_name: String,
    alarm_description: Option<String>,
    #[serde(default, rename = "AWSAccountId")]
    account: String,
    new_state_value: String,
    #[serde(default)]
    new_state_reason: String,
    #[serde(default)]
    state_change_time: String,
    #[serde(default)]
    alarm_arn: String,
    #[serde(default)]
    trigger: Trigger,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Trigger {
    metric_name: Option<String>,
    namespace: Option<String>,
    dimensions: Vec<Dimension>,
    /// Of an alarm that calculates, what it calculates with.
    metrics: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    metric_stat: Option<PartStat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartStat {
    metric: PartMetric,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartMetric {
    metric_name: String,
    namespace: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
}

#[derive(Deserialize)]
struct Dimension {
    name: String,
    value: String,
}

/// As EventBridge wraps it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    id: String,
    detail_type: String,
    source: String,
    #[serde(default)]
    account: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    time: String,
    #[serde(default)]
    resources: Vec<String>,
    detail: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RdsDetail {
    #[serde(default)]
    event_categories: Vec<String>,
    source_arn: String,
    #[serde(default)]
    date: String,
    #[serde(default)]
    message: String,
    #[serde(rename = "EventID")]
    event_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupDetail {
    auto_scaling_group_name: String,
    #[serde(default)]
    status_code: String,
    #[serde(default)]
    status_message: String,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "EC2InstanceId")]
    instance: String,
    #[serde(default)]
    cause: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AlarmDetail {
    alarm_name: String,
    #[serde(default)]
    configuration: Configuration,
    state: State,
}

#[derive(Deserialize)]
struct State {
    value: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    timestamp: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Configuration {
    description: Option<String>,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    metric_stat: Option<Stat>,
}

#[derive(Deserialize)]
struct Stat {
    metric: Named,
}

#[derive(Deserialize)]
struct Named {
    namespace: String,
    name: String,
    #[serde(default)]
    dimensions: BTreeMap<String, String>,
}

/// A time as AWS writes it: with `Z`, or with `+0000`.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
        .map(|at| at.to_utc())
}

/// What is in a topic, or posted by EventBridge.
pub(super) fn read(source: &str, body: &[u8]) -> Result<Signal, String> {
    let signal = match json(body).map_err(|_| not_known())? {
        Said::Alarm(alarm) => alarm.told().signal(source),
        Said::Event(event) => event.signal(),
    }?;
    Ok(Signal { source: source.to_owned(), ..signal })
}

/// The id of an event, which is the same when EventBridge delivers it again.
pub(super) fn event_id(body: &[u8]) -> Option<String> {
    json::<Event>(body).ok().and_then(|event| some(&event.id))
}

fn not_known() -> String {
    "it is neither an alarm of CloudWatch nor an event of EventBridge".into()
}

impl Alarm {
    fn told(self) -> alarm::Alarm {
        let Trigger { metric_name, namespace, dimensions, metrics } = self.trigger;
        let part = metrics.into_iter().find_map(|part| Some(part.metric_stat?.metric));
        let (metric, dimensions) = match (namespace.zip(metric_name), part) {
            (None, Some(part)) => (Some((part.namespace, part.metric_name)), part.dimensions),
            (metric, _) => (metric, dimensions),
        };
        alarm::Alarm {
            name: self.alarm_name,
            description: self.alarm_description,
            account: self.account,
            arn: self.alarm_arn,
            state: self.new_state_value,
            reason: self.new_state_reason,
            since: time(&self.state_change_time),
            metric,
            dimensions: dimensions.into_iter().map(|d| (d.name, d.value)).collect(),
        }
    }
}

impl Event {
    fn signal(mut self) -> Result<Signal, String> {
        let detail = self.detail.take();
        let unread =
            |e: serde_json::Error| format!("the detail of a `{}` is another one: {e}", self.detail_type);
        match (self.source.as_str(), self.detail_type.as_str()) {
            ("aws.cloudwatch", "CloudWatch Alarm State Change") => {
                let detail: AlarmDetail = serde_json::from_value(detail).map_err(unread)?;
                self.alarm(detail).signal("")
            }
            ("aws.rds", _) => {
                let detail: RdsDetail = serde_json::from_value(detail).map_err(unread)?;
                Ok(self.rds(detail))
            }
            ("aws.autoscaling", _) => {
                let detail: GroupDetail = serde_json::from_value(detail).map_err(unread)?;
                Ok(self.group(detail))
            }
            (source, kind) => Err(format!("`{kind}` of `{source}` is no event that is known")),
        }
    }

    fn alarm(self, detail: AlarmDetail) -> alarm::Alarm {
        let metrics = detail.configuration.metrics;
        let metric = metrics.into_iter().find_map(|m| Some(m.metric_stat?.metric));
        let (metric, dimensions) =
            metric.map(|m| ((m.namespace, m.name), m.dimensions.into_iter().collect())).unzip();
        alarm::Alarm {
            name: detail.alarm_name,
            description: detail.configuration.description,
            account: self.account,
            arn: self.resources.into_iter().next().unwrap_or_default(),
            state: detail.state.value,
            reason: detail.state.reason,
            since: time(&detail.state.timestamp),
            metric,
            dimensions: dimensions.unwrap_or_default(),
        }
    }

    fn rds(self, detail: RdsDetail) -> Signal {
        // arn:aws:rds:us-east-1:111122223333:cluster:shard-b
        let mut arn = detail.source_arn.splitn(7, ':').skip(5);
        let about = match arn.next() {
            Some("cluster") => "cluster",
            Some("db") => "instance",
            _ => "resource",
        };
        let said = first([Some(&*detail.message), Some(&*self.detail_type)]).unwrap_or_default();
        let labels = labels([
            ("event", &*detail.event_id),
            ("categories", &detail.event_categories.join(",")),
            ("account", &self.account),
            ("region", &self.region),
            (about, arn.next().unwrap_or_default()),
        ]);
        let at = time(&detail.date).or_else(|| time(&self.time));
        happened(RDS_EVENT, &detail.event_id, &detail.source_arn, said, labels, at)
    }

    fn group(self, detail: GroupDetail) -> Signal {
        let words = [&*detail.status_message, &detail.description, &detail.cause];
        let why = first(words.map(Some)).unwrap_or_default();
        let labels = labels([
            ("event", &*self.detail_type),
            ("status", &detail.status_code),
            ("account", &self.account),
            ("region", &self.region),
            ("group", &detail.auto_scaling_group_name),
            ("instance", &detail.instance),
        ]);
        let about = format!("{}/{}", detail.auto_scaling_group_name, detail.instance);
        let said = format!("{}: {}. {why}", detail.auto_scaling_group_name, self.detail_type);
        happened(AUTO_SCALING_EVENT, &self.detail_type, &about, said, labels, time(&self.time))
    }
}

fn happened(
    kind: &str,
    event: &str,
    about: &str,
    summary: String,
    labels: BTreeMap<String, String>,
    started_at: Option<Timestamp>,
) -> Signal {
    Signal {
        source: String::new(),
        kind: kind.into(),
        fingerprint: format!("{event}/{about}"),
        state: SignalState::Firing,
        severity: None,
        summary: summary.trim().to_owned(),
        labels,
        started_at,
    }
}

/// Those that are there.
fn labels<'a>(all: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), some(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An alarm that calculates has no metric and no dimensions of its own.
    #[test]
    fn an_alarm_that_calculates_is_about_what_it_calculates_with() {
        let dimension = json!([{ "name": "DBClusterIdentifier", "value": "shard-b" }]);
        let metric =
            json!({ "Namespace": "AWS/RDS", "MetricName": "LoginFailures", "Dimensions": dimension });
        let metrics = json!([
            { "Id": "e1", "Expression": "m1 / m2", "ReturnData": true },
            { "Id": "m1", "MetricStat": { "Metric": metric, "Period": 60, "Stat": "Sum" }, "ReturnData": false },
        ]);
        let alarm = json!({
            "AlarmName": "share", "NewStateValue": "ALARM", "AlarmArn": "arn:aws:cloudwatch:us-east-1:111122223333:alarm:share",
            "Trigger": { "Metrics": metrics, "Period": 60 },
        });
        let labels = read("sns", alarm.to_string().as_bytes()).unwrap().labels;
        let [cluster, metric] = ["cluster", "metric"].map(|name| labels.get(name).map(String::as_str));
        assert_eq!((cluster, metric), (Some("shard-b"), Some("LoginFailures")));
    }
}
