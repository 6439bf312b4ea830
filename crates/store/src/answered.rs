//! What was answered to requests with an `Idempotency-Key`, so that the same request again does nothing again.

use sqlx::PgPool;

use crate::StoreError;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: it is ours now, to be answered.
    Fresh,
    /// It was answered so.
    Answered {
        /// HTTP status.
        status: u16,
        /// The text.
        body: Vec<u8>,
    },
    /// Somebody is at work on it.
    AtWork,
    /// It came with another request.
    Other,
}

/// Claims a key for a request. A claim that was not answered within five minutes died, and is taken over; a day later all is
/// forgotten.
pub async fn claim(pool: &PgPool, key: &[u8], request: &[u8]) -> Result<Known, StoreError> {
    sqlx::query!("DELETE FROM answered WHERE at < clock_timestamp() - interval '1 day'")
        .execute(pool)
        .await?;
    let ours = sqlx::query!(
        "INSERT INTO answered AS a (key, request) VALUES ($1, $2)
         ON CONFLICT (key) DO UPDATE SET at = clock_timestamp()
          WHERE a.request = excluded.request AND a.status IS NULL AND a.at < clock_timestamp() - interval '5 minutes'
         RETURNING true AS ours",
        key,
        request
    )
    .fetch_optional(pool)
    .await?;
    if ours.is_some() {
        return Ok(Known::Fresh);
    }
    let row = sqlx::query!("SELECT request, status, body FROM answered WHERE key = $1", key)
        .fetch_optional(pool)
        .await?;
    Ok(match row {
        Some(row) if row.request != request => Known::Other,
        Some(row) => match (row.status.and_then(|s| u16::try_from(s).ok()), row.body) {
            (Some(status), Some(body)) => Known::Answered { status, body },
            _ => Known::AtWork,
        },
        // Given back in between: whoever asks again finds it free.
        None => Known::AtWork,
    })
}

/// Keeps the answer.
pub async fn put(pool: &PgPool, key: &[u8], status: u16, body: &[u8]) -> Result<(), StoreError> {
    let status = i32::from(status);
    sqlx::query!("UPDATE answered SET status = $2, body = $3 WHERE key = $1", key, status, body)
        .execute(pool)
        .await?;
    Ok(())
}

/// Gives a key back: nothing was done, so that the same may be asked again.
pub async fn give_back(pool: &PgPool, key: &[u8]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM answered WHERE key = $1 AND status IS NULL", key).execute(pool).await?;
    Ok(())
}
