//! Sign-in links and sessions. Only hashes are stored: a copy of the database signs nobody in.
//!
//! They expire by the database's clock, never by clock time: a drill that runs at sixty times the speed of the wall must
//! not sign out the person who watches it.

use std::time::Duration;

use domain::{Role, Timestamp};
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

/// The session of a cookie, unless it has expired or was not used for so long.
pub async fn session(
    pool: &PgPool,
    token_hash: &[u8],
    idle: Duration,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT person, role, csrf, coalesce(used_at, created_at) < clock_timestamp() - interval '5 minutes' AS "stale!" FROM session
            WHERE token_hash = $1 AND expires_at > clock_timestamp()
              AND coalesce(used_at, created_at) > clock_timestamp() - make_interval(secs => $2)"#,
        token_hash,
        idle.as_secs_f64(),
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.stale {
        let used =
            sqlx::query!("UPDATE session SET used_at = clock_timestamp() WHERE token_hash = $1", token_hash);
        // Who looks while nothing can be written is still signed in.
        if let Err(e) = used.execute(pool).await {
            tracing::warn!("when a session was used last is not written down: {e}");
        }
    }
    Ok(Some(Session { person: row.person, role: role(&row.role)?, csrf: row.csrf }))
}

/// A session as its person sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Hash of its cookie.
    pub token_hash: Vec<u8>,
    /// With which role.
    pub role: Role,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to five minutes.
    pub used_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

/// The sessions of a person that are good, the newest first.
pub async fn sessions(pool: &PgPool, person: &str, idle: Duration) -> Result<Vec<Open>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT token_hash, role, created_at, coalesce(used_at, created_at) AS "used_at!", expires_at FROM session
            WHERE person = $1 AND expires_at > clock_timestamp()
              AND coalesce(used_at, created_at) > clock_timestamp() - make_interval(secs => $2)
            ORDER BY created_at DESC LIMIT 100"#,
        person,
        idle.as_secs_f64(),
    )
    .fetch_all(pool)
    .await?;
    let mut open = Vec::new();
    for row in rows {
        let role = role(&row.role)?;
        let (token_hash, created_at, used_at) = (row.token_hash, row.created_at, row.used_at);
        open.push(Open { token_hash, role, created_at, used_at, expires_at: row.expires_at });
    }
    Ok(open)
}

/// Ends a session.
pub async fn end_session(pool: &PgPool, token_hash: &[u8]) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM session WHERE token_hash = $1", token_hash).execute(pool).await?;
    Ok(())
}

/// Ends all sessions of a person. How many there were.
pub async fn end_sessions(pool: &PgPool, person: &str) -> Result<u64, StoreError> {
    Ok(sqlx::query!("DELETE FROM session WHERE person = $1", person).execute(pool).await?.rows_affected())
}
