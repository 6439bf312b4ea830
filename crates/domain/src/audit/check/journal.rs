//! Checks journals, which come in order of run and number.

use std::sync::Arc;

use uuid::Uuid;

use super::super::Link;
use super::{Ends, Kind, Place, Report};
use crate::Timestamp;
use crate::run::Entry;
use crate::words::many;

/// An entry as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct EntryRow<'a> {
    /// The run.
    pub run_id: Uuid,
    /// Its number.
    pub seq: i64,
    /// Under which epoch it was written.
    pub epoch: i64,
    /// When.
    pub at: Timestamp,
    /// The column that says its kind.
    pub kind: &'a str,
    /// The column that says its step.
    pub step: Option<&'a str>,
    /// Its exact text.
    pub entry: &'a str,
    /// The link that is stored with it; absent counts as changed.
    pub link: Option<Link>,
    /// When it was written, in the order of transactions.
    pub tx: Option<i64>,
}

impl EntryRow<'_> {
    fn after(&self, previous: Link, seq: i64) -> Link {
        previous.then(seq, self.epoch, self.at, self.entry)
    }

    /// Whether the columns that are searched say what the entry says.
    fn columns_agree(&self) -> bool {
        let kind = self.entry.strip_prefix("{\"kind\":\"").and_then(|rest| rest.strip_prefix(self.kind));
        let step = match self.step {
            None => !self.entry.contains("\"step\":"),
            Some(step) => {
                let after = |at: usize| self.entry.get(at + 8..);
                self.entry
                    .find("\"step\":\"")
                    .and_then(after)
                    .is_some_and(|rest| rest.strip_prefix(step).is_some_and(|rest| rest.starts_with('"')))
            }
        };
        if kind.is_some_and(|rest| rest.starts_with('"')) && step {
            return true;
        }
        // Written by a version that ordered its fields otherwise, or about something inside.
        match serde_json::from_str::<Entry>(self.entry) {
            Ok(entry) => entry.kind() == self.kind && entry.step().map(|s| s.as_str()) == self.step,
            Err(_) => serde_json::from_str::<serde_json::Value>(self.entry)
                .is_ok_and(|entry| entry["kind"] == self.kind),
        }
    }
}

/// The journal that is being read.
struct Open {
    run_id: Uuid,
    seq: i64,
    link: Link,
    /// The last entry, if it did not fit: the link before it, and what is needed to see whether it was swapped.
    unfit: Option<Unfit>,
    /// How many of the blocks' words on this run were compared.
    compared: usize,
    /// The last break, which a swap explains together with the entry after it.
    broken_at: Option<usize>,
}

struct Unfit {
    before: Link,
    epoch: i64,
    at: Timestamp,
    entry: String,
    stored: Link,
}

/// Checks the journals of a range of runs.
pub struct JournalCheck {
    report: Report,
    ends: Arc<Ends>,
    /// Runs that must be there, in order, with the number of their last entry where a row says it.
    expected: std::iter::Peekable<std::vec::IntoIter<(Uuid, Option<i64>)>>,
    open: Option<Open>,
}

impl JournalCheck {
    /// `heads`: what the rows of all these runs say of their last entry. `within`: the runs that will be read.
    pub fn new(ends: Arc<Ends>, heads: Vec<(Uuid, i64)>, within: impl Fn(Uuid) -> bool) -> Self {
        let mut expected: Vec<(Uuid, Option<i64>)> =
            heads.into_iter().map(|(run, seq)| (run, Some(seq))).collect();
        expected.extend(ends.runs().filter(|run| within(*run)).map(|run| (run, None)));
        // The one with a number first, so that it is the one that stays.
        expected.sort_by_key(|(run, seq)| (*run, seq.is_none()));
        expected.dedup_by_key(|(run, _)| *run);
        Self { report: Report::default(), ends, expected: expected.into_iter().peekable(), open: None }
    }

    /// The next entry.
    pub fn entry(&mut self, row: &EntryRow<'_>) {
        self.report.entries += 1;
        if self.open.as_ref().is_none_or(|open| open.run_id != row.run_id) {
            self.begin(row.run_id);
        }
        let Some(mut open) = self.open.take() else { return };
        let mut goes_on = row.link;
        if row.seq <= open.seq {
            self.break_at(row.run_id, row.seq, Kind::Added, "it is here more than once, or out of order");
        } else if row.seq != open.seq + 1 {
            let why = match row.seq - open.seq {
                2 => format!("entry {} is missing", open.seq + 1),
                _ => format!("entries {} to {} are missing", open.seq + 1, row.seq - 1),
            };
            self.break_at(row.run_id, open.seq + 1, Kind::Removed, why);
            // What it was bound to is gone: its own link has to be believed, unless a block knows better.
            open.unfit = None;
        } else {
            goes_on = self.fits(&mut open, row);
        }
        if !row.columns_agree() {
            let why = format!("its columns say {} {}, its entry does not", row.kind, row.step.unwrap_or(""));
            self.break_at(row.run_id, row.seq, Kind::Changed, why);
        }
        open.seq = row.seq;
        open.link = goes_on.unwrap_or(open.link);
        self.sealed(&mut open, row);
        self.open = Some(open);
    }

    /// What was found.
    pub fn finish(mut self) -> Report {
        self.end();
        while let Some((run, head)) = self.expected.next() {
            self.missing(run, head);
        }
        self.report
    }

    fn begin(&mut self, run_id: Uuid) {
        self.end();
        while let Some((run, head)) = self.expected.next_if(|(run, _)| *run < run_id) {
            self.missing(run, head);
        }
        self.report.runs += 1;
        let link = Link::origin(run_id);
        self.open = Some(Open { run_id, seq: 0, link, unfit: None, compared: 0, broken_at: None });
    }

    /// The link from which the chain goes on.
    fn fits(&mut self, open: &mut Open, row: &EntryRow<'_>) -> Option<Link> {
        let (before, unfit) = (open.link, open.unfit.take());
        if row.link == Some(row.after(before, row.seq)) {
            return row.link;
        }
        if let Some(unfit) = unfit {
            let first = row.after(unfit.before, row.seq - 1);
            if first == unfit.stored || Some(first) == row.link {
                // The break of the entry before is this one.
                if let Some(at) = open.broken_at.filter(|at| at + 1 == self.report.breaks.len()) {
                    self.report.breaks.truncate(at);
                    self.report.broken -= 1;
                }
                let why = format!("entries {} and {} are in each other's place", row.seq - 1, row.seq);
                self.break_at(row.run_id, row.seq, Kind::Swapped, why);
                return Some(first.then(row.seq, unfit.epoch, unfit.at, &unfit.entry));
            }
        }
        open.broken_at = Some(self.report.breaks.len());
        let why = match row.link {
            None => "it has no link",
            Some(_) => "it does not fit its link to the entry before",
        };
        self.break_at(row.run_id, row.seq, Kind::Changed, why);
        open.unfit = row.link.map(|stored| Unfit {
            before,
            epoch: row.epoch,
            at: row.at,
            entry: row.entry.to_owned(),
            stored,
        });
        row.link
    }

    /// What the blocks say of this entry.
    fn sealed(&mut self, open: &mut Open, row: &EntryRow<'_>) {
        let all = self.ends.clone();
        let ends = all.of(row.run_id);
        while let Some(end) = ends.get(open.compared).filter(|end| end.seq <= row.seq) {
            open.compared += 1;
            if end.seq == row.seq && row.link != Some(end.link) {
                let why =
                    format!("block {} has another link for it: the journal was written anew", end.block);
                self.break_at(row.run_id, row.seq, Kind::Changed, why);
            }
        }
        if ends.last().is_none_or(|end| end.seq < row.seq) {
            if all.covers(row.tx) {
                let why = "it was written before the newest block, and no block knows of it";
                self.break_at(row.run_id, row.seq, Kind::Added, why);
            } else {
                self.report.unsealed += 1;
            }
        }
    }

    /// The journal that was read has ended.
    fn end(&mut self) {
        let Some(open) = self.open.take() else { return };
        let head = self.expected.next_if(|(run, _)| *run == open.run_id).and_then(|(_, head)| head);
        if head.is_none() {
            let why = "the run's row is gone: its journal is here, and no list shows it";
            self.report.add(Place::Run { run: open.run_id }, Kind::Removed, why);
        }
        let all = self.ends.clone();
        if let Some(end) = all.of(open.run_id).last().filter(|end| end.seq > open.seq) {
            let why = format!("block {} saw it end with entry {}", end.block, end.seq);
            self.break_at(open.run_id, open.seq + 1, Kind::Removed, why);
        } else if let Some(head) = head.filter(|head| *head != open.seq) {
            let (seq, kind) =
                if head > open.seq { (open.seq + 1, Kind::Removed) } else { (head + 1, Kind::Added) };
            let why = format!(
                "the run's row counts {}, and the journal ends with entry {}",
                many(head, "entry"),
                open.seq
            );
            self.break_at(open.run_id, seq, kind, why);
        }
    }

    fn missing(&mut self, run: Uuid, head: Option<i64>) {
        let all = self.ends.clone();
        let why = match (all.of(run).last(), head) {
            (Some(end), None) => {
                format!("the whole run is gone; block {} saw {} of it", end.block, many(end.seq, "entry"))
            }
            (Some(end), Some(_)) => {
                format!("its journal is gone; block {} saw {} of it", end.block, many(end.seq, "entry"))
            }
            (None, head) => {
                format!(
                    "its journal is gone; the run's row counts {}",
                    many(head.unwrap_or_default(), "entry")
                )
            }
        };
        self.break_at(run, 1, Kind::Removed, why);
    }

    fn break_at(&mut self, run: Uuid, seq: i64, kind: Kind, why: impl Into<String>) {
        self.report.add(Place::Journal { run, seq }, kind, why);
    }
}
