//! How fast the history is read when it is large: `cargo xtask bench-audit [entries]`.
//!
//! Makes a history of that many entries (ten million unless told) with true links, in a hundred entries per run, on a
//! private Postgres with full durability; seals it; then asks what pages ask, each question two hundred times with other
//! values, and prints p50 and p99; then verifies everything. The database stays, so that the next run need not make it.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::fmt::Write as _;
use std::future::Future;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use domain::Timestamp;
use domain::audit::{AuditRow, Link};
use sqlx::postgres::PgPoolCopyExt as _;
use sqlx::{AssertSqlSafe, PgPool};
use store::pages::RunFilter;
use store::private::{Options, Server};
use store::search::Search;
use store::{StoreError, proof, seals};
use uuid::Uuid;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const PER_RUN: i64 = 100;
const ASKED: u32 = 200;

#[tokio::main]
async fn main() -> Result {
    let entries: i64 = std::env::args().nth(1).map_or(Ok(10_000_000), |n| n.replace('_', "").parse())?;
    let folder = std::env::current_exe()?.ancestors().nth(3).map(|target| target.join("bench-postgres"));
    let data = folder.ok_or("where is the target folder?")?;
    let server = Server::start(Options { data, durable: true }).await?;
    let name = format!("ended_{entries}");
    let mut url = server.ensure_database(&name).await?;
    let pool = match store::connect(&url).await {
        Err(StoreError::Migration(e)) => {
            println!("{name} was made by another version, and is made anew: {e}");
            url = server.fresh_database(&name).await?;
            store::connect(&url).await?
        }
        pool => pool?,
    };
    make(&pool, entries / PER_RUN).await?;
    ask(&pool).await?;

    let begun = Instant::now();
    let report = proof::verify(&url, proof::Options::default()).await?;
    let took = begun.elapsed();
    let rate = report.entries as f64 / took.as_secs_f64() / 1e6;
    println!(
        "verify: {} entries, {} runs, {} calls, {} audit rows, {} blocks in {:.1} s ({rate:.2} million entries/s), {} breaks",
        report.entries,
        report.runs,
        report.calls,
        report.audit,
        report.blocks,
        took.as_secs_f64(),
        report.broken
    );
    if let Some(first) = report.breaks.first() {
        println!("first break: {}: {}", first.place, first.why);
    }
    let begun = Instant::now();
    let made = seals::seal(&pool, Duration::ZERO).await?;
    println!(
        "seal, nothing moved: {:.1} ms ({})",
        millis(begun.elapsed()),
        if made.is_some() { "a block" } else { "no block" }
    );
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A run that is being written.
struct Run {
    n: i64,
    id: Uuid,
    begun: Timestamp,
    link: Link,
    /// The last entry, where the row of the next carries it.
    carried: Option<(String, Timestamp)>,
}

impl Run {
    /// One every five minutes since the beginning of 2025; ids as they are made: by time.
    fn new(n: i64) -> Result<Self> {
        let begun = Timestamp::from_timestamp(1_735_689_600 + n * 300, 0).ok_or("a time")?;
        let mut tail = [0; 10];
        tail[2..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()).to_be_bytes());
        let id = uuid::Builder::from_unix_timestamp_millis(begun.timestamp_millis().cast_unsigned(), &tail)
            .into_uuid();
        Ok(Self { n, id, begun, link: Link::origin(id), carried: None })
    }

    /// One in a thousand does.
    fn goes_on(&self) -> bool {
        self.n % 1000 == 0
    }

    /// When an entry was written.
    fn at(&self, seq: i64) -> Timestamp {
        self.begun + TimeDelta::seconds((seq - 1) * 5)
    }

    fn row(&self, out: &mut String) -> Result {
        let Self { n, id, begun, .. } = self;
        let moved = self.at(PER_RUN);
        let ended = if self.goes_on() { "\\N".to_owned() } else { moved.to_rfc3339() };
        let (state, outcome, message) =
            if self.goes_on() { ("waiting", "\\N", "\\N") } else { ("succeeded", "succeeded", MESSAGE) };
        writeln!(
            out,
            "{id}\trunbook-{}\t{}\tReplace the hosts of fleet {}\t{{}}\tperson-{}\tbench-{n}\t{state}\t{outcome}\t{message}\t1\t{PER_RUN}\t{begun}\t{moved}\t{ended}",
            n % 40,
            TEXT_HASH,
            n % 300,
            n % 200,
        )?;
        Ok(())
    }

    fn calls(&self, out: &mut String) -> Result {
        for s in 0..20 {
            let mutating = s % 10 == 0;
            writeln!(
                out,
                "{}\tstep-{s}\t1\t{}\tautoscaling\tDescribeAutoScalingGroups\tfleet-{}\t{:032x}\tok\t40\t{mutating}",
                self.id,
                self.begun + TimeDelta::seconds(s * 5),
                self.n % 300,
                self.n * 100 + s,
            )?;
        }
        Ok(())
    }

    fn entry(&mut self, seq: i64, out: &mut String) -> Result {
        let (n, at) = (self.n, self.at(seq));
        let by = format!(r#""by":{{"type":"person","name":"person-{}"}}"#, n % 200);
        let (kind, step, rest) = match seq {
            1 => (
                "requested",
                None,
                format!(
                    r#""runbook":"runbook-{}","hash":"{TEXT_HASH}","inputs":{{}},{by},"reason":"ticket {n} of the night","plan_hash":null,"locks":["fleet:us/fleet-{}"]"#,
                    n % 40,
                    n % 300,
                ),
            ),
            60 if n % 10 == 0 => {
                let step = format!("step-{}", n % 5000);
                let rest =
                    format!(r#""inbox":{n},{by},"ask":{{"ask":"retry","step":"{step}"}},"refused":null"#);
                ("asked", Some(step), rest)
            }
            PER_RUN if !self.goes_on() => {
                ("ended", None, format!(r#""outcome":"succeeded","message":"{MESSAGE}""#))
            }
            _ => {
                let facts = format!(
                    r#""output":{{"desired":4,"instances":["i-{:017x}","i-{:017x}","i-{:017x}"],"healthy":true,"target":"arn:aws:elasticloadbalancing:us-east-1:111122223333:targetgroup/proxysql/{n}"}}"#,
                    n * seq,
                    n + seq,
                    n * 7 + seq,
                );
                let step = Some(format!("step-{}", seq % 12));
                if is_carried(seq) {
                    ("done", step, format!("\"how\":\"looked\",{facts}"))
                } else {
                    ("observed", step, facts)
                }
            }
        };
        let named = step
            .as_ref()
            .filter(|_| matches!(kind, "observed" | "done"))
            .map(|step| format!(r#""step":"{step}","#))
            .unwrap_or_default();
        let entry = format!(r#"{{"kind":"{kind}",{named}{rest}}}"#);
        self.link = self.link.then(seq, 1, at, &entry);
        if is_carried(seq) {
            self.carried = Some((entry, at));
            return Ok(());
        }
        let step = step.as_deref().unwrap_or("\\N");
        let (carried, carried_at) = match self.carried.take() {
            Some((entry, at)) => (entry, at.to_rfc3339()),
            None => ("\\N".to_owned(), "\\N".to_owned()),
        };
        writeln!(
            out,
            "{}\t{seq}\t1\t{at}\t{kind}\t{step}\t{entry}\t{}\t\\\\x{}\t{carried}\t{carried_at}",
            self.id, self.id, self.link
        )?;
        Ok(())
    }
}

/// As of changes: every other entry is a result, in the row of what follows it.
fn is_carried(seq: i64) -> bool {
    seq % 2 == 1 && (3..PER_RUN).contains(&seq)
}

const MESSAGE: &str = "All steps are done.";
const TEXT_HASH: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"; // of "x"

/// Runs in batches whose entries lie interleaved, as those of a busy hour do.
async fn make(pool: &PgPool, runs: i64) -> Result {
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM run").fetch_one(pool).await?;
    if there >= runs {
        return Ok(());
    }
    let setup = format!(
        "INSERT INTO worker (name, lease_until) VALUES ('bench', now());
         INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ('{TEXT_HASH}', 'bench', 'x', now()) ON CONFLICT DO NOTHING"
    );
    sqlx::raw_sql(AssertSqlSafe(setup)).execute(pool).await?;
    let begun = Instant::now();
    let all: Vec<i64> = (there..runs).collect();
    for batch in all.chunks(500) {
        let mut batch: Vec<Run> = batch.iter().map(|n| Run::new(*n)).collect::<Result<_>>()?;
        let (mut rows, mut calls, mut entries) = (String::new(), String::new(), String::new());
        for run in &batch {
            run.row(&mut rows)?;
            run.calls(&mut calls)?;
        }
        for seq in 1..=PER_RUN {
            for run in &mut batch {
                run.entry(seq, &mut entries)?;
            }
        }
        for (table, rows) in [
            (
                "run (id, runbook, hash, title, inputs, requested_by, idem_key, state, outcome, message, epoch, seq, created_at, updated_at, ended_at)",
                rows,
            ),
            (
                "outside_call (run_id, step, attempt, at, service, operation, target, request_id, status, duration_ms, mutating)",
                calls,
            ),
            (
                "journal_line (run_id, seq, epoch, at, kind, step, entry, write_id, hash, carried, carried_at)",
                entries,
            ),
        ] {
            let mut copy = pool.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
            copy.send(rows.into_bytes()).await?;
            copy.finish().await?;
        }
        let done = batch.last().map_or(0, |run| run.n + 1);
        if done % 10_000 == 0 {
            println!("{done} of {runs} runs: {:.0} s", begun.elapsed().as_secs_f64());
        }
    }
    sqlx::raw_sql(
        "INSERT INTO asked (run_id, seq, at, step, by, words)
         SELECT run_id, seq, at, step, asked_by(entry), asked_words(entry) FROM journal_line WHERE kind = 'asked'",
    )
    .execute(pool)
    .await?;
    audit(pool, runs).await?;
    sqlx::raw_sql("VACUUM ANALYZE").execute(pool).await?;
    println!("made and analyzed: {:.0} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    seals::seal(pool, Duration::ZERO).await?;
    println!("the first block, over everything: {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Three rows of `audit` for each run, by its own chain.
async fn audit(pool: &PgPool, runs: i64) -> Result {
    let mut connection = pool.acquire().await?;
    sqlx::raw_sql("SET session_replication_role = replica").execute(&mut *connection).await?;
    let mut link = Link::audit_origin();
    let mut rows = String::new();
    for seq in 1..=runs * 3 {
        let at = Timestamp::from_timestamp(1_735_689_600 + seq * 100, 0).ok_or("a time")?;
        let row = AuditRow {
            seq,
            at,
            actor: format!("person-{}", seq % 2000),
            action: if seq % 3 == 0 {
                format!("start refused: code-{}", seq % 50)
            } else {
                "signed in".into()
            },
            target: format!("target-{}", seq % 1000),
            details: format!(r#"{{"why": "word{seq} for nobody in particular"}}"#),
            link,
        };
        link = row.link(link);
        let AuditRow { actor, action, target, details, .. } = &row;
        writeln!(rows, "{at}\t{actor}\t{action}\t{target}\t{details}\t{seq}\t\\\\x{link}")?;
    }
    let mut copy = connection
        .copy_in_raw("COPY audit (at, actor, action, target, details, seq, hash) FROM STDIN")
        .await?;
    copy.send(rows.into_bytes()).await?;
    copy.finish().await?;
    sqlx::raw_sql("RESET session_replication_role").execute(&mut *connection).await?;
    Ok(())
}

/// Asks each question with many values, and prints how long answers took.
async fn time<F: Future<Output = std::result::Result<usize, StoreError>>>(
    what: &str,
    mut ask: impl FnMut(i64) -> F,
) -> Result {
    let mut took = Vec::new();
    let mut rows = 0;
    for nth in 0..ASKED {
        let begun = Instant::now();
        rows = rows.max(ask(i64::from(nth) * 7919).await?);
        took.push(begun.elapsed());
    }
    took.sort();
    let at = |share: f64| millis(took[((took.len() - 1) as f64 * share).round() as usize]);
    println!("{what:<42} p50 {:>7.2} ms   p99 {:>7.2} ms   (up to {rows} rows)", at(0.5), at(0.99));
    Ok(())
}

async fn ask(pool: &PgPool) -> Result {
    let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM run").fetch_one(pool).await?;
    let id = |nth: i64| Run::new(nth % runs).map(|run| run.id).unwrap_or_default();
    let at = |nth: i64| Timestamp::from_timestamp(1_735_689_600 + nth % runs * 300, 0);

    time("run page: header", |n| async move { Ok(store::pages::run(pool, id(n)).await?.iter().count()) })
        .await?;
    time("run page: journal", |n| async move { Ok(store::runs::journal(pool, id(n)).await?.len()) }).await?;
    time("run page: calls", |n| async move { Ok(store::calls::of_run(pool, id(n), 200).await?.len()) })
        .await?;
    time("run page: how far it is sealed", |n| async move {
        Ok(seals::of_run(pool, id(n)).await?.iter().count())
    })
    .await?;

    let list = |filter: RunFilter| async move { Ok(store::pages::runs(pool, &filter, 41).await?.len()) };
    let before = |n| at(n).map(|at| (at, id(n)));
    time("runs: newest", |_| list(RunFilter::default())).await?;
    time("runs: a page further on", |n| list(RunFilter { before: before(n), ..RunFilter::default() }))
        .await?;
    time("runs: open", |_| list(RunFilter { open: true, ..RunFilter::default() })).await?;
    time("runs: of a runbook", |n| {
        list(RunFilter {
            runbook: Some(format!("runbook-{}", n % 40)),
            before: before(n),
            ..RunFilter::default()
        })
    })
    .await?;
    time("runs: open, of a runbook that never ran", |_| {
        list(RunFilter { open: true, runbook: Some("never".into()), ..RunFilter::default() })
    })
    .await?;

    let find = |search: Search| async move { Ok(store::search::search(pool, &search, 41).await?.len()) };
    time("audit: newest", |_| find(Search::default())).await?;
    time("audit: a page further on", |n| {
        find(Search { after: at(n).map(|at| (at, "j".into())), ..Search::default() })
    })
    .await?;
    time("audit: actor", |n| {
        find(Search { actor: Some(format!("person-{}", n % 2000)), ..Search::default() })
    })
    .await?;
    time("audit: nobody", |n| find(Search { actor: Some(format!("nobody-{n}")), ..Search::default() }))
        .await?;
    time("audit: action", |n| {
        find(Search { action: Some(format!("start refused: code-{}", n % 50)), ..Search::default() })
    })
    .await?;
    time("audit: kind of entry", |_| find(Search { action: Some("asked".into()), ..Search::default() }))
        .await?;
    time("audit: target", |n| {
        find(Search { target: Some(format!("target-{}", n % 1000)), ..Search::default() })
    })
    .await?;
    time("audit: lock", |n| {
        find(Search { target: Some(format!("fleet:us/fleet-{}", n % 300)), ..Search::default() })
    })
    .await?;
    time("audit: step", |n| find(Search { step: Some(format!("step-{}", n % 5000)), ..Search::default() }))
        .await?;
    time("audit: run", |n| find(Search { run: Some(id(n)), ..Search::default() })).await?;
    time("audit: rare words", |n| find(Search { text: Some(format!("ticket {n}")), ..Search::default() }))
        .await?;
    time("audit: words in every row", |_| find(Search { text: Some("night".into()), ..Search::default() }))
        .await?;
    time("audit: a day", |n| {
        let until = at(n).map(|at| at + TimeDelta::days(1));
        find(Search { since: at(n), until, ..Search::default() })
    })
    .await?;
    time("audit: actor, action, a week", |n| {
        find(Search {
            actor: Some(format!("person-{}", n % 200)),
            action: Some("asked".into()),
            since: at(n),
            until: at(n).map(|at| at + TimeDelta::days(7)),
            ..Search::default()
        })
    })
    .await?;
    Ok(())
}
