//! The drills, head-less, as `firebreak drill` prints it.

use std::process::Command;

use serde_json::Value;

fn drill(args: &[&str]) -> (bool, Value) {
    drill_file("runbooks/drills/2024-05-07.yaml", args)
}

fn drill_file(file: &str, args: &[&str]) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_firebreak"))
        .args(["drill", file, "--json"])
        .args(args)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let score = serde_json::from_str(&stdout)
        .unwrap_or_else(|e| panic!("{e}: {stdout}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), score)
}

/// The decision fell when it should. A busy machine wakes up a little late, and a sixtieth of a second is one here.
fn decided_at(score: &Value, seconds: i64) {
    let decided = score["seconds_trigger_to_decision"].as_i64().unwrap();
    assert!((seconds..seconds + 60).contains(&decided), "decided after {decided} s instead of {seconds}");
}

#[test]
fn nobody_acts_and_the_incident_does_not_heal() {
    let (passed, score) = drill(&[]);
    assert!(passed, "{score:#}");
    assert_eq!(score["recovered"], false);
    assert!(score["error_share_peak"].as_f64().unwrap() > 0.5);
    assert!(score["error_share_at_end"].as_f64().unwrap() > 0.5);
    assert_eq!(score["changes"].as_array().unwrap().len(), 0);
    assert_eq!(score["run_id"], Value::Null);
}

#[test]
fn the_runbook_recovers_it_and_nobody_is_worse_off_for_a_moment() {
    let (passed, score) = drill(&["--act"]);
    assert!(passed, "{score:#}");
    assert_eq!(score["recovered"], true);
    decided_at(&score, score["real"]["seconds_trigger_to_decision"].as_i64().unwrap());
    let (ours, theirs) =
        (&score["seconds_decision_to_recovered"], &score["real"]["seconds_decision_to_recovered"]);
    assert!(ours.as_i64() < theirs.as_i64(), "{ours} against {theirs}");
    assert_eq!(score["unexpected_changes"].as_array().unwrap().len(), 0);
    // Suspend, raise the maximum, launch, protect; pause and terminate six; take the first, second and fourth back.
    assert_eq!(score["changes"].as_array().unwrap().len(), 4 + 6 * 2 + 3, "{score:#}");
    assert!(score["run_id"].is_string());
}

#[test]
fn acting_at_once_spares_most_of_it() {
    let (passed, score) = drill(&["--act-after", "3m"]);
    assert!(passed, "{score:#}");
    decided_at(&score, 180);
    assert!(score["error_share_peak"].as_f64().unwrap() < 0.4, "{score:#}");
}

fn play(name: &str, args: &[&str]) -> Value {
    let (passed, score) = drill_file(&format!("runbooks/drills/{name}.yaml"), args);
    assert!(passed, "{score:#}");
    score
}

#[test]
fn another_writer_heals_a_cluster_whose_writer_is_exhausted() {
    let score = play("writer-exhausted", &["--act"]);
    assert_eq!(score["recovered"], true);
    assert_eq!(score["changes"].as_array().unwrap().len(), 1);
}

#[test]
fn an_exhausted_writer_does_not_heal_by_itself() {
    let score = play("writer-exhausted", &[]);
    assert_eq!((&score["recovered"], &score["run_id"]), (&Value::Bool(false), &Value::Null));
}

#[test]
fn a_failover_that_goes_back_is_told_as_what_it_is_and_not_repeated() {
    let score = play("failover-reverted", &["--act"]);
    assert!(score["run"]["message"].as_str().unwrap().contains("Reverted"), "{score:#}");
}

#[test]
fn the_failover_that_people_prepared_on_7_may_is_refused_and_the_right_runbook_named() {
    let score = play("wrong-failover", &["--act"]);
    assert_eq!(score["changes"].as_array().unwrap().len(), 0);
}

#[test]
fn without_a_reader_nothing_is_failed_over() {
    play("failover-without-reader", &["--act"]);
}
