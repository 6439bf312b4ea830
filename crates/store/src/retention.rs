//! What is removed once nobody can ask for it any more: ids of deliveries, messages that were sent, sessions and sign-in links that
//! are over. Never anything of history.
//!
//! Deliveries and messages are kept so that nothing is said twice, so a row goes only where nobody can come to say the same again:
//!
//! - a delivery: not while a signal of its source fires that began before it. Alarms that ring are read again and again, and
//!   each time known by their delivery;
//! - a message: not before it is settled; not while its incident is open, its run goes on, is shown in a chat and still edited, or
//!   its signal is not over; and not when it is among the last that were told, because what is news is reckoned from there.
//!
//! A few at a time, the oldest first, and none that somebody else holds: nobody waits for this, and several may do it.

use domain::Timestamp;
use sqlx::PgPool;

use crate::StoreError;

/// Removes deliveries of before a moment, at most so many; how many.
pub async fn deliveries(pool: &PgPool, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let removed = sqlx::query!(
        r#"DELETE FROM delivery WHERE (source, id) IN (
               SELECT d.source, d.id FROM delivery d
                WHERE d.at < $1
                  AND NOT EXISTS (SELECT FROM signal s WHERE s.state = 'firing' AND s.source = d.source AND s.first_seen <= d.at)
                ORDER BY d.at LIMIT $2 FOR UPDATE SKIP LOCKED)"#,
        before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(removed.rows_affected())
}

/// Removes messages that were settled before a moment, at most so many; how many.
pub async fn messages(pool: &PgPool, before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let removed = sqlx::query!(
        r#"DELETE FROM outbox WHERE id IN (
               SELECT o.id FROM outbox o
                CROSS JOIN LATERAL (
                    SELECT coalesce(o.thread, substring(o.message->>'path' FROM $3)::uuid) AS run,
                           substring(o.message->>'path' FROM $4)::uuid AS signal) AS about
                WHERE o.at < $1 AND o.due IS NULL AND o.settled_at < $1
                  AND o.at < (SELECT max(newest.at) FROM outbox newest) - interval '1 day'
                  AND NOT EXISTS (SELECT FROM incident i WHERE i.id = o.incident AND (i.closed_at IS NULL OR i.closed_at > $1))
                  AND NOT EXISTS (SELECT FROM run r WHERE r.id = about.run AND (r.ended_at IS NULL OR r.ended_at > $1))
                  AND NOT EXISTS (SELECT FROM run_card c WHERE c.run_id = about.run AND c.due IS NOT NULL)
                  AND NOT EXISTS (SELECT FROM signal s
                                   WHERE s.id = about.signal AND (s.state <> 'resolved' OR s.resolved_at > $1))
                ORDER BY o.at, o.id LIMIT $2 FOR UPDATE OF o SKIP LOCKED)"#,
        before,
        limit,
        format!("^/runs/({UUID})"),
        format!("^/signals/({UUID})"),
    )
    .execute(pool)
    .await?;
    Ok(removed.rows_affected())
}

/// Removes sessions, with the provider's tokens in them, and sign-in links, once they are over: at most so many of each; how
/// many. Both end by the database's clock, and nobody is known by one that has: the audit tells who was here.
pub async fn sign_ins(pool: &PgPool, limit: i64) -> Result<u64, StoreError> {
    let removed = sqlx::query_scalar!(
        r#"WITH sessions AS (
               DELETE FROM session WHERE token_hash IN (
                   SELECT token_hash FROM session WHERE expires_at < clock_timestamp() LIMIT $1 FOR UPDATE SKIP LOCKED)
               RETURNING 1),
           links AS (
               DELETE FROM sign_in_link WHERE token_hash IN (
                   SELECT token_hash FROM sign_in_link WHERE expires_at < clock_timestamp() LIMIT $1 FOR UPDATE SKIP LOCKED)
               RETURNING 1)
           SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM links) AS "removed!""#,
        limit,
    )
    .fetch_one(pool)
    .await?;
    Ok(removed.unsigned_abs())
}

const UUID: &str = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
