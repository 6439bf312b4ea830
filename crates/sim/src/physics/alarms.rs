//! CloudWatch alarms, evaluated once a minute on what was published.

use chrono::{DateTime, TimeDelta, Utc};

use super::Physics;
use super::metrics::{Metric, Subject};
use super::news::News;
use crate::alarm::{Alarm, AlarmSubject, Missing};

/// What an alarm says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AlarmState {
    Ok,
    Alarm,
    InsufficientData,
}

impl AlarmState {
    /// CloudWatch's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
        }
    }
}

/// An alarm and its state.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) alarm: Alarm,
    metric: Metric,
    pub(crate) subject: Subject,
    pub(crate) state: AlarmState,
    /// When it came into this state.
    pub(crate) since: DateTime<Utc>,
    pub(crate) reason: String,
    /// It is not there any more, and keeps its place: news name alarms by their places.
    pub(crate) deleted: bool,
}

impl Physics {
    /// The alarms of a world, at its start. The world has been checked: what they name exists.
    pub(super) fn set_alarms(&mut self) {
        let alarms = self.world.alarms.clone();
        for alarm in alarms {
            let Some((metric, subject)) = self.watched(&alarm) else { continue };
            let since = self.world.start - TimeDelta::days(30);
            let reason = "Unchecked: Initial alarm creation".to_owned();
            self.watches.push(Watch {
                alarm,
                metric,
                subject,
                state: AlarmState::InsufficientData,
                since,
                reason,
                deleted: false,
            });
        }
        self.tick_alarms();
    }

    /// Deletes an alarm, as somebody may while it rings: nobody is told of it. `false` if there is none of this name.
    pub fn delete_alarm(&mut self, name: &str) -> bool {
        let watch = self.watches.iter_mut().find(|watch| watch.alarm.name == name && !watch.deleted);
        watch.is_some_and(|watch| {
            watch.deleted = true;
            true
        })
    }

    fn watched(&self, alarm: &Alarm) -> Option<(Metric, Subject)> {
        let cluster = |id: &str| self.clusters.iter().position(|c| c.id == id);
        let subject = match &alarm.of {
            AlarmSubject::Cluster(id) => Subject { cluster: cluster(id)?, member: None, writer: None },
            AlarmSubject::WriterOf(id) => Subject { cluster: cluster(id)?, member: None, writer: Some(true) },
            AlarmSubject::Instance(id) => {
                let (cluster, member) = self.instance(id)?;
                Subject { cluster, member: Some(member), writer: None }
            }
        };
        Some((Metric::named(&alarm.metric)?, subject))
    }

    /// An Aurora instance: its cluster, and its place there.
    pub(crate) fn instance(&self, id: &str) -> Option<(usize, usize)> {
        let place = |c: usize| Some((c, self.clusters[c].members.iter().position(|m| m.id == id)?));
        (0..self.clusters.len()).find_map(place)
    }

    pub(super) fn tick_alarms(&mut self) {
        let now = self.now;
        for n in 0..self.watches.len() {
            if self.watches[n].deleted {
                continue;
            }
            let (state, reason) = self.evaluate(&self.watches[n]);
            let watch = &mut self.watches[n];
            if state != watch.state {
                let before = std::mem::replace(&mut watch.state, state);
                watch.reason.clone_from(&reason);
                // At the start the state is what it has been for long.
                if now != self.world.start {
                    watch.since = now;
                    self.news.push(News::Alarm { at: now, watch: n, before, after: state, reason });
                }
            }
        }
    }

    fn evaluate(&self, watch: &Watch) -> (AlarmState, String) {
        let alarm = &watch.alarm;
        let period = TimeDelta::seconds(i64::from(alarm.period_s));
        let end = DateTime::from_timestamp(self.now.timestamp().div_euclid(60) * 60, 0).unwrap_or(self.now);
        let value = |n: u32| {
            let from = end - period * (n as i32 + 1);
            let values = self.metrics.values(watch.metric, watch.subject, from, from + period);
            let values: Vec<f64> = values.into_iter().map(|(_, v)| v).collect();
            alarm.statistic.of(&values)
        };
        let values: Vec<Option<f64>> = (0..alarm.evaluation_periods).map(value).collect();
        let there: Vec<f64> = values.iter().flatten().copied().collect();
        let breaching = values
            .iter()
            .filter(|v| match v {
                Some(v) => alarm.comparison.breaches(*v, alarm.threshold),
                None => alarm.missing == Missing::Breaching,
            })
            .count() as u32;
        let needed = alarm.datapoints_to_alarm.unwrap_or(alarm.evaluation_periods);
        let state = match alarm.missing {
            _ if breaching >= needed => AlarmState::Alarm,
            Missing::Missing if there.is_empty() => AlarmState::InsufficientData,
            Missing::Ignore if there.is_empty() => watch.state,
            _ => AlarmState::Ok,
        };
        let (threshold, (_, lies)) = (alarm.threshold, alarm.comparison.name());
        let shown = there.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
        let reason = match state {
            AlarmState::InsufficientData => {
                format!("Insufficient Data: {} datapoints were unknown.", values.len())
            }
            _ => format!(
                "Threshold Crossed: {breaching} out of the last {} datapoints [{shown}] {} {lies} the threshold \
                 ({threshold}).",
                values.len(),
                if breaching == 1 { "was" } else { "were" },
            ),
        };
        (state, reason)
    }
}
