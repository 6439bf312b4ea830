//! The JSON Schema of the runbook language, so that editors complete and check while a file is written.
//!
//! An editor knows keys, words and the actions with their inputs; what needs the whole file (names, types of expressions,
//! what may follow what) is `firebreak runbook check`'s to say. Wherever a value stands an expression may stand, too.
//!
//! Draft 7, which is what editors' YAML servers know best.

use serde_json::{Map, Value, json};

use crate::action::Registry;

/// The schema of a runbook file.
pub fn schema(registry: &Registry) -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Firebreak runbook",
        "description": "One file is the page on-call reads, the form they fill in, and the program that runs.",
        "type": "object",
        "additionalProperties": false,
        "required": ["runbook", "title", "when", "risk", "steps"],
        "properties": {
            "runbook": {
                "description": "Its name, which is also the file's: it becomes a command.",
                "type": "string", "pattern": "^[a-z][a-z0-9-]{0,59}$",
            },
            "title": { "description": "One line: what it does.", "type": "string" },
            "when": { "description": "When to use it and when not, for the person who must decide.", "type": "string" },
            "risk": {
                "description": "low: one button; medium: after the plan; high: the target must be typed; severe: a second person must agree.",
                "enum": ["low", "medium", "high", "severe"],
            },
            "impact": { "description": "One sentence about what will be felt, shown before the button.", "type": "string" },
            "approval": approval("Who must agree to the plan before it begins; runbooks that it runs add what they need."),
            "inputs": {
                "description": "What the person (or trigger) fills in: `inputs.<name>`.",
                "type": "object",
                "additionalProperties": { "$ref": "#/definitions/input" },
            },
            "locks": {
                "description": "Names of what no two runs may touch at once, such as `fleet:${inputs.fleet.id}`.",
                "type": "array", "items": { "type": "string" },
            },
            "limits": {
                "description": "How often it may be done, over all runbooks, people and triggers.",
                "type": "array", "items": limit(),
            },
            "triggers": {
                "description": "Which signals it may be the answer to.",
                "type": "array", "items": trigger(),
            },
            "steps": { "$ref": "#/definitions/steps" },
            "result": { "description": "What a run says when all its steps are done; may name their outputs, and by `steps.verify` what the final check saw.", "type": "string" },
            "verify": verify(),
        },
        "definitions": {
            "duration": {
                "description": "Such as `5s`, `90s`, `3m` or `1h 30m`.",
                "type": "string", "pattern": "^([0-9]+ *[a-z]+ *)+$",
            },
            "expression": { "description": "CEL, bare: without `${ }`.", "type": ["string", "boolean"] },
            "count": {
                "description": "A number, or a percentage of the items.",
                "type": ["integer", "string"], "minimum": 1,
            },
            "role": { "enum": ["responder", "approver", "admin"] },
            "input": input(),
            "steps": {
                "description": "Steps in order, at least one.",
                "type": "array", "minItems": 1, "items": { "$ref": "#/definitions/step" },
            },
            "step": step(registry),
            "action": action(registry),
        },
    })
}

/// The name of an action, and for each what its `with` holds.
fn action(registry: &Registry) -> Value {
    let names: Vec<Value> = registry
        .iter()
        .map(|action| json!({ "const": action.spec().name, "description": format!("{}.", action.spec().summary) }))
        .collect();
    let inputs: Vec<Value> = registry
        .iter()
        .map(|action| {
            let spec = action.spec();
            json!({
                "if": { "properties": { "use": { "const": spec.name } }, "required": ["use"] },
                "then": { "properties": { "with": with(spec.input.as_value()) } },
            })
        })
        .collect();
    json!({ "properties": { "use": { "anyOf": names } }, "allOf": inputs })
}

/// The input of an action, where any value may be an expression instead.
fn with(schema: &Value) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    let fields: Map<String, Value> = properties
        .into_iter()
        .flatten()
        .map(|(name, field)| {
            let mut either =
                json!({ "anyOf": [or_expression(field), { "type": "string", "pattern": "\\$\\{" }] });
            if let (Some(either), Some(description)) = (either.as_object_mut(), field.get("description")) {
                either.insert("description".into(), description.clone());
            }
            (name.clone(), either)
        })
        .collect();
    let mut with =
        json!({ "type": ["object", "string"], "additionalProperties": false, "properties": fields });
    if let (Some(with), Some(required)) = (with.as_object_mut(), schema.get("required")) {
        with.insert("required".into(), required.clone());
    }
    with
}

/// Items of a list, too, may be expressions; formats that only JSON Schema's makers know are left out.
fn or_expression(schema: &Value) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let mut fields: Map<String, Value> =
        fields.iter().filter(|(name, _)| *name != "format").map(|(n, v)| (n.clone(), v.clone())).collect();
    if let Some(items) = fields.get_mut("items") {
        *items = json!({ "anyOf": [or_expression(items), { "type": "string", "pattern": "\\$\\{" }] });
    }
    Value::Object(fields)
}

/// What a look in a loop is made of: of a step, and but for `on_timeout` of `verify`.
fn looking() -> Map<String, Value> {
    let duration =
        |description: &str| json!({ "description": description, "$ref": "#/definitions/duration" });
    let fields = json!({
        "use": { "description": "One action.", "type": "string" },
        "with": { "description": "Its input.", "type": ["object", "string"] },
        "until": {
            "description": "Look again and again until this holds; sees the observation as `out`.",
            "$ref": "#/definitions/expression",
        },
        "for": duration("It must have held this long without a break; once it holds, `timeout` does not cut it short."),
        "every": duration("Pause between looks; 5s when absent."),
        "expect": duration("How long it usually takes, for the forecast."),
        "timeout": duration("When to stop waiting for it to come true."),
        "on_timeout": {
            "description": "fail: `on_failure` decides; continue: the last observation is the output. What nobody can see at the end fails in either case.",
            "enum": ["fail", "continue"],
        },
        "give_up_if": {
            "description": "Waiting longer is pointless when this holds.",
            "type": "object", "additionalProperties": false, "required": ["condition", "message"],
            "properties": {
                "condition": { "$ref": "#/definitions/expression" },
                "message": { "type": "string" },
            },
        },
        "retry": {
            "description": "How failures that may pass are tried again.",
            "type": "object", "additionalProperties": false,
            "properties": {
                "attempts": { "type": "integer", "minimum": 1 },
                "backoff": { "$ref": "#/definitions/duration" },
            },
        },
        "message": { "description": "What is wrong, and what to do then; may name what was seen.", "type": "string" },
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn step(registry: &Registry) -> Value {
    let mut properties = looking();
    let more = json!({
        "id": {
            "description": "How the step is known for ever: `steps.<id>`.",
            "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]{0,59}$",
        },
        "title": { "description": "What it does, for the page.", "type": "string" },
        "why": { "description": "Why it is there, for the page.", "type": "string" },
        "if": { "description": "The step is skipped when this is false.", "$ref": "#/definitions/expression" },
        "assert": {
            "description": "A guard: false stops the run before harm.", "$ref": "#/definitions/expression",
        },
        "need": { "description": "The guard asks whether the runbook is needed now, not whether it can be done: a rehearsal goes on where it says no.", "type": "boolean" },
        "approve": approval("Others than the requester must agree before the run goes on."),
        "value": { "description": "A value that later steps can name." },
        "each": { "description": "An expression: one action, or `steps`, for every item of this list.", "type": "string" },
        "at_once": { "description": "How many items at the same time.", "$ref": "#/definitions/count" },
        "stop_after": { "description": "So many failed items are too many.", "$ref": "#/definitions/count" },
        "steps": { "$ref": "#/definitions/steps" },
        "together": {
            "description": "Named branches of steps, all at the same time.",
            "type": "object", "minProperties": 2, "additionalProperties": { "$ref": "#/definitions/steps" },
        },
        "run": { "description": "Another runbook as a part of this run; `with` has its inputs.", "type": "string" },
        "wait": { "description": "Lets time pass.", "$ref": "#/definitions/duration" },
        "undo": { "description": "Taken back when the run is undone.", "enum": ["automatic"] },
        "finally": { "description": "Taken back when the run ends, however it ends.", "enum": ["undo"] },
        "one_way": { "description": "Cannot be taken back; said so before the button.", "type": "boolean" },
        "on_failure": {
            "description": "What a failure does to the run; a person decides when absent.",
            "enum": ["pause", "continue", "undo", "fail"],
        },
    });
    if let Value::Object(more) = more {
        properties.extend(more);
    }
    let is = |body: &str| json!({ "required": [body] });
    let mut bodies: Vec<Value> =
        ["assert", "approve", "value", "together", "run", "wait", "each"].map(is).to_vec();
    bodies.push(json!({ "required": ["use"], "not": { "required": ["each"] } }));
    json!({
        "type": "object",
        "required": ["id"],
        "additionalProperties": false,
        "properties": properties,
        "oneOf": bodies,
        "allOf": [{ "$ref": "#/definitions/action" }],
        "dependencies": { "until": ["timeout"], "assert": ["message"], "need": ["assert"], "approve": ["message"] },
        "description": format!("One of: use ({} actions), assert, approve, value, each, together, run, wait.", registry.iter().count()),
    })
}

fn verify() -> Value {
    let mut properties = looking();
    // What is not seen to be over is not over.
    properties.retain(|key, _| key != "on_timeout");
    json!({
        "description": "How it is known that the trouble is over: an action that looks, with `until` and `for`.",
        "type": "object",
        "required": ["use", "until", "timeout", "message"],
        "additionalProperties": false,
        "properties": properties,
        "allOf": [{ "$ref": "#/definitions/action" }],
    })
}

fn approval(description: &str) -> Value {
    let mut properties = json!({
        "by": { "description": "The least role whose voice counts.", "$ref": "#/definitions/role" },
        "count": { "description": "So many persons.", "type": "integer", "minimum": 1 },
        "within": { "description": "Then it has expired.", "$ref": "#/definitions/duration" },
        "break_glass": {
            "description": "The least role that may proceed alone, in an emergency.", "$ref": "#/definitions/role",
        },
    });
    if description.starts_with("Others")
        && let Some(properties) = properties.as_object_mut()
    {
        properties.insert(
            "otherwise".into(),
            json!({ "description": "What a rejection, or no answer in time, does.", "enum": ["fail", "pause", "continue"] }),
        );
    }
    json!({ "description": description, "type": "object", "additionalProperties": false, "properties": properties })
}

fn limit() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": { "description": "What is counted; the same name elsewhere is the same budget.", "type": "string" },
            "at_most": { "description": "So many runs …", "type": "integer", "minimum": 1 },
            "per": { "description": "… within so long.", "$ref": "#/definitions/duration" },
            "cooldown": { "description": "So long a rest, from the end of each run.", "$ref": "#/definitions/duration" },
        },
        "oneOf": [{ "required": ["at_most", "per"] }, { "required": ["cooldown"] }],
    })
}

fn trigger() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "where"],
        "properties": {
            "name": { "description": "Unique in the runbook; verdicts tell it by that.", "type": "string", "pattern": "^[a-z][a-z0-9-]{0,59}$" },
            "where": { "description": "A condition on `signal`.", "$ref": "#/definitions/expression" },
            "inputs": { "description": "What the runbook is given; may name `signal`.", "type": "object" },
            "mode": {
                "description": "shadow: only records what it would have done; ask: prepares it for one click; auto: starts it.",
                "enum": ["shadow", "ask", "auto"],
            },
            "cooldown": { "description": "So long a rest before it acts on the same again.", "$ref": "#/definitions/duration" },
        },
    })
}

fn input() -> Value {
    let kinds =
        ["string", "integer", "number", "boolean", "duration", "percent", "enum", "cluster", "proxy_fleet"];
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["type", "description"],
        "properties": {
            "type": {
                "description": "`cluster` and `proxy_fleet` are those of the inventory.",
                "enum": kinds.iter().copied().chain(["list"]).collect::<Vec<_>>(),
            },
            "description": { "description": "What to put there.", "type": "string" },
            "optional": { "description": "May it be left out? Then it is `null`, unless it has a default.", "type": "boolean" },
            "default": { "description": "The value when left out." },
            "values": {
                "description": "The words of an `enum`.",
                "type": "array", "minItems": 1, "items": { "type": ["string", "number", "boolean"] },
            },
            "of": { "description": "What a `list` holds.", "enum": kinds },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::decode::keys;
    use super::*;

    /// What the reader of files knows, and nothing else, is what an editor offers.
    #[test]
    fn the_schema_has_the_keys_of_the_language() {
        let schema = schema(&Registry::default());
        for (place, wanted) in keys() {
            let properties =
                schema.pointer(&format!("{place}/properties")).and_then(Value::as_object).unwrap();
            let mut has: Vec<&str> = properties.keys().map(String::as_str).collect();
            let mut wanted = wanted.to_vec();
            has.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(has, wanted, "{place}");
        }
    }
}
