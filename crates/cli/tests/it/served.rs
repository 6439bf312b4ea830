//! `firebreak serve` as a child process, and a person signed in to its API.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use serde_json::{Value, json};
use sim::WorldInfo;
use store::private::TestDb;
use tempfile::TempDir;
use uuid::Uuid;

/// Longer than anything here takes; what lasts longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// A database, a configuration, and the process that runs on them. Dropping it kills the process.
pub(crate) struct Served {
    pub(crate) db: TestDb,
    pub(crate) url: String,
    folder: TempDir,
    process: Option<Child>,
    /// The sign-in link that the last start printed.
    pub(crate) link: String,
}

impl Served {
    /// Serves a simulated world.
    pub(crate) async fn on(sim: &sim::Sim) -> Self {
        Self::on_with(sim, &json!({})).await
    }

    /// The same with more in its configuration.
    pub(crate) async fn on_with(sim: &sim::Sim, more: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({
            "inventory": inventory(&sim.world_info(), folder.path()),
            "aws": { "endpoint": sim.endpoint() },
            "webhooks": webhooks(sim, folder.path()),
            "symptom": { "prometheus": sim.endpoint(), "error_share": "cluster:request_error_share" },
            "simulation": { "control": sim.endpoint() },
            "environment": "test",
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        Self::with(config, folder).await
    }

    /// Serves a configuration; lease and, where it has none, address are filled in.
    pub(crate) async fn with(mut config: Value, folder: TempDir) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let address = config["listen"].as_str().map_or_else(free, str::to_owned);
        config["listen"] = json!(address);
        // Short, so that a take-over after a kill costs a test little, unless it kills nothing and would rather not lose its lease.
        if config["worker"].is_null() {
            config["worker"] = json!({ "lease_s": 1.5 });
        }
        // Tests ask more often than people.
        config["api"] = json!({ "requests_per_minute": 1_000_000 });
        std::fs::write(folder.path().join("firebreak.yaml"), config.to_string()).unwrap();
        let db = TestDb::new().await.unwrap();
        let mut served =
            Self { db, url: format!("http://{address}"), folder, process: None, link: String::new() };
        served.start();
        served
    }

    /// Starts the process, and waits until it says that it listens.
    pub(crate) fn start(&mut self) {
        let said = self.greeting(&["--sign-in", "on-call"], "15 minutes: ");
        self.link = said.split_once("15 minutes: ").unwrap().1.to_owned();
    }

    /// Starts the process, and waits for the line of its greeting that holds these words.
    pub(crate) fn greeting(&mut self, args: &[&str], words: &str) -> String {
        let mut process = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(["serve", "--config"])
            .arg(self.folder.path().join("firebreak.yaml"))
            .args(args)
            .env("DATABASE_URL", self.db.url())
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, said) = mpsc::channel();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        self.process = Some(process);
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let end = Instant::now() + PATIENCE;
        loop {
            let line =
                said.recv_timeout(end - Instant::now()).expect("the server never said that it listens");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Runs another command of the binary, on the same configuration and database; what it printed.
    pub(crate) fn command(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// What another command printed, however it ended.
    pub(crate) fn told(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(args).stdout).into_owned()
    }

    /// The same with all that came of it.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(args)
            .env("FIREBREAK_CONFIG", self.folder.path().join("firebreak.yaml"))
            .env("DATABASE_URL", self.db.url())
            .env("RUST_LOG", "warn")
            .env("USER", "somebody")
            .output()
            .unwrap()
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// SIGSTOP: its connections stay, and nothing comes through them, as when a network goes away without a word.
    pub(crate) fn hold(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts a runbook; where others must agree, with a plan that somebody else agrees to.
    pub(crate) async fn begin(&self, person: &Person, runbook: &str, inputs: &Value) -> Uuid {
        let about = person.get(&format!("/api/v1/runbooks/{runbook}")).await;
        if about["approval"].is_null() {
            // What a person types for one of high risk: its target.
            let target = ["cluster", "fleet"].iter().find_map(|input| inputs.get(input));
            let confirm = target.filter(|_| about["risk"] == "high");
            return person.start(runbook, inputs.clone(), confirm).await;
        }
        let plan = person.post(&format!("/api/v1/runbooks/{runbook}/plan"), inputs).await;
        let hash = &plan["hash"];
        let body = json!({ "runbook": runbook, "inputs": inputs, "reason": "a test", "plan_hash": hash });
        let run = person.post("/api/v1/runs", &body).await["run_id"].as_str().unwrap().parse().unwrap();
        let second = self.second("second", "approver").await;
        second
            .post(&format!("/api/v1/runs/{run}/ask"), &json!({ "ask": "approve", "plan_hash": hash }))
            .await;
        run
    }

    /// Signs somebody else in.
    pub(crate) async fn second(&self, name: &str, role: &str) -> Person {
        let said = self.command(&["sign-in", name, "--role", role]);
        let link = said.split_whitespace().find(|word| word.starts_with("http")).unwrap();
        Person::sign_in(&self.url, link).await
    }

    /// Signs a person in with the link of the last start.
    pub(crate) async fn person(&self) -> Person {
        Person::sign_in(&self.url, &self.link).await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An HTTP client that follows no redirect.
pub(crate) fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(120)).build().unwrap()
}

/// Somebody with a session.
pub(crate) struct Person {
    client: reqwest::Client,
    url: String,
    cookie: String,
    csrf: String,
}

impl Person {
    async fn sign_in(url: &str, link: &str) -> Self {
        let client = http();
        let answer =
            client.post(link).header(CONTENT_TYPE, "application/x-www-form-urlencoded").send().await.unwrap();
        let cookie =
            answer.headers().get(SET_COOKIE).unwrap_or_else(|| panic!("{answer:?}")).to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut person = Self { client, url: url.to_owned(), cookie, csrf: String::new() };
        person.csrf = person.get("/api/v1/session").await["csrf"].as_str().unwrap().to_owned();
        person
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path).await).unwrap()
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.url)).header(COOKIE, &self.cookie);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "GET {path}: {status} {text}");
        text
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header(COOKIE, &self.cookie)
            .header("x-csrf-token", &self.csrf)
            .header("idempotency-key", Uuid::now_v7().to_string())
            .json(body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "POST {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Sends a form that has nothing but its button.
    pub(crate) async fn form(&self, path: &str) {
        let request = self.client.post(format!("{}{path}", self.url)).header(COOKIE, &self.cookie);
        let answer = request.form(&[("csrf", &self.csrf)]).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_redirection(), "POST {path}: {status} {text}");
    }

    /// Starts a runbook.
    pub(crate) async fn start(&self, runbook: &str, inputs: Value, confirm: Option<&Value>) -> Uuid {
        let mut body = json!({ "runbook": runbook, "inputs": inputs, "reason": "a test" });
        if let Some(target) = confirm {
            body["confirm"] = target.clone();
        }
        let started = self.post("/api/v1/runs", &body).await;
        started["run_id"].as_str().unwrap().parse().unwrap()
    }
}

/// Waits, on the database's bell, until a run has ended; a run that waits for a person has failed here.
pub(crate) async fn ended(db: &TestDb, run: Uuid) -> store::pages::RunRow {
    let mut bell = store::listener::PgListener::connect_with(db.pool()).await.unwrap();
    bell.listen("firebreak").await.unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let row = store::pages::run(db.pool(), run).await.unwrap().unwrap();
        if row.ended_at.is_some() {
            return row;
        }
        let waits = ["paused", "stuck", "outcome_unknown"].contains(&row.state.as_str());
        if waits || Instant::now() > end {
            let journal = store::runs::journal(db.pool(), run).await.unwrap();
            panic!("the run is {}: {:#?}", row.state, &journal[journal.len().saturating_sub(8)..]);
        }
        let _ = tokio::time::timeout(Duration::from_secs(1), bell.recv()).await;
    }
}

/// The load shedder of a simulated world, its secret in a file.
pub(crate) fn webhooks(sim: &sim::Sim, folder: &Path) -> Value {
    let file = folder.join("load-shedder");
    std::fs::write(&file, sim::SHEDDER_SECRET).unwrap();
    json!({ "load-shedder": { "url": format!("{}/shedder", sim.endpoint()), "secret": { "file": file } } })
}

/// The inventory of a simulated world, its passwords in files.
pub(crate) fn inventory(world: &WorldInfo, folder: &Path) -> Value {
    let account = |user: &str, password: &str| {
        let file: PathBuf = folder.join(user);
        std::fs::write(&file, password).unwrap();
        json!({ "user": user, "password": { "file": file } })
    };
    let clusters: Vec<_> = world
        .clusters
        .iter()
        .map(|c| {
            json!({
                "id": c.id, "region": world.region, "endpoint": c.endpoint, "port": c.port,
                "customers_percent": c.customers_percent, "max_connections": c.max_connections,
                "probe": account(&c.probe_user, &c.probe_password),
            })
        })
        .collect();
    let fleets: Vec<_> = world
        .fleets
        .iter()
        .map(|f| {
            json!({
                "id": f.asg, "region": f.region, "group": f.asg, "target_group": f.target_group_arn,
                "port": f.mysql_port, "admin_port": f.admin_port,
                "admin": account(&f.admin_user, &f.admin_password),
                "clusters": world.clusters.iter().map(|c| &c.id).collect::<Vec<_>>(),
                "backend_connections": f.backend_connections,
            })
        })
        .collect();
    json!({ "clusters": clusters, "fleets": fleets })
}
