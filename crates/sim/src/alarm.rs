//! CloudWatch alarms, as a world describes them.

use serde::{Deserialize, Serialize};

use crate::physics::Metric;
use crate::world::World;

/// An alarm on one metric of one cluster or instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// The metric, of the namespace `AWS/RDS`.
    pub metric: String,
    /// Whose metric.
    pub of: AlarmSubject,
    /// How the values of one period become one.
    #[serde(default)]
    pub statistic: Statistic,
    /// Seconds per value, a multiple of 60.
    #[serde(default = "a_minute")]
    pub period_s: u32,
    /// How a value must lie to the threshold in order to breach it.
    pub comparison: Comparison,
    /// The threshold, in the metric's unit.
    pub threshold: f64,
    /// How many of the last periods count.
    #[serde(default = "one")]
    pub evaluation_periods: u32,
    /// How many of them must breach; all if absent.
    #[serde(default)]
    pub datapoints_to_alarm: Option<u32>,
    /// What a period without a value counts as.
    #[serde(default)]
    pub missing: Missing,
}

impl Alarm {
    /// What is wrong with it in this world, if anything.
    pub(crate) fn check(&self, world: &World) -> Result<(), String> {
        let name = &self.name;
        let known = match &self.of {
            AlarmSubject::Cluster(id) | AlarmSubject::WriterOf(id) => {
                world.clusters.iter().any(|c| c.id == *id)
            }
            AlarmSubject::Instance(id) => world.has_instance(id),
        };
        if !known {
            return Err(format!("the alarm `{name}` watches something unknown: {:?}", self.of));
        }
        if Metric::named(&self.metric).is_none() {
            let all: Vec<&str> = Metric::ALL.iter().map(|m| m.name()).collect();
            return Err(format!(
                "the alarm `{name}` watches the unknown metric `{}`; there are {}",
                self.metric,
                all.join(", ")
            ));
        }
        let needed = self.datapoints_to_alarm.unwrap_or(1);
        let whole_minutes = self.period_s > 0 && self.period_s.is_multiple_of(60);
        if !whole_minutes || needed == 0 || needed > self.evaluation_periods {
            return Err(format!(
                "the alarm `{name}` needs a `period_s` of whole minutes, and 0 < datapoints_to_alarm <= \
                 evaluation_periods"
            ));
        }
        Ok(())
    }
}

/// Whose metric an alarm watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmSubject {
    /// All members of a cluster.
    Cluster(String),
    /// The member that writes.
    WriterOf(String),
    /// One instance.
    Instance(String),
}

/// How several values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Statistic {
    /// Their mean.
    #[default]
    Average,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// All added up.
    Sum,
    /// How many there are.
    SampleCount,
}

impl Statistic {
    /// By CloudWatch's name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Average, Self::Minimum, Self::Maximum, Self::Sum, Self::SampleCount]
            .into_iter()
            .find(|s| s.name() == name)
    }

    /// CloudWatch's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Average => "Average",
            Self::Minimum => "Minimum",
            Self::Maximum => "Maximum",
            Self::Sum => "Sum",
            Self::SampleCount => "SampleCount",
        }
    }

    /// None of no values.
    pub(crate) fn of(self, values: &[f64]) -> Option<f64> {
        let count = values.len() as f64;
        match self {
            _ if values.is_empty() => None,
            Self::Average => Some(values.iter().sum::<f64>() / count),
            Self::Minimum => values.iter().copied().reduce(f64::min),
            Self::Maximum => values.iter().copied().reduce(f64::max),
            Self::Sum => Some(values.iter().sum()),
            Self::SampleCount => Some(count),
        }
    }
}

/// How a value lies to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Above it.
    Above,
    /// Above it, or at it.
    AtLeast,
    /// Below it.
    Below,
    /// Below it, or at it.
    AtMost,
}

impl Comparison {
    pub(crate) fn breaches(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::Above => value > threshold,
            Self::AtLeast => value >= threshold,
            Self::Below => value < threshold,
            Self::AtMost => value <= threshold,
        }
    }

    /// CloudWatch's name, and how its reasons put it.
    pub(crate) fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::Above => ("GreaterThanThreshold", "greater than"),
            Self::AtLeast => ("GreaterThanOrEqualToThreshold", "greater than or equal to"),
            Self::Below => ("LessThanThreshold", "less than"),
            Self::AtMost => ("LessThanOrEqualToThreshold", "less than or equal to"),
        }
    }
}

/// What a period without a value counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// As nothing: with no value at all the alarm lacks data.
    #[default]
    Missing,
    /// As fine.
    NotBreaching,
    /// As bad.
    Breaching,
    /// The alarm keeps its state.
    Ignore,
}

impl Missing {
    /// CloudWatch's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotBreaching => "notBreaching",
            Self::Breaching => "breaching",
            Self::Ignore => "ignore",
        }
    }
}

fn a_minute() -> u32 {
    60
}

fn one() -> u32 {
    1
}
