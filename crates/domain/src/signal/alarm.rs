//! An alarm of CloudWatch as a signal, whoever tells of it: a topic, EventBridge, or our own look at it. The same alarm is the same
//! trouble, by its ARN.

use std::collections::BTreeMap;

use super::{Signal, SignalState};
use crate::Timestamp;

/// An alarm, however it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alarm {
    /// Its name.
    pub name: String,
    /// What people wrote of it.
    pub description: Option<String>,
    /// The account that it is in, twelve digits.
    pub account: String,
    /// Its ARN.
    pub arn: String,
    /// `ALARM`, `OK`, `INSUFFICIENT_DATA`.
    pub state: String,
    /// Why it is in that state, in CloudWatch's words.
    pub reason: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Namespace and name of its metric; nothing for one made of other alarms.
    pub metric: Option<(String, String)>,
    /// What that metric is of.
    pub dimensions: Vec<(String, String)>,
}

impl Alarm {
    /// As a signal of this source; why not, if it is none.
    pub fn signal(self, source: &str) -> Result<Signal, String> {
        let name = Some(self.name.trim()).filter(|name| !name.is_empty()).ok_or("an alarm has no name")?;
        let (state, lacks) = match self.state.as_str() {
            "ALARM" => (SignalState::Firing, ""),
            "OK" => (SignalState::Resolved, ""),
            "INSUFFICIENT_DATA" => (SignalState::Unclear, "It has no data. "),
            other => return Err(format!("an alarm's state is `{other}`")),
        };
        // arn:aws:cloudwatch:us-east-1:111122223333:alarm:name
        let region = self.arn.split(':').nth(3).unwrap_or_default();
        let described = self.description.as_deref().map(str::trim).filter(|said| !said.is_empty());
        let said = described.unwrap_or(name).trim_end_matches('.');
        let (namespace, metric) = self.metric.unwrap_or_default();
        let named = [
            ("alarm", name),
            ("account", &self.account),
            ("region", region),
            ("namespace", &namespace),
            ("metric", &metric),
        ];
        let mut labels: BTreeMap<String, String> = named
            .into_iter()
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        labels.extend(self.dimensions.into_iter().map(|(name, value)| (ours(name), value)));
        let arn = Some(self.arn.trim()).filter(|arn| !arn.is_empty());
        Ok(Signal {
            source: source.to_owned(),
            fingerprint: arn.map_or_else(|| format!("{}/{name}", self.account), str::to_owned),
            kind: name.to_owned(),
            state,
            severity: None,
            summary: format!("{said}. {lacks}{}", self.reason).trim().to_owned(),
            labels,
            started_at: self.since,
        })
    }
}

/// What a dimension is about, in the word that other sources use.
fn ours(dimension: String) -> String {
    match dimension.as_str() {
        "DBClusterIdentifier" => "cluster".into(),
        "DBInstanceIdentifier" => "instance".into(),
        "AutoScalingGroupName" => "group".into(),
        _ => dimension,
    }
}
