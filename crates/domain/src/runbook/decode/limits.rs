//! `limits:` how often something may be done, over all runbooks, people and triggers.

use super::Decoder;
use crate::runbook::yaml::{Data, Node};
use crate::runbook::{Limit, LimitRule};

pub(super) const KEYS: &[&str] = &["name", "at_most", "per", "cooldown"];
const EXAMPLE: &str = "write `- { name: \"failover of ${inputs.cluster.id}\", at_most: 1, per: 1h }` or `- { name: …, cooldown: 30m }`";

impl Decoder {
    pub(super) fn limits(&mut self, node: &Node) -> Vec<Limit> {
        let Data::List(items) = &node.data else {
            self.wrong(node.pos, "`limits` must be a list", EXAMPLE);
            return Vec::new();
        };
        items.iter().filter_map(|item| self.limit(item)).collect()
    }

    fn limit(&mut self, node: &Node) -> Option<Limit> {
        let fields = self.fields(node, "a limit", KEYS)?;
        let name = self.required(
            &fields,
            "name",
            "`name:` and what is counted; the same name elsewhere is the same budget",
        );
        let name = name.and_then(|e| match &e.value.data {
            Data::Scalar(_) => self.template(&e.value),
            _ => {
                self.wrong(e.value.pos, "the name of a limit must be text", EXAMPLE);
                None
            }
        });
        let at_most = fields.get("at_most").map(|e| self.count(&e.value));
        let per = fields.get("per").map(|e| self.seconds(&e.value));
        let cooldown = fields.get("cooldown").map(|e| self.seconds(&e.value));
        let rule = match (at_most, per, cooldown) {
            (Some(runs), Some(per), None) => LimitRule::AtMost { runs: runs?, per: per? },
            (None, None, Some(rest)) => LimitRule::Cooldown(rest?),
            _ => {
                self.wrong(node.pos, "a limit has either `at_most` and `per`, or `cooldown`", EXAMPLE);
                return None;
            }
        };
        Some(Limit { name: name?, rule })
    }
}
