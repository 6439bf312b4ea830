//! The description of the API against the one table of routes, and the page of it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use serde_json::Value;

use super::bench::Bench;
use crate::api::openapi::describe;
use crate::routes::table;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| describe("http://localhost", &[]));

/// Fields of an answer that its description does not have, by their place in it. All answers of all tests here are looked at.
pub(super) fn undescribed(method: &str, path: &str, status: StatusCode, answer: &str) -> Vec<String> {
    let asked: Vec<&str> = path.split('?').next().unwrap_or_default().split('/').collect();
    let is = |path: &str| {
        let words = path.split('/');
        words.clone().count() == asked.len()
            && words.zip(&asked).all(|(word, asked)| word == *asked || word.starts_with('{'))
    };
    let route = table().iter().find(|route| route.method == method && is(route.path)).map(|route| route.path);
    let Some(at) = route.and_then(|path| DOCUMENT["paths"].get(path)) else { return Vec::new() };
    let content = &at[method.to_lowercase()]["responses"][status.as_str()]["content"]["application/json"];
    let mut missing = Vec::new();
    if let (Some(schema), Ok(answer)) = (content.get("schema"), serde_json::from_str(answer)) {
        compare(schema, &answer, &format!("{method} {path}"), &mut missing);
    }
    missing
}

fn compare(schema: &Value, answer: &Value, at: &str, missing: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|at| at.rsplit('/').next()) {
        let mut whole = DOCUMENT["components"]["schemas"][name].clone();
        // What tells one kind from another stands beside the reference.
        if let (Some(own), Some(all)) =
            (schema["properties"].as_object(), whole.get_mut("properties").and_then(Value::as_object_mut))
        {
            all.extend(own.clone());
        }
        return compare(&whole, answer, at, missing);
    }
    // One of several: the one that knows the most of it.
    if let Some(any) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let each = any.iter().map(|one| {
            let mut missing = Vec::new();
            compare(one, answer, at, &mut missing);
            missing
        });
        missing.extend(each.min_by_key(Vec::len).unwrap_or_default());
        return;
    }
    match answer {
        Value::Array(items) => {
            items.iter().for_each(|item| compare(&schema["items"], item, &format!("{at}[]"), missing));
        }
        Value::Object(fields) => {
            let Some(known) = schema["properties"]
                .as_object()
                .filter(|_| !schema["allOf"].is_array() && schema["additionalProperties"].is_null())
            else {
                return;
            };
            for (name, field) in fields {
                match known.get(name) {
                    Some(schema) => compare(schema, field, &format!("{at}.{name}"), missing),
                    None => missing.push(format!("{at}.{name}")),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_change_takes_a_key_or_the_description_says_that_it_takes_none() {
    let document = &DOCUMENT;
    let paths = document["paths"].as_object().unwrap();
    let without: Vec<&str> = paths
        .iter()
        .filter(|(_, at)| {
            let post = &at["post"];
            post.is_object() && !post["parameters"].to_string().contains("Idempotency-Key")
        })
        .map(|(path, _)| path.as_str())
        .collect();
    // The first two change nothing.
    let known =
        ["/api/v1/runbooks/{name}/plan", "/api/v1/readiness", "/api/v1/signals/{id}/start", "/api/v1/tokens"];
    assert_eq!(without, known);
    let says = document["info"]["description"].as_str().unwrap();
    assert!(says.contains("Two changes take none"), "{says}");
}

#[test]
fn a_field_that_is_not_described_is_found() {
    let found = |answer: &str| undescribed("POST", "/api/v1/brakes/stop", StatusCode::OK, answer);
    assert!(found(r#"{ "on": true, "new": true }"#).is_empty());
    assert_eq!(found(r#"{ "on": true, "more": 1 }"#), ["POST /api/v1/brakes/stop.more"]);
}

#[test]
fn every_route_of_the_api_is_described_and_nothing_else() {
    let document = describe("http://localhost", &["switch-lamp"]);
    let paths = document["paths"].as_object().unwrap();
    let described: BTreeSet<String> = paths
        .iter()
        .flat_map(|(path, at)| {
            at.as_object().unwrap().keys().map(move |m| format!("{} {path}", m.to_uppercase()))
        })
        .collect();
    let api = table().into_iter().filter(|route| route.path.starts_with("/api/v1/"));
    let routed: BTreeSet<String> = api.map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(described, routed);
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_its_own_name() {
    let document = describe("http://localhost", &[]);
    let mut names = BTreeSet::new();
    let mut operations = 0;
    for at in document["paths"].as_object().unwrap().values() {
        for operation in at.as_object().unwrap().values() {
            operations += 1;
            assert!(
                names.insert(operation["operationId"].as_str().unwrap().to_owned()),
                "{}",
                operation["operationId"]
            );
        }
    }
    assert!(operations > 25);
    let text = document.to_string();
    for (at, _) in text.match_indices("\"#/components/schemas/") {
        let name = text[at + 22..].split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    let start = &document["components"]["schemas"]["StartBody"];
    assert_eq!(start["required"], serde_json::json!(["runbook"]), "{start:#}");
    let filter = &document["paths"]["/api/v1/runs"]["get"]["parameters"];
    let names: Vec<&str> = filter.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["open", "runbook", "id", "before"], "{filter:#}");
}

#[tokio::test]
async fn it_is_served_as_a_document_and_as_a_page_without_scripts() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/api").await.status, StatusCode::UNAUTHORIZED);
    let ada = bench.sign_in("ada").await;
    let document: Value = ada.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document.to_string().contains("switch-lamp"), "the runbooks of this server are examples");
    let page = ada.get("/api").await;
    assert!(page.text.contains("POST /api/v1/runs") && !page.text.contains("<script"));
    assert!(!page.header(header::CONTENT_SECURITY_POLICY).contains("unsafe"));
}
