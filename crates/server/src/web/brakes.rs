//! The page of everything that holds Firebreak back, and its forms. Each form does one thing and leads back to where it stood; one
//! that is refused is shown again there, as it was filled in.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::NaiveDateTime;
use domain::brake::{EVERYTHING, Freeze, KillSwitch};
use domain::{Actor, Role, Timestamp};
use engine::{BrakeError, Brakes, InForce};
use serde::Deserialize;
use store::locks::Held;
use uuid::Uuid;

use super::form::field;
use super::refused::Refusal;
use super::{Frame, html, is_fragment, situation, with_status};
use crate::app::{App, to_the_end};
use crate::error::{Problem, Thing};
use crate::session::Visitor;
use crate::words;

type Fields = Form<Vec<(String, String)>>;

#[derive(Template)]
#[template(path = "brakes.html", blocks = ["main"])]
struct Page {
    frame: Frame,
    now: Timestamp,
    in_force: InForce,
    person: String,
    runbooks: Vec<String>,
    /// Lock names that the inventory suggests.
    targets: Vec<String>,
    may_not: Option<String>,
    /// The same of what others hold.
    may_not_free: Option<String>,
    /// What somebody wanted to stop, and had been stopped before.
    already: Option<String>,
    refused: Refusal,
}

/// Why they may set and release nothing, where they may not: what the engine would say.
pub(super) fn may_not(visitor: &Visitor) -> Option<String> {
    lacks(visitor, Role::Responder)
}

fn lacks(visitor: &Visitor, needs: Role) -> Option<String> {
    let is = visitor.role;
    (is < needs).then(|| BrakeError::NotAllowed { needs, is }.to_string())
}

impl Page {
    fn is_on(&self, freeze: &Freeze) -> bool {
        freeze.starts <= self.now
    }

    fn is_mine(&self, lock: &Held) -> bool {
        lock.holder == self.person
    }

    /// May it be released by force, being held by a run that does not move without a person?
    fn may_force(&self, lock: &Held) -> bool {
        is_stuck(lock)
    }

    /// The switch that was on when somebody pressed it again.
    fn stopped_before(&self) -> Option<&KillSwitch> {
        let scope = self.already.as_deref()?;
        self.in_force.switches.iter().find(|switch| switch.scope == scope)
    }

    /// Why a freeze was not lifted that is not there any more.
    fn no_freeze(&self) -> Option<&Problem> {
        let is_there = |id: &str| self.in_force.freezes.iter().any(|freeze| freeze.id.to_string() == id);
        self.refused.gone("lift", is_there)
    }

    /// Why a lock was not released that cannot be any more.
    fn no_lock(&self) -> Option<&Problem> {
        let locks = || self.in_force.locks.iter();
        let by_hand = |target: &str| locks().any(|lock| lock.run_id.is_none() && lock.target == target);
        let of_run = |target: &str| locks().any(|lock| lock.target == target && is_stuck(lock));
        self.refused.gone("give-back", by_hand).or_else(|| self.refused.gone("force", of_run))
    }

    /// Why changes were not allowed again that are not stopped any more.
    fn no_switch(&self) -> Option<&Problem> {
        self.refused.gone("allow", |scope| self.in_force.switches.iter().any(|switch| switch.scope == scope))
    }
}

/// Is it held by a run that does not move without a person? Then it may be released by force.
fn is_stuck(lock: &Held) -> bool {
    lock.run_id.is_some() && words::needs_a_person(lock.state.as_deref().unwrap_or_default())
}

async fn draw(app: &App, visitor: &Visitor) -> Result<Page, Problem> {
    Ok(Page {
        frame: Frame::new(app, visitor, "brakes", "Brakes"),
        now: app.now(),
        in_force: app.engine().brakes().in_force().await?,
        person: visitor.person.clone(),
        runbooks: app.engine().library().iter().map(|(name, _)| name.to_owned()).collect(),
        targets: app.engine().targets(),
        may_not: may_not(visitor),
        may_not_free: lacks(visitor, Role::Admin),
        already: None,
        refused: Refusal::default(),
    })
}

/// What the address says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Show {
    already: Option<String>,
}

/// `GET /brakes`
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Query(show): Query<Show>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut page = draw(&app, &visitor).await?;
    page.frame = page.frame.live("/events");
    page.already = show.already;
    if is_fragment(&headers) { html(&page.as_main()) } else { html(&page) }
}

/// What a form stops, or allows again.
fn scope(form: &[(String, String)]) -> String {
    given(form, "runbook").unwrap_or_else(|| EVERYTHING.to_owned())
}

/// Did the form stand on the first page?
fn on_situation(form: &[(String, String)]) -> bool {
    field(form, "from") == "situation"
}

/// Back to the page that the form stood on.
fn back(form: &[(String, String)]) -> Response {
    Redirect::to(if on_situation(form) { "/" } else { "/brakes" }).into_response()
}

/// A field that may be left empty.
fn given(form: &[(String, String)], name: &str) -> Option<String> {
    Some(field(form, name).trim().to_owned()).filter(|text| !text.is_empty())
}

/// The page that the form stood on again, with the form as it was filled in. `about`: which of several such forms it is.
async fn again(
    app: &App,
    visitor: &Visitor,
    (form, about): (&'static str, String),
    filled: Vec<(String, String)>,
    problem: Problem,
) -> Result<Response, Problem> {
    let on_situation = on_situation(&filled);
    let (status, refused) = Refusal::of(form, about, filled, problem)?;
    if on_situation {
        return situation::again(app, visitor, status, refused).await;
    }
    let mut page = draw(app, visitor).await?;
    page.refused = refused;
    page.frame.hold_still("/brakes");
    with_status(status, &page)
}

/// A form that stands on its page once.
fn once(form: &'static str) -> (&'static str, String) {
    (form, String::new())
}

/// Sets or releases a brake with what the form says, to the end. What came of it.
async fn act<T, F>(
    app: &App,
    visitor: &Visitor,
    form: &[(String, String)],
    deed: impl FnOnce(Brakes, Actor, Told) -> F,
) -> Result<T, Problem>
where
    F: Future<Output = Result<T, BrakeError>> + Send + 'static,
    T: Send + 'static,
{
    let told = Told {
        runbook: given(form, "runbook"),
        target: field(form, "target").to_owned(),
        reason: field(form, "reason").to_owned(),
    };
    Ok(to_the_end(deed(app.engine().brakes(), visitor.actor(), told)).await??)
}

/// What most of these forms say.
struct Told {
    /// The scope; everything, where no runbook is named.
    runbook: Option<String>,
    target: String,
    reason: String,
}

/// A time in a form: the pages speak UTC.
fn moment(text: &str) -> Result<Option<Timestamp>, Problem> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let local = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    match local.map(|local| local.and_utc()).or_else(|| text.parse().ok()) {
        Some(at) => Ok(Some(at)),
        None => {
            let detail = format!("`{text}` is not a time.");
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_time", detail)
                .remedy("Write it in UTC, such as 2024-05-07 14:30."))
        }
    }
}

/// `POST /brakes/stop`
pub(crate) async fn stop(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let on = act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.stop(told.runbook.as_deref(), &by, &told.reason).await
    });
    match on.await {
        Ok(true) => Ok(back(&form)),
        Ok(false) => {
            let scope = scope(&form);
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("already", &scope);
            Ok(Redirect::to(&format!("/brakes?{}", query.finish())).into_response())
        }
        Err(problem) => again(&app, &visitor, once("kill-switch"), form, problem).await,
    }
}

/// `POST /brakes/allow`
pub(crate) async fn allow(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let done = act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.allow(told.runbook.as_deref(), &by, &told.reason).await
    });
    match done.await {
        Ok(_) => Ok(back(&form)),
        Err(problem) => again(&app, &visitor, ("allow", scope(&form)), form, problem).await,
    }
}

/// `POST /brakes/freezes`
pub(crate) async fn freeze(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    match enter(&app, &visitor, &form).await {
        Ok(()) => Ok(back(&form)),
        Err(problem) => again(&app, &visitor, once("new-freeze"), form, problem).await,
    }
}

async fn enter(app: &App, visitor: &Visitor, form: &[(String, String)]) -> Result<(), Problem> {
    let starts = moment(field(form, "starts"))?.unwrap_or_else(|| app.now());
    let Some(ends) = moment(field(form, "ends"))? else {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_time", "A freeze needs an end."));
    };
    act(app, visitor, form, |brakes, by, told| async move {
        brakes.freeze(told.runbook.as_deref(), (starts, ends), &by, &told.reason).await
    })
    .await?;
    Ok(())
}

/// `POST /brakes/freezes/{id}/lift`
pub(crate) async fn lift(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let done =
        act(
            &app,
            &visitor,
            &form,
            |brakes, by, told| async move { brakes.lift(id, &by, &told.reason).await },
        );
    match done.await {
        Ok(_) => Ok(back(&form)),
        Err(problem) => again(&app, &visitor, ("lift", id.to_string()), form, problem).await,
    }
}

/// `POST /brakes/freezes/import`
pub(crate) async fn import(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let (calendar, zone) = (field(&form, "calendar").to_owned(), given(&form, "zone"));
    let imported = act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.import(told.runbook.as_deref(), &calendar, zone.as_deref(), &by).await
    });
    match imported.await {
        Ok(_) => Ok(back(&form)),
        Err(problem) => again(&app, &visitor, once("import-freezes"), form, problem).await,
    }
}

/// `POST /brakes/locks`
pub(crate) async fn take(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    match lock(&app, &visitor, &form).await {
        Ok(()) => Ok(back(&form)),
        Err(problem) => again(&app, &visitor, once("take"), form, problem).await,
    }
}

async fn lock(app: &App, visitor: &Visitor, form: &[(String, String)]) -> Result<(), Problem> {
    let until = moment(field(form, "until"))?;
    act(app, visitor, form, |brakes, by, told| async move {
        brakes.take(&told.target, &by, &told.reason, until).await
    })
    .await
}

/// `POST /brakes/locks/give-back`
pub(crate) async fn give_back(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let done = act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.give_back(&told.target, &by, Some(&told.reason)).await
    });
    match done.await {
        Ok(_) => Ok(back(&form)),
        Err(problem) => {
            again(&app, &visitor, ("give-back", field(&form, "target").to_owned()), form, problem).await
        }
    }
}

/// `POST /brakes/locks/force`
pub(crate) async fn force(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let run_id = field(&form, "run_id").parse().map_err(|_| Problem::no_such(Thing::Run))?;
    let done = act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.force(&told.target, run_id, &by, &told.reason).await
    });
    match done.await {
        Ok(_) => Ok(back(&form)),
        Err(problem) => {
            again(&app, &visitor, ("force", field(&form, "target").to_owned()), form, problem).await
        }
    }
}
