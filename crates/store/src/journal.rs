//! The write path of journals: many runs' entries in one statement, each run's fenced by owner, epoch and sequence number.
//!
//! Nothing here is read before it is written: the fence is the `WHERE` of the update of the run's row, in the very statement
//! that inserts the entries, so that a worker which lost a run finds no row. What did not come back is classified
//! afterwards, by one read: our own `write_id` means that an earlier try was written and its acknowledgement lost.
//!
//! A step changes nothing in the run's row that its journal does not say, and without that update there are at the most 8 % more of
//! them a second (measured). It stays: the row's lock is what makes a take-over and an append of the owner before wait for each
//! other. An append that only read the row could be written after the new owner has read the journal, and the key of the journal
//! does not refuse it: a row that carries a result has the number of what follows.
//!
//! Two entries that are written together nearly always, a step's result and the intent of the next, are stored as one row of
//! `journal_line`; the view `journal` shows them entry by entry, to people.
//!
//! A statement makes ready every index of the tables that it writes to, so these have few: what people look for (lists of
//! runs, who asked for what) is found by the tables `run_listed` and `asked` beside them.

use std::collections::BTreeSet;

use domain::Timestamp;
use domain::audit::Link;
use domain::brake::EVERYTHING;
use domain::run::{Entry, Record, State};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::rows::{AppendRow, AppendRun, ExactJson};

/// One entry, ready to be stored.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number in the run.
    pub seq: i64,
    /// When (clock time).
    pub at: Timestamp,
    /// Its kind.
    pub kind: &'static str,
    /// The step that it is about.
    pub step: Option<String>,
    /// The exact text, which the chain covers.
    pub entry: String,
    /// Its link.
    pub link: Link,
}

/// Entries to append to one journal, and what the run's row then says.
#[derive(Debug, Clone)]
pub struct Append {
    /// The run.
    pub run_id: Uuid,
    /// The epoch under which the writer claimed it.
    pub epoch: i64,
    /// The entries, numbered on from the last one; never empty.
    pub rows: Vec<Row>,
    /// What a kill switch must be set for to refuse it: `*`, and every runbook that a change announced in it is inside of,
    /// apart by blanks. Empty where no change is announced.
    pub scopes: String,
    /// `State::word()` after them.
    pub state: &'static str,
    /// How it ended, if it did: the word and the sentence.
    pub outcome: Option<(&'static str, String)>,
    /// The last row of the inbox that is answered by then.
    pub inbox: i64,
    /// Distinguishes this write from every other.
    pub write_id: Uuid,
}

impl Append {
    /// Puts entries into their stored form, chained on from the link `after`; `state` is the run's after them.
    pub fn new(run_id: Uuid, records: &[Record], after: Link, state: &State) -> Result<Self, StoreError> {
        let mut link = after;
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let entry = serde_json::to_string(&record.entry)
                .map_err(|e| StoreError::corrupt("journal entry", record.entry.kind(), e))?;
            link = link.then(record.seq, record.epoch, record.at, &entry);
            let step = record.entry.step().map(|s| s.as_str().to_owned());
            rows.push(Row { seq: record.seq, at: record.at, kind: record.entry.kind(), step, entry, link });
        }
        Ok(Self {
            run_id,
            epoch: records.last().map_or(0, |r| r.epoch),
            rows,
            scopes: scopes(records, state),
            state: state.word(),
            outcome: state.outcome().map(|(outcome, message)| (outcome.word(), message.to_owned())),
            inbox: state.inbox(),
            write_id: Uuid::now_v7(),
        })
    }

    /// The link of the last entry.
    pub fn link(&self) -> Option<Link> {
        self.rows.last().map(|r| r.link)
    }

    fn first(&self) -> i64 {
        self.rows.first().map_or(0, |r| r.seq)
    }

    pub(crate) fn last(&self) -> i64 {
        self.rows.last().map_or(0, |r| r.seq)
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.rows.last().map_or(Timestamp::MIN_UTC, |r| r.at)
    }

    /// What it says about its run, as the `n`th of a statement.
    fn run(&self, n: i32) -> AppendRun<'_> {
        AppendRun {
            n,
            run_id: self.run_id,
            epoch: self.epoch,
            before: self.first() - 1,
            seq: self.last(),
            state: self.state,
            outcome: self.outcome.as_ref().map(|(word, _)| *word),
            message: self.outcome.as_ref().map(|(_, message)| message.as_str()),
            at: self.at(),
            inbox: self.inbox,
            scopes: &self.scopes,
        }
    }

    /// The rows that store its entries, as those of the `n`th of a statement. A step's result is carried by what follows from
    /// it: a row less for nearly every step.
    pub(crate) fn stored(&self, n: i32) -> impl Iterator<Item = AppendRow<'_>> {
        let mut rows = self.rows.as_slice();
        std::iter::from_fn(move || {
            let (row, carried) = match rows {
                [result, row, rest @ ..] if result.kind == CARRIED => {
                    rows = rest;
                    (row, Some(result))
                }
                [row, rest @ ..] => {
                    rows = rest;
                    (row, None)
                }
                [] => return None,
            };
            Some(self.row(n, row, carried))
        })
    }

    /// The row that stores all of it, if that is one.
    fn only_row(&self) -> Option<AppendRow<'_>> {
        let mut rows = self.stored(0);
        rows.next().filter(|_| rows.next().is_none())
    }

    fn row<'a>(&'a self, n: i32, row: &'a Row, carried: Option<&'a Row>) -> AppendRow<'a> {
        AppendRow {
            n,
            run_id: self.run_id,
            seq: row.seq,
            epoch: self.epoch,
            at: row.at,
            kind: row.kind,
            step: row.step.as_deref(),
            entry: ExactJson(&row.entry),
            write_id: self.write_id,
            hash: row.link.as_bytes(),
            carried: carried.map(|carried| ExactJson(&carried.entry)),
            carried_at: carried.map(|carried| carried.at),
        }
    }
}

/// The kill switches that the changes announced here would meet. No name of a runbook has a blank in it.
fn scopes(records: &[Record], state: &State) -> String {
    let announced = records.iter().filter_map(|r| match &r.entry {
        Entry::Intent { step, .. } => Some(step),
        _ => None,
    });
    let mut scopes = BTreeSet::new();
    for step in announced {
        scopes.insert(EVERYTHING);
        scopes.extend(state.runbooks_around(step));
    }
    scopes.into_iter().collect::<Vec<_>>().join(" ")
}

/// The kind of entry that is stored in the row of the next, if that is written with it: one that no question asks for by index.
const CARRIED: &str = "done";

/// The kind of entry that the search of the audit finds, by the table `asked`.
const ASKED: &str = "asked";

/// What a statement does besides appending: each more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Besides {
    Nothing,
    /// Runs end: their locks are released.
    Ends,
    /// People asked for something: that is written where it is found.
    Asks,
}

impl Besides {
    fn of(appends: &[&Append]) -> Self {
        let besides = |append: &Append| match append {
            _ if append.rows.iter().any(|row| row.kind == ASKED) => Self::Asks,
            Append { outcome: Some(_), .. } => Self::Ends,
            _ => Self::Nothing,
        };
        appends.iter().map(|append| besides(append)).max().unwrap_or(Self::Nothing)
    }
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// Written (now, or by an earlier try whose answer was lost).
    Written,
    /// Another worker owns the run: drop it, touch nothing.
    Fenced,
    /// A kill switch forbids the change that it announces. Nothing of it was written.
    Stopped(Switch),
}

/// A kill switch that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// `*`, or a runbook's name.
    pub scope: String,
    /// Who threw it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Appends to many journals at once, as `owner`; one answer for each, in the same order. Ending a run releases its locks in
/// the same statement. An error means that nothing is known: try again with the same appends.
pub(crate) async fn append(
    connection: &mut PgConnection,
    owner: i64,
    appends: &[&Append],
) -> Result<Vec<Appended>, StoreError> {
    let besides = Besides::of(appends);
    if let [append] = appends
        && besides < Besides::Asks
        && let Some(row) = append.only_row()
    {
        let written = one_row(connection, owner, &append.run(0), &row, besides).await?;
        return Ok(vec![if written {
            Appended::Written
        } else {
            classify(connection, owner, append).await?
        }]);
    }
    let runs: Vec<AppendRun<'_>> = (0..).zip(appends).map(|(n, append)| append.run(n)).collect();
    let rows: Vec<AppendRow<'_>> = (0..).zip(appends).flat_map(|(n, append)| append.stored(n)).collect();
    // Most appends end no run, and few are of what a person asked: to make ready what releases locks is a fifth of what a small
    // one costs.
    macro_rules! written {
        ($besides:tt) => {
            sqlx::query_scalar!(
                r#"WITH mine AS (
                       UPDATE run SET seq = w.seq, state = w.state, outcome = w.outcome, message = w.message, updated_at = w.at,
                                      inbox = w.inbox, ended_at = CASE WHEN w.outcome IS NULL THEN NULL ELSE w.at END
                         FROM unnest($2::append_run[]) AS w
                        WHERE run.id = w.run_id AND run.owner = $1 AND run.epoch = w.epoch AND run.seq = w.before
                          -- Asked once for all of them; only where a switch is on at all, once for each.
                          AND (NOT EXISTS (SELECT FROM kill_switch)
                               OR NOT string_to_array(w.scopes, ' ') && ARRAY(SELECT scope FROM kill_switch))
                       RETURNING w.n, run.id, run.ended_at"#
                    + $besides
                    + r#"
                   ), journaled AS (
                       INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx, carried, carried_at)
                       SELECT e.run_id, e.seq, e.epoch, e.at, e.kind, e.step, e.entry, e.write_id, e.hash, (SELECT write_order()),
                              e.carried, e.carried_at
                         FROM unnest($3::append_row[]) AS e
                        WHERE (e.n IN (SELECT n FROM mine)) IS TRUE -- one table of hashes; as a join it would be compared row by row
                   )
                   SELECT coalesce(array_agg(n), '{}') AS "n!" FROM mine"#,
                owner,
                &runs as &[AppendRun<'_>],
                &rows as &[AppendRow<'_>],
            )
            .fetch_one(&mut *connection)
            .await?
        };
    }
    let written: Vec<i32> = match besides {
        Besides::Nothing => written!(""),
        Besides::Ends => written!(
            "), released AS (
                DELETE FROM lock USING mine WHERE lock.run_id = mine.id AND mine.ended_at IS NOT NULL"
        ),
        Besides::Asks => written!(
            "), released AS (
                DELETE FROM lock USING mine WHERE lock.run_id = mine.id AND mine.ended_at IS NOT NULL
            ), found AS (
                INSERT INTO asked (run_id, seq, at, step, by, words)
                SELECT e.run_id, e.seq, e.at, e.step, asked_by(e.entry), asked_words(e.entry) FROM unnest($3::append_row[]) AS e
                 WHERE e.kind = 'asked' AND (e.n IN (SELECT n FROM mine)) IS TRUE"
        ),
    };
    if written.len() == appends.len() {
        return Ok(vec![Appended::Written; appends.len()]);
    }
    let mut answers = Vec::with_capacity(appends.len());
    for (n, append) in (0..).zip(appends) {
        answers.push(if written.contains(&n) {
            Appended::Written
        } else {
            classify(connection, owner, append).await?
        });
    }
    Ok(answers)
}

/// The same for one append that is one row and asks for nothing, as most are when little is going on: plain values, and nothing
/// sent back. `false` when nothing was written.
///
/// With one run at a time this gave a tenth more steps a second: a statement that has to wait for its fsync costs twice what it
/// does without one, beyond the fsync itself, so what it need not do counts double.
async fn one_row(
    connection: &mut PgConnection,
    owner: i64,
    run: &AppendRun<'_>,
    row: &AppendRow<'_>,
    besides: Besides,
) -> Result<bool, StoreError> {
    let scopes: Vec<&str> = run.scopes.split_terminator(' ').collect();
    macro_rules! written {
        ($besides:tt) => {
            sqlx::query!(
                r#"WITH mine AS (
                       UPDATE run SET seq = $5, state = $6, outcome = $7, message = $8, updated_at = $9, inbox = $10, ended_at = $11
                        WHERE id = $2 AND owner = $1 AND epoch = $3 AND seq = $4
                          AND NOT EXISTS (SELECT FROM kill_switch WHERE scope = ANY ($12))
                       RETURNING id, seq, epoch, updated_at"#
                    + $besides
                    + r#"
                   )
                   INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx, carried, carried_at)
                   SELECT id, seq, epoch, updated_at, $13, $14, $15, $16, $17, write_order(), $18, $19 FROM mine"#,
                owner,
                run.run_id,
                run.epoch,
                run.before,
                run.seq,
                run.state,
                run.outcome,
                run.message,
                run.at,
                run.inbox,
                run.outcome.map(|_| run.at),
                &scopes as &[&str],
                row.kind,
                row.step,
                row.entry as ExactJson<'_>,
                row.write_id,
                row.hash,
                row.carried as Option<ExactJson<'_>>,
                row.carried_at,
            )
            .execute(&mut *connection)
            .await?
        };
    }
    let done = match besides {
        Besides::Nothing => written!(""),
        Besides::Ends | Besides::Asks => {
            written!("), released AS (DELETE FROM lock USING mine WHERE lock.run_id = mine.id")
        }
    };
    Ok(done.rows_affected() == 1)
}

/// Why an append came back without its row.
async fn classify(
    connection: &mut PgConnection,
    owner: i64,
    append: &Append,
) -> Result<Appended, StoreError> {
    let found = sqlx::query!(
        r#"SELECT EXISTS (SELECT FROM journal_line WHERE run_id = $1 AND seq = $2 AND write_id = $3) AS "written!",
                  EXISTS (SELECT FROM run WHERE id = $1 AND owner = $4 AND epoch = $5 AND seq = $6::bigint - 1) AS "mine!",
                  k.scope AS "scope?", k.by AS "by?", k.reason AS "reason?"
             FROM (SELECT) AS one
             LEFT JOIN LATERAL (SELECT k.* FROM kill_switch k WHERE k.scope = ANY (string_to_array($7, ' '))
                                 ORDER BY k.scope LIMIT 1) AS k ON true"#,
        append.run_id,
        append.last(),
        append.write_id,
        owner,
        append.epoch,
        append.first(),
        append.scopes,
    )
    .fetch_one(connection)
    .await?;
    Ok(match (found.written, found.mine, found.scope, found.by, found.reason) {
        (true, ..) => Appended::Written,
        (false, true, Some(scope), Some(by), Some(reason)) => Appended::Stopped(Switch { scope, by, reason }),
        // Still ours and no switch is on: it was released between the two statements. The same append may be tried again.
        (false, true, ..) => {
            return Err(StoreError::Again("the kill switch was released in this very moment"));
        }
        (false, false, ..) => Appended::Fenced,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the rows that store entries of these kinds, and of what each carries.
    fn stored(kinds: &[&'static str]) -> Vec<(i64, Option<Timestamp>)> {
        let at = |seq| Timestamp::from_timestamp_micros(seq).unwrap();
        let row = |(seq, kind): (i64, &&'static str)| Row {
            seq,
            at: at(seq),
            kind,
            step: None,
            entry: String::new(),
            link: Link::origin(Uuid::nil()),
        };
        let append = Append {
            run_id: Uuid::nil(),
            epoch: 1,
            rows: (1..).zip(kinds).map(row).collect(),
            scopes: String::new(),
            state: "running",
            outcome: None,
            inbox: 0,
            write_id: Uuid::nil(),
        };
        append.stored(0).map(|row| (row.seq, row.carried_at)).collect()
    }

    #[test]
    fn a_result_is_carried_by_what_is_written_with_it_and_by_nothing_else() {
        let at = |seq| Timestamp::from_timestamp_micros(seq);
        assert_eq!(stored(&["done", "intent"]), [(2, at(1))]);
        assert_eq!(stored(&["done", "asked"]), [(2, at(1))], "what is searched for is a row's own");
        assert_eq!(stored(&["done"]), [(1, None)]);
        assert_eq!(stored(&["asked", "intent"]), [(1, None), (2, None)]);
        assert_eq!(
            stored(&["started", "done", "done", "done", "ended"]),
            [(1, None), (3, at(2)), (5, at(4))]
        );
        assert_eq!(stored(&["done", "done", "done"]), [(2, at(1)), (3, None)]);
    }
}
