//! The same document to be read by people.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::describe;
use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::web::{Frame, html};
use crate::words;

#[derive(Template)]
#[template(path = "api.html")]
struct Page {
    frame: Frame,
    about: String,
    address: String,
    groups: Vec<Group>,
    schemas: Vec<(String, String)>,
}

struct Group {
    name: String,
    says: String,
    operations: Vec<Told>,
}

/// One operation.
struct Told {
    method: String,
    path: String,
    id: String,
    says: String,
    /// Name, where it stands, what it is, whether it must be there.
    parameters: Vec<(String, String, String, bool)>,
    body: Option<String>,
    /// Status, what it means, schema.
    answers: Vec<(String, String, Option<String>)>,
}

/// `GET /api`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let address = app.settings().public_url.clone();
    let document = describe(&address, &[]);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let groups = document["tags"].as_array().into_iter().flatten().map(|tag| Group {
        name: word(&tag["name"]),
        says: word(&tag["description"]),
        operations: operations(&document, &tag["name"]),
    });
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    let page = Page {
        about: word(&document["info"]["description"]),
        groups: groups.collect(),
        schemas: schemas.map(|(name, schema)| (name.clone(), format!("{schema:#}"))).collect(),
        frame: Frame::new(&app, &visitor, "api", "API"),
        address,
    };
    html(&page)
}

fn operations(document: &Value, group: &Value) -> Vec<Told> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, at)| {
        at.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
    });
    let of_group = all.filter(|(_, _, operation)| operation["tags"][0] == *group);
    of_group.map(|(path, method, operation)| told(path, method, operation)).collect()
}

fn told(path: &str, method: &str, operation: &Value) -> Told {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let schema = |content: &Value| {
        let (_, content) = content.as_object()?.iter().next()?;
        Some(format!("{:#}", content["schema"]))
    };
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| {
        let says = word(&parameter["description"]);
        (word(&parameter["name"]), word(&parameter["in"]), says, parameter["required"] == true)
    });
    let answers = operation["responses"].as_object().into_iter().flatten().map(|(status, answer)| {
        // A problem is always the same; its schema stands below.
        let told = (!status.starts_with(['4', '5'])).then(|| schema(&answer["content"])).flatten();
        (status.clone(), word(&answer["description"]), told)
    });
    Told {
        method: method.to_uppercase(),
        path: path.to_owned(),
        id: word(&operation["operationId"]),
        says: word(&operation["summary"]),
        parameters: parameters.collect(),
        body: schema(&operation["requestBody"]["content"]),
        answers: answers.collect(),
    }
}
