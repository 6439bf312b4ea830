//! Checks blocks, `audit`, and the calls that blocks cover.

use std::collections::BTreeMap;
use std::ops::Range;

use uuid::Uuid;

use super::super::merkle::Tree;
use super::super::{AuditRow, Block, CallRow, Link};
use super::{Anchor, Kind, Place, Report};
use crate::Timestamp;

/// Where a journal ended when a block was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The block.
    pub block: i64,
    /// The run.
    pub run: Uuid,
    /// The number of its last entry.
    pub seq: i64,
    /// Its link.
    pub link: Link,
}

/// What the blocks say of the journals, by run.
#[derive(Debug, Default)]
pub struct Ends {
    /// In order of run and number.
    ends: Vec<End>,
    upto: Option<i64>,
}

impl Ends {
    /// These, of blocks that cover what was written before this.
    pub fn new(mut ends: Vec<End>, upto: Option<i64>) -> Self {
        ends.sort_unstable_by_key(|end| (end.run, end.seq, end.block));
        Self { ends, upto }
    }

    /// What the blocks say of one run, the oldest first.
    pub fn of(&self, run: Uuid) -> &[End] {
        let from = self.ends.partition_point(|end| end.run < run);
        let length = self.ends[from..].partition_point(|end| end.run == run);
        &self.ends[from..from + length]
    }

    /// The runs that blocks know of, with repetitions.
    pub fn runs(&self) -> impl Iterator<Item = Uuid> {
        self.ends.chunk_by(|a, b| a.run == b.run).filter_map(|of_run| Some(of_run.first()?.run))
    }

    /// Whether what was written then must be in a block.
    pub fn covers(&self, tx: Option<i64>) -> bool {
        self.upto.is_some_and(|upto| tx.unwrap_or(0) < upto)
    }
}

/// What later checks need of a block.
#[derive(Debug, Clone, Copy)]
struct Mark {
    n: i64,
    at: Timestamp,
    upto: i64,
    calls: i64,
    calls_root: Link,
}

/// Checks blocks, which come in order, after the ends that they bind.
#[derive(Debug)]
pub struct BlockCheck {
    report: Report,
    ends: Vec<End>,
    /// Ends of the block that comes next, in `ends`.
    of_next: Range<usize>,
    next: Option<(i64, Link)>,
    marks: Vec<Mark>,
    audit: BTreeMap<i64, (i64, Link)>,
}

impl BlockCheck {
    /// From the first block on.
    pub fn new() -> Self {
        Self::after(1, Link::block_origin())
    }

    /// From a block on, after the hash of the one before it.
    pub fn after(n: i64, previous: Link) -> Self {
        Self {
            report: Report::default(),
            ends: Vec::new(),
            of_next: 0..0,
            next: Some((n, previous)),
            marks: Vec::new(),
            audit: BTreeMap::new(),
        }
    }

    /// Where a journal ended, in order of block and run.
    pub fn end(&mut self, end: End) {
        self.ends.push(end);
    }

    /// The next block, with the hash that is stored with it. Its ends have been given.
    pub fn block(&mut self, block: &Block, stored: Link) {
        self.report.blocks += 1;
        let place = Place::Block { n: block.n };
        if let Some((n, previous)) = self.next.take() {
            if block.n != n {
                let missing = Place::Block { n };
                let why = match block.n - n {
                    1 => format!("block {n} is missing"),
                    _ => format!("blocks {n} to {} are missing", block.n - 1),
                };
                self.report.add(missing, Kind::Removed, why);
            } else if block.hash(previous) != stored {
                let why = "it does not give its hash after the block before";
                self.report.add(place.clone(), Kind::Changed, why);
            }
        }
        self.next = Some((block.n + 1, stored));
        self.report.newest = Some(Anchor { n: block.n, hash: stored });

        let from = self.of_next.end;
        let strangers = self.ends[from..].partition_point(|end| end.block < block.n);
        for end in &self.ends[from..from + strangers] {
            let why = format!("it says where run {} ended, and does not exist", end.run);
            self.report.add(Place::Block { n: end.block }, Kind::Removed, why);
        }
        let from = from + strangers;
        let own = self.ends[from..].partition_point(|end| end.block == block.n);
        self.of_next = from..from + own;
        let tree: Tree =
            self.ends[self.of_next.clone()].iter().map(|e| Block::stream(e.run, e.seq, e.link)).collect();
        if i64::try_from(tree.leaves()) != Ok(block.streams) || Link::from(tree.root()) != block.streams_root
        {
            let why = format!(
                "what it says of {} journals was changed; there are {}",
                block.streams,
                tree.leaves()
            );
            self.report.add(place, Kind::Changed, why);
        }
        self.mark(block);
    }

    /// A block of which only some ends are at hand: those were proven one by one.
    pub fn block_in_part(&mut self, block: &Block, stored: Link) {
        self.report.blocks += 1;
        let (n, previous) = self.next.take().unwrap_or((block.n, stored));
        let place = Place::Block { n };
        if block.n != n {
            self.report.add(place, Kind::Removed, format!("blocks {n} to {} are missing", block.n - 1));
        } else if block.hash(previous) != stored {
            self.report.add(place, Kind::Changed, "it does not give its hash after the block before");
        }
        self.next = Some((block.n + 1, stored));
        self.report.newest = Some(Anchor { n: block.n, hash: stored });
        self.mark(block);
    }

    fn mark(&mut self, block: &Block) {
        let Block { n, at, upto, calls, calls_root, .. } = *block;
        self.marks.push(Mark { n, at, upto, calls, calls_root });
        self.audit.entry(block.audit_seq).or_insert((n, block.audit_link));
    }

    /// Notes a block that does not have the hash that somebody kept.
    pub fn expect(&mut self, anchor: Anchor, stored: Option<Link>) {
        if stored != Some(anchor.hash) {
            let (kind, why) = match stored {
                None => (Kind::Removed, "the block that was kept elsewhere is missing".to_owned()),
                Some(_) => (Kind::Changed, format!("the hash that was kept elsewhere is {}", anchor.hash)),
            };
            self.report.add(Place::Block { n: anchor.n }, kind, why);
        }
    }

    /// What was found, and what the blocks say of everything else.
    pub fn finish(mut self) -> (Report, Ends, CallCheck, AuditCheck) {
        for end in &self.ends[self.of_next.end..] {
            let why = format!("it says where run {} ended, and does not exist", end.run);
            self.report.add(Place::Block { n: end.block }, Kind::Removed, why);
        }
        self.finish_in_part()
    }

    /// The same, where ends were proven one by one.
    pub fn finish_in_part(self) -> (Report, Ends, CallCheck, AuditCheck) {
        let upto = self.marks.last().map(|mark| mark.upto);
        let calls = CallCheck { report: Report::default(), marks: self.marks, trees: BTreeMap::new() };
        let audit =
            AuditCheck { report: Report::default(), sealed: self.audit, next: 1, link: Link::audit_origin() };
        (self.report, Ends::new(self.ends, upto), calls, audit)
    }
}

impl Default for BlockCheck {
    fn default() -> Self {
        Self::new()
    }
}

/// Checks calls to the outside, which come in order of id.
#[derive(Debug)]
pub struct CallCheck {
    report: Report,
    marks: Vec<Mark>,
    trees: BTreeMap<usize, Tree>,
}

impl CallCheck {
    /// The next call.
    pub fn call(&mut self, call: &CallRow) {
        self.report.calls += 1;
        let tx = call.tx.unwrap_or(0);
        let block = self.marks.partition_point(|mark| mark.upto <= tx);
        if block < self.marks.len() {
            self.trees.entry(block).or_default().push(call.leaf());
        } else {
            self.report.unsealed_calls += 1;
        }
    }

    /// What was found.
    pub fn finish(mut self) -> Report {
        for (index, mark) in self.marks.iter().enumerate() {
            let tree = self.trees.remove(&index).unwrap_or_default();
            let there = i64::try_from(tree.leaves()).unwrap_or(i64::MAX);
            let (kind, what) = match there.cmp(&mark.calls) {
                std::cmp::Ordering::Less => (Kind::Removed, "calls were removed"),
                std::cmp::Ordering::Greater => (Kind::Added, "calls were added later"),
                std::cmp::Ordering::Equal if Link::from(tree.root()) == mark.calls_root => continue,
                std::cmp::Ordering::Equal => (Kind::Changed, "a call was changed"),
            };
            let why = format!("{what}: the block counts {}, there are {there}", mark.calls);
            self.report.add(Place::Calls { block: mark.n, until: mark.at }, kind, why);
        }
        self.report
    }
}

/// Checks `audit`, whose rows come in order.
#[derive(Debug)]
pub struct AuditCheck {
    report: Report,
    /// What blocks say of it, by number: the block, and the link.
    sealed: BTreeMap<i64, (i64, Link)>,
    next: i64,
    link: Link,
}

impl AuditCheck {
    /// From a row on, after the link of the one before it.
    pub fn start_after(&mut self, seq: i64, link: Link) {
        (self.next, self.link) = (seq + 1, link);
        self.sealed.retain(|sealed, _| *sealed > seq);
    }

    /// The next row.
    pub fn row(&mut self, row: &AuditRow) {
        self.report.audit += 1;
        let place = Place::Audit { seq: row.seq };
        if row.seq != self.next {
            let why = match row.seq - self.next {
                1 => format!("row {} is missing", self.next),
                _ => format!("rows {} to {} are missing", self.next, row.seq - 1),
            };
            self.report.add(Place::Audit { seq: self.next }, Kind::Removed, why);
        } else if row.link(self.link) != row.link {
            let why = "it does not fit its link to the row before";
            self.report.add(place.clone(), Kind::Changed, why);
        }
        if let Some((block, _)) = self.sealed.get(&row.seq).filter(|(_, link)| *link != row.link) {
            let why = format!("block {block} has another link for it: `audit` was written anew");
            self.report.add(place, Kind::Changed, why);
        }
        (self.next, self.link) = (row.seq + 1, row.link);
    }

    /// What was found.
    pub fn finish(mut self) -> Report {
        if let Some((&seq, &(block, _))) = self.sealed.last_key_value().filter(|(seq, _)| **seq >= self.next)
        {
            let why = format!("block {block} saw it end with row {seq}");
            self.report.add(Place::Audit { seq: self.next }, Kind::Removed, why);
        }
        self.report
    }
}
