//! Statuspage (Atlassian): telling customers, by an incident and its updates.
//!
//! ```text
//!  POST  /v1/pages/{page}/incidents                 a new one          Authorization: OAuth <token>
//!  PATCH /v1/pages/{page}/incidents/{incident}      one more update
//!  GET   … the same                                 what is there
//! ```
//!
//! It takes no idempotency key. So each call leaves the token of its step in the incident's `metadata`, which only the API shows, and
//! a call whose answer was lost is looked for by it: found, it is done; not found when it can no longer land, it is made again.
//! What was posted is not taken back: customers have read it. Another update corrects it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::action::{ActionError, Change, Ctx, Effect, ErrorClass, ObjectChange, UndoCall};
use domain::inventory::SecretRef;
use reqwest::{Client, Method, Url};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::{self, Call};
use crate::secrets::{Secret, Secrets};
use crate::shell::quote;
use crate::{SetupError, input};

/// The page, as configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statuspage {
    /// Id of the page, as its address in the management interface has it.
    pub page: String,
    /// The API token.
    pub token: SecretRef,
    /// Where the API is, when not at Atlassian.
    #[serde(default)]
    pub url: Option<String>,
}

const ATLASSIAN: &str = "https://api.statuspage.io";

/// The page, ready to be called; or the lack of one.
pub(crate) struct Page(Option<Configured>);

struct Configured {
    http: Client,
    incidents: Url,
    token: Secret,
    /// Where the token is, for a person with a terminal.
    kept: SecretRef,
}

impl Page {
    /// Sets it up; calls nothing.
    pub(crate) fn new(configured: Option<&Statuspage>, secrets: &Secrets) -> Result<Arc<Self>, SetupError> {
        let Some(page) = configured else { return Ok(Arc::new(Self(None))) };
        let base = page.url.as_deref().unwrap_or(ATLASSIAN).trim_end_matches('/');
        let incidents = http::address(&format!("{base}/v1/pages/{}/incidents", page.page))
            .map_err(SetupError::Statuspage)?;
        Ok(Arc::new(Self(Some(Configured {
            http: http::client().map_err(|e| SetupError::Http(e.to_string()))?,
            incidents,
            // Without secrets actions only describe themselves.
            token: secrets.get(&page.token).cloned().unwrap_or_else(|| Secret::new("")),
            kept: page.token.clone(),
        }))))
    }

    fn configured(&self) -> Result<&Configured, ActionError> {
        self.0.as_ref().ok_or_else(|| {
            ActionError::refused("not_configured", "No Statuspage is configured.")
                .remedy("add `statuspage: { page: …, token: { env: … } }` to the configuration")
        })
    }

    fn command(&self, method: &str, incident: Option<&str>, body: &Value) -> String {
        let (url, token) = match &self.0 {
            Some(page) => (
                page.address(incident).to_string(),
                match &page.kept {
                    SecretRef::Env(name) => format!("${{{name}}}"),
                    SecretRef::File(path) => format!("$(cat {})", quote(path)),
                },
            ),
            None => (format!("{ATLASSIAN}/v1/pages/PAGE/incidents"), "${STATUSPAGE_TOKEN}".to_owned()),
        };
        format!(
            "curl --silent --show-error --fail-with-body --request {method} --header \"Authorization: OAuth {token}\" --header 'Content-Type: application/json' --data-raw {} {}",
            quote(&body.to_string()),
            quote(&url)
        )
    }
}

impl Configured {
    fn address(&self, incident: Option<&str>) -> Url {
        let mut url = self.incidents.clone();
        if let (Some(id), Ok(mut path)) = (incident, url.path_segments_mut()) {
            // As one segment: an id cannot lead elsewhere.
            path.push(id);
        }
        url
    }

    async fn call<T: DeserializeOwned>(
        &self,
        ctx: &Ctx,
        method: Method,
        incident: Option<&str>,
        body: Option<Value>,
    ) -> Result<T, ActionError> {
        let (mutating, name) = (body.is_some(), method.clone());
        let call = Call {
            service: "statuspage",
            operation: name.as_str(),
            target: incident.unwrap_or("incidents"),
            mutating,
            secret: &self.token,
        };
        let request = self
            .http
            .request(method, self.address(incident))
            .header("authorization", format!("OAuth {}", self.token.expose()));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = call.send(ctx, request).await?;
        serde_json::from_slice(&answer.body).map_err(|e| {
            // It answered well: a change was made, but which incident it made is to be looked up.
            let class = if mutating { ErrorClass::Unknown } else { ErrorClass::Transient };
            ActionError::new(class, "no_answer", format!("Statuspage's answer cannot be read: {e}."))
        })
    }
}

/// How far the trouble is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// Something is wrong, and people look.
    Investigating,
    /// It is known what it is.
    Identified,
    /// It is mended, and watched.
    Monitoring,
    /// It is over.
    Resolved,
}

/// How much customers feel of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Impact {
    /// Nothing.
    None,
    /// A little.
    Minor,
    /// Much.
    Major,
    /// Everything.
    Critical,
}

/// An incident, as Statuspage tells it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Incident {
    id: String,
    name: String,
    status: String,
    #[serde(default)]
    shortlink: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
}

/// Of the metadata, our part; other parts are others'.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Metadata {
    /// The tokens of the steps that posted something.
    #[serde(default)]
    firebreak: BTreeMap<String, String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Incident {
    fn has(&self, token: &str) -> bool {
        self.metadata.as_ref().is_some_and(|m| m.firebreak.contains_key(token))
    }

    fn posted(&self) -> Posted {
        Posted {
            incident: self.id.clone(),
            status: self.status.clone(),
            link: self.shortlink.clone().unwrap_or_default(),
        }
    }
}

/// What customers can read now.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Posted {
    /// Id of the incident at Statuspage.
    incident: String,
    /// Its status.
    status: String,
    /// Where customers read it.
    link: String,
}

/// `statuspage.post_incident`.
pub(crate) struct PostIncident(pub(crate) Arc<Page>);

/// What is told.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostInput {
    /// Its title, for customers.
    #[serde(deserialize_with = "input::name")]
    title: String,
    /// The first update, for customers.
    #[serde(deserialize_with = "input::name")]
    body: String,
    /// How far it is understood.
    #[serde(default = "investigating")]
    status: Status,
    /// How much is felt of it; worked out by Statuspage when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    impact: Option<Impact>,
}

fn investigating() -> Status {
    Status::Investigating
}

/// What was found by the token of the step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    posted: Option<Incident>,
}

impl PostInput {
    fn incident(&self, token: &str) -> Value {
        let mut incident = json!({
            "name": self.title,
            "status": self.status,
            "body": self.body,
            "metadata": { "firebreak": { token: "posted" } },
        });
        if let Some(impact) = self.impact {
            incident["impact_override"] = json!(impact);
        }
        json!({ "incident": incident })
    }
}

impl Change for PostIncident {
    const NAME: &'static str = "statuspage.post_incident";
    const SUMMARY: &'static str = "Tell customers of an incident, on Statuspage";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = Effect::Probe;
    const UNDOABLE: bool = false;
    type Input = PostInput;
    type Facts = Found;
    type Output = Posted;

    async fn observe(&self, ctx: &Ctx, _input: &PostInput) -> Result<Found, ActionError> {
        let all: Vec<Incident> = self.0.configured()?.call(ctx, Method::GET, None, None).await?;
        Ok(Found { posted: all.into_iter().find(|incident| incident.has(&ctx.token)) })
    }

    fn settled(&self, _input: &PostInput, facts: &Found) -> Option<Posted> {
        facts.posted.as_ref().map(Incident::posted)
    }

    fn plan(&self, input: &PostInput, _facts: &Found) -> Result<Vec<ObjectChange>, ActionError> {
        Ok(vec![ObjectChange {
            object: "Statuspage".into(),
            property: "incident".into(),
            before: Value::Null,
            after: json!({ "title": input.title, "status": input.status, "body": input.body }),
        }])
    }

    fn predict(&self, _input: &PostInput, _facts: &Found) -> Option<Posted> {
        None
    }

    async fn apply(&self, ctx: &Ctx, input: &PostInput, _facts: &Found) -> Result<Posted, ActionError> {
        let body = input.incident(&ctx.token);
        let incident: Incident = self.0.configured()?.call(ctx, Method::POST, None, Some(body)).await?;
        Ok(incident.posted())
    }

    fn undo(&self, _input: &PostInput, _facts: &Found) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &PostInput) -> String {
        self.0.command("POST", None, &input.incident("by-hand"))
    }
}

/// `statuspage.update`.
pub(crate) struct Update(pub(crate) Arc<Page>);

/// What is added.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdateInput {
    /// Id of the incident at Statuspage, as `statuspage.post_incident` gives it.
    #[serde(deserialize_with = "input::name")]
    incident: String,
    /// How far it is understood now.
    status: Status,
    /// What is new, for customers.
    #[serde(deserialize_with = "input::name")]
    body: String,
}

/// The incident before, and whether this step has updated it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Before {
    incident: Incident,
    updated: bool,
}

impl UpdateInput {
    fn incident(&self, metadata: &Metadata) -> Value {
        json!({ "incident": { "status": self.status, "body": self.body, "metadata": metadata } })
    }
}

impl Change for Update {
    const NAME: &'static str = "statuspage.update";
    const SUMMARY: &'static str = "Tell customers what is new of an incident, on Statuspage";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = Effect::Probe;
    const UNDOABLE: bool = false;
    type Input = UpdateInput;
    type Facts = Before;
    type Output = Posted;

    async fn observe(&self, ctx: &Ctx, input: &UpdateInput) -> Result<Before, ActionError> {
        let page = self.0.configured()?;
        let incident: Incident = page.call(ctx, Method::GET, Some(&input.incident), None).await?;
        Ok(Before { updated: incident.has(&ctx.token), incident })
    }

    fn settled(&self, _input: &UpdateInput, facts: &Before) -> Option<Posted> {
        facts.updated.then(|| facts.incident.posted())
    }

    fn plan(&self, input: &UpdateInput, facts: &Before) -> Result<Vec<ObjectChange>, ActionError> {
        Ok(vec![ObjectChange {
            object: format!("Statuspage incident {}", facts.incident.name),
            property: "status".into(),
            before: json!(facts.incident.status),
            after: json!({ "status": input.status, "body": input.body }),
        }])
    }

    fn predict(&self, _input: &UpdateInput, _facts: &Before) -> Option<Posted> {
        None
    }

    async fn apply(&self, ctx: &Ctx, input: &UpdateInput, facts: &Before) -> Result<Posted, ActionError> {
        let mut metadata = facts.incident.metadata.clone().unwrap_or_default();
        metadata.firebreak.insert(ctx.token.clone(), "updated".into());
        let body = Some(input.incident(&metadata));
        let page = self.0.configured()?;
        let incident: Incident = page.call(ctx, Method::PATCH, Some(&input.incident), body).await?;
        Ok(incident.posted())
    }

    fn undo(&self, _input: &UpdateInput, _facts: &Before) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &UpdateInput) -> String {
        // Metadata is left as it is: nobody looks for what a person did by hand.
        let body = json!({ "incident": { "status": input.status, "body": input.body } });
        self.0.command("PATCH", Some(&input.incident), &body)
    }
}
