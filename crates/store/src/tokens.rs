//! Tokens of programs. Only hashes are stored; like sessions, they expire by the database's clock, never by clock time.

use domain::token::{Scope, Wish};
use domain::{Actor, Role, Timestamp};
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;
use crate::people::Standing;

/// So many of one list are shown.
const LISTED: i64 = 500;

/// A token, without what opens anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Token {
    /// Its id.
    pub id: Uuid,
    /// For whom it speaks.
    pub person: String,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// When it was last used, to five minutes.
    pub used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// By whom.
    pub revoked_by: Option<String>,
    /// Is it good now?
    pub good: bool,
}

/// How it lies in the database.
struct Row {
    id: Uuid,
    person: String,
    name: String,
    role: String,
    read_only: bool,
    runbooks: Option<Vec<String>>,
    created_at: Timestamp,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    revoked_by: Option<String>,
    good: bool,
}

impl Row {
    fn read(self) -> Result<Token, StoreError> {
        let Self { id, person, name, created_at, expires_at, used_at, revoked_at, revoked_by, good, .. } =
            self;
        let role = self.role.parse().map_err(|e| StoreError::corrupt("role", id, e))?;
        let scope = Scope { read_only: self.read_only, runbooks: self.runbooks };
        Ok(Token {
            id,
            person,
            name,
            role,
            scope,
            created_at,
            expires_at,
            used_at,
            revoked_at,
            revoked_by,
            good,
        })
    }
}

/// Keeps a token of a person, and says so in the audit. None when they have another one of that name that is good: one that has expired
/// is revoked in its favour.
pub async fn add(
    pool: &PgPool,
    hash: &[u8],
    person: &str,
    wish: &Wish,
    by: &Actor,
    at: Timestamp,
) -> Result<Option<Token>, StoreError> {
    let Wish { name, role, scope, days } = wish;
    let details = json!({ "of": person, "role": role, "scope": scope.told(), "days": days });
    let days = i32::try_from(*days).unwrap_or(i32::MAX);
    let row = sqlx::query_as!(
        Row,
        // What has expired is counted, so that it is revoked before the new one is put in.
        r#"WITH expired AS (
               UPDATE token SET revoked_at = clock_timestamp(), revoked_by = $10
                WHERE person = $3 AND name = $4 AND revoked_at IS NULL AND expires_at <= clock_timestamp() RETURNING person, name
           ), made AS (
               INSERT INTO token (id, hash, person, name, role, read_only, runbooks, expires_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(days => $8)
                 FROM (SELECT count(*) FROM expired) AS freed
               ON CONFLICT (person, name) WHERE revoked_at IS NULL DO NOTHING RETURNING *
           ), told AS (
               INSERT INTO audit (at, actor, action, target, details)
               SELECT $9, $10, 'token revoked', name, jsonb_build_object('of', person) FROM expired
           ), told_too AS (
               INSERT INTO audit (at, actor, action, target, details) SELECT $9, $10, 'token made', name, $11 FROM made
           )
           SELECT id, person, name, role, read_only, runbooks, created_at, expires_at, used_at, revoked_at, revoked_by,
                  true AS "good!" FROM made"#,
        Uuid::now_v7(),
        hash,
        person,
        name,
        role.word(),
        scope.read_only,
        scope.runbooks.as_deref(),
        days,
        at,
        by.name(),
        details,
    )
    .fetch_optional(pool)
    .await?;
    row.map(Row::read).transpose()
}

/// The token of a secret, good or not, and how its person stands, if they have ever signed in.
pub async fn find(pool: &PgPool, hash: &[u8]) -> Result<Option<(Token, Option<Standing>)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT t.id, t.person, t.name, t.role, t.read_only, t.runbooks, t.created_at, t.expires_at, t.used_at, t.revoked_at, t.revoked_by,
                  t.revoked_at IS NULL AND t.expires_at > clock_timestamp() AS "good!",
                  p.via AS "via?", p.role AS "now?", p.groups AS "groups?"
             FROM token t LEFT JOIN person p ON p.name = t.person WHERE t.hash = $1"#,
        hash
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let standing = Standing::of(row.via.as_deref(), row.now.as_deref(), row.groups)?;
    let token = Row {
        id: row.id,
        person: row.person,
        name: row.name,
        role: row.role,
        read_only: row.read_only,
        runbooks: row.runbooks,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used_at: row.used_at,
        revoked_at: row.revoked_at,
        revoked_by: row.revoked_by,
        good: row.good,
    };
    Ok(Some((token.read()?, standing)))
}

/// Writes down that it was used, at most once in five minutes.
pub async fn used(pool: &PgPool, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE token SET used_at = clock_timestamp()
          WHERE id = $1 AND coalesce(used_at < clock_timestamp() - interval '5 minutes', true)",
        id
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The tokens of one person, or of all: the newest first.
pub async fn list(pool: &PgPool, person: Option<&str>) -> Result<Vec<Token>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, person, name, role, read_only, runbooks, created_at, expires_at, used_at, revoked_at, revoked_by,
                  revoked_at IS NULL AND expires_at > clock_timestamp() AS "good!"
             FROM token WHERE $1::text IS NULL OR person = $1 ORDER BY created_at DESC, id DESC LIMIT $2"#,
        person,
        LISTED,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Revokes a token of one person, or anybody's, and says so in the audit. `false` when there is none that could be.
pub async fn revoke(
    pool: &PgPool,
    id: Uuid,
    of: Option<&str>,
    by: &Actor,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        "WITH gone AS (
             UPDATE token SET revoked_at = clock_timestamp(), revoked_by = $3
              WHERE id = $1 AND revoked_at IS NULL AND ($2::text IS NULL OR person = $2) RETURNING person, name
         ), told AS (
             INSERT INTO audit (at, actor, action, target, details)
             SELECT $4, $3, 'token revoked', name, jsonb_build_object('of', person) FROM gone
         )
         SELECT name FROM gone",
        id,
        of,
        by.name(),
        at,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.is_some())
}
