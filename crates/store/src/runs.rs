//! Runs and their journals: the write side.

use std::collections::HashSet;

use domain::brake::{Brake, Limit, Overrides};
use domain::run::Record;
use domain::{Actor, Timestamp};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use crate::StoreError;
use crate::brakes::{self, json};
use crate::journal::Append;
use crate::read::Stored;
use crate::rows::{AppendRow, BirthRun};

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
    /// It has no limits and changes nothing: of the brakes, only a target that somebody has taken by hand holds it back.
    pub free: bool,
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

impl NewRun {
    /// Must its start be judged alone? A use of a limit counts for the next start only once its run is written, and what a
    /// person overrides is no everyday thing.
    pub fn stands_alone(&self) -> bool {
        !self.limits.is_empty() || self.overrides != Overrides::default()
    }

    /// As the `n`th of a statement, with this beginning of its journal.
    fn row<'a>(&'a self, n: i32, begin: &'a Append) -> Result<BirthRun<'a>, StoreError> {
        Ok(BirthRun {
            n,
            id: self.id,
            runbook: &self.runbook,
            hash: &self.hash,
            title: &self.title,
            inputs: Value::Object(self.inputs.clone()),
            plan: self.plan.as_ref(),
            requested_by: self.by.name(),
            idem_key: &self.idem_key,
            state: begin.state,
            owner: self.owner,
            at: self.at,
            seq: begin.last(),
            person: brakes::person(&self.by),
            targets: &self.locks,
            limits: json(&self.limits)?,
            overrides: json(&self.overrides)?,
            reason: self.reason.as_deref(),
        })
    }
}

/// Starts runs: their rows, their locks and the beginnings of their journals, in one statement. One answer for each. `texts`
/// are the hashes of those that are known to be kept.
pub(crate) async fn create(
    connection: &mut PgConnection,
    births: &[(&NewRun, &Append)],
    texts: &mut HashSet<String>,
) -> Result<Vec<Created>, StoreError> {
    // A text is kept before the run that names it by hash: at worst one that nobody ever ran.
    for (run, _) in births {
        if !texts.contains(&run.hash) {
            keep_text(&mut *connection, &run.runbook, &run.hash, &run.source, run.at).await?;
            texts.insert(run.hash.clone());
        }
    }
    let mut runs = Vec::with_capacity(births.len());
    for (n, (run, begin)) in (0..).zip(births) {
        runs.push(run.row(n, begin)?);
    }
    // In one order everywhere, so that two statements never wait for each other; so are the locks, below.
    runs.sort_unstable_by_key(|run| run.idem_key);
    // The clock goes on between the request and the last entry of its beginning.
    let moved: Vec<Timestamp> = births.iter().map(|(_, begin)| begin.at()).collect();
    let rows: Vec<AppendRow<'_>> = (0..).zip(births).flat_map(|(n, (_, begin))| begin.stored(n)).collect();
    let inserted = sqlx::query!(
        r#"WITH brakes AS MATERIALIZED (
               SELECT brakes_are_off($3) AS off -- as nearly always; the starts are in a hurry
           ), admitted AS MATERIALIZED (
               SELECT w.*, CASE WHEN brakes.off AND w.limits = '[]' THEN NULL
                                WHEN ($5::boolean[])[w.n + 1]
                                THEN (SELECT b FROM brakes(w.runbook, w.person, w.targets, '[]', w.at) AS b
                                       WHERE b->>'brake' = 'taken_by_hand' AND NOT EXISTS (SELECT FROM run r WHERE r.idem_key = w.idem_key)
                                       LIMIT 1)
                                ELSE admit(w.id, w.idem_key, w.runbook, w.title, w.person, w.targets, w.limits, w.overrides, w.reason, w.at)
                           END AS refused
                 FROM brakes, unnest($1::birth_run[]) AS w
           ), created AS (
               INSERT INTO run (id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
               SELECT id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, owner, 1, seq, at, ($4::timestamptz[])[n + 1]
                 FROM admitted WHERE refused IS NULL
               ON CONFLICT (idem_key) DO NOTHING RETURNING id
           ), locked AS (
               INSERT INTO lock (target, run_id, taken_at)
               SELECT t.target, w.id, w.at FROM admitted w, unnest(w.targets) AS t(target)
                WHERE (w.id IN (SELECT id FROM created)) IS TRUE
                ORDER BY t.target, w.id
           ), journaled AS (
               INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx, carried, carried_at)
               SELECT e.run_id, e.seq, e.epoch, e.at, e.kind, e.step, e.entry, e.write_id, e.hash, (SELECT write_order()), e.carried, e.carried_at
                 FROM unnest($2::append_row[]) AS e
                WHERE (e.run_id IN (SELECT id FROM created)) IS TRUE
           )
           SELECT n AS "n!", refused, (id IN (SELECT id FROM created)) IS TRUE AS "created!" FROM admitted"#,
        &runs as &[BirthRun<'_>],
        &rows as &[AppendRow<'_>],
        births.iter().map(|(run, _)| run.at).min().unwrap_or(Timestamp::MIN_UTC),
        &moved,
        &births.iter().map(|(run, _)| run.free).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *connection)
    .await;
    let inserted = match inserted {
        Err(sqlx::Error::Database(e)) if e.constraint() == Some("lock_pkey") && births.len() == 1 => {
            return match holder(connection, births[0].0.locks.as_slice()).await? {
                Some(holder) => Ok(vec![Created::Locked(holder)]),
                None => Err(StoreError::Again("the lock was released in this very moment")),
            };
        }
        answer => answer?,
    };
    let mut answers = vec![Created::New; births.len()];
    for row in inserted {
        let Some((answer, (run, _))) =
            usize::try_from(row.n).ok().and_then(|n| answers.get_mut(n).zip(births.get(n)))
        else {
            continue;
        };
        if row.refused.is_some() {
            *answer = Created::Held(Box::new(brakes::read(row.refused)?));
        } else if !row.created {
            // The same key was there before: of the same request, or from a try of ours whose answer was lost.
            let existing = sqlx::query_scalar!("SELECT id FROM run WHERE idem_key = $1", run.idem_key);
            let id = existing.fetch_one(&mut *connection).await?;
            if id != run.id {
                *answer = Created::Existing(id);
            }
        }
    }
    Ok(answers)
}

/// Keeps a text, so that a run may name it by its hash. A text that is there already is the same.
pub async fn keep_text(
    executor: impl PgExecutor<'_>,
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
    .execute(executor)
    .await?;
    Ok(())
}

/// Who holds any of these locks; for one that is free, who stands in line for it first.
pub async fn holder(executor: impl PgExecutor<'_>, locks: &[String]) -> Result<Option<Holder>, StoreError> {
    Ok(sqlx::query_as!(
        Holder,
        r#"SELECT h.target AS "target!", h.run_id AS "run_id!", r.title AS "title!", r.requested_by AS "requested_by!", h.since AS "since!"
             FROM (SELECT target, run_id, taken_at AS since, 0::bigint AS n FROM lock
                   UNION ALL
                   SELECT q.target, q.run_id, q.since, q.n FROM queue q JOIN run first ON first.id = q.run_id AND first.state = 'queued') AS h
             JOIN run r ON r.id = h.run_id WHERE h.target = ANY($1) ORDER BY h.n, h.target LIMIT 1"#,
        locks,
    )
    .fetch_optional(executor)
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

/// The run of a request, if one was written under its key.
pub async fn of_key(pool: &PgPool, idem_key: &str) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT id FROM run WHERE idem_key = $1", idem_key).fetch_optional(pool).await?)
}

/// A run's journal, in order.
pub async fn journal(pool: &PgPool, run_id: Uuid) -> Result<Vec<Record>, StoreError> {
    let rows = sqlx::query_as!(
        Stored,
        "SELECT run_id, seq, at, epoch, entry, carried, carried_at, hash FROM journal_line WHERE run_id = $1 ORDER BY seq",
        run_id
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().flat_map(Stored::records).collect()
}
