//! Drills that were played, and how they went. Beginning and end are audited by the statements that write them.

use domain::drill::{Player, Score};
use domain::{Actor, Timestamp};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// A drill that was begun.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Drill {
    /// Its id.
    pub id: Uuid,
    /// Name of its file.
    pub name: String,
    /// What went wrong.
    pub title: String,
    /// Who acted.
    pub player: Player,
    /// Who started it.
    pub by: String,
    /// When (clock time of the server, not of the drill's world).
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How it went, if it came to its end.
    pub score: Option<Score>,
}

/// Which drill begins.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// Its id.
    pub id: Uuid,
    /// Name of its file.
    pub name: &'a str,
    /// What goes wrong.
    pub title: &'a str,
    /// Who acts.
    pub player: Player,
    /// When.
    pub at: Timestamp,
}

/// Writes down that somebody begins one.
pub async fn begin(pool: &PgPool, begun: Begun<'_>, by: &Actor) -> Result<(), StoreError> {
    sqlx::query!(
        r#"WITH begun AS (
               INSERT INTO drill (id, name, title, player, by, started_at) VALUES ($1, $2, $3, $4, $5, $6)
           )
           INSERT INTO audit (at, actor, action, target, details)
           VALUES ($6, $5, 'drill started', $2, jsonb_build_object('drill', $1::uuid, 'player', $4::text))"#,
        begun.id,
        begun.name,
        begun.title,
        begun.player.word(),
        by.name(),
        begun.at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Writes down how it ended, once. `by` is who ended it; nobody when it came to its end by itself.
pub async fn end(
    pool: &PgPool,
    id: Uuid,
    score: Option<&Score>,
    by: &str,
    at: Timestamp,
) -> Result<(), StoreError> {
    let score =
        score.map(serde_json::to_value).transpose().map_err(|e| StoreError::corrupt("score", "", e))?;
    sqlx::query!(
        r#"WITH ended AS (
               UPDATE drill SET ended_at = $3, score = $2 WHERE id = $1 AND ended_at IS NULL RETURNING name
           )
           INSERT INTO audit (at, actor, action, target, details)
           SELECT $3, $4, 'drill ended', name, jsonb_build_object('drill', $1::uuid, 'recovered', $2::jsonb->'recovered') FROM ended"#,
        id,
        score,
        at,
        by,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The newest of them.
pub async fn newest(pool: &PgPool, limit: i64) -> Result<Vec<Drill>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT id, name, title, player, by, started_at, ended_at, score FROM drill ORDER BY started_at DESC, id LIMIT $1",
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// One of them.
pub async fn one(pool: &PgPool, id: Uuid) -> Result<Option<Drill>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        "SELECT id, name, title, player, by, started_at, ended_at, score FROM drill WHERE id = $1",
        id
    )
    .fetch_optional(pool)
    .await?;
    row.map(Row::read).transpose()
}

struct Row {
    id: Uuid,
    name: String,
    title: String,
    player: String,
    by: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    score: Option<Value>,
}

impl Row {
    fn read(self) -> Result<Drill, StoreError> {
        let player = Player::named(&self.player)
            .ok_or_else(|| StoreError::corrupt("player", &self.player, "neither people nor firebreak"))?;
        let score = self.score.map(serde_json::from_value).transpose();
        Ok(Drill {
            id: self.id,
            name: self.name,
            title: self.title,
            player,
            by: self.by,
            started_at: self.started_at,
            ended_at: self.ended_at,
            score: score.map_err(|e| StoreError::corrupt("score", "", e))?,
        })
    }
}
