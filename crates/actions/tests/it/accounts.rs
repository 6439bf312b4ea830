//! Several accounts: each is looked at by one role and changed by another, and what cannot be assumed is told.

use std::collections::BTreeSet;

use actions::Settings;
use domain::action::ErrorClass;
use domain::inventory::{Account, AssumedRole, Cluster, Inventory};
use serde_json::{Value, json};
use sim::{Options, Sim, World};

use crate::harness::{Bench, GROUP, REGION, inventory, quick};

fn role(account: &str, name: &str) -> AssumedRole {
    AssumedRole { arn: format!("arn:aws:iam::{account}:role/{name}"), external_id: Some("agreed".into()) }
}

fn account(id: &str, number: &str) -> Account {
    Account {
        id: id.into(),
        observe: role(number, &format!("{id}-observe")),
        act: role(number, &format!("{id}-act")),
    }
}

/// The simulator's world, all of it in the account `us`, after `change`.
async fn bench(change: impl FnOnce(&mut Inventory)) -> (Sim, Bench) {
    let world = World { faults: Vec::new(), ..World::incident_2024_05_07() };
    let sim = Sim::start(world, Options { speed: 0.0, ..Options::default() }).await.unwrap();
    let (mut places, secrets) = inventory(&sim);
    places.accounts = vec![account("us", "111122223333")];
    places.clusters.iter_mut().for_each(|c| c.account = Some("us".into()));
    places.fleets.iter_mut().for_each(|f| f.account = Some("us".into()));
    change(&mut places);
    let settings =
        Settings { aws_endpoint: Some(sim.endpoint().to_owned()), probe: quick(), ..Settings::default() };
    let bench = Bench::new(places, settings, secrets).await;
    (sim, bench)
}

#[tokio::test]
async fn looks_go_by_one_role_and_changes_by_the_other() {
    let (sim, bench) = bench(|_| {}).await;
    let group = json!({ "region": REGION, "group": GROUP });
    let found = bench.look("autoscaling.describe_group", group).await.unwrap();
    bench
        .look("ec2.describe_instances", json!({ "region": REGION, "instances": found["ids"] }))
        .await
        .unwrap();
    let target_group = &found["target_groups"][0];
    bench
        .look("elbv2.target_health", json!({ "region": REGION, "target_group": target_group }))
        .await
        .unwrap();
    bench.look("cloudwatch.describe_alarms", json!({ "region": REGION })).await.unwrap();
    bench
        .change("autoscaling.scale_to", json!({ "region": REGION, "group": GROUP, "desired": 7 }))
        .await
        .unwrap();
    let failover = json!({ "region": REGION, "cluster": "shard-e", "target": "shard-e-2" });
    bench.change("rds.failover_cluster", failover).await.unwrap();

    let ledger = sim.ledger();
    let (assumed, asked): (Vec<_>, Vec<_>) = ledger.iter().partition(|e| e.service == "sts");
    for entry in &asked {
        let role = if entry.mutating { "role/us-act" } else { "role/us-observe" };
        assert_eq!(entry.caller, role, "{entry:?}");
    }
    let services: BTreeSet<&str> = asked.iter().map(|e| e.service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["autoscaling", "ec2", "elasticloadbalancing", "monitoring", "rds"]));
    assert!(asked.iter().filter(|e| e.mutating).count() == 2 && !assumed.is_empty());
    for entry in assumed {
        assert_eq!((entry.operation.as_str(), entry.caller.as_str()), ("AssumeRole", "firebreak"));
        assert_eq!(entry.params["ExternalId"], "agreed");
    }
}

#[tokio::test]
async fn a_role_that_does_not_trust_us_is_told_with_what_to_do() {
    // The simulated account knows nothing of roles of others.
    let (sim, bench) = bench(|places| places.accounts[0].act = role("444455556666", "us-act")).await;
    let error = bench
        .change("autoscaling.scale_to", json!({ "region": REGION, "group": GROUP, "desired": 7 }))
        .await
        .unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "role_not_assumed"), "{error:?}");
    assert!(error.message.contains("arn:aws:iam::444455556666:role/us-act"), "{error}");
    let remedy = error.remedy.unwrap();
    assert!(remedy.contains("trust policy") && remedy.contains("sts:AssumeRole"), "{remedy}");
    assert!(!sim.ledger().iter().any(|e| e.mutating));
}

#[tokio::test]
async fn where_a_region_is_used_in_two_accounts_the_step_says_which() {
    let (sim, bench) = bench(|places| {
        places.accounts.push(account("other", "111122223333"));
        places.clusters[0].account = Some("other".into());
    })
    .await;
    let mut input = json!({ "region": REGION });
    let error = bench.look("cloudwatch.describe_alarms", input.clone()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "which_account"));
    input["account"] = json!("other");
    bench.look("cloudwatch.describe_alarms", input.clone()).await.unwrap();
    assert_eq!(sim.ledger().last().unwrap().caller, "role/other-observe");
    input["account"] = json!("nobody");
    let error = bench.look("cloudwatch.describe_alarms", input).await.unwrap_err();
    assert_eq!(error.code, "not_in_inventory");
    // A cluster is known by itself.
    bench.look("rds.describe_cluster", json!({ "region": REGION, "cluster": "shard-a" })).await.unwrap();
    assert_eq!(sim.ledger().last().unwrap().caller, "role/other-observe");
}

#[tokio::test]
async fn the_same_identifier_in_two_accounts_is_looked_at_where_it_is_changed() {
    let (sim, bench) = bench(|places| {
        places.accounts.push(account("staging", "111122223333"));
        // The one in staging is listed first.
        let mut prod = places.clusters.iter().find(|c| c.id == "shard-e").unwrap().clone();
        prod.identifier = Some("shard-e".into());
        let staging = Cluster { id: "staging-e".into(), account: Some("staging".into()), ..prod.clone() };
        prod.id = "prod-e".into();
        places.clusters = vec![staging, prod];
        places.fleets[0].clusters = vec!["prod-e".into()];
    })
    .await;
    let cluster = |name: &str| json!({ "region": REGION, "cluster": name });
    let with = |more: Value| {
        let mut input = cluster("prod-e");
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    bench.look("rds.describe_cluster", cluster("prod-e")).await.unwrap();
    bench.look("rds.failover_events", cluster("prod-e")).await.unwrap();
    let tier = json!({ "instance": "shard-e-2", "tier": 0 });
    bench.change("rds.set_promotion_tier", with(tier)).await.unwrap();
    bench.change("rds.failover_cluster", with(json!({ "target": "shard-e-2" }))).await.unwrap();
    let busy = with(json!({ "instance": "shard-e-2", "class": "db.r6i.12xlarge" }));
    assert_eq!(bench.change("rds.modify_instance_class", busy).await.unwrap_err().code, "cluster_busy");
    let by_us = |caller: &str| caller == "firebreak" || caller.starts_with("role/us-");
    let astray: Vec<_> = sim.ledger().into_iter().filter(|e| !by_us(&e.caller)).collect();
    assert!(astray.is_empty(), "{astray:#?}");

    // The other one is still to be had, and by the identifier nobody can tell which is meant.
    bench.look("rds.describe_cluster", cluster("staging-e")).await.unwrap();
    assert_eq!(sim.ledger().last().unwrap().caller, "role/staging-observe");
    let error = bench.look("rds.describe_cluster", cluster("shard-e")).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "which_account"));
    assert!(error.remedy.unwrap().contains("staging-e, prod-e"));
}
