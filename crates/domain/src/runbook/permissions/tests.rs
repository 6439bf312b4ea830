//! Policies for an inventory, whole and with things missing.

use serde_json::json;

use super::*;
use crate::inventory::{Account, AssumedRole, Cluster, Credentials, ProxyFleet, SecretRef};

fn inventory() -> Inventory {
    let account = || Credentials { user: "u".into(), password: SecretRef::Env("P".into()) };
    let cluster = |id: &str, identifier: Option<&str>, region: &str| Cluster {
        id: id.into(),
        region: region.into(),
        account: None,
        identifier: identifier.map(str::to_owned),
        endpoint: "h".into(),
        port: 3306,
        customers_percent: 1.0,
        max_connections: 0,
        probe: account(),
    };
    let fleet = ProxyFleet {
        id: "proxies".into(),
        region: "us-east-1".into(),
        account: None,
        group: "proxies-asg".into(),
        target_group: None,
        port: 6033,
        admin_port: 6032,
        admin: account(),
        clusters: vec!["a".into()],
        backend_connections: 400,
    };
    let clusters = vec![cluster("a", Some("prod-a"), "us-east-1"), cluster("b", None, "cn-north-1")];
    Inventory { account: Some("111122223333".into()), accounts: Vec::new(), clusters, fleets: vec![fleet] }
}

const ALL: [&str; 4] = [
    "autoscaling:SetDesiredCapacity",
    "ec2:DescribeInstances",
    "rds:FailoverDBCluster",
    "rds:DescribeDBInstances",
];

#[test]
fn a_statement_names_what_the_inventory_has_and_no_more() {
    let permissions = policy(ALL, Some(&inventory())).unwrap();
    assert_eq!(
        serde_json::to_value(&permissions.policy).unwrap(),
        json!({ "Version": "2012-10-17", "Statement": [
            {
                "Sid": "LookEc2", "Effect": "Allow", "Action": ["ec2:DescribeInstances"], "Resource": ["*"],
                "Condition": { "StringEquals": { "aws:RequestedRegion": ["cn-north-1", "us-east-1"] } },
            },
            {
                "Sid": "LookRdsInstances", "Effect": "Allow", "Action": ["rds:DescribeDBInstances"],
                "Resource": ["arn:aws-cn:rds:cn-north-1:111122223333:db:*", "arn:aws:rds:us-east-1:111122223333:db:*"],
            },
            {
                "Sid": "ChangeAutoScalingGroups", "Effect": "Allow", "Action": ["autoscaling:SetDesiredCapacity"],
                "Resource": ["arn:aws:autoscaling:us-east-1:111122223333:autoScalingGroup:*:autoScalingGroupName/proxies-asg"],
            },
            {
                "Sid": "ChangeRdsClusters", "Effect": "Allow", "Action": ["rds:FailoverDBCluster"],
                "Resource": ["arn:aws-cn:rds:cn-north-1:111122223333:cluster:b", "arn:aws:rds:us-east-1:111122223333:cluster:prod-a"],
            },
        ] })
    );
    assert_eq!(permissions.notes.len(), 1, "{:?}", permissions.notes);
    assert!(permissions.notes[0].contains("DB instance"));
}

#[test]
fn the_account_is_that_of_a_target_group_or_open_with_a_note() {
    let mut inventory = inventory();
    inventory.account = None;
    let open = policy(["rds:FailoverDBCluster"], Some(&inventory)).unwrap();
    assert_eq!(open.policy.statement[0].resource[1], "arn:aws:rds:us-east-1:*:cluster:prod-a");
    assert!(open.notes[0].contains("account"), "{:?}", open.notes);
    inventory.fleets[0].target_group =
        Some("arn:aws:elasticloadbalancing:us-east-1:444455556666:targetgroup/p/0".into());
    let known = policy(["rds:FailoverDBCluster"], Some(&inventory)).unwrap();
    assert_eq!(known.policy.statement[0].resource[1], "arn:aws:rds:us-east-1:444455556666:cluster:prod-a");
    assert!(known.notes.is_empty());
}

#[test]
fn nothing_to_allow_it_on_means_that_it_is_not_allowed() {
    let empty = policy(["autoscaling:SetDesiredCapacity"], Some(&Inventory::default())).unwrap();
    assert!(empty.policy.statement.is_empty());
    assert!(empty.notes[0].contains("left out"), "{:?}", empty.notes);
    let anywhere = policy(["autoscaling:SetDesiredCapacity"], None).unwrap();
    assert_eq!(
        anywhere.policy.statement[0].resource,
        ["arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/*"]
    );
}

/// Of composite alarms AWS tells only whom it is allowed on everything.
#[test]
fn alarms_are_read_on_everything_of_the_regions() {
    let permissions = policy(["cloudwatch:DescribeAlarms"], Some(&inventory())).unwrap();
    assert_eq!(
        serde_json::to_value(&permissions.policy.statement).unwrap(),
        json!([{
            "Sid": "LookCloudWatch", "Effect": "Allow", "Action": ["cloudwatch:DescribeAlarms"], "Resource": ["*"],
            "Condition": { "StringEquals": { "aws:RequestedRegion": ["cn-north-1", "us-east-1"] } },
        }])
    );
}

#[test]
fn what_nobody_has_looked_up_is_an_error() {
    assert_eq!(policy(["s3:GetObject"], None), Err(UnknownPermission("s3:GetObject".into())));
}

#[test]
fn each_account_has_a_policy_for_looking_and_one_for_changing() {
    let role =
        |name: &str| AssumedRole { arn: format!("arn:aws:iam::444455556666:role/{name}"), external_id: None };
    let mut inventory = inventory();
    inventory.accounts = vec![Account { id: "eu".into(), observe: role("observe"), act: role("act") }];
    inventory.clusters[0].account = Some("eu".into());
    let actions = BTreeSet::from(["rds:DescribeDBClusters", "rds:FailoverDBCluster"]);
    let found = of_roles(&actions, &inventory).unwrap();
    let [RolePolicies { account, observe, act }] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(account, "eu");
    let allowed = |permissions: &Permissions| {
        let [statement] = permissions.policy.statement.as_slice() else { panic!("{permissions:?}") };
        (statement.action.clone(), statement.resource.clone())
    };
    let arn = |cluster: &Cluster| {
        format!("arn:aws:rds:{}:444455556666:cluster:{}", cluster.region, cluster.rds_identifier())
    };
    let here = vec![arn(&inventory.clusters[0])];
    assert_eq!(allowed(observe), (vec!["rds:DescribeDBClusters".to_owned()], here.clone()));
    assert_eq!(allowed(act), (vec!["rds:FailoverDBCluster".to_owned()], here));
    let own = assuming(&inventory);
    assert_eq!(own.statement[0].action, ["sts:AssumeRole"]);
    assert_eq!(own.statement[0].resource.len(), 2);
}
