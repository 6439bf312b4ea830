//! Runs and their journals: the write side.

use domain::audit::Link;
use domain::run::{Entry, Outcome, Record};
use domain::{Actor, Timestamp};
use serde_json::{Map, Value};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// A run to be started.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id, chosen by the caller.
    pub id: Uuid,
    /// Name of the runbook.
    pub runbook: String,
    /// Hash of its text.
    pub hash: String,
    /// Its exact text.
    pub source: String,
    /// What it does to what, in a line.
    pub title: String,
    /// Inputs in stored form.
    pub inputs: Map<String, Value>,
    /// The plan that the requester saw.
    pub plan: Option<Value>,
    /// Who asks.
    pub by: Actor,
    /// The same key lands on the same run.
    pub idem_key: String,
    /// Lock names.
    pub locks: Vec<String>,
    /// The worker that will drive it.
    pub owner: i64,
    /// Now.
    pub at: Timestamp,
    /// The first entry.
    pub entry: Entry,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The run exists, and is owned by the worker named. Its chain begins with this link.
    New(Link),
    /// The same request had been made before: this is its run.
    Existing(Uuid),
    /// Another run holds a lock. Nothing was written.
    Locked(Holder),
}

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The lock's name.
    pub target: String,
    /// The run that holds it.
    pub run_id: Uuid,
    /// The title of that run.
    pub title: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Since when.
    pub since: Timestamp,
}

/// Starts a run: its row, its locks and its first journal entry, in one statement.
pub async fn create(pool: &PgPool, run: &NewRun) -> Result<Created, StoreError> {
    let mut locks = run.locks.clone();
    locks.sort();
    locks.dedup();
    let entry = text(&run.entry)?;
    let link = Link::origin(run.id).then(1, 1, run.at, &entry);
    let inserted = sqlx::query_scalar!(
        r#"WITH text AS (
               INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ($3, $2, $4, $11)
               ON CONFLICT (hash) DO NOTHING
           ), created AS (
               INSERT INTO run (id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
               VALUES ($1, $2, $3, $5, $6, $7, $8, $9, 'running', $10, 1, 1, $11, $11)
               ON CONFLICT (idem_key) DO NOTHING RETURNING id
           ), locked AS (
               INSERT INTO lock (target, run_id, taken_at) SELECT target, created.id, $11 FROM created, unnest($12::text[]) AS target
           ), journaled AS (
               INSERT INTO journal (run_id, seq, epoch, at, kind, entry, write_id, hash) SELECT id, 1, 1, $11, $13, $14::text::json, $15, $16 FROM created
           )
           SELECT id FROM created"#,
        run.id,
        run.runbook,
        run.hash,
        run.source,
        run.title,
        Value::Object(run.inputs.clone()),
        run.plan,
        run.by.name(),
        run.idem_key,
        run.owner,
        run.at,
        &locks,
        run.entry.kind(),
        entry,
        Uuid::now_v7(),
        link.as_bytes(),
    )
    .fetch_optional(pool)
    .await;
    match inserted {
        Ok(Some(_)) => Ok(Created::New(link)),
        Ok(None) => {
            let id = sqlx::query_scalar!("SELECT id FROM run WHERE idem_key = $1", run.idem_key)
                .fetch_one(pool)
                .await?;
            Ok(Created::Existing(id))
        }
        Err(sqlx::Error::Database(e)) if e.constraint() == Some("lock_pkey") => {
            match holder(pool, &locks).await? {
                Some(holder) => Ok(Created::Locked(holder)),
                // Released between the two statements: the caller may simply try again.
                None => Err(sqlx::Error::Database(e).into()),
            }
        }
        Err(e) => Err(e.into()),
    }
}

/// Who holds any of these locks.
pub async fn holder(pool: &PgPool, locks: &[String]) -> Result<Option<Holder>, StoreError> {
    Ok(sqlx::query_as!(
        Holder,
        r#"SELECT l.target, l.run_id, r.title, r.requested_by, l.taken_at AS since
             FROM lock l JOIN run r ON r.id = l.run_id WHERE l.target = ANY($1) ORDER BY l.target LIMIT 1"#,
        locks,
    )
    .fetch_optional(pool)
    .await?)
}

/// Entries to append, and what the run's row then says.
#[derive(Debug, Clone)]
pub struct Append<'a> {
    /// The run.
    pub run_id: Uuid,
    /// The worker that believes it owns it.
    pub owner: i64,
    /// The epoch it claimed it with.
    pub epoch: i64,
    /// The entries, numbered on from the last one.
    pub records: &'a [Record],
    /// The link of the last entry before them.
    pub after: Link,
    /// `State::word()` after them.
    pub state: &'a str,
    /// How it ended, if it did.
    pub outcome: Option<(Outcome, &'a str)>,
    /// The last row of the inbox that is answered by then.
    pub inbox: i64,
    /// Distinguishes this write from every other.
    pub write_id: Uuid,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Written (now, or by an earlier try whose answer was lost). The chain goes on from this link.
    Written(Link),
    /// Another worker owns the run: drop it, touch nothing.
    Fenced,
}

/// Appends to a journal, if the worker still owns the run. Ending it releases its locks in the same statement.
pub async fn append(pool: &PgPool, append: &Append<'_>) -> Result<Appended, StoreError> {
    let (Some(first), Some(last)) = (append.records.first(), append.records.last()) else {
        return Ok(Appended::Written(append.after));
    };
    let seqs: Vec<i64> = append.records.iter().map(|r| r.seq).collect();
    let ats: Vec<Timestamp> = append.records.iter().map(|r| r.at).collect();
    let kinds: Vec<String> = append.records.iter().map(|r| r.entry.kind().to_owned()).collect();
    let steps: Vec<Option<String>> =
        append.records.iter().map(|r| r.entry.step().map(|s| s.as_str().to_owned())).collect();
    let mut entries = Vec::with_capacity(append.records.len());
    let mut hashes = Vec::with_capacity(append.records.len());
    let mut link = append.after;
    for record in append.records {
        let entry = text(&record.entry)?;
        link = link.then(record.seq, append.epoch, record.at, &entry);
        hashes.push(link.as_bytes().to_vec());
        entries.push(entry);
    }
    let ended_at = append.outcome.map(|_| last.at);
    let written = sqlx::query_scalar!(
        r#"WITH mine AS (
               UPDATE run SET seq = $5, state = $6, outcome = $7, message = $8, ended_at = $9, updated_at = $10, inbox = $17
                WHERE id = $1 AND owner = $2 AND epoch = $3 AND seq = $4::bigint - 1 RETURNING id
           ), released AS (
               DELETE FROM lock USING mine WHERE lock.run_id = mine.id AND $9::timestamptz IS NOT NULL
           )
           INSERT INTO journal (run_id, seq, epoch, at, kind, step, entry, write_id, hash)
           SELECT mine.id, e.seq, $3, e.at, e.kind, e.step, e.entry::json, $16, e.hash
             FROM mine, unnest($11::bigint[], $12::timestamptz[], $13::text[], $14::text[], $15::text[], $18::bytea[]) AS e(seq, at, kind, step, entry, hash)
           RETURNING seq"#,
        append.run_id,
        append.owner,
        append.epoch,
        first.seq,
        last.seq,
        append.state,
        append.outcome.map(|(outcome, _)| outcome.word()),
        append.outcome.map(|(_, message)| message),
        ended_at,
        last.at,
        &seqs,
        &ats,
        &kinds,
        &steps as &[Option<String>],
        &entries,
        append.write_id,
        append.inbox,
        &hashes,
    )
    .fetch_all(pool)
    .await?;
    if written.len() == append.records.len() {
        return Ok(Appended::Written(link));
    }
    let lost_acknowledgement = sqlx::query_scalar!(
        "SELECT 1 AS one FROM journal WHERE run_id = $1 AND seq = $2 AND write_id = $3",
        append.run_id,
        last.seq,
        append.write_id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(if lost_acknowledgement.is_some() { Appended::Written(link) } else { Appended::Fenced })
}

/// A run that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Which.
    pub run_id: Uuid,
    /// The epoch it is now driven under.
    pub epoch: i64,
}

/// Takes over runs whose worker is dead or gave them back. From then on every write of the old one finds no row. A worker
/// that is dead itself, and does not know it yet, takes over nothing.
pub async fn claim_abandoned(pool: &PgPool, worker: i64, limit: i64) -> Result<Vec<Claimed>, StoreError> {
    Ok(sqlx::query_as!(
        Claimed,
        r#"UPDATE run SET owner = $1, epoch = epoch + 1
            WHERE EXISTS (SELECT 1 FROM worker WHERE id = $1 AND lease_until > clock_timestamp())
              AND id IN (
                SELECT r.id FROM run r LEFT JOIN worker w ON w.id = r.owner
                 WHERE r.ended_at IS NULL AND (w.id IS NULL OR w.lease_until < clock_timestamp())
                 ORDER BY r.id LIMIT $2 FOR UPDATE OF r SKIP LOCKED)
           RETURNING id AS run_id, epoch"#,
        worker,
        limit,
    )
    .fetch_all(pool)
    .await?)
}

/// A run as it is taken up: the exact text it is pinned to, and its journal.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Name of the runbook.
    pub runbook: String,
    /// The text.
    pub source: String,
    /// The whole journal.
    pub journal: Vec<Record>,
    /// The link of its last entry.
    pub link: Link,
}

/// Loads a run.
pub async fn load(pool: &PgPool, run_id: Uuid) -> Result<Option<Loaded>, StoreError> {
    let Some(row) = sqlx::query!(
        "SELECT r.runbook, t.source FROM run r JOIN runbook_text t ON t.hash = r.hash WHERE r.id = $1",
        run_id
    )
    .fetch_optional(pool)
    .await?
    else {
        return Ok(None);
    };
    let journal = journal(pool, run_id).await?;
    let link = link(pool, run_id, journal.last().map_or(0, |r| r.seq)).await?;
    Ok(Some(Loaded { runbook: row.runbook, source: row.source, journal, link }))
}

/// The link of an entry.
async fn link(pool: &PgPool, run_id: Uuid, seq: i64) -> Result<Link, StoreError> {
    let hash = sqlx::query_scalar!("SELECT hash FROM journal WHERE run_id = $1 AND seq = $2", run_id, seq)
        .fetch_optional(pool)
        .await?;
    hash.flatten().as_deref().and_then(Link::read).ok_or_else(|| {
        StoreError::corrupt("hash", format!("{run_id}/{seq}"), "the journal's chain has no such link")
    })
}

/// A run's journal, in order.
pub async fn journal(pool: &PgPool, run_id: Uuid) -> Result<Vec<Record>, StoreError> {
    sqlx::query!("SELECT seq, at, epoch, entry FROM journal WHERE run_id = $1 ORDER BY seq", run_id)
        .fetch_all(pool)
        .await?
        .into_iter()
        .map(|row| {
            let entry = serde_json::from_value(row.entry)
                .map_err(|e| StoreError::corrupt("journal entry", format!("{run_id}/{}", row.seq), e))?;
            Ok(Record { seq: row.seq, at: row.at, epoch: row.epoch, entry })
        })
        .collect()
}

/// The exact text that is stored, and that the chain covers.
fn text(entry: &Entry) -> Result<String, StoreError> {
    serde_json::to_string(entry).map_err(|e| StoreError::corrupt("journal entry", entry.kind(), e))
}
