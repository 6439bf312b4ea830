//! Reads what was written, in order, and names each break at its exact place.
//!
//! Pure: rows come from the database or from an exported file, and nothing here knows which. A break never ends a check;
//! the chain is taken up again at the link that is stored, so that one changed row is one break.

mod blocks;
mod facts;
mod file;
mod journal;

use serde::Serialize;
use uuid::Uuid;

pub use blocks::{AuditCheck, BlockCheck, CallCheck, End, Ends};
pub use facts::{Facts, Told};
pub use file::{Call, EndLine, EntryLine, FileCheck, FileError, Line, Proof, Scope};
pub use journal::{EntryRow, JournalCheck};

use super::Link;

/// Breaks that are kept in full; the others are counted.
const KEPT: usize = 1000;

/// Where something is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Place {
    /// An entry of a journal.
    Journal {
        /// The run.
        run: Uuid,
        /// The entry's number.
        seq: i64,
    },
    /// The row of a run.
    Run {
        /// The run.
        run: Uuid,
    },
    /// A row of `audit`.
    Audit {
        /// Its number.
        seq: i64,
    },
    /// A block.
    Block {
        /// Its number.
        n: i64,
    },
    /// The calls to the outside that a block covers.
    Calls {
        /// The block's number.
        block: i64,
        /// Until when they were written.
        until: crate::Timestamp,
    },
    /// The text of a runbook.
    Runbook {
        /// Its hash.
        hash: String,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Journal { run, seq } => write!(f, "run {run}, entry {seq}"),
            Self::Run { run } => write!(f, "run {run}"),
            Self::Audit { seq } => write!(f, "audit, row {seq}"),
            Self::Block { n } => write!(f, "block {n}"),
            Self::Calls { block, until } => {
                write!(f, "calls of block {block} (written before {})", until.format("%F %T UTC"))
            }
            Self::Runbook { hash } => write!(f, "runbook text {hash}"),
        }
    }
}

/// What is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is not what was written at this place.
    Changed,
    /// It and the one before it are in each other's place.
    Swapped,
    /// Something was here, and is not any more.
    Removed,
    /// Something is here that was not there when this part was sealed, or that nothing else knows of.
    Added,
}

/// Where something is not as it was written, and how that shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What.
    pub kind: Kind,
    /// In a sentence.
    pub why: String,
}

/// What a check found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Entries of journals that were read.
    pub entries: u64,
    /// Runs that have any.
    pub runs: u64,
    /// Rows of `audit`.
    pub audit: u64,
    /// Calls to the outside.
    pub calls: u64,
    /// Blocks.
    pub blocks: u64,
    /// Entries that no block covers yet.
    pub unsealed: u64,
    /// Calls that no block covers yet, or that come without the proof of it.
    pub unsealed_calls: u64,
    /// The newest block. Whoever keeps it elsewhere can prove later that nothing before it was changed.
    pub newest: Option<Anchor>,
    /// Breaks that were found.
    pub broken: u64,
    /// The first of them.
    pub breaks: Vec<Break>,
}

/// A block's number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Anchor {
    /// Its number.
    pub n: i64,
    /// Its hash.
    pub hash: Link,
}

impl std::fmt::Display for Anchor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.n, self.hash)
    }
}

impl std::str::FromStr for Anchor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(n, hash)| Some((n.parse().ok()?, hash.parse().ok()?)));
        let (n, hash) = parts.ok_or("write it as NUMBER:HASH, as `audit verify` prints it")?;
        Ok(Self { n, hash })
    }
}

impl Report {
    /// Notes a break.
    pub fn add(&mut self, place: Place, kind: Kind, why: impl Into<String>) {
        self.broken += 1;
        if self.breaks.len() < KEPT {
            self.breaks.push(Break { place, kind, why: why.into() });
        }
    }

    /// Adds what another check found.
    pub fn merge(&mut self, other: Self) {
        self.entries += other.entries;
        self.runs += other.runs;
        self.audit += other.audit;
        self.calls += other.calls;
        self.blocks += other.blocks;
        self.unsealed += other.unsealed;
        self.unsealed_calls += other.unsealed_calls;
        self.newest = other.newest.or(self.newest);
        self.broken += other.broken;
        self.breaks.extend(other.breaks);
        self.breaks.truncate(KEPT);
    }

    /// Whether everything is as it was written.
    pub fn is_whole(&self) -> bool {
        self.broken == 0
    }
}
