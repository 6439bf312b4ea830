//! The engine with the rights that it has in production: it may add to history, and change nothing in it.

use std::time::Duration;

use domain::run::Outcome;
use store::proof;

use crate::world::{Bench, Trouble, ask};

const STEPS: &str = r#"
steps:
  - id: first
    use: world.set
    with: { name: a, value: 1 }
    undo: automatic
  - id: second
    use: world.set
    with: { name: b, value: 1 }
"#;

#[tokio::test]
async fn the_application_can_do_its_work_and_cannot_change_what_it_did() {
    let bench = Bench::new(STEPS).await.with_application_rights();
    bench.world.trouble(Trouble::Fails(domain::action::ErrorClass::Refused));
    let (engine, run) = bench.start().await;
    bench.until(run, "paused", |s| s.word() == "paused").await;
    ask(&engine, run, domain::run::Ask::Retry { step: "first".into() }).await;
    assert_eq!(bench.ended(run).await.outcome().unwrap().0, Outcome::Succeeded);
    engine.shut_down().await;
    store::seals::seal(bench.pool(), Duration::ZERO).await.unwrap();

    for table in ["journal_line", "outside_call", "audit", "seal", "seal_stream", "asked", "run_listed"] {
        for change in [format!("DELETE FROM {table}"), format!("TRUNCATE {table} CASCADE"), update(table)] {
            assert_eq!(refusal(bench.pool(), &change).await, "42501", "{change}: by permission");
            assert_eq!(
                refusal(bench.db.pool(), &change).await,
                "P0001",
                "{change}: by trigger, its owner too"
            );
        }
        let disable = format!("ALTER TABLE {table} DISABLE TRIGGER ALL");
        assert_eq!(refusal(bench.pool(), &disable).await, "42501", "{disable}");
    }
    let asked: i64 = sqlx::query_scalar("SELECT count(*) FROM asked").fetch_one(bench.pool()).await.unwrap();
    assert_eq!(asked, 1, "what a person asked is where the search finds it");
    for change in [
        "DELETE FROM journal",
        "UPDATE journal SET entry = '{}'",
        "DELETE FROM journal_row",
        "UPDATE journal_row SET entry = '{}'",
    ] {
        assert_eq!(refusal(bench.pool(), change).await, "42501", "{change}: the view is no way around");
        assert_eq!(refusal(bench.db.pool(), change).await, "P0001", "{change}: nor for the owner");
    }
    for evasion in [
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "DROP TRIGGER journal_append_only ON journal_line",
        "DROP VIEW journal",
        "SELECT resume_write_order()",
    ] {
        assert_eq!(refusal(bench.pool(), evasion).await, "42501", "{evasion}");
    }

    let report = proof::verify(&bench.db.url(), proof::Options::default()).await.unwrap();
    assert!(report.is_whole() && report.entries > 6 && report.runs == 1, "{report:#?}");
}

fn update(table: &str) -> String {
    let column = match table {
        "journal_line" => "entry = '{}'",
        "outside_call" => "status = 'ok'",
        "audit" => "actor = 'nobody'",
        "seal" => "streams = 0",
        "run_listed" => "runbook = 'x'",
        _ => "seq = 0",
    };
    format!("UPDATE {table} SET {column}")
}

/// The code of the error that it ends with.
async fn refusal(pool: &sqlx::PgPool, sql: &str) -> String {
    let refused = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_err();
    refused.as_database_error().unwrap_or_else(|| panic!("{sql}: {refused}")).code().unwrap().into_owned()
}
