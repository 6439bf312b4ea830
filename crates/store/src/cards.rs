//! The message of each run in the chat: up to which entry of its journal it shows the run, and who may edit it.
//!
//! Edits are absolute, so one that may have been lost is simply made again. Two processes never edit one message at the same time:
//! an older state could come last. That the message is there, and where, is known by the outbox.

use std::time::Duration;

use domain::Timestamp;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// Gives a card to runs that have none: to these, or to all that are open or have ended since. It is shown where the run was asked
/// for, or else at `place`; without either there is none.
pub async fn begin(
    pool: &PgPool,
    ids: Option<&[Uuid]>,
    since: Timestamp,
    place: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO run_card (run_id, place)
         SELECT r.id, coalesce(p.place, $3) FROM run r LEFT JOIN slack_preview p ON p.start_key = r.idem_key
          WHERE (r.ended_at > $2 OR r.ended_at IS NULL) AND ($1::uuid[] IS NULL OR r.id = ANY ($1))
            AND coalesce(p.place, $3) IS NOT NULL
         ON CONFLICT (run_id) DO NOTHING",
        ids,
        since,
        place,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A card that shows less than has happened.
#[derive(Debug, Clone)]
pub struct Behind {
    /// The run.
    pub run_id: Uuid,
    /// Where it is shown.
    pub place: String,
    /// Tries since the last edit that was taken, or had nothing to be made in.
    pub attempts: i32,
    /// The right to edit it.
    pub claim: Uuid,
}

/// Takes cards that are behind and may be edited now: nobody else edits them while this worker lives. It says what became of each
/// before it asks again.
pub async fn claim(pool: &PgPool, worker: i64, limit: i64) -> Result<Vec<Behind>, StoreError> {
    Ok(sqlx::query_as!(
        Behind,
        r#"UPDATE run_card SET claim = gen_random_uuid(), claimed_by = $1, attempts = attempts + 1
             FROM (SELECT c.run_id FROM run_card c JOIN run r ON r.id = c.run_id
                    WHERE c.due <= clock_timestamp() AND r.seq > c.shown
                      AND (c.claimed_by IS NULL OR c.claimed_by = $1
                           OR NOT EXISTS (SELECT FROM worker w WHERE w.id = c.claimed_by AND w.lease_until > clock_timestamp()))
                    ORDER BY c.due LIMIT $2 FOR UPDATE OF c SKIP LOCKED) due
            WHERE run_card.run_id = due.run_id
           RETURNING run_card.run_id, place, attempts - 1 AS "attempts!", claim AS "claim!""#,
        worker,
        limit,
    )
    .fetch_all(pool)
    .await?)
}

/// A run's message, as the outbox knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parent {
    /// Where it was put.
    pub receipt: Option<Value>,
    /// Nothing more is tried.
    pub settled: bool,
    /// How often it was tried.
    pub attempts: i32,
}

/// The message that a run's card edits, once it was told.
pub async fn parent(pool: &PgPool, channel: &str, run: Uuid) -> Result<Option<Parent>, StoreError> {
    let key = format!("card:{run}");
    Ok(sqlx::query_as!(
        Parent,
        r#"SELECT receipt, due IS NULL AS "settled!", attempts FROM outbox WHERE channel = $1 AND key = $2"#,
        channel,
        key,
    )
    .fetch_optional(pool)
    .await?)
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// It shows the run up to this entry; the next edit not before that time has passed. After the last one there is none.
    Shown {
        /// The entry.
        seq: i64,
        /// How long it rests; nothing after the run's end.
        rest: Option<Duration>,
    },
    /// Not yet.
    Later {
        /// Why; nothing, where it was not tried.
        error: Option<String>,
        /// How long it rests.
        rest: Duration,
    },
    /// It never will be.
    GivenUp {
        /// Why.
        error: String,
    },
}

/// Writes down what became of an edit, if the right to say so still holds.
pub async fn settle(pool: &PgPool, behind: &Behind, edited: &Edited) -> Result<(), StoreError> {
    let (shown, error, rest) = match edited {
        Edited::Shown { seq, rest } => (Some(*seq), None, rest.map(|rest| rest.as_secs_f64())),
        Edited::Later { error, rest } => (None, error.as_deref(), Some(rest.as_secs_f64())),
        Edited::GivenUp { error } => (None, Some(error.as_str()), None),
    };
    // Words from outside may hold what no text in Postgres does.
    let error = error.map(|error| error.replace('\0', ""));
    sqlx::query!(
        "UPDATE run_card SET shown = coalesce($3, shown), attempts = CASE WHEN $3::bigint IS NULL AND $4::text IS NOT NULL THEN attempts ELSE 0 END,
                error = $4,
                due = clock_timestamp() + make_interval(secs => $5), claim = NULL, claimed_by = NULL
          WHERE run_id = $1 AND claim = $2",
        behind.run_id,
        behind.claim,
        shown,
        error,
        rest,
    )
    .execute(pool)
    .await?;
    Ok(())
}
