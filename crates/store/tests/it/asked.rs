//! What people ask of runs is written where it is found, by the statement that appends it to the journal.

use domain::Timestamp;
use domain::audit::Link;
use sqlx::PgPool;
use store::journal::{Append, Appended, Row};
use store::search::{Search, search};
use store::writer::Writer;
use uuid::Uuid;

use crate::history;

/// The worker that owns the runs.
const OWNER: i64 = 7;

/// A run of that worker, and an append of an entry to it.
async fn append(pool: &PgPool, epoch: i64, kind: &'static str, entry: &str) -> Append {
    let run = history::run(pool, 1).await;
    history::execute(pool, &format!("UPDATE run SET owner = {OWNER} WHERE id = '{run}'")).await;
    let link: Vec<u8> = sqlx::query_scalar("SELECT hash FROM journal_line WHERE run_id = $1")
        .bind(run)
        .fetch_one(pool)
        .await
        .unwrap();
    let at = Timestamp::from_timestamp(1_715_090_400, 0).unwrap();
    let link = Link::read(&link).unwrap().then(2, epoch, at, entry);
    Append {
        run_id: run,
        epoch,
        rows: vec![Row { seq: 2, at, kind, step: Some("a".into()), entry: entry.into(), link }],
        scopes: String::new(),
        state: "running",
        outcome: None,
        inbox: 0,
        write_id: Uuid::now_v7(),
    }
}

fn ask(reason: &str) -> String {
    format!(r#"{{"kind":"asked","by":{{"name":"ben"}},"ask":{{"ask":"break_glass","reason":"{reason}"}}}}"#)
}

#[tokio::test]
async fn what_is_asked_is_found_however_many_runs_share_the_statement_and_not_of_a_run_that_was_lost() {
    let db = history::db().await;
    let pool = db.pool();
    let mut writer = Writer::to(pool);

    let alone = append(pool, 1, "asked", &ask("alone")).await;
    assert_eq!(writer.append(OWNER, &[&alone]).await.unwrap(), [Appended::Written]);
    let lost_alone = append(pool, 2, "asked", &ask("lost")).await;
    assert_eq!(writer.append(OWNER, &[&lost_alone]).await.unwrap(), [Appended::Fenced]);

    let beside = append(pool, 1, "observed", r#"{"kind":"observed"}"#).await;
    let together = append(pool, 1, "asked", &ask("together")).await;
    let lost = append(pool, 2, "asked", &ask("lost")).await;
    let written = writer.append(OWNER, &[&beside, &together, &lost]).await.unwrap();
    assert_eq!(written, [Appended::Written, Appended::Written, Appended::Fenced]);

    let found = |text: &str| Search { text: Some(text.to_owned()), ..Search::default() };
    for (text, run) in [("alone", Some(alone.run_id)), ("together", Some(together.run_id)), ("lost", None)] {
        let runs: Vec<_> =
            search(pool, &found(text), 9).await.unwrap().into_iter().map(|f| f.run_id).collect();
        assert_eq!(runs, Vec::from_iter(run.map(Some)), "{text}");
    }
    let reviews: Vec<String> =
        sqlx::query_scalar("SELECT reason FROM review ORDER BY id").fetch_all(pool).await.unwrap();
    assert_eq!(reviews, ["alone", "together"], "each broken glass opens one review");
}
