//! The whole click path, in a real Chromium: `firebreak demo`, the link, the finding, the plan, one click, recovered.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::chrome::{ADVICE, Chrome, free_address};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_click_recovers_the_incident_while_one_watches() {
    let _machine = crate::machine::for_itself().await;
    let demo = Demo::start("40");
    let chrome = Chrome::start().await;

    chrome.go(&demo.link).await;
    chrome.press("#sign-in").await;
    // The prober sees it, says what it is, and offers the runbook that heals it.
    chrome.wait(ADVICE).await;
    let finding = chrome.text("#findings").await;
    assert!(finding.contains("shard-b") && finding.contains("proxysql-us"), "{finding}");
    chrome.picture("situation").await;
    chrome.press(ADVICE).await;

    chrome.press("#plan").await;
    chrome.wait(r#"#the-plan[data-verdict="ready"]"#).await;
    let changes = chrome.text("#changes").await;
    assert!(changes.contains("proxysql-us"), "{changes}");
    chrome.picture("plan").await;
    chrome.type_into("#reason", "logins to shard-b fail").await;
    chrome.press("#start").await;

    // The page follows the run by itself: nothing below reloads it.
    chrome.wait(r#"#head[data-state="running"]"#).await;
    chrome.press("#step-remove > summary").await;
    chrome.wait(r#"[data-step="ready"][data-status="done"]"#).await;
    chrome.picture("run").await;
    succeeded(&chrome).await;
    chrome.picture("recovered").await;
    // What is done is folded, but for what somebody has unfolded themselves.
    let unfolded = "return [...document.querySelectorAll('#steps > [open]')].map((s) => s.dataset.step)";
    assert_eq!(chrome.script(unfolded).await, serde_json::json!(["remove"]));
    let run = chrome.script("return location.href").await.as_str().unwrap().to_owned();
    chrome.go(&format!("{run}?tab=calls")).await;
    chrome.picture("calls").await;
    let calls = chrome.text("#calls").await;
    assert!(
        calls.contains("SetDesiredCapacity") && calls.contains("TerminateInstanceInAutoScalingGroup"),
        "{calls}"
    );
    chrome.go(&format!("{run}?tab=calls&all=1")).await;
    let all = chrome.script("return document.querySelectorAll('#calls tbody tr').length").await;
    assert!(all.as_i64().unwrap() > 60, "{all} calls: the looks that told it something are there, too");
    chrome.go(&format!("{run}?tab=timeline")).await;
    let timeline = chrome.text("#timeline").await;
    assert!(timeline.contains("on-call"), "the click has its person: {timeline}");

    chrome.go(&demo.url).await;
    chrome.wait("[data-all-well]").await;
    chrome.picture("healed").await;

    // On a phone nothing sticks out to the side.
    chrome.resize(500, 900).await;
    let overflow = chrome.script("return document.documentElement.scrollWidth - innerWidth").await;
    assert!(overflow.as_i64().unwrap() <= 0, "{overflow} pixels stick out");
    chrome.picture("phone").await;

    let complaints = chrome.console().await;
    assert!(complaints.is_empty(), "the console says: {complaints:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_is_played_on_the_pages_and_scored_against_what_really_happened() {
    let _machine = crate::machine::for_itself().await;
    // Its world is watched for ninety minutes: nine of ours, however busy the machine is.
    let demo = Demo::start("10");
    let chrome = Chrome::start().await;
    chrome.sign_in(&demo.link).await;
    let drills = format!("{}drills", demo.url);
    chrome.go(&drills).await;
    assert!(chrome.text("#one-at-a-time").await.contains("One is played at a time"));
    chrome.press("[data-offer-drill=\"2024-05-07\"] button[value=\"people\"]").await;
    chrome.wait("#head[data-state=\"playing\"]").await;
    let drill = chrome.script("return location.href").await.as_str().unwrap().to_owned();

    // The other pages are of its world, and one recovers it as one would a real one.
    chrome.go(&demo.url).await;
    assert!(chrome.text("#drill-strip").await.contains("Logins to shard-b fail"));
    chrome.press(ADVICE).await;
    chrome.press("#plan").await;
    chrome.wait("#the-plan[data-verdict=\"ready\"]").await;
    chrome.picture("drill-plan").await;
    chrome.press("#start").await;
    for step in ["ready", "prove", "remove"] {
        chrome.wait(&format!("[data-step=\"{step}\"][data-status=\"done\"]")).await;
    }
    succeeded(&chrome).await;

    // A page that was open all the while tells that it is over.
    chrome.go(&demo.url).await;
    chrome.wait("#drill-over:not([hidden])").await;
    assert!(chrome.text("#drill-over").await.contains("see its score"));
    let drill_over = chrome.script("return document.querySelector('#drill-over a').href").await;
    assert_eq!(drill_over, serde_json::json!(drill));
    chrome.go(&drill).await;
    chrome.wait("#head[data-state=\"scored\"]").await;
    chrome.picture("drill-scored").await;
    assert!(chrome.text("#sooner").await.contains("sooner than in reality"));
    let score = chrome.text("#score").await;
    assert!(score.contains("58 m 00 s") && score.contains("Intercom"), "{score}");
    let lines = chrome
        .script(
            "return [...document.querySelectorAll('#recovery [data-cluster]')].map((l) => l.dataset.cluster)",
        )
        .await;
    assert_eq!(lines, serde_json::json!(["had nobody acted", "in reality, as simulated", "this drill"]));
    assert!(chrome.text("#drill-runs").await.contains("on-call"), "who ran what");

    // Left, it is gone, and its score is not.
    chrome.press("#leave-drill").await;
    chrome.wait("#score").await;
    chrome.go(&demo.url).await;
    chrome.wait("#findings").await;
    let strips = chrome.script("return document.querySelectorAll('#drill-strip').length").await;
    assert_eq!(strips, 0, "the demo's own world again");
    chrome.go(&drills).await;
    assert!(chrome.text("#played").await.contains("Recovered"));
    let complaints = chrome.console().await;
    assert!(complaints.is_empty(), "the console says: {complaints:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_is_played_from_a_terminal_and_who_listens_to_it_hears_the_end_of_the_process() {
    let _machine = crate::machine::for_itself().await;
    let mut demo = Demo::start("10");
    let (code, said, _) = demo.says(&["drills", "list"]);
    assert!(code == 0 && said.contains("2024-05-07") && said.contains("really happened"), "{said}");
    let (code, _, why) = demo.says(&["drills", "show"]);
    assert!(code == 3 && why.contains("no drill is being played"), "{code}: {why}");
    let (code, _, why) = demo.says(&["drills", "start", "no-such-drill"]);
    assert!(code == 3 && why.contains("There is no such drill"), "{code}: {why}");

    let (code, said, why) = demo.says(&["drills", "start", "2024-05-07"]);
    // How far it is by then is the machine's affair.
    let stands = said.contains("It goes wrong in") || said.contains("It went wrong");
    assert!(code == 0 && stands, "{code}: {said}{why}");
    let (code, _, why) = demo.says(&["drills", "start", "2024-05-07"]);
    assert!(code == 3 && why.contains("Another drill is being played"), "{code}: {why}");
    assert_eq!(demo.says(&["drills", "end"]).0, 0);
    let (code, said, _) = demo.says(&["drills", "show"]);
    assert!(code == 0 && said.contains("had nobody acted in the same time"), "{said}");
    assert!(said.contains("in reality") && said.contains("`firebreak drills leave`"), "{said}");

    // All other verbs are of its world, until it is left. A stream of that world ends, as streams end, when the process is to.
    let started = ["run", "diagnose-logins", "fleet=proxysql-us", "--yes", "--detach", "--json"];
    let (code, run, why) = demo.says(&started);
    assert_eq!(code, 0, "{run}{why}");
    let run: serde_json::Value = serde_json::from_str(&run).unwrap();
    let events = format!("{}api/v1/runs/{}/events", demo.url, run["run_id"].as_str().unwrap());
    let request = crate::served::http().get(events).bearer_auth(&demo.token);
    let mut stream = request.send().await.unwrap().error_for_status().unwrap();
    assert!(stream.chunk().await.unwrap().is_some(), "it begins at once");
    demo.interrupt();
    while stream.chunk().await.expect("the stream is not cut off").is_some() {}
    assert!(demo.process.wait().unwrap().success());
}

/// Waits until the run of this page is over, or waits for a person, and says what stands there if it is not well.
async fn succeeded(chrome: &Chrome) {
    let over = ["paused", "outcome_unknown", "stuck"].map(|state| format!("#head[data-state=\"{state}\"]"));
    chrome.wait(&format!("#head[data-final], {}", over.join(", "))).await;
    let state = chrome.script("return document.getElementById('head').dataset.state").await;
    let page = chrome.text("main").await;
    assert_eq!(state, "succeeded", "{page}");
}

/// `firebreak demo` on a free port.
struct Demo {
    process: Child,
    url: String,
    link: String,
    /// Of an admin.
    token: String,
    /// Its private Postgres and whatever else it keeps.
    _state: tempfile::TempDir,
    /// Kept open: a program that cannot print any more ends.
    _stdout: BufReader<ChildStdout>,
}

impl Demo {
    fn start(speed: &str) -> Self {
        let address = free_address();
        let state = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(["demo", "--speed", speed, "--listen", &address])
            .env("XDG_STATE_HOME", state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let link = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.trim().starts_with("http://").then(|| line.trim().to_owned()))
            .expect("the demo prints a link");
        let token = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.split("FIREBREAK_TOKEN=").nth(1).map(|token| token.trim().to_owned()))
            .expect("the demo prints a token");
        Self { process, url: format!("http://{address}/"), link, token, _state: state, _stdout: stdout }
    }
}

impl Demo {
    /// A verb from a terminal: exit code, what was said, and what was complained of.
    fn says(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(args)
            .env("FIREBREAK_URL", &self.url)
            .env("FIREBREAK_TOKEN", &self.token)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// Ctrl-C.
    fn interrupt(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it is in the middle of, for whoever reads why a test failed.
            for verb in [["drills", "show"].as_slice(), &["runs"], &["status"]] {
                let (_, said, why) = self.says(verb);
                let _ = writeln!(std::io::stderr(), "{verb:?}: {said}{why}");
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
