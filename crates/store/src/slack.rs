//! Who is who at Slack, what Slack has delivered, and previews that can be started.
//!
//! Like tokens and sessions, all of it expires by the database's clock, never by clock time. Of a code only the hash is kept.

use std::time::Duration;

use domain::plan::Plan;
use domain::{Actor, Role, Timestamp};
use serde_json::{Map, Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;
use crate::people::Standing;

/// So many of one list are shown.
const LISTED: i64 = 500;

/// A member of a Slack team: two ids that are one only together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The team's id.
    pub team: String,
    /// The user's id in it.
    pub id: String,
    /// As Slack calls them: for people to read, never to tell who it is.
    pub called: String,
}

/// A member speaks for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its id.
    pub id: Uuid,
    /// Who.
    pub member: Member,
    /// For whom.
    pub person: String,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub made_at: Timestamp,
}

/// The person of a member, and how they stand, if they have ever signed in.
pub async fn link(
    pool: &PgPool,
    team: &str,
    member: &str,
) -> Result<Option<(Link, Option<Standing>)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT l.id, l.called, l.person, l.role, l.made_at, p.via AS "via?", p.role AS "now?", p.groups AS "groups?"
             FROM slack_link l LEFT JOIN person p ON p.name = l.person
            WHERE l.team = $1 AND l.member = $2 AND l.removed_at IS NULL"#,
        team,
        member,
    )
    .fetch_optional(pool)
    .await?;
    row.map(|row| {
        let member = Member { team: team.to_owned(), id: member.to_owned(), called: row.called };
        let standing = Standing::of(row.via.as_deref(), row.now.as_deref(), row.groups)?;
        let role = role(row.id, &row.role)?;
        Ok((Link { id: row.id, member, person: row.person, role, made_at: row.made_at }, standing))
    })
    .transpose()
}

/// The links of one person, or of all: the newest first.
pub async fn links(pool: &PgPool, of: Option<&str>) -> Result<Vec<Link>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, team, member, called, person, role, made_at FROM slack_link
          WHERE removed_at IS NULL AND ($1::text IS NULL OR person = $1) ORDER BY made_at DESC, id DESC LIMIT $2",
        of,
        LISTED,
    )
    .fetch_all(pool)
    .await?;
    let mut links = Vec::new();
    for row in rows {
        let role = role(row.id, &row.role)?;
        let member = Member { team: row.team, id: row.member, called: row.called };
        links.push(Link { id: row.id, member, person: row.person, role, made_at: row.made_at });
    }
    Ok(links)
}

fn role(id: Uuid, word: &str) -> Result<Role, StoreError> {
    word.parse().map_err(|e| StoreError::corrupt("role", id, e))
}

/// Keeps a code that lets whoever is signed in say that this member is them.
pub async fn add_code(
    pool: &PgPool,
    hash: &[u8],
    member: &Member,
    valid: Duration,
) -> Result<(), StoreError> {
    sqlx::query!(
        "WITH old AS (DELETE FROM slack_code WHERE expires_at < clock_timestamp() - interval '1 day')
         INSERT INTO slack_code (hash, team, member, called, expires_at)
         VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))",
        hash,
        member.team,
        member.id,
        member.called,
        valid.as_secs_f64(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Whom a code is about, while it is good.
pub async fn code(pool: &PgPool, hash: &[u8]) -> Result<Option<Member>, StoreError> {
    let row = sqlx::query!(
        "SELECT team, member, called FROM slack_code WHERE hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp()",
        hash
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Member { team: row.team, id: row.member, called: row.called }))
}

/// Uses a code up: its member speaks for this person from now on, and the audit says so. `false` when the code is not good, or the
/// member speaks for somebody already.
pub async fn confirm(pool: &PgPool, hash: &[u8], by: &Actor, at: Timestamp) -> Result<bool, StoreError> {
    let made = sqlx::query!(
        "WITH used AS (
             UPDATE slack_code c SET used_at = clock_timestamp()
              WHERE hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp()
                AND NOT EXISTS (SELECT FROM slack_link l WHERE l.team = c.team AND l.member = c.member AND l.removed_at IS NULL)
             RETURNING team, member, called
         ), made AS (
             INSERT INTO slack_link (id, team, member, called, person, role) SELECT $2, team, member, called, $3, $4 FROM used
             ON CONFLICT (team, member) WHERE removed_at IS NULL DO NOTHING RETURNING id, team, member, called
         ), told AS (
             INSERT INTO audit (at, actor, action, target, details)
             SELECT $5, $3, 'slack linked', team || '/' || member, jsonb_build_object('of', $3::text, 'called', called, 'role', $4::text)
               FROM made
         )
         SELECT id FROM made",
        hash,
        Uuid::now_v7(),
        by.name(),
        by.role().word(),
        at,
    )
    .fetch_optional(pool)
    .await?;
    Ok(made.is_some())
}

/// Removes a link of one person, or anybody's, and says so in the audit. `false` when there is none.
pub async fn remove(
    pool: &PgPool,
    id: Uuid,
    of: Option<&str>,
    by: &Actor,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let gone = sqlx::query!(
        "WITH gone AS (
             UPDATE slack_link SET removed_at = clock_timestamp(), removed_by = $3
              WHERE id = $1 AND removed_at IS NULL AND ($2::text IS NULL OR person = $2) RETURNING team, member, person
         ), told AS (
             INSERT INTO audit (at, actor, action, target, details)
             SELECT $4, $3, 'slack link removed', team || '/' || member, jsonb_build_object('of', person) FROM gone
         )
         SELECT person FROM gone",
        id,
        of,
        by.name(),
        at,
    )
    .fetch_optional(pool)
    .await?;
    Ok(gone.is_some())
}

/// Takes a delivery, once: `false` when any of its keys was seen within the hour.
pub async fn first(pool: &PgPool, keys: &[Vec<u8>]) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        r#"WITH old AS (DELETE FROM slack_delivery WHERE at < clock_timestamp() - interval '1 hour'),
                put AS (INSERT INTO slack_delivery (key) SELECT unnest($1::bytea[]) ON CONFLICT (key) DO NOTHING RETURNING 1)
           SELECT count(*) AS "new!" FROM put"#,
        keys,
    )
    .fetch_one(pool)
    .await?;
    Ok(usize::try_from(row.new).is_ok_and(|new| new == keys.len()))
}

/// A plan that was shown to somebody.
#[derive(Debug, Clone)]
pub struct Preview {
    /// Its id.
    pub id: Uuid,
    /// To whom: the team's and the user's id.
    pub member: (String, String),
    /// In which channel.
    pub place: String,
    /// Of which runbook.
    pub runbook: String,
    /// With these inputs, as given.
    pub inputs: Map<String, Value>,
    /// The plan.
    pub plan: Plan,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The key of the run that it becomes.
    pub start_key: String,
    /// Is it too old, or was it cancelled?
    pub over: bool,
}

/// Keeps a preview.
pub async fn put_preview(pool: &PgPool, preview: &Preview) -> Result<(), StoreError> {
    let plan = json!(preview.plan);
    sqlx::query!(
        "WITH old AS (DELETE FROM slack_preview WHERE at < clock_timestamp() - interval '2 days')
         INSERT INTO slack_preview (id, team, member, place, runbook, inputs, plan, reason, start_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        preview.id,
        preview.member.0,
        preview.member.1,
        preview.place,
        preview.runbook,
        json!(preview.inputs),
        plan,
        preview.reason,
        preview.start_key,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// A preview, if there (still) is one. It is over after so long.
pub async fn preview(pool: &PgPool, id: Uuid, good_for: Duration) -> Result<Option<Preview>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT team, member, place, runbook, inputs, plan, reason, start_key,
                  cancelled OR at < clock_timestamp() - make_interval(secs => $2) AS "over!" FROM slack_preview WHERE id = $1"#,
        id,
        good_for.as_secs_f64(),
    )
    .fetch_optional(pool)
    .await?;
    let corrupt = |e: serde_json::Error| StoreError::corrupt("preview", id, e.to_string());
    row.map(|row| {
        Ok(Preview {
            id,
            member: (row.team, row.member),
            place: row.place,
            runbook: row.runbook,
            inputs: serde_json::from_value(row.inputs).map_err(corrupt)?,
            plan: serde_json::from_value(row.plan).map_err(corrupt)?,
            reason: row.reason,
            start_key: row.start_key,
            over: row.over,
        })
    })
    .transpose()
}

/// Leaves a preview: its button starts nothing any more.
pub async fn cancel(pool: &PgPool, id: Uuid) -> Result<(), StoreError> {
    sqlx::query!("UPDATE slack_preview SET cancelled = true WHERE id = $1", id).execute(pool).await?;
    Ok(())
}
