//! What Firebreak may look at and touch: clusters, proxy fleets, and how to log in to them.
//!
//! The inventory is read once from the configuration. It gives runbook inputs their types (`cluster`, `proxy_fleet`),
//! their live choices and their lock names, and tells in customer terms how far an outage reaches. A target that is not
//! in it cannot be named, so nothing can act on it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All that runbooks may name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The AWS account that all of it is in, twelve digits, unless clusters and fleets name one of `accounts`: IAM policies name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// AWS accounts that are reached by assuming roles there; without them Firebreak works with its own credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<Account>,
    /// Database clusters.
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// Groups of ProxySQL hosts.
    #[serde(default)]
    pub fleets: Vec<ProxyFleet>,
}

/// An AWS account, and the roles in it that Firebreak assumes: one to look, another to change something, so that a look can never
/// change anything, whatever it asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// How clusters and fleets name it.
    pub id: String,
    /// Looks are made with it.
    pub observe: AssumedRole,
    /// Changes are made with it.
    pub act: AssumedRole,
}

/// A role to be assumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssumedRole {
    /// Its ARN, such as `arn:aws:iam::111122223333:role/firebreak-observe`.
    pub arn: String,
    /// What its trust policy asks for, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}

impl AssumedRole {
    /// The account that it is in, by its ARN.
    pub fn account(&self) -> Option<&str> {
        let mut parts = self.arn.split(':');
        let (arn, service) = (parts.next()?, parts.nth(1)?);
        let (account, role) = (parts.nth(1)?, parts.next()?);
        let sound = arn == "arn" && service == "iam" && is_account(account) && role.starts_with("role/");
        sound.then_some(account)
    }
}

impl Account {
    /// Its number, by its roles.
    pub fn number(&self) -> Option<&str> {
        self.observe.account()
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.chars().all(|c| c.is_ascii_digit())
}

/// One Aurora MySQL cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// How people and runbooks call it, for example `shard-b`.
    pub id: String,
    /// AWS region.
    pub region: String,
    /// The account that it is in, by its name in `accounts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
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
    /// The account that it is in, by its name in `accounts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
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

    /// The account of that name.
    pub fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.iter().find(|a| a.id == id)
    }

    /// What of it is in this account, as if that were all.
    pub fn of_account(&self, account: &Account) -> Self {
        let here = |named: &Option<String>| named.as_deref() == Some(account.id.as_str());
        let clusters = self.clusters.iter().filter(|c| here(&c.account)).cloned();
        let fleets = self.fleets.iter().filter(|f| here(&f.account)).cloned();
        Self {
            account: account.number().map(str::to_owned),
            accounts: Vec::new(),
            clusters: clusters.collect(),
            fleets: fleets.collect(),
        }
    }

    /// Everything that is wrong with it, each a sentence that names the place; empty when it is sound.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        if let Some(account) = &self.account
            && !is_account(account)
        {
            found.push(format!(
                "account is `{account}`; an AWS account has twelve digits (in quotes, or YAML takes it for a number)"
            ));
        }
        found.extend(self.mistakes_of_accounts());
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
        let mut groups = BTreeMap::new();
        for fleet in &self.fleets {
            // Steps name a group by these two alone; the wrong account would be asked, or changed.
            if let Some(other) = groups.insert((&fleet.region, &fleet.group), &fleet.id) {
                found.push(format!(
                    "fleets `{other}` and `{}` have the same group `{}` in {}: steps could not tell them apart, not even in two accounts. List it once, or give one of the groups another name",
                    fleet.id, fleet.group, fleet.region
                ));
            }
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

impl Inventory {
    fn mistakes_of_accounts(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for account in &self.accounts {
            let id = &account.id;
            if !seen.insert(id) {
                found.push(format!("account `{id}` is listed twice; give each its own id"));
            }
            for (what, role) in [("observe", &account.observe), ("act", &account.act)] {
                if role.account().is_none() {
                    found.push(format!(
                        "account `{id}`: {what}.arn is `{}`; write it like arn:aws:iam::111122223333:role/firebreak-{what}",
                        role.arn
                    ));
                }
            }
            if let (Some(observe), Some(act)) = (account.observe.account(), account.act.account())
                && observe != act
            {
                found.push(format!(
                    "account `{id}`: its roles are in two accounts ({observe} and {act}); list them as two"
                ));
            }
        }
        let named = (self.clusters.iter().map(|c| ("cluster", &c.id, &c.account)))
            .chain(self.fleets.iter().map(|f| ("fleet", &f.id, &f.account)));
        for (kind, id, account) in named {
            match account {
                Some(account) if self.account(account).is_none() => found.push(format!(
                    "{kind} `{id}` names account `{account}`, which is not under accounts; add it, or correct the name"
                )),
                // With whose credentials would it be reached?
                None if !self.accounts.is_empty() => {
                    found.push(format!("{kind} `{id}` names no account; say which of accounts it is in"));
                }
                _ => {}
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
            accounts: Vec::new(),
            clusters: vec![
                Cluster {
                    id: "a".into(),
                    region: "r".into(),
                    account: None,
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
                account: None,
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

    #[test]
    fn two_fleets_are_not_the_same_group_not_even_in_two_accounts() {
        let fleet = |id: &str, account: &str, group: &str| ProxyFleet {
            id: id.into(),
            region: "r".into(),
            account: Some(account.into()),
            group: group.into(),
            target_group: None,
            port: 1,
            admin_port: 2,
            admin: secret("admin"),
            clusters: Vec::new(),
            backend_connections: 1,
        };
        let fleets = vec![
            fleet("prod", "prod", "proxysql"),
            fleet("other", "prod", "proxysql-b"),
            fleet("staging", "staging", "proxysql"),
        ];
        let mistakes = Inventory { fleets, ..Inventory::default() }.mistakes();
        let told: Vec<_> = mistakes.iter().filter(|m| m.contains("the same group")).collect();
        assert_eq!(told.len(), 1, "{mistakes:#?}");
        assert!(told[0].contains("`prod` and `staging`") && told[0].contains("another name"), "{told:?}");
    }

    #[test]
    fn accounts_are_named_and_their_roles_are_roles_of_one_account() {
        let role = |arn: &str| AssumedRole { arn: arn.into(), external_id: None };
        let account = |id: &str, observe: &str, act: &str| Account {
            id: id.into(),
            observe: role(observe),
            act: role(act),
        };
        let observe = "arn:aws:iam::111122223333:role/firebreak-observe";
        let mut inventory = Inventory {
            accounts: vec![account("us", observe, "arn:aws:iam::111122223333:role/path/firebreak-act")],
            clusters: vec![Cluster {
                id: "a".into(),
                region: "r".into(),
                account: Some("us".into()),
                identifier: None,
                endpoint: "h".into(),
                port: 3306,
                customers_percent: 1.0,
                max_connections: 0,
                probe: secret("p"),
            }],
            ..Inventory::default()
        };
        assert_eq!(inventory.mistakes(), Vec::<String>::new());
        let us = inventory.accounts[0].clone();
        let here = inventory.of_account(&us);
        assert_eq!((here.account.as_deref(), here.clusters.len()), (Some("111122223333"), 1));

        inventory.clusters.push(Cluster { id: "b".into(), account: None, ..inventory.clusters[0].clone() });
        inventory.clusters.push(Cluster {
            id: "c".into(),
            account: Some("eu".into()),
            ..inventory.clusters[0].clone()
        });
        inventory.accounts.push(account("us", observe, "arn:aws:iam::444455556666:role/act"));
        inventory.accounts.push(account("ap", "arn:aws:iam::1:role/x", "arn:aws:iam::111122223333:user/x"));
        let mistakes = inventory.mistakes();
        for part in [
            "account `us` is listed twice",
            "account `us`: its roles are in two accounts",
            "account `ap`: observe.arn",
            "account `ap`: act.arn",
            "cluster `b` names no account",
            "cluster `c` names account `eu`",
        ] {
            assert!(mistakes.iter().any(|m| m.contains(part)), "{part}: {mistakes:#?}");
        }
        assert_eq!(mistakes.len(), 6, "{mistakes:#?}");
    }
}
