//! `cloudwatch.describe_alarms`: which alarms there are, and which ring.
//!
//! An alarm tells only of changes of its state: what rang before anybody listened is learnt by looking.

use std::collections::BTreeMap;

use chrono::DateTime;
use domain::Timestamp;
use domain::action::{ActionError, Ctx, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::signed::{Question, Signed};
use crate::input;
use crate::shell::Command;

/// `cloudwatch.describe_alarms`.
pub(super) struct DescribeAlarms(pub(super) Signed);

/// Which alarms.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AlarmsInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The account, by its name in the inventory; needed only where the region is used in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
    /// Only those whose names begin with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
}

/// The state of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum State {
    /// Nothing is wrong.
    Ok,
    /// It rings.
    Alarm,
    /// It cannot tell.
    InsufficientData,
}

/// The alarms.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Alarms {
    /// All that were asked for, by name.
    alarms: Vec<Alarm>,
    /// The names of those that ring.
    ringing: Vec<String>,
}

/// One alarm.
#[derive(Debug, Serialize, JsonSchema)]
struct Alarm {
    /// Its name.
    name: String,
    /// Its ARN.
    arn: String,
    /// What people wrote of it; may be empty.
    description: String,
    /// Its state.
    state: State,
    /// Why it is in that state, in the words of CloudWatch.
    reason: String,
    /// Since when.
    since: Option<Timestamp>,
    /// The namespace of its metric, of one that calculates that of the first that it calculates with; empty for one made of other alarms.
    namespace: String,
    /// The metric that it watches; empty for one made of other alarms.
    metric: String,
    /// What that metric is of.
    dimensions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    metric_alarms: Vec<Told>,
    #[serde(default)]
    composite_alarms: Vec<Told>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    alarm_name: String,
    #[serde(default)]
    alarm_arn: String,
    #[serde(default)]
    alarm_description: String,
    state_value: State,
    #[serde(default)]
    state_reason: String,
    state_updated_timestamp: Option<f64>,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    metric_name: String,
    #[serde(default)]
    dimensions: Vec<Dimension>,
    /// Of an alarm that calculates, what it calculates with.
    #[serde(default)]
    metrics: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Part {
    metric_stat: Option<Stat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stat {
    metric: Metric,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Metric {
    namespace: String,
    metric_name: String,
    dimensions: Vec<Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    value: String,
}

/// A page has a hundred at most; whoever has more than this many pages means fewer.
const MOST_PAGES: usize = 20;

impl Observe for DescribeAlarms {
    const NAME: &'static str = "cloudwatch.describe_alarms";
    const SUMMARY: &'static str = "The alarms of CloudWatch, and which of them ring";
    const PERMISSIONS: &'static [&'static str] = &["cloudwatch:DescribeAlarms"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  aws cloudwatch describe-alarms --region "$region" ${state:+--state-value "$state"} ${prefix:+--alarm-name-prefix "$prefix"} \
    --alarm-types MetricAlarm CompositeAlarm --output json |
    jq -c 'def moment: if type == "number" then todate else . end;
      [(.MetricAlarms + .CompositeAlarms)[] | (if .MetricName then . else ([.Metrics[]?.MetricStat.Metric | values][0] // {}) end) as $of | { name: .AlarmName, arn: .AlarmArn, description: (.AlarmDescription // ""), state: .StateValue, reason: (.StateReason // ""), since: (.StateUpdatedTimestamp | moment),
      namespace: ($of.Namespace // ""), metric: ($of.MetricName // ""), dimensions: ([$of.Dimensions[]? | { key: .Name, value: .Value }] | from_entries) }] | sort_by(.name) as $alarms |
      { alarms: $alarms, ringing: [$alarms[] | select(.state == "ALARM").name] }'
"#,
    );
    type Input = AlarmsInput;
    type Output = Alarms;

    async fn observe(&self, ctx: &Ctx, input: &AlarmsInput) -> Result<Alarms, ActionError> {
        let about = input.prefix.as_deref().unwrap_or_default();
        let account = input.account.as_deref();
        let question = Question { region: &input.region, account, operation: "DescribeAlarms", about };
        let mut body = json!({ "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "MaxRecords": 100 });
        if let Some(state) = input.state {
            body["StateValue"] = json!(state);
        }
        if let Some(prefix) = &input.prefix {
            body["AlarmNamePrefix"] = json!(prefix);
        }
        let mut told = Vec::new();
        for _ in 0..MOST_PAGES {
            let page: Page = self.0.ask(ctx, question, &body).await?;
            told.extend(page.metric_alarms);
            told.extend(page.composite_alarms);
            match page.next_token {
                Some(next) => body["NextToken"] = json!(next),
                None => return Ok(Alarms::of(told)),
            }
        }
        Err(ActionError::refused(
            "too_many_alarms",
            format!("{} has more than {} such alarms.", input.region, told.len()),
        )
        .remedy("ask for fewer: by `state`, or by `prefix`"))
    }

    fn command(&self, input: &AlarmsInput) -> String {
        let mut command = Command::aws("cloudwatch describe-alarms", &input.region);
        if let Some(state) = input.state {
            let state = serde_json::to_value(state).unwrap_or_default();
            command = command.option("--state-value", state.as_str().unwrap_or_default());
        }
        if let Some(prefix) = &input.prefix {
            command = command.option("--alarm-name-prefix", prefix);
        }
        command.list("--alarm-types", ["MetricAlarm", "CompositeAlarm"]).line()
    }
}

impl Alarms {
    fn of(told: Vec<Told>) -> Self {
        let mut alarms: Vec<Alarm> = told.into_iter().map(Alarm::of).collect();
        alarms.sort_by(|a, b| a.name.cmp(&b.name));
        let ringing = alarms.iter().filter(|a| a.state == State::Alarm).map(|a| a.name.clone()).collect();
        Self { alarms, ringing }
    }
}

impl Alarm {
    fn of(told: Told) -> Self {
        let at = |seconds: f64| DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64);
        let part = told.metrics.into_iter().find_map(|part| Some(part.metric_stat?.metric));
        let own =
            Metric { namespace: told.namespace, metric_name: told.metric_name, dimensions: told.dimensions };
        let of = part.filter(|_| own.metric_name.is_empty()).unwrap_or(own);
        Self {
            name: told.alarm_name,
            arn: told.alarm_arn,
            description: told.alarm_description,
            state: told.state_value,
            reason: told.state_reason,
            since: told.state_updated_timestamp.and_then(at),
            namespace: of.namespace,
            metric: of.metric_name,
            dimensions: of.dimensions.into_iter().map(|d| (d.name, d.value)).collect(),
        }
    }
}
