//! What people press in Slack, and the forms that they send.
//!
//! A press is acknowledged at once, with what it means done in a task of its own; a form gets its answer as its answer, because what
//! is wrong with it stands under its field.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Actor;
use domain::brake::{Brake, Way};
use domain::chat::Press;
use domain::notice::Undelivered;
use domain::run::Ask;
use engine::{StartError, StartRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use store::slack::{Member, Preview};
use tokio::time::timeout;
use uuid::Uuid;

use super::act::{run_link, short, start_key};
use super::answer::Asker;
use super::blocks::{self, escape};
use super::confirm::{self, Answers, Asked, written};
use super::{COMMAND, Proven, Slack, first, in_time, proven, read_form, visitor};
use crate::app::App;
use crate::error::Problem;
use crate::session::Visitor;
use crate::web::runbooks::{audit_refusal, changed};
use crate::web::runs::put;

/// A preview's button works for so long (wall time): as long as Slack takes what is told about it.
const PREVIEW_GOOD: Duration = Duration::from_secs(30 * 60);
/// A form's answer; Slack waits three seconds.
const PROMPT: Duration = Duration::from_millis(2000);

#[derive(Deserialize)]
struct Field {
    payload: String,
}

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    team: Named,
    user: Named,
    #[serde(default)]
    api_app_id: String,
    #[serde(default)]
    trigger_id: String,
    #[serde(default)]
    channel: Option<Named>,
    #[serde(default)]
    container: Container,
    #[serde(default)]
    response_url: String,
    #[serde(default)]
    actions: Vec<Action>,
    #[serde(default)]
    view: Option<View>,
}

#[derive(Debug, Deserialize)]
struct Named {
    id: String,
    #[serde(default)]
    username: String,
}

#[derive(Debug, Default, Deserialize)]
struct Container {
    #[serde(default)]
    is_ephemeral: bool,
}

#[derive(Debug, Deserialize)]
struct Action {
    #[serde(default)]
    action_id: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    action_ts: String,
}

#[derive(Debug, Deserialize)]
struct View {
    #[serde(default)]
    callback_id: String,
    #[serde(default)]
    private_metadata: String,
    #[serde(default)]
    state: Filled,
}

#[derive(Debug, Default, Deserialize)]
struct Filled {
    #[serde(default)]
    values: Map<String, Value>,
}

/// What a form brings back: what it is about, and how to answer beside it.
#[derive(Serialize, Deserialize)]
struct Back {
    press: Press,
    url: String,
    place: String,
}

/// `POST /slack/interactions`
pub(crate) async fn interactions(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let Proven { slack, body, signature } = proven(&app, request).await?;
    let Field { payload } = read_form(&body)?;
    let payload: Payload = serde_json::from_str(&payload)
        .map_err(|e| Problem::unfit(format!("Slack's request is not understood: {e}")))?;
    slack.ours(&payload.team.id, &payload.api_app_id)?;
    let action = payload.actions.first();
    let (id, ts) = action.map_or(("", ""), |action| (action.action_id.as_str(), action.action_ts.as_str()));
    let what = [payload.kind.as_str(), &payload.team.id, &payload.user.id, &payload.trigger_id, id, ts];
    if !in_time(first(&app, &signature, &what)).await? {
        return Ok(StatusCode::OK.into_response());
    }
    match payload.kind.as_str() {
        "block_actions" => pressed(app, slack, payload),
        "view_submission" => sent(app, slack, payload).await,
        // Closed forms and the like ask for nothing.
        _ => Ok(StatusCode::OK.into_response()),
    }
}

impl Payload {
    fn asker(&self, slack: &Slack) -> Asker {
        let place = self.channel.as_ref().map_or_else(String::new, |channel| channel.id.clone());
        let member = Member {
            team: self.team.id.clone(),
            id: self.user.id.clone(),
            called: self.user.username.clone(),
        };
        Asker::new(slack.chat.clone(), self.response_url.clone(), place, member)
    }

    /// A wish has the id of the press that made it, so that one press is one wish.
    fn wish(&self) -> Uuid {
        let ts = self.actions.first().map_or("", |action| action.action_ts.as_str());
        let mut hash = Sha256::new();
        for part in [self.team.id.as_str(), &self.user.id, &self.trigger_id, ts] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// What is told after a press; nothing, where the message that all see tells it.
type Said = Option<Value>;

fn pressed(app: App, slack: Slack, payload: Payload) -> Result<Response, Problem> {
    let Some(press) = payload.actions.first().and_then(|action| Press::read(&action.value)) else {
        // A link is a button, too, and asks for nothing.
        return Ok(StatusCode::OK.into_response());
    };
    let asker = payload.asker(&slack);
    // Slack is answered before anything is done; a form must be opened within three seconds all the same, and nothing waits here.
    tokio::spawn(async move {
        let said = match at_work(&app, &asker, &payload, press).await {
            Ok(said) => said,
            Err(problem) => {
                let text = blocks::problem(&problem, &app.settings().public_url);
                Some(if payload.container.is_ephemeral { blocks::told(&text) } else { blocks::beside(&text) })
            }
        };
        if let Some(said) = said {
            asker.tell(said).await;
        }
    });
    Ok(StatusCode::OK.into_response())
}

async fn at_work(app: &App, asker: &Asker, payload: &Payload, press: Press) -> Result<Said, Problem> {
    let visitor = known(app, asker).await?;
    let own = payload.container.is_ephemeral;
    match press {
        Press::Run { preview, plan_hash } => {
            let kept = good(app, &visitor, asker, preview, &plan_hash).await?;
            let by = visitor.actor();
            let asked = Asked::of(app, &kept, &by);
            if !asked.nothing() {
                let back = back(asker, Press::Run { preview, plan_hash });
                let form = asked.form(kept.reason.as_deref(), &back);
                open(asker, &payload.trigger_id, &form).await?;
                return Ok(None);
            }
            start(app, &visitor, kept, None).await.map(Some)
        }
        Press::Cancel { preview } => cancel(app, asker, preview).await.map(Some),
        Press::Approve { run, step, plan_hash } => {
            let stops = put(app, &visitor, run, payload.wish(), Ask::Approve { step, plan_hash }).await?;
            let but = stops.map(|stops| format!(" {}", escape(&stops.to_string()))).unwrap_or_default();
            let said = format!("You have approved {}.{but}", run_link(app, run, "the run"));
            // Its message says so to all; only what one person alone saw is replaced, and only a "but" is said besides.
            Ok(match own {
                true => Some(blocks::told(&said)),
                false => (!but.is_empty()).then(|| blocks::beside(&said)),
            })
        }
        Press::Reject { run, step } => {
            let back = back(asker, Press::Reject { run, step });
            open(asker, &payload.trigger_id, &blocks::why_not(&back)).await?;
            Ok(None)
        }
    }
}

/// Takes a preview back, and says what it has started before that: a press of *Run* may be slow to be answered.
async fn cancel(app: &App, asker: &Asker, id: Uuid) -> Result<Value, Problem> {
    let kept = store::slack::preview(app.pool(), id, PREVIEW_GOOD).await?;
    let Some(kept) = kept.filter(|kept| is_of(kept, asker)) else {
        return Ok(blocks::told("There is no such preview any more."));
    };
    store::slack::cancel(app.pool(), id).await?;
    Ok(match app.started(&kept.start_key).await? {
        Some(started) => {
            let run = run_link(app, started.run_id, &kept.plan.title);
            let end = format!("`{COMMAND} abort {} …` ends it", short(started.run_id));
            blocks::told(&format!("It was started before it was cancelled: {run}. {end}."))
        }
        None => blocks::told("Cancelled: this preview starts nothing any more."),
    })
}

async fn known(app: &App, asker: &Asker) -> Result<Visitor, Problem> {
    visitor(app, &asker.member.team, &asker.member.id).await?.ok_or_else(|| {
        let detail = "Firebreak does not know who you are yet.";
        Problem::new(StatusCode::FORBIDDEN, "slack_unlinked", detail)
            .remedy(format!("Type `{COMMAND} link`."))
    })
}

fn back(asker: &Asker, press: Press) -> Value {
    json!(Back { press, url: asker.url.clone(), place: asker.place.clone() })
}

/// Opens a form. What was lost may have opened it: whoever sees none presses again.
async fn open(asker: &Asker, trigger: &str, view: &Value) -> Result<(), Problem> {
    let mut opened = asker.chat.open(trigger, view).await;
    if let Err(Undelivered::Later { after: None, .. }) = &opened {
        opened = asker.chat.open(trigger, view).await;
    }
    opened.map_err(|e| {
        tracing::warn!("a form was not opened in Slack: {e}");
        let detail = "The form could not be opened in Slack. Nothing was done.";
        Problem::new(StatusCode::BAD_GATEWAY, "slack_form", detail).remedy("Press the button again.")
    })
}

fn is_of(preview: &Preview, asker: &Asker) -> bool {
    preview.member == (asker.member.team.clone(), asker.member.id.clone())
}

/// The preview of a button, if it still holds, and is about the plan that was seen.
async fn good(app: &App, visitor: &Visitor, asker: &Asker, id: Uuid, hash: &str) -> Result<Preview, Problem> {
    let gone = |detail: &str| {
        Problem::new(StatusCode::CONFLICT, "preview_over", detail)
            .remedy(format!("Type `{COMMAND} run …` again."))
    };
    let kept = store::slack::preview(app.pool(), id, PREVIEW_GOOD).await?;
    let kept = kept.ok_or_else(|| gone("There is no such preview any more. Nothing was started."))?;
    // Whoever speaks for another person now has not seen it.
    if !is_of(&kept, asker) || kept.start_key != start_key(visitor, id)? {
        return Err(gone("This preview is somebody else's. Nothing was started."));
    }
    if kept.over {
        return Err(gone("This preview was cancelled, or is older than half an hour. Nothing was started."));
    }
    if kept.plan.hash != hash {
        return Err(changed());
    }
    Ok(kept)
}

/// Starts what was previewed, by the engine's one door; pressed again it is the same run. `answers` are those of a form, if one was
/// filled in.
async fn start(
    app: &App,
    visitor: &Visitor,
    kept: Preview,
    answers: Option<Answers>,
) -> Result<Value, Problem> {
    let Preview { runbook, inputs, plan, reason, start_key, .. } = kept;
    if let Some(started) = app.started(&start_key).await? {
        return Ok(blocks::told(&format!("Started already: {}", run_link(app, started.run_id, &plan.title))));
    }
    let (title, by, asked) = (plan.title.clone(), visitor.actor(), answers.is_some());
    let seen = plan.brakes.clone();
    let Answers { confirm, reason: said, overrides, wait } = answers.unwrap_or_default();
    let request = StartRequest {
        runbook,
        inputs,
        by: by.clone(),
        reason: said.or(reason),
        idem_key: start_key,
        plan: Some(plan),
        overrides,
        confirm,
        wait,
    };
    match app.start(request).await?.map_err(|error| since_then(error, &by, &seen, asked)) {
        Ok(started) => {
            let how = match (started.new, wait) {
                (true, false) => "Started",
                (true, true) => "Started, and in line where it is locked",
                (false, _) => "Started already",
            };
            Ok(blocks::told(&format!("{how}: {}", run_link(app, started.run_id, &title))))
        }
        Err(problem) => {
            audit_refusal(app, visitor, &title, &problem).await?;
            Err(problem)
        }
    }
}

/// Whatever came after the plan was made, and so was not `asked` about by a form of it: the next preview asks what it takes.
fn since_then(error: StartError, by: &Actor, seen: &[Brake], asked: bool) -> Problem {
    let passable = match &error {
        StartError::Held(brake) => {
            let known = asked && seen.iter().any(|seen| seen.code() == brake.code());
            brake.way(by) != Way::None && !known
        }
        // A form has a box for it.
        StartError::Locked(_) => !asked,
        _ => false,
    };
    let problem = Problem::from(error);
    if passable {
        problem.remedy(format!("Type `{COMMAND} run …` again: its button then asks for what this takes."))
    } else {
        problem
    }
}

async fn sent(app: App, slack: Slack, payload: Payload) -> Result<Response, Problem> {
    let Some(view) = &payload.view else { return Err(Problem::unfit("a form came without its view")) };
    let back: Back = serde_json::from_str(&view.private_metadata)
        .map_err(|e| Problem::unfit(format!("a form is not one of ours: {e}")))?;
    let (filled, form) = (view.state.values.clone(), view.callback_id.clone());
    let mut asker = payload.asker(&slack);
    (asker.url, asker.place) = (back.url, back.place);
    let (worker, wish, telling) = (app.clone(), payload.wish(), asker.clone());
    // A task of its own: a run that was written must be driven, whoever hangs up.
    let mut task =
        tokio::spawn(async move { of_form(&worker, &asker, &form, back.press, filled, wish).await });
    let answer = match timeout(PROMPT, &mut task).await {
        Ok(done) => done.map_err(Problem::internal)?,
        Err(_) => {
            tokio::spawn(async move {
                let said = match task.await {
                    Ok(Ok(said)) => said,
                    Ok(Err(problem)) => Some(super::told(&app, &problem)),
                    Err(_) => None,
                };
                if let Some(said) = said {
                    telling.tell(said).await;
                }
            });
            return Ok(StatusCode::OK.into_response());
        }
    };
    match answer {
        Ok(said) => {
            if let Some(said) = said {
                tokio::spawn(telling.tell(said));
            }
            // An empty answer closes the form.
            Ok(StatusCode::OK.into_response())
        }
        Err(problem) => {
            let says = [Some(problem.detail.as_str()), problem.remedy.as_deref()];
            let says: Vec<&str> = says.into_iter().flatten().collect();
            let field = confirm::field_of(problem.code, &view.state.values);
            Ok(Json(blocks::wrong(&field, &says.join(" "))).into_response())
        }
    }
}

async fn of_form(
    app: &App,
    asker: &Asker,
    form: &str,
    press: Press,
    filled: Map<String, Value>,
    wish: Uuid,
) -> Result<Said, Problem> {
    let visitor = known(app, asker).await?;
    match (form, press) {
        (blocks::START, Press::Run { preview, plan_hash }) => {
            let kept = good(app, &visitor, asker, preview, &plan_hash).await?;
            let by = visitor.actor();
            let answers = Asked::of(app, &kept, &by).read(&filled);
            start(app, &visitor, kept, Some(answers)).await.map(Some)
        }
        (blocks::REJECT, Press::Reject { run, step }) => {
            put(app, &visitor, run, wish, Ask::Reject { step, reason: written(&filled, blocks::FIELD) })
                .await?;
            Ok(None)
        }
        (other, _) => Err(Problem::unfit(format!("there is no form `{}` here", escape(other)))),
    }
}
