//! What to do with a change whose outcome is not known.

use std::time::Duration;

use crate::Timestamp;
use crate::action::Effect;

/// What follows from a look at an open intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// It took effect.
    FoundDone,
    /// It did not; a new attempt may be made.
    SendAgain,
    /// Too early to tell: an old copy of the call may still land. Look again at this moment.
    LookAgainAt(Timestamp),
    /// Only a person can tell.
    AskPerson,
}

/// Decides from a look at the world after the call's answer was lost.
///
/// `window` is how long a request that was signed before `deadline` may still be accepted by the service (AWS takes
/// signatures of some minutes' age); only after it can no old copy land any more. That is waited for also where a repeat would
/// be harmless: an old copy that lands after the run has gone on would undo what came later. A token needs no waiting, because
/// the service knows the old copy for the same. What is not `repeatable` is looked for as long, and then left to a person.
pub fn recover(
    effect: Effect,
    repeatable: bool,
    settled: bool,
    now: Timestamp,
    deadline: Timestamp,
    window: Duration,
) -> Recovery {
    if settled {
        return Recovery::FoundDone;
    }
    match effect {
        Effect::Observe | Effect::Token => Recovery::SendAgain,
        Effect::Idempotent | Effect::Cas | Effect::Probe => {
            let safe = deadline + window;
            match () {
                () if now < safe => Recovery::LookAgainAt(safe),
                () if repeatable => Recovery::SendAgain,
                () => Recovery::AskPerson,
            }
        }
        Effect::Blind => Recovery::AskPerson,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn a_found_effect_needs_no_waiting() {
        for effect in [Effect::Idempotent, Effect::Token, Effect::Cas, Effect::Probe, Effect::Blind] {
            assert_eq!(
                recover(effect, true, true, at(0), at(100), Duration::from_secs(300)),
                Recovery::FoundDone
            );
        }
    }

    #[test]
    fn nothing_is_sent_again_before_the_old_call_can_no_longer_land() {
        let window = Duration::from_secs(300);
        for effect in [Effect::Probe, Effect::Idempotent, Effect::Cas] {
            assert_eq!(
                recover(effect, true, false, at(399), at(100), window),
                Recovery::LookAgainAt(at(400))
            );
            assert_eq!(recover(effect, true, false, at(400), at(100), window), Recovery::SendAgain);
        }
        assert_eq!(recover(Effect::Token, true, false, at(0), at(100), window), Recovery::SendAgain);
    }

    #[test]
    fn what_may_not_be_repeated_is_looked_for_as_long_and_then_left_to_a_person() {
        let window = Duration::from_secs(300);
        let after = |now, settled| recover(Effect::Probe, false, settled, at(now), at(100), window);
        assert_eq!(after(399, false), Recovery::LookAgainAt(at(400)));
        assert_eq!(after(400, false), Recovery::AskPerson);
        assert_eq!(after(400, true), Recovery::FoundDone);
    }

    #[test]
    fn a_blind_call_is_never_repeated() {
        assert_eq!(
            recover(Effect::Blind, true, false, at(9_999), at(0), Duration::ZERO),
            Recovery::AskPerson
        );
    }
}
