//! A runbook: when to use it, its form, its plan, and the button that starts it.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::Actor;
use domain::brake::{Acknowledged, Overrides};
use domain::plan::{Plan, PlannedOutcome, Verdict};
use domain::policy::Policy;
use domain::runbook::{InputMistake, Risk, Runbook, render};
use engine::{Dangling, PlanError, Shelf, StartError, StartRequest, Started};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::REFUSED;
use super::form::{Field, INPUT, draw_field, field, inputs};
use super::{Frame, html, with_status};
use crate::app::App;
use crate::error::{AUDITED, Problem, sentence};
use crate::obstacles::Obstacles;
use crate::plans::{self, Agreed, Confirmation};
use crate::run::{Outline, overview};
use crate::session::Visitor;
use crate::words;

/// A limit is acknowledged under its name, so that the page can ask for a reason for each.
const ACKNOWLEDGE: &str = "acknowledge.";

#[derive(Template)]
#[template(path = "runbooks.html")]
struct List {
    frame: Frame,
    shelves: Vec<Row>,
    /// What is configured and not there.
    dangling: Vec<Dangling>,
    /// So many rehearsals say that it would work, and so many that it would not.
    ready: usize,
    not_ready: usize,
}

struct Row {
    name: String,
    title: String,
    when: String,
    risk: Option<Risk>,
    mistakes: usize,
    /// A newer text was refused.
    outdated: bool,
}

/// `GET /runbooks`
pub(crate) async fn list(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let row = |(name, shelf): (&str, &Shelf)| match &shelf.runbook {
        Ok(runbook) => Row {
            name: name.to_owned(),
            title: runbook.title.clone(),
            when: runbook.when.clone(),
            risk: Some(runbook.risk),
            mistakes: 0,
            outdated: shelf.refused.is_some(),
        },
        Err(mistakes) => Row {
            name: name.to_owned(),
            title: name.to_owned(),
            when: String::new(),
            risk: None,
            mistakes: mistakes.len(),
            outdated: false,
        },
    };
    let shelves = app.engine().library().iter().map(row).collect();
    let rehearsed = app.engine().readiness().await?;
    let shown = |ready| {
        rehearsed.iter().filter(|row| row.shown.as_ref().and_then(|s| s.ready) == Some(ready)).count()
    };
    let (ready, not_ready) = (shown(true), shown(false));
    let (frame, dangling) = (Frame::new(&app, &visitor, "runbooks", "Runbooks"), app.engine().dangling());
    html(&List { frame, shelves, dangling, ready, not_ready })
}

#[derive(Template)]
#[template(path = "broken_runbook.html")]
struct Broken {
    frame: Frame,
    name: String,
    file: String,
    count: usize,
    picture: String,
    text: Arc<str>,
}

#[derive(Template)]
#[template(path = "runbook.html")]
struct Page {
    frame: Frame,
    runbook: Arc<Runbook>,
    file: String,
    /// What its file holds now and was refused, drawn with its mistakes.
    refused: Option<String>,
    fields: Vec<Field>,
    /// Who may start it, and agree to it, where a policy says so.
    policy: Policy,
    /// Why this person may not start it, by a policy.
    narrowed: Option<String>,
    /// What stood in the way.
    notice: Option<Problem>,
    plan: Option<Planned>,
}

/// A plan on the page, with its start form.
struct Planned {
    plan: Plan,
    confirmation: Confirmation,
    /// Stand in line for locks that are held.
    wait: bool,
    reason: String,
    idem_key: String,
    by: Actor,
    /// Why they may not start it, by a policy.
    narrowed: Option<String>,
}

impl Page {
    fn steps(&self) -> Vec<Outline> {
        overview(&self.runbook)
    }
}

/// `GET /runbooks/{name}`: inputs may stand in the address, `?fleet=…`.
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(given): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let shelf = find(&app, &name)?;
    match &shelf.runbook {
        Ok(runbook) => {
            let given = given.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
            html(&draw(&app, &visitor, &shelf, runbook, &given))
        }
        Err(mistakes) => html(&Broken {
            frame: Frame::new(&app, &visitor, "runbooks", name.clone()),
            name,
            file: shelf.file.clone(),
            count: mistakes.len(),
            picture: render(&shelf.file, &shelf.text, mistakes, false),
            text: shelf.text.clone(),
        }),
    }
}

/// `POST /runbooks/{name}/plan`
pub(crate) async fn plan(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (shelf, runbook) = ready(&app, &name)?;
    let given = inputs(&form);
    let mut page = draw(&app, &visitor, &shelf, &runbook, &given);
    match plans::make(&app, &visitor.actor(), &name, &given).await {
        Ok(plan) => {
            page.plan = Some(offered(plan, &page, &form, &visitor));
            html(&page)
        }
        Err(error) => refuse(page, *Box::<Refused>::from(error), &form, &visitor),
    }
}

/// `POST /runbooks/{name}/start`
pub(crate) async fn start(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    match begin(&app, &visitor, &name, &form).await {
        Ok(started) => Ok(Redirect::to(&format!("/runs/{}", started.run_id)).into_response()),
        Err(refused) => {
            let target = refused.plan.as_ref().map_or(name.as_str(), |plan| &plan.title);
            audit_refusal(&app, &visitor, target, &refused.problem).await?;
            match ready(&app, &name) {
                Ok((shelf, runbook)) => {
                    refuse(draw(&app, &visitor, &shelf, &runbook, &inputs(&form)), *refused, &form, &visitor)
                }
                Err(problem) => Err(problem),
            }
        }
    }
}

async fn begin(
    app: &App,
    visitor: &Visitor,
    name: &str,
    form: &[(String, String)],
) -> Result<Started, Box<Refused>> {
    let idem_key = idem_key(visitor, field(form, "idem_key"))?;
    // A second click of a slow double click finds the world changed by the first.
    if let Some(started) = app.started(&idem_key).await? {
        return Ok(started);
    }
    ready(app, name)?;
    let given = inputs(form);
    let plan = match plans::agreed(app, &visitor.actor(), name, &given, field(form, "plan_hash")).await? {
        Agreed::Yes(plan) => *plan,
        Agreed::Changed(plan) => return Err(Refused::showing(changed(), *plan)),
    };
    let reason = Some(field(form, "reason").trim().to_owned()).filter(|r| !r.is_empty());
    let request = StartRequest {
        runbook: name.to_owned(),
        inputs: given,
        by: visitor.actor(),
        reason,
        idem_key,
        plan: Some(plan.clone()),
        overrides: overrides(form),
        confirm: Some(field(form, "confirm").to_owned()),
        wait: !field(form, "wait").is_empty(),
    };
    app.start(request).await?.map_err(|error| {
        let mut plan = plan.clone();
        // A brake that came on since the plan was made is shown with its way past it, if there is one.
        if let StartError::Held(brake) = &error
            && !plan.brakes.contains(brake)
        {
            plan.brakes.push((**brake).clone());
        }
        Refused::showing(error.into(), plan)
    })
}

/// Why nothing was started, with what is shown beside it.
struct Refused {
    problem: Problem,
    /// At which fields.
    mistakes: Vec<InputMistake>,
    plan: Option<Plan>,
}

impl Refused {
    fn showing(problem: Problem, plan: Plan) -> Box<Self> {
        Box::new(Self { problem, mistakes: Vec::new(), plan: Some(plan) })
    }
}

impl From<Problem> for Box<Refused> {
    fn from(problem: Problem) -> Self {
        Self::new(Refused { problem, mistakes: Vec::new(), plan: None })
    }
}

impl From<PlanError> for Box<Refused> {
    fn from(error: PlanError) -> Self {
        let mistakes = match &error {
            PlanError::Start(StartError::BadInputs(mistakes)) => mistakes.clone(),
            _ => Vec::new(),
        };
        Self::new(Refused { problem: error.into(), mistakes, plan: None })
    }
}

/// The world has changed between the look and the click.
pub(crate) fn changed() -> Problem {
    let detail = "The plan has changed since you looked, so nothing was started.";
    Problem::new(StatusCode::CONFLICT, "plan_changed", detail)
        .remedy("Look at the new plan, and start it if you still agree.")
}

/// A key that is this person's alone: the same words of somebody else are another key.
pub(crate) fn idem_key(visitor: &Visitor, given: &str) -> Result<String, Problem> {
    if given.is_empty() || given.len() > 200 {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "no_idempotency_key",
            "A start needs a key of 1 to 200 characters that is fresh for each intent.",
        )
        .remedy(
            "Send `Idempotency-Key: <a new UUID>`, and the same one again when you repeat the request.",
        ));
    }
    Ok(format!("{}:{given}", visitor.person))
}

/// Writes down that somebody wanted to start something and was not let. When this fails, so does the request. A refusal
/// because of a lock or a brake is written down by the engine itself.
pub(crate) async fn audit_refusal(
    app: &App,
    visitor: &Visitor,
    target: &str,
    problem: &Problem,
) -> Result<(), Problem> {
    if AUDITED.contains(&problem.code) {
        return Ok(());
    }
    let details = json!({ "why": problem.detail });
    let action = format!("{REFUSED}{}", problem.code);
    store::audit::add(app.pool(), app.now(), &visitor.actor(), &action, target, details).await?;
    Ok(())
}

fn find(app: &App, name: &str) -> Result<Arc<Shelf>, Problem> {
    let library = app.engine().library();
    library.get(name).ok_or_else(|| {
        let known = library.iter().map(|(name, _)| name.to_owned()).collect();
        StartError::UnknownRunbook { name: name.to_owned(), known }.into()
    })
}

pub(crate) fn ready(app: &App, name: &str) -> Result<(Arc<Shelf>, Arc<Runbook>), Problem> {
    let shelf = find(app, name)?;
    match &shelf.runbook {
        Ok(runbook) => Ok((Arc::clone(&shelf), Arc::clone(runbook))),
        Err(mistakes) => {
            Err(StartError::BrokenRunbook { name: name.to_owned(), mistakes: mistakes.clone() }.into())
        }
    }
}

/// What a form says against brakes.
fn overrides(form: &[(String, String)]) -> Overrides {
    let reasons =
        form.iter().filter_map(|(name, reason)| Some((name.strip_prefix(ACKNOWLEDGE)?, reason.trim())));
    let acknowledge = reasons
        .filter(|(_, reason)| !reason.is_empty())
        .map(|(limit, reason)| Acknowledged { limit: limit.to_owned(), reason: reason.to_owned() });
    Overrides { despite_freeze: field(form, "despite_freeze") == "true", acknowledge: acknowledge.collect() }
}

fn offered(plan: Plan, page: &Page, form: &[(String, String)], visitor: &Visitor) -> Planned {
    let kept = field(form, "idem_key");
    let idem_key = if kept.is_empty() { Uuid::now_v7().to_string() } else { kept.to_owned() };
    Planned {
        confirmation: Confirmation::of(&plan, &page.runbook),
        wait: !field(form, "wait").is_empty(),
        plan,
        reason: field(form, "reason").to_owned(),
        idem_key,
        by: visitor.actor(),
        narrowed: page.narrowed.clone(),
    }
}

/// The same page, saying what stood in the way; what was filled in stays.
fn refuse(
    mut page: Page,
    refused: Refused,
    form: &[(String, String)],
    visitor: &Visitor,
) -> Result<Response, Problem> {
    for mistake in refused.mistakes {
        let at = page.fields.iter_mut().find(|f| f.name.strip_prefix(INPUT) == Some(&mistake.input));
        if let Some(field) = at {
            field.mistake = Some(mistake);
        }
    }
    let status = refused.problem.status;
    page.plan = refused.plan.map(|plan| offered(plan, &page, form, visitor));
    page.notice = Some(refused.problem);
    with_status(status, &page)
}

fn draw(
    app: &App,
    visitor: &Visitor,
    shelf: &Shelf,
    runbook: &Arc<Runbook>,
    given: &Map<String, Value>,
) -> Page {
    let inventory = app.engine().inventory();
    Page {
        frame: Frame::new(app, visitor, "runbooks", runbook.title.clone()),
        runbook: runbook.clone(),
        file: shelf.file.clone(),
        refused: shelf.refused.as_ref().map(|new| render(&shelf.file, &new.text, &new.mistakes, false)),
        fields: runbook
            .inputs
            .iter()
            .map(|input| draw_field(input, inventory, given.get(&input.name)))
            .collect(),
        policy: app.engine().policies().of(&runbook.name).cloned().unwrap_or_default(),
        narrowed: app.engine().lets_start(runbook, &visitor.actor()).err().map(|e| sentence(&e.to_string())),
        notice: None,
        plan: None,
    }
}

/// What the page asks for beside the plan.
impl Planned {
    fn obstacles(&self) -> Obstacles<'_> {
        Obstacles { plan: &self.plan, by: &self.by, narrowed: self.narrowed.as_deref() }
    }

    fn held(&self) -> bool {
        self.obstacles().held()
    }

    fn stops(&self) -> Option<String> {
        self.obstacles().stops()
    }

    fn frozen(&self) -> bool {
        self.obstacles().frozen()
    }

    /// Must it be said why? Of what is begun despite a freeze, and to whoever is to agree.
    fn asks_why(&self) -> bool {
        self.frozen() || self.confirmation.approval.is_some()
    }

    fn limits(&self) -> Vec<&str> {
        self.obstacles().limits()
    }
}
