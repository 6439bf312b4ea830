//! What a drill file says.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A drill.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drill {
    /// Its name.
    pub(crate) drill: String,
    /// What goes wrong, in a line.
    pub(crate) title: String,
    /// What goes wrong, for somebody who was not there.
    pub(crate) about: String,
    /// The simulated world.
    pub(crate) world: String,
    /// What goes wrong in it, instead of what goes wrong there by itself.
    #[serde(default)]
    pub(crate) faults: Option<Vec<sim::TimedFault>>,
    /// How many readers clusters have, where it is another number than in the world.
    #[serde(default)]
    pub(crate) readers: BTreeMap<String, u8>,
    /// How many hosts the groups of fleets have at least, where it is another number than in the world: by the name of the group.
    #[serde(default)]
    pub(crate) minimum: BTreeMap<String, u32>,
    /// By what the groups of fleets tell a healthy host, where it is not EC2 alone: by the name of the group.
    #[serde(default)]
    pub(crate) health_check: BTreeMap<String, sim::HealthCheck>,
    /// When it goes wrong, after the world begins.
    #[serde(deserialize_with = "read_duration")]
    pub(crate) trigger: Duration,
    /// Whose errors decide.
    pub(crate) symptom: Symptom,
    /// What is done about it.
    pub(crate) act: Act,
    /// The engine's process dies so long after the decision, each time as by kill -9, and another one starts.
    #[serde(default, deserialize_with = "read_durations")]
    pub(crate) kills: Vec<Duration>,
    /// Alerts that come in beside it.
    #[serde(default)]
    pub(crate) alerts: Vec<Alerts>,
    /// What an operator would do who sees everything at once: the run is measured against it.
    #[serde(default)]
    pub(crate) clairvoyant: Option<Clairvoyant>,
    /// How long it is watched when nobody acts, after the trigger.
    #[serde(deserialize_with = "read_duration")]
    pub(crate) watch: Duration,
    /// What must hold.
    pub(crate) expect: Expect,
    /// What really happened, if it did.
    #[serde(default)]
    pub(crate) real: Option<Real>,
}

/// Whose errors decide.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Symptom {
    /// The cluster.
    pub(crate) cluster: String,
    /// Below this share of failing requests it is gone.
    pub(crate) gone_below: f64,
}

/// What is done about it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    /// The runbook.
    pub(crate) runbook: String,
    /// Its inputs; `{first host}` stands for the instance id of the oldest host, which chance draws.
    pub(crate) inputs: Map<String, Value>,
    /// When people decided, after the trigger.
    #[serde(deserialize_with = "read_duration")]
    pub(crate) after: Duration,
}

/// Alerts of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alerts {
    /// When they begin to come in, after the trigger.
    #[serde(deserialize_with = "read_duration")]
    pub(crate) after: Duration,
    /// Their kind.
    pub(crate) kind: String,
    /// From these clusters: their label `cluster`.
    pub(crate) clusters: Vec<String>,
    /// Their other labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// How often each is delivered.
    #[serde(default = "once")]
    pub(crate) times: u32,
}

fn once() -> u32 {
    1
}

/// An operator who sees everything at once, and whose hands take no time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clairvoyant {
    /// Replaces this fleet, by the name of its group;
    pub(crate) replaces: String,
    /// so many of its hosts drain at the same time,
    pub(crate) at_once: usize,
    /// for so long.
    #[serde(deserialize_with = "read_duration")]
    pub(crate) drain: Duration,
    /// The run takes at most so many times as long, played at no more than [`Clairvoyant::CLOSE`] times real time: beyond that,
    /// the milliseconds that a real call takes are seconds here.
    pub(crate) run_takes_at_most: f64,
}

impl Clairvoyant {
    /// The speed up to which the ratio is held against the run.
    pub(crate) const CLOSE: f64 = 5.0;
}

/// What must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// Without action the error share rises at least so far, and stays there.
    pub(crate) peak_without_action: f64,
    /// With it the symptom is gone within so long after the decision; where it is not to be gone, nothing.
    #[serde(default, deserialize_with = "read_some_duration")]
    pub(crate) recovered_within: Option<Duration>,
    /// How the run ends.
    #[serde(default = "succeeded")]
    pub(crate) outcome: String,
    /// Words that its last sentence must hold: the outcome by its right name.
    #[serde(default)]
    pub(crate) says: Option<String>,
    /// How many changes are made, where that matters.
    #[serde(default)]
    pub(crate) changes: Option<usize>,
    /// So many instances of the symptom's cluster may be down for a change of class at the same time.
    #[serde(default = "one")]
    pub(crate) changing_at_once: usize,
    /// For so long in all the symptom's customers may be worse off than had nobody acted: the price of a failover.
    #[serde(default, deserialize_with = "read_duration")]
    pub(crate) worse_off_for: Duration,
}

fn one() -> usize {
    1
}

fn succeeded() -> String {
    "succeeded".into()
}

/// What really happened.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Real {
    /// Who says so.
    pub(crate) source: String,
    /// Highest share of failing requests.
    pub(crate) error_share_peak: f64,
    /// From the trigger to the decision.
    pub(crate) seconds_trigger_to_decision: i64,
    /// From the decision to recovery.
    pub(crate) seconds_decision_to_recovered: i64,
}

impl Act {
    /// The inputs, with the ids of this world.
    pub(crate) fn inputs_in(&self, world: &sim::Physics) -> Map<String, Value> {
        let first = world.host_ids().into_iter().next().unwrap_or_default();
        let named = |value: &Value| match value.as_str() {
            Some("{first host}") => Value::from(first.as_str()),
            _ => value.clone(),
        };
        self.inputs.iter().map(|(name, value)| (name.clone(), named(value))).collect()
    }
}

impl Drill {
    /// The world, with what the drill changes in it.
    pub(crate) fn set(&self, mut world: sim::World) -> sim::World {
        if let Some(faults) = &self.faults {
            world.faults.clone_from(faults);
        }
        for cluster in &mut world.clusters {
            if let Some(readers) = self.readers.get(&cluster.id) {
                cluster.readers = *readers;
            }
        }
        for fleet in &mut world.fleets {
            if let Some(least) = self.minimum.get(&fleet.asg) {
                fleet.min = *least;
            }
            if let Some(check) = self.health_check.get(&fleet.asg) {
                fleet.health_check = *check;
            }
        }
        world
    }

    /// Reads a drill; a mistake is named with its line and column.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(serde_saphyr::from_str(text)?)
    }
}

/// `90s`, `3m`, `1h 30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it like 90s, 3m or 1h 30m"))
}

fn read_some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    read_duration(deserializer).map(Some)
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn read_durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| duration(text).map_err(serde::de::Error::custom)).collect()
}
