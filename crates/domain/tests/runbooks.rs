//! The runbook language from the outside: the files of this repository, a file with everything wrong, and any text.

use std::fs;
use std::path::Path;

use domain::runbook::{self, Diagnostic};

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
