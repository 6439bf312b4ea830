//! Schemas of answers that handlers put together, and of problems.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::Generators;

/// An object with these members, all of them there; there may be more.
pub(super) fn object(members: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

pub(super) fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

pub(super) fn boolean() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn number() -> Value {
    json!({ "type": "integer" })
}

/// Some object, told no further here.
pub(super) fn some_object() -> Value {
    json!({ "type": "object" })
}

/// Anything, which its reader knows.
pub(super) fn anything() -> Value {
    json!({})
}

pub(super) fn at() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

pub(super) fn or_null(mut schema: Value) -> Value {
    match schema["type"].as_str().map(str::to_owned) {
        Some(kind) => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        None => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

pub(super) fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// A page of a list under its name, and where the next one begins.
pub(super) fn page<T: JsonSchema>(generators: &mut Generators, name: &str) -> Value {
    let items = generators.written::<T>();
    object(&[(name, list(items)), ("next", or_null(text()))])
}

/// What every refusal looks like (RFC 9457).
pub(super) fn problem() -> Value {
    let mut problem = object(&[
        ("type", text()),
        ("title", text()),
        ("status", json!({ "type": "integer", "minimum": 400, "maximum": 599 })),
        ("code", json!({ "type": "string", "description": "Stable; programs branch on it." })),
        ("detail", json!({ "type": "string", "description": "What is wrong, in a sentence." })),
    ]);
    problem["properties"]["remedy"] = json!({ "type": "string", "description": "What to do about it." });
    problem
}

/// What a status of a refusal means.
pub(super) fn refused(status: u16) -> &'static str {
    match status {
        400 => "The request is not understood.",
        401 => "No token, or one that is not good.",
        403 => "The role or the token's scope does not allow it.",
        404 => "There is no such thing.",
        409 => "Not now: something is in the way, or has changed.",
        413 => "The request is too large.",
        415 => "The body is not `application/json`.",
        422 => "Understood, and it does not make sense.",
        429 => "Too often; `Retry-After` says when to come back.",
        _ => "Refused.",
    }
}
