//! `firebreak triggers backtest` on a month of signals.

use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;
use store::private::TestDb;

/// Of fifty thousand signals every fifth says that logins fail, and was asked about, refuted or ignored in turn; the others are of
/// kinds that no rule takes.
const MONTH: &str = r#"
    INSERT INTO signal (id, source, kind, fingerprint, state, summary, labels, first_seen, last_seen, resolved_at)
    SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'prober', CASE WHEN n % 5 = 0 THEN 'logins_fail' ELSE 'disk_' || n % 7 END,
           n::text, 'resolved', 'Signal ' || n,
           jsonb_build_object('fleet', 'proxysql-us', 'cluster', 'shard-' || n % 13, 'hosts', 'several', 'direct', 'ok'),
           now() - interval '29 days' + n * interval '50 seconds', now(), now()
      FROM generate_series(1, 50000) AS n;
    INSERT INTO incident (id, title, targets, opened_at, closed_at)
    SELECT ('00000000-0000-7000-9000-' || lpad(n::text, 12, '0'))::uuid, 'Incident', '{fleet:proxysql-us}', now() - interval '29 days', now()
      FROM generate_series(1, 10000) AS n;
    INSERT INTO verdict (signal, at, verdict, code, because, rule, considered, incident, targets)
    SELECT s.id, s.first_seen, v.verdict, v.code, 'because', v.rule, v.considered,
           CASE WHEN v.verdict = 'asked' THEN ('00000000-0000-7000-9000-' || lpad((s.n / 5)::text, 12, '0'))::uuid END,
           CASE WHEN v.verdict = 'asked' THEN '{fleet:proxysql-us}'::text[] END
      FROM (SELECT *, fingerprint::int AS n FROM signal) s, LATERAL (
          SELECT 'ignored' AS verdict, 'no_rule' AS code, NULL AS rule, '[]'::jsonb AS considered WHERE s.n % 5 <> 0
          UNION ALL
          SELECT 'asked', 'ask', 'replace-proxysql/logins-fail',
                 '[{"rule": "failover-cluster/logins-fail", "standing": "refuted", "says": "well: The cluster is well."},
                   {"rule": "replace-proxysql/logins-fail", "standing": "fits", "says": "Its guards hold."}]' WHERE s.n % 10 = 0
          UNION ALL
          SELECT 'suppressed', 'refuted', 'failover-cluster/logins-fail',
                 '[{"rule": "failover-cluster/logins-fail", "standing": "refuted", "says": "well: The cluster is well."},
                   {"rule": "replace-proxysql/logins-fail", "standing": "refuted", "says": "sick: No host is sick."}]' WHERE s.n % 10 = 5
      ) v;
    UPDATE signal s SET verdict = v.id, incident = v.incident FROM verdict v WHERE v.signal = s.id;
"#;

fn backtest(db: &TestDb, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
    command.args(["triggers", "backtest", "--json"]).args(args);
    command.env("DATABASE_URL", db.url()).env_remove("FIREBREAK_CONFIG").output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn a_month_of_fifty_thousand_signals_tells_what_another_mode_and_another_condition_would_have_done() {
    let db = TestDb::new().await.unwrap();
    sqlx::raw_sql(MONTH).execute(db.pool()).await.unwrap();
    let begun = Instant::now();
    let same = backtest(&db, &[]);
    eprintln!("50,000 signals replayed in {:.1} s", begun.elapsed().as_secs_f64());
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    assert_eq!((&report(&same)["signals"], &report(&same)["same"]), (&50_000.into(), &50_000.into()));

    // What is asked about would be started, as far as the budget of an hour goes: one in 500 seconds is more than two an hour, so two in each 4,000 seconds.
    let auto = backtest(&db, &["--mode", "replace-proxysql/logins-fail=auto"]);
    assert_eq!(auto.status.code(), Some(1));
    let found = report(&auto);
    let change = &found["changes"][0];
    assert_eq!((&change["then"]["verdict"], &change["now"]["verdict"]), (&"asked".into(), &"started".into()));
    let started = change["signals"].as_u64().unwrap();
    assert_eq!(started, 1_250, "{found:#}");
    assert_eq!(found["same"].as_u64().unwrap() + started, 50_000);

    // An edited rule that takes disks, too: nobody has looked at what its guards would have said.
    let folder = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../runbooks");
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let edited = text.replace(
                r#"where: signal.kind == "logins_fail" &&"#,
                r#"where: signal.kind in ["logins_fail", "disk_3"] &&"#,
            );
            std::fs::write(folder.path().join(path.file_name().unwrap()), edited).unwrap();
        }
    }
    let edited = backtest(&db, &[folder.path().to_str().unwrap()]);
    let found = report(&edited);
    assert_eq!(found["changes"].as_array().unwrap().len(), 1, "{found:#}");
    assert_eq!(
        found["changes"][0]["now"],
        serde_json::json!({ "verdict": "planned", "rule": "replace-proxysql/logins-fail" })
    );
    let unknown = backtest(&db, &["--mode", "replace-proxysql/other=auto"]);
    assert!(
        String::from_utf8_lossy(&unknown.stderr).contains("there is no trigger `replace-proxysql/other`")
    );
    // Nothing of it was written down.
    let modes: i64 =
        sqlx::query_scalar("SELECT count(*) FROM trigger_mode").fetch_one(db.pool()).await.unwrap();
    assert_eq!(modes, 0);
}
