//! Inputs: the fields of the form.

use serde_json::Value;

use super::Decoder;
use super::field::{Fields, identifier, json, kind};
use crate::runbook::suggest::suggest;
use crate::runbook::yaml::{Data, Entry, Node};
use crate::runbook::{Input, InputType, inputs};

pub(super) const KEYS: &[&str] = &["type", "description", "optional", "default", "values", "of"];
pub(super) const TYPES: &[&str] = &[
    "string",
    "integer",
    "number",
    "boolean",
    "duration",
    "percent",
    "enum",
    "list",
    "cluster",
    "proxy_fleet",
];

impl Decoder {
    /// All inputs, in order.
    pub(super) fn inputs(&mut self, node: &Node) -> Vec<Input> {
        let Data::Record(entries) = &node.data else {
            let what = format!("`inputs` must be a record, and this is {}", kind(node));
            self.wrong(node.pos, what, "write `name: { type: string, description: … }` for each");
            return Vec::new();
        };
        entries.iter().filter_map(|entry| self.input(entry)).collect()
    }

    fn input(&mut self, entry: &Entry) -> Option<Input> {
        if let Err(remedy) = identifier(&entry.key) {
            self.wrong(entry.pos, format!("`{}` cannot be the name of an input", entry.key), remedy);
        }
        let fields = self.fields(&entry.value, "an input", KEYS)?;
        let kind = self.kind(&fields, "type");
        let description = self
            .required(&fields, "description", "`description:` and what to put there")
            .and_then(|e| self.text(&e.value));
        let optional = fields.get("optional").map_or(Some(false), |e| self.bool(&e.value));
        let kind = kind?;
        let default = fields.get("default").map(|e| (e, default(&kind, &e.value)));
        if let Some((entry, value)) = &default
            && let Err((what, remedy)) = inputs::store(&kind, value, None)
        {
            self.wrong(entry.value.pos, what, remedy);
        }
        Some(Input {
            name: entry.key.clone(),
            kind,
            description: description?,
            optional: optional?,
            default: default.map(|(_, value)| value),
        })
    }

    fn kind(&mut self, fields: &Fields<'_>, key: &str) -> Option<InputType> {
        let entry = self.required(fields, key, &format!("`{key}:`, one of {}", TYPES.join(", ")))?;
        let word = self.text(&entry.value)?;
        let kind = match word.as_str() {
            "string" => InputType::String,
            "integer" => InputType::Integer,
            "number" => InputType::Number,
            "boolean" => InputType::Boolean,
            "duration" => InputType::Duration,
            "percent" => InputType::Percent,
            "cluster" => InputType::Cluster,
            "proxy_fleet" => InputType::ProxyFleet,
            "enum" => InputType::Enum(self.words(fields)?),
            "list" if key == "of" => {
                self.wrong(
                    entry.value.pos,
                    "a list of lists is not an input",
                    "take another type for the items",
                );
                return None;
            }
            "list" => InputType::List(Box::new(self.kind(fields, "of")?)),
            _ => {
                let remedy = suggest(&word, TYPES.iter().copied())
                    .unwrap_or_else(|| format!("take one of {}", TYPES.join(", ")));
                self.wrong(entry.value.pos, format!("there is no type `{word}`"), remedy);
                return None;
            }
        };
        let is_enum = matches!(&kind, InputType::Enum(_))
            || matches!(&kind, InputType::List(of) if matches!(**of, InputType::Enum(_)));
        if let Some(values) = fields.get("values").filter(|_| !is_enum) {
            self.wrong(values.pos, "`values` belongs to `type: enum`", "leave it out, or write `type: enum`");
        }
        if let Some(of) = fields.get("of").filter(|_| key == "type" && word != "list") {
            self.wrong(of.pos, "`of` belongs to `type: list`", "leave it out, or write `type: list`");
        }
        Some(kind)
    }

    fn words(&mut self, fields: &Fields<'_>) -> Option<Vec<String>> {
        let entry = self.required(fields, "values", "`values:` and the words, such as `[all, sick]`")?;
        let Data::List(items) = &entry.value.data else {
            self.wrong(entry.value.pos, "`values` must be a list of words", "write `values: [all, sick]`");
            return None;
        };
        if items.is_empty() {
            self.wrong(
                entry.value.pos,
                "`values` is empty, so nothing could be given",
                "write `values: [all, sick]`",
            );
            return None;
        }
        let words: Vec<_> = items.iter().map(|item| self.text(item)).collect();
        words.into_iter().collect()
    }
}

/// A default. Where text is wanted it is what stands there: as a number, `8.10` would become `8.1`, and an account's id lose its zero.
fn default(kind: &InputType, node: &Node) -> Value {
    match (kind, &node.data) {
        (
            InputType::String | InputType::Enum(_) | InputType::Cluster | InputType::ProxyFleet,
            Data::Scalar(scalar),
        ) if !scalar.is_null() => Value::from(scalar.text.as_str()),
        (InputType::List(of), Data::List(items)) => items.iter().map(|item| default(of, item)).collect(),
        _ => json(node),
    }
}
