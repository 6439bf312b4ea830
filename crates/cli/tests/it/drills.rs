//! The drill, head-less, as `firebreak drill` prints it.

use std::process::Command;

use serde_json::Value;

fn drill(args: &[&str]) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_firebreak"))
        .args(["drill", "runbooks/drills/2024-05-07.yaml", "--json"])
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
