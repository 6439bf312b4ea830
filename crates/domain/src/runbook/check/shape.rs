//! What is known of a value without having it: a small type, read off JSON Schema.
//!
//! It is for finding mistakes, so it must never see one where there is none: what is not surely known is [`Shape::Any`],
//! and `null` is not told apart (an optional text is a text).

use std::fmt;

use serde_json::Value;

use crate::runbook::InputType;

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// Not known.
    Any,
    /// `null`.
    Null,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number with decimals.
    Number,
    /// Text.
    Text,
    /// One of these texts.
    Word(Vec<String>),
    /// A list of that.
    List(Box<Shape>),
    /// A record.
    Record(Record),
}

/// The fields of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// Those that are known.
    pub(super) fields: Vec<Field>,
    /// There may be others.
    pub(super) open: bool,
    /// Others are refused by who takes it.
    pub(super) strict: bool,
}

/// A field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: String,
    /// What it holds.
    pub(super) shape: Shape,
    /// Always there.
    pub(super) required: bool,
}

/// How deep a schema is followed: some describe trees.
const MAX_DEPTH: usize = 12;

impl Shape {
    /// A list of that.
    pub(super) fn list(of: Self) -> Self {
        Self::List(Box::new(of))
    }

    /// A record with exactly these fields.
    pub(super) fn record<'a>(fields: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(name, shape)| Field { name: name.to_owned(), shape, required: true })
            .collect();
        Self::Record(Record { fields, open: false, strict: false })
    }

    /// Is it text?
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Word(_))
    }

    /// From a JSON Schema.
    pub(super) fn of_schema(schema: &Value) -> Self {
        of_schema(schema, schema, 0)
    }

    /// From a value.
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(n) if n.is_f64() => Self::Number,
            Value::Number(_) => Self::Int,
            Value::String(text) => Self::Word(vec![text.clone()]),
            Value::Array(items) => {
                Self::list(items.iter().map(Self::of_value).reduce(Self::or).unwrap_or(Self::Any))
            }
            Value::Object(fields) => {
                Self::record(fields.iter().map(|(name, value)| (name.as_str(), Self::of_value(value))))
            }
        }
    }

    /// What expressions see of an input of this type.
    pub(super) fn of_input(kind: &InputType) -> Self {
        match kind {
            InputType::String => Self::Text,
            InputType::Integer | InputType::Duration => Self::Int,
            InputType::Number | InputType::Percent => Self::Number,
            InputType::Boolean => Self::Bool,
            InputType::Enum(words) => Self::Word(words.clone()),
            InputType::List(of) => Self::list(Self::of_input(of)),
            InputType::Cluster => cluster(),
            InputType::ProxyFleet => fleet(),
        }
    }

    /// What expressions see as `inventory`.
    pub(super) fn inventory() -> Self {
        Self::record([("clusters", Self::list(cluster())), ("fleets", Self::list(fleet()))])
    }

    /// What expressions see as `run`.
    pub(super) fn run() -> Self {
        Self::record([("id", Self::Text), ("requested_by", Self::Text)])
    }

    /// What expressions see as `signal`. Labels are whatever the source has.
    pub(super) fn signal() -> Self {
        let labels = Self::Record(Record { fields: Vec::new(), open: true, strict: false });
        let texts = ["source", "kind", "severity", "summary"].map(|name| (name, Self::Text));
        Self::record(texts.into_iter().chain([("labels", labels)]))
    }

    /// One or the other.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (a, b) if a == b => a,
            (Self::Null, one) | (one, Self::Null) => one,
            (Self::Word(mut a), Self::Word(b)) => {
                a.extend(b);
                a.dedup();
                Self::Word(a)
            }
            (a, b) if a.is_text() && b.is_text() => Self::Text,
            (Self::List(a), Self::List(b)) => Self::list(a.or(*b)),
            _ => Self::Any,
        }
    }
}

/// What [`crate::runbook::inventory_value`] tells of a cluster; a test holds the two together.
fn cluster() -> Shape {
    Shape::record([
        ("id", Shape::Text),
        ("region", Shape::Text),
        ("account", Shape::Text),
        ("identifier", Shape::Text),
        ("endpoint", Shape::Text),
        ("port", Shape::Int),
        ("customers_percent", Shape::Number),
        ("max_connections", Shape::Int),
    ])
}

/// What it tells of a fleet.
fn fleet() -> Shape {
    Shape::record([
        ("id", Shape::Text),
        ("region", Shape::Text),
        ("account", Shape::Text),
        ("group", Shape::Text),
        ("target_group", Shape::Text),
        ("port", Shape::Int),
        ("admin_port", Shape::Int),
        ("clusters", Shape::list(Shape::Text)),
        ("backend_connections", Shape::Int),
    ])
}

fn of_schema(schema: &Value, root: &Value, depth: usize) -> Shape {
    if depth > MAX_DEPTH {
        return Shape::Any;
    }
    let inner = |schema: &Value| of_schema(schema, root, depth + 1);
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.strip_prefix('#').and_then(|path| root.pointer(path)).map_or(Shape::Any, inner);
    }
    if let Some(word) = schema["const"].as_str() {
        return Shape::Word(vec![word.to_owned()]);
    }
    if let Some(values) = schema["enum"].as_array() {
        let words: Option<Vec<String>> =
            values.iter().filter(|v| !v.is_null()).map(|v| v.as_str().map(str::to_owned)).collect();
        return words.filter(|w| !w.is_empty()).map_or(Shape::Any, Shape::Word);
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(variants) = schema[key].as_array() {
            let mut shapes = variants.iter().filter(|v| v["type"] != "null").map(inner);
            let Some(first) = shapes.next() else { return Shape::Any };
            return shapes.try_fold(first, same_kind).unwrap_or(Shape::Any);
        }
    }
    let kind = match &schema["type"] {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            match (kinds.next(), kinds.next()) {
                (Some(only), None) => only,
                _ => return Shape::Any,
            }
        }
        _ => return Shape::Any,
    };
    match kind {
        "boolean" => Shape::Bool,
        "integer" => Shape::Int,
        "number" => Shape::Number,
        "string" => Shape::Text,
        "array" => Shape::list(schema.get("items").map_or(Shape::Any, inner)),
        "object" => record(schema, inner),
        _ => Shape::Any,
    }
}

/// Words and words are words; anything else that differs is not known.
fn same_kind(a: Shape, b: Shape) -> Option<Shape> {
    match (&a, &b) {
        (Shape::Word(_), Shape::Word(_)) => Some(a.or(b)),
        _ if a == b => Some(a),
        _ => None,
    }
}

fn record(schema: &Value, inner: impl Fn(&Value) -> Shape) -> Shape {
    let required = |name: &str| schema["required"].as_array().is_some_and(|r| r.iter().any(|n| n == name));
    let fields: Vec<Field> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| Field { name: name.clone(), shape: inner(schema), required: required(name) })
        .collect();
    let open = match schema.get("additionalProperties") {
        Some(Value::Bool(open)) => *open,
        Some(_) => true,
        // Schemas derived from a type list all of its fields.
        None => fields.is_empty(),
    };
    Shape::Record(Record { fields, open, strict: schema["additionalProperties"] == false })
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("something"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("true or false"),
            Self::Int => f.write_str("a whole number"),
            Self::Number => f.write_str("a number with decimals"),
            Self::Text => f.write_str("text"),
            Self::Word(words) if words.len() == 1 => f.write_str("text"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::List(of) => match **of {
                Self::Any => f.write_str("a list"),
                Self::Text | Self::Word(_) => f.write_str("a list of texts"),
                Self::Int => f.write_str("a list of whole numbers"),
                Self::Record(_) => f.write_str("a list of records"),
                _ => f.write_str("a list"),
            },
            Self::Record(_) => f.write_str("a record"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Inventory;
    use crate::runbook::inventory_value;

    #[test]
    fn shapes_of_the_inventory_are_those_of_its_values() {
        let inventory: Inventory = serde_json::from_value(serde_json::json!({
            "clusters": [{"id": "a", "region": "r", "account": "us", "endpoint": "e", "probe": {"user": "u", "password": {"env": "X"}}}],
            "fleets": [{"id": "f", "region": "r", "account": "us", "group": "g", "target_group": "t", "clusters": ["a"],
                "admin": {"user": "u", "password": {"env": "X"}}}],
        }))
        .unwrap();
        let value = inventory_value(&inventory);
        assert!(!value.to_string().contains("password"), "{value}");
        for (list, shape) in [("clusters", cluster()), ("fleets", fleet())] {
            let Shape::Record(seen) = Shape::of_value(&value[list][0]) else { panic!() };
            let Shape::Record(told) = shape else { panic!() };
            let loose = |shape: &Shape| shape.to_string().replace("one of ", "");
            let pairs = |record: &Record| {
                record.fields.iter().map(|f| (f.name.clone(), loose(&f.shape))).collect::<Vec<_>>()
            };
            assert_eq!(pairs(&seen), pairs(&told));
        }
    }

    #[test]
    fn optional_fields_and_choices_are_read_off_a_schema() {
        let shape = Shape::of_schema(&serde_json::json!({
            "type": "object", "required": ["a"],
            "properties": {
                "a": {"type": ["integer", "null"]},
                "b": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
                "c": {"oneOf": [{"const": "x"}, {"const": "y"}]},
                "d": {"oneOf": [{"type": "string"}, {"type": "object"}]},
            },
        }));
        let Shape::Record(record) = shape else { panic!() };
        let shapes: Vec<_> = record.fields.iter().map(|f| (f.shape.to_string(), f.required)).collect();
        assert_eq!(
            shapes,
            [
                ("a whole number".into(), true),
                ("a list of texts".into(), false),
                ("one of x, y".into(), false),
                ("something".into(), false)
            ]
        );
    }
}
