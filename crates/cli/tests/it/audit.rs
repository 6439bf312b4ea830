//! `firebreak migrate` and `firebreak audit`, as whoever deploys and whoever audits meet them.

use std::process::{Command, Output};

use store::private::TestDb;

fn firebreak(database: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
    command.args(args).env("DATABASE_URL", database).env_remove("FIREBREAK_CONFIG").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn history(db: &TestDb) {
    let sql = "
        INSERT INTO audit (at, actor, action, target, details) SELECT now(), 'ana', 'signed in', 'ana', '{}' FROM generate_series(1, 5);
        INSERT INTO runbook_text (hash, name, source, first_seen) SELECT encode(sha256('x'), 'hex'), 'x', 'x', now();
        INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, epoch, seq, created_at, updated_at)
        SELECT '00000000-0000-7000-8000-000000000001', 'x', hash, 'X', '{}', 'ana', 'k', 'running', 1, 3, now(), now() FROM runbook_text;
        WITH RECURSIVE chain AS (
            SELECT id, 0 AS n, now() AS at, journal_origin(id) AS link, '{\"kind\":\"observed\",\"step\":\"s\",\"output\":null}'::json AS entry FROM run
            UNION ALL
            SELECT id, n + 1, at, journal_link(link, n + 1, 1, at, entry), entry FROM chain WHERE n < 3
        )
        INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash)
        SELECT id, n, 1, at, 'observed', 's', entry, gen_random_uuid(), link FROM chain WHERE n > 0";
    sqlx::raw_sql(sql).execute(db.pool()).await.unwrap();
}

#[tokio::test]
async fn verify_says_whether_history_is_whole_and_an_export_proves_the_same() {
    let db = TestDb::new().await.unwrap();
    history(&db).await;
    let whole = firebreak(&db.url(), &["audit", "verify"]);
    assert!(whole.status.success() && said(&whole).contains("3 entries of 1 run, "), "{}", said(&whole));
    let exported = firebreak(&db.url(), &["audit", "export"]);
    assert!(exported.status.success(), "{}", said(&exported));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.jsonl");
    std::fs::write(&file, &exported.stdout).unwrap();
    let file = file.to_str().unwrap();
    let offline = firebreak("", &["audit", "verify", "--json", "--file", file]);
    let report: serde_json::Value = serde_json::from_slice(&offline.stdout).unwrap();
    assert!(offline.status.success() && report["entries"] == 3 && report["audit"] == 5, "{}", said(&offline));

    let forgery = "SET session_replication_role = replica; UPDATE audit SET actor = 'ben' WHERE seq = 2; DELETE FROM journal_line WHERE seq = 2";
    sqlx::raw_sql(forgery).execute(&mut *db.pool().acquire().await.unwrap()).await.unwrap();
    let broken = firebreak(&db.url(), &["audit", "verify"]);
    assert_eq!(broken.status.code(), Some(1), "{}", said(&broken));
    assert!(said(&broken).contains("BROKEN in 2 places"), "{}", said(&broken));
    assert!(said(&broken).contains("audit, row 2: Changed") && said(&broken).contains("entry 2: Removed"));
    let forged = String::from_utf8(exported.stdout).unwrap().replace("signed in", "signed on");
    std::fs::write(file, forged).unwrap();
    assert_eq!(firebreak("", &["audit", "verify", "--file", file]).status.code(), Some(1));
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_once_and_with_its_place() {
    let db = TestDb::new().await.unwrap();
    let name: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(db.pool()).await.unwrap();
    let elsewhere = db.url().replace(&name, "no_such_database");
    for args in [&["audit", "verify"][..], &["audit", "export"], &["migrate"]] {
        let refused = firebreak(&elsewhere, args);
        let (code, said) = (refused.status.code(), said(&refused));
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert_eq!(said.matches("does not exist").count(), 1, "{args:?}: {said}");
        assert!(said.starts_with("error: cannot connect to Postgres at "), "{args:?}: {said}");
        assert!(!said.contains("at line"), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn the_application_needs_an_owner_to_migrate_and_nobody_afterwards() {
    let db = TestDb::new().await.unwrap();
    let application = format!("{}&options=-c%20role%3Dfirebreak_app", with_query(&db.url()));
    let ready = store::connect(&application).await.unwrap();
    drop(ready);
    // As if this program were newer than the schema.
    sqlx::raw_sql("DELETE FROM _sqlx_migrations WHERE version = 1").execute(db.pool()).await.unwrap();
    let refused = store::connect(&application).await.unwrap_err().to_string();
    assert!(refused.contains("firebreak migrate") && refused.contains("firebreak_app"), "{refused}");
    sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(db.pool()).await.unwrap();
    let migrated = firebreak(&db.url(), &["migrate"]);
    assert!(
        migrated.status.success() && said(&migrated).contains("Applied migrations 1, 2"),
        "{}",
        said(&migrated)
    );
    let again = firebreak(&db.url(), &["migrate"]);
    assert!(said(&again).contains("up to date"), "{}", said(&again));
    store::connect(&application).await.unwrap();
    let refused = firebreak(&application, &["migrate"]);
    assert!(!refused.status.success(), "{}", said(&refused));
    assert!(said(&refused).contains("firebreak_app may not change the schema"), "{}", said(&refused));
}

/// A URL that has a query already, or gets one.
fn with_query(url: &str) -> String {
    if url.contains('?') { url.to_owned() } else { format!("{url}?application_name=test") }
}

/// As when its output goes to `2>&1 | head`.
#[test]
fn a_command_whose_output_nobody_reads_any_more_ends_as_it_would_have() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
    command.args(["runbook", "check", "not-there.yaml"]);
    let heard = command.output().unwrap().status;
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    assert_eq!((heard.success(), command.status().unwrap()), (false, heard));
}
