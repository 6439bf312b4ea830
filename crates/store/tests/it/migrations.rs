//! Migrations are safe while old and new processes run side by side: each is applied to data that the version before wrote,
//! loses none of it, and lets that version go on writing.
//!
//! `tests/migrations/NNNN.sql` has what belongs to migration NNNN, in parts: `--- before` is written to the schema without
//! it, `--- after` is written to the schema with it, in the words of the version before, and each statement of `--- holds`
//! must answer true.

use std::collections::BTreeMap;
use std::path::Path;

use domain::audit::check::Place;
use sqlx::{AssertSqlSafe, PgPool};
use store::MIGRATOR;
use store::private::TestDb;
use store::proof::{Options, verify};

use crate::history::{self, execute};

fn sample(version: i64) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/migrations/{version:04}.sql"));
    std::fs::read_to_string(&file).unwrap_or_else(|e| {
        panic!("{}: {e}; a migration needs data that the version before would have written", file.display())
    })
}

fn part<'a>(sample: &'a str, name: &str) -> &'a str {
    let begin = format!("--- {name}\n");
    // With the line's end, so that an empty part ends where it begins.
    let from = sample.find(&begin).unwrap_or_else(|| panic!("no part `{name}`")) + begin.len() - 1;
    let rest = &sample[from..];
    rest.find("\n--- ").map_or(rest, |end| &rest[..end])
}

/// Of tables, and of views that stand where a table was.
async fn counts(pool: &PgPool) -> BTreeMap<String, i64> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let mut counts = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap();
        counts.insert(table, rows);
    }
    counts
}

#[tokio::test]
async fn each_migration_keeps_what_there_is_and_lets_the_version_before_go_on() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(pool, "DROP SCHEMA public CASCADE").await;
    execute(pool, "CREATE SCHEMA public").await;
    for migration in MIGRATOR.iter() {
        let (version, sample) = (migration.version, sample(migration.version));
        let run = async |sql: String, what: &str| {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(pool)
                .await
                .unwrap_or_else(|e| panic!("migration {version}, {what}: {e}"));
        };
        run(part(&sample, "before").to_owned(), "before").await;
        let before = counts(pool).await;
        run(migration.sql.as_str().to_owned(), "itself").await;
        let after = counts(pool).await;
        for (table, rows) in before {
            assert_eq!(after.get(&table), Some(&rows), "migration {version}: rows of {table}");
        }
        run(part(&sample, "after").to_owned(), "after").await;
        for question in part(&sample, "holds").split(";\n").map(str::trim).filter(|q| !q.is_empty()) {
            let holds: Option<bool> = sqlx::query_scalar(AssertSqlSafe(question.to_owned()))
                .fetch_one(pool)
                .await
                .unwrap_or_else(|e| panic!("migration {version}: {question}: {e}"));
            assert_eq!(holds, Some(true), "migration {version}: {question}");
        }
    }
    history::seal(pool).await;
    let report = verify(&db.url(), Options::default()).await.unwrap();
    // The samples' requests say less than the rows of their runs.
    let broken = report.breaks.iter().any(|b| !matches!(b.place, Place::Run { .. }));
    assert!(!broken && report.entries >= 6 && report.unsealed == 0, "{report:#?}");
}

/// Tables that are large in production: whatever locks or reads them whole, stops everything for a while.
const LARGE: [&str; 8] =
    ["journal", "journal_line", "outside_call", "audit", "run", "run_listed", "asked", "inbox"];

#[test]
fn no_migration_stops_the_version_before() {
    let mut complaints = Vec::new();
    for migration in MIGRATOR.iter() {
        let lines: Vec<&str> = migration.sql.as_str().lines().collect();
        let made_here =
            |table: &str| lines.iter().any(|line| line.starts_with(&format!("CREATE TABLE {table} ")));
        // A reason is a comment right above, perhaps above several statements of a kind.
        let reason = |at: usize| {
            let above = lines[..at]
                .iter()
                .rev()
                .find(|line| !line.starts_with("CREATE INDEX") && !line.starts_with("    "));
            above.is_some_and(|line| line.trim_start().starts_with("--"))
        };
        let mut complain = |at: usize, what: &str| {
            complaints.push(format!("migration {}, line {}: {what}", migration.version, at + 1));
        };
        for (at, line) in lines.iter().enumerate() {
            let code = line.split("--").next().unwrap_or_default();
            let has = |words: &str| code.contains(words);
            if has("ADD COLUMN") && has("NOT NULL") && !has("DEFAULT") {
                complain(
                    at,
                    "a column that must be filled, and has no default: the version before cannot insert any more",
                );
            }
            let contracts = ["DROP COLUMN", "DROP TABLE", "RENAME "].iter().any(|words| has(words));
            if contracts && !lines[..at].iter().rev().take(3).any(|line| line.contains("-- contract:")) {
                complain(
                    at,
                    "it takes away what the version before uses; once no process does, say so: `-- contract: …`",
                );
            }
            if let Some(index) =
                code.strip_prefix("CREATE INDEX ").or(code.strip_prefix("CREATE UNIQUE INDEX "))
            {
                let table =
                    index.split(" ON ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
                if LARGE.contains(&table) && !made_here(table) && !has("CONCURRENTLY") && !reason(at) {
                    complain(
                        at,
                        "an index keeps everybody from writing while it is made: say above why that is bearable",
                    );
                }
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[tokio::test]
async fn a_database_that_had_a_migration_in_its_other_wording_goes_on_and_any_other_change_is_refused() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    let others = [
        (
            20_i64,
            "7d2dfc3f8a8f79bc3bfd90f0dcbe58a403e36d487288c37d447f865b28961f360200b75a5227127111de69ae10995887",
        ),
        (
            21,
            "83f3b3f1f9e3cbe72f7c37f8fd85c5b0ba958e88a8d88e23b4d89755ebcaf817c87672f58813b0c5239296375fabbb42",
        ),
    ];
    let written = "UPDATE _sqlx_migrations SET checksum = decode($2, 'hex') WHERE version = $1";
    for (version, other) in others {
        sqlx::query(written).bind(version).bind(other).execute(pool).await.unwrap();
    }
    assert!(store::schema::missing(pool).await.unwrap().is_empty(), "nothing is to be done to it");
    store::schema::ready(pool).await.unwrap();
    store::schema::migrate(pool).await.unwrap();
    for (version, other) in others {
        let kept: String =
            sqlx::query_scalar("SELECT encode(checksum, 'hex') FROM _sqlx_migrations WHERE version = $1")
                .bind(version)
                .fetch_one(pool)
                .await
                .unwrap();
        assert_eq!(kept, other, "a process of the version that brought it up may still start");
    }

    sqlx::query(written).bind(20_i64).bind("00").execute(pool).await.unwrap();
    let refused = store::schema::migrate(pool).await.unwrap_err().to_string();
    assert!(refused.contains("20"), "{refused}");
    assert!(store::schema::missing(pool).await.is_err());
}
