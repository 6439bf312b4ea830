//! The people that an admin sees: who they are, when they were seen last, and what they have open.
//!
//! Whoever has signed in since there is a row for them, and whoever has a session or a token. What somebody may do is what their last
//! sign-in said; each session and token says what it may itself.

use std::time::Duration;

use domain::identity::By;
use domain::{Actor, Role, Timestamp};
use serde::Serialize;
use sqlx::PgPool;

use crate::StoreError;
use crate::people::{by, role};

/// So many are listed.
const LISTED: i64 = 500;

/// Somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Known {
    /// By which name.
    pub name: String,
    /// What they may do; none when they may do nothing any more, or have never signed in.
    pub role: Option<Role>,
    /// What signed them in last.
    pub by: Option<By>,
    /// Their groups, as it said.
    pub groups: Vec<String>,
    /// Their account at the provider: issuer and subject.
    pub account: Option<String>,
    /// When they, or a token of theirs, were here last, to five minutes.
    pub seen_at: Option<Timestamp>,
    /// Open sessions.
    pub sessions: i64,
    /// Tokens that are good.
    pub tokens: i64,
}

/// All people, or one; who was seen last comes first.
pub async fn list(pool: &PgPool, person: Option<&str>, idle: Duration) -> Result<Vec<Known>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH names AS (SELECT name FROM person UNION SELECT person FROM session UNION SELECT person FROM token)
           SELECT n.name AS "name!", p.role AS "role?", p.via AS "via?", p.groups AS "groups?", p.account AS "account?",
                  greatest(p.seen_at, s.used, t.used) AS seen_at, coalesce(s.open, 0) AS "sessions!", coalesce(t.good, 0) AS "tokens!"
             FROM names n LEFT JOIN person p ON p.name = n.name
             LEFT JOIN LATERAL (
                  SELECT max(coalesce(used_at, created_at)) AS used,
                         count(*) FILTER (WHERE expires_at > clock_timestamp()
                              AND coalesce(used_at, created_at) > clock_timestamp() - make_interval(secs => $2)) AS open
                    FROM session WHERE person = n.name) s ON true
             LEFT JOIN LATERAL (
                  SELECT max(used_at) AS used, count(*) FILTER (WHERE revoked_at IS NULL AND expires_at > clock_timestamp()) AS good
                    FROM token WHERE person = n.name) t ON true
            WHERE $1::text IS NULL OR n.name = $1
            ORDER BY 6 DESC NULLS LAST, 1 LIMIT $3"#,
        person,
        idle.as_secs_f64(),
        LISTED,
    )
    .fetch_all(pool)
    .await?;
    let mut known = Vec::new();
    for row in rows {
        known.push(Known {
            role: row.role.as_deref().map(role).transpose()?,
            by: row.via.as_deref().map(by).transpose()?,
            groups: row.groups.unwrap_or_default(),
            name: row.name,
            account: row.account,
            seen_at: row.seen_at,
            sessions: row.sessions,
            tokens: row.tokens,
        });
    }
    Ok(known)
}

/// Ends all sessions of somebody, and says so in the audit. How many there were.
pub async fn sign_out(pool: &PgPool, person: &str, actor: &Actor, at: Timestamp) -> Result<i64, StoreError> {
    let ended = sqlx::query_scalar!(
        r#"WITH gone AS (DELETE FROM session WHERE person = $1 RETURNING 1), n AS (SELECT count(*) AS ended FROM gone), told AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $3, $2, 'signed out by an admin', $1, jsonb_build_object('sessions', ended) FROM n
           )
           SELECT ended AS "ended!" FROM n"#,
        person,
        actor.name(),
        at,
    );
    Ok(ended.fetch_one(pool).await?)
}

/// Revokes all tokens of somebody, and says so in the audit. Their names.
pub async fn revoke_tokens(
    pool: &PgPool,
    person: &str,
    actor: &Actor,
    at: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let gone = sqlx::query_scalar!(
        r#"WITH gone AS (
               UPDATE token SET revoked_at = clock_timestamp(), revoked_by = $2 WHERE person = $1 AND revoked_at IS NULL RETURNING name
           ), n AS (SELECT coalesce(array_agg(name ORDER BY name), '{}') AS names FROM gone), told AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $3, $2, 'tokens revoked by an admin', $1, jsonb_build_object('tokens', names) FROM n
           )
           SELECT names AS "names!" FROM n"#,
        person,
        actor.name(),
        at,
    );
    Ok(gone.fetch_one(pool).await?)
}

/// Lets go of somebody's account at the provider: the next one of that name is them. So all that speaks by the name ends: sessions,
/// tokens, members of Slack; the audit says what that was. `false` when there is no account.
pub async fn unbind(pool: &PgPool, person: &str, actor: &Actor, at: Timestamp) -> Result<bool, StoreError> {
    let gone = sqlx::query_scalar!(r#"SELECT let_go($1, $2, '{}', $3) AS "gone!""#, person, actor.name(), at);
    Ok(gone.fetch_one(pool).await?)
}
