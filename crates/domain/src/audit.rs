//! The proof: what was written cannot be changed, removed or swapped without that showing.
//!
//! ```text
//!  journal of a run    origin = SHA-256(run id)
//!                      link n = SHA-256(link n-1 ‖ seq ‖ epoch ‖ at ‖ entry)       the entry as the exact text that is stored
//!  audit               origin = SHA-256("audit")
//!                      link n = SHA-256(link n-1 ‖ seq ‖ at ‖ SHA-256 of each of actor, action, target, details)
//!  blocks              every ten seconds, if anything moved: where each chain that moved now ends, and each call to the
//!                      outside, bound to the block before ([`Block`])
//! ```
//!
//! Numbers are 8 bytes, big endian; times are microseconds since 1970. A chain shows what was changed, removed or swapped
//! inside it; a block shows that a whole chain, its end, or a call is missing. Whoever can write anything may forge all of
//! it anew, but not with the block hash that somebody wrote down elsewhere.
//!
//! A result that is stored in the row of what follows it has no link in the database: whoever reads works it out, and a change
//! to it shows at the entry that carries it.
//!
//! A journal has one writer at a time, who knows the last link: the chain costs one hash per entry and no look-up. The
//! database can work the same out (`journal_link`, `audit_link` in the migrations), for versions that know no chain.
//!
//! [`check`] reads all this and names each break.

mod block;
pub mod check;
pub mod merkle;
mod rows;

pub use block::Block;
pub use rows::{AuditRow, CallRow};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Timestamp;

/// Where a chain stands: the hash of its last entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; 32]);

impl Link {
    /// Before the first entry of a run: bound to its id, so that two runs' journals cannot be exchanged.
    pub fn origin(run_id: Uuid) -> Self {
        Self(Sha256::digest(run_id.as_bytes()).into())
    }

    /// Before the first row of `audit`.
    pub fn audit_origin() -> Self {
        Self(Sha256::digest("audit").into())
    }

    /// Before the first block.
    pub fn block_origin() -> Self {
        Self(Sha256::digest("blocks").into())
    }

    /// After one more entry, given as the exact text that is stored.
    #[must_use]
    pub fn then(&self, seq: i64, epoch: i64, at: Timestamp, entry: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(seq.to_be_bytes());
        hash.update(epoch.to_be_bytes());
        hash.update(at.timestamp_micros().to_be_bytes());
        hash.update(entry);
        Self(hash.finalize().into())
    }

    /// As stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes.
    pub fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// From what is stored; `None` when it is no SHA-256.
    pub fn read(stored: &[u8]) -> Option<Self> {
        stored.try_into().ok().map(Self)
    }
}

impl From<[u8; 32]> for Link {
    fn from(hash: [u8; 32]) -> Self {
        Self(hash)
    }
}

/// In hexadecimal.
impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for Link {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash)?;
        Ok(Self(hash))
    }
}

/// In hexadecimal.
impl Serialize for Link {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
