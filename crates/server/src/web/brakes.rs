//! The page of everything that holds Firebreak back, and its forms. Each form does one thing and leads back to where it stood; one
//! that takes more than a reason is shown again as it was filled in, when it is refused.

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
use super::{Frame, html, is_fragment, with_status};
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
    refused: Option<Refused>,
}

/// A form that was refused: shown again as it was filled in, with why.
struct Refused {
    /// Its id on the page.
    form: &'static str,
    filled: Vec<(String, String)>,
    problem: Problem,
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

    /// The switch that was on when somebody pressed it again.
    fn stopped_before(&self) -> Option<&KillSwitch> {
        let scope = self.already.as_deref()?;
        self.in_force.switches.iter().find(|switch| switch.scope == scope)
    }

    fn refusal(&self, form: &str) -> Option<&Refused> {
        self.refused.as_ref().filter(|refused| refused.form == form)
    }

    /// Why the form of this id was refused.
    fn wrong(&self, form: &str) -> Option<&Problem> {
        self.refusal(form).map(|refused| &refused.problem)
    }

    /// What was filled in then.
    fn filled(&self, form: &str, name: &str) -> &str {
        self.refusal(form).map_or("", |refused| field(&refused.filled, name))
    }
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
        refused: None,
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

/// Back to the page that the form stood on.
fn back(form: &[(String, String)]) -> Response {
    let to = if field(form, "from") == "situation" { "/" } else { "/brakes" };
    Redirect::to(to).into_response()
}

/// A field that may be left empty.
fn given(form: &[(String, String)], name: &str) -> Option<String> {
    Some(field(form, name).trim().to_owned()).filter(|text| !text.is_empty())
}

/// The page again, with the form as it was filled in; what is not the form's fault goes its way. It does not redraw itself: nobody's
/// words are to vanish under their hands.
async fn again(
    app: &App,
    visitor: &Visitor,
    form: &'static str,
    filled: Vec<(String, String)>,
    problem: Problem,
) -> Result<Response, Problem> {
    if !problem.status.is_client_error() {
        return Err(problem);
    }
    let status = problem.status;
    let mut page = draw(app, visitor).await?;
    page.refused = Some(Refused { form, filled, problem });
    with_status(status, &page)
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
            let scope = given(&form, "runbook").unwrap_or_else(|| EVERYTHING.to_owned());
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("already", &scope);
            Ok(Redirect::to(&format!("/brakes?{}", query.finish())).into_response())
        }
        Err(problem) => again(&app, &visitor, "kill-switch", form, problem).await,
    }
}

/// `POST /brakes/allow`
pub(crate) async fn allow(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.allow(told.runbook.as_deref(), &by, &told.reason).await
    })
    .await?;
    Ok(back(&form))
}

/// `POST /brakes/freezes`
pub(crate) async fn freeze(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    match enter(&app, &visitor, &form).await {
        Ok(()) => Ok(back(&form)),
        Err(problem) => again(&app, &visitor, "new-freeze", form, problem).await,
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
    act(&app, &visitor, &form, |brakes, by, told| async move { brakes.lift(id, &by, &told.reason).await })
        .await?;
    Ok(back(&form))
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
        Err(problem) => again(&app, &visitor, "import-freezes", form, problem).await,
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
        Err(problem) => again(&app, &visitor, "take", form, problem).await,
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
    act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.give_back(&told.target, &by, Some(&told.reason)).await
    })
    .await?;
    Ok(back(&form))
}

/// `POST /brakes/locks/force`
pub(crate) async fn force(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let run_id = field(&form, "run_id").parse().map_err(|_| Problem::no_such(Thing::Run))?;
    act(&app, &visitor, &form, |brakes, by, told| async move {
        brakes.force(&told.target, run_id, &by, &told.reason).await
    })
    .await?;
    Ok(back(&form))
}
