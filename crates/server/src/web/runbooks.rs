//! A runbook: when to use it, its form, its plan, and the button that starts it.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use domain::inventory::Inventory;
use domain::plan::{Plan, PlannedOutcome, Verdict};
use domain::runbook::{Input, InputMistake, InputType, Risk, Runbook, render};
use engine::{PlanError, Shelf, StartError, StartRequest};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Frame, html, with_status};
use crate::app::App;
use crate::error::Problem;
use crate::plans::{self, Agreed, Confirmation};
use crate::run::{Outline, overview};
use crate::session::Visitor;
use crate::words;

/// Inputs of the runbook are sent under names of their own, so that none can be taken for a field of ours.
const INPUT: &str = "input.";

#[derive(Template)]
#[template(path = "runbooks.html")]
struct List {
    frame: Frame,
    shelves: Vec<Row>,
}

struct Row {
    name: String,
    title: String,
    when: String,
    risk: Option<Risk>,
    mistakes: usize,
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
        },
        Err(mistakes) => Row {
            name: name.to_owned(),
            title: name.to_owned(),
            when: String::new(),
            risk: None,
            mistakes: mistakes.len(),
        },
    };
    let shelves = app.engine().library().iter().map(row).collect();
    html(&List { frame: Frame::new(&app, &visitor, "runbooks", "Runbooks"), shelves })
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
    fields: Vec<Field>,
    /// What stood in the way.
    notice: Option<Problem>,
    plan: Option<Planned>,
}

/// A field of the form.
struct Field {
    name: String,
    label: String,
    description: String,
    required: bool,
    value: String,
    /// Choices, where there are some: value and label.
    choices: Option<Vec<(String, String)>>,
    hint: &'static str,
    mistake: Option<InputMistake>,
}

/// A plan on the page, with its start form.
struct Planned {
    plan: Plan,
    confirmation: Confirmation,
    reason: String,
    idem_key: String,
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
            html(&draw(&app, &visitor, shelf, runbook, &given))
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
    let mut page = draw(&app, &visitor, shelf, runbook, &given);
    match plans::make(&app, &name, &given).await {
        Ok(plan) => {
            page.plan = Some(offered(plan, &form));
            html(&page)
        }
        Err(error) => refused(page, error),
    }
}

/// `POST /runbooks/{name}/start`
pub(crate) async fn start(
    State(app): State<App>,
    visitor: Visitor,
    Path(name): Path<String>,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (shelf, runbook) = ready(&app, &name)?;
    let given = inputs(&form);
    let mut page = draw(&app, &visitor, shelf, runbook, &given);
    let plan = match plans::agreed(&app, &name, &given, field(&form, "plan_hash")).await {
        Ok(Agreed::Yes(plan)) => *plan,
        Ok(Agreed::Changed(plan)) => {
            let problem = changed();
            audit_refusal(&app, &visitor, &plan.title, &problem).await?;
            page.plan = Some(offered(*plan, &form));
            return refuse(page, problem);
        }
        Err(error) => {
            audit_refusal(&app, &visitor, &name, &Problem::new(StatusCode::CONFLICT, "start", error.to_string())).await?;
            return refused(page, error);
        }
    };
    let confirmation = Confirmation::of(&plan);
    if let Err(problem) = confirmation.check(field(&form, "confirm")) {
        audit_refusal(&app, &visitor, &plan.title, &problem).await?;
        page.plan = Some(offered(plan, &form));
        return refuse(page, problem);
    }
    let reason = Some(field(&form, "reason").trim().to_owned()).filter(|r| !r.is_empty());
    let idem_key = idem_key(&visitor, field(&form, "idem_key"))?;
    let request = StartRequest {
        runbook: name,
        inputs: given,
        by: visitor.actor(),
        reason,
        idem_key,
        plan: Some(plan.clone()),
    };
    match app.start(request).await? {
        Ok(started) => Ok(Redirect::to(&format!("/runs/{}", started.run_id)).into_response()),
        Err(error) => {
            // The engine has written a refusal for a lock into the audit itself.
            let locked = matches!(error, StartError::Locked(_));
            let problem = Problem::from(error);
            if !locked {
                audit_refusal(&app, &visitor, &plan.title, &problem).await?;
            }
            page.plan = Some(offered(plan, &form));
            refuse(page, problem)
        }
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
        .remedy("Send `Idempotency-Key: <a new UUID>`, and the same one again when you repeat the request."));
    }
    Ok(format!("{}:{given}", visitor.person))
}

/// Writes down that somebody wanted to start something and was not let. When this fails, so does the request.
pub(crate) async fn audit_refusal(
    app: &App,
    visitor: &Visitor,
    target: &str,
    problem: &Problem,
) -> Result<(), Problem> {
    let details = json!({ "why": problem.detail });
    let action = format!("start refused: {}", problem.code);
    store::audit::add(app.pool(), app.now(), &visitor.actor(), &action, target, details).await?;
    Ok(())
}

fn find<'a>(app: &'a App, name: &str) -> Result<&'a Shelf, Problem> {
    app.engine().library().get(name).ok_or_else(|| {
        let known = app.engine().library().iter().map(|(name, _)| name.to_owned()).collect();
        StartError::UnknownRunbook { name: name.to_owned(), known }.into()
    })
}

fn ready<'a>(app: &'a App, name: &str) -> Result<(&'a Shelf, &'a Arc<Runbook>), Problem> {
    let shelf = find(app, name)?;
    match &shelf.runbook {
        Ok(runbook) => Ok((shelf, runbook)),
        Err(mistakes) => {
            Err(StartError::BrokenRunbook { name: name.to_owned(), mistakes: mistakes.clone() }.into())
        }
    }
}

fn inputs(form: &[(String, String)]) -> Map<String, Value> {
    let inputs = form.iter().filter_map(|(name, value)| Some((name.strip_prefix(INPUT)?, value)));
    inputs.map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))).collect()
}

fn field<'a>(form: &'a [(String, String)], name: &str) -> &'a str {
    form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

fn offered(plan: Plan, form: &[(String, String)]) -> Planned {
    let kept = field(form, "idem_key");
    let idem_key = if kept.is_empty() { Uuid::now_v7().to_string() } else { kept.to_owned() };
    Planned { confirmation: Confirmation::of(&plan), plan, reason: field(form, "reason").to_owned(), idem_key }
}

/// The same page, saying what stood in the way; what was filled in stays.
fn refuse(mut page: Page, problem: Problem) -> Result<Response, Problem> {
    let status = problem.status;
    page.notice = Some(problem);
    with_status(status, &page)
}

fn refused(mut page: Page, error: PlanError) -> Result<Response, Problem> {
    if let PlanError::Start(StartError::BadInputs(mistakes)) = &error {
        for mistake in mistakes {
            if let Some(field) = page.fields.iter_mut().find(|f| f.name == mistake.input) {
                field.mistake = Some(mistake.clone());
            }
        }
    }
    refuse(page, error.into())
}

fn draw(app: &App, visitor: &Visitor, shelf: &Shelf, runbook: &Arc<Runbook>, given: &Map<String, Value>) -> Page {
    let inventory = app.engine().inventory();
    Page {
        frame: Frame::new(app, visitor, "runbooks", runbook.title.clone()),
        runbook: runbook.clone(),
        file: shelf.file.clone(),
        fields: runbook.inputs.iter().map(|input| draw_field(input, inventory, given.get(&input.name))).collect(),
        notice: None,
        plan: None,
    }
}

fn draw_field(input: &Input, inventory: &Inventory, given: Option<&Value>) -> Field {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let value = given.or(input.default.as_ref()).map(text).unwrap_or_default();
    let required = !input.optional && input.default.is_none();
    let mut choices = choices(&input.kind, inventory);
    if let Some(choices) = &mut choices
        && (!required || value.is_empty())
        && input.default.is_none()
    {
        let none = if required { "– choose –" } else { "–" };
        choices.insert(0, (String::new(), none.to_owned()));
    }
    // A value that is no choice is shown as it was given, with its mistake, and not silently replaced.
    if let Some(choices) = &mut choices
        && !choices.iter().any(|(choice, _)| *choice == value)
    {
        choices.push((value.clone(), value.clone()));
    }
    Field {
        name: format!("{INPUT}{}", input.name),
        label: input.name.replace('_', " "),
        description: input.description.clone(),
        required,
        value,
        choices,
        hint: hint(&input.kind),
        mistake: None,
    }
}

/// What can be chosen, where that is known.
pub(crate) fn choices(kind: &InputType, inventory: &Inventory) -> Option<Vec<(String, String)>> {
    match kind {
        InputType::Enum(words) => Some(words.iter().map(|w| (w.clone(), w.clone())).collect()),
        InputType::Boolean => Some(vec![("true".into(), "yes".into()), ("false".into(), "no".into())]),
        InputType::Cluster => {
            let label = |c: &domain::inventory::Cluster| {
                format!("{} ({} of customers)", c.id, words::percent(&c.customers_percent))
            };
            Some(inventory.clusters.iter().map(|c| (c.id.clone(), label(c))).collect())
        }
        InputType::ProxyFleet => {
            Some(inventory.fleets.iter().map(|f| (f.id.clone(), format!("{} ({})", f.id, f.region))).collect())
        }
        InputType::String
        | InputType::Integer
        | InputType::Number
        | InputType::Duration
        | InputType::Percent
        | InputType::List(_) => None,
    }
}

fn hint(kind: &InputType) -> &'static str {
    match kind {
        InputType::Integer => "6",
        InputType::Number => "1.5",
        InputType::Duration => "3m",
        InputType::Percent => "50%",
        InputType::List(_) => "a, b",
        _ => "",
    }
}

/// How a plan is read: what changes, what was checked, and all the rest in its order.
impl Planned {
    fn stops(&self) -> Option<(&str, &str)> {
        match &self.plan.verdict {
            Verdict::Ready => None,
            Verdict::Stops { step, message } => Some((step.as_str(), message)),
        }
    }
}
