//! The command line of a change whose input is not all known yet.
//!
//! An action writes its command for an input of the right types. Where a value is known only at the terminal, it is given
//! a stand-in of that type (a word or a number that occurs nowhere else), and the stand-in is replaced in the line by what
//! the shell shall put there. So the line is the very one that the run page shows, whatever the action.

use serde_json::{Map, Value};

use super::jq::Unsayable;
use super::shell;
use crate::action::Action;

/// An input, of which parts are filters.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    /// It is this.
    Known(Value),
    /// What this filter gives.
    Filter(String),
    /// A list, some of whose items are filters.
    List(Vec<Given>),
    /// A record, some of whose fields are filters.
    Record(Vec<(String, Given)>),
}

impl Given {
    /// The filter that gives all of it.
    pub(super) fn filter(&self) -> String {
        match self {
            Self::Filter(filter) => filter.clone(),
            other => other.term(),
        }
    }

    /// The same, as a part of another filter.
    pub(super) fn term(&self) -> String {
        match self {
            Self::Known(value) => value.to_string(),
            Self::Filter(filter) if path(filter) => filter.clone(),
            Self::Filter(filter) => format!("({filter})"),
            Self::List(items) => format!("[{}]", items.iter().map(Self::term).collect::<Vec<_>>().join(", ")),
            Self::Record(fields) => {
                let field = |(name, value): &(String, Self)| format!("{name}: {}", value.term());
                format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// As one word of a shell: text as it is, everything else as JSON.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Known(Value::String(text)) => shell::quote(text),
            Self::Known(value) => shell::quote(&value.to_string()),
            Self::Filter(filter) => shell::now(filter),
            other => shell::now(&other.filter()),
        }
    }
}

/// Is it nothing but a path, such as `$item.id`?
fn path(filter: &str) -> bool {
    filter.starts_with('$') && filter.chars().all(|c| c.is_ascii_alphanumeric() || "$._[]".contains(c))
}

/// The command line that does it.
pub(super) fn line(action: &dyn Action, with: &[(String, Given)]) -> Result<String, Unsayable> {
    let schema = action.spec().input.as_value();
    let mut stand_ins = StandIns::default();
    let mut input = Map::new();
    for (name, given) in with {
        let of = schema.pointer("/properties").and_then(|p| p.get(name)).unwrap_or(&Value::Null);
        input.insert(name.clone(), stand_ins.value(name, given, of)?);
    }
    let line = action.command(&Value::Object(input)).map_err(|e| Unsayable(e.message))?;
    Ok(stand_ins.replace(&line))
}

/// What stands in for what.
#[derive(Default)]
struct StandIns(Vec<(String, String)>);

impl StandIns {
    fn value(&mut self, name: &str, given: &Given, schema: &Value) -> Result<Value, Unsayable> {
        match given {
            Given::Known(value) => Ok(value.clone()),
            Given::Filter(filter) => self.stand_in(name, filter, schema),
            Given::List(items) => {
                let of = schema.get("items").unwrap_or(&Value::Null);
                items.iter().map(|item| self.value(name, item, of)).collect()
            }
            Given::Record(fields) => {
                let of = |field: &str| schema.pointer("/properties").and_then(|p| p.get(field));
                let fields = fields.iter().map(|(field, given)| {
                    Ok((field.clone(), self.value(field, given, of(field).unwrap_or(&Value::Null))?))
                });
                fields.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }

    fn stand_in(&mut self, name: &str, filter: &str, schema: &Value) -> Result<Value, Unsayable> {
        let unsayable = || Unsayable(format!("a command whose `{name}` is known only later"));
        // No group, host or number of hosts is called this.
        let number = 1_979_000_000 + self.0.len();
        let word = format!("standin{number}");
        match kind(schema) {
            "string" if schema.get("enum").is_none() => {
                self.0.push((word.clone(), shell::now(filter)));
                Ok(Value::from(word))
            }
            "integer" | "number" => {
                self.0.push((number.to_string(), shell::now(filter)));
                Ok(Value::from(number))
            }
            "array"
                if schema.get("items").is_some_and(|of| kind(of) == "string" && of.get("enum").is_none()) =>
            {
                self.0.push((word.clone(), shell::now_each(filter)));
                Ok(Value::from(vec![word]))
            }
            "object" => {
                let fields = schema.get("properties").and_then(Value::as_object).ok_or_else(unsayable)?;
                let fields = fields.iter().map(|(field, of)| {
                    let whole = Given::Filter(filter.to_owned()).term();
                    Ok((field.clone(), self.stand_in(field, &format!("{whole}.{field}"), of)?))
                });
                fields.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            _ => Err(unsayable()),
        }
    }

    /// The latest first: none is the beginning of another.
    fn replace(&self, line: &str) -> String {
        self.0.iter().rev().fold(line.to_owned(), |line, (stand_in, by)| line.replace(stand_in, by))
    }
}

/// The type that a schema allows, `null` aside.
fn kind(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|k| *k != "null").unwrap_or("")
        }
        _ => "",
    }
}
