//! One run's own chain: cheap enough to be checked while somebody looks at it.

use std::sync::Arc;

use domain::audit::Link;
use domain::audit::check::{End, Ends, EntryRow, JournalCheck, Report};
use sqlx::PgPool;
use uuid::Uuid;

use super::carried::Entries;
use super::{facts, read};
use crate::StoreError;

/// Checks the journal of a run, against its row and what blocks say of it, and the row against it. The blocks themselves are taken at their word.
pub async fn of_run(pool: &PgPool, run_id: Uuid) -> Result<Report, StoreError> {
    // One statement, so that a run that moves meanwhile is seen at one moment.
    let rows = sqlx::query!(
        r#"SELECT r.seq AS head, j.seq, j.epoch, j.at, j.kind, j.step, j.entry::text AS "entry!", j.hash, j.tx,
                  j.carried::text AS carried, j.carried_at, s.block AS "block?", s.seq AS "end?", s.link AS "link?",
                  (SELECT upto FROM seal ORDER BY n DESC LIMIT 1) AS upto
             FROM run r JOIN journal_line j ON j.run_id = r.id LEFT JOIN seal_stream s
                  ON s.run_id = j.run_id AND s.seq BETWEEN j.seq - (j.carried IS NOT NULL)::int AND j.seq -- of what it carries, too
            WHERE r.id = $1 ORDER BY j.seq, s.seq, s.block"#,
        run_id,
    )
    .fetch_all(pool)
    .await?;
    let ends = rows.iter().filter_map(|row| {
        let link = Link::read(row.link.as_deref()?).unwrap_or(Link::from([0; 32]));
        Some(End { block: row.block?, run: run_id, seq: row.end?, link })
    });
    let upto = rows.first().and_then(|row| row.upto);
    let heads = rows.first().map(|row| (run_id, row.head)).into_iter().collect();
    let mut check = JournalCheck::new(Arc::new(Ends::new(ends.collect(), upto)), heads, |run| run == run_id);
    let (mut last, mut entries) = (0, Entries::default());
    for row in &rows {
        if row.seq != last {
            last = row.seq;
            let entry = EntryRow {
                run_id,
                seq: row.seq,
                epoch: row.epoch,
                at: row.at,
                kind: &row.kind,
                step: row.step.as_deref(),
                entry: &row.entry,
                link: row.hash.as_deref().and_then(Link::read),
                tx: row.tx,
            };
            entries.of_row(entry, read::whole(row.carried.as_deref(), row.carried_at), |entry| {
                check.entry(entry);
                Ok(())
            })?;
        }
    }
    let mut report = check.finish();
    report.merge(facts::check(&mut *pool.acquire().await?, run_id, run_id).await?);
    Ok(report)
}
