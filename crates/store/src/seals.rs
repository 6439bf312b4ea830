//! Blocks: what was committed since the last one, bound into the next.
//!
//! Which rows those are, the order of transactions says: every row carries when its transaction began to write (`tx`),
//! and a block covers what lies before the horizon, behind which everything is committed or never will be. So a slow
//! commit is never passed over, and no row is looked at twice. The journal is found by a BRIN index, not scanned.
//!
//! Any process may make the next block; the number is the key, and whoever is first has made it.

use std::time::Duration;

use domain::Timestamp;
use domain::audit::check::Anchor;
use domain::audit::merkle::Tree;
use domain::audit::{Block, CallRow, Link};
use futures::TryStreamExt as _;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// Where the last block stands.
struct Last {
    n: i64,
    upto: i64,
    audit_seq: i64,
    hash: Link,
}

/// Where a journal stands.
struct Stream {
    run_id: Uuid,
    seq: i64,
    link: Link,
}

/// Makes a block, if the last one is older than this and anything has moved since. The block that this call made.
pub async fn seal(pool: &PgPool, every: Duration) -> Result<Option<Anchor>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT clock_timestamp() AS "now!", write_horizon() AS "horizon!", n AS "n?", upto AS "upto?", audit_seq AS "audit_seq?", hash AS "hash?",
                  coalesce(at < clock_timestamp() - make_interval(secs => $1), true) AS "due!"
             FROM (VALUES (1)) AS one LEFT JOIN (SELECT * FROM seal ORDER BY n DESC LIMIT 1) AS last ON true"#,
        every.as_secs_f64(),
    )
    .fetch_one(pool)
    .await?;
    if !row.due {
        return Ok(None);
    }
    let last = match (row.n, row.upto, row.audit_seq, row.hash) {
        (Some(n), Some(upto), Some(audit_seq), Some(hash)) => {
            Some(Last { n, upto, audit_seq, hash: link(&hash, "block", n)? })
        }
        _ => None,
    };
    let (since, upto) = (last.as_ref().map_or(0, |last| last.upto), row.horizon);
    if upto < since {
        return Err(StoreError::Restored);
    }
    let streams = match &last {
        Some(_) => moved(pool, since, upto).await?,
        None => all(pool, upto).await?,
    };
    let calls = calls(pool, since, upto).await?;
    let (audit_seq, audit_link) = audit(pool).await?;
    if let Some(last) = &last
        && streams.is_empty()
        && calls.leaves() == 0
        && audit_seq == last.audit_seq
    {
        return Ok(None);
    }
    let tree: Tree = streams.iter().map(|s| Block::stream(s.run_id, s.seq, s.link)).collect();
    let block = Block {
        n: last.as_ref().map_or(1, |last| last.n + 1),
        at: row.now,
        upto,
        audit_seq,
        audit_link,
        calls: count(calls.leaves()),
        calls_root: calls.root().into(),
        streams: count(tree.leaves()),
        streams_root: tree.root().into(),
    };
    let hash = block.hash(last.map_or_else(Link::block_origin, |last| last.hash));
    let made = put(pool, &block, hash, &streams).await?;
    Ok(made.then_some(Anchor { n: block.n, hash }))
}

async fn put(pool: &PgPool, block: &Block, hash: Link, streams: &[Stream]) -> Result<bool, StoreError> {
    let runs: Vec<Uuid> = streams.iter().map(|s| s.run_id).collect();
    let seqs: Vec<i64> = streams.iter().map(|s| s.seq).collect();
    let links: Vec<Vec<u8>> = streams.iter().map(|s| s.link.as_bytes().to_vec()).collect();
    let made = sqlx::query_scalar!(
        r#"WITH made AS (
               INSERT INTO seal (n, at, upto, audit_seq, audit_link, calls, calls_root, streams, streams_root, hash)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (n) DO NOTHING RETURNING n
           ), bound AS (
               INSERT INTO seal_stream (block, run_id, seq, link)
               SELECT made.n, s.* FROM made, unnest($11::uuid[], $12::bigint[], $13::bytea[]) AS s
           )
           SELECT n FROM made"#,
        block.n,
        block.at,
        block.upto,
        block.audit_seq,
        block.audit_link.as_bytes(),
        block.calls,
        block.calls_root.as_bytes(),
        block.streams,
        block.streams_root.as_bytes(),
        hash.as_bytes(),
        &runs,
        &seqs,
        &links,
    )
    .fetch_optional(pool)
    .await?;
    Ok(made.is_some())
}

/// Where the journals stand that moved.
async fn moved(pool: &PgPool, since: i64, upto: i64) -> Result<Vec<Stream>, StoreError> {
    sqlx::query!(
        r#"SELECT DISTINCT ON (run_id) run_id, seq, hash FROM journal_line WHERE tx >= $1 AND tx < $2 ORDER BY run_id, seq DESC"#,
        since,
        upto,
    )
    .fetch_all(pool)
    .await?
    .into_iter()
    .map(|row| stream(row.run_id, row.seq, row.hash.as_deref()))
    .collect()
}

/// Where every journal stands: for the first block, which also covers what older versions wrote.
async fn all(pool: &PgPool, upto: i64) -> Result<Vec<Stream>, StoreError> {
    sqlx::query!(
        r#"SELECT r.id AS run_id, j.seq, j.hash FROM run r CROSS JOIN LATERAL (
               SELECT seq, hash FROM journal_line WHERE run_id = r.id AND coalesce(tx, 0) < $1 ORDER BY seq DESC LIMIT 1) AS j
            ORDER BY r.id"#,
        upto,
    )
    .fetch_all(pool)
    .await?
    .into_iter()
    .map(|row| stream(row.run_id, row.seq, row.hash.as_deref()))
    .collect()
}

/// The calls that were written since; for the first block also those of older versions.
async fn calls(pool: &PgPool, since: i64, upto: i64) -> Result<Tree, StoreError> {
    let mut rows = if since == 0 {
        sqlx::query_as!(
            CallRow,
            r#"SELECT id, tx, run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating
                 FROM outside_call WHERE coalesce(tx, 0) < $1 ORDER BY id"#,
            upto,
        )
        .fetch(pool)
    } else {
        sqlx::query_as!(
            CallRow,
            r#"SELECT id, tx, run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating
                 FROM outside_call WHERE tx >= $1 AND tx < $2 ORDER BY id"#,
            since,
            upto,
        )
        .fetch(pool)
    };
    let mut tree = Tree::default();
    while let Some(call) = rows.try_next().await? {
        tree.push(call.leaf());
    }
    Ok(tree)
}

/// Where `audit` stands. Its chain grows in the order of commits, so there is nothing before its end to wait for.
async fn audit(pool: &PgPool) -> Result<(i64, Link), StoreError> {
    let last =
        sqlx::query!("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetch_optional(pool).await?;
    match last {
        None => Ok((0, Link::audit_origin())),
        Some(last) => Ok((last.seq, link(&last.hash, "audit row", last.seq)?)),
    }
}

/// How far a run is sealed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SealedUpTo {
    /// The number of the last entry that a block covers.
    pub seq: i64,
    /// The block.
    pub block: i64,
    /// When it was made.
    pub at: Timestamp,
}

/// The newest block that covers a run.
pub async fn of_run(pool: &PgPool, run_id: Uuid) -> Result<Option<SealedUpTo>, StoreError> {
    Ok(sqlx::query_as!(
        SealedUpTo,
        "SELECT s.seq, s.block, b.at FROM seal_stream s JOIN seal b ON b.n = s.block WHERE s.run_id = $1 ORDER BY s.seq DESC LIMIT 1",
        run_id,
    )
    .fetch_optional(pool)
    .await?)
}

fn stream(run_id: Uuid, seq: i64, hash: Option<&[u8]>) -> Result<Stream, StoreError> {
    let link = link(hash.unwrap_or_default(), "journal entry", format!("{run_id}/{seq}"))?;
    Ok(Stream { run_id, seq, link })
}

fn link(stored: &[u8], what: &'static str, key: impl ToString) -> Result<Link, StoreError> {
    Link::read(stored).ok_or_else(|| StoreError::corrupt(what, key, "its hash is no SHA-256"))
}

fn count(leaves: u64) -> i64 {
    i64::try_from(leaves).unwrap_or(i64::MAX)
}
