//! `firebreak inventory compare` against the simulated AWS, which tags what it has.

use std::process::{Command, Output};

use serde_json::{Value, json};
use sim::Sim;

use crate::kills::small_world;
use crate::served::inventory;

fn compare(config: &Value, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("firebreak.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
    command.args(["inventory", "compare", "--config"]).arg(file).args(args).output().unwrap()
}

#[test]
fn without_credentials_it_says_so_once_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("firebreak.yaml");
    std::fs::write(&file, json!({ "inventory": {} }).to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
    command.args(["inventory", "compare", "--region", "us-east-1", "--config"]).arg(file);
    let output = command.env_clear().env("AWS_EC2_METADATA_DISABLED", "true").output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("no AWS credentials") && told.contains("AWS_PROFILE"), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_offered_as_it_is_to_be_written_and_what_is_another_is_told() {
    let sim = Sim::start(small_world(), sim::Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let whole = inventory(&sim.world_info(), folder.path());
    let config = |inventory: &Value| json!({ "inventory": inventory, "aws": { "endpoint": sim.endpoint() } });
    let agreed = compare(&config(&whole), &[]);
    assert!(agreed.status.success(), "{}", said(&agreed));
    assert!(said(&agreed).contains("The inventory and AWS agree"), "{}", said(&agreed));

    // With nothing but a region to begin with, it writes the inventory.
    let region = whole["clusters"][0]["region"].as_str().unwrap();
    let empty = compare(&config(&json!({})), &["--region", region]);
    assert_eq!(empty.status.code(), Some(1), "{}", said(&empty));
    let offered = String::from_utf8(empty.stdout).unwrap();
    for cluster in whole["clusters"].as_array().unwrap() {
        let id = cluster["id"].as_str().unwrap();
        assert!(offered.contains(&format!("  - id: \"{id}\"")), "{offered}");
        assert!(offered.contains(&format!("endpoint: {}", cluster["endpoint"])), "{offered}");
    }
    assert!(offered.contains(&format!("group: {}", whole["fleets"][0]["group"])), "{offered}");

    let mut wrong = whole.clone();
    wrong["clusters"][0]["endpoint"] = json!("elsewhere.example.com");
    wrong["fleets"][0]["group"] = json!("another-asg");
    let told = compare(&config(&wrong), &["--json"]);
    assert_eq!(told.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let differences: Vec<&str> =
        told["differences"].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect();
    assert_eq!(differences.len(), 2, "{differences:#?}");
    assert!(differences[0].ends_with("not elsewhere.example.com"), "{differences:#?}");
    assert!(differences[1].contains("there is no group another-asg"), "{differences:#?}");
    assert!(sim.ledger().iter().all(|entry| !entry.mutating));
    let nowhere = compare(&config(&json!({})), &[]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(said(&nowhere).contains("give --region"), "{}", said(&nowhere));
}
