//! What is over because nobody says it any more: what the prober saw, and events of AWS.

use domain::Timestamp;
use domain::signal::{EVENTS, PROBER};
use sqlx::PgPool;

use crate::StoreError;

/// Ends what fires, was not said since a moment, and is meant. What somebody writes just now is not waited for: it was seen, or is over
/// anyway.
macro_rules! over {
    ($pool:expr, $since:expr, $at:expr, $meant:tt, $($given:expr),*) => {
        sqlx::query!(
            r#"UPDATE signal SET state = 'resolved', resolved_at = $2, change = change + 1,
                      look_at = CASE WHEN verdict IS NULL THEN $2::timestamptz END
                WHERE id IN (SELECT id FROM signal WHERE state = 'firing' AND last_seen < $1 AND "# + $meant + " FOR UPDATE SKIP LOCKED)",
            $since,
            $at,
            $($given),*
        )
        .execute($pool)
        .await
        .map(|ended| ended.rows_affected())
        .map_err(StoreError::from)
    };
}

/// The prober's signals of a fleet that no process has said since a moment are over; but not those that whoever asks could not look
/// after (`unseen`, their fingerprints).
pub async fn prober_is_calm(
    pool: &PgPool,
    fleet: &str,
    unseen: &[String],
    since: Timestamp,
    at: Timestamp,
) -> Result<u64, StoreError> {
    over!(
        pool,
        since,
        at,
        "source = $3 AND labels->>'fleet' = $4 AND fingerprint <> ALL ($5)",
        PROBER,
        fleet,
        unseen
    )
}

/// The prober's signals of fleets that are not among the `known`, and that no process has said since a moment, are over.
pub async fn prober_is_gone(
    pool: &PgPool,
    known: &[String],
    since: Timestamp,
    at: Timestamp,
) -> Result<u64, StoreError> {
    over!(pool, since, at, "source = $3 AND labels->>'fleet' <> ALL ($4)", PROBER, known)
}

/// Events of AWS that were not said again since a moment are over.
pub async fn events_are_over(pool: &PgPool, since: Timestamp, at: Timestamp) -> Result<u64, StoreError> {
    let kinds = EVENTS.map(str::to_owned);
    over!(pool, since, at, "source IN ('sns', 'eventbridge') AND kind = ANY ($3)", &kinds[..])
}
