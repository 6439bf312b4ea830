//! A block: what holds all chains together at one moment.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Link;
use super::merkle::{self, Hash};
use crate::Timestamp;

/// Everything that was committed since the block before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its number, from 1 without gaps.
    pub n: i64,
    /// When it was made, by the database's clock.
    pub at: Timestamp,
    /// It covers what was written before this, in the order of transactions, and not in an earlier block.
    pub upto: i64,
    /// The last row of `audit`.
    pub audit_seq: i64,
    /// And its link.
    pub audit_link: Link,
    /// How many calls to the outside it covers.
    pub calls: i64,
    /// Root of the tree of those calls, in order of id.
    pub calls_root: Link,
    /// How many journals moved.
    pub streams: i64,
    /// Root of the tree of where they then ended ([`Block::stream`]), in order of run.
    pub streams_root: Link,
}

impl Block {
    /// Its hash, after the block before.
    pub fn hash(&self, previous: Link) -> Link {
        let mut hash = Sha256::new();
        hash.update(previous.bytes());
        for number in [self.n, self.at.timestamp_micros(), self.upto, self.audit_seq] {
            hash.update(number.to_be_bytes());
        }
        hash.update(self.audit_link.bytes());
        hash.update(self.calls.to_be_bytes());
        hash.update(self.calls_root.bytes());
        hash.update(self.streams.to_be_bytes());
        hash.update(self.streams_root.bytes());
        Link(hash.finalize().into())
    }

    /// Where a journal ended, as a leaf.
    pub fn stream(run_id: Uuid, seq: i64, link: Link) -> Hash {
        merkle::leaf(&[run_id.as_bytes(), &seq.to_be_bytes(), &link.bytes()])
    }
}
