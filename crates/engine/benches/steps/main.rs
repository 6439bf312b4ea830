//! What the engine costs, as ratios to what Postgres can do at all, taken in one run. `cargo xtask bench` runs it.
//!
//! - durable steps per second (intent and result, creation and completion included) at 1, 8, 64 and 256 concurrent runs of
//!   ten steps, against one-row durable INSERTs by 32 clients of pgbench; and the same writes by the store alone;
//! - a ten-step run alone, against eleven single commits;
//! - from `start` to the first intent durable; commits per step; kill -9 to take-over.
//!
//! `cargo xtask bench 64 256` measures these numbers of runs alone, for a profiler to look at.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program for the terminal, which stops at the first surprise"
)]

mod reference;
mod world;
mod writes;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use domain::inventory::Inventory;
use domain::{Actor, run::Entry};
use engine::clock::SystemClock;
use engine::{Engine, Library, Parts, Settings, StartRequest};
use reference::Reference;
use serde_json::{Map, Value};
use store::PgPool;
use store::private::{Options, Server};
use tokio::task::JoinSet;
use uuid::Uuid;
use world::FirstChange;

/// The binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const STEPS: f64 = 10.0;
/// How long each figure is measured.
const FOR: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--waiting-worker") {
        return wait_to_be_killed(&args[at + 1]).await;
    }
    let pgbench = std::env::var("PGBENCH").unwrap_or_else(|_| "pgbench".into());
    let folder = std::env::current_exe().unwrap().parent().unwrap().join("firebreak-bench-postgres");
    let server = Server::start(Options { data: folder, durable: true }).await.unwrap();
    let url = server.fresh_database("firebreak_bench").await.unwrap();
    let pool = store::connect(&url).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE reference (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let bench = Arc::new(Bench { first: FirstChange::default(), pool, keys: AtomicU64::new(0) });
    let engine = bench.engine("bench").await;
    bench.run(&engine).await; // compiles statements, fills caches

    let measure = || Reference::measure(&pgbench, &url);
    let mut before = measure();
    println!(
        "reference: one-row durable INSERT: {:.0}/s by 1 client, {:.0}/s by 32",
        before.alone, before.together
    );
    println!(
        "\n{:>16} {:>10} {:>12} {:>8} {:>16}  target",
        "concurrent runs", "steps/s", "reference/s", "ratio", "our CPU per step"
    );
    let only: Vec<usize> = args.iter().filter_map(|a| a.parse().ok()).collect();
    for (runs, target) in [(1, ""), (8, ""), (64, ">= 1.0"), (256, ">= 2.0")] {
        if !only.is_empty() && !only.contains(&runs) {
            continue;
        }
        let (rate, cpu) = bench.steps_per_second(&engine, runs).await;
        let after = measure();
        let reference = before.between(after);
        let ratio = rate / reference.together;
        println!(
            "{runs:>16} {rate:>10.0} {:>12.0} {ratio:>8.2} {cpu:>13.0} us  {target}",
            reference.together
        );
        before = after;
    }
    let written = writes::Written::read(&bench.pool, bench.run(&engine).await).await;
    let rate = written.steps_per_second(&bench.pool).await;
    let after = measure();
    let reference = before.between(after);
    println!(
        "{:>16} {rate:>10.0} {:>12.0} {:>8.2} {:>16}  what an engine that costs nothing would reach",
        "store alone",
        reference.together,
        rate / reference.together,
        ""
    );
    before = after;
    if !only.is_empty() {
        return engine.shut_down().await;
    }

    let commits_before = commits(&bench.pool).await;
    let alone = tokio::spawn(bench.clone().alone(engine.clone())).await.unwrap();
    let commits_after = commits(&bench.pool).await;
    let reference = before.between(measure());
    let steps = STEPS * alone.whole.len() as f64;
    let single = 1.0 / reference.alone;
    let (p50, p99) = (quantile(&alone.whole, 0.5), quantile(&alone.whole, 0.99));
    let start = quantile(&alone.start, 0.5);
    println!("\na ten-step run alone: p50 {}, p99 {}", ms(p50), ms(p99));
    println!(
        "  p50 / eleven single commits ({} each): {:.2}  target <= 2.2",
        ms(single),
        p50 / (11.0 * single)
    );
    println!("start to first intent durable: p50 {}  target <= {}", ms(start), ms(2.0 * single + 0.001));
    println!(
        "durable commits per step, unbatched: {:.2}  target <= 1.15",
        (commits_after - commits_before) / steps
    );

    let taken = take_over(&bench, &engine, &url).await;
    println!(
        "kill -9 to the run going on elsewhere: {:.1} s  target <= lease ({} s) + 1 s",
        taken.as_secs_f64(),
        LEASE.as_secs()
    );
    engine.shut_down().await;
}

struct Bench {
    first: FirstChange,
    pool: PgPool,
    keys: AtomicU64,
}

/// Seconds, sorted.
struct Alone {
    whole: Vec<f64>,
    start: Vec<f64>,
}

impl Bench {
    async fn engine(&self, name: &str) -> Engine {
        let registry = world::registry(&self.first);
        let library = Library::open([world::ten_steps(), world::waiting()], &registry);
        for (name, shelf) in library.iter() {
            assert!(shelf.runbook.is_ok(), "{name}: {:?}", shelf.runbook);
        }
        Engine::launch(Parts {
            channels: Default::default(),
            pool: self.pool.clone(),
            registry,
            inventory: Arc::new(Inventory::default()),
            library,
            clock: Arc::new(SystemClock),
            settings: Settings { worker: name.into(), lease: LEASE, ..Settings::default() },
        })
        .await
        .unwrap()
    }

    fn request(&self, runbook: &str) -> StartRequest {
        let key = format!("{}-{}", std::process::id(), self.keys.fetch_add(1, Ordering::Relaxed));
        StartRequest {
            runbook: runbook.into(),
            inputs: Map::from_iter([("key".to_owned(), Value::from(key.clone()))]),
            by: Actor::person("bench"),
            reason: None,
            idem_key: key,
            plan: None,
            overrides: Default::default(),
            confirm: None,
            wait: false,
        }
    }

    /// One run, from its start to its end.
    async fn run(&self, engine: &Engine) -> Uuid {
        let started = engine.start(self.request("ten")).await.unwrap();
        engine.driven(started.run_id).await;
        started.run_id
    }

    /// And what a step costs this process in CPU time, in microseconds.
    /// Whoever starts a run is a task, as in a server: what waits in `main` has a thread of its own, and is woken across.
    async fn steps_per_second(self: &Arc<Self>, engine: &Engine, runs: usize) -> (f64, f64) {
        let cpu = cpu_seconds();
        let begin = Instant::now();
        let one = |bench: Arc<Self>, engine: Engine| async move {
            let mut done = 0.0;
            while begin.elapsed() < FOR {
                bench.run(&engine).await;
                done += 1.0;
            }
            done
        };
        let callers: JoinSet<f64> = (0..runs).map(|_| one(self.clone(), engine.clone())).collect();
        let steps = STEPS * callers.join_all().await.into_iter().sum::<f64>();
        (steps / begin.elapsed().as_secs_f64(), (cpu_seconds() - cpu) * 1e6 / steps)
    }

    async fn alone(self: Arc<Self>, engine: Engine) -> Alone {
        let mut alone = Alone { whole: Vec::new(), start: Vec::new() };
        let begin = Instant::now();
        while begin.elapsed() < FOR {
            self.first.take();
            let start = Instant::now();
            self.run(&engine).await;
            alone.whole.push(start.elapsed().as_secs_f64());
            alone.start.extend(self.first.take().map(|at| (at - start).as_secs_f64()));
        }
        alone.whole.sort_by(f64::total_cmp);
        alone.start.sort_by(f64::total_cmp);
        alone
    }
}

/// How often Postgres has made its log durable: alone, each commit that somebody waits for does so once. What backends have
/// not reported yet is waited for.
async fn commits(pool: &PgPool) -> f64 {
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let n: i64 = sqlx::query_scalar("SELECT wal_sync FROM pg_stat_wal").fetch_one(pool).await.unwrap();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let n = n as f64;
    n
}

/// CPU time of this process so far; Linux counts in hundredths of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split_whitespace().filter_map(|f| f.parse().ok()).collect();
    // The state is no number: user and system time are the 11th and 12th of the numbers after the name.
    fields.get(10..12).map_or(0.0, |times| times.iter().sum::<f64>() / 100.0)
}

/// A process of its own that starts a waiting run, says which, and waits for its end.
async fn wait_to_be_killed(url: &str) {
    let pool = store::connect(url).await.unwrap();
    let bench = Bench { first: FirstChange::default(), pool, keys: AtomicU64::new(0) };
    let engine = bench.engine("victim").await;
    let started = engine.start(bench.request("waiting")).await.unwrap();
    println!("{}", started.run_id);
    engine.driven(started.run_id).await;
}

async fn take_over(bench: &Bench, engine: &Engine, url: &str) -> Duration {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--waiting-worker", url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(victim.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let run_id: Uuid = line.trim().parse().unwrap();
    let mut bell = engine.listen();
    victim.kill().unwrap();
    let killed = Instant::now();
    victim.wait().unwrap();
    loop {
        let journal = store::runs::journal(&bench.pool, run_id).await.unwrap();
        if journal.iter().any(|r| matches!(r.entry, Entry::TakenOver { .. })) {
            return killed.elapsed();
        }
        assert!(killed.elapsed() < 3 * LEASE, "nobody took the run over");
        let _ = tokio::time::timeout(Duration::from_millis(100), bell.recv()).await;
    }
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((sorted.len() as f64 * q) as usize).min(sorted.len() - 1);
    sorted[at]
}

fn ms(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1000.0)
}
