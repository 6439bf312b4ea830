//! An exported history: its lines, and the check of them without any database.
//!
//! ```text
//!  export     what it covers, and where its chains begin
//!  end*       where journals ended in blocks          in order of block and run
//!  block*     the blocks, without gaps
//!  runbook*   the texts that runs are pinned to
//!  run*       how many entries a run has              in order of run
//!  entry*     the journals                            in order of run and number
//!  call*      calls to the outside                    in order of id
//!  audit*     rows of `audit`                         in order
//!  eof        how many lines there were
//! ```
//!
//! A whole export is checked like the database itself. One of a few runs cannot show what it leaves out: there, each end
//! and each call carries the path that proves it to be in its block, and that none was left out is not proven. A call without
//! one is of after the newest block, or somebody took the proof out: it is a break where the call says itself that it is older,
//! and counted where not.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::merkle::{self, Hash};
use super::super::{AuditRow, Block, CallRow, Link};
use super::{
    Anchor, AuditCheck, BlockCheck, CallCheck, End, Ends, EntryRow, JournalCheck, Kind, Place, Report,
};
use crate::Timestamp;

/// What an export covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    All,
    /// One run.
    Run(Uuid),
    /// The runs that have moved since, and rows of `audit` from then on.
    Since(Timestamp),
}

/// The way from a leaf to its tree's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The block whose tree it is.
    pub block: i64,
    /// Which leaf.
    pub index: usize,
    /// Of how many.
    pub of: usize,
    /// The hashes beside the way.
    pub path: Vec<Link>,
}

impl Proof {
    /// The proof of one of these leaves.
    pub fn new(block: i64, leaves: &[Hash], index: usize) -> Self {
        let path = merkle::path(leaves, index).into_iter().map(Link::from).collect();
        Self { block, index, of: leaves.len(), path }
    }

    fn leads(&self, leaf: Hash, root: Link) -> bool {
        let path: Vec<Hash> = self.path.iter().map(|link| link.bytes()).collect();
        merkle::climb(leaf, self.index, self.of, &path).map(Link::from) == Some(root)
    }
}

/// An entry of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLine {
    /// The run.
    pub run_id: Uuid,
    /// Its number.
    pub seq: i64,
    /// The epoch.
    pub epoch: i64,
    /// When.
    pub at: Timestamp,
    /// Its kind.
    pub kind: String,
    /// Its step.
    pub step: Option<String>,
    /// Its exact text: a string with JSON in it, because a hash covers each character.
    pub entry: String,
    /// Its link.
    pub link: Option<Link>,
    /// When it was written, in the order of transactions.
    pub tx: Option<i64>,
}

/// Where a journal ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndLine {
    /// In which block.
    pub block: i64,
    /// The run.
    pub run_id: Uuid,
    /// The number of its last entry.
    pub seq: i64,
    /// Its link.
    pub link: Link,
    /// That the block says so, where not all of its ends are exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// A call to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The row.
    #[serde(flatten)]
    pub row: CallRow,
    /// That a block covers it, where not all of its calls are exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The first.
    Export {
        /// Of this format: 1.
        version: u32,
        /// What is in it.
        scope: Scope,
        /// The number of the first block in it.
        first_block: i64,
        /// The hash of the block before.
        previous: Link,
        /// The number of the row of `audit` before the first in it.
        audit_seq: i64,
        /// Its link.
        audit_link: Link,
    },
    /// Where a journal ended.
    End(EndLine),
    /// A block.
    Block {
        /// The block.
        #[serde(flatten)]
        block: Block,
        /// Its hash.
        hash: Link,
    },
    /// The text of a runbook.
    Runbook {
        /// Its hash.
        hash: String,
        /// The text.
        source: String,
    },
    /// A run.
    Run {
        /// Which.
        run_id: Uuid,
        /// The number of its last entry, as its row says.
        seq: i64,
    },
    /// An entry.
    Entry(EntryLine),
    /// A call to the outside.
    Call(Call),
    /// A row of `audit`.
    Audit(AuditRow),
    /// The last.
    Eof {
        /// How many lines come before it.
        lines: u64,
    },
}

/// Why a file cannot be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no export, or of a later version.
    #[error("it does not begin as an export of version 1 does")]
    Unknown,
    /// A line where none of its kind may be.
    #[error("line {0} is out of place")]
    OutOfPlace(u64),
    /// It ends too early.
    #[error("it is cut off: the last line is missing, or lines are")]
    CutOff,
}

/// What a block says of the calls that it covers.
struct Root {
    calls: Link,
    at: Timestamp,
    upto: i64,
}

/// Checks an export, line by line.
pub struct FileCheck {
    lines: u64,
    scope: Option<Scope>,
    anchor: Option<Anchor>,
    kept: Option<Link>,
    report: Report,
    blocks: Option<BlockCheck>,
    audit_after: (i64, Link),
    /// Ends that carry a proof, until their block comes.
    unproven: BTreeMap<i64, Vec<EndLine>>,
    roots: BTreeMap<i64, Root>,
    heads: Vec<(Uuid, i64)>,
    ends: Arc<Ends>,
    journals: Option<JournalCheck>,
    calls: Option<CallCheck>,
    audit: Option<AuditCheck>,
    complete: bool,
}

impl FileCheck {
    /// With a block that must be in it.
    pub fn new(anchor: Option<Anchor>) -> Self {
        Self {
            lines: 0,
            scope: None,
            anchor,
            kept: None,
            report: Report::default(),
            blocks: None,
            audit_after: (0, Link::audit_origin()),
            unproven: BTreeMap::new(),
            roots: BTreeMap::new(),
            heads: Vec::new(),
            ends: Arc::default(),
            journals: None,
            calls: None,
            audit: None,
            complete: false,
        }
    }

    /// The next line.
    pub fn line(&mut self, line: Line) -> Result<(), FileError> {
        self.lines += 1;
        if let Line::Export { version, scope, first_block, previous, audit_seq, audit_link } = line {
            if self.lines != 1 || version != 1 {
                return Err(FileError::Unknown);
            }
            self.scope = Some(scope);
            self.blocks = Some(BlockCheck::after(first_block, previous));
            self.audit_after = (audit_seq, audit_link);
            return Ok(());
        }
        let whole = self.scope.ok_or(FileError::Unknown)? == Scope::All;
        if self.complete {
            return Err(FileError::OutOfPlace(self.lines));
        }
        match line {
            Line::End(end) => self.end(end, whole)?,
            Line::Block { block, hash } => self.block(&block, hash, whole)?,
            Line::Runbook { hash, source } => {
                if hex::encode(Sha256::digest(&source)) != hash {
                    let why = "runs are pinned to this hash, and the text has another";
                    self.report.add(Place::Runbook { hash }, Kind::Changed, why);
                }
            }
            Line::Run { run_id, seq } => {
                self.blocks_are_over();
                self.heads.push((run_id, seq));
            }
            Line::Entry(entry) => self.entry(&entry),
            Line::Call(call) => self.call(&call, whole),
            Line::Audit(row) => {
                self.journals_are_over();
                if let Some(audit) = &mut self.audit {
                    audit.row(&row);
                }
            }
            Line::Eof { lines } if lines + 1 == self.lines => self.complete = true,
            Line::Eof { .. } => return Err(FileError::CutOff),
            Line::Export { .. } => return Err(FileError::OutOfPlace(self.lines)),
        }
        Ok(())
    }

    /// What was found.
    pub fn finish(mut self) -> Result<Report, FileError> {
        if !self.complete {
            return Err(FileError::CutOff);
        }
        self.journals_are_over();
        for end in self.unproven.values().flatten() {
            let why = format!("it says where run {} ended, and is not in this file", end.run_id);
            self.report.add(Place::Block { n: end.block }, Kind::Removed, why);
        }
        if let Some(calls) = self.calls.take() {
            self.report.merge(calls.finish());
        }
        if let Some(audit) = self.audit.take()
            && !matches!(self.scope, Some(Scope::Run(_)))
        {
            self.report.merge(audit.finish());
        }
        Ok(self.report)
    }

    fn end(&mut self, end: EndLine, whole: bool) -> Result<(), FileError> {
        let blocks = self.blocks.as_mut().ok_or(FileError::OutOfPlace(self.lines))?;
        blocks.end(End { block: end.block, run: end.run_id, seq: end.seq, link: end.link });
        if !whole {
            self.unproven.entry(end.block).or_default().push(end);
        }
        Ok(())
    }

    fn block(&mut self, block: &Block, hash: Link, whole: bool) -> Result<(), FileError> {
        let blocks = self.blocks.as_mut().ok_or(FileError::OutOfPlace(self.lines))?;
        if self.anchor.is_some_and(|anchor| anchor.n == block.n) {
            self.kept = Some(hash);
        }
        if whole {
            blocks.block(block, hash);
            return Ok(());
        }
        blocks.block_in_part(block, hash);
        self.roots.insert(block.n, Root { calls: block.calls_root, at: block.at, upto: block.upto });
        for end in self.unproven.remove(&block.n).unwrap_or_default() {
            let leaf = Block::stream(end.run_id, end.seq, end.link);
            if !end.proof.is_some_and(|proof| proof.leads(leaf, block.streams_root)) {
                let place = Place::Journal { run: end.run_id, seq: end.seq };
                let why = format!("block {} does not say that its journal ended so", block.n);
                self.report.add(place, Kind::Changed, why);
            }
        }
        Ok(())
    }

    fn blocks_are_over(&mut self) {
        let Some(mut blocks) = self.blocks.take() else { return };
        if let Some(anchor) = self.anchor {
            blocks.expect(anchor, self.kept);
        }
        let whole = self.scope == Some(Scope::All);
        let (report, ends, calls, mut audit) = if whole { blocks.finish() } else { blocks.finish_in_part() };
        self.report.merge(report);
        self.ends = Arc::new(ends);
        self.calls = whole.then_some(calls);
        audit.start_after(self.audit_after.0, self.audit_after.1);
        self.audit = Some(audit);
    }

    fn entry(&mut self, line: &EntryLine) {
        self.blocks_are_over();
        let (heads, ends) = (&mut self.heads, &self.ends);
        let journals = self
            .journals
            .get_or_insert_with(|| JournalCheck::new(ends.clone(), std::mem::take(heads), |_| true));
        journals.entry(&EntryRow {
            run_id: line.run_id,
            seq: line.seq,
            epoch: line.epoch,
            at: line.at,
            kind: &line.kind,
            step: line.step.as_deref(),
            entry: &line.entry,
            link: line.link,
            tx: line.tx,
        });
    }

    fn journals_are_over(&mut self) {
        self.blocks_are_over();
        let heads = std::mem::take(&mut self.heads);
        let journals = self.journals.take().or_else(|| {
            // A file without a single entry says so of every run.
            (self.report.entries == 0).then(|| JournalCheck::new(self.ends.clone(), heads, |_| true))
        });
        if let Some(journals) = journals {
            self.report.merge(journals.finish());
            self.ends = Arc::default();
        }
    }

    fn call(&mut self, call: &Call, whole: bool) {
        self.journals_are_over();
        if whole {
            if let Some(calls) = &mut self.calls {
                calls.call(&call.row);
            }
            return;
        }
        self.report.calls += 1;
        let Some(proof) = &call.proof else { return self.unproven_call(&call.row) };
        let place = |until| Place::Calls { block: proof.block, until };
        match self.roots.get(&proof.block) {
            Some(root) if proof.leads(call.row.leaf(), root.calls) => {}
            Some(root) => {
                let why = format!("call {} of run {} was changed", call.row.id, call.row.run_id);
                self.report.add(place(root.at), Kind::Changed, why);
            }
            None => {
                let why = format!("call {} names it, and it is not in this file", call.row.id);
                self.report.add(Place::Block { n: proof.block }, Kind::Removed, why);
            }
        }
    }

    /// Nothing proves that it was made so. Whoever takes a proof out may write another time beside it, which no block covers: so
    /// the others are counted.
    fn unproven_call(&mut self, row: &CallRow) {
        let tx = row.tx.unwrap_or(0);
        match self.roots.iter().find(|(_, root)| tx < root.upto) {
            None => self.report.unsealed_calls += 1,
            Some((block, root)) => {
                let why = format!(
                    "call {} of run {} was written by then, and carries no proof",
                    row.id, row.run_id
                );
                self.report.add(Place::Calls { block: *block, until: root.at }, Kind::Changed, why);
            }
        }
    }
}
