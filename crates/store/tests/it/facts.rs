//! The row of a run says what its journal says, or whoever made it say something else is found.

use domain::audit::check::{Kind, Place, Report};
use domain::plan::Plan;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use store::private::TestDb;
use store::proof::{Options, of_run, verify};
use uuid::Uuid;

use crate::history::{self, execute, forge};

fn plan() -> Plan {
    let mut plan: Plan = serde_json::from_value(json!({
        "runbook": "test", "runbook_hash": "abc", "title": "Test: a", "risk": "severe", "impact": null, "inputs": { "n": 1 },
        "locks": [], "verdict": { "verdict": "ready" }, "customers_percent": 1.5, "at": "2024-05-07T14:00:00Z", "hash": "",
        "steps": [{ "path": "a", "title": "A", "action": "world.set", "one_way": false, "outcome": { "outcome": "already_so" } }],
    }))
    .unwrap();
    plan.hash = plan.digest();
    plan
}

/// A run with a plan, whose requester broke the glass, and which has ended; its journal is in a block.
async fn ended(db: &TestDb) -> Uuid {
    let (run, plan) = (Uuid::now_v7(), plan());
    let ana = json!({ "type": "person", "name": "ana" });
    let entries: [Value; 3] = [
        json!({ "kind": "requested", "runbook": "test", "hash": "abc", "inputs": { "n": 1 }, "by": ana, "reason": null,
                "plan_hash": plan.hash, "locks": [] }),
        json!({ "kind": "asked", "inbox": 1, "by": ana, "ask": { "ask": "break_glass", "step": null, "reason": "alone" }, "refused": null }),
        json!({ "kind": "ended", "outcome": "failed", "message": "it failed" }),
    ];
    let begin = format!(
        "INSERT INTO run (id, runbook, hash, title, inputs, plan, requested_by, idem_key, state, outcome, message, epoch, seq, created_at, updated_at, ended_at)
         VALUES ('{run}', 'test', 'abc', 'Test: a', '{{\"n\": 1}}', $1, 'ana', '{run}', 'failed', 'failed', 'it failed', 1, 3,
                 '2024-05-07 14:01Z', '2024-05-07 14:03Z', '2024-05-07 14:03Z')"
    );
    let kept = serde_json::to_value(&plan).unwrap();
    sqlx::query(AssertSqlSafe(begin)).bind(kept).execute(db.pool()).await.unwrap();
    for (seq, entry) in (1..).zip(entries) {
        let append = format!(
            "INSERT INTO journal_line (run_id, seq, epoch, at, kind, entry, write_id)
             VALUES ('{run}', {seq}, 1, '2024-05-07 14:0{seq}Z', $1::json->>'kind', $1::json, gen_random_uuid())"
        );
        sqlx::query(AssertSqlSafe(append)).bind(entry.to_string()).execute(db.pool()).await.unwrap();
    }
    let found = "INSERT INTO asked (run_id, seq, at, step, by, words)
                 SELECT run_id, seq, at, step, asked_by(entry), asked_words(entry) FROM journal_line WHERE kind = 'asked'";
    execute(db.pool(), found).await;
    run
}

async fn check(db: &TestDb) -> Report {
    verify(&db.url(), Options::default()).await.unwrap()
}

#[tokio::test]
async fn a_row_that_says_something_else_than_its_journal_is_found() {
    let cases = [
        ("requested_by = 'ben'", Kind::Changed, "its row says requested_by ben, entry 1 says ana"),
        ("runbook = 'other'", Kind::Changed, "its row says runbook other, entry 1 says test"),
        ("hash = 'def'", Kind::Changed, "its row says hash def, entry 1 says abc"),
        ("inputs = '{\"n\": 2}'", Kind::Changed, "its row has other inputs than entry 1"),
        ("created_at = '2024-05-08Z'", Kind::Changed, "its row says that it was asked for"),
        ("updated_at = '2023-05-08Z'", Kind::Changed, "its row says that it moved last"),
        (
            "state = 'succeeded'",
            Kind::Changed,
            "its row says state succeeded, the entry that ended it says failed",
        ),
        (
            "outcome = 'succeeded'",
            Kind::Changed,
            "its row says outcome succeeded, the entry that ended it says failed",
        ),
        (
            "outcome = NULL",
            Kind::Changed,
            "its row says outcome nothing, the entry that ended it says failed",
        ),
        (
            "message = 'all is well'",
            Kind::Changed,
            "its row says message all is well, the entry that ended it says it failed",
        ),
        ("ended_at = NULL", Kind::Changed, "its row says that it goes on, its journal that it ended"),
        ("plan = NULL", Kind::Removed, "its row has no plan any more, and entry 1 names one"),
        ("plan = '{}'", Kind::Changed, "the plan in its row cannot be read"),
        (
            "plan = jsonb_set(plan, '{steps,0,action}', '\"world.look\"')",
            Kind::Changed,
            "the plan in its row is not the one that entry 1 names by its hash",
        ),
        ("plan = jsonb_set(plan, '{hash}', '\"0\"')", Kind::Changed, "the plan in its row is not the one"),
    ];
    let db = history::db().await;
    let run = ended(&db).await;
    history::seal(db.pool()).await;
    let report = check(&db).await;
    assert!(report.is_whole(), "{:#?}", report.breaks);
    execute(db.pool(), "CREATE TABLE before AS TABLE run").await;
    let columns = "runbook, hash, inputs, plan, requested_by, state, outcome, message, created_at, updated_at, ended_at";
    for (change, kind, why) in cases {
        // As the application may.
        execute(db.pool(), &format!("UPDATE run SET {change}")).await;
        for report in [check(&db).await, of_run(db.pool(), run).await.unwrap()] {
            let found = report
                .breaks
                .iter()
                .any(|b| b.place == Place::Run { run } && b.kind == kind && b.why.starts_with(why));
            assert!(found, "{change}: {:#?}", report.breaks);
        }
        execute(db.pool(), &format!("UPDATE run SET ({columns}) = (SELECT {columns} FROM before)")).await;
    }
    assert!(check(&db).await.is_whole());
}

#[tokio::test]
async fn a_run_that_goes_on_may_not_be_said_to_have_ended() {
    let db = history::db().await;
    let run = ended(&db).await;
    forge(
        &db,
        &format!(
            "DELETE FROM journal_line WHERE seq = 3;
             UPDATE run SET seq = 2, state = 'stuck', outcome = NULL, ended_at = NULL, updated_at = '2024-05-07 14:02Z' WHERE id = '{run}'"
        ),
    )
    .await;
    let report = check(&db).await;
    assert!(report.is_whole(), "a run that stands still says why in its row alone: {:#?}", report.breaks);
    execute(db.pool(), "UPDATE run SET outcome = 'succeeded', ended_at = now()").await;
    let report = check(&db).await;
    assert_eq!(report.breaks[0].place, Place::Run { run });
    assert_eq!(report.breaks[0].why, "its row says that it ended (succeeded), its journal does not");
}

/// Earlier versions wrote the time of the request into the row of a run that was born with several entries.
#[tokio::test]
async fn a_row_may_have_the_time_of_the_request_until_something_is_written_after_the_birth() {
    let db = history::db().await;
    let run = ended(&db).await;
    execute(db.pool(), &format!("UPDATE run SET updated_at = created_at WHERE id = '{run}'")).await;
    let report = check(&db).await;
    assert!(
        report.breaks.iter().any(|b| b.why.starts_with("its row says that it moved last")),
        "{report:#?}"
    );
    let birth = "(SELECT write_id FROM journal_line WHERE seq = 1)";
    forge(&db, &format!("UPDATE journal_line SET write_id = {birth} WHERE seq = 3")).await;
    let report = check(&db).await;
    assert!(report.is_whole(), "{:#?}", report.breaks);
    // But no other time.
    execute(db.pool(), "UPDATE run SET updated_at = updated_at - interval '1 second'").await;
    assert!(!check(&db).await.is_whole());
}

#[tokio::test]
async fn a_run_whose_row_is_gone_is_found_also_before_any_block() {
    let db = history::db().await;
    let run = ended(&db).await;
    for sealed in [false, true] {
        if sealed {
            history::seal(db.pool()).await;
        }
        execute(db.pool(), "CREATE TABLE IF NOT EXISTS gone AS TABLE run").await;
        execute(db.pool(), "DELETE FROM review").await;
        execute(db.pool(), &format!("DELETE FROM run WHERE id = '{run}'")).await;
        let report = check(&db).await;
        let told = report.breaks.iter().find(|b| b.place == Place::Run { run }).unwrap();
        assert_eq!(
            (told.kind, told.why.starts_with("the run's row is gone")),
            (Kind::Removed, true),
            "{told:?}"
        );
        forge(&db, "INSERT INTO run SELECT * FROM gone").await;
    }
}

#[tokio::test]
async fn broken_glass_that_nobody_is_asked_to_review_is_found() {
    let db = history::db().await;
    let run = ended(&db).await;
    for change in
        ["DELETE FROM review", "UPDATE review SET opened_by = 'ben'", "UPDATE review SET reason = 'fine'"]
    {
        execute(db.pool(), "CREATE TABLE IF NOT EXISTS kept AS TABLE review").await;
        execute(db.pool(), change).await;
        let report = check(&db).await;
        assert_eq!(report.broken, 1, "{change}: {:#?}", report.breaks);
        assert_eq!(report.breaks[0].place, Place::Journal { run, seq: 2 });
        assert_eq!(
            report.breaks[0].why,
            "the glass was broken here, and the list of reviews does not have it so"
        );
        execute(db.pool(), "DELETE FROM review").await;
        execute(db.pool(), "INSERT INTO review OVERRIDING SYSTEM VALUE SELECT * FROM kept").await;
    }
    assert!(check(&db).await.is_whole());
}
