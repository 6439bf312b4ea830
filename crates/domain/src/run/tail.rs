//! A journal whose newest entries a failover of the database may have lost.
//!
//! An asynchronous standby that is promoted lacks what was committed last. What is missing may have been an intent, and
//! its call may be on its way still: nothing here tells. Two things make up for it. The run gets an epoch far ahead, so
//! that no number is given out twice; and nothing is sent until every call that the lost entries may have announced can no
//! longer land. From then on looking at the world tells what was done; where looking cannot tell, a person is asked.

use super::Record;
use crate::Timestamp;

/// By how much the epoch of a run grows when it is taken over after entries may have been lost. An ordinary take-over adds
/// one, and writes an entry before the next can follow, so that no other step is as wide.
pub const EPOCH_JUMP: i64 = 1000;

/// When this run was last taken over with entries possibly lost, read from its journal and the epoch it is now driven
/// under: the moment of the first entry after the jump, or `now` if there is none yet.
pub fn tail_lost(journal: &[Record], epoch: i64, now: Timestamp) -> Option<Timestamp> {
    let last = journal.last()?;
    if epoch - last.epoch >= EPOCH_JUMP {
        return Some(now);
    }
    journal.windows(2).rev().find(|pair| pair[1].epoch - pair[0].epoch >= EPOCH_JUMP).map(|pair| pair[1].at)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::run::Entry;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn journal(epochs: &[i64]) -> Vec<Record> {
        let record = |(seq, epoch): (i64, &i64)| Record {
            seq,
            at: at(seq),
            epoch: *epoch,
            entry: Entry::TakenOver { worker: 1 },
        };
        (1..).zip(epochs).map(record).collect()
    }

    #[test]
    fn only_a_jump_tells_of_a_lost_tail() {
        assert_eq!(tail_lost(&journal(&[1, 2, 3]), 4, at(9)), None);
        assert_eq!(tail_lost(&journal(&[1, 2]), 1002, at(9)), Some(at(9)));
        assert_eq!(tail_lost(&journal(&[1, 1001, 1001, 1002]), 1002, at(9)), Some(at(2)));
        assert_eq!(tail_lost(&journal(&[1, 1001, 2002]), 2002, at(9)), Some(at(3)), "the last one counts");
    }
}
