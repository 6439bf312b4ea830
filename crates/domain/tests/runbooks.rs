//! The runbook language from the outside: the files of this repository, files with everything wrong, and any text.

mod runbooks_support;

use std::fs;
use std::path::Path;

use domain::runbook::{self, Diagnostic};
use runbooks_support::registry;

fn drawn(file_name: &str, text: &str, mistakes: &[Diagnostic]) -> String {
    runbook::render(file_name, text, mistakes, false)
}

#[test]
fn every_runbook_of_the_repository_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runbooks");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Err(mistakes) = runbook::parse(name, &text) {
            panic!("{}", drawn(name, &text, &mistakes));
        }
        read += 1;
    }
    assert!(read > 0, "no runbooks found");
}

#[test]
fn the_checker_finds_nothing_in_a_sound_runbook() {
    let text = include_str!("../../../runbooks/replace-proxysql.yaml");
    let book = runbook::parse("replace-proxysql.yaml", text).unwrap();
    let mistakes = runbook::check(&book, &registry());
    assert!(mistakes.is_empty(), "{}", drawn("replace-proxysql.yaml", text, &mistakes));
}

#[test]
fn every_mistake_of_form_is_shown_at_its_place() {
    let text = include_str!("runbooks_support/bad-form.yaml");
    let mistakes = runbook::parse("bad-form.yaml", text).unwrap_err();
    insta::assert_snapshot!(drawn("bad-form.yaml", text, &mistakes));
}

#[test]
fn every_mistake_of_meaning_is_shown_at_its_place() {
    let text = include_str!("runbooks_support/bad-names.yaml");
    let book = runbook::parse("bad-names.yaml", text)
        .unwrap_or_else(|mistakes| panic!("{}", drawn("bad-names.yaml", text, &mistakes)));
    let mistakes = runbook::check(&book, &registry());
    insta::assert_snapshot!(drawn("bad-names.yaml", text, &mistakes));
}

#[test]
fn what_is_not_a_plain_record_of_yaml_is_refused_with_a_remedy() {
    let told: Vec<String> = [
        "",
        "- a list",
        "just text",
        "runbook: x\n\ttitle: y",
        "runbook: [a, b\ntitle: y",
        "runbook: \"open",
        "runbook: x: y",
        "runbook: x\n  title: y\n when: z",
        "runbook: &anchor x",
        "a: &x 1\nb: *x",
        "a: *unknown",
        "<<: { a: b }",
        "title: !!str 5",
        "title: @x",
        "a: 1\n---\nb: 2",
        "{a, b}: c",
        "a: 1\na: 2",
        "a: \u{1}",
    ]
    .into_iter()
    .map(|text| {
        let mistakes = runbook::parse("x.yaml", text).unwrap_err();
        let yaml: Vec<_> = mistakes
            .iter()
            .filter(|m| !m.what.contains("is missing") && !m.what.contains("has no key"))
            .map(ToString::to_string)
            .collect();
        format!("{text:?}\n    {}", yaml.join("\n    "))
    })
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}
