//! The whole click path, in a real Chromium: `firebreak demo`, the link, the finding, the plan, one click, recovered.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thirtyfour::prelude::*;

use crate::served::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_click_recovers_the_incident_while_one_watches() {
    let demo = Demo::start();
    let chrome = Chrome::start().await;
    let driver = chrome.driver().await;

    driver.goto(&demo.link).await.unwrap();
    press(&driver, "#sign-in").await;
    // The prober sees it, says what it is, and offers the runbook that heals it.
    let advice = wait(&driver, r#"[data-advice="replace-proxysql"]"#).await;
    let finding = wait(&driver, "[data-finding]").await.text().await.unwrap();
    assert!(finding.contains("shard-b") && finding.contains("proxysql-us"), "{finding}");
    chrome.picture(&driver, "situation").await;
    advice.click().await.unwrap();

    press(&driver, "#plan").await;
    wait(&driver, r#"#the-plan[data-verdict="ready"]"#).await;
    let changes = wait(&driver, "#changes").await.text().await.unwrap();
    assert!(changes.contains("proxysql-us"), "{changes}");
    chrome.picture(&driver, "plan").await;
    wait(&driver, "#reason").await.send_keys("logins to shard-b fail").await.unwrap();
    press(&driver, "#start").await;

    // The page follows the run by itself: nothing below reloads it.
    wait(&driver, r#"#head[data-state="running"]"#).await;
    chrome.picture(&driver, "run").await;
    wait(&driver, r#"[data-step="remove"]"#).await;
    wait(&driver, r#"#head[data-state="succeeded"]"#).await;
    chrome.picture(&driver, "recovered").await;
    let calls = wait(&driver, "#calls").await.text().await.unwrap();
    assert!(calls.contains("SetDesiredCapacity") && calls.contains("TerminateInstanceInAutoScalingGroup"), "{calls}");
    let timeline = wait(&driver, "#timeline").await.text().await.unwrap();
    assert!(timeline.contains("on-call"), "the click has its person: {timeline}");

    driver.goto(format!("{}/", demo.url)).await.unwrap();
    wait(&driver, "[data-all-well]").await;
    chrome.picture(&driver, "healed").await;

    // On a phone nothing sticks out to the side.
    driver.set_window_rect(0, 0, 500, 900).await.unwrap();
    let overflow = driver.execute("return document.documentElement.scrollWidth - innerWidth", vec![]).await.unwrap();
    assert!(overflow.json().as_i64().unwrap() <= 0, "{overflow:?}");

    let complaints = chrome.console(&driver).await;
    assert!(complaints.is_empty(), "the console says: {complaints:#?}");
    driver.quit().await.unwrap();
}

/// Waits until an element is there.
async fn wait(driver: &WebDriver, selector: &str) -> WebElement {
    let found = driver.query(By::Css(selector)).wait(PATIENCE, Duration::from_millis(200)).first().await;
    match found {
        Ok(element) => element,
        Err(e) => panic!("{selector} never came: {e}\n{}", driver.find(By::Tag("body")).await.unwrap().text().await.unwrap()),
    }
}

async fn press(driver: &WebDriver, selector: &str) {
    wait(driver, selector).await.click().await.unwrap();
}

/// `firebreak demo` on a free port.
struct Demo {
    process: Child,
    url: String,
    link: String,
}

impl Demo {
    fn start() -> Self {
        let address = free();
        let mut process = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(["demo", "--speed", "40", "--listen", &address])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let link = stdout
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.trim().starts_with("http://").then(|| line.trim().to_owned()))
            .expect("the demo prints a link");
        Self { process, url: format!("http://{address}"), link }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// chromedriver, which starts a Chromium of its own for each session.
struct Chrome {
    process: Child,
    url: String,
    pictures: PathBuf,
    _profile: tempfile::TempDir,
}

impl Chrome {
    async fn start() -> Self {
        let address = free();
        let port = address.rsplit(':').next().unwrap();
        let process = Command::new(std::env::var("FIREBREAK_CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".into()))
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is not here; run the tests with `cargo xtask test`");
        let profile = tempfile::tempdir().unwrap();
        let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures");
        std::fs::create_dir_all(&pictures).unwrap();
        let chrome = Self { process, url: format!("http://{address}"), pictures, _profile: profile };
        let end = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(Instant::now() < end, "chromedriver never listened");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        chrome
    }

    async fn driver(&self) -> WebDriver {
        let mut capabilities = DesiredCapabilities::chrome();
        let profile = format!("--user-data-dir={}", self._profile.path().display());
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1600",
            &profile,
        ] {
            capabilities.add_arg(argument).unwrap();
        }
        if let Ok(binary) = std::env::var("FIREBREAK_CHROMIUM") {
            capabilities.set_binary(&binary).unwrap();
        }
        capabilities.set_base_capability("goog:loggingPrefs", json!({ "browser": "ALL" })).unwrap();
        WebDriver::new(&self.url, capabilities).await.unwrap()
    }

    /// Keeps a picture of the page beside the build, for people to look at.
    async fn picture(&self, driver: &WebDriver, name: &str) {
        driver.screenshot(&self.pictures.join(format!("{name}.png"))).await.unwrap();
    }

    /// What the console says.
    async fn console(&self, driver: &WebDriver) -> Vec<String> {
        let session = driver.session_id().await.to_string();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let log: Value = client
            .post(format!("{}/session/{session}/se/log", self.url))
            .json(&json!({ "type": "browser" }))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let entries = log["value"].as_array().unwrap_or_else(|| panic!("{log}"));
        entries.iter().map(|e| format!("{}: {}", e["level"], e["message"])).collect()
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
