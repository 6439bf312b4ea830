//! What triage reads and writes: signals that are due, what a verdict rests on, and the verdicts.
//!
//! A signal is judged by one process at a time (a claim that ends with its worker), and verdicts are stored one after the other (an advisory
//! lock in `give_verdict`): what came between is seen, and then it is judged anew. So the budgets and "once for an incident"
//! hold however many processes judge.

use domain::Timestamp;
use domain::signal::{Signal, SignalState};
use domain::triage::{Run, Start, Verdict};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// A signal that this process is to judge.
#[derive(Debug, Clone)]
pub struct Due {
    /// Its row.
    pub id: Uuid,
    /// What it says.
    pub signal: Signal,
    /// Which version of it this is.
    pub change: i64,
    /// The right to judge it.
    pub claim: Uuid,
    /// The key of the run that its verdict has started, or is about to.
    pub start_key: Option<String>,
}

/// Takes signals that are due, those without a verdict first: no other worker judges them while this one lives. What this worker has taken before and does not
/// look at any more (`at_work` are those that it does) is taken again.
pub async fn claim(
    pool: &PgPool,
    worker: i64,
    at_work: &[Uuid],
    at: Timestamp,
    limit: i64,
) -> Result<Vec<Due>, StoreError> {
    let rows = sqlx::query!(
        r#"UPDATE signal SET claim = gen_random_uuid(), claimed_by = $1
            WHERE id IN (SELECT s.id FROM signal s
                          WHERE s.look_at <= $2
                            AND (s.claimed_by IS NULL OR s.claimed_by = $1 AND s.claim <> ALL ($3)
                                 OR NOT EXISTS (SELECT FROM worker w WHERE w.id = s.claimed_by AND w.lease_until > clock_timestamp()))
                          ORDER BY s.verdict IS NOT NULL, s.look_at LIMIT $4 FOR UPDATE SKIP LOCKED)
           RETURNING id, source, kind, fingerprint, state, severity, summary, labels, started_at, change, claim AS "claim!",
                     (SELECT v.start_key FROM verdict v WHERE v.id = signal.verdict AND v.verdict = 'started') AS start_key"#,
        worker,
        at,
        at_work,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let corrupt = |e: String| StoreError::corrupt("signal", row.id, e);
            let state: SignalState = row.state.parse().map_err(corrupt)?;
            let labels = serde_json::from_value(row.labels).map_err(|e| corrupt(e.to_string()))?;
            let signal = Signal {
                source: row.source,
                kind: row.kind,
                fingerprint: row.fingerprint,
                state,
                severity: row.severity,
                summary: row.summary,
                labels,
                started_at: row.started_at,
            };
            let (change, claim, start_key) = (row.change, row.claim, row.start_key);
            Ok(Due { id: row.id, signal, change, claim, start_key })
        })
        .collect()
}

/// Judges it later, and leaves its verdict as it is.
pub async fn postpone(pool: &PgPool, due: &Due, look_at: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE signal SET claim = NULL, claimed_by = NULL, look_at = CASE WHEN change = $4 THEN $3 ELSE look_at END
          WHERE id = $1 AND claim = $2",
        due.id,
        due.claim,
        look_at,
        due.change,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The open incident at any of these targets.
pub async fn incident(pool: &PgPool, targets: &[String]) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM incident WHERE closed_at IS NULL AND targets && $1 ORDER BY opened_at LIMIT 1",
        targets,
    )
    .fetch_optional(pool)
    .await?)
}

/// The run of a key, and how it ended, if it has: its outcome, or `rejected` where a person said no.
pub async fn run_of(pool: &PgPool, key: &str) -> Result<Option<(Run, Option<String>)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT id, title, requested_by,
                  CASE WHEN outcome = 'refused' AND EXISTS (SELECT FROM journal_line j WHERE j.run_id = run.id AND j.kind = 'asked'
                                                               AND j.entry->'ask'->>'ask' = 'reject')
                       THEN 'rejected' ELSE outcome END AS outcome
             FROM run WHERE idem_key = $1"#,
        key,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|r| (Run { id: r.id, title: r.title, by: r.requested_by }, r.outcome)))
}

/// The last run of a runbook that held any of these locks and has ended since a moment; and when. What was refused or never began
/// has touched nothing, and is none.
pub async fn just_ended(
    pool: &PgPool,
    runbook: &str,
    locks: &[String],
    since: Timestamp,
) -> Result<Option<(Run, Timestamp)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT r.id, r.title, r.requested_by, r.ended_at AS "ended_at!"
             FROM run r JOIN journal_line j ON j.run_id = r.id AND j.seq = 1
            WHERE r.runbook = $1 AND r.ended_at IS NOT NULL AND r.ended_at > $3 AND r.outcome NOT IN ('refused', 'expired')
              AND (j.entry->'locks')::jsonb ?| $2
            ORDER BY r.ended_at DESC LIMIT 1"#,
        runbook,
        locks,
        since,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|r| (Run { id: r.id, title: r.title, by: r.requested_by }, r.ended_at)))
}

/// What was done by rules lately.
#[derive(Debug, Clone, Default)]
pub struct Lately {
    /// Their starts, each once; those of one key left out.
    pub starts: Vec<Start>,
    /// Targets of incidents that began.
    pub struck: Vec<String>,
    /// The newest start: a later one makes what was read here old.
    pub seen: i64,
}

/// Starts since one moment, without those of this incident and rule (`key`), and the targets struck since another.
pub async fn lately(
    pool: &PgPool,
    key: Option<&str>,
    starts_since: Timestamp,
    struck_since: Timestamp,
) -> Result<Lately, StoreError> {
    let seen = sqlx::query_scalar!(
        // By the order in which they were given: the clocks of processes may differ.
        r#"SELECT coalesce((SELECT max(id) FROM verdict WHERE verdict = 'started'), 0) AS "id!""#
    )
    .fetch_one(pool)
    .await?;
    let starts = sqlx::query!(
        r#"SELECT DISTINCT ON (start_key) rule AS "rule!", targets AS "targets!"
             FROM verdict WHERE verdict = 'started' AND at > $1 AND start_key IS DISTINCT FROM $2 ORDER BY start_key, id"#,
        starts_since,
        key,
    )
    .fetch_all(pool)
    .await?;
    let struck = sqlx::query_scalar!(
        r#"SELECT DISTINCT unnest(targets) AS "target!" FROM incident WHERE opened_at > $1"#,
        struck_since
    )
    .fetch_all(pool)
    .await?;
    let start = |rule: String, targets| {
        let (runbook, trigger) = rule.split_once('/').unwrap_or((&rule, ""));
        let rule = domain::triage::Rule { runbook: runbook.to_owned(), trigger: trigger.to_owned() };
        Start { rule, targets }
    };
    Ok(Lately { starts: starts.into_iter().map(|s| start(s.rule, s.targets)).collect(), struck, seen })
}

/// A verdict that is to be stored.
#[derive(Debug, Clone)]
pub struct NewVerdict<'a> {
    /// On which signal, in which version, by which right.
    pub due: &'a Due,
    /// When.
    pub at: Timestamp,
    /// What.
    pub verdict: Verdict,
    /// Why, in a word.
    pub code: &'a str,
    /// Why, in a sentence.
    pub because: &'a str,
    /// `runbook/trigger`.
    pub rule: Option<String>,
    /// All rules that take it.
    pub considered: Value,
    /// What it offers or starts.
    pub offer: Option<Offer>,
    /// The run that it names.
    pub run_id: Option<Uuid>,
    /// The incident that the signal belongs to.
    pub incident: Option<Belongs>,
    /// What people elsewhere are told of it, in the form of [`crate::outbox::rows`].
    pub notices: Value,
    /// See [`Lately::seen`].
    pub seen: i64,
    /// See [`crate::trust::Modes::seen`].
    pub modes_seen: i64,
    /// When triage must look again.
    pub look_at: Option<Timestamp>,
}

/// What a verdict offers or starts, with its evidence.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The runbook.
    pub runbook: String,
    /// Its inputs, as given.
    pub inputs: Value,
    /// The run's key.
    pub start_key: String,
    /// The evidence.
    pub plan: Value,
}

/// The incident that a signal belongs to.
#[derive(Debug, Clone)]
pub enum Belongs {
    /// This one, which is open.
    To(Uuid),
    /// This one; opened, if it is new.
    Opening {
        /// Its id.
        id: Uuid,
        /// What it is called.
        title: String,
        /// The locks of what is offered, started or held back.
        targets: Vec<String>,
    },
}

/// What became of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// It is in force.
    Stored,
    /// The one in force says the same.
    Same,
    /// Something has come between: judge anew.
    Stale,
    /// The signal has changed, or is somebody else's: let it be.
    Lost,
}

/// Stores a verdict, and the incident with it, in one statement.
pub async fn give(pool: &PgPool, new: &NewVerdict<'_>) -> Result<Given, StoreError> {
    let word =
        sqlx::query_scalar!(r#"SELECT give_verdict($1) AS "word!""#, written(new)).fetch_one(pool).await?;
    given(&word, new.due.id)
}

/// Stores many by one commit; what became of each.
pub async fn give_all(pool: &PgPool, new: &[NewVerdict<'_>]) -> Result<Vec<Given>, StoreError> {
    let mut order: Vec<&NewVerdict<'_>> = new.iter().collect();
    // In the order in which signals are received: the two never wait for each other.
    order.sort_by_key(|new| (&new.due.signal.source, &new.due.signal.fingerprint));
    let verdicts: Vec<Value> = order.iter().map(|new| written(new)).collect();
    let words = sqlx::query_scalar!(
        r#"SELECT give_verdict(v) AS "word!" FROM unnest($1::jsonb[]) WITH ORDINALITY AS given (v, n) ORDER BY n"#,
        &verdicts,
    )
    .fetch_all(pool)
    .await?;
    words.iter().zip(order).map(|(word, new)| given(word, new.due.id)).collect()
}

impl Belongs {
    /// Its id.
    pub fn id(&self) -> Uuid {
        let (Self::To(id) | Self::Opening { id, .. }) = self;
        *id
    }
}

fn written(new: &NewVerdict<'_>) -> Value {
    let offer = new.offer.as_ref();
    let (incident, title, targets) = match &new.incident {
        None => (None, None, &[][..]),
        Some(Belongs::To(id)) => (Some(id), None, &[][..]),
        Some(Belongs::Opening { id, title, targets }) => (Some(id), Some(title), &targets[..]),
    };
    json!({
        "signal": new.due.id, "claim": new.due.claim, "change": new.due.change, "at": new.at, "verdict": new.verdict.word(),
        "code": new.code, "because": new.because, "rule": new.rule, "considered": new.considered, "run_id": new.run_id,
        "seen": new.seen, "look_at": new.look_at, "targets": targets, "title": title, "incident": incident,
        "modes_seen": new.modes_seen, "notices": new.notices, "start_key": offer.map(|o| &o.start_key), "runbook": offer.map(|o| &o.runbook), "inputs": offer.map(|o| &o.inputs), "plan": offer.map(|o| &o.plan),
    })
}

fn given(word: &str, signal: Uuid) -> Result<Given, StoreError> {
    match word {
        "stored" => Ok(Given::Stored),
        "same" => Ok(Given::Same),
        "stale" => Ok(Given::Stale),
        "lost" => Ok(Given::Lost),
        other => Err(StoreError::corrupt("answer of give_verdict", signal, other)),
    }
}

/// Incidents that are over: what fired in them has not for a while, or a person has dismissed it, and no run holds their targets.
/// Id, number and title.
pub async fn quiet_incidents(
    pool: &PgPool,
    quiet_since: Timestamp,
) -> Result<Vec<(Uuid, i64, String)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT i.id, i.number, i.title FROM incident i
            WHERE i.closed_at IS NULL AND i.opened_at < $1
              -- What a person has opened, and no signal belongs to, a person closes.
              AND (i.opened_by = 'triage' OR EXISTS (SELECT FROM signal s WHERE s.incident = i.id))
              -- What is at work on it, or waits for somebody half-way, holds its targets.
              AND NOT EXISTS (SELECT FROM lock l WHERE l.target = ANY (i.targets))
              AND NOT EXISTS (SELECT FROM signal s LEFT JOIN verdict v ON v.id = s.verdict
                               WHERE s.incident = i.id AND (s.state = 'firing' AND v.code IS DISTINCT FROM 'dismissed' OR s.resolved_at > $1))"#,
        quiet_since,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.number, row.title)).collect())
}

/// Closes one of them, if it still is over, and tells of it.
pub async fn close_quiet(
    pool: &PgPool,
    id: Uuid,
    quiet_since: Timestamp,
    at: Timestamp,
    notices: &Value,
) -> Result<bool, StoreError> {
    let told = sqlx::query_scalar!(
        r#"SELECT count(tell($4, $3)) AS "told!" FROM close_incident($1, $2, NULL, $3) AS closed WHERE closed"#,
        id,
        quiet_since,
        at,
        notices,
    )
    .fetch_one(pool)
    .await?;
    Ok(told > 0)
}

/// What an offer holds, for the one who takes it.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Its verdict's number.
    pub verdict: i64,
    /// The rule.
    pub rule: String,
    /// The runbook.
    pub runbook: String,
    /// Its inputs.
    pub inputs: Value,
    /// The run's key.
    pub start_key: String,
    /// The evidence.
    pub plan: Value,
}

/// What the verdict in force on a signal offers, if it does.
pub async fn offered(pool: &PgPool, signal: Uuid) -> Result<Option<Offered>, StoreError> {
    Ok(sqlx::query_as!(
        Offered,
        r#"SELECT v.id AS verdict, v.rule AS "rule!", v.runbook AS "runbook!", v.inputs AS "inputs!", v.start_key AS "start_key!",
                  v.plan AS "plan!"
             FROM signal s JOIN verdict v ON v.id = s.verdict
            WHERE s.id = $1 AND s.state = 'firing' AND v.verdict IN ('suggested', 'asked') AND v.start_key IS NOT NULL"#,
        signal,
    )
    .fetch_optional(pool)
    .await?)
}

/// Did an earlier verdict on the signal offer the same run by the same plan?
pub async fn offered_before(
    pool: &PgPool,
    signal: Uuid,
    verdict: i64,
    now: &Offered,
) -> Result<bool, StoreError> {
    let same = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM verdict WHERE id = $1 AND signal = $2 AND start_key = $3 AND plan->>'hash' = $4) AS "same!""#,
        verdict,
        signal,
        now.start_key,
        now.plan["hash"].as_str(),
    );
    Ok(same.fetch_one(pool).await?)
}

/// A verdict, as people see it.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct VerdictRow {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Its word.
    pub verdict: String,
    /// Why, in a word.
    pub code: String,
    /// Why, in a sentence.
    pub because: String,
    /// The rule that it is about.
    pub rule: Option<String>,
    /// All rules that take the signal, and how things stood for each.
    pub considered: Value,
    /// The evidence.
    pub plan: Option<Value>,
    /// The run that it names.
    pub run_id: Option<Uuid>,
}

/// All verdicts on a signal, the newest first.
pub async fn verdicts(pool: &PgPool, signal: Uuid) -> Result<Vec<VerdictRow>, StoreError> {
    Ok(sqlx::query_as!(
        VerdictRow,
        r#"SELECT id, at, verdict, code, because, rule, considered, plan, run_id FROM verdict WHERE signal = $1 ORDER BY id DESC LIMIT 200"#,
        signal,
    )
    .fetch_all(pool)
    .await?)
}

/// The signal that a run was started or offered for.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Cause {
    /// The signal.
    pub signal: Uuid,
    /// Who said it.
    pub source: String,
    /// What it said first. (What it says last may be of hours after the run.)
    pub summary: String,
    /// `started`, `asked` or `suggested`.
    pub verdict: String,
    /// The rule.
    pub rule: String,
    /// When it was decided.
    pub at: Timestamp,
    /// When it was first said.
    pub first_seen: Timestamp,
}

/// Why a run was started, if a rule had to do with it: the newest verdict with its key.
pub async fn cause(pool: &PgPool, run_id: Uuid) -> Result<Option<Cause>, StoreError> {
    Ok(sqlx::query_as!(
        Cause,
        r#"SELECT s.id AS signal, s.source, coalesce(s.said_first, s.summary) AS "summary!", v.verdict, v.rule AS "rule!", v.at, s.first_seen
             FROM run r JOIN verdict v ON v.start_key = r.idem_key JOIN signal s ON s.id = v.signal
            WHERE r.id = $1 ORDER BY v.verdict = 'started' DESC, v.id DESC LIMIT 1"#,
        run_id,
    )
    .fetch_optional(pool)
    .await?)
}
