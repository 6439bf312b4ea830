//! Every error code has its paragraph, and every paragraph its code: read from the sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use domain::run::{ANSWER_LOST, FOREIGN_WORK, GAVE_UP};

use super::bench::Bench;
use crate::docs::{KINDS, codes, paragraph};

/// What makes an error with a code; the code is one of its arguments, as it stands there.
const MAKERS: [&str; 10] = [
    "ActionError::refused(",
    "ActionError::new(",
    "Problem::new(",
    "Self::new(",
    "unfit(",
    "not_now(",
    "silent(",
    "transient(",
    "refuse(",
    "refused(",
];
/// Files in which a function names codes one by one: `Self::Freeze(_) => "freeze"`.
const NAMING: [&str; 3] = ["domain/src/brake.rs", "engine/src/brakes.rs", "actions/src/mysql/failure.rs"];
/// Files in which `Self::new` makes such an error.
const OWN: [&str; 3] = ["server/src/error.rs", "server/src/tokens.rs", "domain/src/action/error.rs"];

fn sources() -> Vec<(PathBuf, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> =
        ["actions", "domain", "engine", "server"].iter().map(|name| crates.join(name).join("src")).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
                files.push((path, product));
            }
        }
    }
    files
}

/// The arguments of a call, from behind its opening bracket.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped, mut begin) = (0, false, false, 0);
    let mut found = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ')' | ']' | '}' | ';' => {
                found.push(text[begin..at].trim());
                return found;
            }
            ',' if depth == 0 => {
                found.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// `"locked"` → `locked`; a comment may stand before it.
fn literal(argument: &str) -> Option<&str> {
    let word = argument.lines().last()?.trim().strip_prefix('"')?.strip_suffix('"')?;
    let plain =
        word.len() > 2 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    plain.then_some(word)
}

fn used() -> BTreeMap<String, PathBuf> {
    let mut used = BTreeMap::new();
    for (path, text) in sources() {
        let is = |files: &[&str]| files.iter().any(|file| path.ends_with(file));
        for maker in MAKERS {
            if maker == "Self::new(" && !is(&OWN) {
                continue;
            }
            for (at, _) in text.match_indices(maker) {
                for code in arguments(&text[at + maker.len()..]).into_iter().filter_map(literal) {
                    used.insert(code.to_owned(), path.clone());
                }
            }
        }
        if is(&NAMING) {
            let named = text.lines().filter_map(|line| line.split_once("=> ")).map(|(_, code)| code);
            for code in named.filter_map(|code| literal(code.trim().trim_end_matches(','))) {
                used.insert(code.to_owned(), path.clone());
            }
        }
    }
    for code in [crate::error::LOCKED, ANSWER_LOST, FOREIGN_WORK, GAVE_UP, "store_unavailable"] {
        used.insert(code.to_owned(), PathBuf::from("a constant"));
    }
    used
}

#[test]
fn every_code_has_its_paragraph_and_every_paragraph_its_code() {
    let used = used();
    assert!(used.len() > 80, "{used:#?}");
    let missing: Vec<_> = used.iter().filter(|(code, _)| !codes().any(|c| c == code.as_str())).collect();
    assert!(missing.is_empty(), "give each a paragraph in crates/server/src/docs/errors.md: {missing:#?}");
    let stale: Vec<_> = codes().filter(|c| !used.contains_key(*c) && !KINDS.contains(c)).collect();
    assert!(stale.is_empty(), "nothing gives these codes any more: {stale:#?}");
}

#[test]
fn paragraphs_are_in_order_and_say_something() {
    let text = include_str!("../docs/errors.md");
    let order: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(order.is_sorted(), "keep them in the order of the alphabet");
    for code in codes() {
        assert!(paragraph(code).is_some_and(|text| text.ends_with('.') && text.len() > 40), "{code}");
    }
}

#[test]
fn codes_of_others_have_the_page_of_their_kind() {
    for (code, kind) in [("AccessDenied", "aws"), ("1045", "mysql"), ("http_503", "http_status")] {
        assert_eq!(paragraph(code), paragraph(kind), "{code}");
    }
    assert_eq!(paragraph("nonsense"), None);
}

#[tokio::test]
async fn a_problem_leads_to_its_page_which_needs_no_session() {
    let bench = Bench::new().await;
    let answer = bench.get("/api/v1/runs").await;
    let problem: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    let kind = problem["type"].as_str().unwrap();
    let path = &kind[kind.find("/docs/errors/").unwrap()..];
    assert_eq!(path, "/docs/errors/signed_out");
    let page = bench.get(path).await;
    assert!(page.status == StatusCode::OK && page.text.contains("sign-in"), "{}", page.text);
    let all = bench.get("/docs/errors").await;
    assert!(codes().all(|code| all.text.contains(&format!("id=\"{code}\""))), "{}", all.text);
    assert_eq!(bench.get("/docs/errors/nonsense").await.status, StatusCode::NOT_FOUND);
}
