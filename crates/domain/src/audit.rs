//! The hash chain of a journal: each entry is bound to the one before it, so that a changed, removed or swapped entry shows.
//!
//! ```text
//!  origin = SHA-256(run id)
//!  link n = SHA-256(link n-1 ‖ seq ‖ epoch ‖ at ‖ entry)      numbers as 8 bytes, big endian; `at` in microseconds;
//!                                                            the entry as the exact text that is stored
//! ```
//!
//! A journal has one writer at a time, who knows the last link: the chain costs one hash per entry and no look-up. The
//! database can work the same out (`journal_link` in the migrations), for versions that know no chain.

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

    /// From what is stored; `None` when it is no SHA-256.
    pub fn read(stored: &[u8]) -> Option<Self> {
        stored.try_into().ok().map(Self)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
