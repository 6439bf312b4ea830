//! The description of the API against the one table of routes, and the page of it.

use std::collections::BTreeSet;

use axum::http::{StatusCode, header};
use serde_json::Value;

use super::bench::Bench;
use crate::api::openapi::describe;
use crate::routes::table;

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
