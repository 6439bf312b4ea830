//! The verbs that speak to a server's API, as a script and as a person without a terminal meet them.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sim::{FaultKind, Sim, TimedFault, World};
use tempfile::TempDir;

use crate::kills::small_world;
use crate::served::Served;

/// Somebody with a home of their own, a token, and no configuration of the server.
pub(crate) struct Terminal<'a> {
    served: &'a Served,
    home: TempDir,
    token: String,
}

impl<'a> Terminal<'a> {
    pub(crate) fn of(served: &'a Served, person: &str, more: &[&str]) -> Self {
        let args: Vec<&str> =
            ["token", "create", "t", "--person", person].iter().chain(more).copied().collect();
        let token = served.command(&args).trim().to_owned();
        Self { served, home: tempfile::tempdir().unwrap(), token }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("USER", "nobody")
            .stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command.env("FIREBREAK_URL", &self.served.url).env("FIREBREAK_TOKEN", &self.token).output().unwrap()
    }

    /// Exit code, what was said, and what was complained of.
    pub(crate) fn said(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.output(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    pub(crate) fn json(&self, args: &[&str]) -> (i32, Value) {
        let (code, said, complaint) = self.said(args);
        (code, serde_json::from_str(&said).unwrap_or_else(|e| panic!("{args:?}: {e}: {said}{complaint}")))
    }

    /// What a shell is told to offer behind these words.
    pub(crate) fn completed(&self, words: &[&str]) -> Vec<String> {
        let mut command = self.command(&[]);
        command.env("FIREBREAK_URL", &self.served.url).env("FIREBREAK_TOKEN", &self.token);
        command.env("COMPLETE", "bash").env("_CLAP_IFS", "\n");
        command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        let output = command.arg("--").args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

async fn world(speed: f64) -> (Sim, Served) {
    world_of(small_world(), speed).await
}

pub(crate) async fn world_of(world: World, speed: f64) -> (Sim, Served) {
    let sim = Sim::start(world, sim::Options { speed, ..sim::Options::default() }).await.unwrap();
    // The hosts fall sick within the first minute.
    sim.clock().sleep(std::time::Duration::from_secs(120)).await;
    let served = Served::on(&sim).await;
    (sim, served)
}

const INPUTS: [&str; 2] = ["fleet=proxysql-us", "cluster=shard-b"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_plans_starts_that_very_plan_and_learns_how_it_ended() {
    let (_sim, served) = world(200.0).await;
    let ada = Terminal::of(&served, "ada", &[]);
    let (code, plan, _) = ada.said(&["plan", "replace-proxysql", INPUTS[0], INPUTS[1]]);
    assert_eq!(code, 0, "{plan}");
    assert!(plan.contains("Verdict   ready") && plan.contains("desired capacity  2 → 4"), "{plan}");
    assert!(!plan.contains('\u{1b}'), "nobody is looking, so there are no colours");
    let (_, plan) = ada.json(&["plan", "replace-proxysql", INPUTS[0], INPUTS[1], "--json"]);
    let hash = plan["hash"].as_str().unwrap();

    let (code, _, why) = ada.said(&["run", "replace-proxysql", INPUTS[0], INPUTS[1]]);
    assert!(code == 3 && why.contains("nobody is there to say yes"), "{code}: {why}");
    let (code, _, why) = ada.said(&["run", "replace-proxysql", "fleet=nowhere", "--yes"]);
    assert!(code == 2 && why.contains("there is: proxysql-us"), "{code}: {why}");
    let changed = ["run", "replace-proxysql", INPUTS[0], INPUTS[1], "--plan-hash", "0123", "--json"];
    let (code, problem) = ada.json(&changed);
    assert_eq!((code, problem["code"].as_str()), (3, Some("plan_changed")));
    assert!(
        ada.json(&["runs", "--json"]).1["runs"].as_array().unwrap().is_empty(),
        "nothing was started so far"
    );

    let (code, said, why) = ada.said(&[
        "run",
        "replace-proxysql",
        INPUTS[0],
        INPUTS[1],
        "--plan-hash",
        hash,
        "--reason",
        "logins fail",
    ]);
    assert_eq!(code, 0, "{said}{why}");
    assert!(said.contains("✔ Look at the group  done") && said.trim_end().contains("succeeded"), "{said}");
    let (_, runs) = ada.json(&["runs", "--json"]);
    assert_eq!(runs["runs"][0]["requested_by"], "ada");
    let id = runs["runs"][0]["id"].as_str().unwrap();
    assert_eq!(ada.said(&["watch", &id[..8]]).0, 0);
    let (code, shown, _) = ada.said(&["show", &id[id.len() - 8..]]);
    assert!(code == 0 && shown.contains("succeeded") && shown.contains("by ada"), "{shown}");
    let nobody = ["abcd-abcd", "00000000-0000-7000-8000-000000000000"].map(|id| ada.said(&["show", id]));
    for (code, _, why) in nobody {
        assert!(code == 3 && why.contains("`firebreak runs`"), "{code}: {why}");
    }
    assert_eq!(ada.said(&["show", &id[..3]]).0, 2, "that is nobody in particular");
    let found = ada.json(&["audit", "search", "--run", &id[id.len() - 8..], "--json"]).1;
    assert!(found["entries"].as_array().is_some_and(|all| !all.is_empty()), "{found}");
    let (_, me) = ada.json(&["whoami", "--json"]);
    assert_eq!((me["person"].as_str(), me["token"]["name"].as_str()), (Some("ada"), Some("t")));
    let (code, signals, _) = ada.said(&["signals", "--all"]);
    assert!(code == 0 && signals.contains("Logins through"), "{signals}");
    let (_, signals) = ada.json(&["signals", "--all", "--json"]);
    let signal = signals["signals"][0]["id"].as_str().unwrap();
    let (code, told, _) = ada.said(&["signal", &signal[signal.len() - 12..]]);
    assert!(code == 0 && told.contains("first seen"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_steered_and_everything_is_held_back_from_a_terminal() {
    let (_sim, served) = world(60.0).await;
    let ada = Terminal::of(&served, "ada", &[]);
    let bob = Terminal::of(&served, "bob", &["--role", "approver"]);
    // While the group rests.
    let (code, _, why) = ada.said(&["freeze", "add", "--until", "yesterday", "--reason", "x"]);
    assert!(code == 2 && why.contains("`yesterday` is not a time, such as 2024-05-07"), "{code}: {why}");
    assert_eq!(ada.said(&["freeze", "add", "--until", "2037-01-01T00:00:00Z", "--reason", "holidays"]).0, 0);
    let (code, plan, _) = ada.said(&["plan", "replace-proxysql", INPUTS[0], INPUTS[1]]);
    assert!(code == 0 && plan.contains("Verdict   held back: every guard holds"), "{plan}");
    let (code, _, why) = ada.said(&["run", "replace-proxysql", INPUTS[0], INPUTS[1], "--yes", "--detach"]);
    assert!(code == 3 && why.contains("--despite-freeze --reason \"…\""), "{code}: {why}");
    let freezes = ada.json(&["freeze", "list", "--json"]).1;
    let freeze = freezes[0]["id"].as_str().unwrap();
    assert_eq!(ada.said(&["freeze", "lift", freeze, "--reason", "over"]).0, 0);

    let (code, started) =
        ada.json(&["run", "replace-proxysql", INPUTS[0], INPUTS[1], "--yes", "--detach", "--json"]);
    assert_eq!(code, 0, "{started}");
    let id = started["run_id"].as_str().unwrap();
    assert_eq!(ada.said(&["pause", id, "--reason", "lunch"]).0, 0);
    let (code, said, why) = ada.said(&["watch", id]);
    assert!(
        code == 4 && said.contains("paused by token t of ada: lunch") && why.contains("a person must decide"),
        "{code}: {said}{why}"
    );
    let (_, shown, _) = bob.said(&["show", id]);
    assert!(shown.contains("paused by token t of ada: lunch"), "{shown}");
    // Paused in the middle, with its group in motion or not: the lock alone decides who may stand in line.
    let (code, _, why) = bob.said(&["run", "replace-proxysql", INPUTS[0], INPUTS[1], "--yes", "--detach"]);
    assert!(code == 3 && why.contains("is locked by"), "{code}: {why}");
    assert!(why.contains(&format!("`firebreak show {id}`")) && why.contains("--wait"), "{why}");
    let in_line = ["run", "replace-proxysql", INPUTS[0], INPUTS[1], "--yes", "--detach", "--wait", "--json"];
    let (code, queued) = bob.json(&in_line);
    assert_eq!(code, 0, "who stands in line is not stopped by the lock: {queued}");
    let queued = queued["run_id"].as_str().unwrap();
    assert_eq!(bob.said(&["abort", queued, "--reason", "not needed"]).0, 0);
    let (code, _, why) = ada.said(&["pause", id]);
    assert!(code == 3 && why.contains("paused already"), "{code}: {why}");
    let (code, _, why) = ada.said(&["resume", id, "--despite", "it cannot wait"]);
    assert!(code == 3 && why.contains("Nothing holds it back"), "{code}: {why}");
    let (code, _, why) = ada.said(&["stop-looking", id]);
    assert!(code == 3 && why.contains("o call of this run is looked for"), "{code}: {why}");
    assert_eq!(ada.said(&["resume", id]).0, 0);
    assert_eq!(ada.said(&["abort", id, "--undo", "--reason", "enough"]).0, 0);
    let (code, said, _) = ada.said(&["watch", id]);
    assert!(code == 1 && said.contains("token t of ada: enough"), "{code}: {said}");

    let (code, why) =
        (ada.said(&["lock", "cluster:shard-a", "--reason", "I am on it"]).0, bob.said(&["locks"]).1);
    assert!(code == 0 && why.contains("cluster:shard-a") && why.contains("I am on it (token t)"), "{why}");
    assert_eq!(bob.said(&["lock", "cluster:shard-a", "--reason", "me too"]).0, 3);
    assert_eq!(ada.said(&["unlock", "cluster:shard-a"]).0, 0);
    assert_eq!(ada.said(&["stop", "--reason", "it acts strange"]).0, 0);
    let (code, problem) = ada.json(&["run", "replace-proxysql", INPUTS[0], "--plan-hash", "x", "--json"]);
    assert_eq!(code, 3, "{problem}");
    assert_eq!(ada.said(&["allow-changes", "--reason", "understood"]).0, 0);
    let viewer = Terminal::of(&served, "vera", &["--role", "viewer"]);
    let (code, _, why) = viewer.said(&["stop", "--reason", "x"]);
    assert!(code == 3 && why.contains("you are a viewer"), "{code}: {why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_severe_is_agreed_to_by_somebody_else_from_their_terminal() {
    let fault = FaultKind::WriterExhausted { cluster: "shard-b".into(), share: 0.6 };
    let world = World { faults: vec![TimedFault { at_s: 0, fault }], ..small_world() };
    // Slow enough for what was seen to be fresh when it is told, and for the approval to be waited for.
    let (_sim, served) = world_of(world, 20.0).await;
    let ada = Terminal::of(&served, "ada", &["--role", "approver"]);
    let bob = Terminal::of(&served, "bob", &["--role", "approver"]);
    let args = ["run", "failover-cluster", "cluster=shard-b", "--yes", "--reason", "the writer is full"];
    let start = || ada.json(&[args.as_slice(), &["--detach", "--json"]].concat());
    let (code, started) = start();
    assert_eq!(code, 0, "{started}");
    let id = started["run_id"].as_str().unwrap();
    let (code, said, why) = ada.said(&["approve", id]);
    assert!(code == 3 && said.is_empty(), "nobody agrees to what they asked for: {said}{why}");
    assert!(why.contains("it waits for the approval of an approver"), "{why}");
    assert!(why.contains("should nobody be there: "), "{why}");
    let asked = format!("asked for by ada, waits for the approval of an approver: firebreak approve {id}");
    let said = crate::together::status(&ada, &asked).await;
    assert!(!said.contains("firebreak run failover-cluster"), "{said}");
    let [own, other] = [&ada, &bob].map(|person| person.said(&["show", id]).1);
    let agree = format!("firebreak approve {id}");
    assert!(!own.contains(&agree) && other.contains(&agree), "{own}{other}");
    assert!(other.contains(&format!("firebreak reject {id} --reason \"…\"")), "{other}");
    let (code, _, why) = bob.said(&["accept-plan", id]);
    assert!(code == 3 && why.contains("nothing became different"), "{code}: {why}");
    // Glass is broken for a plan that was seen, and for no other.
    let eve = Terminal::of(&served, "eve", &["--role", "admin"]);
    let glass = ["break-glass", id, "--reason", "nobody is awake", "--plan-hash", "0123"];
    let (code, _, why) = eve.said(&glass);
    assert!(code == 3 && why.contains("another plan"), "{code}: {why}");
    assert_eq!(bob.said(&["reject", id, "--reason", "not now"]).0, 0);
    let (code, said, why) = ada.said(&["watch", id]);
    assert!(code == 3 && said.contains("not now"), "{code}: {said}{why}");
    let (code, _, why) = bob.said(&["approve", id, "--yes"]);
    assert!(code == 3 && why.contains("nothing waits"), "{code}: {why}");

    let (_, started) = start();
    let first = id.to_owned();
    let id = started["run_id"].as_str().unwrap();
    let (code, _, why) = bob.said(&["show", &id[..4]]);
    assert!(code == 3 && why.contains(id) && why.contains(&first), "{code}: {why}");
    let (code, said, why) = bob.said(&["approve", id]);
    assert!(
        code == 3 && said.contains("Verdict   ready") && why.contains("nothing was agreed"),
        "{code}: {said}{why}"
    );
    assert_eq!(bob.said(&["approve", id, "--yes"]).0, 0);
    let (code, said, why) = ada.said(&["watch", id]);
    assert_eq!(code, 0, "{said}{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_keeps_a_token_that_nobody_else_reads_and_says_what_is_wrong() {
    let (_sim, served) = world(100.0).await;
    let ada = Terminal::of(&served, "ada", &["--read-only"]);
    let login = |token: &str| {
        let mut child = ada
            .command(&["login", &served.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(login("fb_wrong\n").status.code(), Some(6));
    assert_eq!(ada.command(&["runs"]).output().unwrap().status.code(), Some(2), "no server is known yet");
    let kept = login(&format!("{}\n", ada.token));
    assert!(kept.status.success(), "{}", String::from_utf8_lossy(&kept.stderr));
    let file = ada.home.path().join(".config/firebreak/login.json");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    let me = ada.command(&["whoami"]).output().unwrap();
    let me = String::from_utf8_lossy(&me.stdout).into_owned();
    assert!(me.contains("token t of ada, responder") && me.contains("it only looks"), "{me}");
    let refused = ada.command(&["stop", "--reason", "x"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("only looks"));
    // The kept token goes to no other server.
    let other = ada.command(&["runs", "--url", "https://elsewhere.example"]).output().unwrap();
    assert_eq!(other.status.code(), Some(6));
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let open = ada.command(&["runs"]).output().unwrap();
    assert!(
        open.status.code() == Some(2) && String::from_utf8_lossy(&open.stderr).contains("others can read it")
    );
    // Where address and token are named, nobody needs that file.
    let (code, me) = ada.json(&["whoami", "--json"]);
    assert_eq!((code, me["person"].as_str()), (0, Some("ada")));
    assert!(ada.command(&["logout"]).output().unwrap().status.success() && !file.exists());

    let nobody = ada
        .command(&["runs", "--url", "http://127.0.0.1:9"])
        .env("FIREBREAK_TOKEN", "fb_x")
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(5), "{}", String::from_utf8_lossy(&nobody.stderr));
    let list = served.command(&["token", "list", "--json"]);
    let id = serde_json::from_str::<Value>(&list).unwrap()[0]["id"].as_str().unwrap().to_owned();
    served.command(&["token", "revoke", &id]);
    let (code, _, why) = ada.said(&["runs"]);
    assert!(code == 6 && why.contains("was revoked"), "{code}: {why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_completes_verbs_runbooks_and_their_inputs_and_the_doctor_looks_at_everything() {
    let (_sim, served) = world(100.0).await;
    let ada = Terminal::of(&served, "ada", &["--read-only"]);
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = ada.said(&["completion", shell]);
        assert!(code == 0 && script.contains("COMPLETE"), "{shell}: {script}");
    }
    let complete = |words: &[&str]| ada.completed(words);
    assert_eq!(complete(&["firebreak", "wat"]), ["watch"]);
    assert_eq!(complete(&["firebreak", "plan", "replace"]), ["replace-proxysql"]);
    assert_eq!(
        complete(&["firebreak", "run", "replace-proxysql", "cluster=shard-"]),
        ["cluster=shard-a", "cluster=shard-b", "cluster=shard-e"]
    );

    let report = served.command(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["sound"], true, "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    let state =
        |what: &str| findings.iter().find(|f| f["what"] == what).map(|f| f["state"].as_str().unwrap());
    assert_eq!(["database", "runbooks", "passwords"].map(state), [Some("ok"); 3], "{report:#}");
    assert_eq!(state("database role"), Some("warning"), "the test's user owns the tables");
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.yaml");
    std::fs::write(&broken, "inventory: {}\nlisten_on: 1\n").unwrap();
    let sick = ada.command(&["doctor", "--config", broken.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&sick.stdout).into_owned();
    assert!(
        sick.status.code() == Some(1) && said.contains("failed   configuration") && said.contains("→"),
        "{said}"
    );
    // What keeps a server from starting, and alarms that nobody could read.
    let mistaken = "inventory: {}\nnotify: { pager: { least: bad } }\nalarms: { of: [{ region: r, account: nowhere }] }\n";
    std::fs::write(&broken, mistaken).unwrap();
    let sick = ada.command(&["doctor", "--config", broken.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&sick.stdout).into_owned();
    assert!(
        said.contains("failed   notify: notify.pager") && said.contains("no account `nowhere`"),
        "{said}"
    );
    std::fs::write(&broken, "inventory: {}\ndatabase: { env: FIREBREAK_DATABASE_URL }\n").unwrap();
    let away = ada.command(&["doctor", "--config", broken.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&away.stdout).into_owned();
    for told in [
        "database: the environment has no FIREBREAK_DATABASE_URL, which `database` names\n",
        "→ set FIREBREAK_DATABASE_URL to its URL, or DATABASE_URL",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    // A container and a service have no USER.
    let token = ["token", "create", "laptop", "--person", "ana", "--config", broken.to_str().unwrap()];
    let unnamed = |name: Option<&str>| {
        let mut command = ada.command(&token);
        command.env_remove("USER").envs(name.map(|name| ("LOGNAME", name)));
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    assert!(unnamed(None).contains("such as --by ana"), "{}", unnamed(None));
    assert!(unnamed(Some("ana")).contains("no FIREBREAK_DATABASE_URL"), "{}", unnamed(Some("ana")));
}
