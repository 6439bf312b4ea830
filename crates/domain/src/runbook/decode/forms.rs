//! The forms that hold other steps: `each`, `together`, `run`.

use serde_json::Value;

use super::field::{Fields, identifier};
use super::step::WITH_USE;
use super::{Decoder, if_given};
use crate::runbook::diagnostic::{Diagnostic, Pos};
use crate::runbook::yaml::{Data, Entry, Node};
use crate::runbook::{Body, Branch, Child, Each, EachBody, Template, template};

impl Decoder {
    pub(super) fn each(&mut self, fields: &Fields<'_>, each: &Entry) -> Option<(Body, Pos)> {
        let items = match &each.value.data {
            Data::List(items) if items.is_empty() => {
                self.wrong(
                    each.value.pos,
                    "the list is empty, so nothing would be done",
                    "name a list such as `steps.old`",
                );
                None
            }
            Data::List(_) => {
                let remedy = "write it as an expression: `each: '[\"a\", \"b\"]'`";
                self.wrong(each.value.pos, "`each` takes an expression", remedy);
                None
            }
            _ => self.expr(&each.value),
        };
        let at_once = match fields.get("at_once") {
            Some(entry) => self.amount("at_once", &entry.value),
            // One after the other is the only default that cannot surprise.
            None => Some(Template::literal(Value::from(1))),
        };
        let stop_after = fields.get("stop_after").map(|e| self.amount("stop_after", &e.value));
        let (body, pos) = match (fields.get("use"), fields.get("steps")) {
            (Some(call), Some(steps)) => {
                let what = "`each` takes one action or `steps`, and this is both";
                let remedy = "move the action into `steps`";
                self.mistakes
                    .push(Diagnostic::new(call.pos, what, remedy).see(steps.pos, "these are the steps"));
                return None;
            }
            (Some(call), None) => {
                let allowed: Vec<_> =
                    ["each", "at_once", "stop_after"].iter().chain(WITH_USE).copied().collect();
                self.fits(fields, "each", &allowed);
                (EachBody::One(Box::new(self.call(fields, call)?)), call.value.pos)
            }
            (None, Some(steps)) => {
                self.fits(fields, "each … steps", &["each", "at_once", "stop_after", "steps"]);
                (EachBody::Steps(self.steps(&steps.value)), each.value.pos)
            }
            (None, None) => {
                self.wrong(
                    each.pos,
                    "nothing is done with the items",
                    "add `use:` (one action) or `steps:` (several)",
                );
                return None;
            }
        };
        let (items, at_once, stop_after) = (items?, at_once?, if_given(stop_after)?);
        Some((Body::Each(Each { items, at_once, stop_after, body }), pos))
    }

    /// A number from 1, or a share.
    fn amount(&mut self, key: &str, node: &Node) -> Option<Template> {
        let template = self.template(node)?;
        let sound = match &template.node {
            template::Node::Literal(Value::Number(n)) => n.as_u64().is_some_and(|n| n > 0),
            template::Node::Literal(Value::String(text)) => text
                .strip_suffix('%')
                .and_then(|n| n.trim().parse::<f64>().ok())
                .is_some_and(|percent| percent > 0.0 && percent <= 100.0),
            template::Node::Whole(_) | template::Node::Text(_) => true,
            _ => false,
        };
        if !sound {
            let what = format!("`{key}` must be a number from 1, or a percentage up to 100%");
            let remedy = format!("write `{key}: 2`, `{key}: 50%` or `{key}: \"${{inputs.{key}}}%\"`");
            self.wrong(node.pos, what, remedy);
            return None;
        }
        Some(template)
    }

    /// Branches by name, at least two.
    pub(super) fn together(&mut self, node: &Node) -> Option<Vec<Branch>> {
        let Data::Record(entries) = &node.data else {
            let remedy = "write `together:` and under it each branch by name, with its list of steps";
            self.wrong(node.pos, "`together` must be a record: a list of steps for each branch", remedy);
            return None;
        };
        if entries.len() < 2 {
            let remedy = "add another branch, or write the steps one after the other, without `together`";
            self.wrong(node.pos, "one branch alone is not together with anything", remedy);
            return None;
        }
        let branches: Vec<_> = entries
            .iter()
            .map(|branch| {
                let steps = self.steps(&branch.value);
                if let Err(remedy) = identifier(&branch.key) {
                    self.wrong(
                        branch.pos,
                        format!("`{}` cannot be the name of a branch", branch.key),
                        remedy,
                    );
                    return None;
                }
                Some(Branch { name: branch.key.clone(), steps })
            })
            .collect();
        branches.into_iter().collect()
    }

    /// Another runbook, and its inputs.
    pub(super) fn child(&mut self, fields: &Fields<'_>, run: &Entry) -> Option<Child> {
        let runbook = self.text(&run.value);
        let with = match fields.get("with") {
            None => Some(Template::new(run.value.pos, template::Node::Record(Vec::new()))),
            Some(with) if matches!(with.value.data, Data::Record(_)) => self.template(&with.value),
            Some(with) => {
                let what = "`with` must be a record: the other runbook's inputs by name";
                self.wrong(with.value.pos, what, "write `with: { name: value }`");
                None
            }
        };
        Some(Child { runbook: runbook?, with: with? })
    }
}
