//! Inputs: from what a person or a trigger gave, over what is stored, to what expressions see.
//!
//! ```text
//!  given (form, Slack, command, JSON) ──resolve_inputs──▶ stored (ids, `3m`, `50%`) ──input_values──▶ `inputs`
//! ```
//!
//! Stored is what a page shows and a run is pinned to; expressions see records, seconds and numbers, always worked out
//! against the inventory of the moment. Credentials are in neither.

use serde_json::{Map, Value, json};

use super::scope::{kind, listed};
use super::suggest::suggest;
use super::{Input, InputType, Runbook};
use crate::inventory::{Cluster, Inventory, ProxyFleet};

/// What is wrong with one input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InputMistake {
    /// Its name.
    pub input: String,
    /// What is wrong.
    pub what: String,
    /// What to give instead.
    pub remedy: String,
}

impl std::fmt::Display for InputMistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "input `{}`: {}; {}", self.input, self.what, self.remedy)
    }
}

/// What is wrong with a value, and what to give instead.
pub(super) type Wrong = (String, String);

/// Checks what was given, fills in the defaults, and returns what is to be stored; or all mistakes.
///
/// Text is taken for every type, as forms and chat commands have nothing else: `6`, `50%`, `true` or `on`, `3m`, and
/// `a, b` for a list. Empty text is nothing.
pub fn resolve_inputs(
    runbook: &Runbook,
    inventory: &Inventory,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<InputMistake>> {
    let mut mistakes = Vec::new();
    let mut stored = Map::new();
    for name in given.keys().filter(|name| !runbook.inputs.iter().any(|i| i.name == **name)) {
        let known = runbook.inputs.iter().map(|i| i.name.as_str());
        let remedy = suggest(name, known).unwrap_or_else(|| {
            format!("`{}` takes {}", runbook.name, listed(runbook.inputs.iter().map(|i| &i.name)))
        });
        mistakes.push(InputMistake {
            input: name.clone(),
            what: "the runbook has no such input".into(),
            remedy,
        });
    }
    for input in &runbook.inputs {
        let value = given.get(&input.name).filter(|v| !is_nothing(v, &input.kind)).or(input.default.as_ref());
        match value {
            Some(value) => match store(&input.kind, value, Some(inventory)) {
                Ok(value) => {
                    stored.insert(input.name.clone(), value);
                }
                Err((what, remedy)) => {
                    mistakes.push(InputMistake { input: input.name.clone(), what, remedy })
                }
            },
            None if input.optional => {}
            None => mistakes.push(InputMistake {
                input: input.name.clone(),
                what: "it is missing".into(),
                remedy: example(input, inventory),
            }),
        }
    }
    if mistakes.is_empty() { Ok(stored) } else { Err(mistakes) }
}

/// Checks what a parent's expressions gave to a runbook that it runs, and returns what is to be stored.
pub fn child_inputs(
    runbook: &Runbook,
    inventory: &Inventory,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<InputMistake>> {
    resolve_inputs(runbook, inventory, &child_given(runbook, given)?)
}

/// What expressions see, as a person would give it: the id of a record, a duration of seconds. A list that turned out empty
/// is a mistake: left out it would become the default, and an empty set of targets never means "all".
pub(super) fn child_given(
    runbook: &Runbook,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<InputMistake>> {
    let kind = |name: &str| runbook.inputs.iter().find(|i| i.name == name).map(|i| &i.kind);
    let empty = given.iter().filter(|(_, value)| value.as_array().is_some_and(Vec::is_empty));
    let mistakes: Vec<_> = empty
        .map(|(name, _)| InputMistake {
            input: name.clone(),
            what: "the list is empty; an empty set of targets never means \"all\"".into(),
            remedy: "leave the step out with `if:` when there is nothing to do".into(),
        })
        .collect();
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let plain = |(name, value): (&String, &Value)| {
        (name.clone(), kind(name).map_or_else(|| value.clone(), |kind| unseen(kind, value)))
    };
    Ok(given.iter().map(plain).collect())
}

/// The inverse of [`see`].
fn unseen(kind: &InputType, value: &Value) -> Value {
    match (kind, value) {
        (InputType::Cluster | InputType::ProxyFleet, Value::Object(record)) => {
            record.get("id").cloned().unwrap_or_default()
        }
        (InputType::Duration, Value::Number(seconds)) => Value::from(format!("{seconds}s")),
        (InputType::List(of), Value::Array(items)) => items.iter().map(|item| unseen(of, item)).collect(),
        _ => value.clone(),
    }
}

/// What expressions see as `inputs`: every input of the runbook, `null` where nothing was stored. A cluster or fleet that
/// the inventory no longer has is `null` too.
pub fn input_values(runbook: &Runbook, inventory: &Inventory, stored: &Map<String, Value>) -> Value {
    let values = runbook.inputs.iter().map(|input| {
        let value = stored.get(&input.name).map_or(Value::Null, |value| see(&input.kind, value, inventory));
        (input.name.clone(), value)
    });
    Value::Object(values.collect())
}

/// What expressions see as `inventory`.
pub fn inventory_value(inventory: &Inventory) -> Value {
    json!({
        "clusters": inventory.clusters.iter().map(cluster_value).collect::<Vec<_>>(),
        "fleets": inventory.fleets.iter().map(fleet_value).collect::<Vec<_>>(),
    })
}

/// A cluster without its credentials. Taken apart field by field, so that a new one cannot slip out unseen.
fn cluster_value(cluster: &Cluster) -> Value {
    let Cluster {
        id,
        region,
        account,
        identifier: _,
        endpoint,
        port,
        customers_percent,
        max_connections,
        probe: _,
    } = cluster;
    json!({
        "id": id, "region": region, "account": account, "identifier": cluster.rds_identifier(), "endpoint": endpoint, "port": port,
        "customers_percent": customers_percent, "max_connections": max_connections,
    })
}

/// A fleet without its credentials.
fn fleet_value(fleet: &ProxyFleet) -> Value {
    let ProxyFleet {
        id,
        region,
        account,
        group,
        target_group,
        port,
        admin_port,
        admin: _,
        clusters,
        backend_connections,
    } = fleet;
    json!({
        "id": id, "region": region, "account": account, "group": group, "target_group": target_group, "port": port,
        "admin_port": admin_port, "clusters": clusters, "backend_connections": backend_connections,
    })
}

fn is_nothing(value: &Value, kind: &InputType) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty() && matches!(kind, InputType::List(_)),
        _ => false,
    }
}

/// The value as it is stored. Without an inventory (a default in a file), ids are not looked up.
pub(super) fn store(kind: &InputType, value: &Value, inventory: Option<&Inventory>) -> Result<Value, Wrong> {
    let text = match value {
        Value::String(text) => Some(text.trim()),
        _ => None,
    };
    match kind {
        InputType::String => match value {
            Value::String(text) => Ok(Value::from(text.as_str())),
            Value::Number(_) | Value::Bool(_) => Ok(Value::from(value.to_string())),
            _ => Err(mismatch(value, "text", "text")),
        },
        InputType::Integer => value
            .as_i64()
            .or_else(|| text?.parse().ok())
            .map(Value::from)
            .ok_or_else(|| mismatch(value, "a whole number", "`6`")),
        InputType::Number => value
            .as_f64()
            .or_else(|| text?.parse().ok())
            .filter(|n| n.is_finite())
            .map(Value::from)
            .ok_or_else(|| mismatch(value, "a number", "`1.5`")),
        InputType::Boolean => match (value, text) {
            (Value::Bool(b), _) => Ok(Value::Bool(*b)),
            (_, Some("true" | "on" | "yes")) => Ok(Value::Bool(true)),
            (_, Some("false" | "off" | "no")) => Ok(Value::Bool(false)),
            _ => Err(mismatch(value, "true or false", "`true` or `false`")),
        },
        InputType::Duration => text
            .and_then(|text| humantime::parse_duration(text).ok())
            .filter(|d| d.as_secs() > 0 && d.subsec_nanos() == 0)
            .map(|d| Value::from(humantime::format_duration(d).to_string()))
            .ok_or_else(|| mismatch(value, "a duration of whole seconds", "`90s` or `3m`")),
        InputType::Percent => percent(value)
            .map(|p| Value::from(format!("{p}%")))
            .ok_or_else(|| mismatch(value, "a percentage from 0% to 100%", "`50%`")),
        InputType::Enum(words) => {
            text.filter(|text| words.iter().any(|word| word == text)).map(Value::from).ok_or_else(|| {
                let shown = shown(value);
                let remedy = text
                    .and_then(|text| suggest(text, words.iter().map(String::as_str)))
                    .unwrap_or_else(|| format!("give one of {}", listed(words.iter())));
                (format!("{shown} is not one of {}", listed(words.iter())), remedy)
            })
        }
        InputType::List(of) => {
            let items: Vec<Value> = match value {
                Value::Array(items) => items.clone(),
                Value::String(text) => {
                    let parts = text.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty());
                    let items: Vec<Value> = parts.map(Value::from).collect();
                    if items.is_empty() {
                        let what =
                            format!("{} names nothing; an empty list never means \"all\"", shown(value));
                        return Err((what, "give `a, b`, or leave it empty where it is optional".into()));
                    }
                    items
                }
                _ => return Err(mismatch(value, "a list", "`a, b`")),
            };
            items.iter().map(|item| store(of, item, inventory)).collect::<Result<_, _>>().map(Value::Array)
        }
        InputType::Cluster => {
            let ids = inventory.map(|i| i.clusters.iter().map(|c| &c.id).collect());
            known_id("cluster", text, value, ids)
        }
        InputType::ProxyFleet => {
            let ids = inventory.map(|i| i.fleets.iter().map(|f| &f.id).collect());
            known_id("proxy fleet", text, value, ids)
        }
    }
}

fn known_id(
    what: &str,
    text: Option<&str>,
    value: &Value,
    ids: Option<Vec<&String>>,
) -> Result<Value, Wrong> {
    let Some(id) = text else {
        return Err(mismatch(value, &format!("the id of a {what}"), "its id"));
    };
    match ids {
        Some(ids) if !ids.iter().any(|known| *known == id) => {
            let remedy = match suggest(id, ids.iter().map(|id| id.as_str())) {
                Some(meant) => format!("{meant} There is: {}", listed(ids.into_iter())),
                None => format!("there is: {}", listed(ids.into_iter())),
            };
            Err((format!("the inventory has no {what} `{id}`"), remedy))
        }
        _ => Ok(Value::from(id)),
    }
}

/// The stored value as expressions see it.
fn see(kind: &InputType, value: &Value, inventory: &Inventory) -> Value {
    match (kind, value) {
        (InputType::Duration, Value::String(text)) => {
            humantime::parse_duration(text).map_or(Value::Null, |d| Value::from(d.as_secs()))
        }
        (InputType::Percent, value) => percent(value).map_or(Value::Null, Value::from),
        (InputType::List(of), Value::Array(items)) => {
            items.iter().map(|item| see(of, item, inventory)).collect()
        }
        (InputType::Cluster, Value::String(id)) => inventory.cluster(id).map_or(Value::Null, cluster_value),
        (InputType::ProxyFleet, Value::String(id)) => inventory.fleet(id).map_or(Value::Null, fleet_value),
        _ => value.clone(),
    }
}

/// `50`, `50%` or `"50"`, from 0 to 100.
fn percent(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().trim_end_matches('%').trim_end().parse().ok()?,
        _ => value.as_f64()?,
    };
    (0.0..=100.0).contains(&number).then_some(number)
}

fn mismatch(value: &Value, want: &str, example: &str) -> Wrong {
    (format!("{} is not {want}", shown(value)), format!("give {example}"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", text.chars().take(60).collect::<String>()),
        Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        other => format!("`{other}`"),
    }
}

fn example(input: &Input, inventory: &Inventory) -> String {
    match &input.kind {
        InputType::String => "give text".into(),
        InputType::Integer => "give a whole number".into(),
        InputType::Number => "give a number".into(),
        InputType::Boolean => "give `true` or `false`".into(),
        InputType::Duration => "give a duration such as `3m`".into(),
        InputType::Percent => "give a percentage such as `50%`".into(),
        InputType::Enum(words) => format!("give one of {}", listed(words.iter())),
        InputType::List(_) => "give a list such as `a, b`".into(),
        InputType::Cluster => format!("give one of {}", listed(inventory.clusters.iter().map(|c| &c.id))),
        InputType::ProxyFleet => format!("give one of {}", listed(inventory.fleets.iter().map(|f| &f.id))),
    }
}
