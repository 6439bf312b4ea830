//! Locks: who holds what, targets that people take by hand, and release by force.
//!
//! A run's own locks are taken and released by `runs::create` and `runs::append`. A lock that was released by force is taken
//! back before its run may move again: no run ever acts on a target that somebody else holds.

use domain::run::Ask;
use domain::{Actor, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::brakes::{json, read};
use crate::{StoreError, audit};

/// A lock and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Held {
    /// Its name.
    pub target: String,
    /// `run`, or `person` (taken by hand).
    pub kind: String,
    /// The run.
    pub run_id: Option<Uuid>,
    /// The run's title.
    pub title: Option<String>,
    /// The run's state, where it was asked for.
    #[serde(default)]
    pub state: Option<String>,
    /// The person: who asked for the run, or who works by hand.
    pub holder: String,
    /// Why, if it was taken by hand.
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// Until when, if it was said.
    pub until: Option<Timestamp>,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, holder, .. } = self;
        match (&self.run_id, &self.title, &self.reason) {
            (Some(id), Some(title), _) => {
                write!(f, "`{target}` is locked by run {id} ({title}, started by {holder})")
            }
            (_, _, Some(reason)) => write!(f, "`{target}` is taken by {holder} by hand: {reason}"),
            _ => write!(f, "`{target}` is held by {holder}"),
        }
    }
}

/// Everything that is held at a moment.
pub async fn all(pool: &PgPool, at: Timestamp) -> Result<Vec<Held>, StoreError> {
    Ok(sqlx::query_as!(
        Held,
        r#"SELECT l.target AS "target!", 'run' AS "kind!", r.id AS "run_id?", r.title AS "title?", r.state AS "state?",
                  r.requested_by AS "holder!", NULL::text AS reason, l.taken_at AS "since!", NULL::timestamptz AS until
             FROM lock l JOIN run r ON r.id = l.run_id
           UNION ALL
           SELECT target, 'person', NULL, NULL, NULL, holder, reason, since, until
             FROM hand_lock WHERE until IS NULL OR until > $1
            ORDER BY 1, 2"#,
        at,
    )
    .fetch_all(pool)
    .await?)
}

/// What runs that have not ended will lock, and do not hold: they wait for an approval, stand in line, or were released by force.
pub async fn wanted(pool: &PgPool) -> Result<Vec<Held>, StoreError> {
    Ok(sqlx::query_as!(
        Held,
        r#"SELECT t.target AS "target!", 'run' AS "kind!", r.id AS "run_id?", r.title AS "title?", r.state AS "state?",
                  r.requested_by AS "holder!", NULL::text AS reason, r.created_at AS "since!", NULL::timestamptz AS until
             FROM run r JOIN journal_line j ON j.run_id = r.id AND j.seq = 1, json_array_elements_text(j.entry->'locks') AS t (target)
            WHERE r.ended_at IS NULL AND NOT EXISTS (SELECT FROM lock l WHERE l.run_id = r.id AND l.target = t.target)
            ORDER BY r.created_at, t.target"#,
    )
    .fetch_all(pool)
    .await?)
}

/// A person takes a target, or holds it longer. Who stands in the way, if somebody does.
pub async fn take(
    pool: &PgPool,
    target: &str,
    person: &str,
    reason: &str,
    at: Timestamp,
    until: Option<Timestamp>,
) -> Result<Option<Held>, StoreError> {
    sqlx::query_scalar!("SELECT take_by_hand($1, $2, $3, $4, $5)", target, person, reason, at, until)
        .fetch_one(pool)
        .await?
        .map(|held| read(Some(held)))
        .transpose()
}

/// Releases a target that was taken by hand, also somebody else's; who held it. `None` when nobody did.
pub async fn release(
    pool: &PgPool,
    target: &str,
    by: &str,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"WITH freed AS (
               DELETE FROM hand_lock WHERE target = $1 AND (holder = $2 OR $3::text IS NOT NULL) RETURNING *
           ), audited AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $4, $2, CASE WHEN f.holder = $2 THEN 'lock given back' ELSE 'lock of another person released' END, $1,
                      jsonb_build_object('holder', f.holder, 'since', f.since, 'was', f.reason, 'reason', $3)
                 FROM freed f
           )
           SELECT holder FROM freed"#,
        target,
        by,
        reason,
        at,
    )
    .fetch_optional(pool)
    .await?)
}

/// What became of a release by force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forced {
    /// The target is free. The run must take it back before it can move again.
    Released,
    /// That run does not hold it.
    NotHeld,
    /// The run moves, or is about to: it must wait for a person first.
    Moving,
}

/// Releases a lock of a run that waits for a person.
pub async fn release_by_force(
    pool: &PgPool,
    target: &str,
    run_id: Uuid,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<Forced, StoreError> {
    let why_not =
        sqlx::query_scalar!("SELECT release_by_force($1, $2, $3, $4, $5)", target, run_id, by, reason, at)
            .fetch_one(pool)
            .await?;
    Ok(match why_not.as_deref() {
        None => Forced::Released,
        Some("not_held") => Forced::NotHeld,
        Some(_) => Forced::Moving,
    })
}

/// Puts a wish that makes a run move into its inbox, once the run holds all its locks (again); and with it, once, what the audit
/// says of it beside the journal: an action with its details. Who stands in the way, if somebody does: then nothing was put.
pub async fn put_holding(
    pool: &PgPool,
    run_id: Uuid,
    id: Uuid,
    by: &Actor,
    ask: &Ask,
    at: Timestamp,
    audited: Option<(&str, Value)>,
) -> Result<Option<Held>, StoreError> {
    let (action, details) = audited.unzip();
    sqlx::query_scalar!(
        r#"WITH kept AS MATERIALIZED (
               SELECT retake($2, $5) AS in_the_way
           ), put AS (
               INSERT INTO inbox (id, run_id, by, ask, at) SELECT $1::uuid, $2, $3::jsonb, $4::jsonb, $5 FROM kept WHERE in_the_way IS NULL
               ON CONFLICT (id) DO NOTHING
               RETURNING run_id
           ), audited AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $5, $6, $7::text, run_id::text, $8::jsonb FROM put WHERE $7::text IS NOT NULL
           )
           SELECT in_the_way FROM kept"#,
        id,
        run_id,
        json(by)?,
        json(ask)?,
        at,
        by.name(),
        action,
        details.map(|details| audit::told(by, details)),
    )
    .fetch_one(pool)
    .await?
    .map(|held| read(Some(held)))
    .transpose()
}
