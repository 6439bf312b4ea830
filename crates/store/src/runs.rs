//! Runs and their journals: the write side.

use std::collections::{BTreeMap, BTreeSet};

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

impl NewRun {
    /// Must its start be judged alone? A use of a limit counts for the next start only once its run is written, and what a
    /// person overrides is no everyday thing.
    pub fn stands_alone(&self) -> bool {
        !self.limits.is_empty() || self.overrides != Overrides::default()
    }
}

/// Starts runs: their rows, their locks and the beginnings of their journals, in one statement. One answer for each.
pub(crate) async fn create(
    connection: &mut PgConnection,
    births: &[(&NewRun, &Append)],
) -> Result<Vec<Created>, StoreError> {
    let runs = || births.iter().map(|(run, _)| *run);
    let begins = || births.iter().map(|(_, begin)| *begin);
    // In one order everywhere, so that two statements never wait for each other.
    let locks: BTreeSet<(&str, Uuid, Timestamp)> =
        runs().flat_map(|run| run.locks.iter().map(|lock| (lock.as_str(), run.id, run.at))).collect();
    let texts: BTreeMap<&str, &NewRun> = runs().map(|run| (run.hash.as_str(), run)).collect();
    let rows = || begins().flat_map(|begin| begin.rows.iter().map(move |row| (begin, row)));
    let (mut limits, mut overrides) = (Vec::new(), Vec::new());
    for run in runs() {
        limits.push(json(&run.limits)?);
        overrides.push(json(&run.overrides)?);
    }
    let inserted = sqlx::query!(
        r#"WITH want AS MATERIALIZED (
               SELECT w.*, ARRAY(SELECT l.target FROM unnest($18::text[], $19::uuid[]) AS l(target, run_id) WHERE l.run_id = w.id) AS targets
                 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::jsonb[], $7::text[], $8::text[],
                             $9::text[], $10::bigint[], $11::timestamptz[], $12::bigint[], $13::text[], $14::jsonb[], $15::jsonb[],
                             $16::text[], $17::int[])
                          AS w(id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, owner, at, seq, person,
                               limits, overrides, reason, n)
                ORDER BY w.idem_key -- one order here too
           ), brakes AS MATERIALIZED (
               SELECT brakes_are_off($33) AS off -- as nearly always; the starts are in a hurry
           ), admitted AS MATERIALIZED (
               SELECT w.*, CASE WHEN brakes.off AND w.limits = '[]' THEN NULL
                                ELSE admit(w.id, w.idem_key, w.runbook, w.title, w.person, w.targets, w.limits, w.overrides, w.reason, w.at)
                           END AS refused
                 FROM brakes, want w
           ), text AS (
               INSERT INTO runbook_text (hash, name, source, first_seen)
               SELECT * FROM unnest($20::text[], $21::text[], $22::text[], $23::timestamptz[])
               ON CONFLICT (hash) DO NOTHING
           ), created AS (
               INSERT INTO run (id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
               SELECT id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, owner, 1, seq, at, at
                 FROM admitted WHERE refused IS NULL
               ON CONFLICT (idem_key) DO NOTHING RETURNING id, created_at
           ), locked AS (
               INSERT INTO lock (target, run_id, taken_at)
               SELECT l.target, l.run_id, l.at FROM unnest($18::text[], $19::uuid[], $24::timestamptz[]) AS l(target, run_id, at)
                WHERE (l.run_id IN (SELECT id FROM created)) IS TRUE
           ), journaled AS (
               INSERT INTO journal (run_id, seq, epoch, at, kind, step, entry, write_id, hash)
               SELECT e.run_id, e.seq, 1, e.at, e.kind, e.step, e.entry::json, e.write_id, e.hash
                 FROM unnest($25::uuid[], $26::bigint[], $27::timestamptz[], $28::text[], $29::text[], $30::text[], $31::bytea[], $32::uuid[])
                          AS e(run_id, seq, at, kind, step, entry, hash, write_id)
                WHERE (e.run_id IN (SELECT id FROM created)) IS TRUE
           )
           SELECT n AS "n!", refused, (id IN (SELECT id FROM created)) IS TRUE AS "created!" FROM admitted"#,
        &runs().map(|r| r.id).collect::<Vec<_>>(),
        &runs().map(|r| r.runbook.as_str()).collect::<Vec<_>>() as &[&str],
        &runs().map(|r| r.hash.as_str()).collect::<Vec<_>>() as &[&str],
        &runs().map(|r| r.title.as_str()).collect::<Vec<_>>() as &[&str],
        &runs().map(|r| Value::Object(r.inputs.clone())).collect::<Vec<_>>(),
        &runs().map(|r| r.plan.as_ref()).collect::<Vec<_>>() as &[Option<&Value>],
        &runs().map(|r| r.by.name()).collect::<Vec<_>>() as &[&str],
        &runs().map(|r| r.idem_key.as_str()).collect::<Vec<_>>() as &[&str],
        &begins().map(|b| b.state).collect::<Vec<_>>() as &[&str],
        &runs().map(|r| r.owner).collect::<Vec<_>>(),
        &runs().map(|r| r.at).collect::<Vec<_>>(),
        &begins().map(Append::last).collect::<Vec<_>>(),
        &runs().map(|r| brakes::person(&r.by)).collect::<Vec<_>>() as &[Option<&str>],
        &limits,
        &overrides,
        &runs().map(|r| r.reason.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &(0..).take(births.len()).collect::<Vec<i32>>(),
        &locks.iter().map(|(target, ..)| *target).collect::<Vec<_>>() as &[&str],
        &locks.iter().map(|(_, run, _)| *run).collect::<Vec<_>>(),
        &texts.keys().copied().collect::<Vec<_>>() as &[&str],
        &texts.values().map(|r| r.runbook.as_str()).collect::<Vec<_>>() as &[&str],
        &texts.values().map(|r| r.source.as_str()).collect::<Vec<_>>() as &[&str],
        &texts.values().map(|r| r.at).collect::<Vec<_>>(),
        &locks.iter().map(|(.., at)| *at).collect::<Vec<_>>(),
        &rows().map(|(b, _)| b.run_id).collect::<Vec<_>>(),
        &rows().map(|(_, r)| r.seq).collect::<Vec<_>>(),
        &rows().map(|(_, r)| r.at).collect::<Vec<_>>(),
        &rows().map(|(_, r)| r.kind).collect::<Vec<_>>() as &[&str],
        &rows().map(|(_, r)| r.step.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &rows().map(|(_, r)| r.entry.as_str()).collect::<Vec<_>>() as &[&str],
        &rows().map(|(_, r)| &r.link.as_bytes()[..]).collect::<Vec<_>>() as &[&[u8]],
        &rows().map(|(b, _)| b.write_id).collect::<Vec<_>>(),
        runs().map(|r| r.at).min().unwrap_or(Timestamp::MIN_UTC),
    )
    .fetch_all(&mut *connection)
    .await;
    let inserted = match inserted {
        Err(sqlx::Error::Database(e)) if e.constraint() == Some("lock_pkey") && births.len() == 1 => {
            let locks: Vec<String> = locks.into_iter().map(|(target, ..)| target.to_owned()).collect();
            return match holder(connection, &locks).await? {
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
