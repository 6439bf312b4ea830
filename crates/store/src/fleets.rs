//! What the prober saw last of each fleet, and numbers over time for the charts.

use domain::Timestamp;
use serde_json::Value;
use sqlx::PgPool;

use crate::StoreError;

/// What was seen of a fleet.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FleetView {
    /// The fleet's id.
    pub fleet: String,
    /// When.
    pub at: Timestamp,
    /// Output of `autoscaling.describe_group`.
    pub group: Option<Value>,
    /// Output of `mysql.login_matrix`.
    pub matrix: Option<Value>,
    /// Why something is missing.
    pub error: Option<String>,
}

/// Keeps the newest view of a fleet.
pub async fn put(pool: &PgPool, view: &FleetView) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO fleet_view (fleet, at, grp, matrix, error) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (fleet) DO UPDATE SET at = excluded.at, grp = excluded.grp, matrix = excluded.matrix, error = excluded.error
            WHERE fleet_view.at < excluded.at"#,
        view.fleet,
        view.at,
        view.group,
        view.matrix,
        view.error,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The newest view of each fleet.
pub async fn all(pool: &PgPool) -> Result<Vec<FleetView>, StoreError> {
    Ok(sqlx::query_as!(
        FleetView,
        r#"SELECT fleet, at, grp AS "group", matrix, error FROM fleet_view ORDER BY fleet"#
    )
    .fetch_all(pool)
    .await?)
}

/// One number at one moment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sample {
    /// Of what: a cluster's id.
    pub subject: String,
    /// When.
    pub at: Timestamp,
    /// How much.
    pub value: f64,
}

/// Adds samples to a series; one that is there already stays as it is.
pub async fn add_samples(pool: &PgPool, series: &str, samples: &[Sample]) -> Result<(), StoreError> {
    let subjects: Vec<String> = samples.iter().map(|s| s.subject.clone()).collect();
    let ats: Vec<Timestamp> = samples.iter().map(|s| s.at).collect();
    let values: Vec<f64> = samples.iter().map(|s| s.value).collect();
    sqlx::query!(
        r#"INSERT INTO sample (series, subject, at, value)
           SELECT $1, s.* FROM unnest($2::text[], $3::timestamptz[], $4::float8[]) AS s ON CONFLICT DO NOTHING"#,
        series,
        &subjects,
        &ats,
        &values,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A series from a moment on, up to another one, by subject and time.
pub async fn samples(
    pool: &PgPool,
    series: &str,
    (since, until): (Timestamp, Timestamp),
) -> Result<Vec<Sample>, StoreError> {
    Ok(sqlx::query_as!(
        Sample,
        "SELECT subject, at, value FROM sample WHERE series = $1 AND at BETWEEN $2 AND $3 ORDER BY subject, at",
        series,
        since,
        until,
    )
    .fetch_all(pool)
    .await?)
}

/// Forgets samples from before a moment, but for those of incidents (and of some minutes around them): they are what is looked at
/// weeks later. What was kept of before `since` is not asked about again.
pub async fn forget_before(
    pool: &PgPool,
    moment: Timestamp,
    since: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM sample WHERE at < $1 AND ($2::timestamptz IS NULL OR at >= $2) AND NOT EXISTS
           (SELECT FROM incident i WHERE sample.at >= i.opened_at - interval '15 minutes'
                                     AND (i.closed_at IS NULL OR sample.at <= i.closed_at + interval '15 minutes'))",
        moment,
        since,
    )
    .execute(pool)
    .await?;
    Ok(())
}
