//! What is written when signals come in: all that came together, or nothing of it.

use std::collections::HashMap;

use domain::Timestamp;
use domain::signal::{DATED, ONCE, REOPENED, Signal, SignalState};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::turns::{Said, take_turn, waves};
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
    Ok(receive_all(pool, &[received]).await?.into_iter().next().flatten())
}

/// Stores many by one commit, all or none: what each comes to is what it would by itself, one after the other.
///
/// All that fires and is not about the same is written by one statement; what is said again in the same words counts as often
/// as it was said; what else is about the same waits for the statement after.
///
/// Nobody waits for anybody in a circle (see [`take_turn`]). Should it come to one all the same, Postgres takes one of the two back,
/// whole, and it is done again.
pub async fn receive_all(pool: &PgPool, received: &[Received<'_>]) -> Result<Vec<Option<Uuid>>, StoreError> {
    let waves = waves(received);
    let mut again = 0..TIMES_AGAIN;
    loop {
        match receive_waves(pool, &waves, received.len()).await {
            Err(e) if e.is_deadlock() && again.next().is_some() => {}
            answer => return answer,
        }
    }
}

/// So often is done again what Postgres has taken back, before it is told.
const TIMES_AGAIN: u32 = 3;

async fn receive_waves(
    pool: &PgPool,
    waves: &[Vec<Said<'_>>],
    received: usize,
) -> Result<Vec<Option<Uuid>>, StoreError> {
    let mut rows = vec![None; received];
    let mut together = pool.begin().await?;
    take_turn(&mut together, waves).await?;
    for wave in waves {
        let (firing, others): (Vec<&Said<'_>>, Vec<&Said<'_>>) =
            wave.iter().partition(|said| said.last.signal.state == SignalState::Firing);
        let put = fire(&mut together, &firing).await?;
        for (said, row) in firing.iter().zip(put) {
            said.places.iter().for_each(|&place| rows[place] = row);
        }
        for said in others {
            let row = other(&mut together, said.last).await?;
            said.places.iter().for_each(|&place| rows[place] = row);
        }
    }
    together.commit().await?;
    Ok(rows)
}

/// What fires, no two about the same. The row of each.
async fn fire(connection: &mut PgConnection, all: &[&Said<'_>]) -> Result<Vec<Option<Uuid>>, StoreError> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = all.iter().map(|_| Uuid::now_v7()).collect();
    let signals: Vec<&Signal> = all.iter().map(|said| said.last.signal).collect();
    let texts = |of: fn(&Signal) -> &String| signals.iter().map(|s| of(s).clone()).collect::<Vec<String>>();
    let severities: Vec<Option<String>> = signals.iter().map(|s| s.severity.clone()).collect();
    let labels: Vec<Value> =
        signals.iter().map(|s| serde_json::to_value(&s.labels).unwrap_or_default()).collect();
    let started: Vec<Option<Timestamp>> = signals.iter().map(|s| s.started_at).collect();
    let at: Vec<Timestamp> = all.iter().map(|said| said.last.at).collect();
    let bodies: Vec<Option<String>> = all.iter().map(|said| said.last.body.map(str::to_owned)).collect();
    let deliveries: Vec<Option<String>> =
        all.iter().map(|said| said.last.delivery.map(str::to_owned)).collect();
    let times: Vec<i64> =
        all.iter().map(|said| i64::try_from(said.places.len()).unwrap_or(i64::MAX)).collect();
    let put = sqlx::query!(
        r#"WITH given AS MATERIALIZED (
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[], $8::timestamptz[],
                                    $9::timestamptz[], $10::text[], $11::text[], $12::bigint[]) WITH ORDINALITY
                          AS g (id, source, kind, fingerprint, severity, summary, labels, started_at, at, body, delivery, times, turn)
           ), delivered AS (
               INSERT INTO delivery (source, id, at) SELECT g.source, g.delivery, g.at FROM given g WHERE g.delivery IS NOT NULL
               ON CONFLICT DO NOTHING RETURNING source, id
           ), new AS MATERIALIZED (
               SELECT g.* FROM given g
                WHERE g.delivery IS NULL OR EXISTS (SELECT FROM delivered d WHERE d.source = g.source AND d.id = g.delivery)
           ), old AS MATERIALIZED (
               SELECT n.id AS given, n.times, b.id
                 FROM new n
                CROSS JOIN LATERAL told_by(n.source, n.fingerprint, 'firing', n.started_at, n.at, $13, $14, $15) b
                WHERE b.state <> 'firing'
           ), late AS (
               UPDATE signal s SET count = s.count + o.times FROM old o WHERE s.id = o.id RETURNING o.given, s.id
           ), put AS (
               INSERT INTO signal AS s (id, source, kind, fingerprint, state, severity, summary, labels, started_at, first_seen, last_seen,
                                        count, body, look_at)
               SELECT n.id, n.source, n.kind, n.fingerprint, 'firing', n.severity, n.summary, n.labels, n.started_at, n.at, n.at, n.times,
                      n.body, n.at
                 FROM new n WHERE NOT EXISTS (SELECT FROM late l WHERE l.given = n.id) ORDER BY n.turn
               ON CONFLICT (source, fingerprint) WHERE state = 'firing' DO UPDATE
                  SET count = s.count + excluded.count, last_seen = greatest(s.last_seen, excluded.last_seen), body = excluded.body,
                      summary = excluded.summary, severity = excluded.severity, kind = excluded.kind, labels = excluded.labels,
                      started_at = CASE WHEN s.source = ANY ($14 || $15) THEN greatest(s.started_at, excluded.started_at)
                                    ELSE s.started_at END,
                      -- What rules ask for.
                      change = s.change + ((s.labels, s.kind, s.severity)
                                           IS DISTINCT FROM (excluded.labels, excluded.kind, excluded.severity))::int,
                      look_at = CASE WHEN (s.labels, s.kind, s.severity)
                                          IS DISTINCT FROM (excluded.labels, excluded.kind, excluded.severity)
                                     THEN excluded.look_at ELSE s.look_at END
               RETURNING s.id, s.source, s.fingerprint
           )
           SELECT l.given AS "given!", l.id AS "row!" FROM late l
           UNION ALL
           SELECT n.id, p.id FROM put p JOIN new n ON n.source = p.source AND n.fingerprint = p.fingerprint"#,
        &ids,
        &texts(|s| &s.source),
        &texts(|s| &s.kind),
        &texts(|s| &s.fingerprint),
        &severities as &[Option<String>],
        &texts(|s| &s.summary),
        &labels,
        &started as &[Option<Timestamp>],
        &at,
        &bodies as &[Option<String>],
        &deliveries as &[Option<String>],
        &times,
        &ONCE.map(str::to_owned)[..],
        &DATED.map(str::to_owned)[..],
        &REOPENED.map(str::to_owned)[..],
    )
    .fetch_all(connection)
    .await?;
    let rows: HashMap<Uuid, Uuid> = put.into_iter().map(|put| (put.given, put.row)).collect();
    Ok(ids.iter().map(|id| rows.get(id).copied()).collect())
}

/// What is over ends what fires, unless that has begun later; what is over and was never said, or is not understood, is a row of its own.
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
               SELECT b.id, b.state FROM told_by($2, $4, $12, $8, $9, $13, $14, $15) b
           ), told AS (
               UPDATE signal s SET count = s.count + 1, last_seen = greatest(s.last_seen, $9), body = $10,
                      state = $12, change = s.change + (k.state = 'firing')::int,
                      resolved_at = CASE WHEN k.state = 'firing' THEN $9 ELSE s.resolved_at END,
                      -- What bears its time is compared with the newest that was said: the end.
                      started_at = CASE WHEN s.source = ANY ($14) THEN greatest(s.started_at, $8) ELSE s.started_at END,
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
        &ONCE.map(str::to_owned)[..],
        &DATED.map(str::to_owned)[..],
        &REOPENED.map(str::to_owned)[..],
    )
    .fetch_optional(connection)
    .await?;
    Ok(id)
}
