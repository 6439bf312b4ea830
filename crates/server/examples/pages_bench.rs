//! How fast the pages are when the history is large, and what watchers cost: `cargo xtask bench-pages [ENTRIES]`.
//!
//! On the database that `cargo xtask bench-audit [ENTRIES]` has made (ten million entries of a hundred thousand runs unless told), with a
//! real engine and the real router, in one process:
//!
//! - each page that people open, two hundred times, with other runs and filters where it takes some: p50 and p99;
//! - a thousand watchers of one run, each of whom fetches the page again whenever it is told to, as browsers do: what that costs
//!   of a core while the run rests and while it moves, and how late a step is seen.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the terminal, which stops at the first surprise"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use domain::action::{ActionError, Ctx, Observe, Registry};
use domain::inventory::Inventory;
use domain::{Actor, Role};
use engine::clock::SystemClock;
use engine::{Engine, Library, Parts, StartRequest};
use futures::StreamExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use store::private::{Options, Server};
use tower::ServiceExt as _;
use uuid::Uuid;

/// The binary's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ASKED: usize = 200;
const WATCHERS: usize = 1000;
/// How often the run moves that is watched: as in a burst of steps, as in most of a run, and not at all.
const PACES: [&str; 3] = ["2s", "10s", "1h"];

const RUNBOOK: &str = "
runbook: rest-PACE
title: Rest and look
when: In benchmarks
risk: low
inputs:
  times: { type: list, of: string, description: How often }
steps:
  - id: again
    each: inputs.times
    at_once: 1
    steps:
      - { id: rest, title: Rest, wait: PACE }
      - { id: look, title: Look, use: bench.look, with: { n: \"${item}\" } }
";

struct Look;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Number {
    n: String,
}

impl Observe for Look {
    const NAME: &'static str = "bench.look";
    const SUMMARY: &'static str = "Looks at a number";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Number;
    type Output = Number;

    async fn observe(&self, _ctx: &Ctx, input: &Number) -> Result<Number, ActionError> {
        Ok(Number { n: input.n.clone() })
    }

    fn command(&self, input: &Number) -> String {
        format!("look {}", input.n)
    }
}

#[tokio::main]
async fn main() {
    let entries: i64 = std::env::args().nth(1).map_or(10_000_000, |n| n.replace('_', "").parse().unwrap());
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let server = Server::start(Options { data: target.join("bench-postgres"), durable: true }).await.unwrap();
    let url = server.ensure_database(&format!("carried_{entries}")).await.unwrap();
    let pool = store::connect(&url).await.unwrap();
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM run").fetch_one(&pool).await.unwrap();
    assert!(
        there >= entries / 100,
        "there are {there} runs: first let `cargo xtask bench-audit {entries}` make them"
    );
    println!("{there} runs");
    let engine = engine(&pool).await;
    let (_ending, ending) = tokio::sync::watch::channel(false);
    let settings = server::Settings {
        drills: None,
        drill: None,
        people: None,
        proxy: None,
        oidc: None,
        slack: None,
        requests_per_minute: u32::MAX,
        public_url: "http://bench".into(),
        secure_cookies: false,
        environment: None,
        simulated: false,
        hooks: server::Hooks::default(),
        watches_errors: false,
        ending,
    };
    let browser = Browser::sign_in(server::router(engine.clone(), settings), &pool).await;
    let run = start(&engine, PACES[0], 3).await;
    pages(&browser, &pool, run).await;
    for pace in PACES {
        watched(&browser, &engine, pace).await;
    }
    engine.shut_down().await;
}

async fn engine(pool: &PgPool) -> Engine {
    let registry = Registry::default().observing(Look);
    let files = PACES.map(|pace| (format!("rest-{pace}.yaml"), RUNBOOK.replace("PACE", pace)));
    let library = Library::open(files, &registry);
    for (name, shelf) in library.iter() {
        assert!(shelf.runbook.is_ok(), "{name}: {:?}", shelf.runbook);
    }
    Engine::launch(Parts {
        channels: Default::default(),
        pool: pool.clone(),
        registry,
        inventory: Arc::new(Inventory::default()),
        library,
        clock: Arc::new(SystemClock),
        settings: engine::Settings::default(),
    })
    .await
    .unwrap()
}

async fn start(engine: &Engine, pace: &str, times: i64) -> Uuid {
    let inputs = serde_json::json!({ "times": (1..=times).map(|n| n.to_string()).collect::<Vec<_>>() });
    let request = StartRequest {
        runbook: format!("rest-{pace}"),
        inputs: inputs.as_object().unwrap().clone(),
        by: Actor::with_role("bench", Role::Admin),
        reason: None,
        idem_key: Uuid::now_v7().to_string(),
        plan: None,
        overrides: Default::default(),
        confirm: None,
        wait: false,
    };
    engine.start(request).await.unwrap().run_id
}

/// Somebody who is signed in, without a network between.
#[derive(Clone)]
struct Browser {
    router: Router,
    cookie: String,
}

impl Browser {
    async fn sign_in(router: Router, pool: &PgPool) -> Self {
        let link = server::sign_in_link(pool, "bench", Role::Admin, "http://bench").await.unwrap();
        let request = Request::builder().method(Method::POST).uri(link).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let cookie = answer.headers()[header::SET_COOKIE].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { router, cookie }
    }

    async fn ask(&self, path: &str, fragment: bool) -> axum::response::Response {
        let mut request = Request::builder().uri(path).header(header::COOKIE, &self.cookie);
        if fragment {
            request = request.header("x-fragment", "1");
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    /// How many bytes.
    async fn read(&self, path: &str, fragment: bool) -> usize {
        let answer = self.ask(path, fragment).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        to_bytes(answer.into_body(), usize::MAX).await.unwrap().len()
    }
}

async fn pages(browser: &Browser, pool: &PgPool, run: Uuid) {
    let sql = "SELECT created_at FROM run ORDER BY created_at OFFSET 1000 LIMIT 1";
    let old: domain::Timestamp = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
    let at = |n: usize| (old + chrono::TimeDelta::minutes(n as i64 * 37)).timestamp_micros();
    type Path<'a> = Box<dyn Fn(usize) -> String + 'a>;
    let fixed = |path: &'static str| -> Path<'_> { Box::new(move |_| path.to_owned()) };
    let all: Vec<(&str, Path<'_>)> = vec![
        ("situation", fixed("/")),
        ("runbooks", fixed("/runbooks")),
        ("a runbook", fixed("/runbooks/rest-2s")),
        ("readiness", fixed("/readiness")),
        ("runs, the newest", fixed("/runs")),
        ("runs, a page far down", Box::new(|n| format!("/runs?before={}_{}", at(n), Uuid::nil()))),
        ("runs, open", fixed("/runs?open=1")),
        ("runs of a runbook", Box::new(|n| format!("/runs?runbook=runbook-{}", n % 40))),
        ("a run", Box::new(|_| format!("/runs/{run}"))),
        ("a run, its timeline", Box::new(|_| format!("/runs/{run}?tab=timeline"))),
        ("a run, its calls", Box::new(|_| format!("/runs/{run}?tab=calls"))),
        ("signals", fixed("/signals")),
        ("incidents", fixed("/incidents")),
        ("triggers", fixed("/triggers")),
        ("outbox", fixed("/outbox")),
        ("brakes", fixed("/brakes")),
        ("audit, the newest", fixed("/audit")),
        ("audit of a person", Box::new(|n| format!("/audit?actor=person-{}", n % 2000))),
        ("audit of a target", Box::new(|n| format!("/audit?target=target-{}", n % 1000))),
        ("settings", fixed("/settings")),
    ];
    for (name, path) in all {
        let (mut took, mut bytes) = (Vec::with_capacity(ASKED), 0);
        for n in 0..ASKED {
            let begun = Instant::now();
            bytes = browser.read(&path(n), false).await;
            took.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        took.sort_by(f64::total_cmp);
        println!(
            "{name:<24} p50 {:>6.1} ms   p99 {:>6.1} ms   {:>4} kB   target p99 <= 50 ms",
            took[ASKED / 2],
            took[ASKED * 99 / 100],
            bytes / 1000
        );
    }
}

/// Watches one run as browsers do: told to look again, they fetch what is new.
async fn watched(browser: &Browser, engine: &Engine, pace: &str) {
    let run = start(engine, pace, 20).await;
    let seen: Arc<Mutex<Vec<(Instant, usize)>>> = Arc::default();
    let path = format!("/runs/{run}");
    let mut tasks = Vec::new();
    for n in 0..WATCHERS {
        let (browser, path, seen) = (browser.clone(), path.clone(), seen.clone());
        tasks.push(tokio::spawn(async move {
            let mut events =
                browser.ask(&format!("{path}/events"), false).await.into_body().into_data_stream();
            // As `web/static/live.js`: told to, or when nobody told it to for as long as the server said.
            let mut pace = Duration::from_secs(5);
            // Nobody opens it in the same moment.
            tokio::time::sleep(pace.mul_f64(n as f64 / WATCHERS as f64)).await;
            let mut due = Instant::now() + pace;
            loop {
                let told = match tokio::time::timeout_at(due.into(), events.next()).await {
                    Ok(Some(Ok(said))) if said.starts_with(b"event") => {
                        let said = String::from_utf8_lossy(&said).into_owned();
                        let seconds = said.split("data: ").nth(1).and_then(|s| s.trim().parse().ok());
                        pace = Duration::from_secs(seconds.unwrap_or(5));
                        true
                    }
                    Ok(Some(Ok(_))) => continue, // only to keep it open
                    Ok(_) => return,
                    Err(_) => false,
                };
                let bytes = browser.read(&path, true).await;
                due = Instant::now() + pace;
                if told {
                    seen.lock().unwrap().push((Instant::now(), bytes));
                }
            }
        }));
    }
    let steps = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let (mut rings, steps) = (engine.listen(), steps.clone());
        tokio::spawn(async move {
            while let Ok(topic) = rings.recv().await {
                if matches!(topic, engine::Topic::Run(id) if id == run) {
                    steps.lock().unwrap().push(Instant::now());
                }
            }
        })
    };
    tokio::time::sleep(Duration::from_secs(8)).await; // all have drawn it once
    seen.lock().unwrap().clear();
    steps.lock().unwrap().clear();
    let (busy, begun) = (cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let share = (cpu() - busy) / begun.elapsed().as_secs_f64() * 100.0;
    listener.abort();
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    let (seen, steps) = (seen.lock().unwrap().clone(), steps.lock().unwrap().clone());
    let mut late: Vec<f64> = seen
        .iter()
        .filter_map(|(at, _)| {
            steps.iter().rev().find(|s| *s <= at).map(|s| (*at - *s).as_secs_f64() * 1000.0)
        })
        .collect();
    late.sort_by(f64::total_cmp);
    let bytes = seen.last().map_or(0, |(_, bytes)| *bytes);
    println!(
        "{WATCHERS} watchers of a run that moves every {pace}: {share:.1} % of a core (target <= 10), each draws {} kB; {} draws, seen p50 {:.0} ms, p99 {:.0} ms, last {:.0} ms after the step (target <= 1000)",
        bytes / 1000,
        seen.len(),
        late.get(late.len() / 2).copied().unwrap_or_default(),
        late.get(late.len() * 99 / 100).copied().unwrap_or_default(),
        late.last().copied().unwrap_or_default(),
    );
}

/// Seconds of a core that this process has had.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|n| n.parse::<f64>().ok()).unwrap_or_default();
    (ticks() + ticks()) / 100.0
}
