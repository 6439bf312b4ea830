//! What AWS has, beside what the inventory says it has.
//!
//! A cluster or a group is offered for the inventory when it carries the tag `firebreak`; its value is how people call it (`true`: as
//! AWS does). `firebreak:customers-percent` on a cluster says how many of the customers live there, `firebreak:clusters` on a group
//! which clusters are reached through it, apart by spaces.
//!
//! What the inventory has is compared whether it carries a tag or not: a name that AWS does not know, or an endpoint that is another
//! one, would otherwise be found out in an incident.
//!
//! Deliberately absent: asking AWS (`actions::discover`), and writing the inventory: a person takes over what they agree with, and adds
//! the accounts for probing, which no tag may hold.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inventory::Inventory;

/// What marks a cluster or a group as one for the inventory.
pub const TAG: &str = "firebreak";
/// How many of the customers live on a cluster, in percent.
pub const CUSTOMERS: &str = "firebreak:customers-percent";
/// The clusters that are reached through a group.
pub const CLUSTERS: &str = "firebreak:clusters";

/// A place that was looked through.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The account, by its name in the inventory.
    pub account: Option<String>,
    /// The region.
    pub region: String,
}

impl Place {
    fn is(&self, account: &Option<String>, region: &str) -> bool {
        self.account == *account && self.region == region
    }
}

/// A cluster that AWS has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundCluster {
    /// Where.
    pub place: Place,
    /// Its DB cluster identifier.
    pub identifier: String,
    /// The host name of its writer endpoint.
    pub endpoint: String,
    /// The port of its endpoints.
    pub port: u16,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// An Auto Scaling group that AWS has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundGroup {
    /// Where.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// The target groups that its hosts are registered with.
    pub target_groups: Vec<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What AWS has, in the places that were looked through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The places.
    pub places: Vec<Place>,
    /// The MySQL clusters of Aurora there.
    pub clusters: Vec<FoundCluster>,
    /// The groups there.
    pub groups: Vec<FoundGroup>,
}

/// A cluster that the inventory should have, by its tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewCluster {
    /// How people call it.
    pub id: String,
    /// Where it is.
    pub found: FoundCluster,
    /// The share of the customers who live there.
    pub customers_percent: f64,
}

/// A fleet that the inventory should have, by its tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewFleet {
    /// How people call it.
    pub id: String,
    /// Where it is.
    pub found: FoundGroup,
    /// The clusters that are reached through it.
    pub clusters: Vec<String>,
}

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Compared {
    /// Where the inventory and AWS do not agree, each in a sentence.
    pub differences: Vec<String>,
    /// What the inventory does not have.
    pub clusters: Vec<NewCluster>,
    /// See `clusters`.
    pub fleets: Vec<NewFleet>,
}

impl Compared {
    /// Do the two agree, and has the inventory all that is marked?
    pub fn agree(&self) -> bool {
        self.differences.is_empty() && self.clusters.is_empty() && self.fleets.is_empty()
    }
}

/// The places that an inventory is in.
pub fn places(inventory: &Inventory) -> Vec<Place> {
    let clusters = inventory.clusters.iter().map(|c| (&c.account, &c.region));
    let fleets = inventory.fleets.iter().map(|f| (&f.account, &f.region));
    let all = clusters
        .chain(fleets)
        .map(|(account, region)| Place { account: account.clone(), region: region.clone() });
    let mut places: Vec<Place> = all.collect();
    places.sort();
    places.dedup();
    places
}

/// Compares.
pub fn compare(inventory: &Inventory, found: &Found) -> Compared {
    let mut compared = Compared::default();
    let say = &mut compared.differences;
    let looked =
        |account: &Option<String>, region: &str| found.places.iter().any(|place| place.is(account, region));
    for cluster in inventory.clusters.iter().filter(|c| looked(&c.account, &c.region)) {
        let (id, identifier) = (&cluster.id, cluster.rds_identifier());
        let there =
            |f: &&FoundCluster| f.identifier == identifier && f.place.is(&cluster.account, &cluster.region);
        let Some(there) = found.clusters.iter().find(there) else {
            say.push(format!("cluster `{id}`: RDS has no cluster {identifier} in {}", cluster.region));
            continue;
        };
        if !there.endpoint.eq_ignore_ascii_case(&cluster.endpoint) {
            say.push(format!("cluster `{id}`: its endpoint is {}, not {}", there.endpoint, cluster.endpoint));
        }
        if there.port != cluster.port {
            say.push(format!("cluster `{id}`: its port is {}, not {}", there.port, cluster.port));
        }
        match there.tags.get(CUSTOMERS).map(|text| text.trim().parse::<f64>()) {
            Some(Ok(tagged)) if (tagged - cluster.customers_percent).abs() > 0.05 => say.push(format!(
                "cluster `{id}`: by its tag {tagged} % of the customers live there, not {} %",
                cluster.customers_percent
            )),
            Some(Err(_)) => say.push(format!("cluster `{id}`: its tag {CUSTOMERS} is no number")),
            _ => {}
        }
    }
    for fleet in inventory.fleets.iter().filter(|f| looked(&f.account, &f.region)) {
        let (id, group) = (&fleet.id, &fleet.group);
        let there = |f: &&FoundGroup| f.name == *group && f.place.is(&fleet.account, &fleet.region);
        match (found.groups.iter().find(there), &fleet.target_group) {
            (None, _) => say.push(format!("fleet `{id}`: there is no group {group} in {}", fleet.region)),
            (Some(there), Some(arn)) if !there.target_groups.contains(arn) => {
                say.push(format!("fleet `{id}`: the hosts of {group} are not registered with {arn}"));
            }
            (Some(there), None) if !there.target_groups.is_empty() => say.push(format!(
                "fleet `{id}`: the hosts of {group} are registered with {}, and no target_group is named: nobody would wait for it to drain",
                there.target_groups.join(", ")
            )),
            _ => {}
        }
    }
    let shares: f64 = inventory.clusters.iter().map(|c| c.customers_percent).sum();
    if shares > 100.5 {
        say.push(format!(
            "customers_percent of all clusters together are {shares} %: more customers than there are"
        ));
    }
    for there in &found.clusters {
        let known = inventory
            .clusters
            .iter()
            .any(|c| c.rds_identifier() == there.identifier && there.place.is(&c.account, &c.region));
        if let Some(id) = named(&there.tags, &there.identifier).filter(|_| !known) {
            let share = there.tags.get(CUSTOMERS).and_then(|text| text.trim().parse().ok()).unwrap_or(0.0);
            compared.clusters.push(NewCluster { id, found: there.clone(), customers_percent: share });
        }
    }
    for there in &found.groups {
        let known =
            inventory.fleets.iter().any(|f| f.group == there.name && there.place.is(&f.account, &f.region));
        if let Some(id) = named(&there.tags, &there.name).filter(|_| !known) {
            let clusters =
                there.tags.get(CLUSTERS).map(|text| text.split_whitespace().map(str::to_owned).collect());
            compared.fleets.push(NewFleet {
                id,
                found: there.clone(),
                clusters: clusters.unwrap_or_default(),
            });
        }
    }
    compared
}

/// How people call it, where it is marked.
fn named(tags: &BTreeMap<String, String>, by_aws: &str) -> Option<String> {
    let name = tags.get(TAG)?.trim();
    Some(if name.is_empty() || name == "true" { by_aws.to_owned() } else { name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        serde_json::from_value(serde_json::json!({
            "clusters": [{
                "id": "shard-b", "region": "us-east-1", "identifier": "prod-b", "endpoint": "b.cluster-x.rds.amazonaws.com",
                "customers_percent": 25.0, "probe": { "user": "p", "password": { "env": "P" } },
            }],
            "fleets": [{
                "id": "us", "region": "us-east-1", "group": "us-asg", "target_group": "arn:tg", "clusters": ["shard-b"],
                "admin": { "user": "a", "password": { "env": "A" } },
            }],
        }))
        .unwrap_or_default()
    }

    fn tags(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn cluster(identifier: &str, endpoint: &str, of: &[(&str, &str)]) -> FoundCluster {
        let place = places(&inventory()).remove(0);
        FoundCluster {
            place,
            identifier: identifier.into(),
            endpoint: endpoint.into(),
            port: 3306,
            tags: tags(of),
        }
    }

    fn group(name: &str, target_groups: &[&str], of: &[(&str, &str)]) -> FoundGroup {
        let place = places(&inventory()).remove(0);
        let target_groups = target_groups.iter().map(|arn| (*arn).to_owned()).collect();
        FoundGroup { place, name: name.into(), target_groups, tags: tags(of) }
    }

    fn found(clusters: Vec<FoundCluster>, groups: Vec<FoundGroup>) -> Found {
        Found { places: places(&inventory()), clusters, groups }
    }

    #[test]
    fn what_agrees_is_not_told_and_what_carries_no_tag_is_nobodys_business() {
        let same = found(
            vec![
                cluster("prod-b", "B.cluster-x.rds.amazonaws.com", &[(CUSTOMERS, "25")]),
                cluster("other", "o", &[]),
            ],
            vec![group("us-asg", &["arn:tg"], &[]), group("web", &[], &[("team", "web")])],
        );
        let compared = compare(&inventory(), &same);
        assert!(compared.agree(), "{compared:#?}");
    }

    #[test]
    fn what_is_not_there_or_is_another_is_told() {
        let gone = compare(&inventory(), &found(vec![], vec![]));
        assert_eq!(
            gone.differences,
            [
                "cluster `shard-b`: RDS has no cluster prod-b in us-east-1",
                "fleet `us`: there is no group us-asg in us-east-1"
            ]
        );
        let other = found(
            vec![cluster("prod-b", "c", &[(CUSTOMERS, "40")])],
            vec![group("us-asg", &["arn:new"], &[])],
        );
        let said = compare(&inventory(), &other).differences;
        assert_eq!(said.len(), 3, "{said:#?}");
        assert!(
            said[0].contains("its endpoint is c, not b.")
                && said[1].contains("40 % of the customers")
                && said[2].contains("arn:tg")
        );
        // Where nobody has looked, nothing is said.
        assert!(compare(&inventory(), &Found::default()).agree());
    }

    #[test]
    fn what_is_marked_is_offered_with_what_its_tags_tell() {
        let marked = found(
            vec![
                cluster("prod-b", "b.cluster-x.rds.amazonaws.com", &[(TAG, "shard-b")]),
                cluster("prod-f", "f", &[(TAG, "shard-f"), (CUSTOMERS, " 4.5 ")]),
            ],
            vec![
                group("us-asg", &["arn:tg"], &[]),
                group("eu-asg", &[], &[(TAG, "true"), (CLUSTERS, "shard-f  shard-b")]),
            ],
        );
        let compared = compare(&inventory(), &marked);
        assert!(compared.differences.is_empty(), "{compared:#?}");
        assert_eq!(
            (compared.clusters[0].id.as_str(), compared.clusters[0].customers_percent),
            ("shard-f", 4.5)
        );
        assert_eq!((compared.fleets[0].id.as_str(), compared.fleets[0].clusters.len()), ("eu-asg", 2));
    }
}
