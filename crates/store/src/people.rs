//! Sign-in links and sessions. Only hashes are stored: a copy of the database signs nobody in.
//!
//! They expire by the database's clock, never by clock time: a drill that runs at sixty times the speed of the wall must
//! not sign out the person who watches it.

use std::time::Duration;

use sqlx::PgPool;

use crate::StoreError;

/// Keeps a sign-in link.
pub async fn add_link(
    pool: &PgPool,
    token_hash: &[u8],
    person: &str,
    valid: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO sign_in_link (token_hash, person, expires_at) VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))",
        token_hash,
        person,
        valid.as_secs_f64(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Uses a link up: the person whom it signs in, once and before it expires.
pub async fn use_link(pool: &PgPool, token_hash: &[u8]) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "UPDATE sign_in_link SET used_at = clock_timestamp()
          WHERE token_hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp() RETURNING person",
        token_hash,
    )
    .fetch_optional(pool)
    .await?)
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub person: String,
    /// What every form must carry back.
    pub csrf: String,
}

/// Opens a session.
pub async fn add_session(
    pool: &PgPool,
    token_hash: &[u8],
    session: &Session,
    valid: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO session (token_hash, person, csrf, created_at, expires_at) VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp() + make_interval(secs => $4))",
        token_hash,
        session.person,
        session.csrf,
        valid.as_secs_f64(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The session of a cookie, unless it has expired.
pub async fn session(pool: &PgPool, token_hash: &[u8]) -> Result<Option<Session>, StoreError> {
    Ok(sqlx::query_as!(
        Session,
        "SELECT person, csrf FROM session WHERE token_hash = $1 AND expires_at > clock_timestamp()",
        token_hash
    )
    .fetch_optional(pool)
    .await?)
}

/// Ends a session.
pub async fn end_session(pool: &PgPool, token_hash: &[u8]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM session WHERE token_hash = $1", token_hash).execute(pool).await?;
    Ok(())
}
