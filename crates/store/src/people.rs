//! Sign-in links and sessions. Only hashes are stored: a copy of the database signs nobody in.
//!
//! They expire by the database's clock, never by clock time: a drill that runs at sixty times the speed of the wall must
//! not sign out the person who watches it.

use std::time::Duration;

use domain::Role;
use sqlx::PgPool;

use crate::StoreError;

/// Keeps a sign-in link.
pub async fn add_link(
    pool: &PgPool,
    token_hash: &[u8],
    person: &str,
    role: Role,
    valid: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO sign_in_link (token_hash, person, role, expires_at) VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))",
        token_hash,
        person,
        role.word(),
        valid.as_secs_f64(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Uses a link up: the person whom it signs in, and as what, once and before it expires.
pub async fn use_link(pool: &PgPool, token_hash: &[u8]) -> Result<Option<(String, Role)>, StoreError> {
    let row = sqlx::query!(
        "UPDATE sign_in_link SET used_at = clock_timestamp()
          WHERE token_hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp() RETURNING person, role",
        token_hash,
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| Ok((row.person, role(&row.role)?))).transpose()
}

/// A word that is no role signs nobody in: what cannot be read means no.
fn role(word: &str) -> Result<Role, StoreError> {
    word.parse().map_err(|e| StoreError::corrupt("role", word, e))
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub person: String,
    /// What they may do.
    pub role: Role,
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
        "INSERT INTO session (token_hash, person, role, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, clock_timestamp(), clock_timestamp() + make_interval(secs => $5))",
        token_hash,
        session.person,
        session.role.word(),
        session.csrf,
        valid.as_secs_f64(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The session of a cookie, unless it has expired.
pub async fn session(pool: &PgPool, token_hash: &[u8]) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query!(
        "SELECT person, role, csrf FROM session WHERE token_hash = $1 AND expires_at > clock_timestamp()",
        token_hash
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| Ok(Session { person: row.person, role: role(&row.role)?, csrf: row.csrf })).transpose()
}

/// Ends a session.
pub async fn end_session(pool: &PgPool, token_hash: &[u8]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM session WHERE token_hash = $1", token_hash).execute(pool).await?;
    Ok(())
}
