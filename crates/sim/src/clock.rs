//! Simulated time: the world's start plus real elapsed time times a speed.
//!
//! The clock can run at any speed, stand still (speed 0), and be stepped by hand. Sleepers sleep in
//! simulated time: a change of speed or a step wakes them, and they plan the rest anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use tokio::time::Instant;

/// The slowest speed that still moves; anything below stands still.
const STANDSTILL: f64 = 1e-6;

/// A handle on simulated time; clones share one clock.
#[derive(Clone)]
pub struct Clock {
    inner: Arc<Inner>,
}

struct Inner {
    reading: Mutex<Reading>,
    replanned: watch::Sender<()>,
}

/// The instant at which the speed last changed, in both times.
#[derive(Clone, Copy)]
struct Reading {
    simulated: DateTime<Utc>,
    real: Instant,
    speed: f64,
}

impl Reading {
    fn now(&self) -> DateTime<Utc> {
        let elapsed = self.real.elapsed().as_secs_f64() * self.speed;
        self.simulated + TimeDelta::microseconds((elapsed * 1e6) as i64)
    }
}

impl Clock {
    /// A clock that reads `start` now and runs at `speed` simulated seconds per real second.
    pub(crate) fn new(start: DateTime<Utc>, speed: f64) -> Self {
        let reading = Reading { simulated: start, real: Instant::now(), speed: sane(speed) };
        Self { inner: Arc::new(Inner { reading: Mutex::new(reading), replanned: watch::Sender::new(()) }) }
    }

    /// The simulated time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.reading().now()
    }

    /// Simulated seconds per real second; 0 stands still.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.reading().speed
    }

    /// Changes the speed and lets all sleepers plan anew. Negative or absurd numbers count as 0.
    pub fn set_speed(&self, speed: f64) {
        self.change(|r| r.speed = sane(speed));
    }

    /// Jumps ahead by `by` of simulated time, whatever the speed.
    pub fn step(&self, by: Duration) {
        self.change(|r| r.simulated += TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX / 4));
    }

    /// Sleeps for `span` of simulated time.
    pub async fn sleep(&self, span: Duration) {
        let span = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX / 4);
        self.sleep_until(self.now() + span).await;
    }

    /// Sleeps until the simulated time is at least `until`.
    pub async fn sleep_until(&self, until: DateTime<Utc>) {
        let mut replanned = self.inner.replanned.subscribe();
        loop {
            replanned.borrow_and_update();
            let reading = *self.reading();
            let left = (until - reading.now()).num_microseconds().unwrap_or(i64::MAX);
            if left <= 0 {
                return;
            }
            if reading.speed < STANDSTILL {
                // The sender lives in `self`, so this can only end by a change.
                let _ = replanned.changed().await;
                continue;
            }
            // A day at most, to stay clear of overflow; the loop takes care of the rest.
            let real = (left as f64 / 1e6 / reading.speed).clamp(0.000_1, 86_400.0);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs_f64(real)) => {}
                _ = replanned.changed() => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Reading)) {
        {
            let mut reading = self.reading();
            *reading = Reading { simulated: reading.now(), real: Instant::now(), ..*reading };
            change(&mut reading);
        }
        self.inner.replanned.send_replace(());
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.inner.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sane(speed: f64) -> f64 {
    if speed.is_finite() && speed >= STANDSTILL { speed.min(100_000.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_plans_anew_when_the_speed_changes() {
        let clock = Clock::new(DateTime::UNIX_EPOCH, 0.0);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(3600)).await;
                clock.now()
            }
        });
        clock.set_speed(100_000.0);
        let woke = sleeper.await.expect("sleeper");
        assert!(woke >= DateTime::UNIX_EPOCH + TimeDelta::hours(1));
    }

    #[tokio::test]
    async fn a_clock_that_stands_still_can_be_stepped() {
        let clock = Clock::new(DateTime::UNIX_EPOCH, 0.0);
        let sleeper = clock.clone();
        let until = clock.now() + TimeDelta::seconds(10);
        clock.step(Duration::from_secs(11));
        sleeper.sleep_until(until).await;
        assert_eq!(clock.now(), DateTime::UNIX_EPOCH + TimeDelta::seconds(11));
    }
}
