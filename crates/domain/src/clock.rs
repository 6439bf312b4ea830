//! Time is handed in, so that a test can travel and a drill can run an hour in a minute.
//!
//! Two kinds of time exist, and they are never mixed. *Clock time* (this trait) is what runbooks wait in: `timeout`,
//! `every`, `soak`; in a drill it runs faster than the wall. *Wall time* (`tokio::time`, the database's clock) bounds
//! single calls and leases, because sockets and processes do not speed up.

use std::time::Duration;

use futures::future::BoxFuture;

/// A moment in clock time.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

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
