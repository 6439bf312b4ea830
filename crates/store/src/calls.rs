//! The calls to the outside that told a run something: all that change, and the looks that it acted on.

use domain::Timestamp;
use domain::action::CallRecord;
use domain::run::StepPath;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// What an attempt of a step asked of the outside.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The run.
    pub run_id: Uuid,
    /// The step.
    pub step: StepPath,
    /// In which attempt.
    pub attempt: u32,
    /// The calls.
    pub calls: Vec<CallRecord>,
}

/// Adds calls of any number of runs. `again`: an earlier try with them got no answer; those that it kept are left as they are.
pub async fn add(pool: &PgPool, kept: &[Kept], again: bool) -> Result<(), StoreError> {
    let rows: Vec<(&Kept, &CallRecord)> =
        kept.iter().flat_map(|kept| kept.calls.iter().map(move |call| (kept, call))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&CallRecord) -> &str| rows.iter().map(|(_, c)| of(c).to_owned()).collect::<Vec<_>>();
    let runs: Vec<Uuid> = rows.iter().map(|(kept, _)| kept.run_id).collect();
    let steps: Vec<String> = rows.iter().map(|(kept, _)| kept.step.to_string()).collect();
    let attempts: Vec<i32> =
        rows.iter().map(|(kept, _)| i32::try_from(kept.attempt).unwrap_or(i32::MAX)).collect();
    let ats: Vec<Timestamp> = rows.iter().map(|(_, c)| c.at).collect();
    let request_ids: Vec<Option<String>> = rows.iter().map(|(_, c)| c.request_id.clone()).collect();
    let durations: Vec<i64> =
        rows.iter().map(|(_, c)| i64::try_from(c.duration_ms).unwrap_or(i64::MAX)).collect();
    let mutating: Vec<bool> = rows.iter().map(|(_, c)| c.mutating).collect();
    sqlx::query!(
        r#"INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating)
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bool[])
                         AS c (run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating)
            WHERE NOT ($12 AND EXISTS (
                SELECT FROM outside_call k
                 WHERE (k.run_id, k.step, k.attempt, k.at, k.service, k.operation, k.target)
                     = (c.run_id, c.step, c.attempt, c.at, c.service, c.operation, c.target)))"#,
        &runs,
        &steps,
        &attempts,
        &ats,
        &column(|c| &c.service),
        &column(|c| &c.operation),
        &column(|c| &c.target),
        &request_ids as &[Option<String>],
        &column(|c| &c.status),
        &durations,
        &mutating,
        again,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// One call as a page shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Call {
    /// The step that made it.
    pub step: String,
    /// In which attempt.
    pub attempt: i32,
    /// When it was sent.
    pub at: Timestamp,
    /// `autoscaling`, `mysql`, …
    pub service: String,
    /// `SetDesiredCapacity`, …
    pub operation: String,
    /// What it was about.
    pub target: String,
    /// The service's id of the request.
    pub request_id: Option<String>,
    /// `ok`, or the error code.
    pub status: String,
    /// Wall time in milliseconds.
    pub duration_ms: i64,
    /// Did it change something?
    pub mutating: bool,
}

/// The calls of a run: all that change something, and the newest `looks` of the others, in order.
pub async fn of_run(pool: &PgPool, run_id: Uuid, looks: i64) -> Result<Vec<Call>, StoreError> {
    Ok(sqlx::query_as!(
        Call,
        r#"SELECT step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating
             FROM outside_call WHERE run_id = $1 AND (mutating OR id IN (
                SELECT id FROM outside_call WHERE run_id = $1 AND NOT mutating ORDER BY id DESC LIMIT $2))
            ORDER BY id"#,
        run_id,
        looks,
    )
    .fetch_all(pool)
    .await?)
}
