//! A history to be proven: runs with journals, calls and rows of `audit`, and the means to forge it.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};
use store::private::TestDb;
use uuid::Uuid;

/// A database in which tests need not work out the links of what they write.
pub(crate) async fn db() -> TestDb {
    let db = TestDb::new().await.unwrap();
    let chain = "
        CREATE FUNCTION chain_for_tests() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE previous bytea;
        BEGIN
            SELECT hash INTO previous FROM journal_line WHERE run_id = NEW.run_id AND seq = NEW.seq - 1;
            NEW.hash := journal_link(coalesce(previous, journal_origin(NEW.run_id)), NEW.seq, NEW.epoch, NEW.at, NEW.entry);
            RETURN NEW;
        END $$;
        CREATE TRIGGER chain_for_tests BEFORE INSERT ON journal_line FOR EACH ROW WHEN (NEW.hash IS NULL)
            EXECUTE FUNCTION chain_for_tests();";
    sqlx::raw_sql(chain).execute(db.pool()).await.unwrap();
    db
}

/// A run in [`db`] whose journal has so many entries.
pub(crate) async fn run(pool: &PgPool, entries: i64) -> Uuid {
    let id = Uuid::now_v7();
    born(pool, id, entries).await;
    id
}

/// The same, under an id that others know before.
pub(crate) async fn born(pool: &PgPool, id: Uuid, entries: i64) {
    let sql = format!(
        "WITH text AS (
             INSERT INTO runbook_text (hash, name, source, first_seen)
             SELECT encode(sha256('steps: []'), 'hex'), 'test', 'steps: []', now() ON CONFLICT DO NOTHING
         ), run AS (
             INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, epoch, seq, created_at, updated_at)
             VALUES ('{id}', 'test', encode(sha256('steps: []'), 'hex'), 'Test', '{{}}', 'ana', '{id}', 'running', 1, {entries}, now(), now())
         )
         INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id)
         SELECT '{id}', n, 1, now() + n * interval '1 millisecond', kind, 's' || n,
                json_build_object('kind', kind, 'step', 's' || n, 'n', n), gen_random_uuid()
           FROM generate_series(1, {entries}) AS n, LATERAL (SELECT CASE n % 2 WHEN 1 THEN 'done' ELSE 'observed' END AS kind) AS k"
    );
    execute(pool, &sql).await;
}

/// Calls to the outside that a run made.
pub(crate) async fn calls(pool: &PgPool, run: Uuid, count: i64) {
    let sql = format!(
        "INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating)
         SELECT '{run}', 's' || n, 1, now(), 'rds', 'FailoverDBCluster', 'shard-b', CASE WHEN n % 2 = 0 THEN 'req-' || n END, 'ok', n, n % 2 = 0
           FROM generate_series(1, {count}) AS n"
    );
    execute(pool, &sql).await;
}

/// Rows of `audit`.
pub(crate) async fn audit(pool: &PgPool, count: i64) {
    let sql = format!(
        "INSERT INTO audit (at, actor, action, target, details)
         SELECT now(), 'ana', 'signed in', 'ana', jsonb_build_object('n', n, 'as', 'ümläut') FROM generate_series(1, {count}) AS n"
    );
    execute(pool, &sql).await;
}

pub(crate) async fn execute(pool: &PgPool, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// Seals until all that was written is in a block. The horizon waits for transactions of the whole server, and other tests
/// have theirs: so it is asked for again.
pub(crate) async fn seal(pool: &PgPool) {
    let written: i64 = sqlx::query_scalar("SELECT write_order()").fetch_one(pool).await.unwrap();
    let patience = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let horizon: i64 = sqlx::query_scalar("SELECT write_horizon()").fetch_one(pool).await.unwrap();
        if horizon > written {
            store::seals::seal(pool, Duration::ZERO).await.unwrap();
            return;
        }
        assert!(tokio::time::Instant::now() < patience, "a transaction never ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Does what no role of Firebreak may: a superuser with the triggers out of the way.
pub(crate) async fn forge(db: &TestDb, sql: &str) {
    let mut connection = db.pool().acquire().await.unwrap();
    for sql in ["SET session_replication_role = replica", sql, "RESET session_replication_role"] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut *connection)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

/// Three runs, calls, `audit`, in two blocks.
pub(crate) async fn sealed() -> (TestDb, [Uuid; 3]) {
    let db = db().await;
    let pool = db.pool();
    let (first, second) = (run(pool, 5).await, run(pool, 1).await);
    calls(pool, first, 3).await;
    audit(pool, 2).await;
    seal(pool).await;
    let third = run(pool, 7).await;
    calls(pool, third, 4).await;
    audit(pool, 3).await;
    seal(pool).await;
    (db, [first, second, third])
}

/// The same history, stored otherwise: the row of an entry carries the entry before it.
pub(crate) async fn carry(db: &TestDb, run: Uuid, seq: i64) {
    let carry = format!(
        "WITH gone AS (DELETE FROM journal_line WHERE run_id = '{run}' AND seq = {seq} - 1 RETURNING *)
         UPDATE journal_line w SET carried = gone.entry, carried_at = gone.at FROM gone WHERE w.run_id = gone.run_id AND w.seq = {seq}"
    );
    forge(db, &carry).await;
}
