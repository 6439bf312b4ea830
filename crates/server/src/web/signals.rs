//! The ledger of signals: what machines said, and what became of it; one signal with its verdicts and its evidence; and the button
//! that starts what a rule has prepared.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use domain::brake::Overrides;
use domain::plan::{Plan, PlannedOutcome};
use engine::{Started, TriggerView};
use serde::Deserialize;
use serde_json::Value;
use store::signals::{SignalFilter, SignalRow};
use store::triage::VerdictRow;
use uuid::Uuid;

use super::cursor::{cursor, read_cursor};
use super::form::as_typed;
use super::refused::Refusal;
use super::{Frame, html, is_fragment, with_status};
use crate::app::{App, to_the_end};
use crate::error::{Problem, Thing};
use crate::hooks;
use crate::ids::{self, AMONG, is_like};
use crate::session::Visitor;
use crate::web::runbooks::audit_refusal;
use crate::words;

/// On one page.
const PAGE: usize = 50;

/// Which signals a list shows, as the page's form and the API's query say it.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(crate) struct Filter {
    firing: Option<String>,
    /// Any value: only those for which a run is prepared that nobody has started; different offers first, and no more than a page.
    asks: Option<String>,
    /// Only those of the newest thousand whose id begins or ends like this.
    id: Option<String>,
    /// A cursor, from the page before.
    before: Option<String>,
}

impl Filter {
    fn is_firing(&self) -> bool {
        is_on(self.firing.as_deref())
    }

    fn asks(&self) -> bool {
        is_on(self.asks.as_deref())
    }
}

fn is_on(value: Option<&str>) -> bool {
    value.is_some_and(|value| !matches!(value, "" | "0" | "false"))
}

/// One page of them, and where the next one begins.
pub(crate) async fn some(app: &App, filter: &Filter) -> Result<(Vec<SignalRow>, Option<String>), Problem> {
    if filter.asks() {
        let most = i64::try_from(PAGE).unwrap_or(i64::MAX);
        return Ok((store::signals::offers(app.pool(), None, most).await?, None));
    }
    let before = filter
        .before
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(|text| read_cursor(text, ("Signals", "/signals")))
        .transpose()?;
    let wanted = SignalFilter { firing: filter.is_firing(), before };
    let page = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let part = filter.id.as_deref().filter(|part| !part.is_empty());
    let mut signals = store::signals::list(app.pool(), wanted, part.map_or(page, |_| AMONG)).await?;
    signals.retain(|signal| part.is_none_or(|part| is_like(signal.id, part)));
    let more = signals.len() > PAGE;
    signals.truncate(PAGE);
    let last = signals.last().filter(|_| more);
    let next = last.map(|last| cursor(last.first_seen, last.id));
    Ok((signals, next))
}

#[derive(Template)]
#[template(path = "signals.html")]
struct List {
    frame: Frame,
    filter: Filter,
    signals: Vec<SignalRow>,
    next: Option<String>,
    triggers: Vec<TriggerView>,
}

/// `GET /signals`
pub(crate) async fn list(
    State(app): State<App>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let (signals, next) = some(&app, &filter).await?;
    let frame = Frame::new(&app, &visitor, "signals", "Signals");
    let (triggers, _) = app.engine().triggers().await?;
    html(&List { frame, filter, signals, next, triggers })
}

#[derive(Template)]
#[template(path = "signal.html", blocks = ["main"])]
struct Page {
    frame: Frame,
    signal: SignalRow,
    verdicts: Vec<VerdictRow>,
    /// The evidence of the newest verdict that has some.
    plan: Option<Plan>,
    body: Option<String>,
    refused: Refusal,
}

impl Page {
    /// Why nothing was started; or why nothing else was done whose form does not stand here any more.
    fn not_started(&self) -> Option<&Problem> {
        let open = self.signal.state != "resolved";
        let dismissed = self.signal.code.as_deref() == Some("dismissed");
        let gone = self.refused.gone("dismiss", |_| open && !dismissed);
        let gone = gone.or_else(|| self.refused.gone("judge", |_| self.signal.state == "firing"));
        gone.or_else(|| self.refused.wrong("offer", ""))
    }

    /// Every rule that took it: rule, mode, how things stood, and why.
    fn considered(&self, verdict: &VerdictRow) -> Vec<(String, String, String, String)> {
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let all = verdict.considered.as_array().into_iter().flatten();
        all.map(|one| (text(one, "rule"), text(one, "mode"), text(one, "standing"), text(one, "says")))
            .collect()
    }

    /// The guards of the plan that held, with what they saw.
    fn evidence(&self, plan: &Plan) -> Vec<(String, String)> {
        let told = plan.steps.iter().filter_map(|step| match &step.outcome {
            PlannedOutcome::Holds { facts } => {
                let seen: Vec<_> =
                    facts.iter().map(|(name, value)| format!("{name} = {}", words::brief(value))).collect();
                Some((step.title.clone(), words::shorten(&seen.join(", "), 160)))
            }
            _ => None,
        });
        told.collect()
    }

    /// The runbook's page, with the inputs filled in as its form takes them.
    fn runbook_page(&self) -> String {
        let plan = self.plan.as_ref();
        let inputs = plan.map(|plan| &plan.inputs).into_iter().flatten();
        let given = inputs.filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, as_typed(value)));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
        format!("/runbooks/{}?{query}", plan.map_or("", |plan| &plan.runbook))
    }
}

/// `GET /signals/{id}`: also by a part of the id.
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(word): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(id) = word.parse::<Uuid>() else {
        return ids::in_full(&app, Thing::Signal, ("/signals", &word), None).await;
    };
    let mut page = draw(&app, &visitor, id).await?;
    page.frame = page.frame.live("/events");
    if is_fragment(&headers) { html(&page.as_main()) } else { html(&page) }
}

async fn draw(app: &App, visitor: &Visitor, id: Uuid) -> Result<Page, Problem> {
    let signal = find(app, id).await?;
    let verdicts = store::triage::verdicts(app.pool(), id).await?;
    let plan = verdicts.iter().find_map(|verdict| serde_json::from_value(verdict.plan.clone()?).ok());
    let body = store::signals::body(app.pool(), id).await?.map(|body| hooks::shown(&signal.source, body));
    let frame = Frame::new(app, visitor, "signals", "Signal");
    Ok(Page { frame, signal, verdicts, plan, body, refused: Refusal::default() })
}

/// The signal's page with a form that was refused. A button to start stands on other pages, too: here is what it would start.
async fn again(
    app: &App,
    visitor: &Visitor,
    id: Uuid,
    (form, filled): (&'static str, Vec<(String, String)>),
    problem: Problem,
) -> Result<Response, Problem> {
    let (status, refused) = Refusal::of(form, "", filled, problem)?;
    let mut page = draw(app, visitor, id).await?;
    page.refused = refused;
    page.frame.hold_still(format!("/signals/{id}"));
    with_status(status, &page)
}

pub(crate) async fn find(app: &App, id: Uuid) -> Result<SignalRow, Problem> {
    store::signals::one(app.pool(), id).await?.ok_or_else(|| Problem::no_such(Thing::Signal))
}

/// What a form says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Taking {
    /// The verdict that was shown with the button.
    verdict: Option<i64>,
    /// What is typed to confirm, where the risk demands it.
    confirm: Option<String>,
}

/// `POST /signals/{id}/start`
pub(crate) async fn start(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(taking): Form<Taking>,
) -> Result<Response, Problem> {
    match take(&app, &visitor, id, taking.verdict, taking.confirm).await {
        Ok(started) => Ok(Redirect::to(&format!("/runs/{}", started.run_id)).into_response()),
        Err(problem) => again(&app, &visitor, id, ("offer", Vec::new()), problem).await,
    }
}

/// Starts what a rule has prepared, and goes on to the end of it even if the browser hangs up. A refusal is written down.
pub(crate) async fn take(
    app: &App,
    visitor: &Visitor,
    id: Uuid,
    seen: Option<i64>,
    confirm: Option<String>,
) -> Result<Started, Problem> {
    let signal = find(app, id).await?;
    let (engine, by) = (app.engine().clone(), visitor.actor());
    let taken =
        to_the_end(async move { engine.take_offer(id, &by, seen, confirm, Overrides::default()).await })
            .await?;
    match taken {
        Ok(started) => Ok(started),
        Err(error) => {
            let problem = Problem::from(error).link("The signal", format!("/signals/{id}"));
            audit_refusal(app, visitor, signal.runbook.as_deref().unwrap_or(&signal.kind), &problem).await?;
            Err(problem)
        }
    }
}

/// What a person says against a verdict.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Saying {
    reason: String,
}

/// `POST /signals/{id}/dismiss`
pub(crate) async fn dismiss(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(saying): Form<Saying>,
) -> Result<Response, Problem> {
    said(&app, &visitor, id, ("dismiss", Overruling::Dismiss), saying.reason).await
}

/// `POST /signals/{id}/judge`
pub(crate) async fn judge(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(saying): Form<Saying>,
) -> Result<Response, Problem> {
    said(&app, &visitor, id, ("judge", Overruling::JudgeAnew), saying.reason).await
}

async fn said(
    app: &App,
    visitor: &Visitor,
    id: Uuid,
    (form, what): (&'static str, Overruling),
    reason: String,
) -> Result<Response, Problem> {
    match overrule(app, visitor, id, what, reason.clone()).await {
        Ok(()) => Ok(Redirect::to(&format!("/signals/{id}")).into_response()),
        Err(problem) => again(app, visitor, id, (form, vec![("reason".to_owned(), reason)]), problem).await,
    }
}

/// What a person wants done about a verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Overruling {
    /// Nothing is to be done about the signal.
    Dismiss,
    /// It is to be judged anew.
    JudgeAnew,
}

/// Does it.
pub(crate) async fn overrule(
    app: &App,
    visitor: &Visitor,
    id: Uuid,
    what: Overruling,
    reason: String,
) -> Result<(), Problem> {
    find(app, id).await?;
    let (engine, by) = (app.engine().clone(), visitor.actor());
    to_the_end(async move {
        match what {
            Overruling::Dismiss => engine.dismiss(id, &by, &reason).await,
            Overruling::JudgeAnew => engine.judge_anew(id, &by, &reason).await,
        }
    })
    .await??;
    Ok(())
}
