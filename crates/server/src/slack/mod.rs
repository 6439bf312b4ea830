//! Slack: what people type and press there.
//!
//! ```text
//!  raw bytes ─▶ signature, time ─▶ our team? ─▶ delivered before? ─▶ who is it? ─▶ the same calls as pages and programs make
//!                                                                                   │
//!            answered within 3 s ◀── at once, or “looking …” and afterwards ◀───────┘
//! ```
//!
//! - `signature`: Slack proves itself over the raw bytes, before anything is parsed.
//! - `command`: what is typed, read. `act`: carried out. `interaction`: what is pressed, and forms.
//! - `confirm`: the form before a start that needs more than a press.
//! - `blocks`: how it looks. `answer`: how a person gets it, also when it takes longer than Slack waits.
//! - `link`: a member of a team speaks for a person, who says so on a page of ours.
//!
//! What Slack delivers again does nothing again: its signature and its own id are kept for as long as they are good. A button names
//! its preview and its plan, and the preview is the key of the start, so that two clicks are one run. Whoever is not linked is told
//! how to be, and nothing else. Nothing is decided here; no state is in Slack alone.
//!
//! How to set it up: `deploy/slack/manifest.yaml`, and `slack` in the configuration.

mod act;
mod answer;
mod blocks;
mod command;
mod confirm;
mod interaction;
pub(crate) mod link;
mod signature;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Clock as _;
use domain::chat::Chat;
use engine::clock::SystemClock;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use store::slack::Member;
use tokio::time::timeout;

use crate::app::App;
use crate::error::Problem;
use crate::hooks::Secret;
use crate::session::{self, Visitor};
use answer::Asker;

/// A body that takes longer is not waited for; Slack would not, either.
const LONGEST: Duration = Duration::from_secs(2);
/// The database has so long to tell whether something is new, and whose it is: the rest of three seconds is for doing it.
const KNOWN: Duration = Duration::from_secs(1);
/// What Slack calls, as the app's manifest has it.
pub const PATHS: [&str; 2] = ["/slack/commands", "/slack/interactions"];
/// What people type.
pub const COMMAND: &str = "/firebreak";

/// How Slack is set up.
#[derive(Clone)]
pub struct Slack {
    /// What it signs with; several while one is replaced by another.
    pub secrets: Vec<Secret>,
    /// The teams that are heard.
    pub teams: Vec<String>,
    /// The app that is heard; any with the right secret, when absent.
    pub app: Option<String>,
    /// How people there are answered.
    pub chat: Arc<dyn Chat>,
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack").field("teams", &self.teams).field("app", &self.app).finish_non_exhaustive()
    }
}

/// A delivery that is Slack's.
struct Proven {
    slack: Slack,
    body: Bytes,
    signature: Vec<u8>,
}

async fn proven(app: &App, request: Request) -> Result<Proven, Problem> {
    let slack = app.settings().slack.clone().ok_or_else(closed)?;
    let headers = request.headers().clone();
    let body = match timeout(LONGEST, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Err(Problem::unfit("the request cannot be read")),
        Err(_) => {
            let detail = "The request did not arrive in time. Nothing was done.";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail));
        }
    };
    // Slack signs the wall's time, whatever a simulated clock says.
    let now = SystemClock.now().timestamp();
    let signature = signature::check(&slack.secrets, &headers, &body, now).map_err(|why| {
        tracing::warn!("a delivery that says it is Slack's was refused: {why}");
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "not_proven",
            format!("The delivery does not prove who sent it: {why}."),
        )
        .remedy("Compare the signing secret of the app at Slack with `slack.signing_secrets` in the configuration.")
    })?;
    Ok(Proven { slack, body, signature })
}

fn closed() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "slack_closed", "Slack is not set up here.")
        .remedy("Add `slack` to the configuration; deploy/slack/manifest.yaml tells how.")
}

impl Slack {
    /// Is it a team and an app of ours?
    fn ours(&self, team: &str, app: &str) -> Result<(), Problem> {
        let known = self.teams.iter().any(|known| known == team);
        let app_known = self.app.as_deref().is_none_or(|known| known == app);
        if known && app_known {
            return Ok(());
        }
        let what = if known { format!("app `{app}`") } else { format!("team `{team}`") };
        tracing::warn!("a delivery of Slack was refused: {what} is not configured");
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "slack_elsewhere",
            format!("The {what} is none of those that this Firebreak listens to."),
        )
        .remedy("Add it under `slack` in the configuration, if it is yours."))
    }
}

/// What the database says in time; else nothing is done.
async fn in_time<T>(asked: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    timeout(KNOWN, asked).await.unwrap_or_else(|_| {
        let detail = "The database did not answer in time. Nothing was done.";
        Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "too_slow", detail).remedy("Try again."))
    })
}

/// Takes it once: by its signature, and by Slack's own id of what was done.
async fn first(app: &App, signature: &[u8], id: &[&str]) -> Result<bool, Problem> {
    let mut hash = Sha256::new();
    for part in id {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let keys = [signature.to_vec(), hash.finalize().to_vec()];
    let first = store::slack::first(app.pool(), &keys).await?;
    if !first {
        tracing::info!("Slack has delivered something again; nothing was done again");
    }
    Ok(first)
}

/// The person for whom a member speaks.
async fn visitor(app: &App, team: &str, member: &str) -> Result<Option<Visitor>, Problem> {
    let Some((link, standing)) = store::slack::link(app.people(), team, member).await? else {
        return Ok(None);
    };
    let Some(role) = session::at_most(app, &link.person, link.role, standing.as_ref()) else {
        let detail = format!("You speak for {}, who may do nothing here any more.", link.person);
        return Err(Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail)
            .remedy("Ask an admin; roles come from where people sign in."));
    };
    Ok(Some(Visitor {
        person: link.person,
        role,
        csrf: String::new(),
        groups: standing.map(|standing| standing.groups).unwrap_or_default(),
        token: None,
        session: Vec::new(),
    }))
}

/// What comes with a slash command.
#[derive(Debug, Deserialize)]
struct Typed {
    team_id: String,
    user_id: String,
    #[serde(default)]
    user_name: String,
    channel_id: String,
    #[serde(default)]
    api_app_id: String,
    #[serde(default)]
    text: String,
    trigger_id: String,
    #[serde(default)]
    response_url: String,
}

/// `POST /slack/commands`
pub(crate) async fn commands(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Proven { slack, body, signature } = proven(&app, request).await?;
    // Now and then Slack only wants to see whether somebody is there.
    if form_urlencoded::parse(&body).any(|(name, value)| name == "ssl_check" && value == "1") {
        return Ok(StatusCode::OK.into_response());
    }
    let typed: Typed = read_form(&body)?;
    slack.ours(&typed.team_id, &typed.api_app_id)?;
    let id = ["command", &typed.team_id, &typed.trigger_id];
    let known = in_time(async {
        let fresh = first(&app, &signature, &id).await?;
        Ok((fresh, visitor(&app, &typed.team_id, &typed.user_id).await?))
    });
    let (fresh, visitor) = match known.await {
        Ok(known) => known,
        Err(problem) => return Ok(Json(told(&app, &problem)).into_response()),
    };
    if !fresh {
        return Ok(
            Json(blocks::told("This was received already, and nothing was done again.")).into_response()
        );
    }
    let member = Member { team: typed.team_id, id: typed.user_id, called: typed.user_name };
    let asker = Asker::new(slack.chat.clone(), typed.response_url, typed.channel_id, member);
    Ok(Json(act::command(app, asker, visitor, &typed.text).await).into_response())
}

/// A failure, for the one who asked.
fn told(app: &App, problem: &Problem) -> serde_json::Value {
    blocks::told(&blocks::problem(problem, &app.settings().public_url))
}

fn read_form<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let fields: serde_json::Map<String, serde_json::Value> = form_urlencoded::parse(body)
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    serde_json::from_value(fields.into())
        .map_err(|e| Problem::unfit(format!("Slack's request is not understood: {e}")))
}

pub(crate) use interaction::interactions;
