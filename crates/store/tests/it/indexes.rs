//! Every question that a page asks is answered by index: no scan of a table that only ever grows.
//!
//! Asked of tens of thousands of rows, as the planner sees them after ANALYZE; how long it takes at ten million is what
//! `cargo xtask bench-audit` measures.

use domain::Timestamp;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use store::pages::{RunFilter, explain_runs};
use store::private::TestDb;
use store::search::{self, Search};
use uuid::Uuid;

use crate::history::execute;

/// Tables that only ever grow, and the runs.
const LARGE: [&str; 10] = [
    "journal_line",
    "outside_call",
    "audit",
    "run",
    "run_listed",
    "asked",
    "seal",
    "seal_stream",
    "signal",
    "verdict",
];

async fn filled() -> TestDb {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    for sql in [
        "INSERT INTO worker (name, lease_until) VALUES ('w', now())",
        "INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ('h', 'r0', '', now())",
        "INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at, ended_at)
         SELECT gen_random_uuid(), 'r' || n % 20, 'h', 'Title ' || n, '{}', 'p' || n % 50, n::text, 'running', 1, 1, 10,
                now() - n * interval '1 minute', now(), CASE WHEN n > 50 THEN now() END FROM generate_series(1, 3000) AS n",
        "INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash)
         SELECT r.id, s, 1, r.created_at + s * interval '1 second',
                CASE s WHEN 1 THEN 'requested' WHEN 9 THEN 'asked' ELSE 'observed' END, CASE WHEN s > 1 THEN 'step' || s END,
                CASE WHEN s IN (1, 9) THEN json_build_object('kind', 'x', 'by', json_build_object('name', r.requested_by),
                    'locks', json_build_array('cluster:us/shard-' || r.idem_key::int % 100), 'reason', 'words of ' || r.idem_key)
                ELSE json_build_object('kind', 'observed', 'facts', repeat('x', 200)) END, gen_random_uuid(), sha256('')
           FROM run r, generate_series(1, 10) AS s",
        "INSERT INTO asked (run_id, seq, at, step, by, words)
         SELECT run_id, seq, at, step, asked_by(entry), asked_words(entry) FROM journal_line WHERE kind = 'asked'",
        "INSERT INTO outside_call (run_id, step, attempt, at, service, operation, target, status, duration_ms, mutating)
         SELECT r.id, 's', 1, now(), 'rds', 'Describe', 't', 'ok', 1, s = 1 FROM run r, generate_series(1, 5) AS s",
        "INSERT INTO inbox (id, run_id, by, ask, at) SELECT gen_random_uuid(), id, '{}', '{}', now() FROM run",
        // The chain is worked out row by row; here it is of no interest.
        "ALTER TABLE audit DISABLE TRIGGER audit_chain",
        "INSERT INTO audit (at, actor, action, target, details, seq, hash)
         SELECT now() - n * interval '1 minute', 'p' || n % 500, 'start refused: c' || n % 300, 't' || n % 700, jsonb_build_object('why', 'word' || n), n, sha256('')
           FROM generate_series(1, 30000) AS n",
        "INSERT INTO seal SELECT n, now(), n, 1, '', 1, '', 1, '', '' FROM generate_series(1, 3000) AS n",
        "INSERT INTO seal_stream SELECT 1 + n % 3000, id, 10, '' FROM (SELECT id, row_number() OVER () AS n FROM run) AS run",
        "INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen)
         SELECT gen_random_uuid(), 's', 'k', n::text, CASE WHEN n < 20 THEN 'firing' ELSE 'resolved' END, '', '{}',
                now() - n * interval '1 minute', now() - n * interval '1 minute' FROM generate_series(1, 5000) AS n",
        "INSERT INTO verdict (signal, at, verdict, code, because, considered, start_key)
         SELECT id, first_seen, CASE n % 50 WHEN 0 THEN 'started' ELSE 'ignored' END, 'c', '', '[]', CASE n % 50 WHEN 0 THEN n::text END
           FROM (SELECT *, row_number() OVER () AS n FROM signal) AS s",
        "ANALYZE",
    ] {
        execute(pool, sql).await;
    }
    db
}

/// The tables that a plan scans from one end to the other.
fn scans(plan: &Value, found: &mut Vec<String>) {
    match plan {
        Value::Object(node) => {
            if node.get("Node Type").is_some_and(|kind| kind == "Seq Scan")
                && let Some(table) = node.get("Relation Name").and_then(Value::as_str)
                && LARGE.contains(&table)
            {
                found.push(table.to_owned());
            }
            node.values().for_each(|child| scans(child, found));
        }
        Value::Array(children) => children.iter().for_each(|child| scans(child, found)),
        _ => {}
    }
}

fn assert_by_index(what: &str, plan: &Value) {
    let mut found = Vec::new();
    scans(plan, &mut found);
    assert!(found.is_empty(), "{what} scans {found:?}: {plan:#}");
}

#[tokio::test]
async fn the_search_of_the_audit_goes_by_index_whatever_is_looked_for() {
    let db = filled().await;
    // So many requests are read for words that this history is too short for an index, unless scans are dear.
    let dear: PgConnectOptions = db.url().parse().unwrap();
    let dear = PgPoolOptions::new().connect_lazy_with(dear.options([("enable_seqscan", "off")]));
    let run: Uuid = sqlx::query_scalar("SELECT id FROM run LIMIT 1").fetch_one(db.pool()).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let now: Timestamp = sqlx::query_scalar("SELECT now()").fetch_one(db.pool()).await.unwrap();
    let ago = |minutes: i64| Some(now - chrono::TimeDelta::minutes(minutes));
    let searches = [
        ("everything", Search::default()),
        ("an actor", Search { actor: text("p7"), ..Search::default() }),
        ("nobody", Search { actor: text("nobody"), ..Search::default() }),
        ("an action", Search { action: text("start refused: c7"), ..Search::default() }),
        ("requests", Search { action: text("requested"), ..Search::default() }),
        ("a kind of entry", Search { action: text("asked"), ..Search::default() }),
        ("a target", Search { target: text("cluster:us/shard-7"), ..Search::default() }),
        ("a step", Search { step: text("step9"), ..Search::default() }),
        ("a run", Search { run: Some(run), ..Search::default() }),
        ("words", Search { text: text("word77"), ..Search::default() }),
        ("a time", Search { since: ago(3000), until: ago(2900), ..Search::default() }),
        ("an actor at a time", Search { actor: text("p7"), since: ago(500), ..Search::default() }),
        ("the next page", Search { after: ago(10).map(|at| (at, "j".to_owned())), ..Search::default() }),
    ];
    for (what, wanted) in searches {
        assert_by_index(what, &search::explain(&dear, &wanted, 41).await.unwrap());
        search::search(db.pool(), &wanted, 41).await.unwrap();
    }
}

#[tokio::test]
async fn lists_of_runs_go_by_index() {
    let db = filled().await;
    let before = Some((sqlx::query_scalar("SELECT now()").fetch_one(db.pool()).await.unwrap(), Uuid::nil()));
    for open in [false, true] {
        for runbook in [None, Some("r7".to_owned()), Some("never run".to_owned())] {
            for before in [None, before] {
                let filter = RunFilter { open, runbook: runbook.clone(), before };
                let plan = explain_runs(db.pool(), &filter, 41).await.unwrap();
                assert_by_index(&format!("{filter:?}"), &plan);
            }
        }
    }
}

/// Every statement that the program was compiled with, planned for whatever it is given, and with scans made so dear that
/// one is left only where no index fits. Those that may must be named here, with the reason.
#[tokio::test]
async fn every_other_statement_goes_by_index_too() {
    /// Words of statements that may.
    const MAY_SCAN: [(&str, &str); 1] =
        [("CROSS JOIN LATERAL", "the first block covers all that older versions wrote, once")];
    let db = filled().await;
    let mut connection = db.pool().acquire().await.unwrap();
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
        .execute(&mut *connection)
        .await
        .unwrap();
    let wanted = |sql: &str| !MAY_SCAN.iter().any(|(words, _)| sql.contains(words));
    let plans = plans(&mut connection, wanted).await;
    for (sql, plan) in &plans {
        assert_by_index(sql, plan);
    }
    assert!(plans.len() > 20, "{}", plans.len());
}

/// What people ask of the view finds the rows as what is asked of the table does.
#[tokio::test]
async fn the_view_of_entries_goes_by_the_same_indexes() {
    let db = filled().await;
    let run: Uuid = sqlx::query_scalar("SELECT id FROM run LIMIT 1").fetch_one(db.pool()).await.unwrap();
    for question in [
        format!("SELECT seq, at, epoch, entry FROM journal WHERE run_id = '{run}' ORDER BY seq"),
        format!("SELECT j.entry FROM run r JOIN journal j ON j.run_id = r.id AND j.seq = 1 WHERE r.id = '{run}'"),
        "SELECT j.entry FROM (SELECT id FROM run_listed WHERE runbook = 'r7' ORDER BY created_at DESC LIMIT 5) AS r \
         JOIN journal j ON j.run_id = r.id AND j.seq = 1".to_owned(),
        "SELECT j.entry FROM asked a JOIN journal j ON j.run_id = a.run_id AND j.seq = a.seq \
          WHERE a.by = 'p7' ORDER BY a.at DESC LIMIT 40".to_owned(),
    ] {
        let explain = AssertSqlSafe(format!("EXPLAIN (FORMAT JSON) {question}"));
        let plan: Value = sqlx::query_scalar(explain).fetch_one(db.pool()).await.unwrap();
        assert_by_index(&question, &plan);
    }
}

/// The write path plans its statements once, perhaps on the first day, when every table is empty: also then each run must be
/// looked up by its key, or an append would cost the more the more runs there are.
#[tokio::test]
async fn what_is_written_all_the_time_goes_by_key_even_when_planned_for_empty_tables() {
    let db = TestDb::new().await.unwrap();
    let mut connection = db.pool().acquire().await.unwrap();
    for setting in store::writer::SETTINGS {
        let set = AssertSqlSafe(format!("SET {setting}"));
        sqlx::raw_sql(set).execute(&mut *connection).await.unwrap();
    }
    let mut asked = 0;
    let writes = |sql: &str| sql.starts_with("WITH mine AS") || sql.starts_with("WITH brakes AS");
    for (sql, plan) in plans(&mut connection, writes).await {
        let mut found = Vec::new();
        reads_all(&plan, &mut found);
        assert!(found.is_empty(), "{sql} reads all of {found:?}: {plan:#}");
        assert!(!compares_each_with_each(&plan), "{sql}: {plan:#}");
        asked += 1;
    }
    assert_eq!(
        asked, 7,
        "one row, the same that ends a run, many appends, the same that end runs or say what people asked, births, and what passes the gate"
    );
}

/// A step that changed what an index of the runs covers, or asks for in its condition, would write to every one of them again.
#[tokio::test]
async fn no_index_of_the_runs_knows_what_a_step_changes() {
    let db = TestDb::new().await.unwrap();
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT a.attname::text
           FROM pg_index i
           JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid
           JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
          WHERE i.indrelid = 'run'::regclass
         UNION
         SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
          WHERE i.indrelid = 'run'::regclass
          ORDER BY 1",
    )
    .fetch_all(db.pool())
    .await
    .unwrap();
    assert_eq!(known, ["ended_at", "id", "idem_key", "owner", "runbook"]);
}

/// Of two hundred appends in a statement that would be forty thousand pairs.
fn compares_each_with_each(plan: &Value) -> bool {
    match plan {
        Value::Object(node) => node.contains_key("Join Filter") || node.values().any(compares_each_with_each),
        Value::Array(children) => children.iter().any(compares_each_with_each),
        _ => false,
    }
}

/// The tables of which a plan reads everything, in whichever order.
fn reads_all(plan: &Value, found: &mut Vec<String>) {
    match plan {
        Value::Object(node) => {
            let scans =
                node.get("Node Type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("Scan"));
            if scans
                && node.get("Index Cond").is_none()
                && node.get("Recheck Cond").is_none()
                && let Some(table) = node.get("Relation Name").and_then(Value::as_str)
                && LARGE.contains(&table)
            {
                found.push(table.to_owned());
            }
            node.values().for_each(|child| reads_all(child, found));
        }
        Value::Array(children) => children.iter().for_each(|child| reads_all(child, found)),
        _ => {}
    }
}

/// The plans of the statements that the program was compiled with, made for whatever they are given.
async fn plans(connection: &mut sqlx::PgConnection, wanted: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let mut plans = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let kept: Value = serde_json::from_str(&text).unwrap();
        let sql = kept["query"].as_str().unwrap();
        if !wanted(sql) {
            continue;
        }
        sqlx::raw_sql(AssertSqlSafe(format!("PREPARE asked AS {sql}")))
            .execute(&mut *connection)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        let parameters = kept["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len);
        let given = match parameters {
            0 => String::new(),
            count => format!("({})", vec!["NULL"; count].join(", ")),
        };
        let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE asked{given}");
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain))
            .persistent(false)
            .fetch_one(&mut *connection)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        sqlx::raw_sql("DEALLOCATE asked").execute(&mut *connection).await.unwrap();
        plans.push((sql.to_owned(), plan));
    }
    plans
}
