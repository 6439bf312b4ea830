//! The rules of the house that no compiler knows: who may depend on whom, what lies where, and how large it may grow.
//!
//! Each rule is one test, and each complaint says what to do. What clippy can forbid is left to clippy.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends with what it did not expect")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use toml::{Table, Value};

/// Folder, package, the crates of ours that it may use, and what it may never use (by beginning of name).
const ARROWS: [(&str, &str, &[&str], &[&str]); 8] = [
    ("domain", "domain", &[], &["sqlx", "tokio", "axum", "reqwest", "aws-"]),
    ("store", "store", &["domain"], &["axum", "reqwest", "aws-"]),
    ("engine", "engine", &["domain", "store"], &["sqlx", "axum", "reqwest", "aws-"]),
    ("actions", "actions", &["domain"], &["axum"]),
    ("server", "server", &["domain", "store", "engine"], &["sqlx", "reqwest", "aws-"]),
    ("sim", "sim", &[], &["sqlx", "reqwest", "aws-"]),
    ("cli", "firebreak", &["domain", "store", "engine", "actions", "server", "sim"], &["aws-"]),
    ("xtask", "xtask", &[], &["tokio", "sqlx", "axum", "reqwest", "aws-"]),
];

/// Tests may also use the simulator, which knows nothing of ours, call a server and look into the database; those of the
/// binary, which go through the real surface, may use anything.
const FOR_TESTS: [&str; 3] = ["sim", "reqwest", "sqlx"];

const TOP: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "crates",
    "deploy",
    "migrations",
    "runbooks",
    "target",
    "web",
];

const VAGUE: [&str; 5] = ["common", "utils", "errors", "types", "config"];

const LONGEST_FILE: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn manifest(folder: &str) -> Table {
    let path = root().join("crates").join(folder).join("Cargo.toml");
    fs::read_to_string(&path).unwrap().parse().unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The dependencies of one kind, those for single platforms included.
fn dependencies(manifest: &Table, kind: &str) -> BTreeSet<String> {
    let mut tables: Vec<&Table> = vec![manifest];
    if let Some(Value::Table(targets)) = manifest.get("target") {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    let found = tables.iter().filter_map(|t| t.get(kind)?.as_table());
    found.flat_map(|t| t.iter().map(real_name)).collect()
}

/// A dependency may have been given another name.
fn real_name((name, value): (&String, &Value)) -> String {
    value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned()
}

/// Every text file of ours below a folder.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        // `.git` is a file where another checkout keeps it.
        if matches!(name.as_str(), ".git" | "target") {
            continue;
        }
        if path.is_dir() {
            if !path.join("CACHEDIR.TAG").exists() {
                found.extend(texts(&path));
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path, text));
        }
    }
    found
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let mut all = texts(&root().join("crates"));
    all.retain(|(path, _)| path.extension().is_some_and(|e| e == "rs"));
    all
}

fn is_test_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests")
        || path.components().any(|c| matches!(c.as_os_str().to_str(), Some("tests" | "examples" | "benches")))
}

/// The text above the tests.
fn product(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn assert_tidy(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_crate_is_in_the_table() {
    let known: BTreeSet<String> = ARROWS.iter().map(|(folder, ..)| (*folder).to_owned()).collect();
    assert_eq!(
        names(&root().join("crates")),
        known,
        "a new crate needs a line in ARROWS and in the code map"
    );
    for (folder, package, ..) in ARROWS {
        assert_eq!(manifest(folder)["package"]["name"].as_str(), Some(package), "crates/{folder}");
    }
    for vague in VAGUE {
        assert!(!known.contains(vague), "`{vague}` says nothing: name the crate for what it knows");
    }
}

#[test]
fn no_crate_uses_what_it_must_not() {
    let mut complaints = Vec::new();
    let ours: Vec<&str> = ARROWS.iter().map(|(_, package, ..)| *package).collect();
    for (folder, package, may, never) in ARROWS {
        let manifest = manifest(folder);
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let for_tests = kind == "dev-dependencies";
            if for_tests && package == "firebreak" {
                continue;
            }
            for name in dependencies(&manifest, kind) {
                let name = name.as_str();
                let refused = ours.contains(&name) && !may.contains(&name)
                    || never.iter().any(|never| name.starts_with(never));
                if refused && !(for_tests && FOR_TESTS.contains(&name)) {
                    complaints.push(format!("crates/{folder}/Cargo.toml: [{kind}] {name} is an arrow that the architecture does not have"));
                }
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn every_crate_obeys_the_workspace() {
    let mut complaints = Vec::new();
    for (folder, ..) in ARROWS {
        let manifest = manifest(folder);
        if manifest.get("lints").and_then(|l| l.get("workspace")).and_then(Value::as_bool) != Some(true) {
            complaints.push(format!("crates/{folder}/Cargo.toml: has no `[lints] workspace = true`"));
        }
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let Some(table) = manifest.get(kind).and_then(Value::as_table) else { continue };
            for (name, value) in table {
                if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                    complaints.push(format!("crates/{folder}/Cargo.toml: {name} belongs into [workspace.dependencies], where versions are"));
                }
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn nothing_new_lies_at_the_top() {
    let extra: Vec<String> = names(&root())
        .into_iter()
        .filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()))
        .filter(|name| !root().join(name).join("CACHEDIR.TAG").exists())
        .map(|name| format!("{name}: has no place at the top; the architecture says where things go"))
        .collect();
    assert_tidy(&extra);
}

#[test]
fn no_file_has_outgrown_its_purpose() {
    let mut complaints = Vec::new();
    for (path, text) in rust_files() {
        let lines = product(&text).lines().count();
        if !is_test_file(&path) && lines > LONGEST_FILE {
            complaints
                .push(format!("{}: {lines} lines without tests; which two purposes has it?", shown(&path)));
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn every_module_tells_its_story() {
    let silent: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| format!("{}: begins without `//!`: what is it for?", shown(&path)))
        .collect();
    assert_tidy(&silent);
}

#[test]
fn an_exception_from_a_lint_gives_its_reason() {
    let mut complaints = Vec::new();
    for (path, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if ["#[allow(", "#![allow("].iter().any(|allow| line.starts_with(allow)) {
                let place = format!("{}:{}", shown(&path), number + 1);
                complaints.push(format!(
                    "{place}: `#[expect(.., reason = \"..\")]` also tells when it is no longer needed"
                ));
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn time_is_passed_in() {
    let mut complaints = Vec::new();
    for (path, text) in rust_files() {
        let place = shown(&path);
        let may =
            ["crates/cli/", "crates/xtask/", "crates/engine/src/clock.rs", "crates/actions/src/wall.rs"]
                .iter()
                .any(|p| place.starts_with(p));
        if may || is_test_file(&path) {
            continue;
        }
        for (number, line) in product(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("SystemTime::now") || code.contains("Utc::now") {
                complaints.push(format!(
                    "{place}:{}: take a `domain::Clock`, so that a test can travel",
                    number + 1
                ));
            }
        }
    }
    assert_tidy(&complaints);
}

#[test]
fn no_text_names_somebodys_own_machine() {
    // Put together here, so that this file passes.
    let paths = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];
    let mut complaints = Vec::new();
    for (path, text) in texts(&root()) {
        for (number, line) in text.lines().enumerate() {
            if let Some(found) = paths.iter().find(|p| names_path(line, p)) {
                complaints.push(format!(
                    "{}:{}: {found} is a folder of one machine only",
                    shown(&path),
                    number + 1
                ));
            }
        }
    }
    assert_tidy(&complaints);
}

/// Whether the line has this absolute path, and not the same word further down in another one.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-*{}~".contains(before))
    })
}

/// The AWS SDK takes minutes and gigabytes to compile. It is compiled once only if building the binary asks for the same
/// features of it, and of all that it stands on, as building everything with its tests.
#[test]
fn the_demo_and_the_tests_share_one_aws_sdk() {
    let asked = tree(&["--package", "actions", "--edges", "normal", "--depth", "1"], "{p}");
    let named: Vec<&str> = asked
        .iter()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("aws-"))
        .collect();
    assert!(named.contains(&"aws-sdk-ec2"), "{named:?}");
    let mut of: Vec<&str> = vec!["--edges", "normal,build"];
    of.extend(named.iter().flat_map(|name| ["--package", name]));
    let sdk: BTreeSet<String> = tree(&of, "{p}").into_iter().collect();
    let below = |of: &[&str]| -> BTreeSet<String> {
        let lines = tree(of, "{p}|{f}").into_iter();
        lines.filter(|line| line.split('|').next().is_some_and(|package| sdk.contains(package))).collect()
    };
    let demo = below(&["--package", "firebreak", "--edges", "normal,build"]);
    let tests = below(&["--workspace", "--edges", "normal,build,dev"]);
    let differ: Vec<String> = demo.symmetric_difference(&tests).map(|line| format!("  {line}")).collect();
    assert!(
        differ.is_empty(),
        "\nThe binary and the tests ask for different features, so that the AWS SDK would be compiled twice:\n{}\n\
         Ask for the larger set in a crate that the binary uses.\n",
        differ.join("\n")
    );
}

fn tree(of: &[&str], format: &str) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["tree", "--locked", "--prefix", "none", "--format", format]).args(of);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").trim().to_owned())
        .filter(|l| !l.is_empty())
        .collect()
}
