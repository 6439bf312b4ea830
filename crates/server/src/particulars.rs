//! What the audit keeps beside an act, in words: what was not given is left out, a `*` is everything, a hash is told by its
//! beginning, and a time as people read it.

use domain::Timestamp;
use domain::brake::EVERYTHING;
use serde_json::{Map, Value};

use crate::words::{self, shorten};

/// The particulars of an entry, each in a few words.
pub(crate) fn told(details: &Value) -> Vec<(String, String)> {
    match details {
        Value::Object(fields) => {
            given(fields).map(|(name, value)| (name.replace('_', " "), said(name, value))).collect()
        }
        other => words::facts(other),
    }
}

fn given(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    fields.iter().filter(|(_, value)| !value.is_null())
}

fn said(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text_of(text),
        Value::Object(fields) => shorten(&record(name, fields), 160),
        other => words::brief(other),
    }
}

/// The fields of a record in one line. The one that is called as the record is says what it is: `skip, step warm`.
fn record(of: &str, fields: &Map<String, Value>) -> String {
    let field = |(name, value): (&String, &Value)| match (name.replace('_', " "), value) {
        (name, Value::Bool(true)) => name,
        (name, Value::Bool(false)) => format!("not {name}"),
        (_, value) if name == of => said(name, value),
        (words, value) => format!("{words} {}", said(name, value)),
    };
    given(fields).map(field).collect::<Vec<_>>().join(", ")
}

fn text_of(text: &str) -> String {
    let is_hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match text {
        EVERYTHING => "everything".to_owned(),
        _ if is_hash => shorten(text, 12),
        _ => text
            .parse::<Timestamp>()
            .map_or_else(|_| shorten(text, 160), |at| at.format("%-d %b %Y %H:%M:%S").to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(details: &Value) -> String {
        let told = told(details).into_iter();
        told.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn what_was_not_given_is_left_out_and_the_rest_reads_as_elsewhere() {
        let hash = "0123456789abcdef".repeat(4);
        for (details, says) in [
            (json!({ "reason": null, "until": null, "held_by": "ada" }), "held by: ada"),
            (json!({ "overrides": { "despite_freeze": true } }), "overrides: despite freeze"),
            (json!({ "was_on": false }), "was on: no"),
            (json!({ "ask": { "ask": "pause", "reason": null } }), "ask: pause"),
            (json!({ "ask": { "ask": "skip", "step": "warm" } }), "ask: skip, step warm"),
            (
                json!({ "brake": { "brake": "kill_switch", "scope": "*" } }),
                "brake: kill_switch, scope everything",
            ),
            (json!({ "inputs": { "fleet": "lamps", "cluster": null } }), "inputs: fleet lamps"),
            (json!({ "change": { "from": hash, "to": "x" } }), "change: from 0123456789a…, to x"),
            (json!({ "ends": "2034-05-07T14:00:00.123456Z" }), "ends: 7 May 2034 14:00:00"),
            (json!({ "reason": "2034" }), "reason: 2034"),
            (Value::Null, ""),
        ] {
            assert_eq!(line(&details), says);
        }
    }
}
