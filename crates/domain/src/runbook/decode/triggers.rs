//! `triggers:` which signals the runbook may be the answer to.

use super::Decoder;
use crate::runbook::trigger::COOLDOWN;
use crate::runbook::yaml::{Data, Node};
use crate::runbook::{Mode, Template, Trigger, template};

pub(super) const KEYS: &[&str] = &["name", "where", "inputs", "mode", "cooldown"];
const EXAMPLE: &str =
    "write `- { name: logins-fail, where: signal.kind == \"logins_fail\", inputs: { … }, mode: ask }`";

impl Decoder {
    pub(super) fn triggers(&mut self, node: &Node) -> Vec<Trigger> {
        let Data::List(items) = &node.data else {
            self.wrong(node.pos, "`triggers` must be a list", EXAMPLE);
            return Vec::new();
        };
        let mut triggers: Vec<Trigger> = Vec::new();
        for item in items {
            let Some(trigger) = self.trigger(item) else { continue };
            if triggers.iter().any(|other| other.name == trigger.name) {
                let what = format!("a second trigger is called `{}`", trigger.name);
                self.wrong(trigger.pos, what, "give each its own name: verdicts tell it by that");
            }
            triggers.push(trigger);
        }
        triggers
    }

    fn trigger(&mut self, node: &Node) -> Option<Trigger> {
        let fields = self.fields(node, "a trigger", KEYS)?;
        let name = self.required(&fields, "name", "`name: logins-fail`");
        let pos = name.map(|e| e.value.pos);
        let name = name.and_then(|e| self.text(&e.value));
        let sound = |name: &str| {
            name.len() <= 60
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if let (Some(name), Some(pos)) = (&name, pos)
            && !sound(name)
        {
            let what = format!("`{name}` is not a name for a trigger");
            self.wrong(pos, what, "use at most 60 small letters, digits and `-`, a letter first");
        }
        let condition = self
            .required(
                &fields,
                "where",
                "`where:` and a condition on `signal`, such as `signal.kind == \"logins_fail\"`",
            )
            .and_then(|e| self.expr(&e.value));
        let inputs = match fields.get("inputs").map(|e| &e.value) {
            None => Some(Template::new(node.pos, template::Node::Record(Vec::new()))),
            Some(node) if matches!(node.data, Data::Record(_)) => self.template(node),
            Some(node) => {
                let remedy = "write `inputs: { fleet: \"${signal.labels.fleet}\" }`";
                self.wrong(node.pos, "`inputs` of a trigger must be a record", remedy);
                None
            }
        };
        let mode = fields.get("mode").map_or(Some(Mode::default()), |e| {
            self.choice(&e.value, &[("shadow", Mode::Shadow), ("ask", Mode::Ask), ("auto", Mode::Auto)])
        });
        let cooldown = fields.get("cooldown").map_or(Some(COOLDOWN), |e| self.seconds(&e.value));
        Some(Trigger {
            name: name?,
            condition: condition?,
            inputs: inputs?,
            mode: mode?,
            cooldown: cooldown?,
            pos: pos?,
        })
    }
}
