//! Signals as people and processes ask for them.

use domain::Timestamp;
use domain::plan::to_type;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

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
    /// How dangerous what it offers is.
    pub risk: Option<String>,
    /// What that does to what.
    pub title: Option<String>,
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

    /// What must be typed to start that, where its risk demands it.
    pub fn to_type(&self) -> Option<&str> {
        let risk = serde_json::from_value(self.risk.as_deref()?.into()).ok()?;
        to_type(risk, self.title.as_deref()?, self.runbook.as_deref()?)
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

/// Signals with the verdicts in force, and the runs that those name.
macro_rules! shown {
    ($which:tt, $($given:expr),*) => {
        sqlx::query_as!(
            SignalRow,
            r#"SELECT s.id, s.source, s.kind, s.state, s.severity, s.summary, s.labels, s.started_at, s.first_seen, s.last_seen,
                      s.resolved_at, s.count, s.incident, v.id AS "verdict_id?", v.verdict AS "verdict?", v.code AS "code?",
                      v.because AS "because?", v.rule, v.at AS "decided_at?", v.runbook, v.inputs,
                      CASE WHEN v.verdict = 'asked' THEN v.plan->>'risk' END AS "risk?",
                      CASE WHEN v.verdict = 'asked' THEN v.plan->>'title' END AS "title?",
                      r.id AS "run_id?", r.title AS "run_title?", r.state AS "run_state?"
                 FROM signal s LEFT JOIN verdict v ON v.id = s.verdict
                 LEFT JOIN run r ON r.id = coalesce(v.run_id, (SELECT k.id FROM run k WHERE k.idem_key = v.start_key))
                WHERE "# + $which,
            $($given),*
        )
    };
}

/// Signals, the newest first.
pub async fn list(pool: &PgPool, filter: SignalFilter, limit: i64) -> Result<Vec<SignalRow>, StoreError> {
    let (before, id) = filter.before.unzip();
    let signals = shown!(
        "(NOT $1 OR s.state = 'firing') AND ($2::timestamptz IS NULL OR (s.first_seen, s.id) < ($2, $3))
          ORDER BY s.first_seen DESC, s.id DESC LIMIT $4",
        filter.firing,
        before,
        id,
        limit
    );
    Ok(signals.fetch_all(pool).await?)
}

/// Signals for which a run is prepared that nobody has started, of one incident or of all. However many there are, the newest of each
/// different offer comes before the second of any: none is pushed out by alerts that ask for the same.
pub async fn offers(pool: &PgPool, incident: Option<Uuid>, limit: i64) -> Result<Vec<SignalRow>, StoreError> {
    let signals = shown!(
        "s.state = 'firing' AND v.verdict = 'asked' AND r.id IS NULL AND ($1::uuid IS NULL OR s.incident = $1)
          ORDER BY row_number() OVER (PARTITION BY v.start_key ORDER BY s.first_seen DESC, s.id DESC), s.first_seen DESC, s.id DESC
          LIMIT $2",
        incident,
        limit
    );
    Ok(signals.fetch_all(pool).await?)
}

/// How many fire.
pub async fn firing(pool: &PgPool) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM signal WHERE state = 'firing'"#);
    Ok(count.fetch_one(pool).await?)
}

/// One of them.
pub async fn one(pool: &PgPool, id: Uuid) -> Result<Option<SignalRow>, StoreError> {
    Ok(shown!("s.id = $1", id).fetch_optional(pool).await?)
}

/// A signal as it was received last; nothing for the prober's own.
pub async fn body(pool: &PgPool, id: Uuid) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT body FROM signal WHERE id = $1", id).fetch_optional(pool).await?.flatten())
}

/// What fires by the word of a source: the fingerprints.
pub async fn firing_of(pool: &PgPool, source: &str) -> Result<Vec<String>, StoreError> {
    let fingerprints =
        sqlx::query_scalar!("SELECT fingerprint FROM signal WHERE source = $1 AND state = 'firing'", source,);
    Ok(fingerprints.fetch_all(pool).await?)
}
