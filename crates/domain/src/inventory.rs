//! What Firebreak may look at and touch: clusters, proxy fleets, and how to log in to them.
//!
//! The inventory is read once from the configuration. It gives runbook inputs their types (`cluster`, `proxy_fleet`),
//! their live choices and their lock names, and tells in customer terms how far an outage reaches. A target that is not
//! in it cannot be named, so nothing can act on it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All that runbooks may name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The AWS account that all of it is in, twelve digits: IAM policies name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Database clusters.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// Groups of ProxySQL hosts.
    #[serde(default)]
    pub fleets: Vec<ProxyFleet>,
}

/// One Aurora MySQL cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// How people and runbooks call it, for example `shard-b`.
    pub id: String,
    /// AWS region.
    pub region: String,
    /// The DB cluster identifier at RDS; the id, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    /// Host name of the writer endpoint, as the proxies use it.
    pub endpoint: String,
    /// MySQL port of the endpoint.
    #[serde(default = "mysql_port")]
    pub port: u16,
    /// Share of all customers who live on it, 0 to 100: the blast radius of touching it.
    #[serde(default)]
    pub customers_percent: f64,
    /// `max_connections` of its writer; 0 when not known (the connection-budget guard then says so).
    #[serde(default)]
    pub max_connections: u32,
    /// The account that login probes use. Through a proxy the user also decides where ProxySQL routes the query.
    pub probe: Credentials,
}

/// An Auto Scaling group of ProxySQL hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyFleet {
    /// How people and runbooks call it, for example `proxysql-us`.
    pub id: String,
    /// AWS region.
    pub region: String,
    /// Name of the Auto Scaling group.
    pub group: String,
    /// ARN of the load balancer's target group; absent for a fleet without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_group: Option<String>,
    /// Port on which hosts take client traffic.
    #[serde(default = "proxy_port")]
    pub port: u16,
    /// Port of the ProxySQL admin interface.
    #[serde(default = "proxy_admin_port")]
    pub admin_port: u16,
    /// An admin account that may connect remotely and run `PROXYSQL PAUSE`.
    pub admin: Credentials,
    /// Ids of the clusters reached through this fleet.
    pub clusters: Vec<String>,
    /// Most connections that one host opens to one cluster (`mysql_servers.max_connections`); ProxySQL's default is 1000.
    #[serde(default = "backend_connections")]
    pub backend_connections: u32,
}

/// A MySQL account. The password itself never enters a run, a page or a log: it is referenced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Where the password is.
    pub password: SecretRef,
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretRef {
    /// In this environment variable.
    Env(String),
    /// In this file (a trailing newline is cut off).
    File(String),
}

impl Cluster {
    /// The DB cluster identifier at RDS.
    pub fn rds_identifier(&self) -> &str {
        self.identifier.as_deref().unwrap_or(&self.id)
    }
}

impl Inventory {
    /// The cluster of that id.
    pub fn cluster(&self, id: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|c| c.id == id)
    }

    /// The fleet of that id.
    pub fn fleet(&self, id: &str) -> Option<&ProxyFleet> {
        self.fleets.iter().find(|f| f.id == id)
    }

    /// The clusters reached through a fleet, in the inventory's order.
    pub fn clusters_of<'a>(&'a self, fleet: &'a ProxyFleet) -> impl Iterator<Item = &'a Cluster> {
        self.clusters.iter().filter(|c| fleet.clusters.contains(&c.id))
    }

    /// Everything that is wrong with it, each a sentence that names the place; empty when it is sound.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        if let Some(account) = &self.account
            && !(account.len() == 12 && account.chars().all(|c| c.is_ascii_digit()))
        {
            found.push(format!(
                "account is `{account}`; an AWS account has twelve digits (in quotes, or YAML takes it for a number)"
            ));
        }
        for (kind, id) in self
            .clusters
            .iter()
            .map(|c| ("cluster", &c.id))
            .chain(self.fleets.iter().map(|f| ("fleet", &f.id)))
        {
            if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
                found.push(format!(
                    "{kind} id `{id}` must be letters, digits, `-`, `_` and `.`: it becomes part of lock names"
                ));
            }
            if !seen.insert((kind, id)) {
                found.push(format!("{kind} `{id}` is listed twice; give each its own id"));
            }
        }
        for cluster in &self.clusters {
            if !(0.0..=100.0).contains(&cluster.customers_percent) {
                found.push(format!(
                    "cluster `{}`: customers_percent is {}; it is a share of all customers, 0 to 100",
                    cluster.id, cluster.customers_percent
                ));
            }
        }
        for fleet in &self.fleets {
            if fleet.clusters.is_empty() {
                found.push(format!(
                    "fleet `{}` names no clusters; list those that are reached through it, or its hosts cannot be proven",
                    fleet.id
                ));
            }
            for id in fleet.clusters.iter().filter(|id| self.cluster(id).is_none()) {
                found.push(format!(
                    "fleet `{}` names cluster `{id}`, which the inventory does not have; add it under clusters, or correct the name",
                    fleet.id
                ));
            }
        }
        found
    }
}

fn mysql_port() -> u16 {
    3306
}

fn proxy_port() -> u16 {
    6033
}

fn proxy_admin_port() -> u16 {
    6032
}

fn backend_connections() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(user: &str) -> Credentials {
        Credentials { user: user.into(), password: SecretRef::Env("X".into()) }
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let inventory = Inventory {
            account: Some("1234".into()),
            clusters: vec![
                Cluster {
                    id: "a".into(),
                    region: "r".into(),
                    identifier: None,
                    endpoint: "h".into(),
                    port: 3306,
                    customers_percent: 130.0,
                    max_connections: 0,
                    probe: secret("p"),
                };
                2
            ],
            fleets: vec![ProxyFleet {
                id: "f g".into(),
                region: "r".into(),
                group: "g".into(),
                target_group: None,
                port: 1,
                admin_port: 2,
                admin: secret("admin"),
                clusters: vec!["b".into()],
                backend_connections: 1,
            }],
        };
        let mistakes = inventory.mistakes();
        assert_eq!(mistakes.len(), 6, "{mistakes:#?}");
        assert!(mistakes.iter().any(|m| m.contains("fleet `f g` names cluster `b`")));
    }
}
