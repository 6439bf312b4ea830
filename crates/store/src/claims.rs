//! Taking over what dead workers left: runs by the batch, with all that it takes to drive them.
//!
//! Both questions are asked twice a second by every process, or ten thousand times in a row after a crash: neither reads
//! more than the runs that it answers with.

use std::collections::HashMap;

use domain::audit::Link;
use domain::run::Record;
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;
use crate::read::Stored;

/// A run that was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Which.
    pub run_id: Uuid,
    /// The epoch it is now driven under.
    pub epoch: i64,
    /// Name of its runbook.
    pub runbook: String,
    /// Hash of the text it is pinned to.
    pub hash: String,
}

/// Takes over up to `limit` runs whose worker is dead or gave them back, the oldest first. From then on every write of
/// the old one finds no row. A worker that is dead itself, and does not know it yet, takes over nothing.
///
/// A run whose worker lived before a failover that may have lost commits gets an epoch far ahead
/// ([`EPOCH_JUMP`](domain::run::EPOCH_JUMP)): numbers just above the one seen here may have been given out already.
///
/// The owners of open runs are told apart by hopping through the index from one to the next, so that a process asks for
/// the price of the owners there are, not of the runs that they drive.
pub async fn claim(pool: &PgPool, worker: i64, limit: i64) -> Result<Vec<Claimed>, StoreError> {
    Ok(sqlx::query_as!(
        Claimed,
        r#"WITH RECURSIVE owner(id) AS (
               (SELECT owner FROM run WHERE ended_at IS NULL AND owner IS NOT NULL ORDER BY owner LIMIT 1)
               UNION ALL
               SELECT (SELECT r.owner FROM run r WHERE r.ended_at IS NULL AND r.owner > o.id ORDER BY r.owner LIMIT 1)
                 FROM owner o WHERE o.id IS NOT NULL
           ), me AS (
               SELECT timeline FROM worker
                WHERE id = $1 AND lease_until > clock_timestamp() AND timeline IS NOT DISTINCT FROM server_timeline()
           ), dead AS (
               SELECT w.id, coalesce(w.timeline <> me.timeline AND NOT w.synchronous, false) AS tail_lost
                 FROM me, owner o JOIN worker w ON w.id = o.id WHERE w.lease_until < clock_timestamp()
           )
           UPDATE run SET owner = $1, epoch = epoch +
                  CASE WHEN owner IN (SELECT id FROM dead WHERE tail_lost) THEN $3::bigint ELSE 1 END
            WHERE EXISTS (SELECT 1 FROM me)
              AND id IN (
                SELECT r.id FROM run r
                 WHERE r.ended_at IS NULL AND (r.owner = ANY(ARRAY(SELECT id FROM dead)) OR r.owner IS NULL)
                 ORDER BY r.id LIMIT $2 FOR UPDATE OF r SKIP LOCKED)
           RETURNING id AS run_id, epoch, runbook, hash"#,
        worker,
        limit,
        domain::run::EPOCH_JUMP,
    )
    .fetch_all(pool)
    .await?)
}

/// Takes up a run that this worker owns and does not drive: one whose creation or claim was not acknowledged. `None` when
/// it was never written, has ended, or belongs to another.
pub async fn claim_own(pool: &PgPool, worker: i64, run_id: Uuid) -> Result<Option<Claimed>, StoreError> {
    Ok(sqlx::query_as!(
        Claimed,
        r#"UPDATE run SET epoch = epoch + 1
            WHERE id = $2 AND owner = $1 AND ended_at IS NULL
              AND EXISTS (SELECT 1 FROM worker WHERE id = $1 AND lease_until > clock_timestamp())
           RETURNING id AS run_id, epoch, runbook, hash"#,
        worker,
        run_id,
    )
    .fetch_optional(pool)
    .await?)
}

/// The open runs that a worker owns, as far as the database can tell.
pub async fn owned(pool: &PgPool, worker: i64) -> Result<Vec<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT id FROM run WHERE owner = $1 AND ended_at IS NULL", worker)
        .fetch_all(pool)
        .await?)
}

/// The journals of runs, each in order, with the link of its last entry.
pub async fn journals(
    pool: &PgPool,
    runs: &[Uuid],
) -> Result<HashMap<Uuid, Result<(Vec<Record>, Link), StoreError>>, StoreError> {
    let rows = sqlx::query_as!(
        Stored,
        "SELECT run_id, seq, at, epoch, entry, carried, carried_at, hash FROM journal_line
          WHERE run_id = ANY($1) ORDER BY run_id, seq",
        runs
    )
    .fetch_all(pool)
    .await?;
    let mut journals = HashMap::new();
    for row in rows {
        let journal =
            journals.entry(row.run_id).or_insert_with(|| Ok((Vec::new(), Link::origin(row.run_id))));
        // One entry that cannot be read costs its own run, and no other.
        if let Ok((records, last)) = journal {
            let read = row.link().and_then(|link| Ok((link, row.records().collect::<Result<Vec<_>, _>>()?)));
            match read {
                Ok((link, read)) => {
                    records.extend(read);
                    *last = link;
                }
                Err(e) => *journal = Err(e),
            }
        }
    }
    Ok(journals)
}

/// The text of that hash.
pub async fn text(pool: &PgPool, hash: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT source FROM runbook_text WHERE hash = $1", hash)
        .fetch_optional(pool)
        .await?)
}
