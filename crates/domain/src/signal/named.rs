//! What AWS names, by the inventory's names: an alarm knows a cluster by its identifier at RDS, and a fleet by its group, while rules,
//! locks and incidents know both by their ids. A signal that kept AWS's name would join no incident and suit no rule.

use super::{DATED, Signal};
use crate::inventory::{Account, Inventory};

impl Signal {
    /// The same, with the ids of what the inventory has. Of a cluster that is called otherwise at RDS, that name stays as the label
    /// `identifier`. What the inventory does not have, or has twice, keeps the name that came.
    #[must_use]
    pub fn named_by(mut self, inventory: &Inventory) -> Self {
        if !DATED.contains(&self.source.as_str()) {
            return self;
        }
        let said = self.labels.clone();
        let label = |name: &str| said.get(name).filter(|value| !value.is_empty()).cloned();
        let (region, number) = (label("region"), label("account"));
        let here = |its_region: &str, its_account: Option<&str>| {
            let known = match its_account {
                Some(name) => inventory.account(name).and_then(Account::number),
                None => inventory.account.as_deref(),
            };
            let same = |said: &Option<String>, known: &str| said.as_deref().is_none_or(|said| said == known);
            same(&region, its_region) && known.is_none_or(|known| same(&number, known))
        };
        if let Some(said) = label("cluster") {
            let called = inventory
                .clusters
                .iter()
                .filter(|c| c.rds_identifier() == said && here(&c.region, c.account.as_deref()));
            if let Some(id) = only(called.map(|c| &c.id)).filter(|id| **id != said) {
                self.labels.insert("cluster".into(), id.clone());
                self.labels.insert("identifier".into(), said);
            }
        }
        if let (Some(said), None) = (label("group"), label("fleet")) {
            let called =
                inventory.fleets.iter().filter(|f| f.group == said && here(&f.region, f.account.as_deref()));
            if let Some(id) = only(called.map(|f| &f.id)) {
                self.labels.insert("fleet".into(), id.clone());
            }
        }
        self
    }
}

fn only<T>(mut all: impl Iterator<Item = T>) -> Option<T> {
    all.next().filter(|_| all.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::{RDS_EVENT, SignalState};
    use super::*;

    fn login() -> serde_json::Value {
        json!({ "user": "u", "password": { "env": "P" } })
    }

    fn inventory() -> Inventory {
        let cluster = |id: &str, region: &str, identifier: Option<&str>, account: &str| {
            json!({ "id": id, "region": region, "identifier": identifier, "account": account, "endpoint": "e",
                    "probe": login() })
        };
        let account = |id: &str, number: &str| {
            let arn = |role: &str| json!({ "arn": format!("arn:aws:iam::{number}:role/{role}") });
            json!({ "id": id, "observe": arn("o"), "act": arn("a") })
        };
        serde_json::from_value(json!({
            "accounts": [account("live", "111122223333"), account("test", "444455556666")],
            "clusters": [
                cluster("shard-b", "us-east-1", Some("prod-shard-b"), "live"),
                cluster("shard-b-test", "us-east-1", Some("prod-shard-b"), "test"),
                cluster("shard-e", "us-east-1", None, "live"),
            ],
            "fleets": [{ "id": "proxysql-us", "region": "us-east-1", "account": "live", "group": "proxysql-us-v2", "clusters": [],
                         "admin": login() }],
        }))
        .unwrap()
    }

    fn labels(source: &str, said: &[(&str, &str)]) -> BTreeMap<String, String> {
        let labels = said.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let signal = Signal {
            source: source.into(),
            kind: RDS_EVENT.into(),
            fingerprint: "f".into(),
            state: SignalState::Firing,
            severity: None,
            summary: String::new(),
            labels,
            started_at: None,
        };
        signal.named_by(&inventory()).labels
    }

    #[test]
    fn what_aws_names_joins_what_the_inventory_names() {
        let here = [("region", "us-east-1"), ("account", "111122223333")];
        let of = |name, value| labels("sns", &[&here[..], &[(name, value)]].concat());
        let renamed = of("cluster", "prod-shard-b");
        assert_eq!((&*renamed["cluster"], &*renamed["identifier"]), ("shard-b", "prod-shard-b"));
        let same = of("cluster", "shard-e");
        assert_eq!((&*same["cluster"], same.get("identifier")), ("shard-e", None));
        assert_eq!(of("group", "proxysql-us-v2")["fleet"], "proxysql-us");
    }

    #[test]
    fn what_is_elsewhere_unknown_or_there_twice_keeps_its_name() {
        let kept = |source: &str, said: &[(&str, &str)]| {
            assert_eq!(labels(source, said).len(), said.len(), "{source} {said:?}");
        };
        let cluster = ("cluster", "prod-shard-b");
        kept("sns", &[("region", "us-east-1"), cluster]);
        kept("sns", &[("region", "eu-west-1"), ("account", "111122223333"), cluster]);
        kept("sns", &[("region", "us-east-1"), ("account", "999999999999"), ("group", "proxysql-us-v2")]);
        kept("eventbridge", &[("cluster", "somebody-else-s")]);
        // Whoever else speaks of a cluster means ours.
        kept("alertmanager", &[("region", "us-east-1"), ("account", "111122223333"), cluster]);
    }
}
