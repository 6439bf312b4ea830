//! The history as lines, with the proof in them: what [`FileCheck`](domain::audit::check::FileCheck) reads.

use std::collections::BTreeSet;

use domain::audit::check::{Call, EndLine, EntryLine, Line, Proof, Scope};
use domain::audit::merkle::Hash;
use domain::audit::{Block, CallRow, Link};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::carried::Entries;
use super::copy::{self, Row};
use super::{begin, read};
use crate::StoreError;

type Sink<'a> = &'a mut (dyn FnMut(Line) -> std::io::Result<()> + Send);

/// Hands over every line of an export, all of one snapshot.
pub async fn export(
    url: &str,
    scope: Scope,
    sink: impl FnMut(Line) -> std::io::Result<()> + Send,
) -> Result<(), StoreError> {
    let (mut sink, mut lines) = (sink, 0);
    let mut counting = |line: Line| {
        lines += 1;
        sink(line)
    };
    let mut connection = crate::connection(&crate::options(url)?).await?;
    begin(&mut connection, None).await?;
    everything(&mut connection, scope, &mut counting).await?;
    connection.close().await?;
    sink(Line::Eof { lines })?;
    Ok(())
}

async fn everything(connection: &mut PgConnection, scope: Scope, sink: Sink<'_>) -> Result<(), StoreError> {
    // Rows of `run` that are in it; and rows of other tables, by the run they belong to.
    let (runs, of_runs) = match scope {
        Scope::All => ("true".to_owned(), "true".to_owned()),
        Scope::Run(run) => (format!("id = '{run}'"), format!("run_id = '{run}'")),
        Scope::Since(since) => {
            let moved = format!("updated_at >= '{}'", since.to_rfc3339());
            (moved.clone(), format!("run_id IN (SELECT id FROM run WHERE {moved})"))
        }
    };
    let whole = scope == Scope::All;
    let first_block: i64 = match scope {
        Scope::All => 1,
        _ => number(connection, &first_block(&of_runs)).await?,
    };
    let audit_seq: i64 = match scope {
        Scope::All => 0,
        Scope::Run(_) => number(connection, "SELECT coalesce(max(seq), 0) FROM audit").await?,
        Scope::Since(since) => {
            let from = format!("SELECT min(seq) - 1 FROM audit WHERE at >= '{}'", since.to_rfc3339());
            number(connection, &format!("SELECT coalesce(({from}), (SELECT max(seq) FROM audit), 0)")).await?
        }
    };
    let previous = hash(connection, "SELECT hash FROM seal WHERE n", first_block - 1).await?;
    let audit_link = hash(connection, "SELECT hash FROM audit WHERE seq", audit_seq).await?;
    sink(Line::Export {
        version: 1,
        scope,
        first_block,
        previous: previous.unwrap_or_else(Link::block_origin),
        audit_seq,
        audit_link: audit_link.unwrap_or_else(Link::audit_origin),
    })?;

    if whole {
        let ends = "SELECT block, run_id, seq, link FROM seal_stream ORDER BY block, run_id";
        copy::rows(connection, ends, |row: &Row<'_, 4>| Ok(sink(Line::End(end(row)?))?)).await?;
    } else {
        ends_with_proof(connection, &of_runs, sink).await?;
    }
    let blocks = format!("SELECT {} FROM seal WHERE n >= {first_block} ORDER BY n", read::BLOCK);
    let mut uptos: Vec<i64> = Vec::new();
    copy::rows(connection, &blocks, |row: &Row<'_, 10>| {
        let (block, hash): (Block, Link) = read::block(row)?;
        uptos.push(block.upto);
        Ok(sink(Line::Block { block, hash })?)
    })
    .await?;
    let texts =
        format!("SELECT hash, source FROM runbook_text WHERE hash IN (SELECT hash FROM run WHERE {runs})");
    copy::rows(connection, &texts, |row: &Row<'_, 2>| {
        Ok(sink(Line::Runbook { hash: row.text(0)?.to_owned(), source: row.text(1)?.to_owned() })?)
    })
    .await?;
    let heads = format!("SELECT id, seq FROM run WHERE {runs} ORDER BY id");
    copy::rows(connection, &heads, |row: &Row<'_, 2>| {
        Ok(sink(Line::Run { run_id: row.uuid(0)?, seq: row.int8(1)? })?)
    })
    .await?;
    let entries = format!("SELECT {} FROM journal_line WHERE {of_runs} ORDER BY run_id, seq", read::ENTRY);
    let mut of_rows = Entries::default();
    copy::rows(connection, &entries, |row: &Row<'_, 11>| {
        let (entry, carried) = read::entry(row)?;
        of_rows.of_row(entry, carried, |entry| {
            Ok(sink(Line::Entry(EntryLine {
                run_id: entry.run_id,
                seq: entry.seq,
                epoch: entry.epoch,
                at: entry.at,
                kind: entry.kind.to_owned(),
                step: entry.step.map(str::to_owned),
                entry: entry.entry.to_owned(),
                link: entry.link,
                tx: entry.tx,
            }))?)
        })
    })
    .await?;
    let calls = format!("SELECT {} FROM outside_call WHERE {of_runs} ORDER BY id", read::CALL);
    if whole {
        copy::rows(connection, &calls, |row: &Row<'_, 13>| {
            Ok(sink(Line::Call(Call { row: read::call(row)?, proof: None }))?)
        })
        .await?;
    } else {
        calls_with_proof(connection, &calls, (first_block, &uptos), sink).await?;
    }
    let audit = format!("SELECT {} FROM audit WHERE seq > {audit_seq} ORDER BY seq", read::AUDIT);
    copy::rows(connection, &audit, |row: &Row<'_, 7>| Ok(sink(Line::Audit(read::audit(row)?))?)).await
}

/// The block from which on these runs are in any. What a run looked at is kept before it is born, and may be in a block that knows
/// nothing of the run yet.
fn first_block(of_runs: &str) -> String {
    format!(
        "SELECT coalesce(least((SELECT min(block) FROM seal_stream WHERE {of_runs}),
                               (SELECT min(n) FROM seal WHERE upto > (SELECT min(coalesce(tx, 0)) FROM outside_call WHERE {of_runs}))),
                         (SELECT max(n) + 1 FROM seal), 1)"
    )
}

fn end(row: &Row<'_, 4>) -> Result<EndLine, StoreError> {
    Ok(EndLine {
        block: row.int8(0)?,
        run_id: row.uuid(1)?,
        seq: row.int8(2)?,
        link: row.link(3)?,
        proof: None,
    })
}

/// Where some journals ended, each with the way to its block's root.
async fn ends_with_proof(
    connection: &mut PgConnection,
    of_runs: &str,
    sink: Sink<'_>,
) -> Result<(), StoreError> {
    let mut wanted: BTreeSet<(i64, Uuid)> = BTreeSet::new();
    let sql = format!("SELECT block, run_id FROM seal_stream WHERE {of_runs}");
    copy::rows(connection, &sql, |row: &Row<'_, 2>| {
        wanted.insert((row.int8(0)?, row.uuid(1)?));
        Ok(())
    })
    .await?;
    let blocks: BTreeSet<i64> = wanted.iter().map(|(block, _)| *block).collect();
    for n in blocks {
        let mut all = Vec::new();
        let sql =
            format!("SELECT block, run_id, seq, link FROM seal_stream WHERE block = {n} ORDER BY run_id");
        copy::rows(connection, &sql, |row: &Row<'_, 4>| {
            all.push(end(row)?);
            Ok(())
        })
        .await?;
        let leaves: Vec<Hash> = all.iter().map(|e| Block::stream(e.run_id, e.seq, e.link)).collect();
        for (index, mut end) in all.into_iter().enumerate() {
            if wanted.contains(&(n, end.run_id)) {
                end.proof = Some(Proof::new(n, &leaves, index));
                sink(Line::End(end))?;
            }
        }
    }
    Ok(())
}

/// Calls, each with the way to its block's root; what no block covers yet comes without.
async fn calls_with_proof(
    connection: &mut PgConnection,
    sql: &str,
    (first, uptos): (i64, &[i64]),
    sink: Sink<'_>,
) -> Result<(), StoreError> {
    let mut calls = Vec::new();
    copy::rows(connection, sql, |row: &Row<'_, 13>| {
        calls.push(read::call(row)?);
        Ok(())
    })
    .await?;
    let before: i64 =
        number(connection, &format!("SELECT coalesce((SELECT upto FROM seal WHERE n = {}), 0)", first - 1))
            .await?;
    let mut at_hand: Option<(usize, Vec<i64>, Vec<Hash>)> = None;
    for row in calls {
        let tx = row.tx.unwrap_or(0);
        let index = uptos.partition_point(|upto| *upto <= tx);
        let Some(upto) = uptos.get(index) else {
            sink(Line::Call(Call { row, proof: None }))?;
            continue;
        };
        if at_hand.as_ref().is_none_or(|(of, ..)| *of != index) {
            let since = index.checked_sub(1).and_then(|i| uptos.get(i)).copied().unwrap_or(before);
            // With `tx` alone, the index is of use; rows without one are older than the first block.
            let within = match since {
                0 => format!("coalesce(tx, 0) < {upto}"),
                since => format!("tx >= {since} AND tx < {upto}"),
            };
            let sql = format!("SELECT {} FROM outside_call WHERE {within} ORDER BY id", read::CALL);
            let (mut ids, mut leaves) = (Vec::new(), Vec::new());
            copy::rows(connection, &sql, |row: &Row<'_, 13>| {
                let call: CallRow = read::call(row)?;
                ids.push(call.id);
                leaves.push(call.leaf());
                Ok(())
            })
            .await?;
            at_hand = Some((index, ids, leaves));
        }
        let proof = at_hand.as_ref().and_then(|(_, ids, leaves)| {
            let nth = ids.binary_search(&row.id).ok()?;
            Some(Proof::new(first + i64::try_from(index).ok()?, leaves, nth))
        });
        sink(Line::Call(Call { row, proof }))?;
    }
    Ok(())
}

async fn number(connection: &mut PgConnection, sql: &str) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(connection).await?)
}

async fn hash(connection: &mut PgConnection, sql: &str, n: i64) -> Result<Option<Link>, StoreError> {
    let sql = format!("{sql} = {n}");
    let hash: Option<Vec<u8>> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_optional(connection).await?;
    Ok(hash.as_deref().and_then(Link::read))
}
