//! Runs and their journals: the write side.

use domain::brake::{Brake, Limit, Overrides};
use domain::run::Record;
use domain::{Actor, Timestamp};
use serde_json::{Map, Value};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;
use crate::brakes::{self, json};
use crate::journal::Append;

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
    /// What it counts towards.
    pub limits: Vec<Limit>,
    /// What the person says against the brakes in its way.
    pub overrides: Overrides,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The worker that will drive it.
    pub owner: i64,
    /// Now.
    pub at: Timestamp,
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The run exists, and is owned by the worker named.
    New,
    /// The same request had been made before: this is its run.
    Existing(Uuid),
    /// Another run holds a lock. Nothing was written.
    Locked(Holder),
    /// A brake is on. Nothing was written.
    Held(Box<Brake>),
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

/// Starts a run: its row, its locks and the beginning of its journal, in one statement. After an error the same call may be
/// made again: it finds what an earlier try wrote.
pub async fn create(pool: &PgPool, run: &NewRun, begin: &Append) -> Result<Created, StoreError> {
    let mut locks = run.locks.clone();
    locks.sort();
    locks.dedup();
    let rows = || begin.rows.iter();
    let inserted = sqlx::query!(
        r#"WITH admitted AS MATERIALIZED (
               SELECT admit($1, $9, $2, $5, $22, $12, $23, $24, $25, $11) AS refused
           ), text AS (
               INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ($3, $2, $4, $11)
               ON CONFLICT (hash) DO NOTHING
           ), created AS (
               INSERT INTO run (id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
               SELECT $1, $2, $3, $5, $6, $7, $8, $9, $13, $10, 1, $14, $11, $11 FROM admitted WHERE refused IS NULL
               ON CONFLICT (idem_key) DO NOTHING RETURNING id
           ), locked AS (
               INSERT INTO lock (target, run_id, taken_at) SELECT target, created.id, $11 FROM created, unnest($12::text[]) AS target
           ), journaled AS (
               INSERT INTO journal (run_id, seq, epoch, at, kind, step, entry, write_id, hash)
               SELECT created.id, e.seq, 1, e.at, e.kind, e.step, e.entry::json, $15, e.hash
                 FROM created, unnest($16::bigint[], $17::timestamptz[], $18::text[], $19::text[], $20::text[], $21::bytea[])
                          AS e(seq, at, kind, step, entry, hash)
           )
           SELECT refused, EXISTS (SELECT FROM created) AS "created!" FROM admitted"#,
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
        begin.state,
        rows().map(|r| r.seq).max().unwrap_or(0),
        begin.write_id,
        &rows().map(|r| r.seq).collect::<Vec<_>>(),
        &rows().map(|r| r.at).collect::<Vec<_>>(),
        &rows().map(|r| r.kind.to_owned()).collect::<Vec<_>>(),
        &rows().map(|r| r.step.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows().map(|r| r.entry.clone()).collect::<Vec<_>>(),
        &rows().map(|r| r.link.as_bytes().to_vec()).collect::<Vec<_>>(),
        brakes::person(&run.by),
        json(&run.limits)?,
        json(&run.overrides)?,
        run.reason,
    )
    .fetch_one(pool)
    .await;
    match inserted {
        Ok(row) if row.created => Ok(Created::New),
        Ok(row) if row.refused.is_some() => Ok(Created::Held(Box::new(brakes::read(row.refused)?))),
        // The same key was there before.
        Ok(_) => {
            let existing = sqlx::query_scalar!("SELECT id FROM run WHERE idem_key = $1", run.idem_key);
            let id = existing.fetch_one(pool).await?;
            Ok(if id == run.id { Created::New } else { Created::Existing(id) })
        }
        Err(sqlx::Error::Database(e)) if e.constraint() == Some("lock_pkey") => {
            match holder(pool, &locks).await? {
                // Our own, from a try whose answer was lost.
                Some(holder) if holder.run_id == run.id => Ok(Created::New),
                Some(holder) => Ok(Created::Locked(holder)),
                None => Err(StoreError::Again("the lock was released in this very moment")),
            }
        }
        Err(e) => Err(e.into()),
    }
}

/// Keeps a text, so that a run may name it by its hash. A text that is there already is the same.
pub async fn keep_text(
    pool: &PgPool,
    name: &str,
    hash: &str,
    source: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ($1, $2, $3, $4) ON CONFLICT (hash) DO NOTHING",
        hash,
        name,
        source,
        at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Who holds any of these locks; for one that is free, who stands in line for it first.
pub async fn holder(pool: &PgPool, locks: &[String]) -> Result<Option<Holder>, StoreError> {
    Ok(sqlx::query_as!(
        Holder,
        r#"SELECT h.target AS "target!", h.run_id AS "run_id!", r.title AS "title!", r.requested_by AS "requested_by!", h.since AS "since!"
             FROM (SELECT target, run_id, taken_at AS since, 0::bigint AS n FROM lock
                   UNION ALL
                   SELECT q.target, q.run_id, q.since, q.n FROM queue q JOIN run first ON first.id = q.run_id AND first.state = 'queued') AS h
             JOIN run r ON r.id = h.run_id WHERE h.target = ANY($1) ORDER BY h.n, h.target LIMIT 1"#,
        locks,
    )
    .fetch_optional(pool)
    .await?)
}

/// Says that nobody can drive a run as it is: a journal or text that this version cannot read, a bug of ours. Its locks stay.
pub async fn stands_still(
    pool: &PgPool,
    worker: i64,
    run_id: Uuid,
    epoch: i64,
    why: &str,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE run SET state = 'stuck', message = $4 WHERE id = $1 AND owner = $2 AND epoch = $3 AND ended_at IS NULL",
        run_id,
        worker,
        epoch,
        why,
    )
    .execute(pool)
    .await?;
    Ok(())
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
