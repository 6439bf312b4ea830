//! Every call to the outside that a run made.

use domain::Timestamp;
use domain::action::CallRecord;
use domain::run::StepPath;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// Adds the calls that an attempt of a step made.
pub async fn add(
    pool: &PgPool,
    run_id: Uuid,
    step: &StepPath,
    attempt: u32,
    calls: &[CallRecord],
) -> Result<(), StoreError> {
    if calls.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&CallRecord) -> String| calls.iter().map(of).collect::<Vec<_>>();
    let ats: Vec<Timestamp> = calls.iter().map(|c| c.at).collect();
    let request_ids: Vec<Option<String>> = calls.iter().map(|c| c.request_id.clone()).collect();
    let durations: Vec<i64> =
        calls.iter().map(|c| i64::try_from(c.duration_ms).unwrap_or(i64::MAX)).collect();
    let mutating: Vec<bool> = calls.iter().map(|c| c.mutating).collect();
    sqlx::query!(
        r#"INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating)
           SELECT $1, $2, $3, c.* FROM unnest($4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bool[]) AS c"#,
        run_id,
        step.as_str(),
        i32::try_from(attempt).unwrap_or(i32::MAX),
        &ats,
        &column(|c| c.service.clone()),
        &column(|c| c.operation.clone()),
        &column(|c| c.target.clone()),
        &request_ids as &[Option<String>],
        &column(|c| c.status.clone()),
        &durations,
        &mutating,
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
