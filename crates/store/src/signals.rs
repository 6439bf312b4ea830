//! Signals as they come in, and as people see them.
//!
//! What is said again counts up on one row. What was over and is said again is a new row, unless its source says that it began
//! at the same time: then an old delivery has come late, and opens nothing.

use domain::Timestamp;
use domain::signal::{EVENTS, PROBER, Signal, SignalState};
use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::StoreError;

/// A signal that has come in.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// What it says.
    pub signal: &'a Signal,
    /// The source's id for this delivery, where it has one: the same id again changes nothing.
    pub delivery: Option<&'a str>,
    /// As it was received.
    pub body: Option<&'a str>,
    /// When (clock time).
    pub at: Timestamp,
}

/// Stores it. The row that it is told by; `None` when it was delivered before.
pub async fn receive(pool: &PgPool, received: Received<'_>) -> Result<Option<Uuid>, StoreError> {
    write(&mut *pool.acquire().await?, received).await
}

/// Stores many by one commit, all or none: what each came to, as by itself.
pub async fn receive_all(pool: &PgPool, received: &[Received<'_>]) -> Result<Vec<Option<Uuid>>, StoreError> {
    let mut order: Vec<usize> = (0..received.len()).collect();
    // In one order everywhere, so that two who write at the same time never wait for each other; what is about the same stays
    // in the order in which it came.
    order.sort_by_key(|&n| (&received[n].signal.source, &received[n].signal.fingerprint));
    let mut rows = vec![None; received.len()];
    let mut together = pool.begin().await?;
    for n in order {
        rows[n] = write(&mut together, received[n]).await?;
    }
    together.commit().await?;
    Ok(rows)
}

async fn write(connection: &mut PgConnection, received: Received<'_>) -> Result<Option<Uuid>, StoreError> {
    match received.signal.state {
        SignalState::Firing => firing(connection, received).await,
        SignalState::Resolved | SignalState::Unclear => other(connection, received).await,
    }
}

async fn firing(connection: &mut PgConnection, received: Received<'_>) -> Result<Option<Uuid>, StoreError> {
    let Received { signal, delivery, body, at } = received;
    let labels = serde_json::to_value(&signal.labels).unwrap_or_default();
    let id = sqlx::query_scalar!(
        r#"WITH delivered AS (
               INSERT INTO delivery (source, id, at) SELECT $2::text, $11::text, $9::timestamptz WHERE $11::text IS NOT NULL
               ON CONFLICT DO NOTHING RETURNING id
           ), new AS MATERIALIZED (
               SELECT $11::text IS NULL OR EXISTS (SELECT FROM delivered) AS new
           ), late AS (
               UPDATE signal s SET count = s.count + 1 FROM new
                WHERE new.new AND s.id = (SELECT b.id FROM signal b
                                            WHERE b.source = $2 AND b.fingerprint = $4 AND b.state = 'resolved' AND b.started_at = $8
                                            ORDER BY b.first_seen DESC LIMIT 1)
                  AND NOT EXISTS (SELECT FROM signal f WHERE f.source = $2 AND f.fingerprint = $4 AND f.state = 'firing')
               RETURNING s.id
           ), put AS (
               INSERT INTO signal AS s (id, source, kind, fingerprint, state, severity, summary, labels, started_at, first_seen, last_seen, body, look_at)
               SELECT $1, $2, $3, $4, 'firing', $5, $6, $7, $8, $9, $9, $10, $9 FROM new WHERE new.new AND NOT EXISTS (SELECT FROM late)
               ON CONFLICT (source, fingerprint) WHERE state = 'firing' DO UPDATE
                  SET count = s.count + 1, last_seen = greatest(s.last_seen, excluded.last_seen), body = excluded.body,
                      summary = excluded.summary, severity = excluded.severity, kind = excluded.kind,
                      change = s.change + (s.labels <> excluded.labels OR s.kind <> excluded.kind)::int,
                      look_at = CASE WHEN s.labels <> excluded.labels OR s.kind <> excluded.kind THEN excluded.look_at ELSE s.look_at END,
                      labels = excluded.labels
               RETURNING s.id
           )
           SELECT id AS "id!" FROM late UNION ALL SELECT id FROM put"#,
        Uuid::now_v7(),
        signal.source,
        signal.kind,
        signal.fingerprint,
        signal.severity,
        signal.summary,
        labels,
        signal.started_at,
        at,
        body,
        delivery,
    )
    .fetch_optional(connection)
    .await?;
    Ok(id)
}

/// What is over ends what fires; what is over and was never said, or is not understood, is a row of its own.
async fn other(connection: &mut PgConnection, received: Received<'_>) -> Result<Option<Uuid>, StoreError> {
    let Received { signal, delivery, body, at } = received;
    let labels = serde_json::to_value(&signal.labels).unwrap_or_default();
    let id = sqlx::query_scalar!(
        r#"WITH delivered AS (
               INSERT INTO delivery (source, id, at) SELECT $2::text, $11::text, $9::timestamptz WHERE $11::text IS NOT NULL
               ON CONFLICT DO NOTHING RETURNING id
           ), new AS MATERIALIZED (
               SELECT $11::text IS NULL OR EXISTS (SELECT FROM delivered) AS new
           ), known AS MATERIALIZED (
               SELECT s.id, s.state FROM signal s
                WHERE s.source = $2 AND s.fingerprint = $4 AND (s.state = 'firing' OR s.state = $12 AND s.started_at IS NOT DISTINCT FROM $8)
                ORDER BY s.state = 'firing' DESC, s.first_seen DESC LIMIT 1
           ), told AS (
               UPDATE signal s SET count = s.count + 1, last_seen = greatest(s.last_seen, $9), body = $10,
                      state = $12, change = s.change + (k.state = 'firing')::int,
                      resolved_at = CASE WHEN k.state = 'firing' THEN $9 ELSE s.resolved_at END,
                      -- What was done about it stays said; without a verdict it gets its own.
                      look_at = CASE WHEN s.verdict IS NULL THEN $9 END
                 FROM new, known k WHERE new.new AND s.id = k.id AND ($12 = 'resolved' OR k.state = $12)
               RETURNING s.id
           ), put AS (
               INSERT INTO signal (id, source, kind, fingerprint, state, severity, summary, labels, started_at, first_seen, last_seen,
                                   resolved_at, body, look_at)
               SELECT $1, $2, $3, $4, $12, $5, $6, $7, $8, $9, $9, CASE WHEN $12 = 'resolved' THEN $9::timestamptz END, $10, $9
                 FROM new WHERE new.new AND NOT EXISTS (SELECT FROM told)
               RETURNING id
           )
           SELECT id AS "id!" FROM told UNION ALL SELECT id FROM put"#,
        Uuid::now_v7(),
        signal.source,
        signal.kind,
        signal.fingerprint,
        signal.severity,
        signal.summary,
        labels,
        signal.started_at,
        at,
        body,
        delivery,
        signal.state.word(),
    )
    .fetch_optional(connection)
    .await?;
    Ok(id)
}

/// The prober's signals of a fleet that no process has seen since a moment are over. Asked by whoever can see the fleet.
pub async fn prober_is_calm(
    pool: &PgPool,
    fleet: &str,
    since: Timestamp,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let ended = sqlx::query!(
        r#"UPDATE signal SET state = 'resolved', resolved_at = $4, change = change + 1,
                  look_at = CASE WHEN verdict IS NULL THEN $4::timestamptz END
            WHERE source = $1 AND state = 'firing' AND labels->>'fleet' = $2 AND last_seen < $3"#,
        PROBER,
        fleet,
        since,
        at,
    )
    .execute(pool)
    .await?;
    Ok(ended.rows_affected())
}

/// Events of AWS that were not said again since a moment are over. Whoever writes one of them just now is not waited for.
pub async fn events_are_over(pool: &PgPool, since: Timestamp, at: Timestamp) -> Result<u64, StoreError> {
    let kinds = EVENTS.map(str::to_owned);
    let ended = sqlx::query!(
        r#"UPDATE signal SET state = 'resolved', resolved_at = $3, change = change + 1,
                  look_at = CASE WHEN verdict IS NULL THEN $3::timestamptz END
            WHERE id IN (SELECT id FROM signal
                          WHERE state = 'firing' AND source IN ('sns', 'eventbridge') AND kind = ANY ($1) AND last_seen < $2
                            FOR UPDATE SKIP LOCKED)"#,
        &kinds[..],
        since,
        at,
    )
    .execute(pool)
    .await?;
    Ok(ended.rows_affected())
}

/// A signal with the verdict that is in force, as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct SignalRow {
    /// Its id.
    pub id: Uuid,
    /// Who says so.
    pub source: String,
    /// What is wrong.
    pub kind: String,
    /// `firing`, `resolved`, `unclear`.
    pub state: String,
    /// In the source's own word.
    pub severity: Option<String>,
    /// In a sentence.
    pub summary: String,
    /// What it is about.
    pub labels: Value,
    /// Since when, by its source's clock.
    pub started_at: Option<Timestamp>,
    /// When it was first said (clock time).
    pub first_seen: Timestamp,
    /// When it was last said.
    pub last_seen: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// How often it was said.
    pub count: i64,
    /// The incident that it belongs to.
    pub incident: Option<Uuid>,
    /// The number of the verdict in force; none before triage has looked.
    pub verdict_id: Option<i64>,
    /// Its word.
    pub verdict: Option<String>,
    /// Why, in a word.
    pub code: Option<String>,
    /// Why, in a sentence.
    pub because: Option<String>,
    /// The rule that it is about.
    pub rule: Option<String>,
    /// When it was given.
    pub decided_at: Option<Timestamp>,
    /// The runbook that it offers or started.
    pub runbook: Option<String>,
    /// Its inputs.
    pub inputs: Option<Value>,
    /// The run: the one that was started for it, or that it joined.
    pub run_id: Option<Uuid>,
    /// What that run does to what.
    pub run_title: Option<String>,
    /// How that run stands.
    pub run_state: Option<String>,
}

/// Which signals a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct SignalFilter {
    /// Only those that fire.
    pub firing: bool,
    /// Only those first said before this one (a cursor).
    pub before: Option<(Timestamp, Uuid)>,
}

/// Signals, the newest first.
pub async fn list(pool: &PgPool, filter: SignalFilter, limit: i64) -> Result<Vec<SignalRow>, StoreError> {
    let (before, id) = filter.before.unzip();
    Ok(sqlx::query_as!(
        SignalRow,
        r#"SELECT s.id, s.source, s.kind, s.state, s.severity, s.summary, s.labels, s.started_at, s.first_seen, s.last_seen,
                  s.resolved_at, s.count, s.incident, v.id AS "verdict_id?", v.verdict AS "verdict?", v.code AS "code?",
                  v.because AS "because?", v.rule, v.at AS "decided_at?", v.runbook, v.inputs,
                  r.id AS "run_id?", r.title AS "run_title?", r.state AS "run_state?"
             FROM signal s LEFT JOIN verdict v ON v.id = s.verdict
             LEFT JOIN run r ON r.id = coalesce(v.run_id, (SELECT k.id FROM run k WHERE k.idem_key = v.start_key))
            WHERE (NOT $1 OR s.state = 'firing') AND ($2::timestamptz IS NULL OR (s.first_seen, s.id) < ($2, $3))
            ORDER BY s.first_seen DESC, s.id DESC LIMIT $4"#,
        filter.firing,
        before,
        id,
        limit,
    )
    .fetch_all(pool)
    .await?)
}

/// One of them.
pub async fn one(pool: &PgPool, id: Uuid) -> Result<Option<SignalRow>, StoreError> {
    Ok(sqlx::query_as!(
        SignalRow,
        r#"SELECT s.id, s.source, s.kind, s.state, s.severity, s.summary, s.labels, s.started_at, s.first_seen, s.last_seen,
                  s.resolved_at, s.count, s.incident, v.id AS "verdict_id?", v.verdict AS "verdict?", v.code AS "code?",
                  v.because AS "because?", v.rule, v.at AS "decided_at?", v.runbook, v.inputs,
                  r.id AS "run_id?", r.title AS "run_title?", r.state AS "run_state?"
             FROM signal s LEFT JOIN verdict v ON v.id = s.verdict
             LEFT JOIN run r ON r.id = coalesce(v.run_id, (SELECT k.id FROM run k WHERE k.idem_key = v.start_key))
            WHERE s.id = $1"#,
        id,
    )
    .fetch_optional(pool)
    .await?)
}

/// A signal as it was received last; nothing for the prober's own.
pub async fn body(pool: &PgPool, id: Uuid) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT body FROM signal WHERE id = $1", id).fetch_optional(pool).await?.flatten())
}
