//! The API's own description: OpenAPI 3.1, made from the code.
//!
//! ```text
//!  operations (what each route takes and answers) ─┐
//!  types of bodies, queries and answers (schemars) ─┼─▶ one document ─▶ `/api/v1/openapi.json`, and `/api` to read
//!  routes (the one table of them)                  ─┘   a test: neither has a route that the other lacks
//! ```
//!
//! Bodies and queries are described by the very types that read them, and most answers by the types that are written. An answer
//! that a handler puts together is described beside its operation, and a test lets generated requests find where it is wrong.

mod operations;
mod page;
mod shapes;

use axum::Json;
use axum::extract::State;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::app::App;

pub(crate) use page::page;

/// An operation: what a route takes, and what it answers.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// Under which heading it stands.
    pub(super) group: &'static str,
    pub(super) says: &'static str,
    pub(super) query: Option<Shape>,
    pub(super) body: Option<Shape>,
    /// Must a key be sent?
    pub(super) key: Key,
    /// When it is done.
    pub(super) answers: Vec<(u16, Shape)>,
    /// How it is refused, besides what is common to all.
    pub(super) refusals: &'static [u16],
}

/// Puts a schema into the document.
pub(super) type Shape = fn(&mut Generators) -> Value;

/// `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    None,
    Optional,
    /// Any text.
    Needed,
    /// A UUID.
    NeededUuid,
}

/// What is sent and what is written differ: a default may be left out of the one, and is always in the other.
pub(super) struct Generators {
    sent: SchemaGenerator,
    written: SchemaGenerator,
}

impl Generators {
    fn new() -> Self {
        let settings = || {
            let mut settings = SchemaSettings::draft2020_12();
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
            settings
        };
        Self {
            sent: settings().for_deserialize().into_generator(),
            written: settings().for_serialize().into_generator(),
        }
    }

    /// A type that is read.
    pub(super) fn sent<T: schemars::JsonSchema>(&mut self) -> Value {
        self.sent.subschema_for::<T>().into()
    }

    /// A type that is written.
    pub(super) fn written<T: schemars::JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().into()
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.sent.take_definitions(true);
        // Of a type that goes both ways, the written form is the narrower one; such types are sent in it, too.
        all.extend(self.written.take_definitions(true));
        all
    }
}

/// `GET /api/v1/openapi.json`
pub(crate) async fn document(State(app): State<App>) -> Json<Value> {
    let library = app.engine().library();
    let runbooks: Vec<&str> = library.iter().map(|(name, _)| name).collect();
    Json(describe(&app.settings().public_url, &runbooks))
}

/// The document, for a server at an address with these runbooks.
pub(crate) fn describe(address: &str, runbooks: &[&str]) -> Value {
    let mut generators = Generators::new();
    let mut paths = Map::new();
    for operation in operations::all() {
        let at = paths.entry(operation.path).or_insert_with(|| json!({}));
        at[operation.method.to_lowercase()] = operation.describe(&mut generators, runbooks);
    }
    let mut schemas = generators.definitions();
    schemas.insert("Problem".into(), shapes::problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Firebreak",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Incident response as durable, guarded, audited workflows",
            "description": "Programs send `Authorization: Bearer fb_…`; tokens are made under Settings, or by `firebreak token create`. \
                What is refused is told as `application/problem+json` with a stable `code` and, often, a `remedy`. Each change takes an \
                `Idempotency-Key`, where it is listed among the parameters: the same request again under the same key does nothing again. \
                Two changes take none: a token that is made is told once, and what a rule has prepared for a signal is one run, however \
                often it is started. Lists have a cursor, `next`, which is \
                sent back as `before` (of the audit, `after`). `RateLimit` says how many requests are left in this minute.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": address }],
        "security": [{ "token": [] }],
        "tags": operations::GROUPS.map(|(name, says)| json!({ "name": name, "description": says })),
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "A token, `fb_…`." } },
            "schemas": schemas,
        },
    })
}

impl Operation {
    fn describe(&self, generators: &mut Generators, runbooks: &[&str]) -> Value {
        let mut parameters = self.path_parameters(runbooks);
        if let Some(query) = self.query {
            parameters.extend(query_parameters(generators, query));
        }
        parameters.extend(self.key_parameter());
        let mut answers = Map::new();
        for (status, shape) in &self.answers {
            answers.insert(status.to_string(), self.answer(*status, shape(generators)));
        }
        let refusal = |says: &str| {
            let schema = json!({ "$ref": "#/components/schemas/Problem" });
            json!({ "description": says, "content": { "application/problem+json": { "schema": schema } } })
        };
        for status in self.refusals.iter().chain(&[401, 403, 429]) {
            answers.insert(status.to_string(), refusal(shapes::refused(*status)));
        }
        answers.insert(
            "5XX".into(),
            refusal("The database is away, this process is stopping, or it took too long; ask again."),
        );
        let mut told = json!({
            "operationId": self.id(),
            "tags": [self.group],
            "summary": self.says,
            "parameters": parameters,
            "responses": answers,
        });
        if let Some(body) = self.body {
            let content = json!({ "application/json": { "schema": body(generators) } });
            told["requestBody"] = json!({ "required": true, "content": content });
        }
        told
    }

    fn answer(&self, status: u16, schema: Value) -> Value {
        let says = match status {
            201 => "It was made.",
            202 => "It is taken, and answered by the worker that drives the run.",
            _ => "Done.",
        };
        let kind = match self.path {
            path if path.ends_with("/events") => "text/event-stream",
            path if path.ends_with(".md") => "text/markdown",
            _ => "application/json",
        };
        json!({ "description": says, "content": { kind: { "schema": schema } } })
    }

    fn path_parameters(&self, runbooks: &[&str]) -> Vec<Value> {
        let names = self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let each = names.map(|name| {
            let schema = match name {
                "id" => json!({ "type": "string", "format": "uuid" }),
                "incident" => json!({
                    "anyOf": [{ "type": "string", "format": "uuid" }, { "type": "string", "pattern": "^(INC-)?[1-9][0-9]{0,17}$" }],
                    "description": "Its id, or the number that people say.",
                    "examples": ["INC-17"],
                }),
                "number" => json!({ "type": "integer", "format": "int64" }),
                _ => json!({ "type": "string", "minLength": 1, "examples": runbooks }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        });
        each.collect()
    }

    fn key_parameter(&self) -> Option<Value> {
        let text = json!({ "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$" });
        let (required, schema) = match self.key {
            Key::None => return None,
            Key::Optional => (false, text),
            Key::Needed => (true, text),
            Key::NeededUuid => (true, json!({ "type": "string", "format": "uuid" })),
        };
        let says = "A new one for each intent; the same one again when the request is repeated.";
        Some(
            json!({ "name": "Idempotency-Key", "in": "header", "required": required, "description": says, "schema": schema }),
        )
    }

    /// `post_runs_id_ask`
    fn id(&self) -> String {
        let path =
            self.path.trim_start_matches("/api/v1/").replace(['{', '}'], "").replace(['/', '-', '.'], "_");
        format!("{}_{path}", self.method.to_lowercase())
    }
}

/// The fields of a query's type, each as a parameter. A query has no null.
fn query_parameters(generators: &mut Generators, query: Shape) -> Vec<Value> {
    let mut whole = query(generators);
    if let Some(name) = whole["$ref"].as_str().and_then(|at| at.rsplit('/').next()).map(str::to_owned) {
        whole = generators.sent.definitions_mut().remove(&name).unwrap_or_default();
    }
    let fields = whole["properties"].as_object().cloned().unwrap_or_default();
    let each = fields.into_iter().map(|(name, mut schema)| {
        let says = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("default");
            if let Some(kinds) = fields.get("type").and_then(Value::as_array) {
                let kind = kinds.iter().find(|kind| *kind != "null").cloned();
                fields.insert("type".into(), kind.unwrap_or_default());
            }
        }
        json!({ "name": name, "in": "query", "required": false, "description": says.unwrap_or_else(|| name.clone().into()), "schema": schema })
    });
    each.collect()
}
