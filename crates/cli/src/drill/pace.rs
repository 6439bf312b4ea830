//! The pace of a drill: as fast as asked for, and slower while the machine cannot keep up.
//!
//! At sixty times real time, a second in which this process waits for its turn on a processor is a minute of the drill, and it would be
//! scored as if the runbook had dawdled. How long its threads wait is what Linux counts (`schedstat`: nanoseconds on a processor
//! and in line for one); elsewhere the pace is simply what was asked for. It never falls below real time: then a delay is what it
//! would be in earnest.

use std::fs;
use std::time::Duration;

use tokio::sync::watch;

/// How often it is measured.
const MEASURE: Duration = Duration::from_millis(100);
/// In line for so large a part of the time that they could run: usual beside Postgres and one other drill.
const USUAL: f64 = 0.35;
/// What is left of the last measurement in the next: a burst alone changes little.
const INERTIA: f64 = 0.7;
/// A change smaller than this wakes nobody.
const NOTABLE: f64 = 0.1;

/// Sets the clock's speed until the last clone is dropped.
#[derive(Clone)]
pub(super) struct Pace {
    clock: sim::Clock,
    wanted: watch::Sender<f64>,
}

impl Pace {
    /// Takes charge of a clock.
    pub(super) fn of(clock: sim::Clock) -> Self {
        let (wanted, asked) = watch::channel(clock.speed());
        tokio::spawn(keep(clock.clone(), asked));
        Self { clock, wanted }
    }

    /// From now on at most this fast.
    pub(super) fn at_most(&self, speed: f64) {
        self.clock.set_speed(speed);
        self.wanted.send_replace(speed);
    }
}

async fn keep(clock: sim::Clock, mut asked: watch::Receiver<f64>) {
    let (mut before, mut share) = (Turns::now(), 1.0);
    loop {
        let anew = tokio::select! {
            changed = asked.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            () = tokio::time::sleep(MEASURE) => false,
        };
        let now = Turns::now();
        if !anew {
            share = INERTIA * share + (1.0 - INERTIA) * now.had_since(before);
            before = now;
        }
        let speed = slowed(*asked.borrow_and_update(), share);
        if (clock.speed() / speed - 1.0).abs() > NOTABLE {
            clock.set_speed(speed);
        }
    }
}

/// The speed at which a delay counts no more than on a machine that keeps up.
fn slowed(wanted: f64, share: f64) -> f64 {
    let factor = (share / (1.0 - USUAL)).min(1.0);
    (wanted * factor).max(wanted.min(1.0))
}

/// What the threads of this process had of the processors, in all, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Turns {
    ran: u64,
    waited: u64,
}

impl Turns {
    fn now() -> Self {
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let each = threads
            .filter_map(|thread| Self::read(&fs::read_to_string(thread.path().join("schedstat")).ok()?));
        each.fold(Self::default(), |all, one| Self {
            ran: all.ran + one.ran,
            waited: all.waited + one.waited,
        })
    }

    fn read(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(str::parse);
        Some(Self { ran: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
    }

    /// Which part of the time in which they could run they did. Threads that have ended meanwhile are not missed.
    fn had_since(self, before: Self) -> f64 {
        let (ran, waited) = (self.ran.saturating_sub(before.ran), self.waited.saturating_sub(before.waited));
        let (ran, all) = (ran as f64, (ran + waited) as f64);
        if all > 0.0 { ran / all } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::{Turns, slowed};

    #[test]
    fn a_machine_that_keeps_up_changes_nothing_and_real_time_is_the_least() {
        assert_eq!(slowed(60.0, 1.0), 60.0);
        assert_eq!(slowed(60.0, 0.7), 60.0);
        assert!((slowed(60.0, 0.325) - 30.0).abs() < 0.1);
        assert_eq!(slowed(60.0, 0.0), 1.0);
        assert_eq!(slowed(1.0, 0.1), 1.0);
        assert_eq!(slowed(0.5, 0.1), 0.5);
    }

    #[test]
    fn what_threads_had_is_read_as_linux_writes_it() {
        let turns = Turns::read("5377032 1000 7\n").unwrap();
        assert_eq!((turns.ran, turns.waited), (5_377_032, 1000));
        assert!(Turns::read("").is_none());
        let before = Turns { ran: 100, waited: 100 };
        assert_eq!(Turns { ran: 130, waited: 110 }.had_since(before), 0.75);
        assert_eq!(before.had_since(before), 1.0);
    }
}
