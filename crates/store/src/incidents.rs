//! Incidents as people have them: opened, driven, closed. What they say and do is a row of `audit`, written by the statement that
//! does it.

use domain::incident::{Ask, Incident, Times};
use domain::{Actor, Timestamp};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;
use crate::pages::RunRow;

struct Row {
    id: Uuid,
    number: i64,
    title: String,
    targets: Vec<String>,
    severity: Option<String>,
    opened_at: Timestamp,
    opened_by: String,
    driver: Option<String>,
    driver_since: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    closed_by: Option<String>,
}

impl TryFrom<Row> for Incident {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |e: String| StoreError::corrupt("severity", row.id, e);
        let severity = row.severity.map(|word| word.parse().map_err(corrupt)).transpose()?;
        let Row {
            id,
            number,
            title,
            targets,
            opened_at,
            opened_by,
            driver,
            driver_since,
            closed_at,
            closed_by,
            ..
        } = row;
        Ok(Self {
            id,
            number,
            title,
            targets,
            severity,
            opened_at,
            opened_by,
            driver,
            driver_since,
            closed_at,
            closed_by,
        })
    }
}

/// Opens one, unless one is open at any of its targets; the id of the one that is open.
pub async fn open(
    pool: &PgPool,
    id: Uuid,
    title: &str,
    targets: &[String],
    by: &Actor,
    at: Timestamp,
) -> Result<Uuid, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT open_incident($1, $2, $3, $4, $5) AS "id!""#,
        id,
        title.trim(),
        targets,
        by.name(),
        at,
    )
    .fetch_one(pool)
    .await?)
}

/// Does what somebody asks, if the driver is still who they saw there and it is open as they saw it: `false` when something has
/// come between.
pub async fn act(
    pool: &PgPool,
    seen: &Incident,
    ask: &Ask,
    by: &Actor,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let (action, details) = told(seen, ask);
    let (mut title, mut severity, mut driver) = (None, None, None);
    match ask {
        Ask::Note { .. } => {}
        Ask::Severity { severity: to } => severity = Some(to.word()),
        Ask::Title { title: to } => title = Some(to.trim()),
        Ask::Take => driver = Some(by.name()),
        Ask::HandOver { to, .. } => driver = Some(to.trim()),
        Ask::Close { .. } => return close(pool, seen.id, by, action, &details, at).await,
    }
    let done = sqlx::query!(
        r#"WITH changed AS (
               UPDATE incident SET title = coalesce($2, title), severity = coalesce($3, severity), driver = coalesce($4, driver),
                      driver_since = CASE WHEN $4::text IS NULL THEN driver_since ELSE $5 END
                WHERE id = $1 AND ($4::text IS NULL OR driver IS NOT DISTINCT FROM $9)
                  AND (closed_at IS NULL) = $10
               RETURNING id
           )
           INSERT INTO audit (at, actor, action, target, details) SELECT $5, $6, $7, 'incident:' || id, $8 FROM changed"#,
        seen.id,
        title,
        severity,
        driver,
        at,
        by.name(),
        action,
        details,
        seen.driver,
        seen.closed_at.is_none(),
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn close(
    pool: &PgPool,
    id: Uuid,
    by: &Actor,
    action: &str,
    details: &Value,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "INSERT INTO audit (at, actor, action, target, details)
         SELECT $5, $2, $3, 'incident:' || $1::uuid, $4 FROM close_incident($1, NULL, $2, $5) AS closed WHERE closed",
        id,
        by.name(),
        action,
        details,
        at,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// How it stands in `audit`.
fn told(seen: &Incident, ask: &Ask) -> (&'static str, Value) {
    match ask {
        Ask::Note { text } => ("incident note", json!({ "text": text.trim() })),
        Ask::Severity { severity } => ("incident severity", json!({ "from": seen.severity, "to": severity })),
        Ask::Title { title } => ("incident title", json!({ "from": seen.title, "to": title.trim() })),
        Ask::Take => ("incident driver", json!({ "from": seen.driver, "to": null })),
        Ask::HandOver { to, note } => {
            ("incident driver", json!({ "from": seen.driver, "to": to.trim(), "note": note }))
        }
        Ask::Close { reason } => ("incident closed", json!({ "reason": reason.trim() })),
    }
}

/// One.
pub async fn one(pool: &PgPool, id: Uuid) -> Result<Option<Incident>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, number, title, targets, severity, opened_at, opened_by, driver, driver_since, closed_at, closed_by
           FROM incident WHERE id = $1",
        id,
    )
    .fetch_optional(pool)
    .await?;
    row.map(Incident::try_from).transpose()
}

/// Its id, by the number that people say.
pub async fn numbered(pool: &PgPool, number: i64) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT id FROM incident WHERE number = $1", number).fetch_optional(pool).await?)
}

/// Those that are open, the oldest first.
pub async fn now_open(pool: &PgPool) -> Result<Vec<Incident>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, number, title, targets, severity, opened_at, opened_by, driver, driver_since, closed_at, closed_by
           FROM incident WHERE closed_at IS NULL ORDER BY opened_at, id LIMIT 100",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Incident::try_from).collect()
}

/// All, or those that are open, the newest first; only those before a number (a cursor).
pub async fn list(
    pool: &PgPool,
    open: bool,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Incident>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, number, title, targets, severity, opened_at, opened_by, driver, driver_since, closed_at, closed_by
           FROM incident WHERE ($1::bigint IS NULL OR number < $1) AND (closed_at IS NULL OR NOT $3)
          ORDER BY number DESC LIMIT $2",
        before,
        limit,
        open,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Incident::try_from).collect()
}

/// How many of its signals fire, without those that a person has dismissed.
pub async fn firing(pool: &PgPool, id: Uuid) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM signal s WHERE s.incident = $1 AND s.state = 'firing'
              AND NOT EXISTS (SELECT FROM verdict v WHERE v.id = s.verdict AND v.code = 'dismissed')"#,
        id,
    )
    .fetch_one(pool)
    .await?)
}

/// Something that a person said or did in it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What: `incident note`, `incident severity`, …
    pub action: String,
    /// With which particulars.
    pub details: Value,
}

/// What people said and did in it, the oldest first.
pub async fn said(pool: &PgPool, id: Uuid) -> Result<Vec<Said>, StoreError> {
    Ok(sqlx::query_as!(
        Said,
        "SELECT at, actor AS by, action, details FROM audit WHERE target LIKE 'incident:%' AND target = $1 ORDER BY id LIMIT 1000",
        format!("incident:{id}"),
    )
    .fetch_all(pool)
    .await?)
}

/// A signal of it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SignalOf {
    /// Its id.
    pub id: Uuid,
    /// Who says so.
    pub source: String,
    /// What is wrong.
    pub kind: String,
    /// `firing`, `resolved`.
    pub state: String,
    /// In a sentence, as it was first said.
    pub said_first: String,
    /// As it was said last.
    pub summary: String,
    /// When it was first said.
    pub first_seen: Timestamp,
    /// When it was last said.
    pub last_seen: Timestamp,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// How often it was said.
    pub count: i64,
}

/// Its signals, the oldest first.
pub async fn signals(pool: &PgPool, id: Uuid) -> Result<Vec<SignalOf>, StoreError> {
    Ok(sqlx::query_as!(
        SignalOf,
        r#"SELECT id, source, kind, state, coalesce(said_first, summary) AS "said_first!", summary, first_seen, last_seen, resolved_at, count
             FROM signal WHERE incident = $1 ORDER BY first_seen, id LIMIT 1000"#,
        id,
    )
    .fetch_all(pool)
    .await?)
}

/// A verdict on one of its signals.
#[derive(Debug, Clone, serde::Serialize)]
pub struct VerdictOf {
    /// Its number.
    pub id: i64,
    /// On which signal.
    pub signal: Uuid,
    /// When.
    pub at: Timestamp,
    /// Its word.
    pub verdict: String,
    /// Why, in a word.
    pub code: String,
    /// Why, in a sentence.
    pub because: String,
    /// The rule.
    pub rule: Option<String>,
}

/// The verdicts on its signals, the oldest first.
pub async fn verdicts(pool: &PgPool, id: Uuid) -> Result<Vec<VerdictOf>, StoreError> {
    Ok(sqlx::query_as!(
        VerdictOf,
        "SELECT v.id, v.signal, v.at, v.verdict, v.code, v.because, v.rule FROM signal s JOIN verdict v ON v.signal = s.id
          WHERE s.incident = $1 ORDER BY v.id LIMIT 2000",
        id,
    )
    .fetch_all(pool)
    .await?)
}

/// The runs that were at work on its targets while it was open: started for it, or by whoever, and those that were under way.
pub async fn runs(pool: &PgPool, incident: &Incident) -> Result<Vec<RunRow>, StoreError> {
    Ok(sqlx::query_as!(
        RunRow,
        r#"SELECT r.id, r.runbook, r.hash, r.title, r.inputs, r.plan, r.requested_by, r.state, r.outcome, r.message, r.seq,
                  r.created_at, r.updated_at, r.ended_at
             FROM run_listed l JOIN run r ON r.id = l.id JOIN journal_line j ON j.run_id = r.id AND j.seq = 1
            WHERE l.created_at > $1::timestamptz - interval '1 day' AND l.created_at <= coalesce($2::timestamptz, 'infinity') AND (r.ended_at IS NULL OR r.ended_at >= $1)
              AND (j.entry->'locks')::jsonb ?| $3
            ORDER BY l.created_at, l.id LIMIT 100"#,
        incident.opened_at,
        incident.closed_at,
        &incident.targets,
    )
    .fetch_all(pool)
    .await?)
}

/// The incidents that a run was at work on: at its targets, while it lasted.
pub async fn of_run(pool: &PgPool, run_id: Uuid) -> Result<Vec<Incident>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT i.id, i.number, i.title, i.targets, i.severity, i.opened_at, i.opened_by, i.driver, i.driver_since, i.closed_at, i.closed_by
           FROM run r JOIN journal_line j ON j.run_id = r.id AND j.seq = 1
           JOIN incident i ON i.targets && ARRAY(SELECT json_array_elements_text(j.entry->'locks'))
            AND i.opened_at <= coalesce(r.ended_at, 'infinity') AND (i.closed_at IS NULL OR i.closed_at >= r.created_at)
            AND i.opened_at > r.created_at - interval '30 days'
          WHERE r.id = $1 ORDER BY i.number DESC LIMIT 5",
        run_id,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Incident::try_from).collect()
}

/// When what happened in it.
pub async fn times(pool: &PgPool, incident: &Incident, runs: &[Uuid]) -> Result<Times, StoreError> {
    let row = sqlx::query!(
        r#"SELECT (SELECT min(first_seen) FROM signal WHERE incident = $1) AS began,
                  (SELECT min(v.at) FROM signal s JOIN verdict v ON v.signal = s.id WHERE s.incident = $1) AS judged,
                  (SELECT min(created_at) FROM run WHERE id = ANY ($2)) AS decided,
                  (SELECT min(at) FROM outside_call WHERE run_id = ANY ($2) AND mutating) AS changed,
                  (SELECT CASE WHEN bool_and(state <> 'firing') THEN max(resolved_at) END FROM signal WHERE incident = $1) AS recovered"#,
        incident.id,
        runs,
    )
    .fetch_one(pool)
    .await?;
    Ok(Times {
        began: row.began,
        judged: row.judged,
        decided: row.decided,
        changed: row.changed,
        recovered: row.recovered,
    })
}
