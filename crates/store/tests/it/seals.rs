//! Blocks cover everything once, whoever makes them and however commits overlap.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use store::proof::{Options, verify};
use store::seals::seal;

use crate::history::{self, execute};

#[tokio::test]
async fn a_commit_that_was_slow_is_in_a_later_block() {
    let db = history::db().await;
    let (pool, run) = (db.pool(), history::run(db.pool(), 2).await);
    history::seal(pool).await;

    let mut slow = PgConnection::connect(&db.url()).await.unwrap();
    let mut transaction = slow.begin().await.unwrap();
    let append = format!(
        "WITH run AS (UPDATE run SET seq = 3 WHERE id = '{run}')
         INSERT INTO journal_line (run_id, seq, epoch, at, kind, entry, write_id)
         VALUES ('{run}', 3, 1, now(), 'observed', '{{\"kind\":\"observed\"}}', gen_random_uuid())"
    );
    sqlx::query(AssertSqlSafe(append)).execute(&mut *transaction).await.unwrap();
    let quick = history::run(pool, 4).await;
    history::calls(pool, quick, 2).await;
    // The quick ones began to write later: they wait for the slow one, or a block would have to know the future.
    seal(pool, Duration::ZERO).await.unwrap();
    let report = verify(&db.url(), Options::default()).await.unwrap();
    assert!(report.is_whole() && report.unsealed == 4, "{report:#?}");

    transaction.commit().await.unwrap();
    history::seal(pool).await;
    let report = verify(&db.url(), Options::default()).await.unwrap();
    assert!(report.is_whole() && report.unsealed == 0 && report.entries == 7, "{report:#?}");
}

#[tokio::test]
async fn nothing_that_moved_makes_no_block_and_neither_does_one_that_is_young() {
    let db = history::db().await;
    history::run(db.pool(), 2).await;
    history::seal(db.pool()).await;
    for _ in 0..3 {
        assert_eq!(seal(db.pool(), Duration::ZERO).await.unwrap(), None);
    }
    history::run(db.pool(), 2).await;
    assert_eq!(seal(db.pool(), Duration::from_secs(3600)).await.unwrap(), None);
    let report = verify(&db.url(), Options::default()).await.unwrap();
    assert_eq!((report.blocks, report.unsealed), (1, 2));
}

#[tokio::test]
async fn processes_that_seal_at_once_make_one_chain() {
    let db = history::db().await;
    for _ in 0..5 {
        let run = history::run(db.pool(), 3).await;
        history::calls(db.pool(), run, 2).await;
        let at_once = (0..6).map(|_| seal(db.pool(), Duration::ZERO));
        for made in futures::future::join_all(at_once).await {
            made.unwrap();
        }
    }
    history::seal(db.pool()).await;
    let report = verify(&db.url(), Options::default()).await.unwrap();
    assert!(report.is_whole() && report.unsealed == 0, "{:#?}", report.breaks);
}

#[tokio::test]
async fn rows_of_audit_from_many_processes_are_one_chain() {
    let db = history::db().await;
    let all = (0..40).map(|_| history::audit(db.pool(), 3));
    futures::future::join_all(all).await;
    let report = verify(&db.url(), Options::default()).await.unwrap();
    assert!(report.is_whole() && report.audit == 120, "{:#?}", report.breaks);
}

#[tokio::test]
async fn a_database_that_came_from_a_dump_goes_on_behind_its_blocks() {
    let db = history::db().await;
    let pool = db.pool();
    let run = history::run(pool, 3).await;
    history::calls(pool, run, 2).await;
    history::seal(pool).await;
    // As if the server that wrote it had been far ahead of this one: what was sealed by its order, is younger than now.
    let ahead = 1_000_000_000_000_i64;
    history::forge(
        &db,
        &format!("DELETE FROM seal_stream; DELETE FROM seal; UPDATE journal_line SET tx = tx + {ahead}; UPDATE outside_call SET tx = tx + {ahead}"),
    )
    .await;
    let horizon = |plus: i64| {
        format!(
            "CREATE OR REPLACE FUNCTION write_horizon() RETURNS bigint LANGUAGE sql STABLE AS
             $f$ SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {plus} $f$"
        )
    };
    execute(pool, &horizon(ahead)).await;
    history::run(pool, 1).await;
    seal(pool, Duration::ZERO).await.unwrap().unwrap();
    execute(pool, &horizon(0)).await;

    let behind = seal(pool, Duration::ZERO).await.unwrap_err();
    assert!(matches!(behind, store::StoreError::Restored), "{behind}");
    let refused = store::schema::ready(&db.pool_as("firebreak_app")).await.unwrap_err();
    assert!(matches!(refused, store::StoreError::Restored), "{refused}");
    store::schema::ready(pool).await.unwrap();

    let run = history::run(pool, 2).await;
    history::calls(pool, run, 1).await;
    history::seal(pool).await;
    let report = verify(&db.url(), Options::default()).await.unwrap();
    assert!(report.is_whole() && report.unsealed == 0 && report.blocks == 2, "{report:#?}");
}
