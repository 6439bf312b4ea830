//! What AWS tells whoever has subscribed: kept in the order in which it happened, and only ever added to.

use chrono::{DateTime, Utc};

use super::Physics;
use super::alarms::AlarmState;
use super::aurora::RdsEvent;

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// RDS says so.
    Rds(RdsEvent),
    /// An alarm went from one state into another.
    Alarm { at: DateTime<Utc>, watch: usize, before: AlarmState, after: AlarmState, reason: String },
    /// A scaling activity has ended.
    Scaled { at: DateTime<Utc>, group: usize, activity: usize, instance: Option<String> },
}

impl Physics {
    pub(super) fn scaled(&mut self, group: usize, activity: usize, instance: Option<String>) {
        self.news.push(News::Scaled { at: self.now, group, activity, instance });
    }
}
