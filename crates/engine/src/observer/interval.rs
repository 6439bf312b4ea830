//! How long a subject is left alone between two looks.
//!
//! Pure, from what the looks said and how each watcher waits. Times are in units of the watcher's own `every`:
//!
//! | | |
//! |---|---|
//! | something has just changed, after it had stood still | half of `every`, twice: what moves once often moves again |
//! | it soaks; or it began to wait fewer than ten `every` ago; or it is between half and twice of what it `expect`s | `every` |
//! | nothing has changed for ten looks | a quarter more with each further look, at most three times `every` |
//!
//! A subject is looked at as often as its most impatient watcher needs. A lane whose budget is used up stretches all of this.

use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;

use super::Wish;

/// What the looks so far said about how lively the subject is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Liveliness {
    /// Looks in a row that saw nothing new.
    quiet: u32,
    /// Looks left at the short interval.
    eager: u32,
}

const QUIET_LOOKS: u32 = 10;
const MOST: f64 = 3.0;

impl Liveliness {
    pub(super) fn saw(&mut self, changed: bool) {
        if changed {
            // What changes with every look (a counter, a clock) is no reason to look more often.
            self.eager = if self.quiet >= 2 { 2 } else { self.eager.saturating_sub(1) };
            self.quiet = 0;
        } else {
            self.eager = self.eager.saturating_sub(1);
            self.quiet = self.quiet.saturating_add(1);
        }
    }

    /// The pause that one watcher needs.
    pub(super) fn interval(self, wish: &Wish, soaking: bool, now: Timestamp) -> Duration {
        if self.eager > 0 {
            return wish.every / 2;
        }
        let waited = now - wish.since;
        let times =
            |duration: Duration, n: f64| TimeDelta::from_std(duration.mul_f64(n)).unwrap_or(TimeDelta::MAX);
        let new = waited < times(wish.every, f64::from(QUIET_LOOKS));
        let near = wish.expect.is_some_and(|e| times(e, 0.5) <= waited && waited <= times(e, 2.0));
        if soaking || new || near || self.quiet <= QUIET_LOOKS {
            return wish.every;
        }
        let grown = 1.25_f64.powi(i32::try_from(self.quiet - QUIET_LOOKS).unwrap_or(i32::MAX).min(64));
        wish.every.mul_f64(grown.min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn after(looks: impl IntoIterator<Item = bool>) -> Liveliness {
        let mut lively = Liveliness::default();
        looks.into_iter().for_each(|changed| lively.saw(changed));
        lively
    }

    fn at(lively: Liveliness, waited: i64, expect: Option<u64>, soaking: bool) -> u64 {
        let since = Timestamp::UNIX_EPOCH;
        let wish = Wish { every: EVERY, since, expect: expect.map(Duration::from_secs) };
        lively.interval(&wish, soaking, since + TimeDelta::seconds(waited)).as_secs()
    }

    #[test]
    fn quick_after_a_change_slower_when_nothing_moves_and_never_beyond_three_times() {
        assert_eq!(at(after([false, false, true]), 500, None, false), 5);
        assert_eq!(at(after([false, false, true, false, false]), 500, None, false), 10);
        assert_eq!(at(after([false; 10]), 500, None, false), 10);
        assert_eq!(at(after([false; 12]), 500, None, false), 15);
        assert_eq!(at(after([false; 1000]), 500, None, false), 30);
    }

    #[test]
    fn never_slower_for_the_new_the_soaking_and_the_nearly_done() {
        let dull = after([false; 100]);
        assert_eq!(at(dull, 99, None, false), 10);
        assert_eq!(at(dull, 500, None, true), 10);
        assert_eq!(at(dull, 500, Some(600), false), 10);
        assert_eq!(at(dull, 250, Some(600), false), 30);
        assert_eq!(at(dull, 1201, Some(600), false), 30);
    }

    #[test]
    fn what_changes_with_every_look_is_not_looked_at_more_often() {
        assert_eq!(at(after([true; 100]), 500, None, false), 10);
    }
}
