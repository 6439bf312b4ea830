//! Searching the audit, and proving a run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use axum::http::StatusCode;
use domain::Actor;
use serde_json::{Value, json};

use super::bench::Bench;
use crate::web::audit::ACTIONS;

#[tokio::test]
async fn what_people_did_is_found_by_who_what_when_and_words_on_the_page_and_by_programs() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let body =
        json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" }, "reason": "so dark here" });
    let started = person.post("/api/v1/runs", "key-1", &body).await.json();
    let run = started["run_id"].as_str().unwrap().to_owned();
    let refused = person.post("/api/v1/runs", "key-2", &body).await;
    assert_eq!(refused.json()["code"], "locked");

    let found = async |query: String| -> Vec<String> {
        let answer = person.get(&format!("/api/v1/audit?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
        let word = |entry: &Value| entry["action"].as_str().unwrap().to_owned();
        answer.json()["entries"].as_array().unwrap().iter().map(word).collect()
    };
    assert_eq!(found(String::new()).await, ["start refused: locked", "requested", "signed in"]);
    assert_eq!(found("actor=ada&action=requested".into()).await, ["requested"]);
    assert_eq!(found("actor=ben".into()).await, [""; 0]);
    assert_eq!(found(format!("run={run}")).await, ["requested"]);
    assert_eq!(found(format!("run={}", &run[..8])).await, ["requested"], "as people say it");
    assert_eq!(found("target=fleet:lamps-eu".into()).await, ["requested"], "by a lock that it took");
    assert_eq!(found("target=fleet:lamps".into()).await, [""; 0], "a target is a whole name");
    assert_eq!(found("text=dark".into()).await, ["requested"]);
    assert_eq!(found("text=%22dark+so%22".into()).await, [""; 0]);
    assert_eq!(found("until=2020-01-01".into()).await, [""; 0]);
    assert_eq!(found("since=2020-01-01T10:30".into()).await.len(), 3);
    assert_eq!(found("since=90d".into()).await.len(), 3, "so long ago");
    assert_eq!(found("until=90d".into()).await, [""; 0]);
    let some = person.get("/api/v1/audit?limit=2").await.json();
    assert_eq!(some["entries"].as_array().unwrap().len(), 2);
    let after = some["next"].as_str().unwrap();
    assert_eq!(found(format!("limit=2&after={after}")).await, ["signed in"]);
    for query in ["since=yesterday", "after=x"] {
        assert_eq!(person.get(&format!("/api/v1/audit?{query}")).await.status, StatusCode::BAD_REQUEST);
    }
    let page = person.get("/audit?run=ffffffff").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND, "no such run: {}", page.text);
    let page = person.get("/audit?text=dark").await;
    assert!(page.text.contains("data-action=\"requested\"") && page.text.contains(&format!("/runs/{run}")));
    assert!(!page.text.contains("data-action=\"signed in\""), "{}", page.text);

    let proof = person.get(&format!("/api/v1/runs/{run}/proof")).await.json();
    assert_eq!(proof["whole"], true, "{proof}");
    bench.lamp().warm = true;
    bench.until(run.parse().unwrap(), "succeeded").await;
}

#[tokio::test]
async fn a_search_that_is_not_understood_keeps_its_form_and_what_was_not_given_is_not_listed() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let page = person.get("/audit?actor=ada&since=yesterday").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    for shown in [
        "data-problem=\"bad_filter\"",
        "<code>yesterday</code> is not a time",
        "value=\"ada\"",
        "value=\"yesterday\"",
        "<nav",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    assert!(!page.text.contains("Nothing fits"), "{}", page.text);

    person.form("/brakes/stop", &[("reason", "strange")]).await;
    let take = [("target", "fleet:lamps-eu"), ("reason", "mine")];
    person.form("/brakes/locks", &take).await;
    let page = person.get("/audit").await.text;
    let row = |action: &str| {
        let row = page.split(&format!("data-action=\"{action}\"")).nth(1).unwrap();
        row.split("</tr>").next().unwrap()
    };
    assert!(row("kill switch on").contains("<td>everything</td>"), "{}", row("kill switch on"));
    assert!(!page.contains("</i> nothing"), "{page}");
    assert!(row("lock taken by hand").contains("<i>reason</i> mine"), "{}", row("lock taken by hand"));
    assert!(page.contains("<option value=\"lock taken by hand\">"), "{page}");
    assert!(page.contains("<option value=\"start refused: locked\">"), "{page}");
}

/// What stands between quotes there, of more than one word.
fn words_in(text: &str, quote: char) -> BTreeSet<String> {
    let plain = |word: &&str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b' ' || b == b'-');
    let all = text.split(quote).skip(1).step_by(2).filter(plain);
    all.filter(|word| word.trim() == *word && word.contains([' ', '-'])).map(str::to_owned).collect()
}

/// The words that follow each mark in all files of a folder, as far as an end.
fn written(folder: &Path, mark: &str, end: &str, quote: char) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                found.extend(written(&path, mark, end, quote));
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let after = text.split(mark).skip(1).map(|after| after.split(end).next().unwrap());
        found.extend(after.flat_map(|part| words_in(part, quote)));
    }
    found
}

#[test]
fn the_words_that_the_search_offers_are_those_that_are_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let (store, reload, server) = ("crates/store/src", "crates/engine/src/reload.rs", "crates/server/src");
    let mut found = BTreeSet::new();
    for folder in [store, "migrations"] {
        found.extend(written(
            &root.join(folder),
            "INTO audit (at, actor, action, target, details)",
            "jsonb",
            '\'',
        ));
    }
    for folder in ["crates/engine/src", server] {
        for mark in ["audit::add(", "audit(app,"] {
            found.extend(written(&root.join(folder), mark, ";", '"'));
        }
    }
    // What is written together with a wish.
    found.extend(written(&root.join("crates/engine/src"), "-> (&'static str, Value) {", "}", '"'));
    for file in [reload, "crates/store/src/incidents.rs"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let told = text.split("=> (\"").skip(1).map(|after| after.split('"').next().unwrap().to_owned());
        found.extend(told);
    }
    // The name of a brake is added to a word, and a journal's entries have kinds.
    found.extend(
        ["started despite a freeze", "started despite a limit", "asked", "requested"].map(str::to_owned),
    );
    let offered: BTreeSet<String> = ACTIONS.iter().map(ToString::to_string).collect();
    assert_eq!(found, offered);
}

#[tokio::test]
async fn the_list_goes_on_where_the_page_before_ended() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    // All at one time: nothing but their order in the chain tells them apart.
    let (at, ben) = ("2024-01-01T00:00:00Z".parse().unwrap(), Actor::person("ben"));
    for n in 1..=230 {
        store::audit::add(bench.engine.pool(), at, &ben, &format!("n{n}"), "t", json!({})).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = person.get(&format!("/api/v1/audit?actor=ben&after={after}")).await.json();
        let word = |entry: &Value| entry["action"].as_str().unwrap().to_owned();
        seen.extend(page["entries"].as_array().unwrap().iter().map(word));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    let all: Vec<String> = (1..=230).rev().map(|n| format!("n{n}")).collect();
    assert_eq!(seen, all);
}
