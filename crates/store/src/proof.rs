//! Proves the whole history from what is stored: every chain, every block, every call, that the rows of runs say what their
//! journals say, and that what people did is found.
//!
//! Everything is read in one snapshot, so that processes may go on writing meanwhile; several connections share it and
//! divide the journal among them by run. Rows come as `COPY … BINARY`, the cheapest way out of Postgres, and are hashed as
//! they pass. What is kept in memory: 72 bytes for each journal that a block saw move, and 72 for each block.

mod carried;
mod copy;
mod export;
mod facts;
mod found;
mod read;
mod run;

use std::sync::Arc;

use domain::audit::check::{
    Anchor, AuditCheck, BlockCheck, CallCheck, End, Ends, JournalCheck, Kind, Place, Report,
};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::StoreError;
use carried::Entries;
use copy::Row;
pub use export::export;
pub use run::of_run;

/// How to check.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Connections that read at the same time.
    pub workers: usize,
    /// A block that somebody kept elsewhere, and that must still be there.
    pub anchor: Option<Anchor>,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 2, anchor: None }
    }
}

/// A part of the work that one connection does.
enum Part {
    /// The journals of the runs from one on, up to another.
    Journals(Option<Uuid>, Option<Uuid>),
    Calls(CallCheck),
    Audit(AuditCheck),
    Texts,
    Found,
}

/// Checks everything.
pub async fn verify(url: &str, options: Options) -> Result<Report, StoreError> {
    let to = crate::options(url)?;
    let mut first = crate::connection(&to).await?;
    let snapshot = begin(&mut first, None).await?;
    let (mut report, ends, calls, audit) = blocks(&mut first, options.anchor).await?;
    let ends = Arc::new(ends);
    // From the back: the journals, which are most of it, come last and in parts that even out.
    let mut parts: Vec<Part> = ranges(&mut first, options.workers.max(1) * 8).await?;
    parts.extend([Part::Texts, Part::Audit(audit), Part::Calls(calls), Part::Found]);
    let parts = Arc::new(Mutex::new(parts));
    let mut others = Vec::new();
    for _ in 1..options.workers {
        let mut connection = crate::connection(&to).await?;
        begin(&mut connection, Some(&snapshot)).await?;
        others.push(tokio::spawn(work(connection, parts.clone(), ends.clone())));
    }
    report.merge(work(first, parts, ends).await?);
    for other in others {
        let found = other.await.map_err(|e| StoreError::corrupt("check", "a part", e))?;
        report.merge(found?);
    }
    report.breaks.sort_by_key(|b| match &b.place {
        Place::Block { n } => (0, *n, None),
        Place::Journal { run, seq } => (1, *seq, Some(*run)),
        Place::Run { run } => (1, 0, Some(*run)),
        Place::Calls { block, .. } => (2, *block, None),
        Place::Audit { seq } => (3, *seq, None),
        Place::Runbook { .. } => (4, 0, None),
    });
    Ok(report)
}

/// Begins to read in a snapshot: a new one, or the one that another connection has.
async fn begin(connection: &mut PgConnection, snapshot: Option<&str>) -> Result<String, StoreError> {
    // Never ended: the connection is closed instead.
    for setting in [
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        // Rows lie in the order of their index, nearly: a sort would write them all to disk and read them again.
        "SET LOCAL enable_sort = off",
    ] {
        sqlx::query(setting).execute(&mut *connection).await?;
        if let Some(snapshot) = snapshot
            && setting.starts_with("BEGIN")
        {
            let set = format!("SET TRANSACTION SNAPSHOT '{snapshot}'");
            sqlx::query(sqlx::AssertSqlSafe(set)).execute(&mut *connection).await?;
        }
    }
    match snapshot {
        Some(snapshot) => Ok(snapshot.to_owned()),
        None => Ok(sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(&mut *connection).await?),
    }
}

async fn work(
    mut connection: PgConnection,
    parts: Arc<Mutex<Vec<Part>>>,
    ends: Arc<Ends>,
) -> Result<Report, StoreError> {
    let mut report = Report::default();
    loop {
        let Some(part) = parts.lock().await.pop() else { break };
        report.merge(match part {
            Part::Journals(from, to) => {
                let mut found = journals(&mut connection, ends.clone(), from, to).await?;
                // No id is nil.
                let (from, last) =
                    (from.unwrap_or(Uuid::nil()), to.map_or(u128::MAX, |to| to.as_u128().saturating_sub(1)));
                found.merge(facts::check(&mut connection, from, Uuid::from_u128(last)).await?);
                found
            }
            Part::Calls(check) => calls(&mut connection, check).await?,
            Part::Audit(check) => audit(&mut connection, check).await?,
            Part::Texts => texts(&mut connection).await?,
            Part::Found => found::check(&mut connection).await?,
        });
    }
    // Every connection must hold its snapshot until all have taken it, and each part was read by then.
    connection.close().await?;
    Ok(report)
}

async fn blocks(
    connection: &mut PgConnection,
    anchor: Option<Anchor>,
) -> Result<(Report, Ends, CallCheck, AuditCheck), StoreError> {
    let mut check = BlockCheck::new();
    let ends = "SELECT block, run_id, seq, link FROM seal_stream ORDER BY block, run_id";
    copy::rows(connection, ends, |row: &Row<'_, 4>| {
        check.end(End { block: row.int8(0)?, run: row.uuid(1)?, seq: row.int8(2)?, link: row.link(3)? });
        Ok(())
    })
    .await?;
    let blocks = format!("SELECT {} FROM seal ORDER BY n", read::BLOCK);
    let mut kept = None;
    copy::rows(connection, &blocks, |row: &Row<'_, 10>| {
        let (block, hash) = read::block(row)?;
        if anchor.is_some_and(|anchor| anchor.n == block.n) {
            kept = Some(hash);
        }
        check.block(&block, hash);
        Ok(())
    })
    .await?;
    if let Some(anchor) = anchor {
        check.expect(anchor, kept);
    }
    Ok(check.finish())
}

/// Divides the runs into so many parts.
async fn ranges(connection: &mut PgConnection, parts: usize) -> Result<Vec<Part>, StoreError> {
    let parts = i32::try_from(parts).unwrap_or(i32::MAX);
    let starts: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS nth, count(*) OVER () AS of FROM run) AS run
          WHERE nth % greatest(of / $1, 1) = 0 ORDER BY id LIMIT $1 - 1",
    )
    .bind(parts)
    .fetch_all(&mut *connection)
    .await?;
    let from = std::iter::once(None).chain(starts.iter().copied().map(Some));
    let to = starts.iter().copied().map(Some).chain(std::iter::once(None));
    Ok(from.zip(to).map(|(from, to)| Part::Journals(from, to)).collect())
}

async fn journals(
    connection: &mut PgConnection,
    ends: Arc<Ends>,
    from: Option<Uuid>,
    to: Option<Uuid>,
) -> Result<Report, StoreError> {
    let within = |column: &str| {
        let from = from.map(|run| format!(" AND {column} >= '{run}'")).unwrap_or_default();
        let to = to.map(|run| format!(" AND {column} < '{run}'")).unwrap_or_default();
        format!("true{from}{to}")
    };
    let mut heads = Vec::new();
    let sql = format!("SELECT id, seq FROM run WHERE {} ORDER BY id", within("id"));
    copy::rows(connection, &sql, |row: &Row<'_, 2>| {
        heads.push((row.uuid(0)?, row.int8(1)?));
        Ok(())
    })
    .await?;
    let mut check = JournalCheck::new(ends, heads, |run| {
        from.is_none_or(|from| run >= from) && to.is_none_or(|to| run < to)
    });
    let sql =
        format!("SELECT {} FROM journal_line WHERE {} ORDER BY run_id, seq", read::ENTRY, within("run_id"));
    let mut entries = Entries::default();
    copy::rows(connection, &sql, |row: &Row<'_, 11>| {
        let (entry, carried) = read::entry(row)?;
        entries.of_row(entry, carried, |entry| {
            check.entry(entry);
            Ok(())
        })
    })
    .await?;
    Ok(check.finish())
}

async fn calls(connection: &mut PgConnection, mut check: CallCheck) -> Result<Report, StoreError> {
    let sql = format!("SELECT {} FROM outside_call ORDER BY id", read::CALL);
    copy::rows(connection, &sql, |row: &Row<'_, 13>| {
        check.call(&read::call(row)?);
        Ok(())
    })
    .await?;
    Ok(check.finish())
}

async fn audit(connection: &mut PgConnection, mut check: AuditCheck) -> Result<Report, StoreError> {
    let sql = format!("SELECT {} FROM audit ORDER BY seq", read::AUDIT);
    copy::rows(connection, &sql, |row: &Row<'_, 7>| {
        check.row(&read::audit(row)?);
        Ok(())
    })
    .await?;
    Ok(check.finish())
}

/// A run is pinned to the hash of a text; the text must still give it.
async fn texts(connection: &mut PgConnection) -> Result<Report, StoreError> {
    let mut report = Report::default();
    let sql = "SELECT hash, source, encode(sha256(convert_to(source, 'UTF8')), 'hex') FROM runbook_text";
    copy::rows(connection, sql, |row: &Row<'_, 3>| {
        if row.text(0)? != row.text(2)? {
            let place = Place::Runbook { hash: row.text(0)?.to_owned() };
            report.add(place, Kind::Changed, "runs are pinned to this hash, and the text has another");
        }
        Ok(())
    })
    .await?;
    Ok(report)
}
