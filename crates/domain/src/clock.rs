//! Time is handed in, so that a test can travel and a drill can run an hour in a minute.
//!
//! Two kinds of time exist, and they are never mixed. *Clock time* (this trait) is what runbooks wait in: `timeout`,
//! `every`, `soak`; in a drill it runs faster than the wall. *Wall time* (`tokio::time`, the database's clock) bounds
//! single calls and leases, because sockets and processes do not speed up.

use std::time::Duration;

use chrono::SecondsFormat;
use futures::future::BoxFuture;
use serde::Serializer;

/// A moment in clock time.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// As chrono writes it into JSON, which it does a character at a time and in more than twice as many instructions: every
/// intent has one.
pub(crate) fn written<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Where clock time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
    /// Completes once `duration` of clock time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// How much clock time passes in so much wall time.
    fn of_wall(&self, wall: Duration) -> Duration {
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_chrono_does() {
        let midnight = Timestamp::from_timestamp_nanos(1_714_953_600_000_000_000);
        for nanos in [0, 1, 1_000, 120_000, 1_000_000, 999_999_999, 86_399_000_000_000, 1 << 60, -(1 << 62)] {
            let at = midnight + chrono::TimeDelta::nanoseconds(nanos);
            let mut ours = Vec::new();
            written(&at, &mut serde_json::Serializer::new(&mut ours)).unwrap();
            assert_eq!(String::from_utf8(ours).unwrap(), serde_json::to_string(&at).unwrap());
        }
    }
}
