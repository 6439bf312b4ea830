//! Whoever changes history is found, at the exact place.

use domain::audit::check::{Anchor, Break, FileCheck, FileError, Kind, Place, Report, Scope};
use store::private::TestDb;
use store::proof::{Options, export, of_run, verify};
use uuid::Uuid;

use crate::history::{self, carry, forge, sealed};

async fn check(db: &TestDb) -> Report {
    verify(&db.url(), Options::default()).await.unwrap()
}

#[tokio::test]
async fn a_history_that_nobody_changed_is_whole() {
    let (db, _) = sealed().await;
    let report = check(&db).await;
    assert!(report.is_whole(), "{:#?}", report.breaks);
    assert_eq!((report.entries, report.runs, report.calls, report.audit), (13, 3, 7, 5));
    assert_eq!((report.blocks, report.unsealed), (2, 0));
    history::run(db.pool(), 4).await;
    let report = check(&db).await;
    assert!(report.is_whole(), "{:#?}", report.breaks);
    assert_eq!(report.unsealed, 4, "what came since waits for its block");
}

async fn lines(db: &TestDb) -> Vec<String> {
    let mut lines = Vec::new();
    let each = |line| {
        lines.push(serde_json::to_string(&line).unwrap());
        Ok(())
    };
    export(&db.url(), Scope::All, each).await.unwrap();
    lines
}

#[tokio::test]
async fn a_row_that_carries_an_entry_proves_and_exports_what_two_rows_do() {
    let (db, [first, second, third]) = sealed().await;
    let entries = "SELECT jsonb_agg(to_jsonb(j) - 'write_id' ORDER BY run_id, seq) FROM journal AS j";
    let (alone, seen) = (lines(&db).await, scalar::<serde_json::Value>(&db, entries).await);
    for (run, seq) in [(first, 2), (first, 4), (third, 4), (third, 6)] {
        carry(&db, run, seq).await;
    }
    assert_eq!(scalar::<i64>(&db, "SELECT count(*) FROM journal_line").await, 9, "of thirteen entries");
    let report = check(&db).await;
    assert!(report.is_whole() && report.entries == 13, "{report:#?}");
    assert_eq!(lines(&db).await, alone);
    assert_eq!(scalar::<serde_json::Value>(&db, entries).await, seen, "the view takes them apart");
    for run in [first, second, third] {
        assert!(of_run(db.pool(), run).await.unwrap().is_whole());
    }
}

#[tokio::test]
async fn what_is_done_to_a_carried_entry_is_found_at_the_one_that_carries_it() {
    let cases = [
        ("its text", "carried = replace(carried::text, '3', '4')::json", 4, Kind::Changed),
        ("its time", "carried_at = carried_at - interval '1 microsecond'", 4, Kind::Changed),
        ("what carries it", "entry = replace(entry::text, '4', '3')::json, step = 's3'", 4, Kind::Changed),
        ("their order", "carried = entry, entry = carried, step = 's3'", 4, Kind::Changed),
        ("it is gone", "carried = NULL, carried_at = NULL", 3, Kind::Removed),
        ("its text is gone", "carried = NULL", 3, Kind::Changed),
        ("its time is gone", "carried_at = NULL", 4, Kind::Changed),
        ("it says nothing", "carried = '[]'", 3, Kind::Changed),
    ];
    for (name, change, seq, kind) in cases {
        let (db, [first, ..]) = sealed().await;
        // Both are of one moment, as they are where a step follows at once.
        let moment = "UPDATE journal_line w SET at = p.at FROM journal_line p WHERE p.run_id = w.run_id AND p.seq = 3 AND w.seq = 4";
        forge(
            &db,
            &format!(
                "{moment} AND w.run_id = '{first}'; DELETE FROM seal_stream; DELETE FROM seal; {}",
                relink(first, 4)
            ),
        )
        .await;
        carry(&db, first, 4).await;
        assert!(of_run(db.pool(), first).await.unwrap().is_whole(), "{name}: before");
        forge(&db, &format!("UPDATE journal_line SET {change} WHERE run_id = '{first}' AND seq = 4")).await;
        for report in [check(&db).await, of_run(db.pool(), first).await.unwrap()] {
            let found = |b: &Break| b.place == Place::Journal { run: first, seq } && b.kind == kind;
            assert!(report.breaks.iter().any(found), "{name}: {:#?}", report.breaks);
        }
    }
}

#[tokio::test]
async fn what_is_planted_in_a_row_that_carries_nothing_is_found() {
    for plant in
        [r#"carried = '{"kind":"done","step":"s"}'"#, "carried = entry, carried_at = at", "carried_at = at"]
    {
        let (db, [first, ..]) = sealed().await;
        forge(&db, &format!("UPDATE journal_line SET {plant} WHERE run_id = '{first}' AND seq = 4")).await;
        for report in [check(&db).await, of_run(db.pool(), first).await.unwrap()] {
            let found = |b: &Break| b.place == Place::Journal { run: first, seq: 3 } && b.kind == Kind::Added;
            assert!(report.breaks.iter().any(found), "{plant}: {:#?}", report.breaks);
        }
    }
}

/// The entry up to which a block saw the journal is hidden in the row of one that was added, and all of it fits.
#[tokio::test]
async fn a_journal_written_anew_shows_also_where_its_sealed_end_is_carried() {
    let (db, [first, ..]) = sealed().await;
    let forgery = format!(
        "UPDATE journal_line SET entry = replace(entry::text, '5', '6')::json, step = 's6' WHERE run_id = '{first}' AND seq = 5;
         WITH last AS (DELETE FROM journal_line WHERE run_id = '{first}' AND seq = 5 RETURNING *), link AS (
             SELECT journal_link(journal_link(p.hash, 5, 1, l.at, l.entry), 6, 1, l.at, l.entry) AS link
               FROM last l, journal_line p WHERE p.run_id = '{first}' AND p.seq = 4
         )
         INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash, tx, carried, carried_at)
         SELECT run_id, 6, 1, at, kind, step, entry, write_id, link, (SELECT max(upto) FROM seal) + 1, entry, at FROM last, link;
         UPDATE run SET seq = 6 WHERE id = '{first}'"
    );
    forge(&db, &forgery).await;
    for report in [check(&db).await, of_run(db.pool(), first).await.unwrap()] {
        let found = |b: &Break| b.place == Place::Journal { run: first, seq: 5 } && b.kind == Kind::Changed;
        assert!(report.breaks.iter().any(found), "{:#?}", report.breaks);
    }
}

async fn scalar<T>(db: &TestDb, sql: &str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(db.pool()).await.unwrap()
}

/// What is done to it, and what is found.
type Case = (&'static str, Box<dyn Fn([Uuid; 3]) -> String>, Box<dyn Fn([Uuid; 3]) -> Place>, Kind);

fn case(
    name: &'static str,
    forgery: impl Fn([Uuid; 3]) -> String + 'static,
    place: impl Fn([Uuid; 3]) -> Place + 'static,
    kind: Kind,
) -> Case {
    (name, Box::new(forgery), Box::new(place), kind)
}

fn entry(nth: usize, seq: i64) -> impl Fn([Uuid; 3]) -> Place {
    move |runs| Place::Journal { run: runs[nth], seq }
}

fn block(n: i64) -> impl Fn([Uuid; 3]) -> Place {
    move |_| Place::Block { n }
}

/// A journal made anew from an entry on, with links that fit.
fn relink(run: Uuid, from: i64) -> String {
    format!(
        "DO $$ DECLARE line record; previous bytea; BEGIN
             FOR line IN SELECT * FROM journal_line WHERE run_id = '{run}' AND seq >= {from} ORDER BY seq LOOP
                 SELECT hash INTO previous FROM journal_line WHERE run_id = '{run}' AND seq = line.seq - 1;
                 UPDATE journal_line SET hash = journal_link(coalesce(previous, journal_origin('{run}')), line.seq, line.epoch, line.at, line.entry)
                  WHERE run_id = '{run}' AND seq = line.seq;
             END LOOP; END $$"
    )
}

fn journals() -> Vec<Case> {
    let at = |[first, ..]: [Uuid; 3], seq: i64| format!("run_id = '{first}' AND seq = {seq}");
    vec![
        case(
            "a changed entry",
            move |r| {
                format!(
                    "UPDATE journal_line SET entry = replace(entry::text, '3', '4')::json WHERE {}",
                    at([r[0]; 3], 3)
                )
            },
            entry(0, 3),
            Kind::Changed,
        ),
        case(
            "a changed time",
            move |r| {
                format!(
                    "UPDATE journal_line SET at = at - interval '1 microsecond' WHERE {}",
                    at([r[0]; 3], 4)
                )
            },
            entry(0, 4),
            Kind::Changed,
        ),
        case(
            "a changed column",
            move |r| format!("UPDATE journal_line SET kind = 'done' WHERE {}", at([r[0]; 3], 2)),
            entry(0, 2),
            Kind::Changed,
        ),
        case(
            "a removed link",
            move |r| format!("UPDATE journal_line SET hash = NULL WHERE {}", at([r[0]; 3], 5)),
            entry(0, 5),
            Kind::Changed,
        ),
        case(
            "a removed row",
            move |r| format!("DELETE FROM journal_line WHERE {}", at([r[0]; 3], 2)),
            entry(0, 2),
            Kind::Removed,
        ),
        case(
            "a removed first row",
            move |r| format!("DELETE FROM journal_line WHERE {}", at([r[0]; 3], 1)),
            entry(0, 1),
            Kind::Removed,
        ),
        case(
            "a removed end",
            |r| {
                format!(
                    "DELETE FROM journal_line WHERE run_id = '{0}' AND seq > 5; UPDATE run SET seq = 5 WHERE id = '{0}'",
                    r[2]
                )
            },
            entry(2, 6),
            Kind::Removed,
        ),
        case(
            "a removed run",
            |r| {
                format!(
                    "DELETE FROM journal_line WHERE run_id = '{0}'; DELETE FROM inbox WHERE run_id = '{0}'; DELETE FROM run WHERE id = '{0}'",
                    r[1]
                )
            },
            entry(1, 1),
            Kind::Removed,
        ),
        case(
            "the last run removed",
            |r| format!("DELETE FROM journal_line WHERE run_id = '{}'", r[2]),
            entry(2, 1),
            Kind::Removed,
        ),
        case(
            "swapped contents",
            |r| {
                format!(
                    "UPDATE journal_line j SET entry = o.entry, step = o.step, at = o.at FROM journal_line o
                      WHERE j.run_id = '{0}' AND o.run_id = '{0}' AND j.seq IN (3, 4) AND o.seq = 7 - j.seq",
                    r[0]
                )
            },
            entry(0, 4),
            Kind::Swapped,
        ),
        case(
            "swapped numbers",
            |r| {
                format!(
                    "UPDATE journal_line SET seq = 1003 WHERE run_id = '{0}' AND seq = 3; UPDATE journal_line SET seq = 3 WHERE run_id = '{0}' AND seq = 4;
                     UPDATE journal_line SET seq = 4 WHERE run_id = '{0}' AND seq = 1003",
                    r[0]
                )
            },
            entry(0, 4),
            Kind::Swapped,
        ),
        case(
            "a journal made anew with links that fit",
            |r| {
                format!(
                    "UPDATE journal_line SET entry = replace(entry::text, '3', '4')::json, step = 's4' WHERE run_id = '{0}' AND seq = 3; {1}",
                    r[0],
                    relink(r[0], 3)
                )
            },
            entry(0, 5),
            Kind::Changed,
        ),
        case(
            "an entry added behind the block, with a link that fits",
            |r| {
                format!(
                    "INSERT INTO journal_line (run_id, seq, epoch, at, kind, entry, write_id, tx)
                     SELECT run_id, seq + 1, epoch, at, kind, '{{\"kind\":\"observed\"}}', write_id, tx FROM journal_line WHERE run_id = '{0}' AND seq = 5;
                     UPDATE run SET seq = 6 WHERE id = '{0}'; {1}",
                    r[0],
                    relink(r[0], 6)
                )
            },
            entry(0, 6),
            Kind::Added,
        ),
        case(
            "an entry that its run knows nothing of",
            |r| {
                format!(
                    "INSERT INTO journal_line (run_id, seq, epoch, at, kind, entry, write_id)
                     SELECT run_id, seq + 1, epoch, at, kind, '{{\"kind\":\"observed\"}}', write_id FROM journal_line WHERE run_id = '{0}' AND seq = 5; {1}",
                    r[0],
                    relink(r[0], 6)
                )
            },
            entry(0, 6),
            Kind::Added,
        ),
    ]
}

fn others() -> Vec<Case> {
    let calls = |[_, _, _]: [Uuid; 3]| Place::Calls { block: 2, until: domain::Timestamp::UNIX_EPOCH };
    let row = |seq: i64| move |_: [Uuid; 3]| Place::Audit { seq };
    vec![
        case(
            "a removed call",
            |r| format!("DELETE FROM outside_call WHERE run_id = '{}' AND step = 's2'", r[2]),
            calls,
            Kind::Removed,
        ),
        case(
            "a changed call",
            |r| {
                format!(
                    "UPDATE outside_call SET mutating = NOT mutating WHERE run_id = '{}' AND step = 's2'",
                    r[2]
                )
            },
            calls,
            Kind::Changed,
        ),
        case(
            "a call added later",
            |r| {
                format!(
                    "INSERT INTO outside_call (tx, run_id, step, attempt, at, service, operation, target, status, duration_ms, mutating)
                     SELECT tx, run_id, step, attempt, at, service, operation, target, status, duration_ms, mutating
                       FROM outside_call WHERE run_id = '{}' AND step = 's2'",
                    r[2]
                )
            },
            calls,
            Kind::Added,
        ),
        case(
            "a changed audit row",
            |_| "UPDATE audit SET actor = 'ben' WHERE seq = 3".into(),
            row(3),
            Kind::Changed,
        ),
        case("a removed audit row", |_| "DELETE FROM audit WHERE seq = 3".into(), row(3), Kind::Removed),
        case("audit's end removed", |_| "DELETE FROM audit WHERE seq >= 4".into(), row(4), Kind::Removed),
        case(
            "a changed block",
            |_| "UPDATE seal SET upto = upto - 1 WHERE n = 1".into(),
            block(1),
            Kind::Changed,
        ),
        case("a removed block", |_| "DELETE FROM seal WHERE n = 1".into(), block(1), Kind::Removed),
        case(
            "a journal's end removed from a block",
            |r| format!("DELETE FROM seal_stream WHERE run_id = '{}'", r[1]),
            block(1),
            Kind::Changed,
        ),
        case(
            "a changed runbook",
            |_| "UPDATE runbook_text SET source = 'steps: [now]'".into(),
            |_| Place::Runbook { hash: String::new() },
            Kind::Changed,
        ),
    ]
}

async fn each_is_found(cases: Vec<Case>) {
    for (name, forgery, place, kind) in cases {
        let (db, runs) = sealed().await;
        forge(&db, &forgery(runs)).await;
        let report = check(&db).await;
        let wanted = place(runs);
        let found = report.breaks.iter().any(|b| {
            let there = match (&b.place, &wanted) {
                (Place::Calls { block, .. }, Place::Calls { block: wanted, .. }) => block == wanted,
                (Place::Runbook { .. }, Place::Runbook { .. }) => true,
                (there, wanted) => there == wanted,
            };
            there && b.kind == kind
        });
        assert!(found, "{name}: {:#?}", report.breaks);
    }
}

#[tokio::test]
async fn what_is_done_to_a_journal_is_found_where_it_was_done() {
    each_is_found(journals()).await;
}

#[tokio::test]
async fn what_is_done_to_calls_audit_blocks_and_runbooks_is_found_where_it_was_done() {
    each_is_found(others()).await;
}

#[tokio::test]
async fn one_changed_row_is_one_break() {
    let (db, runs) = sealed().await;
    let change =
        "UPDATE journal_line SET entry = replace(entry::text, '3', '4')::json WHERE seq = 3 AND run_id";
    forge(&db, &format!("{change} = '{}'", runs[2])).await;
    assert_eq!(check(&db).await.broken, 1);
}

#[tokio::test]
async fn what_a_search_would_not_find_is_a_break() {
    let (db, [run, other, _]) = sealed().await;
    let ask = format!(
        "INSERT INTO journal_line (run_id, seq, epoch, at, kind, entry, write_id)
         SELECT '{run}', max(seq) + 1, 1, now(), 'asked', '{{\"kind\":\"asked\",\"by\":{{\"name\":\"ben\"}}}}', gen_random_uuid()
           FROM journal_line WHERE run_id = '{run}';
         UPDATE run SET seq = seq + 1 WHERE id = '{run}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(ask)).execute(db.pool()).await.unwrap();
    let seq: i64 = scalar(&db, "SELECT seq FROM journal_line WHERE kind = 'asked'").await;
    let found = |report: Report| report.breaks.into_iter().map(|b| (b.place, b.kind)).collect::<Vec<_>>();
    assert_eq!(found(check(&db).await), [(Place::Journal { run, seq }, Kind::Removed)]);
    let told = "INSERT INTO asked (run_id, seq, at, step, by, words)
                SELECT run_id, seq, at, step, asked_by(entry), asked_words(entry) FROM journal_line WHERE kind = 'asked'";
    history::execute(db.pool(), told).await;
    assert_eq!(found(check(&db).await), []);
    forge(&db, "UPDATE asked SET by = 'nobody'").await;
    assert_eq!(found(check(&db).await), [(Place::Journal { run, seq }, Kind::Removed)]);
    forge(&db, &format!("UPDATE asked SET by = 'ben'; DELETE FROM run_listed WHERE id = '{other}'")).await;
    assert_eq!(found(check(&db).await), [(Place::Journal { run: other, seq: 1 }, Kind::Removed)]);
}

#[tokio::test]
async fn removed_blocks_at_the_end_show_to_whoever_kept_a_hash() {
    let (db, runs) = sealed().await;
    let kept = check(&db).await.newest.unwrap();
    assert_eq!(kept.n, 2);
    let options = Options { anchor: Some(kept), ..Options::default() };
    assert!(verify(&db.url(), options).await.unwrap().is_whole());

    // All that the block saw goes with it, so that nothing else tells.
    forge(
        &db,
        &format!(
            "DELETE FROM seal_stream WHERE block = 2; DELETE FROM seal WHERE n = 2; DELETE FROM journal_line WHERE run_id = '{0}';
             DELETE FROM outside_call WHERE run_id = '{0}'; DELETE FROM run WHERE id = '{0}'; DELETE FROM audit WHERE seq > 2",
            runs[2]
        ),
    )
    .await;
    assert!(check(&db).await.is_whole(), "without the hash there is nothing to see it by");
    let report = verify(&db.url(), options).await.unwrap();
    assert_eq!(report.breaks[0].place, Place::Block { n: 2 });
    assert_eq!(report.breaks[0].kind, Kind::Removed);

    let wrong = Anchor { n: 1, hash: kept.hash };
    let report = verify(&db.url(), Options { anchor: Some(wrong), ..Options::default() }).await.unwrap();
    assert_eq!(report.breaks[0].place, Place::Block { n: 1 });
}

/// An export, as lines of JSON and back.
async fn exported(db: &TestDb, scope: Scope) -> Vec<String> {
    let mut lines = Vec::new();
    store::proof::export(&db.url(), scope, |line| {
        lines.push(serde_json::to_string(&line)?);
        Ok(())
    })
    .await
    .unwrap();
    lines
}

fn checked(lines: &[String]) -> Result<Report, FileError> {
    let mut check = FileCheck::new(None);
    for line in lines {
        check.line(serde_json::from_str(line).unwrap())?;
    }
    check.finish()
}

#[tokio::test]
async fn an_export_proves_itself_without_a_database() {
    let (db, runs) = sealed().await;
    history::run(db.pool(), 2).await;
    let whole = exported(&db, Scope::All).await;
    let report = checked(&whole).unwrap();
    assert!(report.is_whole(), "{:#?}", report.breaks);
    assert_eq!((report.entries, report.runs, report.calls, report.audit), (15, 4, 7, 5));
    assert_eq!((report.blocks, report.unsealed), (2, 2));

    let one = exported(&db, Scope::Run(runs[2])).await;
    let report = checked(&one).unwrap();
    assert!(report.is_whole(), "{:#?}", report.breaks);
    assert_eq!((report.entries, report.calls, report.blocks, report.audit), (7, 4, 1, 0));

    let since: domain::Timestamp =
        sqlx::query_scalar("SELECT max(at) FROM audit").fetch_one(db.pool()).await.unwrap();
    let moved = exported(&db, Scope::Since(since)).await;
    let report = checked(&moved).unwrap();
    assert!(report.is_whole() && report.audit == 3, "{report:#?}");
}

#[tokio::test]
async fn every_line_that_is_missing_or_changed_in_an_export_shows() {
    let (db, runs) = sealed().await;
    for scope in [Scope::All, Scope::Run(runs[2])] {
        let lines = exported(&db, scope).await;
        for at in 0..lines.len() {
            let mut without = lines.clone();
            without.remove(at);
            let found = checked(&without);
            assert!(found.is_err(), "line {at} of {scope:?} is not missed: {}", lines[at]);
        }
        let forgeries = [
            ("\"line\":\"entry\"", "\\\"n\\\" : 4", "\\\"n\\\" : 5"),
            ("\"line\":\"entry\"", "\"epoch\":1", "\"epoch\":2"),
            ("\"line\":\"call\"", "\"duration_ms\":2", "\"duration_ms\":3"),
            ("\"line\":\"block\"", "\"streams\":1", "\"streams\":2"),
            ("\"line\":\"end\"", "\"seq\":7", "\"seq\":6"),
            ("\"line\":\"run\"", "\"seq\":7", "\"seq\":8"),
        ];
        for (kind, was, is) in forgeries {
            let mut forged = lines.clone();
            let line = forged
                .iter_mut()
                .find(|line| line.contains(kind) && line.contains(was))
                .unwrap_or_else(|| panic!("{scope:?}: no {kind} with {was}"));
            *line = line.replace(was, is);
            let report = checked(&forged).unwrap();
            assert!(!report.is_whole(), "{scope:?}: {kind} {was} → {is} is not seen");
        }
    }
}

/// Takes the proof out of a call's line, after changing it.
fn without_proof(line: &mut String, change: impl Fn(&mut serde_json::Value)) {
    let mut call: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(call.as_object_mut().unwrap().remove("proof").is_some(), "{line}");
    call["status"] = "throttled".into();
    change(&mut call);
    *line = call.to_string();
}

#[tokio::test]
async fn a_call_whose_proof_was_taken_out_is_never_passed_over() {
    let (db, runs) = sealed().await;
    let lines = exported(&db, Scope::Run(runs[2])).await;
    let report = checked(&lines).unwrap();
    assert!(report.is_whole() && report.unsealed_calls == 0, "{report:#?}");
    let at = lines.iter().position(|line| line.contains("\"line\":\"call\"")).unwrap();
    for (tx, broken, unsealed) in
        [(None, 1, 0), (Some(serde_json::Value::Null), 1, 0), (Some(i64::MAX.into()), 0, 1)]
    {
        let mut forged = lines.clone();
        without_proof(&mut forged[at], |call| {
            if let Some(tx) = &tx {
                call["tx"] = tx.clone()
            }
        });
        let report = checked(&forged).unwrap();
        assert_eq!((report.broken, report.unsealed_calls), (broken, unsealed), "{tx:?}: {report:#?}");
    }
}

#[tokio::test]
async fn calls_that_no_block_covers_yet_are_counted() {
    let (db, [first, ..]) = sealed().await;
    history::calls(db.pool(), first, 2).await;
    for report in [
        check(&db).await,
        checked(&exported(&db, Scope::All).await).unwrap(),
        checked(&exported(&db, Scope::Run(first)).await).unwrap(),
    ] {
        assert!(report.is_whole() && report.unsealed_calls == 2, "{report:#?}");
    }
}

#[tokio::test]
async fn what_a_run_looked_at_is_proven_also_by_a_block_that_fell_before_its_birth() {
    let db = history::db().await;
    let (pool, id) = (db.pool(), Uuid::now_v7());
    history::calls(pool, id, 2).await;
    history::seal(pool).await;
    history::born(pool, id, 3).await;
    history::calls(pool, id, 1).await;
    history::seal(pool).await;
    for scope in [Scope::Run(id), Scope::Since(domain::Timestamp::UNIX_EPOCH)] {
        let lines = exported(&db, scope).await;
        let report = checked(&lines).unwrap();
        assert!(report.is_whole() && report.calls == 3 && report.unsealed_calls == 0, "{report:#?}");
        let calls = lines.iter().filter(|line| line.contains("\"line\":\"call\""));
        assert!(calls.into_iter().all(|line| line.contains("\"proof\"")), "{lines:#?}");
    }
}
