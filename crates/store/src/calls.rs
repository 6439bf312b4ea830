//! The calls to the outside that told a run something: all that change, and the looks that it acted on.

use domain::Timestamp;
use domain::action::CallRecord;
use domain::run::StepPath;
use sqlx::{PgExecutor, PgPool};
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

/// A call that is to be kept.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Made once, before the first try: by it the database knows a call that an earlier try has kept, or is about to.
    pub write_id: Uuid,
    /// The run.
    pub run_id: Uuid,
    /// The step.
    pub step: StepPath,
    /// In which attempt.
    pub attempt: u32,
    /// The call.
    pub call: CallRecord,
}

impl Kept {
    /// Call by call, each with its id.
    pub fn into_calls(self) -> impl Iterator<Item = Keep> {
        let Self { run_id, step, attempt, calls } = self;
        let keep = move |call| Keep { write_id: Uuid::now_v7(), run_id, step: step.clone(), attempt, call };
        calls.into_iter().map(keep)
    }
}

/// Adds calls of any number of runs. It may be tried again with the same ones as often as need be: what an earlier try has kept
/// is left as it is, and a try that is still under way is waited for.
pub async fn add(executor: impl PgExecutor<'_>, calls: &[Keep]) -> Result<(), StoreError> {
    if calls.is_empty() {
        return Ok(());
    }
    let column =
        |of: fn(&CallRecord) -> &str| calls.iter().map(|k| of(&k.call).to_owned()).collect::<Vec<_>>();
    let write_ids: Vec<Uuid> = calls.iter().map(|k| k.write_id).collect();
    let runs: Vec<Uuid> = calls.iter().map(|k| k.run_id).collect();
    let steps: Vec<String> = calls.iter().map(|k| k.step.to_string()).collect();
    let attempts: Vec<i32> = calls.iter().map(|k| i32::try_from(k.attempt).unwrap_or(i32::MAX)).collect();
    let ats: Vec<Timestamp> = calls.iter().map(|k| k.call.at).collect();
    let request_ids: Vec<Option<String>> = calls.iter().map(|k| k.call.request_id.clone()).collect();
    let durations: Vec<i64> =
        calls.iter().map(|k| i64::try_from(k.call.duration_ms).unwrap_or(i64::MAX)).collect();
    let mutating: Vec<bool> = calls.iter().map(|k| k.call.mutating).collect();
    sqlx::query!(
        r#"INSERT INTO outside_call (write_id, run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating)
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::timestamptz[], $6::text[], $7::text[], $8::text[], $9::text[],
                                $10::text[], $11::bigint[], $12::bool[])
           ON CONFLICT DO NOTHING"#,
        &write_ids,
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
    )
    .execute(executor)
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
