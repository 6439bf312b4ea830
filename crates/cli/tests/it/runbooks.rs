//! Every file in runbooks/ is sound, has a drill, and one with mistakes is refused with all of them.

use std::path::{Path, PathBuf};
use std::process::Command;

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
}
