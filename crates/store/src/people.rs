//! Sign-in links and sessions. Only hashes are stored: a copy of the database signs nobody in. (Of a provider's sessions its ID token
//! is kept, because signing out there takes it; it opens nothing, here or there.)
//!
//! They expire by the database's clock, never by clock time: a drill that runs at sixty times the speed of the wall must
//! not sign out the person who watches it.

use std::time::Duration;

use domain::identity::By;
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
pub(crate) fn role(word: &str) -> Result<Role, StoreError> {
    word.parse().map_err(|e| StoreError::corrupt("role", word, e))
}

pub(crate) fn by(word: &str) -> Result<By, StoreError> {
    word.parse().map_err(|e| StoreError::corrupt("via", word, e))
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
    /// What signed them in.
    pub by: By,
    /// Their groups, as it said.
    pub groups: Vec<String>,
}

/// What a session is over at the provider.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// Issuer and subject: nobody else's, ever.
    pub account: String,
    /// The session there.
    pub sid: Option<String>,
    /// The token that said so.
    pub id_token: String,
}

/// Opens a session, and says so in the audit. `false`, and nothing is opened, when the name belongs to another account.
///
/// Somebody's other sessions by the same account end where they would let them do what their groups no longer do.
pub async fn add_session(
    pool: &PgPool,
    token_hash: &[u8],
    session: &Session,
    elsewhere: Option<&Elsewhere>,
    valid: Duration,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let Session { person, role, csrf, by, groups } = session;
    let entered = sqlx::query_scalar!(
        r#"SELECT enter(s, $10, $11) AS "entered!" FROM jsonb_populate_record(NULL::session, jsonb_build_object(
               'token_hash', $1::bytea, 'person', $2::text, 'role', $3::text, 'csrf', $4::text, 'via', $5::text, 'groups', $6::text[],
               'account', $7::text, 'sid', $8::text, 'id_token', $9::text)) AS s"#,
        token_hash,
        person,
        role.word(),
        csrf,
        by.word(),
        groups,
        elsewhere.map(|e| e.account.as_str()),
        elsewhere.and_then(|e| e.sid.as_deref()),
        elsewhere.map(|e| e.id_token.as_str()),
        valid.as_secs_f64(),
        at,
    );
    Ok(entered.fetch_one(pool).await?)
}

/// The provider knows an account, and it may do nothing here: whatever it had open ends, and its person's tokens with it, and the
/// audit says so. How many sessions ended; none when the account is nobody's.
pub async fn lose(pool: &PgPool, account: &str, why: &str, at: Timestamp) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT lose_account($1, $2, $3)", account, why, at).fetch_one(pool).await?)
}

/// The session of a cookie, unless it has expired or was not used for so long.
pub async fn session(
    pool: &PgPool,
    token_hash: &[u8],
    idle: Duration,
) -> Result<Option<Session>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT person, role, csrf, via, groups, coalesce(used_at, created_at) < clock_timestamp() - interval '5 minutes' AS "stale!"
             FROM session
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
    let (role, by) = (role(&row.role)?, by(&row.via)?);
    Ok(Some(Session { person: row.person, role, csrf: row.csrf, by, groups: row.groups }))
}

/// The provider's token behind a session, to be shown when they sign out.
pub async fn id_token(pool: &PgPool, token_hash: &[u8]) -> Result<Option<String>, StoreError> {
    let row = sqlx::query_scalar!("SELECT id_token FROM session WHERE token_hash = $1", token_hash);
    Ok(row.fetch_optional(pool).await?.flatten())
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
    sqlx::query!(
        "WITH gone AS (DELETE FROM session WHERE token_hash = $1 RETURNING person)
         UPDATE person SET seen_at = clock_timestamp() FROM gone WHERE name = gone.person",
        token_hash
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends all sessions of a person. How many there were.
pub async fn end_sessions(pool: &PgPool, person: &str) -> Result<u64, StoreError> {
    Ok(sqlx::query!("DELETE FROM session WHERE person = $1", person).execute(pool).await?.rows_affected())
}

/// Ends the sessions that came from one at the provider, or from all of an account. Whose they were.
pub async fn end_sessions_elsewhere(
    pool: &PgPool,
    account: Option<&str>,
    sid: Option<&str>,
) -> Result<Vec<String>, StoreError> {
    let gone = sqlx::query_scalar!(
        "DELETE FROM session WHERE via = 'provider' AND ($1::text IS NOT NULL OR $2::text IS NOT NULL)
            AND ($1::text IS NULL OR account = $1) AND ($2::text IS NULL OR sid = $2) RETURNING person",
        account,
        sid
    );
    Ok(gone.fetch_all(pool).await?)
}

/// How the person stands behind a token, or a member of Slack: what they were given then may be too much by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What signed them in last.
    pub by: By,
    /// What they may do since; none when they may do nothing any more.
    pub role: Option<Role>,
    /// Their groups.
    pub groups: Vec<String>,
}

impl Standing {
    /// Of columns that are not there for somebody who has never signed in.
    pub(crate) fn of(
        via: Option<&str>,
        now: Option<&str>,
        groups: Option<Vec<String>>,
    ) -> Result<Option<Self>, StoreError> {
        let Some(via) = via else { return Ok(None) };
        let role = now.map(self::role).transpose()?;
        Ok(Some(Self { by: by(via)?, role, groups: groups.unwrap_or_default() }))
    }
}
