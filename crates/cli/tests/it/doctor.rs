//! `firebreak doctor` looks at the outside with the server's own eyes.

use std::time::Instant;

use serde_json::{Value, json};
use sim::Sim;

use crate::kills::small_world;
use crate::served::{PATIENCE, Served, inventory};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_what_of_the_inventory_aws_does_not_show_and_that_nobody_measures_the_symptom() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut named = inventory(&sim.world_info(), folder.path());
    let region = named["fleets"][0]["region"].as_str().unwrap().to_owned();
    let server = async |named: &Value, query: &str| {
        let symptom = json!({ "prometheus": sim.endpoint(), "error_share": query });
        Served::on_with(&sim, &json!({ "inventory": named, "symptom": symptom })).await
    };
    let all = named["fleets"].as_array().unwrap().len() + named["clusters"].as_array().unwrap().len();
    let served = server(&named, "cluster:request_error_share").await;
    // The metrics begin a moment after the world.
    let end = Instant::now() + PATIENCE;
    let report = loop {
        let report = examine(&served);
        if of(&report, "symptom")[0]["state"] == "ok" {
            break report;
        }
        assert!(Instant::now() < end, "{report:#}");
    };
    assert_eq!(report["sound"], true, "{report:#}");
    let aws = of(&report, "aws");
    let says = format!("{region}: {all} of the inventory's fleets and clusters are seen");
    assert_eq!((aws.len(), &aws[0]["state"], &aws[0]["says"]), (1, &json!("ok"), &json!(says)));

    named["fleets"][0]["group"] = "proxysql-of-yesterday".into();
    let report = examine(&server(&named, "nobody_measures_this").await);
    assert_eq!(report["sound"], false, "{report:#}");
    let (aws, fleet) = (of(&report, "aws"), named["fleets"][0]["id"].as_str().unwrap());
    assert_eq!(aws.iter().map(|found| &found["state"]).collect::<Vec<_>>(), ["ok", "failed"]);
    let says = aws[1]["says"].as_str().unwrap();
    assert!(says.starts_with(&format!("{region}: {fleet} cannot be seen: ")), "{says}");
    assert!(says.contains("proxysql-of-yesterday"), "{says}");
    assert!(!aws[1]["remedy"].as_str().unwrap().is_empty());
    assert_eq!(of(&report, "symptom")[0]["state"], "warning", "{report:#}");
}

fn examine(served: &Served) -> Value {
    serde_json::from_str(&served.told(&["doctor", "--json"])).unwrap()
}

/// What was found of it.
fn of(report: &Value, what: &str) -> Vec<Value> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["what"] == what).cloned().collect()
}
