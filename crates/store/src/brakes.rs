//! Kill switches, freeze windows and limits: what is on, and setting and releasing it, each with its audit row.
//!
//! What a brake does to a start is in the function `admit` of the migrations, which `runs::create` asks inside its statement.
//! Whoever enters a freeze takes the key `brakes_key()` alone, which every start shares: so it waits for the starts before it, and
//! every start after it sees it. The kill switch waits for nobody: a start that slips through beside it is stopped at its next
//! change, by the statement that commits intents and by the send gate.

use domain::brake::calendar::Event;
use domain::brake::{Brake, Freeze, KillSwitch, Limit};
use domain::run::Despite;
use domain::{Actor, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, PgPool};
use uuid::Uuid;

use crate::StoreError;

/// Everything that would speak against a start now, for a plan.
pub async fn against(
    pool: &PgPool,
    runbook: &str,
    by: &Actor,
    locks: &[String],
    limits: &[Limit],
    at: Timestamp,
) -> Result<Vec<Brake>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"SELECT b AS "b!" FROM brakes($1, $2, $3, $4, $5) AS b"#,
        runbook,
        person(by),
        locks,
        json(limits)?,
        at,
    )
    .fetch_all(pool)
    .await?;
    found.into_iter().map(|brake| read(Some(brake))).collect()
}

/// The freezes and limits that hold back a run which has waited and may go now; none when it may begin, and then it counts towards
/// its limits from now on. What is there when this is asked holds; what comes later meets a run under way.
pub async fn at_the_gate(
    pool: &PgPool,
    run_id: Uuid,
    runbook: &str,
    limits: &[Limit],
    despite: &Despite,
    at: Timestamp,
) -> Result<Vec<Brake>, StoreError> {
    let held = sqlx::query_scalar!(
        r#"SELECT brakes_at_gate($1, $2, $3, $4, $5, $6) AS "held!""#,
        run_id,
        runbook,
        json(limits)?,
        despite.freezes,
        &despite.limits,
        at,
    )
    .fetch_one(pool)
    .await?;
    read(Some(held))
}

/// Switches, as they are told now.
pub async fn switches(pool: &PgPool) -> Result<Vec<KillSwitch>, StoreError> {
    Ok(sqlx::query_as!(KillSwitch, "SELECT scope, by, reason, since FROM kill_switch ORDER BY scope")
        .fetch_all(pool)
        .await?)
}

/// Has there ever been a run of this runbook, by itself or within another's?
pub async fn has_run(pool: &PgPool, runbook: &str) -> Result<bool, StoreError> {
    let seen = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM runbook_text WHERE name = $1) AS "seen!""#,
        runbook
    );
    Ok(seen.fetch_one(pool).await?)
}

/// A connection that only looks at the switches: no crowd in the pool can make it late.
#[derive(Debug)]
pub struct SwitchReader(PgConnection);

impl SwitchReader {
    /// Connects.
    pub async fn connect(pool: &PgPool) -> Result<Self, StoreError> {
        Ok(Self(PgConnection::connect_with(&pool.connect_options()).await?))
    }

    /// The switches that are on.
    pub async fn read(&mut self) -> Result<Vec<KillSwitch>, StoreError> {
        Ok(sqlx::query_as!(KillSwitch, "SELECT scope, by, reason, since FROM kill_switch ORDER BY scope")
            .fetch_all(&mut self.0)
            .await?)
    }
}

/// Switches on; `false` when it was on already, and stays as it was. Either way the wish is audited.
pub async fn switch_on(pool: &PgPool, switch: &KillSwitch) -> Result<bool, StoreError> {
    let on = sqlx::query_scalar!(
        r#"WITH switched AS (
               INSERT INTO kill_switch (scope, by, reason, since) VALUES ($1, $2, $3, $4)
               ON CONFLICT (scope) DO NOTHING RETURNING scope
           ), audited AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $4, $2, 'kill switch on', $1, jsonb_build_object('reason', $3, 'was_on', NOT EXISTS (SELECT FROM switched))
           )
           SELECT EXISTS (SELECT FROM switched) AS "on!""#,
        switch.scope,
        switch.by,
        switch.reason,
        switch.since,
    )
    .fetch_one(pool)
    .await?;
    Ok(on)
}

/// Releases a switch; `false` when it was not on.
pub async fn switch_off(
    pool: &PgPool,
    scope: &str,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let off = sqlx::query_scalar!(
        r#"WITH released AS (
               DELETE FROM kill_switch WHERE scope = $1 RETURNING by, reason, since
           ), audited AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $4, $2, 'kill switch off', $1,
                      jsonb_build_object('reason', $3::text, 'set_by', r.by, 'set_because', r.reason, 'set_at', r.since)
                 FROM released r
           )
           SELECT EXISTS (SELECT FROM released) AS "off!""#,
        scope,
        by,
        reason,
        at,
    )
    .fetch_one(pool)
    .await?;
    Ok(off)
}

/// Freezes that are not over.
pub async fn freezes(pool: &PgPool, at: Timestamp, limit: i64) -> Result<Vec<Freeze>, StoreError> {
    Ok(sqlx::query_as!(
        Freeze,
        "SELECT id, scope, starts, ends, reason, by, uid FROM freeze_window WHERE ends > $1 ORDER BY starts, ends, id LIMIT $2",
        at,
        limit,
    )
    .fetch_all(pool)
    .await?)
}

/// Enters a freeze. The same id is entered once.
pub async fn add_freeze(pool: &PgPool, freeze: &Freeze, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH alone AS MATERIALIZED (
               SELECT pg_advisory_xact_lock(brakes_key())
           ), entered AS (
               INSERT INTO freeze_window (id, scope, starts, ends, reason, by, at)
               SELECT $1::uuid, $2::text, $3::timestamptz, $4::timestamptz, $5::text, $6::text, $7::timestamptz FROM alone
               ON CONFLICT (id) DO NOTHING RETURNING *
           )
           INSERT INTO audit (at, actor, action, target, details)
           SELECT e.at, e.by, 'freeze entered', e.scope,
                  jsonb_build_object('id', e.id, 'starts', e.starts, 'ends', e.ends, 'reason', e.reason)
             FROM entered e"#,
        freeze.id,
        freeze.scope,
        freeze.starts,
        freeze.ends,
        freeze.reason,
        freeze.by,
        at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Lifts a freeze; `false` when there was none (any more).
pub async fn lift_freeze(
    pool: &PgPool,
    id: Uuid,
    by: &str,
    reason: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let lifted = sqlx::query_scalar!(
        r#"WITH lifted AS (
               DELETE FROM freeze_window WHERE id = $1 RETURNING *
           ), audited AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $4, $2, 'freeze lifted', l.scope,
                      jsonb_build_object('id', l.id, 'starts', l.starts, 'ends', l.ends, 'was', l.reason, 'entered_by', l.by,
                                         'reason', $3::text)
                 FROM lifted l
           )
           SELECT EXISTS (SELECT FROM lifted) AS "lifted!""#,
        id,
        by,
        reason,
        at,
    )
    .fetch_one(pool)
    .await?;
    Ok(lifted)
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Imported {
    /// Events in the calendar.
    pub events: usize,
    /// Windows that now stand for them.
    pub windows: usize,
    /// Windows that stood for them before.
    pub replaced: i64,
}

/// Imports a calendar, whole or not at all. Events are known by their UID and what they are imported for: importing again replaces
/// what stood for them, and takes back what was cancelled. What is not in the calendar stays, and what the same calendar froze of
/// another scope: no import lifts a freeze that it does not name.
///
/// One import at a time, by a lock of its own that is taken before: a statement sees what was there when it began, and one that
/// waited inside of itself would not see, nor replace, what the import before it has entered.
pub async fn import_freezes(
    pool: &PgPool,
    events: &[Event],
    scope: &str,
    by: &str,
    at: Timestamp,
) -> Result<Imported, StoreError> {
    let uids: Vec<String> = events.iter().map(|e| e.uid.clone()).collect();
    let windows: Vec<_> = events.iter().flat_map(|e| e.windows.iter().map(|w| (&e.uid, w))).collect();
    let ids: Vec<Uuid> = windows.iter().map(|_| Uuid::now_v7()).collect();
    let of: Vec<String> = windows.iter().map(|(uid, _)| (*uid).clone()).collect();
    let starts: Vec<Timestamp> = windows.iter().map(|(_, w)| w.starts).collect();
    let ends: Vec<Timestamp> = windows.iter().map(|(_, w)| w.ends).collect();
    let reasons: Vec<String> = windows.iter().map(|(_, w)| w.reason.clone()).collect();
    let mut import = pool.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('freezes imported', 0))")
        .fetch_one(&mut *import)
        .await?;
    let replaced = sqlx::query_scalar!(
        r#"WITH alone AS MATERIALIZED (
               SELECT pg_advisory_xact_lock(brakes_key())
           ), removed AS (
               DELETE FROM freeze_window USING alone WHERE uid = ANY ($1) AND scope = $7 AND ends > $9 RETURNING id
           ), entered AS (
               INSERT INTO freeze_window (id, scope, starts, ends, reason, by, at, uid)
               SELECT w.id, $7::text, w.starts, w.ends, w.reason, $8::text, $9, w.uid
                 FROM alone, unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[]) AS w(id, uid, starts, ends, reason)
           ), audited AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $9, $8, 'freezes imported', $7,
                      jsonb_build_object('events', $1, 'windows', cardinality($2::uuid[]), 'replaced', (SELECT count(*) FROM removed))
           )
           SELECT count(*) AS "replaced!" FROM removed"#,
        &uids,
        &ids,
        &of,
        &starts,
        &ends,
        &reasons,
        scope,
        by,
        at,
    )
    .fetch_one(&mut *import)
    .await?;
    import.commit().await?;
    Ok(Imported { events: events.len(), windows: windows.len(), replaced })
}

/// The name of a person; `None` for what acts by itself, whom no freeze lets pass and no hand lock belongs to.
pub(crate) fn person(by: &Actor) -> Option<&str> {
    match by {
        Actor::Person { name, .. } => Some(name),
        Actor::System { .. } => None,
    }
}

pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> Result<Value, StoreError> {
    serde_json::to_value(value).map_err(|e| StoreError::corrupt("parameter", "a start", e))
}

/// What a function of ours in the database answered.
pub(crate) fn read<T: DeserializeOwned>(answer: Option<Value>) -> Result<T, StoreError> {
    serde_json::from_value(answer.unwrap_or_default())
        .map_err(|e| StoreError::corrupt("answer", "a brake", e))
}
