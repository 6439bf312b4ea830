//! What people ask of a run: insert-only, idempotent by id, folded into the journal by the run's owner.

use std::time::{Duration, Instant};

use domain::run::Ask;
use domain::{Actor, Timestamp};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// One wish.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its number; a run answers its wishes in this order.
    pub n: i64,
    /// Who.
    pub by: Actor,
    /// What.
    pub ask: Ask,
}

/// Puts a wish into a run's inbox. The same id is put in once.
pub async fn put(
    pool: &PgPool,
    run_id: Uuid,
    id: Uuid,
    by: &Actor,
    ask: &Ask,
    at: Timestamp,
) -> Result<(), StoreError> {
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.map_err(|e| StoreError::corrupt("wish", id, e))
    };
    sqlx::query!(
        "INSERT INTO inbox (id, run_id, by, ask, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING",
        id,
        run_id,
        json(serde_json::to_value(by))?,
        json(serde_json::to_value(ask))?,
        at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What was put in under this id, and into which run's inbox.
pub async fn kept(pool: &PgPool, id: Uuid) -> Result<Option<(Uuid, Ask)>, StoreError> {
    let kept = sqlx::query!("SELECT run_id, ask FROM inbox WHERE id = $1", id).fetch_optional(pool).await?;
    kept.map(|row| {
        let ask = serde_json::from_value(row.ask).map_err(|e| StoreError::corrupt("wish", id, e))?;
        Ok((row.run_id, ask))
    })
    .transpose()
}

/// The wishes after number `n`.
pub async fn after(pool: &PgPool, run_id: Uuid, n: i64) -> Result<Vec<Wish>, StoreError> {
    sqlx::query!("SELECT n, by, ask FROM inbox WHERE run_id = $1 AND n > $2 ORDER BY n", run_id, n)
        .fetch_all(pool)
        .await?
        .into_iter()
        .map(|row| {
            let corrupt = |e: serde_json::Error| StoreError::corrupt("wish", row.n, e);
            Ok(Wish {
                n: row.n,
                by: serde_json::from_value(row.by).map_err(corrupt)?,
                ask: serde_json::from_value(row.ask).map_err(corrupt)?,
            })
        })
        .collect()
}

/// Up to where the inbox was read by all of a worker's runs, so that nobody reads all of it, or all runs, every second.
///
/// Numbers are given out before they can be seen, so a smaller one may appear after a greater: the mark stays half a
/// minute behind, and every minute everything is read once more.
#[derive(Debug, Default)]
pub struct Watermark {
    read_from: i64,
    /// The greatest number at that moment, to be read from once it is old enough.
    next: Option<(Instant, i64)>,
    all_read: Option<Instant>,
}

const BEHIND: Duration = Duration::from_secs(30);
const EVERYTHING: Duration = Duration::from_secs(60);

impl Watermark {
    fn from(&mut self, now: Instant) -> i64 {
        if self.all_read.is_none_or(|at| now.duration_since(at) >= EVERYTHING) {
            self.all_read = Some(now);
            return 0;
        }
        self.read_from
    }

    fn saw(&mut self, now: Instant, greatest: i64) {
        match self.next {
            Some((at, n)) if now.duration_since(at) >= BEHIND => {
                self.read_from = n;
                self.next = Some((now, greatest));
            }
            Some(_) => {}
            None => self.next = Some((now, greatest)),
        }
    }
}

/// The runs of a worker that have unanswered wishes.
pub async fn waiting(pool: &PgPool, worker: i64, watermark: &mut Watermark) -> Result<Vec<Uuid>, StoreError> {
    let now = Instant::now();
    let greatest =
        sqlx::query_scalar!(r#"SELECT coalesce(max(n), 0) AS "n!" FROM inbox"#).fetch_one(pool).await?;
    let from = watermark.from(now);
    let runs = sqlx::query_scalar!(
        "SELECT DISTINCT r.id FROM inbox i JOIN run r ON r.id = i.run_id AND i.n > r.inbox
          WHERE i.n > $2 AND r.owner = $1 AND r.ended_at IS NULL",
        worker,
        from,
    )
    .fetch_all(pool)
    .await?;
    watermark.saw(now, greatest);
    Ok(runs)
}
