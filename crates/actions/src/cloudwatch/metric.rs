//! `cloudwatch.metric`: the values of one metric in the last minutes.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use domain::Timestamp;
use domain::action::{ActionError, Ctx, ErrorClass, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::signed::{Question, Signed};
use crate::input;
use crate::shell::{Command, quote};

/// `cloudwatch.metric`.
pub(super) struct Metric(pub(super) Signed);

/// Which values.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The account, by its name in the inventory; needed only where the region is used in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Name of the metric, such as `CPUUtilization`.
    #[serde(deserialize_with = "input::name")]
    metric: String,
    /// What it is of, such as `{ DBInstanceIdentifier: shard-b-1 }`.
    dimensions: BTreeMap<String, String>,
    /// Namespace of the metric.
    #[serde(default = "rds")]
    namespace: String,
    /// What is told of each period.
    #[serde(default)]
    statistic: Statistic,
    /// Seconds of a period: a multiple of 60.
    #[serde(default = "a_minute")]
    #[schemars(range(min = 60, max = 3600))]
    period_s: u32,
    /// How many minutes back, up to a day.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1440))]
    minutes: u32,
}

/// What is told of a period.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
enum Statistic {
    /// The mean.
    #[default]
    Average,
    /// The largest.
    Maximum,
    /// The smallest.
    Minimum,
    /// All together.
    Sum,
    /// How many there are.
    SampleCount,
}

fn rds() -> String {
    "AWS/RDS".into()
}

fn a_minute() -> u32 {
    60
}

fn ten() -> u32 {
    10
}

/// The values.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Values {
    /// One for each period that has one, oldest first.
    values: Vec<Point>,
    /// The newest of them; null when there is none. CloudWatch is about a minute behind.
    latest: Option<f64>,
    /// Their mean.
    average: Option<f64>,
    /// The smallest.
    lowest: Option<f64>,
    /// The largest.
    highest: Option<f64>,
}

/// The value of a period.
#[derive(Debug, Serialize, JsonSchema)]
struct Point {
    /// Its beginning.
    at: Timestamp,
    /// The value, in the metric's own unit.
    value: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    metric_data_results: Vec<Results>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Results {
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
    status_code: String,
}

impl MetricInput {
    fn check(&self) -> Result<(), ActionError> {
        let wrong = |what: String| Err(ActionError::refused("bad_input", what));
        if self.dimensions.is_empty() {
            return wrong(format!("`dimensions` is empty; say what {} is asked of.", self.metric));
        }
        if !(60..=3600).contains(&self.period_s) || !self.period_s.is_multiple_of(60) {
            return wrong(format!("period_s is {}; it must be a multiple of 60, up to 3600.", self.period_s));
        }
        if !(1..=1440).contains(&self.minutes) {
            return wrong(format!("minutes is {}; it must be 1 to 1440.", self.minutes));
        }
        Ok(())
    }

    fn queries(&self) -> serde_json::Value {
        let dimensions: Vec<_> =
            self.dimensions.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect();
        json!([{
            "Id": "m",
            "MetricStat": {
                "Metric": { "Namespace": self.namespace, "MetricName": self.metric, "Dimensions": dimensions },
                "Period": self.period_s,
                "Stat": self.statistic,
            },
        }])
    }

    fn about(&self) -> String {
        let of: Vec<&str> = self.dimensions.values().map(String::as_str).collect();
        format!("{} of {}", self.metric, of.join(", "))
    }
}

impl Observe for Metric {
    const NAME: &'static str = "cloudwatch.metric";
    const SUMMARY: &'static str = "The values of a CloudWatch metric in the last minutes";
    const PERMISSIONS: &'static [&'static str] = &["cloudwatch:GetMetricData"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local at from to queries
  at=$(date +%s) || return
  from=$(jq -nr "$at - 60 * ${minutes:-10} | todate") to=$(jq -nr "$at | todate")
  queries=$(jq -nc --argjson dimensions "$dimensions" --arg metric "$metric" --arg namespace "${namespace:-AWS/RDS}" \
    --arg stat "${statistic:-Average}" --argjson period "${period_s:-60}" '[{ Id: "m", MetricStat: { Period: $period, Stat: $stat,
      Metric: { Namespace: $namespace, MetricName: $metric, Dimensions: ($dimensions | to_entries | map({ Name: .key, Value: .value })) } } }]')
  aws cloudwatch get-metric-data --region "$region" --start-time "$from" --end-time "$to" --scan-by TimestampAscending \
    --metric-data-queries "$queries" --output json |
    jq -c 'def moment: if type == "number" then todate else . end;
      .MetricDataResults[0] | [[.Timestamps, .Values] | transpose[] | { at: (.[0] | moment), value: .[1] }] as $values | [$values[].value] as $v | {
      values: $values, latest: ($v | last), average: (if $v == [] then null else ($v | add / length) end), lowest: ($v | min), highest: ($v | max) }'
"#,
    );
    type Input = MetricInput;
    type Output = Values;

    async fn observe(&self, ctx: &Ctx, input: &MetricInput) -> Result<Values, ActionError> {
        input.check()?;
        let to = ctx.clock.now();
        let body = json!({
            "StartTime": (to - TimeDelta::minutes(i64::from(input.minutes))).timestamp(),
            "EndTime": to.timestamp(),
            "ScanBy": "TimestampAscending",
            "MetricDataQueries": input.queries(),
        });
        let (account, about) = (input.account.as_deref(), input.about());
        let question = Question { region: &input.region, account, operation: "GetMetricData", about: &about };
        let answer: Answer = self.0.ask(ctx, question, &body).await?;
        let results = answer.metric_data_results.into_iter().next();
        let Some(Results { timestamps, values, .. }) = results.filter(|r| r.status_code == "Complete") else {
            let message = format!("CloudWatch did not tell all of {}.", input.about());
            return Err(ActionError::new(ErrorClass::Transient, "partial_data", message));
        };
        let point = |(at, value): (f64, f64)| {
            Some(Point { at: DateTime::from_timestamp_millis((at * 1000.0).round() as i64)?, value })
        };
        Ok(Values::of(timestamps.into_iter().zip(values).filter_map(point).collect()))
    }

    fn command(&self, input: &MetricInput) -> String {
        // Moments are worked out by the shell: the line is for now, not for when it was written.
        format!(
            "{} --start-time \"$(date -u -d '{} minutes ago' +%FT%TZ)\" --end-time \"$(date -u +%FT%TZ)\" --scan-by TimestampAscending --metric-data-queries {}",
            Command::aws("cloudwatch get-metric-data", &input.region).line(),
            input.minutes,
            quote(&input.queries().to_string())
        )
    }
}

impl Values {
    fn of(values: Vec<Point>) -> Self {
        let all = || values.iter().map(|point| point.value);
        Self {
            latest: values.last().map(|point| point.value),
            average: (!values.is_empty()).then(|| all().sum::<f64>() / values.len() as f64),
            lowest: all().reduce(f64::min),
            highest: all().reduce(f64::max),
            values,
        }
    }
}
