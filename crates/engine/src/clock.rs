//! The clocks: the wall's, and one that runs faster for drills.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;

/// The wall's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall's clock is read")]
    fn now(&self) -> Timestamp {
        chrono::DateTime::from(std::time::SystemTime::now())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// A clock that was set at some moment and runs `speed` times as fast as the wall: that of a simulated world.
#[derive(Debug, Clone, Copy)]
pub struct ScaledClock {
    set_to: Timestamp,
    set_at: Instant,
    speed: f64,
}

impl ScaledClock {
    /// Shows `now` from this instant on, and runs at `speed` (1.0 is the wall's; must be positive).
    pub fn set(now: Timestamp, speed: f64) -> Self {
        Self { set_to: now, set_at: Instant::now(), speed: speed.max(f64::MIN_POSITIVE) }
    }
}

impl Clock for ScaledClock {
    fn now(&self) -> Timestamp {
        let passed = self.set_at.elapsed().mul_f64(self.speed);
        self.set_to + TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration.div_f64(self.speed)).boxed()
    }

    fn of_wall(&self, wall: Duration) -> Duration {
        wall.mul_f64(self.speed)
    }
}
