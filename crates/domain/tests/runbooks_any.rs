//! Any text, and any mutation of a real runbook: read, or refused with places that exist; never a panic.

use domain::runbook::{self, Expr, Pos};
use proptest::prelude::*;

const REAL: &str = include_str!("../../../runbooks/replace-proxysql.yaml");

fn reads_or_refuses(text: &str) {
    match runbook::parse("replace-proxysql.yaml", text) {
        Ok(book) => assert_eq!(&*book.source, text),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            for mistake in &mistakes {
                let Pos { line, column, len } = mistake.pos;
                assert!(line >= 1 && column >= 1 && len >= 1, "{mistake}");
                let found = text.split('\n').nth(line - 1);
                assert!(found.is_some_and(|l| column <= l.chars().count() + 1), "{mistake}");
                assert!(!mistake.what.is_empty() && !mistake.remedy.is_empty());
            }
            assert!(runbook::render("x.yaml", text, &mistakes, false).starts_with("error: "));
        }
    }
}

/// Pieces that mean something to YAML, to templates or to CEL.
const PIECES: [&str; 28] = [
    "${", "}", "\"", "'", ": ", "\n", "\t", "  ", "- ", "[", "]", "{", "|", ">-", "&a", "*a", "<<: ",
    "!!str ", "#", "%", "?", "\u{0}", "é", "\u{feff}", "---\n", "$${", "\\", "\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "(?s).{0,400}") {
        reads_or_refuses(&text);
    }

    #[test]
    fn text_of_meaningful_pieces(pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..60)) {
        reads_or_refuses(&pieces.concat());
        reads_or_refuses(&format!("runbook: x\nsteps:\n  - id: a\n    value: {}", pieces.concat()));
    }

    #[test]
    fn a_real_runbook_with_something_put_in(at in 0..REAL.len(), piece in proptest::sample::select(&PIECES[..]), cut in 0..40_usize) {
        let at = (0..=at).rev().find(|at| REAL.is_char_boundary(*at)).unwrap_or(0);
        let rest: String = REAL[at..].chars().skip(cut).collect();
        reads_or_refuses(&format!("{}{piece}{rest}", &REAL[..at]));
    }

    #[test]
    fn any_expression(source in "[a-z.()\\[\\]{}'\"!&|=<>+*/%?:, 0-9é\\\\-]{0,80}") {
        if let Ok(expr) = Expr::parse(&source) {
            let _ = expr.eval(&runbook::Scope::default());
            let _ = expr.facts(&runbook::Scope::default());
        }
    }
}

#[test]
fn reading_the_same_text_gives_the_same_runbook() {
    let (a, b) = (
        runbook::parse("replace-proxysql.yaml", REAL).unwrap(),
        runbook::parse("replace-proxysql.yaml", REAL).unwrap(),
    );
    assert_eq!(a.hash, b.hash);
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
    assert_eq!(a.hash.len(), 64);
}

#[test]
fn huge_and_deep_files_are_refused_quickly() {
    for text in [
        "a".repeat(2 << 20),
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        format!("a: {}", "&x ".repeat(1000)),
        (0..40_000).map(|i| format!("key{i}: value\n")).collect::<String>(),
        format!("runbook: x\nwhen: \"{}\"", "\\n".repeat(200_000)),
    ] {
        assert!(runbook::parse("x.yaml", &text).is_err());
    }
}
