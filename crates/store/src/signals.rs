//! Signals as they come in, and as people see them.
//!
//! What is said again counts up on one row. What was over and is said again is a new row, unless that is an old delivery which has
//! come late, and opens nothing. How that is told apart depends on the source:
//!
//! - its fingerprint is of one time of the trouble alone ([`ONCE`]): what was over stays over;
//! - its messages bear the time of what they tell ([`DATED`]): an older one than what is known changes nothing;
//! - it bears a later time only when the trouble begins anew ([`REOPENED`]): any other is late, however long it was on its way;
//! - any other that says that it began at the same time: late, if it comes within two minutes of the end. Later it fires again: a
//!   sender that was cut off has called it over too early, and goes on with the time at which it began.
//!
//! Which row that is, `told_by` says, a function in the database: to who writes it, and to who locks it before ([`take_turn`]).

use std::collections::HashMap;

use domain::Timestamp;
use domain::signal::{DATED, EVENTS, ONCE, PROBER, REOPENED, Signal, SignalState};
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
/// The key of those who write many signals at the same time.
const TURN: i64 = 4_417_205_936_180_771;

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

/// A signal, and how often it was said in the same words.
struct Said<'a> {
    last: Received<'a>,
    /// Of each time.
    places: Vec<usize>,
}

/// Sees to it that two who write the same rows wait for each other in a line.
///
/// Where all of it fires, one statement writes it in the order of sources and fingerprints, and so does everybody else who does that.
/// What is over is written after all that fires, and what is said twice after what was said once: that is another order, so whoever
/// has such a batch writes alone among batches, and first locks what is there already, in the order in which verdicts are given. Who
/// writes one signal holds nothing while waiting for it.
async fn take_turn(connection: &mut PgConnection, waves: &[Vec<Said<'_>>]) -> Result<(), StoreError> {
    let said = || waves.iter().flatten().map(|said| said.last.signal);
    if said().nth(1).is_none() {
        return Ok(());
    }
    let in_order = waves.len() == 1 && said().all(|signal| signal.state == SignalState::Firing);
    if in_order {
        sqlx::query!("SELECT pg_advisory_xact_lock_shared($1)", TURN).execute(connection).await?;
        return Ok(());
    }
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", TURN).execute(&mut *connection).await?;
    sqlx::query!(
        r#"WITH known AS MATERIALIZED (
               SELECT b.id FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
                                     AS g (source, fingerprint, state, started_at, at)
                CROSS JOIN LATERAL told_by(g.source, g.fingerprint, g.state, g.started_at, g.at, $6, $7, $8) b
           )
           SELECT s.id FROM signal s WHERE s.id IN (SELECT id FROM known)
            ORDER BY s.source COLLATE "C", s.fingerprint COLLATE "C", s.id FOR UPDATE"#,
        &said().map(|s| s.source.clone()).collect::<Vec<String>>(),
        &said().map(|s| s.fingerprint.clone()).collect::<Vec<String>>(),
        &said().map(|s| s.state.word().to_owned()).collect::<Vec<String>>(),
        &said().map(|s| s.started_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &waves.iter().flatten().map(|said| said.last.at).collect::<Vec<_>>(),
        &ONCE.map(str::to_owned)[..],
        &DATED.map(str::to_owned)[..],
        &REOPENED.map(str::to_owned)[..],
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// What may be written at the same time, in the order in which it must be; in each, one order of rows everywhere.
fn waves<'a>(received: &[Received<'a>]) -> Vec<Vec<Said<'a>>> {
    let mut order: Vec<usize> = (0..received.len()).collect();
    order.sort_by_key(|&n| key(&received[n]));
    let mut waves: Vec<Vec<Said<'a>>> = Vec::new();
    // The first wave that has nothing of this delivery yet.
    let mut deliveries: HashMap<(&str, &str), usize> = HashMap::new();
    let mut wave = 0;
    for (at, &place) in order.iter().enumerate() {
        let this = received[place];
        let before = at.checked_sub(1).map(|before| received[order[before]]);
        let again = before.filter(|before| key(before) == key(&this));
        if let Some(before) = again
            && (before.delivery, this.delivery) == (None, None)
            && before.signal == this.signal
            && this.signal.state == SignalState::Firing
            && let Some(said) = waves.get_mut(wave).and_then(|wave| wave.last_mut())
        {
            said.last = this;
            said.places.push(place);
            continue;
        }
        wave = if again.is_some() { wave + 1 } else { 0 };
        if let Some(delivery) = this.delivery {
            let free = deliveries.entry((&this.signal.source, delivery)).or_default();
            wave = wave.max(*free);
            *free = wave + 1;
        }
        waves.resize_with(waves.len().max(wave + 1), Vec::new);
        waves[wave].push(Said { last: this, places: vec![place] });
    }
    waves
}

fn key<'a>(received: &Received<'a>) -> (&'a str, &'a str) {
    (&received.signal.source, &received.signal.fingerprint)
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

/// What fires by the word of a source: the fingerprints.
pub async fn firing_of(pool: &PgPool, source: &str) -> Result<Vec<String>, StoreError> {
    let fingerprints =
        sqlx::query_scalar!("SELECT fingerprint FROM signal WHERE source = $1 AND state = 'firing'", source,);
    Ok(fingerprints.fetch_all(pool).await?)
}

/// The prober's signals of a fleet that no process has said since a moment are over; but not those that whoever asks could not look
/// after (`unseen`, their fingerprints). What somebody writes just now is not waited for: it was seen, or is over anyway.
pub async fn prober_is_calm(
    pool: &PgPool,
    fleet: &str,
    unseen: &[String],
    since: Timestamp,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let ended = sqlx::query!(
        r#"UPDATE signal SET state = 'resolved', resolved_at = $4, change = change + 1,
                  look_at = CASE WHEN verdict IS NULL THEN $4::timestamptz END
            WHERE id IN (SELECT id FROM signal
                          WHERE source = $1 AND state = 'firing' AND labels->>'fleet' = $2 AND last_seen < $3
                            AND fingerprint <> ALL ($5)
                            FOR UPDATE SKIP LOCKED)"#,
        PROBER,
        fleet,
        since,
        at,
        unseen,
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
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
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

impl SignalRow {
    /// Is a run prepared for it that nobody has started?
    pub fn asks(&self) -> bool {
        self.state == "firing" && self.verdict.as_deref() == Some("asked") && self.run_id.is_none()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(fingerprint: &str, state: SignalState, summary: &str) -> Signal {
        let (source, kind) = ("test".to_owned(), "bad".to_owned());
        let (labels, summary) = (Default::default(), summary.to_owned());
        let fingerprint = fingerprint.to_owned();
        Signal { source, kind, fingerprint, state, severity: None, summary, labels, started_at: None }
    }

    /// Fingerprints and how often each is said, wave by wave.
    fn shown(said: &[(&Signal, Option<&str>)]) -> String {
        let at = Timestamp::UNIX_EPOCH;
        let received: Vec<_> =
            said.iter().map(|&(signal, delivery)| Received { signal, delivery, body: None, at }).collect();
        let one = |said: &Said<'_>| format!("{}x{}", said.last.signal.fingerprint, said.places.len());
        let waves = waves(&received);
        waves
            .iter()
            .map(|wave| wave.iter().map(one).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    #[test]
    fn what_is_about_the_same_is_written_one_after_the_other_and_the_same_words_once() {
        let (a, b) = (signal("a", SignalState::Firing, ""), signal("b", SignalState::Firing, ""));
        let (other, over) =
            (signal("a", SignalState::Firing, "worse"), signal("a", SignalState::Resolved, ""));
        assert_eq!(shown(&[]), "");
        assert_eq!(shown(&[(&b, None), (&a, None), (&b, None), (&a, None), (&a, None)]), "ax3 bx2");
        assert_eq!(shown(&[(&a, None), (&other, None), (&a, None), (&b, None)]), "ax1 bx1 | ax1 | ax1");
        assert_eq!(
            shown(&[(&over, None), (&a, None), (&over, None), (&over, None)]),
            "ax1 | ax1 | ax1 | ax1"
        );
        // Each delivery counts by itself, and one that is told of two things is seen once.
        assert_eq!(shown(&[(&a, Some("1")), (&a, Some("1")), (&b, Some("2"))]), "ax1 bx1 | ax1");
        assert_eq!(shown(&[(&a, Some("1")), (&b, Some("1"))]), "ax1 | bx1");
    }
}
