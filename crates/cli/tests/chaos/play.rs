//! One seed from its first process to its verdict.
//!
//! ```text
//!  set up ─▶ people start runs · faults strike ─▶ heal ─▶ all runs end, people help ─▶ processes drain ─▶ judge
//! ```

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::run::{Ask, Takeback};
use sim::{FaultKind, Phase, Sim};
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::chaos::Chaos;
use crate::oracle;
use crate::person::{self, Person};
use crate::postgres::{self, Cluster};
use crate::processes::{Process, Setting, Signal};
use crate::schedule::{Fault, LEASE, SERVERS, SPEED, Schedule, Then, Wish};
use crate::wire::Proxy;
use crate::world;

/// How long faults may take; what has not struck by then does not.
const STORM: Duration = Duration::from_secs(120);
/// What has not ended so long after the last fault never will.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a seed showed.
pub(crate) struct Verdict {
    pub(crate) wrong: Vec<String>,
    /// In a line.
    pub(crate) summary: String,
    pub(crate) folder: PathBuf,
}

/// The parts of a seed that faults and people reach for.
struct Stage {
    sim: Sim,
    chaos: Arc<Chaos>,
    proxies: Vec<Proxy>,
    processes: Vec<Process>,
    pool: PgPool,
    person: Person,
    /// By place in the schedule's starts, once started.
    runs: Mutex<Vec<Option<Uuid>>>,
}

/// Plays a schedule: a seed's, or one made by hand for a bug that was found.
pub(crate) async fn play(
    name: &str,
    schedule: Schedule,
    cluster: Arc<Cluster>,
    folder: &Path,
) -> anyhow::Result<Verdict> {
    let began = Instant::now();
    let folder = folder.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let schedule = Arc::new(schedule);
    std::fs::write(folder.join("schedule.txt"), format!("{schedule:#?}\n"))?;

    let (chaos, firing) = Chaos::new(&schedule.faults);
    let chaos = Arc::new(chaos);
    let stage = Arc::new(set_up(&schedule, &cluster, &folder, chaos.clone()).await?);
    let up = began.elapsed();
    let mut faults = JoinSet::new();
    let striking = tokio::spawn(strike(stage.clone(), cluster.clone(), firing));
    let mut starting = JoinSet::new();
    for fleet in 0..crate::schedule::FLEETS.len() {
        let (stage, schedule) = (stage.clone(), schedule.clone());
        starting.spawn(async move {
            for (n, start) in schedule.starts.iter().enumerate().filter(|(_, s)| s.fleet == fleet) {
                let run = stage.person.start(start).await;
                stage.chaos.note(format!("start {n} ({}) is run {run}", start.runbook));
                stage.runs.lock().unwrap_or_else(PoisonError::into_inner)[n] = Some(run);
            }
        });
    }

    // People help until everything has ended; the faults end when they are through, or everything else is.
    let mut helped = 0;
    let mut healed: Option<Instant> = None;
    let mut answered: BTreeSet<(Uuid, i64)> = BTreeSet::new();
    let mut late = false;
    loop {
        let open = help(&stage, &mut answered, &mut helped).await;
        let all_started = starting.is_empty();
        while starting.try_join_next().is_some() {}
        let done = all_started && open == Some(0);
        // What waits for its moment (a trap, a write of some kind) gets some time to find it.
        let over = stage.chaos.over_for().is_some_and(|span| span > LEASE.mul_f64(2.0));
        if healed.is_none() && (done || over || began.elapsed() > STORM) {
            healed = Some(Instant::now());
            stage.chaos.heal();
            stage.chaos.note("healing");
        }
        if done {
            break;
        }
        if healed.is_some_and(|at| at.elapsed() > PATIENCE) {
            late = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(80)).await;
    }
    let storm = began.elapsed();
    stage.chaos.heal();
    starting.shutdown().await;
    if let Ok(struck) = striking.await {
        faults = struck;
    }
    // What lasts ends by itself within a few leases.
    let lasting = async { while faults.join_next().await.is_some() {} };
    if tokio::time::timeout(PATIENCE, lasting).await.is_err() {
        faults.shutdown().await;
        late = true;
    }

    let ledger = stage.sim.ledger();
    let Some(stage) = Arc::into_inner(stage) else { anyhow::bail!("a part of the stage is still in use") };
    let Stage { sim, chaos, proxies, processes, pool, person, .. } = stage;
    let mut wrong = Vec::new();
    if late {
        wrong.push(format!("not everything has ended {PATIENCE:?} after the last fault"));
    }
    let logs: Vec<PathBuf> = processes.iter().map(|p| p.log.clone()).collect();
    for ending in processes.into_iter().map(Process::end).map(tokio::spawn) {
        wrong.extend(ending.await?);
    }
    let promises = person.promises.into_inner().unwrap_or_else(PoisonError::into_inner);
    wrong.extend(oracle::judge(&pool, &schedule.starts, &promises, &ledger).await.context("judging")?);
    for log in &logs {
        let text = std::fs::read_to_string(log)?;
        let bad = ["panicked at", "stands still", "cannot be driven"];
        wrong.extend(text.lines().filter(|l| bad.iter().any(|b| l.contains(b))).map(str::to_owned));
    }
    let journals = oracle::journals(&pool).await?;
    let mut ends: Vec<String> = Vec::new();
    let mut takeovers = 0;
    for journal in journals.values() {
        if let Ok(state) = domain::run::State::replay(journal) {
            ends.push(format!("{} {}", state.runbook(), state.word()));
        }
        takeovers += journal.iter().filter(|r| r.entry.kind() == "taken_over").count();
    }
    let keep = !wrong.is_empty() || std::env::var_os("FIREBREAK_CHAOS_KEEP").is_some();
    if keep {
        std::fs::write(folder.join("what-happened.txt"), chaos.record().join("\n"))?;
        let mut text = String::new();
        for entry in ledger.iter().filter(|e| e.mutating) {
            writeln!(text, "{}", serde_json::to_string(entry)?)?;
        }
        std::fs::write(folder.join("ledger.jsonl"), text)?;
        for (run, journal) in &journals {
            let mut text = String::new();
            for record in journal {
                writeln!(text, "{}", serde_json::to_string(record)?)?;
            }
            std::fs::write(folder.join(format!("journal-{run}.jsonl")), text)?;
        }
    }
    let summary = format!(
        "{:.1} s ({:.1} up, {:.1} until all ended), {} appends, {} of {} faults, {takeovers} take-overs, {helped} answers; {}",
        began.elapsed().as_secs_f64(),
        up.as_secs_f64(),
        storm.as_secs_f64(),
        chaos.writes(),
        schedule.faults.len() - chaos.unstruck(),
        schedule.faults.len(),
        ends.join(", "),
    );
    drop(proxies);
    sim.stop().await;
    pool.close().await;
    if !keep {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(Verdict { wrong, summary, folder })
}

async fn set_up(
    schedule: &Schedule,
    cluster: &Cluster,
    folder: &Path,
    chaos: Arc<Chaos>,
) -> anyhow::Result<Stage> {
    let sim =
        Sim::start(world::small(), sim::Options { speed: SPEED, seed: schedule.seed, http_port: 0 }).await?;
    world::write_runbooks(folder)?;
    let direct = cluster.fresh().await?;
    store::connect(&direct).await?.close().await;
    let pool = cluster.pool(&direct)?;
    let socket = Cluster::socket(&direct)?;
    let (mut proxies, mut processes) = (Vec::new(), Vec::new());
    for server in 0..SERVERS {
        let proxy = Proxy::open(server, socket.clone(), chaos.clone()).await?;
        // An address of its own: nobody else takes its port while it is down.
        let listen = format!("127.1.{}.{}:7070", cluster.slot, server + 1);
        let config = folder.join(format!("server-{server}.json"));
        let text = world::config(&sim.world_info(), sim.endpoint(), &listen, folder)?.to_string();
        std::fs::write(&config, text)?;
        let (url, database) = (format!("http://{listen}"), Cluster::through(proxy.port));
        let folder = folder.to_owned();
        processes.push(Process::start(Setting { server, folder, config, url, database }, chaos.clone()));
        proxies.push(proxy);
    }
    let client = Person::client()?;
    let since = Instant::now();
    for process in &processes {
        while !process.is_up(&client).await {
            anyhow::ensure!(
                since.elapsed() < PATIENCE,
                "{} never came up; see {:?}",
                process.url,
                process.log
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    let urls = processes.iter().map(|p| p.url.clone()).collect();
    let person = Person::sign_in(client, &pool, urls).await?;
    let runs = Mutex::new(vec![None; schedule.starts.len()]);
    Ok(Stage { sim, chaos, proxies, processes, pool, person, runs })
}

/// One round of a patient person: how many runs are open, if that can be told now.
async fn help(stage: &Stage, answered: &mut BTreeSet<(Uuid, i64)>, helped: &mut usize) -> Option<usize> {
    let filter = store::pages::RunFilter { open: true, ..Default::default() };
    let open = store::pages::runs(&stage.pool, &filter, 100).await.ok()?;
    let waiting = ["paused", "stuck", "outcome_unknown"];
    if open.iter().any(|r| waiting.contains(&r.state.as_str())) {
        let everything = oracle::journals(&stage.pool).await.ok()?;
        let ledger = stage.sim.ledger();
        for row in open.iter().filter(|r| waiting.contains(&r.state.as_str())) {
            let Some(journal) = everything.get(&row.id) else { continue };
            let Some(ask) = person::answer(row.id, journal, &everything, &ledger) else { continue };
            stage.chaos.note(format!("run {} is {} at {}: {ask:?}", row.id, row.state, row.seq));
            *helped += usize::from(answered.insert((row.id, row.seq)));
            stage.person.ask(row.id, *helped, &ask).await;
        }
    }
    Some(open.len())
}

/// Carries faults out as they become due, until the sender is healed and gone quiet; then puts everything right again.
async fn strike(
    stage: Arc<Stage>,
    cluster: Arc<Cluster>,
    mut firing: mpsc::UnboundedReceiver<Fault>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            fault = firing.recv() => {
                let Some(fault) = fault else { break };
                stage.chaos.note(format!("strikes: {fault:?}"));
                tasks.spawn(carry_out(stage.clone(), cluster.clone(), fault));
            }
            () = stage.chaos.healed() => break,
        }
    }
    // What lasts ends by itself within a few leases; traps that were never sprung are taken away.
    tokio::time::sleep(Duration::from_millis(10)).await;
    stage.sim.strike(FaultKind::ApiRestored);
    tasks
}

async fn carry_out(stage: Arc<Stage>, cluster: Arc<Cluster>, fault: Fault) {
    let chaos = &stage.chaos;
    let span = |leases: f64| tokio::time::sleep(LEASE.mul_f64(leases));
    match fault {
        Fault::Kill { server } => chaos.kill(server),
        Fault::Freeze { server, leases } => freeze(chaos, server, leases).await,
        Fault::Drain { server } => chaos.signal(server, Signal::Terminate),
        Fault::Wire { .. } => {}
        Fault::Cut { server } => stage.proxies[server].cut(),
        Fault::Hole { server, ms } => {
            chaos.falls_silent(server, true);
            stage.proxies[server].hole(true);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            stage.proxies[server].hole(false);
            chaos.falls_silent(server, false);
        }
        Fault::Slow { server, by_ms, ms } => {
            stage.proxies[server].slow(Duration::from_millis(by_ms));
            tokio::time::sleep(Duration::from_millis(ms)).await;
            stage.proxies[server].slow(Duration::ZERO);
        }
        Fault::Terminate { every } => {
            if let Err(e) = postgres::terminate(&stage.pool, every).await {
                chaos.note(format!("no connection was ended: {e}"));
            }
        }
        Fault::Restart { how, down_ms } => {
            if let Err(e) = cluster.restart(how, Duration::from_millis(down_ms), &stage.pool).await {
                chaos.note(format!("Postgres was not restarted: {e:#}"));
            }
        }
        Fault::Trap { operation, phase, then } => {
            let mut hold = stage.sim.hold(operation, phase);
            let call = tokio::select! {
                call = hold.reached() => call,
                () = chaos.healed() => return,
            };
            let Some(call) = call else { return };
            // A call over MySQL does not tell which process made it.
            let caller =
                call.caller.strip_prefix("server-").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
            chaos.note(format!("{operation} of {} is held {phase:?}: {then:?}", call.caller));
            match then {
                Then::Lose => hold.lose(),
                Then::Kill => {
                    chaos.kill(caller);
                    hold.lose();
                }
                Then::KillAndGoOn => {
                    chaos.kill(caller);
                    span(if phase == Phase::BeforeEffect { 2.5 } else { 0.5 }).await;
                    hold.release();
                }
                Then::Freeze => {
                    chaos.signal(caller, Signal::Stop);
                    span(2.0).await;
                    hold.release();
                    chaos.signal(caller, Signal::Continue);
                }
                Then::Late => {
                    span(0.6).await;
                    hold.release();
                }
            }
        }
        Fault::Dial(fault) => stage.sim.strike(FaultKind::Api(fault)),
        Fault::Wish { run, wish, server } => {
            let run = stage.runs.lock().unwrap_or_else(PoisonError::into_inner)[run];
            let Some(run) = run else { return };
            let reason = "a wish of the schedule".to_owned();
            let ask = match wish {
                Wish::Pause => Ask::Pause { reason: Some(reason) },
                Wish::AbortFinally => Ask::Abort { takeback: Takeback::Finally, reason },
                Wish::AbortAll => Ask::Abort { takeback: Takeback::All, reason },
            };
            stage.person.ask(run, server, &ask).await;
        }
    }
}

async fn freeze(chaos: &Chaos, server: usize, leases: f64) {
    chaos.signal(server, Signal::Stop);
    tokio::time::sleep(LEASE.mul_f64(leases)).await;
    chaos.signal(server, Signal::Continue);
}

/// How a failure is told.
pub(crate) fn told(name: &str, verdict: &Verdict) -> String {
    let wrong: Vec<String> = verdict.wrong.iter().map(|w| format!("  - {w}")).collect();
    format!(
        "{name} FAILED: {}\n{}\n  logs, journals, ledger and schedule: {}",
        verdict.summary,
        wrong.join("\n"),
        verdict.folder.display(),
    )
}
