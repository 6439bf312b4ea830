//! A runbook's form: its inputs as fields, with live choices from the inventory, and back again.

use domain::inventory::{Cluster, Inventory};
use domain::runbook::{Input, InputMistake, InputType};
use serde_json::{Map, Value};

use crate::words;

/// Inputs of the runbook are sent under names of their own, so that none can be taken for a field of ours.
pub(super) const INPUT: &str = "input.";

/// A field of the form.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) description: String,
    pub(super) required: bool,
    pub(super) value: String,
    /// Choices, where there are some: value and label.
    pub(super) choices: Option<Vec<(String, String)>>,
    pub(super) hint: &'static str,
    pub(super) mistake: Option<InputMistake>,
}

/// An input as a field, with what was given for it.
pub(super) fn draw_field(input: &Input, inventory: &Inventory, given: Option<&Value>) -> Field {
    let value = given.or(input.default.as_ref()).map(as_typed).unwrap_or_default();
    let required = !input.optional && input.default.is_none();
    let mut choices = choices(&input.kind, inventory);
    if let Some(choices) = &mut choices
        && (!required || value.is_empty())
        && input.default.is_none()
    {
        let none = if required { "– choose –" } else { "–" };
        choices.insert(0, (String::new(), none.to_owned()));
    }
    // A value that is no choice is shown as it was given, with its mistake, and not silently replaced.
    if let Some(choices) = &mut choices
        && !choices.iter().any(|(choice, _)| *choice == value)
    {
        choices.push((value.clone(), value.clone()));
    }
    Field {
        name: format!("{INPUT}{}", input.name),
        label: input.name.replace('_', " "),
        description: input.description.clone(),
        required,
        value,
        choices,
        hint: hint(&input.kind),
        mistake: None,
    }
}

/// What can be chosen, where that is known.
pub(crate) fn choices(kind: &InputType, inventory: &Inventory) -> Option<Vec<(String, String)>> {
    match kind {
        InputType::Enum(words) => Some(words.iter().map(|w| (w.clone(), w.clone())).collect()),
        InputType::Boolean => Some(vec![("true".into(), "yes".into()), ("false".into(), "no".into())]),
        InputType::Cluster => {
            let label =
                |c: &Cluster| format!("{} ({} of customers)", c.id, words::percent(&c.customers_percent));
            Some(inventory.clusters.iter().map(|c| (c.id.clone(), label(c))).collect())
        }
        InputType::ProxyFleet => Some(
            inventory.fleets.iter().map(|f| (f.id.clone(), format!("{} ({})", f.id, f.region))).collect(),
        ),
        InputType::String
        | InputType::Integer
        | InputType::Number
        | InputType::Duration
        | InputType::Percent
        | InputType::List(_) => None,
    }
}

/// A value as somebody would type it: `6`, `true`, `a, b`.
pub(super) fn as_typed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(as_typed).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn hint(kind: &InputType) -> &'static str {
    match kind {
        InputType::Integer => "6",
        InputType::Number => "1.5",
        InputType::Duration => "3m",
        InputType::Percent => "50%",
        InputType::List(_) => "a, b",
        _ => "",
    }
}

/// The inputs that a form carries.
pub(super) fn inputs(form: &[(String, String)]) -> Map<String, Value> {
    let inputs = form.iter().filter_map(|(name, value)| Some((name.strip_prefix(INPUT)?, value)));
    inputs.map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))).collect()
}

/// A field of ours.
pub(super) fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}
