//! Every file in runbooks/ is sound, has a drill, and one with mistakes is refused with all of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use sim::{Options, Sim};

use crate::kills::small_world;
use crate::served::{PATIENCE, Served};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runbooks")
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_runbook_passes_the_check_against_the_real_actions() {
    let output = Command::new(env!("CARGO_BIN_EXE_firebreak"))
        .args(["runbook", "check"])
        .args(yaml_files(&root()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

const BROKEN: &str = r#"runbook: broken
title: A runbook with mistakes
when: Never
risk: medium
inputs:
  fleet: { type: proxy_fleet, description: Which }
locks: ["fleet:${inputs.fleet.id}"]
stepz: []
steps:
  - id: group
    use: autoscaling.describe_grup
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}" }
  - id: look
    use: autoscaling.describe_group
    with: { region: "${inputs.fleet.region}", group: 5 }
    until: size(out.in_service) > 0
  - id: guard
    assert: steps.lok.desired > 0
    message: none
  - id: protect
    use: autoscaling.protect_instances
    with: { region: "${inputs.fleet.region}", group: "${inputs.fleet.group}", instances: [], protected: true }
"#;

#[test]
fn a_runbook_with_mistakes_is_refused_with_every_place_reason_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_firebreak"))
            .args(["runbook", "check"])
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    };
    let parse = check(BROKEN);
    for (place, reason) in [("broken.yaml:8:1", "stepz"), ("broken.yaml:16:", "timeout")] {
        assert!(parse.contains(place) && parse.contains(reason), "{place} {reason}:\n{parse}");
    }
    let sound = BROKEN
        .replace("stepz: []\n", "")
        .replace("> 0\n  - id: guard", "> 0\n    timeout: 1m\n  - id: guard");
    let checked = check(&sound);
    for (place, reason) in [
        ("broken.yaml:10:", "describe_group"),
        ("broken.yaml:14:", "group"),
        ("broken.yaml:18:", "lok"),
        ("broken.yaml:22:", "empty"),
    ] {
        assert!(checked.contains(place) && checked.contains(reason), "{place} {reason}:\n{checked}");
    }
    assert!(checked.matches("help:").count() >= 4, "{checked}");
    // A slip in its head hides nothing of what its steps name.
    let both = check(&sound.replace("risk: medium", "risk: mediun"));
    for (place, reason) in [("broken.yaml:4:", "mediun"), ("broken.yaml:18:", "lok")] {
        assert!(both.contains(place) && both.contains(reason), "{place} {reason}:\n{both}");
    }
}

#[test]
fn a_file_that_is_not_there_keeps_nobody_from_hearing_about_the_others() {
    let sound = root().join("diagnose-logins.yaml");
    let (code, said) = firebreak(&["runbook", "check", "nowhere/nothing.yaml", sound.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("nowhere/nothing.yaml: cannot be read") && said.contains("logins.yaml: ok"),
        "{said}"
    );
}

#[test]
fn a_folder_stands_for_the_runbooks_in_it() {
    let (code, said) = firebreak(&["runbook", "check", root().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let yaml = |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml");
    let files = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path()).filter(yaml);
    assert_eq!(said.matches(": ok").count(), files.count(), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let (code, said) = firebreak(&["runbook", "check", empty.path().to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("has no runbook in it"), "{code:?}: {said}");
}

fn firebreak(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_firebreak")).args(args).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[test]
fn the_schema_beside_the_runbooks_is_that_of_the_language() {
    let file = root().join("runbook.schema.json");
    let (code, said) = firebreak(&["runbook", "schema", "--check", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
}

/// A validator of other people, which moto brings along; it reads YAML as editors do.
const VALIDATE: &str = r#"
import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
for file in sys.argv[2:]:
    for error in validator.iter_errors(yaml.safe_load(open(file))):
        print(file, list(error.absolute_path), error.message[:300])
"#;

#[test]
fn editors_accept_every_runbook_and_mark_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let validate = |files: &[PathBuf]| {
        let moto = std::env::var("FIREBREAK_MOTO").expect("run the tests with `cargo xtask test`");
        let output = Command::new("python3")
            .args(["-c", VALIDATE])
            .arg(root().join("runbook.schema.json"))
            .args(files)
            .env("PYTHONPATH", moto)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let sound = yaml_files(&root());
    assert_eq!(validate(&sound), "");
    let text = std::fs::read_to_string(root().join("failover-cluster.yaml")).unwrap();
    let first = text.find("    use: ").unwrap();
    let end = first + text[first..].find('\n').unwrap();
    for (wrong, place) in [
        (format!("stepz: []\n{text}"), "stepz"),
        (format!("{}    use: rds.describe_clutser{}", &text[..first], &text[end..]), "clutser"),
        (text.replacen("    with: {", "    with: { groop: g,", 1), "groop"),
        (text.replace("risk: severe", "risk: sever"), "sever"),
        (text.replacen("    timeout: 3m\n", "    timeout: 3m\n    assert: true\n", 1), "oneOf"),
    ] {
        let file = folder.path().join("wrong.yaml");
        std::fs::write(&file, wrong).unwrap();
        let said = validate(&[file]);
        assert!(!said.is_empty() && (place == "oneOf" || said.contains(place)), "{place}: {said}");
    }
}

/// The guard `sick` of `failover-cluster`.
const SICK: &str = "assert: inputs.planned || steps.ways.exists(w, w.logins.direct_failures > 0)\n";

#[test]
fn a_version_is_compared_with_another_by_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let current = root().join("failover-cluster.yaml");
    let current = current.to_str().unwrap();
    let text = std::fs::read_to_string(current).unwrap();
    let other = folder.path().join("another-name.yaml");
    let other = other.to_str().unwrap();

    std::fs::write(other, format!("# moved\n{}", text.replace("\n  - id:", "\n\n  - id:"))).unwrap();
    assert_eq!(firebreak(&["runbook", "diff", current, other]), (Some(0), String::new()));
    assert_eq!(firebreak(&["runbook", "diff", other]).0, Some(0), "against the embedded one");

    std::fs::write(other, text.replace(SICK, "assert: true\n")).unwrap();
    let (code, said) = firebreak(&["runbook", "diff", current, other]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("~ step sick, assert:") && said.contains("+ true"), "{said}");
    let (_, said) = firebreak(&["runbook", "diff", "--json", other]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&found[0]["of"], &found[0]["key"]), (&"step sick".into(), &"assert".into()));

    std::fs::write(other, "runbook: x\n").unwrap();
    assert_eq!(firebreak(&["runbook", "diff", current, other]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_runbooks_is_read_again_when_it_is_asked_for_and_by_itself() {
    let text = |title: &str| {
        format!(
            "runbook: tell\ntitle: {title}\nwhen: In a test.\nrisk: low\nsteps:\n  - {{ id: one, value: 1 }}\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tell.yaml");
    std::fs::write(&file, text("First")).unwrap();
    let sim = Sim::start(small_world(), Options::default()).await.unwrap();
    let served = Served::on_with(&sim, &json!({ "runbooks": folder.path() })).await;
    let person = served.person().await;
    let told = async |is: &dyn Fn(&Value) -> bool| {
        let end = Instant::now() + PATIENCE;
        loop {
            let told = person.get("/api/v1/runbooks/tell").await;
            if is(&told) {
                return told;
            }
            assert!(Instant::now() < end, "it stays {told}");
        }
    };
    // Asked for: at once. A text with mistakes is refused, loudly, and the last good one stays.
    std::fs::write(&file, text("Second")).unwrap();
    served.hang_up();
    told(&|told| told["title"] == "Second").await;
    std::fs::write(&file, text("Third").replace("value:", "valeu:")).unwrap();
    served.hang_up();
    let refused = told(&|told| !told["refused"].is_null()).await;
    assert_eq!(refused["title"], "Second");
    let page = person.text("/runbooks/tell").await;
    assert!(page.contains("id=\"refused\"") && page.contains("last good version"), "{page}");
    // By itself.
    std::fs::write(&file, text("Fourth")).unwrap();
    let mended = told(&|told| told["title"] == "Fourth").await;
    assert!(mended["refused"].is_null(), "{mended}");
    // A folder that is empty is not mounted.
    std::fs::remove_file(&file).unwrap();
    served.hang_up();
    std::fs::write(folder.path().join("other.yaml"), text("Fifth").replace("tell", "other")).unwrap();
    served.hang_up();
    let end = Instant::now() + PATIENCE;
    while !person.text("/runbooks").await.contains("Fifth") {
        assert!(Instant::now() < end, "the new file is never seen");
    }
    let audit = person.get("/api/v1/audit?actor=reload").await.to_string();
    for action in ["runbook changed", "runbook refused", "runbook added", "runbook removed"] {
        assert!(audit.contains(action), "{action}: {audit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_edit_of_a_runbook_keeps_a_server_from_starting_or_from_coming_back() {
    let folder = tempfile::tempdir().unwrap();
    let text = "runbook: tell\ntitle: Tell\nwhen: In a test.\nrisk: low\nsteps:\n  - { id: one, value: 1 }\n";
    std::fs::write(folder.path().join("tell.yaml"), text).unwrap();
    // As an editor marks what it has open.
    std::os::unix::fs::symlink("nobody@nowhere", folder.path().join(".#tell.yaml")).unwrap();
    let sim = Sim::start(small_world(), Options::default()).await.unwrap();
    let more = json!({
        "runbooks": folder.path(),
        "triggers": { "tell/renamed": "ask" },
        "policies": { "tall": { "start": { "people": ["ada"] } } },
    });
    let mut served = Served::on_with(&sim, &more).await;
    let person = served.person().await;
    for page in ["/runbooks", "/triggers"] {
        let page = person.text(page).await;
        assert!(page.contains("id=\"dangling\"") && page.contains("tell/renamed"), "{page}");
        assert!(page.contains("did you mean") && page.contains("`tell`"), "{page}");
    }
    let doctor = served.told(&["doctor", "--json"]);
    let doctor: Value = serde_json::from_str(&doctor).unwrap();
    let told =
        |what: &str| doctor["findings"].as_array().unwrap().iter().find(|f| f["what"] == what).unwrap();
    assert_eq!(
        (&told("triggers")["state"], &told("policies")["state"]),
        (&json!("warning"), &json!("failed"))
    );

    // It starts itself anew while a file cannot be read: what is on its shelf stays.
    let worker = async || -> i64 {
        sqlx::query_scalar("SELECT max(id) FROM worker").fetch_one(served.db.pool()).await.unwrap()
    };
    let before = worker().await;
    std::os::unix::fs::symlink("nowhere", folder.path().join("other.yaml")).unwrap();
    sqlx::query("UPDATE worker SET lease_until = now() - interval '1 hour'")
        .execute(served.db.pool())
        .await
        .unwrap();
    let (end, client) = (Instant::now() + PATIENCE, crate::served::http());
    let ready = format!("{}/readyz", served.url);
    while worker().await == before || !client.get(&ready).send().await.is_ok_and(|a| a.status().is_success())
    {
        assert!(Instant::now() < end, "it does not come back");
    }
    assert_eq!(person.get("/api/v1/runbooks/tell").await["title"], "Tell");

    // Nobody may sign in with what lands in a log.
    std::fs::remove_file(folder.path().join("other.yaml")).unwrap();
    served.kill();
    let said = served.greeting(&[], "firebreak sign-in");
    assert!(said.contains("--role admin --config ") && !said.contains("http"), "{said}");
}
