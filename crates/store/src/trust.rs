//! How far triggers may go: modes that were set, demotions, and the past that the scoreboard and the backtest tell of.

use domain::runbook::Mode;
use domain::signal::{Signal, SignalState};
use domain::trust::backtest::Past;
use domain::trust::score::{Done, Occasion};
use domain::trust::{DEMOTING, ModeSet};
use domain::{Actor, Timestamp};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// Modes that were set.
#[derive(Debug, Clone, Default)]
pub struct Modes {
    /// The newest of each rule.
    pub set: Vec<(String, ModeSet)>,
    /// The newest of all: a later one makes what was read here old.
    pub seen: i64,
}

/// What is set. A failure after a person has said `shadow` is no way up from there.
pub async fn modes(pool: &PgPool) -> Result<Modes, StoreError> {
    let rows = sqlx::query!(
        "SELECT DISTINCT ON (rule) id, rule, by, reason, at, run_id,
                CASE WHEN run_id IS NOT NULL AND 'shadow' = (SELECT p.mode FROM trigger_mode p WHERE p.rule = m.rule AND p.run_id IS NULL
                                                              ORDER BY p.id DESC LIMIT 1)
                     THEN 'shadow' ELSE mode END AS mode
           FROM trigger_mode m ORDER BY rule, id DESC"
    )
    .fetch_all(pool)
    .await?;
    let mut modes = Modes::default();
    for row in rows {
        modes.seen = modes.seen.max(row.id);
        let mode = read(row.id, row.mode)?;
        modes.set.push((
            row.rule,
            ModeSet { mode, by: row.by, reason: row.reason, at: row.at, run_id: row.run_id },
        ));
    }
    Ok(modes)
}

fn read(id: i64, word: Option<String>) -> Result<Option<Mode>, StoreError> {
    word.map(|word| word.parse().map_err(|e: String| StoreError::corrupt("mode", id, e))).transpose()
}

/// Sets a mode, and writes that down. From then on no verdict is stored that rests on the one before.
pub async fn set(
    pool: &PgPool,
    rule: &str,
    mode: Option<Mode>,
    by: &Actor,
    reason: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH put AS (
               INSERT INTO trigger_mode (rule, mode, by, reason, at) VALUES ($1, $2, $3, $4, $5) RETURNING id
           )
           INSERT INTO audit (at, actor, action, target, details) SELECT $5, $3, 'trigger mode set', $1, $6 FROM put"#,
        rule,
        mode.map(Mode::word),
        by.name(),
        reason,
        at,
        json!({ "mode": mode, "reason": reason }),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A trigger that was moved down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demoted {
    /// Which.
    pub rule: String,
    /// By which run.
    pub run_id: Uuid,
    /// What that did to what.
    pub title: String,
    /// How it ended.
    pub outcome: String,
}

/// Moves down the triggers whose own runs have ended badly since `since`, each run once, and writes that down. What a person has set
/// after such an end holds, and so does `shadow`, whenever they have set it: there is nothing below.
pub async fn demote(
    pool: &PgPool,
    by: &Actor,
    since: Timestamp,
    at: Timestamp,
) -> Result<Vec<Demoted>, StoreError> {
    let outcomes: Vec<String> = DEMOTING.iter().map(|word| (*word).to_owned()).collect();
    Ok(sqlx::query_as!(
        Demoted,
        r#"WITH bad AS MATERIALIZED (
               SELECT DISTINCT ON (r.id) v.rule, r.id AS run_id, r.title, r.outcome
                 FROM verdict v JOIN run r ON r.idem_key = v.start_key
                WHERE v.verdict = 'started' AND v.at > $1 AND r.outcome = ANY ($2) AND r.requested_by = 'trigger ' || v.rule
                  AND NOT EXISTS (SELECT FROM trigger_mode m WHERE m.run_id = r.id)
                  AND NOT EXISTS (SELECT FROM trigger_mode m WHERE m.rule = v.rule AND m.at >= r.ended_at)
                  AND (SELECT m.mode FROM trigger_mode m WHERE m.rule = v.rule ORDER BY m.id DESC LIMIT 1) IS DISTINCT FROM 'shadow'
           ), put AS (
               INSERT INTO trigger_mode (rule, mode, by, reason, at, run_id)
               SELECT rule, 'ask', $3, format('“%s” ended as %s', title, replace(outcome, '_', ' ')), $4, run_id FROM bad
               ON CONFLICT (run_id) DO NOTHING RETURNING rule, run_id, reason
           ), written AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $4, $3, 'trigger demoted', rule, jsonb_build_object('mode', 'ask', 'run', run_id, 'reason', reason) FROM put
           )
           SELECT b.rule AS "rule!", b.run_id, b.title, b.outcome AS "outcome!" FROM bad b JOIN put p USING (run_id)"#,
        since,
        &outcomes,
        by.name(),
        at,
    )
    .fetch_all(pool)
    .await?)
}

/// A trigger that was moved down, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demotion {
    /// Which.
    pub rule: String,
    /// By which run.
    pub run_id: Uuid,
    /// Why.
    pub reason: String,
}

/// Those since a moment.
pub async fn demotions(pool: &PgPool, since: Timestamp) -> Result<Vec<Demotion>, StoreError> {
    Ok(sqlx::query_as!(
        Demotion,
        r#"SELECT rule, run_id AS "run_id!", reason FROM trigger_mode WHERE run_id IS NOT NULL AND at >= $1 ORDER BY id LIMIT 100"#,
        since,
    )
    .fetch_all(pool)
    .await?)
}

/// The occasions on which triggers had something to do, the newest first, each with the run that came of it, or else the first that
/// somebody asked for on the same targets within the incident.
pub async fn occasions(pool: &PgPool, since: Timestamp, limit: i64) -> Result<Vec<Occasion>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH first AS (
               SELECT DISTINCT ON (v.start_key) v.start_key, v.rule, v.runbook, v.targets, v.at, i.closed_at, i.id IS NOT NULL AND i.closed_at IS NULL AS open
                 FROM verdict v LEFT JOIN incident i ON i.id = v.incident
                WHERE v.start_key IS NOT NULL AND v.at > $1 ORDER BY v.start_key, v.id
           ), newest AS (SELECT * FROM first ORDER BY at DESC LIMIT $2)
           SELECT o.rule AS "rule!", o.runbook AS "runbook!", o.targets AS "targets!", o.at, o.open AS "open!", r.id AS "run_id?", r.runbook AS "did?",
                  r.requested_by AS "by?", r.created_at AS "asked_at?", r.outcome, r.own AS "own?"
             FROM newest o LEFT JOIN LATERAL (
                 SELECT r.id, r.runbook, r.requested_by, r.created_at, r.outcome, r.own FROM (
                     SELECT k.id, k.runbook, k.requested_by, k.created_at, k.outcome, true AS own FROM run k WHERE k.idem_key = o.start_key
                     UNION ALL
                     SELECT k.id, k.runbook, k.requested_by, k.created_at, k.outcome, false
                       FROM run_listed l JOIN run k ON k.id = l.id JOIN journal_line j ON j.run_id = k.id AND j.seq = 1
                      WHERE l.created_at > o.at - interval '1 hour' AND l.created_at < coalesce(o.closed_at, o.at + interval '2 hours')
                        AND (j.entry->'locks')::jsonb ?| o.targets AND k.requested_by NOT LIKE 'trigger %' AND k.idem_key <> o.start_key
                 ) r ORDER BY r.own DESC, (r.runbook = o.runbook) DESC, r.created_at LIMIT 1
             ) r ON true
            ORDER BY o.at DESC"#,
        since,
        limit,
    )
    .fetch_all(pool)
    .await?;
    let occasions = rows.into_iter().map(|row| {
        let by_person = row.by.as_deref().is_some_and(|by| !by.starts_with("trigger "));
        let run = match (row.run_id, row.did, row.by, row.asked_at, row.own) {
            (Some(id), Some(runbook), Some(by), Some(at), Some(own)) => {
                Some(Done { id, runbook, by, at, outcome: row.outcome, own, by_person })
            }
            _ => None,
        };
        Occasion {
            rule: row.rule,
            runbook: row.runbook,
            at: row.at,
            targets: row.targets,
            open: row.open,
            run,
        }
    });
    Ok(occasions.collect())
}

/// The signals of the past, the oldest first, each with the verdict that says most of what became of it.
pub fn past(
    pool: &PgPool,
    since: Timestamp,
    until: Timestamp,
) -> impl Stream<Item = Result<Past, StoreError>> + '_ {
    let rows = sqlx::query!(
        r#"SELECT s.id, s.source, s.kind, s.fingerprint, s.state, s.severity, s.summary, s.labels, s.started_at, s.first_seen, s.incident,
                  v.verdict AS "verdict?", v.rule, v.code AS "code?", v.targets, v.considered AS "considered?", v.at AS "at?"
             FROM signal s LEFT JOIN LATERAL (
                 SELECT v.* FROM verdict v WHERE v.signal = s.id
                  ORDER BY array_position('{started,asked,suggested,joined,suppressed,ignored}'::text[], v.verdict), v.id LIMIT 1
             ) v ON true
            WHERE s.first_seen >= $1 AND s.first_seen < $2 ORDER BY s.first_seen, s.id"#,
        since,
        until,
    )
    .fetch(pool);
    rows.map(|row| {
        let row = row?;
        let corrupt = |e: String| StoreError::corrupt("signal", row.id, e);
        let labels = serde_json::from_value(row.labels).map_err(|e| corrupt(e.to_string()))?;
        // Of what fired once it is asked what was done while it did.
        let state = match row.state.parse().map_err(corrupt)? {
            SignalState::Resolved if row.code.as_deref() != Some("resolved") => SignalState::Firing,
            state => state,
        };
        Ok(Past {
            id: row.id,
            at: row.at.unwrap_or(row.first_seen),
            signal: Signal {
                source: row.source,
                kind: row.kind,
                fingerprint: row.fingerprint,
                state,
                severity: row.severity,
                summary: row.summary,
                labels,
                started_at: row.started_at,
            },
            verdict: row.verdict,
            rule: row.rule,
            incident: row.incident,
            targets: row.targets.unwrap_or_default(),
            considered: row.considered.unwrap_or(Value::Null),
        })
    })
}

/// A person's word on a signal: its verdict from now on, until it changes. `false` when it is not firing (any more).
pub async fn dismiss(
    pool: &PgPool,
    signal: Uuid,
    by: &Actor,
    reason: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"WITH seen AS MATERIALIZED (SELECT id, incident FROM signal WHERE id = $1 AND state IN ('firing', 'unclear') FOR UPDATE),
           put AS (
               INSERT INTO verdict (signal, at, verdict, code, because, considered, incident, targets)
               SELECT id, $4, 'ignored', 'dismissed', format('%s says: %s', $2::text, $3::text), '[]', incident, '{}' FROM seen RETURNING id
           ), told AS (
               UPDATE signal SET verdict = put.id, look_at = NULL, claim = NULL, claimed_by = NULL FROM put WHERE signal.id = $1 RETURNING signal.id
           )
           INSERT INTO audit (at, actor, action, target, details)
           SELECT $4, $2, 'signal dismissed', coalesce('incident:' || seen.incident, seen.id::text),
                  jsonb_build_object('signal', seen.id, 'reason', $3::text)
             FROM seen, told"#,
        signal,
        by.name(),
        reason,
        at,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Has a signal judged anew, also when a person has dismissed it. `false` when it is not firing (any more).
pub async fn judge_anew(
    pool: &PgPool,
    signal: Uuid,
    by: &Actor,
    reason: &str,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"WITH due AS (
               UPDATE signal SET look_at = $4, claim = NULL, claimed_by = NULL WHERE id = $1 AND state = 'firing' RETURNING id, incident
           )
           INSERT INTO audit (at, actor, action, target, details)
           SELECT $4, $2, 'signal to be judged anew', coalesce('incident:' || incident, id::text),
                  jsonb_build_object('signal', id, 'reason', $3::text)
             FROM due"#,
        signal,
        by.name(),
        reason,
        at,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}
