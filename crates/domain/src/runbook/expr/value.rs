//! JSON to CEL and back, with nothing lost on the way: whole numbers stay whole, and what has no counterpart is an error.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as Cel;
use cel::objects::{Key, Map};
use serde_json::{Map as JsonMap, Number, Value};

/// Deeper data than any API answers with.
const MAX_DEPTH: usize = 64;

/// The value as CEL sees it.
pub(super) fn to_cel(value: &Value) -> Result<Cel, String> {
    enter(value, 0)
}

fn enter(value: &Value, depth: usize) -> Result<Cel, String> {
    if depth > MAX_DEPTH {
        return Err(format!("a value is nested more than {MAX_DEPTH} levels deep"));
    }
    Ok(match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => number(n)?,
        Value::String(s) => Cel::String(Arc::new(s.clone())),
        Value::Array(items) => {
            Cel::List(Arc::new(items.iter().map(|v| enter(v, depth + 1)).collect::<Result<_, _>>()?))
        }
        Value::Object(fields) => record(fields.iter().map(|(k, v)| (k.as_str(), v)), depth)?,
    })
}

/// A record of these fields.
pub(super) fn record<'a>(
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    depth: usize,
) -> Result<Cel, String> {
    let map = fields
        .map(|(k, v)| Ok((Key::String(Arc::new(k.to_owned())), enter(v, depth + 1)?)))
        .collect::<Result<HashMap<_, _>, String>>()?;
    Ok(Cel::Map(Map { map: Arc::new(map) }))
}

fn number(n: &Number) -> Result<Cel, String> {
    if let Some(i) = n.as_i64() {
        Ok(Cel::Int(i))
    } else if n.is_u64() {
        Err(format!("{n} is too large; whole numbers go up to {}", i64::MAX))
    } else {
        n.as_f64().map(Cel::Float).ok_or_else(|| format!("{n} is not a number that can be worked with"))
    }
}

/// The value as JSON. Fields of a record come out in alphabetical order, because CEL's records have none.
pub(super) fn from_cel(value: &Cel) -> Result<Value, String> {
    Ok(match value {
        Cel::Null => Value::Null,
        Cel::Bool(b) => Value::Bool(*b),
        Cel::Int(i) => Value::from(*i),
        Cel::UInt(u) => Value::from(*u),
        Cel::Float(f) => Number::from_f64(*f)
            .map(Value::Number)
            .ok_or_else(|| format!("the result is {f}, not a number"))?,
        Cel::String(s) => Value::String(s.as_str().to_owned()),
        Cel::List(items) => Value::Array(items.iter().map(from_cel).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut fields: Vec<_> = map.map.iter().map(|(k, v)| (k.to_string(), v)).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(
                fields
                    .into_iter()
                    .map(|(k, v)| Ok((k, from_cel(v)?)))
                    .collect::<Result<JsonMap<_, _>, String>>()?,
            )
        }
        other => return Err(format!("the result is a {}, which a runbook cannot hold", other.type_of())),
    })
}
