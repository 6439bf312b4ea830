//! Is all found that people did? The tables by which runs and requests are found (see [`crate::journal`]) lie outside the
//! chains: a row that is missing there would make a search say that nobody did what somebody did.
//!
//! What they have too much of does no harm, because what is shown comes from the run and its journal.
//!
//! So with reviews: whoever broke the glass must be in the list of those that somebody else has to look at.

use domain::audit::check::{Kind, Place, Report};
use sqlx::PgConnection;

use crate::StoreError;
use crate::proof::copy::{self, Row};

/// The words are not compared: what a text's words are may change with a newer Postgres.
const ASKED: &str =
    "SELECT j.run_id, j.seq FROM journal_line j LEFT JOIN asked a ON a.run_id = j.run_id AND a.seq = j.seq
     WHERE j.kind = 'asked' AND (a.at, a.step, a.by) IS DISTINCT FROM (j.at, j.step, asked_by(j.entry))";
/// Asked by way of `asked`, which has few rows; what is not in there is told by the question before.
const REVIEWED: &str =
    "SELECT j.run_id, j.seq FROM asked a JOIN journal_line j ON j.run_id = a.run_id AND j.seq = a.seq
     WHERE j.entry->'ask'->>'ask' = 'break_glass' AND j.entry->>'refused' IS NULL
       AND NOT EXISTS (SELECT FROM review v WHERE v.run_id = j.run_id AND v.opened_at = j.at
                          AND (v.step, v.opened_by, v.reason) IS NOT DISTINCT FROM
                              (j.entry->'ask'->>'step', j.entry->'by'->>'name', j.entry->'ask'->>'reason'))";
const RUNS: &str = "SELECT r.id, 1::bigint FROM run r LEFT JOIN run_listed l ON l.id = r.id
     WHERE (l.runbook, l.requested_by, l.created_at) IS DISTINCT FROM (r.runbook, r.requested_by, r.created_at)";

pub(super) async fn check(connection: &mut PgConnection) -> Result<Report, StoreError> {
    let mut report = Report::default();
    for (sql, why) in [
        (
            ASKED,
            "a person asked for this, and the table by which the search finds it (asked) does not say so",
        ),
        (REVIEWED, "the glass was broken here, and the list of reviews does not have it so"),
        (RUNS, "the table by which lists of runs and the search find it (run_listed) does not have it so"),
    ] {
        copy::rows(connection, sql, |row: &Row<'_, 2>| {
            report.add(Place::Journal { run: row.uuid(0)?, seq: row.int8(1)? }, Kind::Removed, why);
            Ok(())
        })
        .await?;
    }
    Ok(report)
}
