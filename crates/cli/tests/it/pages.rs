//! Every page, in a real Chromium: nothing on the console, nothing from elsewhere, nothing that sticks out, and nothing that axe-core
//! finds, in light and dark, on a screen and on a phone.
//!
//! Which pages there are is read from the server itself: its table of permissions is the table of routes. A new page that is not
//! visited here fails.

use std::collections::BTreeSet;

use serde_json::json;
use sim::Sim;

use crate::chrome::Chrome;
use crate::kills::small_world;
use crate::look::{axe, calm, look, look_at};
use crate::served::{Person, Served, ended};
use crate::signals::until;

/// What is no page: files to be kept, streams, and what keeps the process alive.
const NO_PAGES: [&str; 7] = [
    "/runs/{id}/by-hand",
    "/incidents/{id}/post-mortem.md",
    "/static/{hash}/{name}",
    "/healthz",
    "/readyz",
    "/metrics",
    "/sign-in/with-provider", // leads elsewhere
];

/// Addresses of the pages that the server says it has.
async fn routes(person: &Person) -> BTreeSet<String> {
    let table = person.text("/docs/permissions").await;
    let paths = table.split("data-route=\"GET ").skip(1).map(|rest| rest.split('"').next().unwrap());
    let page =
        |path: &&str| !path.starts_with("/api/") && !path.ends_with("/events") && !NO_PAGES.contains(path);
    paths.filter(page).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_fit_to_be_seen_in_light_and_dark_on_a_screen_and_on_a_phone() {
    let _machine = crate::machine::for_itself().await;
    let axe = axe();
    // Slow enough that what runs still runs when it is looked at, and what waits is not yet expired.
    let sim =
        Sim::start(small_world(), sim::Options { speed: 4.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on_with(&sim, &calm()).await;
    let person = served.person().await;
    let chrome = Chrome::start().await;
    let mut complaints = Vec::new();

    // Before anybody has signed in.
    let link = served.command(&["sign-in", "ana", "--role", "admin"]);
    let link = link.split_whitespace().find(|word| word.starts_with("http")).unwrap();
    let mut visited: BTreeSet<&str> = BTreeSet::new();
    for (route, name, path) in [
        ("/sign-in", "sign-in", "/sign-in"),
        ("/sign-in/{token}", "sign-in-link", link.split_at(served.url.len()).1),
        ("/sign-in/callback", "sign-in-came-back-wrong", "/sign-in/callback"),
        ("/docs/errors", "errors", "/docs/errors"),
        ("/docs/errors/{code}", "error-code", "/docs/errors/locked"),
        ("", "signed-out", "/runs"),
    ] {
        visited.insert(route);
        complaints.extend(look_at(&chrome, name, &format!("{}{path}", served.url), &axe).await);
    }
    chrome.screen(1280, 900).await;
    chrome.sign_in(link).await;

    // Things happen: a signal asks, a run is at work, another waits for the approval of a second person.
    let signal = until(&served.db, "asked", |s| {
        s.labels["cluster"] == "shard-b" && s.verdict.as_deref() == Some("asked")
    })
    .await;
    let run = person
        .start(
            "replace-proxysql",
            json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" }),
            None,
        )
        .await;
    let inputs = json!({ "cluster": "shard-a", "class": "db.r6i.32xlarge" });
    let plan = person.post("/api/v1/runbooks/resize-cluster/plan", &inputs).await;
    let body = json!({ "runbook": "resize-cluster", "inputs": inputs, "reason": "more memory", "plan_hash": plan["hash"] });
    let waiting = person.post("/api/v1/runs", &body).await["run_id"].as_str().unwrap().to_owned();
    person
        .post(
            "/api/v1/brakes/freezes",
            &json!({ "reason": "holidays", "ends": "2034-01-01T00:00:00Z", "runbook": "shed-load" }),
        )
        .await;
    person
        .post("/api/v1/brakes/locks", &json!({ "reason": "I am on it", "target": "cluster:shard-e" }))
        .await;
    let incident = signal.incident.expect("what asks has an incident");

    let run_page = format!("/runs/{run}");
    let (home, here) = (format!("{}/", served.url), format!("{}{run_page}", served.url));
    let ask = async |what: serde_json::Value| {
        person.post(&format!("/api/v1/runs/{run}/ask"), &what).await;
    };
    ask(json!({ "ask": "pause", "reason": "let me look first" })).await;
    chrome.go(&here).await;
    chrome.wait("#head[data-state=\"paused\"]").await;
    complaints.extend(look(&chrome, "run-stopped", &axe).await);
    let waiting_here = format!("{}/runs/{waiting}", served.url);
    complaints.extend(look_at(&chrome, "run-waiting", &waiting_here, &axe).await);
    complaints.extend(look_at(&chrome, "situation", &home, &axe).await);
    visited.extend(["/", "/runs/{id}"]);
    person.post("/api/v1/brakes/stop", &json!({ "reason": "it acts on a wrong view" })).await;
    complaints.extend(look_at(&chrome, "stopped", &home, &axe).await);
    person.post("/api/v1/brakes/allow", &json!({ "reason": "understood" })).await;
    ask(json!({ "ask": "resume" })).await;
    chrome.go(&here).await;
    chrome.wait("[data-step=\"launch\"][data-status=\"done\"]").await;
    complaints.extend(look(&chrome, "run-running", &axe).await);
    ask(json!({ "ask": "abort", "takeback": "all", "reason": "not needed any more" })).await;
    assert_eq!(ended(&served.db, run).await.state, "undone");

    for (runbook, target) in
        [("failover-cluster", "cluster:shard-a"), ("replace-proxysql", "fleet:proxysql-us")]
    {
        person.post("/api/v1/readiness", &json!({ "runbook": runbook, "target": target })).await;
    }
    for (route, name, path) in [
        ("/runs/{id}", "run-aborted", run_page.clone()),
        ("/runs/{id}", "run-timeline", format!("{run_page}?tab=timeline")),
        ("/runs/{id}", "run-calls", format!("{run_page}?tab=calls")),
        ("/runs/{id}", "run-definition", format!("{run_page}?tab=definition")),
        ("/runs/{id}", "run-plan", format!("/runs/{waiting}?tab=plan")),
        ("/runs", "runs", "/runs".into()),
        ("/runbooks", "runbooks", "/runbooks".into()),
        ("/runbooks/{name}", "runbook", "/runbooks/replace-proxysql?fleet=proxysql-us".into()),
        ("/signals", "signals", "/signals".into()),
        ("/signals/{id}", "signal", format!("/signals/{}", signal.id)),
        ("/incidents", "incidents", "/incidents".into()),
        ("/incidents/{id}", "incident", format!("/incidents/{incident}")),
        ("/triggers", "triggers", "/triggers".into()),
        ("/outbox", "outbox", "/outbox".into()),
        ("/audit", "audit", "/audit".into()),
        ("/brakes", "brakes", "/brakes".into()),
        ("/drills", "drills-not-here", "/drills".into()),
        ("/drills/{id}", "drill-not-there", format!("/drills/{run}")),
        ("/settings", "settings", "/settings".into()),
        ("/settings/slack/link/{token}", "slack-link-spent", "/settings/slack/link/none".into()),
        ("/readiness", "readiness", "/readiness".into()),
        ("/docs/permissions", "permissions", "/docs/permissions".into()),
        ("/api", "api", "/api".into()),
        ("", "not-found", "/nowhere".into()),
    ] {
        visited.insert(route);
        complaints.extend(look_at(&chrome, name, &format!("{}{path}", served.url), &axe).await);
    }
    let missing: Vec<String> =
        routes(&person).await.into_iter().filter(|route| !visited.contains(route.as_str())).collect();
    assert!(missing.is_empty(), "these pages are not visited here: {missing:?}");

    // What only a button leads to: a plan that is ready, one that stops, and a token that is shown once.
    let go = async |path: &str| chrome.go(&format!("{}{path}", served.url)).await;
    for (name, path, verdict) in [
        ("plan", "/runbooks/resize-cluster?cluster=shard-b&class=db.r6i.32xlarge", "ready"),
        ("plan-stops", "/runbooks/failover-cluster?cluster=shard-b", "stops"),
    ] {
        chrome.screen(1280, 900).await;
        go(path).await;
        chrome.press("#plan").await;
        chrome.wait(&format!("#the-plan[data-verdict=\"{verdict}\"]")).await;
        complaints.extend(look(&chrome, name, &axe).await);
    }
    chrome.screen(1280, 900).await;
    go("/settings").await;
    chrome.press("#new-token summary").await;
    chrome.type_into("#token-name", "laptop").await;
    chrome.press("#make-token").await;
    chrome.wait("#made").await;
    complaints.extend(look(&chrome, "token", &axe).await);

    // … and what was refused, as it was filled in: on the page of its form, and on one that has nothing but the form.
    chrome.screen(1280, 900).await;
    go("/incidents").await;
    chrome.press("#open-incident summary").await;
    chrome.type_into("#title", "It flickers").await;
    chrome.press("#open-incident button").await;
    chrome.wait("#open-incident[open] [role=\"alert\"]").await;
    complaints.extend(look(&chrome, "refused", &axe).await);
    chrome.screen(1280, 900).await;
    go(&format!("/incidents/{incident}")).await;
    chrome.press("#close summary").await;
    complaints.extend(look(&chrome, "incident-close", &axe).await);
    chrome.screen(1280, 900).await;
    chrome.press("#set-title summary").await;
    // Longer than the server takes, and the browser would let it be.
    chrome.script("document.querySelector('#set-title [name=title]').removeAttribute('maxlength')").await;
    chrome.type_into("#set-title [name=\"title\"]", &"dark ".repeat(60)).await;
    chrome.press("#set-title button").await;
    chrome.wait("#still").await;
    complaints.extend(look(&chrome, "incident-refused", &axe).await);

    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_connection_goes_away_without_a_word_says_that_it_is_old_until_it_is_back() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on_with(&sim, &calm()).await;
    let person = served.person().await;
    let chrome = Chrome::start().await;
    let link = served.command(&["sign-in", "ana", "--role", "viewer"]);
    chrome.sign_in(link.split_whitespace().find(|word| word.starts_with("http")).unwrap()).await;
    // A stream is heard though nothing happens: by the script, which sees no comments.
    let run = person.start("diagnose-logins", json!({ "fleet": "proxysql-us" }), None).await;
    ended(&served.db, run).await;
    let heard = format!(
        "const ear = new EventSource('/runs/{run}/events'); ear.addEventListener('alive', () => {{ ear.close(); done('heard'); }})"
    );
    assert_eq!(chrome.long_script(&heard).await, "heard");

    chrome.go(&format!("{}/brakes", served.url)).await;
    chrome.wait("#live[data-state=live]").await;
    served.hold();
    chrome.wait("#live[data-state=lost]").await;
    let said = chrome.text("#live").await;
    assert!(said.starts_with("Connection lost: what stands here is") && said.contains("old"), "{said}");
    chrome.wait("main[data-lost]").await;
    chrome.picture("lost").await;
    served.go_on();
    chrome.wait("#live[data-state=live]").await;
    chrome.wait("main:not([data-lost])").await;
}

/// The most that a browser may have to fetch before somebody who was never here sees how things are.
const MOST_BYTES: f64 = 100_000.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_visit_is_small_and_asks_for_everything_at_once() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on_with(&sim, &calm()).await;
    let chrome = Chrome::start().await;
    chrome.sign_in(&served.link).await;
    until(&served.db, "seen", |s| s.labels["cluster"] == "shard-b").await;
    chrome.cdp("Network.clearBrowserCache", json!({})).await;
    chrome.go("about:blank").await;
    chrome.network().await;
    let home = format!("{}/", served.url);
    chrome.go(&home).await;
    chrome.wait("#live[data-state=live]").await;
    let events = chrome.network().await;
    let of = |method: &str| {
        events.iter().filter(|e| e["method"] == method).map(|e| &e["params"]).collect::<Vec<_>>()
    };
    let bytes: f64 =
        of("Network.loadingFinished").iter().map(|done| done["encodedDataLength"].as_f64().unwrap()).sum();
    assert!(bytes > 10_000.0 && bytes < MOST_BYTES, "{bytes} bytes");
    let mut drawn = 0;
    for request in of("Network.requestWillBeSent") {
        let address = request["request"]["url"].as_str().unwrap();
        match request["type"].as_str().unwrap() {
            "Document" => assert_eq!(address, home),
            // What draws the page is named by the page itself: no style asks for another, no script for a style.
            "Stylesheet" | "Script" | "Image" | "Font" | "Other" => {
                drawn += 1;
                let by = &request["initiator"];
                assert!(by["type"] == "parser" || by["type"] == "other", "{address} is asked for by {by}");
                assert!(by["url"].is_null() || by["url"] == home.as_str(), "{address} is asked for by {by}");
            }
            // What keeps it fresh is nothing that anybody waits for: the stream, and the page's own inner part.
            _ => assert!(address == home || address == format!("{home}events"), "{address}"),
        }
    }
    assert!(drawn >= 3, "style, script and icon: {events:#?}");
}
