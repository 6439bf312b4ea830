//! A storm of alerts, over HTTP, against the real router, a real engine and a Postgres with full durability:
//! `cargo xtask bench-hooks`.
//!
//! - ten thousand distinct alerts as fast as they are taken, then a hundred thousand repeats: none may be lost;
//! - a thousand a second, on the dot, for ten seconds: how late is an answer? Counted from when it was due to be sent, so that
//!   a server that stalls is not asked less; meanwhile people type in Slack, twenty times a second;
//! - the memory of the whole process (which also sends);
//! - how long until each has its verdict, and which: they strike eight targets, so that the storm brake must trip.
//!
//! `cargo xtask bench-hooks 10` sends a tenth of it. Rates are told as ratios to one-row durable commits by 32 clients of pgbench in the same run.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program for the terminal, which stops at the first surprise"
)]

#[path = "../../engine/benches/steps/reference.rs"]
#[expect(dead_code, reason = "the other one uses all of it")]
mod reference;
#[path = "hooks_bench/slack.rs"]
mod slack;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::action::{ActionError, Ctx, Observe, Registry};
use domain::inventory::{Credentials, Inventory, ProxyFleet, SecretRef};
use engine::clock::SystemClock;
use engine::{Engine, Library, Parts, TriageSettings};
use reference::Reference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use server::{Hooks, Proof, Secret, Source};
use sqlx::PgPool;
use store::private::{Options, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// The binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const TOKEN: &str = "a token that is long enough";
const DISTINCT: usize = 10_000;
const REPEATS: usize = 100_000;
const SENDERS: usize = 64;
const FLEETS: usize = 8;
/// In Slack, a second.
const TYPED: usize = 20;

const RUNBOOK: &str = r#"
runbook: look
title: Look
when: In benchmarks
risk: low
inputs:
  fleet: { type: proxy_fleet, description: Whose }
locks: ["fleet:${inputs.fleet.id}"]
triggers:
  - { name: storm, where: signal.kind == "Storm", inputs: { fleet: "${signal.labels.fleet}" }, mode: auto }
steps:
  - { id: look, use: bench.look, with: { name: "${inputs.fleet.id}" } }
"#;

struct Look;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

impl Observe for Look {
    const NAME: &'static str = "bench.look";
    const SUMMARY: &'static str = "Looks at what never changes";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Named;
    type Output = Named;

    async fn observe(&self, _ctx: &Ctx, input: &Named) -> Result<Named, ActionError> {
        Ok(Named { name: input.name.clone() })
    }

    fn command(&self, input: &Named) -> String {
        format!("look {}", input.name)
    }
}

#[tokio::main]
async fn main() {
    let pgbench = std::env::var("PGBENCH").unwrap_or_else(|_| "pgbench".into());
    let data = std::env::current_exe().unwrap().parent().unwrap().join("firebreak-bench-postgres");
    let postgres = Server::start(Options { data, durable: true }).await.unwrap();
    let url = postgres.fresh_database("firebreak_hooks_bench").await.unwrap();
    let pool = store::connect(&url).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE reference (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let share: usize = std::env::args().nth(1).map_or(1, |n| n.parse().unwrap());
    let (distinct, repeats) = (DISTINCT / share, REPEATS / share);
    let before = Reference::measure(&pgbench, &url);
    let engine = engine(&pool).await;
    let address = serve(&engine).await;
    let memory = resident("VmRSS");

    println!("reference: one-row durable INSERT by 32 clients: {:.0}/s", before.together);
    let told = |what: &str, n: usize, took: f64, target: f64| {
        let (rate, target) = (n as f64 / took, target / share as f64);
        let ratio = rate / before.together;
        println!(
            "{n:>7} {what}: {took:.1} s ({rate:.0}/s, ratio {ratio:.2})  target <= {target:.0} s; none lost"
        );
    };
    let begun = Instant::now();
    let took = send(address, distinct, |n| n).await;
    counted(&pool, distinct, distinct).await;
    told("distinct", distinct, took, 10.0);
    let took = send(address, repeats, move |n| n % distinct).await;
    counted(&pool, distinct, distinct + repeats).await;
    told("repeated", repeats, took, 60.0);
    slack::link(&pool).await;
    let typing = tokio::spawn(slack::typed(address, TYPED, TYPED * distinct / 1000));
    let late = paced(address, 1000, distinct).await;
    let typed = typing.await.unwrap();
    counted(&pool, distinct, 2 * distinct + repeats).await;
    println!("at 1,000/s: p50 {:.1} ms, p99 {:.1} ms  target p99 <= 200 ms", late.0, late.1);
    println!(
        "meanwhile in Slack: {} commands answered, p50 {:.1} ms, p99 {:.1} ms  target p99 <= 300 ms",
        typed.len(),
        typed[typed.len() / 2],
        typed[typed.len() * 99 / 100]
    );
    println!("memory: {memory:.0} MiB before, {:.0} MiB at most", resident("VmHWM"));
    println!("all judged {:.1} s after the first was sent:", judged(&pool, &engine, begun).await);
    let sql = "SELECT v.verdict, v.code, count(*), min(v.because) FROM signal s JOIN verdict v ON v.id = s.verdict GROUP BY 1, 2 ORDER BY 3 DESC";
    let verdicts: Vec<(String, String, i64, String)> = sqlx::query_as(sql).fetch_all(&pool).await.unwrap();
    for (verdict, code, n, because) in &verdicts {
        println!("{n:>7} {verdict} ({code}): {because}");
    }
    assert!(verdicts.iter().any(|(_, code, ..)| code == "storm"), "the storm brake has not tripped");
    println!("reference afterwards: {:.0}/s", Reference::measure(&pgbench, &url).together);
    engine.shut_down().await;
}

async fn engine(pool: &PgPool) -> Engine {
    let registry = Registry::default().observing(Look);
    let library = Library::open([("look.yaml".to_owned(), RUNBOOK.to_owned())], &registry);
    for (name, shelf) in library.iter() {
        assert!(shelf.runbook.is_ok(), "{name}: {:?}", shelf.runbook);
    }
    let triage = TriageSettings { warm_up: Duration::ZERO, ..TriageSettings::default() };
    let fleet = |n: usize| ProxyFleet {
        account: None,
        id: format!("fleet-{n}"),
        region: "eu-west-1".into(),
        group: format!("group-{n}"),
        target_group: None,
        port: 6033,
        admin_port: 6032,
        admin: Credentials { user: "admin".into(), password: SecretRef::Env("NONE".into()) },
        clusters: vec![],
        backend_connections: 100,
    };
    let fleets = (0..FLEETS).map(fleet).collect();
    Engine::launch(Parts {
        channels: Default::default(),
        pool: pool.clone(),
        registry,
        inventory: Arc::new(Inventory { fleets, ..Inventory::default() }),
        library,
        clock: Arc::new(SystemClock),
        settings: engine::Settings { triage, ..engine::Settings::default() },
    })
    .await
    .unwrap()
}

async fn serve(engine: &Engine) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, ending) = tokio::sync::watch::channel(false);
    let settings = server::Settings {
        drills: None,
        drill: None,
        people: None,
        proxy: None,
        oidc: None,
        requests_per_minute: 600,
        public_url: format!("http://{address}"),
        secure_cookies: false,
        environment: None,
        simulated: false,
        slack: Some(slack::workspace()),
        hooks: Hooks::default().with(Source::Alertmanager, Proof::Token(Secret::new(TOKEN))),
        watches_errors: false,
        ending,
    };
    let router = server::router(engine.clone(), settings);
    tokio::spawn(async move {
        let _tell = tell;
        axum::serve(listener, router).await
    });
    address
}

/// A connection that is kept, and asks one thing after the other.
struct Sender(TcpStream, Vec<u8>);

impl Sender {
    async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream, vec![0; 16 * 1024])
    }

    async fn alert(&mut self, n: usize) {
        let fleet = n % FLEETS;
        let body = format!(
            r#"{{"version":"4","alerts":[{{"status":"firing","labels":{{"alertname":"Storm","fleet":"fleet-{fleet}","n":"{n}"}},"annotations":{{"summary":"Alert {n}"}},"startsAt":"2024-05-07T14:43:00Z","fingerprint":"{n:016x}"}}]}}"#
        );
        let request = format!(
            "POST /hooks/alertmanager HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        // A small answer comes in one piece, or in two.
        let mut held = 0;
        loop {
            let read = self.0.read(&mut self.1[held..]).await.unwrap();
            assert!(read > 0, "the server hung up");
            held += read;
            let answer = String::from_utf8_lossy(&self.1[..held]);
            if answer.contains("\"stored\":") && answer.ends_with('}') {
                assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
                return;
            }
            assert!(answer.starts_with("HTTP/1.1 202") || !answer.contains("\r\n\r\n"), "{answer}");
        }
    }
}

/// As fast as they are taken; seconds.
async fn send(
    address: SocketAddr,
    all: usize,
    which: impl Fn(usize) -> usize + Copy + Send + 'static,
) -> f64 {
    let (begun, next) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let next = next.clone();
            tokio::spawn(async move {
                let mut sender = Sender::to(address).await;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= all {
                        return;
                    }
                    sender.alert(which(n)).await;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    begun.elapsed().as_secs_f64()
}

/// So many a second, each when it is due; p50 and p99 in milliseconds.
async fn paced(address: SocketAddr, rate: usize, all: usize) -> (f64, f64) {
    let begun = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|first| {
            tokio::spawn(async move {
                let mut sender = Sender::to(address).await;
                let mut late = Vec::new();
                for n in (first..all).step_by(SENDERS) {
                    let due = begun + Duration::from_secs_f64(n as f64 / rate as f64);
                    sleep_until(due).await;
                    sender.alert(n).await;
                    late.push(due.elapsed().as_secs_f64() * 1000.0);
                }
                late
            })
        })
        .collect();
    let mut late = Vec::new();
    for sender in senders {
        late.extend(sender.await.unwrap());
    }
    late.sort_by(f64::total_cmp);
    (late[late.len() / 2], late[late.len() * 99 / 100])
}

async fn counted(pool: &PgPool, rows: usize, said: usize) {
    let sql = "SELECT count(*), coalesce(sum(count), 0)::bigint FROM signal";
    let found: (i64, i64) = sqlx::query_as(sql).fetch_one(pool).await.unwrap();
    assert_eq!(found, (rows as i64, said as i64), "something was lost");
}

/// Waits until each has a verdict; seconds since then.
async fn judged(pool: &PgPool, engine: &Engine, begun: Instant) -> f64 {
    let mut rings = engine.listen();
    let sql = "SELECT count(*) FROM signal WHERE verdict IS NULL";
    while sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await.unwrap() > 0 {
        let _ = tokio::time::timeout(Duration::from_millis(200), rings.recv()).await;
    }
    begun.elapsed().as_secs_f64()
}

/// Of this process, in MiB.
fn resident(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|kib| kib.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}
