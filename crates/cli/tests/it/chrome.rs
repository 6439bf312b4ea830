//! A real Chromium, driven over the W3C WebDriver protocol.
//!
//! The few verbs that the tests need are written out here because every WebDriver crate, as a dependency of the tests,
//! changes features that the AWS SDK's macros are built with: the SDK, minutes of work, would be built once for
//! `cargo demo` and once more for the tests.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::served::{PATIENCE, http};

/// chromedriver with one session: one Chromium with a profile of its own.
pub(crate) struct Chrome {
    driver: Child,
    client: reqwest::Client,
    session: String,
    pictures: PathBuf,
    _profile: TempDir,
}

/// An element of the page as it is now.
pub(crate) struct Element(String);

/// The offer to replace the hosts because of shard-b alone: in the first minutes of the incident shard-e, which fails over, may be
/// told with it for a moment, and what is offered then is for the whole fleet.
pub(crate) const ADVICE: &str = r#"[data-advice="replace-proxysql"][href*="cluster=shard-b"]"#;

/// The key under which the protocol names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Chrome {
    pub(crate) async fn start() -> Self {
        let address = free_address();
        let driver =
            Command::new(std::env::var("FIREBREAK_CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into()))
                .arg(format!("--port={}", address.rsplit(':').next().unwrap()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("chromedriver is not here; run the tests with `cargo xtask test`");
        let profile = tempfile::tempdir().unwrap();
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        std::fs::create_dir_all(&pictures).unwrap();
        let client = http();
        let mut chrome = Self { driver, client, session: String::new(), pictures, _profile: profile };
        let end = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(Instant::now() < end, "chromedriver never listened");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut options = json!({ "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--window-size=1280,1600", format!("--user-data-dir={}", chrome._profile.path().display()),
        ] });
        if let Ok(binary) = std::env::var("FIREBREAK_CHROMIUM") {
            options["binary"] = binary.into();
        }
        let wanted = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" } });
        chrome.session = format!("http://{address}/session");
        let session = chrome.post("", json!({ "capabilities": { "alwaysMatch": wanted } })).await.unwrap();
        chrome.session = format!("http://{address}/session/{}", session["sessionId"].as_str().unwrap());
        chrome.post("/timeouts", json!({ "script": 120_000, "pageLoad": 120_000 })).await.unwrap();
        chrome
    }

    /// A link that signs in, followed to its end.
    pub(crate) async fn sign_in(&self, link: &str) {
        self.go(link).await;
        self.press("#sign-in").await;
        self.wait("#sign-out").await;
    }

    /// Nobody is signed in any more.
    pub(crate) async fn forget(&self) {
        self.cdp("Network.clearBrowserCookies", json!({})).await;
    }

    /// Asks Chromium itself.
    pub(crate) async fn cdp(&self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": params })).await.unwrap()
    }

    /// Light or dark, as the system's setting says it.
    pub(crate) async fn theme(&self, theme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A screen of so many pixels; a narrow one is a phone.
    pub(crate) async fn screen(&self, width: u32, height: u32) {
        let phone = width < 600;
        let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.cdp("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// From the next page on, scripts of pages run or do not. Those of a test do, whatever is set.
    pub(crate) async fn scripts(&self, run: bool) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({ "value": !run })).await;
    }

    /// Presses keys, one after the other.
    pub(crate) async fn keys(&self, keys: &str) {
        let presses: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let actions = json!([{ "type": "key", "id": "keyboard", "actions": presses }]);
        self.post("/actions", json!({ "actions": actions })).await.unwrap();
    }

    pub(crate) async fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await.unwrap();
    }

    /// Waits until an element is there.
    pub(crate) async fn wait(&self, selector: &str) -> Element {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.post("/element", json!({ "using": "css selector", "value": selector })).await;
            match found {
                Ok(found) => return Element(found[ELEMENT].as_str().unwrap().to_owned()),
                Err(e) if Instant::now() > end => {
                    self.picture("missing").await;
                    let page = self.script("return location.href + '\\n' + document.body.innerText").await;
                    panic!("{selector} never came: {e}\n{}", page.as_str().unwrap_or_default());
                }
                // The page is live: what is looked for comes by itself.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Waits for an element and clicks it. A live page may swap it out in between: then it is looked for again.
    pub(crate) async fn press(&self, selector: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let Element(id) = self.wait(selector).await;
            match self.post(&format!("/element/{id}/click"), json!({})).await {
                Ok(_) => return,
                Err(e) => assert!(Instant::now() < end, "{selector} cannot be clicked: {e}"),
            }
        }
    }

    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let Element(id) = self.wait(selector).await;
        self.post(&format!("/element/{id}/value"), json!({ "text": text })).await.unwrap();
    }

    /// The text of an element, once it is there.
    pub(crate) async fn text(&self, selector: &str) -> String {
        self.wait(selector).await;
        let quoted = serde_json::to_string(selector).unwrap();
        let text = self.script(&format!("return document.querySelector({quoted})?.textContent ?? ''")).await;
        text.as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await.unwrap()
    }

    /// What a script that goes on by itself answers in the end: it calls `done`.
    pub(crate) async fn long_script(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1];\n{script}");
        self.post("/execute/async", json!({ "script": script, "args": [] })).await.unwrap()
    }

    /// What went over the network since this was last asked: Chromium's own events.
    pub(crate) async fn network(&self) -> Vec<Value> {
        let log = self.post("/se/log", json!({ "type": "performance" })).await.unwrap();
        let events = log.as_array().unwrap().iter();
        let events = events.map(|e| serde_json::from_str::<Value>(e["message"].as_str().unwrap()).unwrap());
        let events = events.map(|mut e| e["message"].take());
        events.filter(|e| e["method"].as_str().is_some_and(|m| m.starts_with("Network."))).collect()
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        self.post("/window/rect", json!({ "width": width, "height": height })).await.unwrap();
    }

    /// Keeps a picture of the page beside the build, for people to look at.
    pub(crate) async fn picture(&self, name: &str) {
        use base64::Engine as _;
        let whole = json!({ "captureBeyondViewport": true });
        let answer = self.cdp("Page.captureScreenshot", whole).await;
        let png = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::write(self.pictures.join(format!("{name}.png")), png).unwrap();
    }

    /// What the console says.
    pub(crate) async fn console(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await.unwrap();
        log.as_array().unwrap().iter().map(|e| format!("{}: {}", e["level"], e["message"])).collect()
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        let answer = self.client.post(format!("{}{path}", self.session)).json(&body).send().await.unwrap();
        let ok = answer.status().is_success();
        let mut answer: Value = answer.json().await.unwrap();
        let value = answer["value"].take();
        if ok { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        // chromedriver ends its Chromium when it is asked to end, not when it is killed.
        let session = self.session.clone();
        let ended = std::thread::spawn(move || {
            let address =
                session.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
            let path = session.split_once(&address).map(|(_, path)| path.to_owned()).unwrap_or_default();
            let mut socket = std::net::TcpStream::connect(&address).ok()?;
            socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
            std::io::Write::write_all(
                &mut socket,
                format!("DELETE {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .ok()?;
            std::io::Read::read(&mut socket, &mut [0; 1024]).ok()
        });
        let _ = ended.join();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
