//! Chaos: several real server processes on one Postgres, and everything that can go wrong, by seed.
//!
//! ```text
//!   people ──▶ server 0 ─ proxy ─┐
//!         ╲──▶ server 1 ─ proxy ─┼─▶ Postgres, its own cluster        kill -9 · SIGSTOP beyond the lease · SIGTERM
//!         ╲──▶ server 2 ─ proxy ─┘                                   lost answers of commits · writes of the dead
//!                 ╲───────────────▶ AWS and ProxySQL, simulated      throttles · 5xx · lost answers · late arrivals
//! ```
//!
//! - `schedule`: what a seed means. Everything random comes from its number.
//! - `chaos`, `play`: the schedule as it unfolds; one seed from its first process to its verdict.
//! - `processes`, `postgres`, `wire`, `world`: the parts that break.
//! - `person`: starts runs, clicks twice, answers what only a person can.
//! - `oracle`: what must hold in the end.
//! - `scenarios`: schedules made by hand, one for each bug that a seed found and that needs this stage to show.
//!
//! `cargo xtask chaos --seeds N [--from S] [--jobs J]` plays many; a plain `cargo test` plays a slice. Deliberately absent:
//! asserted times. A slow machine makes a seed slow, never red.

#![expect(clippy::panic, clippy::print_stdout, reason = "a test, and its report")]

mod chance;
mod chaos;
mod oracle;
mod person;
mod play;
mod postgres;
mod processes;
mod scenarios;
mod schedule;
mod wire;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use postgres::Cluster;
use schedule::Schedule;

#[test]
fn whatever_goes_wrong_each_change_is_made_once_and_every_run_has_a_named_end() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name}: `{n}` is no number")))
    };
    let (from, seeds) = (number("FIREBREAK_CHAOS_FROM", 1), number("FIREBREAK_CHAOS_SEEDS", 6));
    let jobs = number("FIREBREAK_CHAOS_JOBS", 2).min(seeds);
    if std::env::var_os("FIREBREAK_CHAOS_SHOW").is_some() {
        for seed in from..from + seeds {
            println!("seed {seed}: {:?}", Schedule::draw(seed));
        }
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|e| panic!("{e}"));
    let failed = runtime.block_on(play_all(from, seeds, jobs));
    assert!(failed.is_empty(), "\n{} of {seeds} seeds failed\n{}\n", failed.len(), failed.join("\n"));
}

/// Plays seeds, some at a time; how those that failed did.
async fn play_all(from: u64, seeds: u64, jobs: u64) -> Vec<String> {
    let (next, began) = (Arc::new(AtomicU64::new(from)), Instant::now());
    // Each on a thread of its own: what a job borrows from itself over its waits cannot be moved between threads.
    let jobs: Vec<_> = (0..jobs)
        .map(|_| {
            let (next, runtime) = (next.clone(), tokio::runtime::Handle::current());
            tokio::task::spawn_blocking(move || runtime.block_on(job(next, from + seeds)))
        })
        .collect();
    let mut failed = Vec::new();
    for job in jobs {
        failed.extend(job.await.unwrap_or_else(|e| vec![format!("a job ended: {e}")]));
    }
    println!("{seeds} seeds from {from}: {} failed, {:.0} s", failed.len(), began.elapsed().as_secs_f64());
    failed
}

async fn job(next: Arc<AtomicU64>, end: u64) -> Vec<String> {
    let folder = folder();
    let cluster = match Cluster::take(&folder).await {
        Ok(cluster) => Arc::new(cluster),
        Err(e) => return vec![format!("no Postgres: {e:#}")],
    };
    let mut failed = Vec::new();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return failed;
        }
        let name = format!("seed-{seed}");
        match play::play(&name, Schedule::draw(seed), cluster.clone(), &folder).await {
            Ok(verdict) if verdict.wrong.is_empty() => println!("seed {seed}: {}", verdict.summary),
            Ok(verdict) => {
                let repeat = format!("cargo xtask chaos --seeds 1 --from {seed}");
                let told = format!("{}\n  repeat it: {repeat}", play::told(&name, &verdict));
                println!("{told}");
                failed.push(told);
            }
            Err(e) => {
                println!("seed {seed} could not be played: {e:#}");
                failed.push(format!("seed {seed} could not be played: {e:#}"));
            }
        }
    }
}

/// In the target folder that this program was built into.
fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map_or_else(std::env::temp_dir, Path::to_owned).join("chaos")
}
