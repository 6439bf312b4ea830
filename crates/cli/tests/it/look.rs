//! What a page must be, whichever it is: looked at in both themes, on a screen and on a phone.
//!
//! axe-core (Deque's rules for WCAG 2.2, level AA, and good practice) is given to the page by the driver, past its policy; the page
//! itself loads nothing but its own.

use serde_json::{Value, json};

use crate::chrome::Chrome;

/// How people look at pages: name, theme, width, height, and whether a picture is kept.
const SIGHTS: [(&str, &str, u32, u32, bool); 4] = [
    ("light", "light", 1280, 900, true),
    ("dark", "dark", 1280, 900, false),
    ("phone-light", "light", 390, 844, false),
    ("phone-dark", "dark", 390, 844, true),
];

/// Opens an address and looks at its page from all sides. Every complaint is a sentence.
pub(crate) async fn look_at(chrome: &Chrome, name: &str, url: &str, axe: &str) -> Vec<String> {
    chrome.screen(1280, 900).await;
    chrome.console().await;
    chrome.network().await;
    chrome.go(url).await;
    look(chrome, name, axe).await
}

/// Looks at the page that is open.
pub(crate) async fn look(chrome: &Chrome, name: &str, axe: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let url = chrome.script("return location.href").await.as_str().unwrap().to_owned();
    let host = url.split('/').nth(2).unwrap().to_owned();
    for (sight, theme, width, height, kept) in SIGHTS {
        chrome.theme(theme).await;
        chrome.screen(width, height).await;
        complaints.extend(sticks_out(chrome).await.map(|what| format!("{sight}: {what}")));
        for violation in violations(chrome, axe).await {
            complaints.push(format!("{sight}: {violation}"));
        }
        if kept {
            chrome.picture(&format!("{name}-{sight}")).await;
        }
    }
    for event in chrome.network().await {
        let request = &event["params"]["request"]["url"];
        if let Some(address) = request.as_str().filter(|_| event["method"] == "Network.requestWillBeSent")
            && address.split('/').nth(2) != Some(host.as_str())
            && !address.starts_with("data:")
        {
            complaints.push(format!("it asks somebody else: {address}"));
        }
        let answer = &event["params"]["response"];
        if event["method"] == "Network.responseReceived" && answer["url"] == url.as_str() {
            let policy = answer["headers"]["content-security-policy"].as_str().unwrap_or("none");
            if policy.contains("unsafe") || !policy.starts_with("default-src 'none'") {
                complaints.push(format!("its policy lets too much through: {policy}"));
            }
        }
    }
    // A page that says why something is not done is answered with its status, which Chromium tells on the console, too.
    let told =
        |line: &String| !line.contains("Failed to load resource: the server responded with a status of");
    complaints.extend(
        chrome.console().await.into_iter().filter(told).map(|line| format!("the console says {line}")),
    );
    complaints.into_iter().map(|what| format!("{name} ({url}): {what}")).collect()
}

/// The first thing that is wider than the page.
async fn sticks_out(chrome: &Chrome) -> Option<String> {
    let found = chrome
        .script(
            "const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
             if (wide <= 0) return null;
             const inside = (e) => { for (let p = e.parentElement; p; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return true; return false; };
             const all = [...document.body.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !inside(e));
             return `${wide} pixels stick out: ${all.slice(0, 3).map((e) => e.outerHTML.slice(0, 120)).join(' | ')}`;",
        )
        .await;
    found.as_str().map(str::to_owned)
}

async fn violations(chrome: &Chrome, axe: &str) -> Vec<String> {
    if chrome.script("return typeof window.axe === 'undefined'").await == Value::Bool(true) {
        chrome.script(axe).await;
    }
    let found = chrome
        .long_script(
            "axe.run(document, { resultTypes: ['violations'], rules: { 'target-size': { enabled: true } } }).then(
               (found) => done(found.violations.flatMap((v) => v.nodes.slice(0, 3).map((n) => `${v.id} (${v.impact}): ${n.html.slice(0, 200)}: ${n.failureSummary.slice(0, 300)}`))),
               (error) => done([`axe failed: ${error}`]));",
        )
        .await;
    found
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The script of axe-core.
pub(crate) fn axe() -> String {
    let file =
        std::env::var("FIREBREAK_AXE").expect("axe-core is not here; run the tests with `cargo xtask test`");
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// What a server is told that is only looked at: it judges at once, and keeps its lease on a machine that is busy.
pub(crate) fn calm() -> Value {
    json!({ "automation": { "warm_up_s": 1 }, "worker": { "lease_s": 20 } })
}
