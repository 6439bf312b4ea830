//! Does the row of a run say what its journal says? Lists, pages and triage read the row, and processes may change it.
//!
//! Three entries are looked up for each run, whatever the length of its journal.

use domain::audit::check::{Facts, Report, Told};
use futures::TryStreamExt as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;

/// Checks the rows of the runs from one to another, both included. Of one statement, so that a run that moves meanwhile is seen
/// at one moment.
pub(super) async fn check(connection: &mut PgConnection, from: Uuid, to: Uuid) -> Result<Report, StoreError> {
    // Looked up run by run: as plain joins they might read the journal of all runs, for each part of them. What begins with
    // something else than a request was written by no version, and by whom the links say.
    let mut rows = sqlx::query!(
        r#"SELECT r.id, r.runbook, r.hash, r.requested_by, r.inputs, r.plan, r.created_at, r.updated_at, r.state, r.outcome, r.message,
                  r.ended_at, f.entry AS "request!", f.at AS "requested_at!", l.at AS "moved?",
                  (l.write_id = f.write_id) IS TRUE AS "newborn!", e.entry AS "end?", e.at AS "end_at?"
             FROM run r
             CROSS JOIN LATERAL (SELECT entry, at, write_id FROM journal_line j WHERE j.run_id = r.id AND j.seq = 1 AND j.kind = 'requested' LIMIT 1) AS f
             LEFT JOIN LATERAL (SELECT at, write_id FROM journal_line j WHERE j.run_id = r.id AND j.seq = r.seq LIMIT 1) AS l ON true
             LEFT JOIN LATERAL (SELECT entry, at FROM journal_line j WHERE j.run_id = r.id AND j.kind = 'ended'
                                 ORDER BY j.seq DESC LIMIT 1) AS e ON true
            WHERE r.id BETWEEN $1 AND $2"#,
        from,
        to,
    )
    .fetch(connection);
    let mut report = Report::default();
    while let Some(row) = rows.try_next().await? {
        let facts = Facts {
            run: row.id,
            runbook: row.runbook,
            hash: row.hash,
            requested_by: row.requested_by,
            inputs: row.inputs,
            plan: row.plan,
            created_at: row.created_at,
            updated_at: row.updated_at,
            state: row.state,
            outcome: row.outcome,
            message: row.message,
            ended_at: row.ended_at,
        };
        let end = row.end.zip(row.end_at);
        let (request, moved, newborn) = ((row.request, row.requested_at), row.moved, row.newborn);
        facts.check(&Told { request, moved, newborn, end }, &mut report);
    }
    Ok(report)
}
