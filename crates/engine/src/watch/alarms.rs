//! Alarms of CloudWatch that rang before anybody listened.
//!
//! A topic and EventBridge tell of changes only, and may lose one. So the alarms are read when the process starts, and again every
//! few minutes: what rings is said as the topic would have said it, and what has stopped is over. The same state of the same alarm
//! is one delivery, however many processes read it and however often.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::signal::alarm::Alarm;
use serde::Deserialize;
use serde_json::Value;
use store::signals::Received;

use super::observe;
use crate::{Core, Topic};

pub(super) const ALARMS: &str = "cloudwatch.describe_alarms";

/// Which alarms are read.
#[derive(Debug, Clone)]
pub struct AlarmWatch {
    /// The source that tells of their changes, so that an alarm is one signal whoever tells of it.
    pub source: String,
    /// What `cloudwatch.describe_alarms` is asked, for each account and region.
    pub of: Vec<Value>,
    /// Pause between two readings (clock time).
    pub every: Duration,
}

#[derive(Deserialize)]
struct Seen {
    alarms: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    name: String,
    arn: String,
    description: String,
    state: String,
    reason: String,
    since: Option<Timestamp>,
    namespace: String,
    metric: String,
    dimensions: std::collections::BTreeMap<String, String>,
}

pub(crate) async fn watch_alarms(core: Arc<Core>, settings: AlarmWatch) {
    loop {
        for input in &settings.of {
            if let Err(e) = read(&core, &settings.source, input).await {
                tracing::warn!("alarms of {input} are not known: {e}");
            }
        }
        core.bell.ring(Topic::Signals);
        core.clock.sleep(settings.every).await;
    }
}

async fn read(core: &Core, source: &str, input: &Value) -> Result<(), String> {
    let seen = observe(core, ALARMS, input.clone()).await.map_err(|e| e.to_string())?;
    let seen: Seen = serde_json::from_value(seen).map_err(|e| e.to_string())?;
    let firing: HashSet<String> =
        store::signals::firing_of(&core.pool, source).await.map_err(|e| e.to_string())?.into_iter().collect();
    for told in seen.alarms {
        // Of what is quiet and was not known to ring there is nothing to say.
        if told.state != "ALARM" && !(told.state == "OK" && firing.contains(&told.arn)) {
            continue;
        }
        let delivery = told.since.map(|since| format!("read {} {} {since}", told.arn, told.state));
        let signal = match told.alarm().signal(source) {
            Ok(signal) => signal.named_by(&core.inventory),
            Err(e) => {
                tracing::warn!("an alarm that was read is no signal: {e}");
                continue;
            }
        };
        let received =
            Received { signal: &signal, delivery: delivery.as_deref(), body: None, at: core.clock.now() };
        store::signals::receive(&core.pool, received).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

impl Told {
    fn alarm(self) -> Alarm {
        let account = self.arn.split(':').nth(4).unwrap_or_default().to_owned();
        Alarm {
            account,
            name: self.name,
            description: Some(self.description),
            arn: self.arn,
            state: self.state,
            reason: self.reason,
            since: self.since,
            metric: (!self.metric.is_empty()).then_some((self.namespace, self.metric)),
            dimensions: self.dimensions.into_iter().collect(),
        }
    }
}
