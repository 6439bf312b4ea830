//! The four great paths by keyboard alone: Tab, Enter and words; at each stop one sees where one is. And without scripts, where a
//! page is reloaded by hand.

use serde_json::json;
use sim::Sim;

use crate::chrome::{ADVICE, Chrome};
use crate::kills::small_world;
use crate::look::calm;
use crate::served::Served;
use crate::signals::until;

const TAB: &str = "\u{E004}";
const ENTER: &str = "\u{E007}";
/// More stops than a page has.
const STOPS: usize = 150;

/// Where the focus is, and how it is drawn: does it fit, what it is, the ring's style and width.
const FOCUS: &str = "const e = document.activeElement; const s = getComputedStyle(e);
    return [e.matches(arguments_0), e === document.body, e.outerHTML.slice(0, 160), s.outlineStyle, parseFloat(s.outlineWidth)];";

/// Presses Tab until the element has the focus.
async fn tab_to(chrome: &Chrome, selector: &str) {
    chrome.wait(selector).await;
    let quoted = serde_json::to_string(selector).unwrap();
    let question = FOCUS.replace("arguments_0", &quoted);
    for _ in 0..STOPS {
        chrome.keys(TAB).await;
        let answer = chrome.script(&question).await;
        if answer[1] == true {
            continue; // past the last element, before the first
        }
        let (style, width) = (answer[3].as_str().unwrap(), answer[4].as_f64().unwrap());
        assert!(
            style != "none" && width >= 2.0,
            "nobody sees that the focus is at {} ({style}, {width})",
            answer[2]
        );
        if answer[0] == true {
            return;
        }
    }
    panic!("Tab never comes to {selector}");
}

async fn choose(chrome: &Chrome, selector: &str) {
    tab_to(chrome, selector).await;
    chrome.keys(ENTER).await;
}

async fn say(chrome: &Chrome, selector: &str, words: &str) {
    tab_to(chrome, selector).await;
    chrome.keys(words).await;
}

async fn world(speed: f64) -> (Sim, Served) {
    let sim = Sim::start(small_world(), sim::Options { speed, ..sim::Options::default() }).await.unwrap();
    let served = Served::on_with(&sim, &calm()).await;
    (sim, served)
}

/// A link for somebody with a role.
fn link(served: &Served, name: &str, role: &str) -> String {
    let said = served.command(&["sign-in", name, "--role", role]);
    said.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned()
}

async fn sign_in(chrome: &Chrome, link: &str) {
    chrome.go(link).await;
    choose(chrome, "#sign-in").await;
    chrome.wait("#sign-out").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_keyboard_alone_one_recovers() {
    let _machine = crate::machine::for_itself().await;
    // Slow enough that what the page says is still news when somebody has tabbed to it.
    let (_sim, served) = world(12.0).await;
    let chrome = Chrome::start().await;
    sign_in(&chrome, &link(&served, "ana", "responder")).await;
    choose(&chrome, ADVICE).await;
    choose(&chrome, "#plan").await;
    chrome.wait("#the-plan[data-verdict=\"ready\"]").await;
    say(&chrome, "#reason", "logins fail").await;
    choose(&chrome, "#start").await;
    chrome.wait("#head[data-state=\"succeeded\"]").await;
    choose(&chrome, "nav a[href=\"/\"]").await;
    chrome.wait("[data-all-well]").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_keyboard_alone_a_second_person_agrees_and_the_first_cannot() {
    let _machine = crate::machine::for_itself().await;
    // Slow enough that nothing expires before somebody has tabbed to it.
    let (_sim, served) = world(8.0).await;
    let chrome = Chrome::start().await;
    sign_in(&chrome, &link(&served, "ana", "approver")).await;
    chrome.go(&format!("{}/runbooks/resize-cluster?cluster=shard-a&class=db.r6i.32xlarge", served.url)).await;
    choose(&chrome, "#plan").await;
    chrome.wait("#the-plan[data-verdict=\"ready\"]").await;
    assert!(chrome.text("#needs-approval").await.contains("Your own does not count"));
    say(&chrome, "#reason", "more memory").await;
    choose(&chrome, "#start").await;
    chrome.wait("#head[data-state=\"waiting_for_approval\"]").await;
    let run = chrome.script("return location.href").await.as_str().unwrap().to_owned();
    chrome.wait("button[data-ask=\"approve\"][disabled]").await;
    let own = chrome.text("#approval").await;
    assert!(own.contains("you asked for it, so somebody else must agree"), "{own}");

    chrome.forget().await;
    sign_in(&chrome, &link(&served, "bob", "approver")).await;
    // It is the first thing that Bob sees, and he finds it without its address.
    choose(&chrome, &format!("#open-runs a[href=\"{}\"]", run.split_at(served.url.len()).1)).await;
    chrome.wait("#approval").await;
    choose(&chrome, "button[data-ask=\"approve\"]").await;
    chrome.wait("#head[data-state=\"running\"]").await;
    assert!(chrome.text("[data-ruling]").await.contains("approved by bob"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_keyboard_alone_one_starts_what_an_alert_has_prepared_and_takes_it_back() {
    let _machine = crate::machine::for_itself().await;
    // Slow enough that somebody who tabs through the page comes before its end.
    let (sim, served) = world(8.0).await;
    let chrome = Chrome::start().await;
    sign_in(&chrome, &link(&served, "ana", "responder")).await;
    until(&served.db, "asked", |s| s.labels["cluster"] == "shard-b" && s.verdict.as_deref() == Some("asked"))
        .await;
    choose(&chrome, "[data-offer=\"replace-proxysql\"]").await;
    chrome.wait("#head[data-state=\"running\"]").await;
    assert!(chrome.text("#cause").await.contains("prepared by replace-proxysql/logins-fail"));
    chrome.wait("[data-step=\"make_room\"][data-status=\"done\"]").await;

    choose(&chrome, "summary[data-ask=\"abort-all\"]").await;
    assert!(chrome.text("#ask-abortall [data-preview]").await.contains("Taken back, in this order"));
    say(&chrome, "#ask-abortall [name=\"reason\"]", "the wrong fleet").await;
    choose(&chrome, "#ask-abortall button").await;
    chrome.wait("[data-wish=\"abort\"], #head[data-state=\"undoing\"], #head[data-state=\"undone\"]").await;
    chrome.wait("#head[data-state=\"undone\"]").await;
    assert!(chrome.text("#message").await.contains("Aborted by ana: the wrong fleet"));
    let changed = sim.ledger().into_iter().filter(|e| e.mutating && e.effect.is_some()).count();
    assert!(changed > 3, "it was changed, and changed back");
    assert!(store::pages::locks(served.db.pool()).await.unwrap().is_empty(), "the fleet is free again");
}

/// Loads the page again until an element is there: what a person does whose browser runs no scripts.
async fn reload_until(chrome: &Chrome, selector: &str) {
    let end = std::time::Instant::now() + crate::served::PATIENCE;
    let quoted = serde_json::to_string(selector).unwrap();
    while chrome.script(&format!("return document.querySelector({quoted}) !== null")).await != json!(true) {
        assert!(std::time::Instant::now() < end, "{selector} never came");
        chrome.cdp("Page.reload", json!({})).await;
        chrome.wait("#main").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scripts_one_recovers_by_reloading() {
    let _machine = crate::machine::for_itself().await;
    let (_sim, served) = world(12.0).await;
    let chrome = Chrome::start().await;
    chrome.scripts(false).await;
    chrome.sign_in(&link(&served, "ana", "responder")).await;
    reload_until(&chrome, ADVICE).await;
    let said = chrome.script("return document.getElementById('live').innerText").await;
    assert_eq!(said, "Reload by hand", "nothing keeps it fresh, and it says so");
    chrome.press(ADVICE).await;
    chrome.press("#plan").await;
    chrome.wait("#the-plan[data-verdict=\"ready\"]").await;
    chrome.type_into("#reason", "logins fail").await;
    chrome.press("#start").await;
    reload_until(&chrome, "#head[data-state=\"succeeded\"]").await;
    chrome.go(&served.url).await;
    reload_until(&chrome, "[data-all-well]").await;
}
