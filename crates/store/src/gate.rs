//! Runs that have not begun: they wait for people, or stand in line for their locks.
//!
//! Such a run is created with two entries, the request and the gate, in one statement, and holds no lock. To pass it takes
//! all of its locks and says so in its journal in one statement, or none. Who comes first is first: the database lets nobody
//! take a lock past a run that stands in line for it (`lock_in_turn` in the migrations), whoever asks.

use domain::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;
use crate::journal::Append;

/// What a write at the gate does besides.
#[derive(Debug, Clone, Copy)]
pub enum Claim<'a> {
    /// Takes these locks, all or none.
    Take(&'a [String]),
    /// Stands in line for them.
    StandInLine(&'a [String]),
}

/// What became of a write at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// Written (now, or by an earlier try whose answer was lost).
    Written,
    /// Another worker owns the run: drop it, touch nothing.
    Fenced,
    /// A lock is held, or others stand in line before: nothing was written.
    Held,
}

/// Appends to the journal of a run that has not begun, and takes its locks, or its place in the line, in the same statement.
/// An error means that nothing is known: try again with the same append.
pub async fn pass(
    pool: &PgPool,
    owner: i64,
    append: &Append,
    claim: Claim<'_>,
) -> Result<Passed, StoreError> {
    let (Some(first), Some(last)) = (append.rows.first(), append.rows.last()) else {
        return Ok(Passed::Written);
    };
    let (take, line): (&[String], &[String]) = match claim {
        Claim::Take(locks) => (locks, &[]),
        Claim::StandInLine(locks) => (&[], locks),
    };
    let rows = || append.rows.iter();
    let written = sqlx::query_scalar!(
        r#"WITH mine AS (
               UPDATE run SET seq = $5, state = $6, updated_at = $7
                WHERE id = $1 AND owner = $2 AND epoch = $3 AND seq = $4::bigint - 1 RETURNING id
           ), taken AS (
               INSERT INTO lock (target, run_id, taken_at)
               SELECT DISTINCT target, mine.id, $7::timestamptz FROM mine, unnest($8::text[]) AS target ORDER BY target
           ), swept AS (
               DELETE FROM queue USING run WHERE run.id = queue.run_id AND run.ended_at IS NOT NULL AND cardinality($9::text[]) > 0
           ), place AS MATERIALIZED (
               SELECT nextval('queue_n') AS n WHERE cardinality($9::text[]) > 0
           ), queued AS (
               INSERT INTO queue (run_id, target, n, since)
               SELECT DISTINCT mine.id, target, place.n, $7::timestamptz FROM mine, place, unnest($9::text[]) AS target
               ON CONFLICT (run_id, target) DO NOTHING
           )
           INSERT INTO journal_line (run_id, seq, epoch, at, kind, entry, write_id, hash)
           SELECT mine.id, e.seq, $3, e.at, e.kind, e.entry::json, $10, e.hash
             FROM mine, unnest($11::bigint[], $12::timestamptz[], $13::text[], $14::text[], $15::bytea[]) AS e(seq, at, kind, entry, hash)
           RETURNING seq"#,
        append.run_id,
        owner,
        append.epoch,
        first.seq,
        last.seq,
        append.state,
        last.at,
        take,
        line,
        append.write_id,
        &rows().map(|r| r.seq).collect::<Vec<_>>(),
        &rows().map(|r| r.at).collect::<Vec<_>>(),
        &rows().map(|r| r.kind.to_owned()).collect::<Vec<_>>(),
        &rows().map(|r| r.entry.clone()).collect::<Vec<_>>(),
        &rows().map(|r| r.link.as_bytes().to_vec()).collect::<Vec<_>>(),
    )
    .fetch_all(pool)
    .await;
    match written {
        Ok(written) if written.len() == append.rows.len() => return Ok(Passed::Written),
        Ok(_) => {}
        Err(sqlx::Error::Database(e)) if e.constraint() == Some("lock_pkey") => {
            // Also our own, from a try whose answer was lost.
            return Ok(if is_written(pool, append).await? { Passed::Written } else { Passed::Held });
        }
        Err(e) => return Err(e.into()),
    }
    Ok(if is_written(pool, append).await? { Passed::Written } else { Passed::Fenced })
}

async fn is_written(pool: &PgPool, append: &Append) -> Result<bool, StoreError> {
    let row = sqlx::query_scalar!(
        "SELECT 1 AS one FROM journal_line WHERE run_id = $1 AND write_id = $2 LIMIT 1",
        append.run_id,
        append.write_id,
    );
    Ok(row.fetch_optional(pool).await?.is_some())
}

/// A run that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ahead {
    /// The lock.
    pub target: String,
    /// The run.
    pub run_id: Uuid,
    /// What it does to what.
    pub title: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Does it hold the lock? Else it stands in line before.
    pub holds: bool,
    /// Since when.
    pub since: Timestamp,
}

/// What stands before a run that stands in line: who holds its locks, then who came first.
pub async fn ahead(pool: &PgPool, run_id: Uuid) -> Result<Vec<Ahead>, StoreError> {
    Ok(sqlx::query_as!(
        Ahead,
        r#"SELECT a.target AS "target!", a.run_id AS "run_id!", r.title AS "title!", r.requested_by AS "requested_by!",
                  a.holds AS "holds!", a.since AS "since!"
             FROM (SELECT mine.target, l.run_id, true AS holds, l.taken_at AS since, 0::bigint AS n
                     FROM queue mine JOIN lock l ON l.target = mine.target WHERE mine.run_id = $1
                   UNION ALL
                   SELECT mine.target, q.run_id, false, q.since, q.n
                     FROM queue mine JOIN queue q ON q.target = mine.target AND q.n < mine.n
                     JOIN run first ON first.id = q.run_id AND first.state = 'queued' WHERE mine.run_id = $1) AS a
             JOIN run r ON r.id = a.run_id
            ORDER BY a.n, a.target"#,
        run_id,
    )
    .fetch_all(pool)
    .await?)
}

/// Is any of a run's locks held (by a run, or by somebody's hand), or is somebody in line before it? Cheaper than [`ahead`],
/// and says nothing.
pub async fn is_held_up(pool: &PgPool, run_id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM queue mine WHERE mine.run_id = $1 AND (
                   EXISTS (SELECT FROM lock l WHERE l.target = mine.target)
                   OR EXISTS (SELECT FROM hand_lock h JOIN run me ON me.id = mine.run_id
                               WHERE h.target = mine.target AND h.holder <> me.requested_by AND (h.until IS NULL OR h.until > $2))
                   OR EXISTS (SELECT FROM queue q JOIN run r ON r.id = q.run_id AND r.state = 'queued'
                               WHERE q.target = mine.target AND q.n < mine.n))) AS "held!""#,
        run_id,
        now,
    )
    .fetch_one(pool)
    .await?)
}
