//! What is over because nobody says it any more: what the prober saw, and events of AWS.

use domain::Timestamp;
use domain::signal::{EVENTS, PROBER};
use sqlx::PgPool;

use crate::StoreError;

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

/// The prober's signals of fleets that are not among the `known`, and that no process has said since a moment, are over.
pub async fn prober_is_gone(
    pool: &PgPool,
    known: &[String],
    since: Timestamp,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let ended = sqlx::query!(
        r#"UPDATE signal SET state = 'resolved', resolved_at = $4, change = change + 1,
                  look_at = CASE WHEN verdict IS NULL THEN $4::timestamptz END
            WHERE id IN (SELECT id FROM signal
                          WHERE source = $1 AND state = 'firing' AND labels->>'fleet' <> ALL ($2) AND last_seen < $3
                            FOR UPDATE SKIP LOCKED)"#,
        PROBER,
        known,
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
