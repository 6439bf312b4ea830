//! Alarms of CloudWatch that rang before anybody listened.
//!
//! A topic and EventBridge tell of changes only, and may lose one. So the alarms are read when the process starts, and again every
//! few minutes: what rings is said as the topic would have said it, and what has stopped is over, or is not there any more: of an alarm
//! that is deleted while it rings nobody tells. The same state of the same alarm is one delivery, however many processes read it and
//! however often.

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

#[derive(Default, Deserialize)]
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
    // Before the look: an alarm that is made and rings after it would seem to be deleted.
    let firing = core.soon(store::signals::firing_of(&core.pool, source)).await;
    let firing: HashSet<String> = firing.map_err(|e| e.to_string())?.into_iter().collect();
    let seen = observe(core, ALARMS, input.clone()).await.map_err(|e| e.to_string())?;
    let mut seen: Seen = serde_json::from_value(seen).map_err(|e| e.to_string())?;
    let gone = deleted(&firing, &seen.alarms, input);
    seen.alarms.extend(gone);
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
        core.soon(store::signals::receive(&core.pool, received)).await.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Those that ring as far as we know, and are not among all the alarms of their region and account. An answer without any alarm does
/// not say of which account it is, and ends nothing.
fn deleted(firing: &HashSet<String>, listed: &[Told], of: &Value) -> Vec<Told> {
    let accounts: HashSet<&str> = listed.iter().filter_map(|told| told.arn.split(':').nth(4)).collect();
    let field = |name: &str| of[name].as_str().unwrap_or_default();
    let gone = |arn: &String| {
        // arn:aws:cloudwatch:us-east-1:111122223333:alarm:name
        let parts: Vec<&str> = arn.splitn(7, ':').collect();
        let &[_, _, "cloudwatch", region, account, "alarm", name] = parts.as_slice() else { return None };
        let ours = region == field("region")
            && accounts.len() == 1
            && accounts.contains(account)
            && name.starts_with(field("prefix"));
        (ours && listed.iter().all(|told| told.arn != *arn)).then(|| Told {
            name: name.to_owned(),
            arn: arn.clone(),
            state: "OK".into(),
            reason: "The alarm was deleted.".into(),
            // Nobody knows when; and by our clock it could be before it rang, by AWS'.
            since: None,
            ..Told::default()
        })
    };
    firing.iter().filter_map(gone).collect()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arn(region: &str, account: &str, name: &str) -> String {
        format!("arn:aws:cloudwatch:{region}:{account}:alarm:{name}")
    }

    #[test]
    fn an_alarm_that_rings_and_is_not_among_all_of_its_region_and_account_was_deleted() {
        let listed = |arns: &[String]| -> Vec<Told> {
            arns.iter().map(|arn| Told { arn: arn.clone(), state: "OK".into(), ..Told::default() }).collect()
        };
        let there = arn("us", "1", "db: there");
        let firing: HashSet<String> = [
            there.clone(),
            arn("us", "1", "db: gone: for good"),
            arn("us", "1", "web: gone"),
            arn("us", "2", "db: of another account"),
            arn("eu", "1", "db: of another region"),
            "what people named themselves".to_owned(),
        ]
        .into();
        let gone = |listed: &[Told], of: Value| {
            let mut gone: Vec<String> =
                deleted(&firing, listed, &of).into_iter().map(|told| told.name).collect();
            gone.sort();
            gone
        };
        let all = listed(&[there.clone(), arn("us", "1", "db: another")]);
        assert_eq!(gone(&all, json!({ "region": "us" })), ["db: gone: for good", "web: gone"]);
        assert_eq!(gone(&all, json!({ "region": "us", "prefix": "db" })), ["db: gone: for good"]);
        assert_eq!(gone(&[], json!({ "region": "us" })), [""; 0], "of which account?");
        let two = listed(&[there, arn("us", "2", "db: of another account")]);
        assert_eq!(gone(&two, json!({ "region": "us" })), [""; 0], "of which account?");
    }
}
