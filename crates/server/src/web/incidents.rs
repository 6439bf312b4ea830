//! Incidents: the list, one of them with its timeline and what people do in it, and the post-mortem pack.

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use domain::incident::{Ask, Incident, Severity, allowed};
use serde::Deserialize;
use store::signals::SignalRow;
use uuid::Uuid;

use super::form::field;
use super::refused::Refusal;
use super::{Frame, html, is_fragment, with_status};
use crate::app::{App, to_the_end};
use crate::chart::{HEIGHT, WIDTH};
use crate::error::{Problem, sentence};
use crate::incident::{self, IncidentView, Line, pack};
use crate::session::Visitor;
use crate::words;

/// On one page.
const PAGE: i64 = 50;
/// So many offers of an incident are shown: different ones first.
const OFFERS: i64 = 20;

/// What the list shows.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(crate) struct Filter {
    /// Any value: only those that are open.
    open: Option<String>,
    /// The number of the last one on the page before.
    before: Option<i64>,
    /// How many at most; never more than a page.
    limit: Option<u32>,
}

impl Filter {
    fn is_open(&self) -> bool {
        self.open.as_deref().is_some_and(|open| !matches!(open, "" | "0" | "false"))
    }
}

#[derive(Template)]
#[template(path = "incidents.html")]
struct List {
    frame: Frame,
    incidents: Vec<Incident>,
    filter: Filter,
    next: Option<i64>,
    targets: Vec<String>,
    now: domain::Timestamp,
    refused: Refusal,
}

impl List {
    fn lasted(&self, incident: &Incident) -> String {
        words::span(incident.closed_at.unwrap_or(self.now) - incident.opened_at)
    }
}

/// One page of them, and where the next one begins.
pub(crate) async fn some(app: &App, filter: &Filter) -> Result<(Vec<Incident>, Option<i64>), Problem> {
    let most = filter.limit.map_or(PAGE, |limit| i64::from(limit).clamp(1, PAGE));
    let mut incidents = store::incidents::list(app.pool(), filter.is_open(), filter.before, most + 1).await?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let more = incidents.len() > most;
    incidents.truncate(most);
    let next = incidents.last().filter(|_| more).map(|last| last.number);
    Ok((incidents, next))
}

/// `GET /incidents`
pub(crate) async fn list(
    State(app): State<App>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    html(&draw_list(&app, &visitor, filter).await?)
}

async fn draw_list(app: &App, visitor: &Visitor, filter: Filter) -> Result<List, Problem> {
    let (incidents, next) = some(app, &filter).await?;
    let frame = Frame::new(app, visitor, "incidents", "Incidents");
    let (targets, now) = (app.engine().targets(), app.now());
    Ok(List { frame, incidents, filter, next, targets, now, refused: Refusal::default() })
}

#[derive(Template)]
#[template(path = "incident.html", blocks = ["main"])]
struct Page {
    frame: Frame,
    view: IncidentView,
    lines: Vec<Line>,
    /// Signals of it for which a run is prepared.
    offers: Vec<SignalRow>,
    /// There are more of these.
    more_offers: bool,
    /// Why it cannot be closed now, by what the engine would say.
    not_closed: Option<String>,
    person: String,
    refused: Refusal,
}

impl Page {
    fn is_open(&self) -> bool {
        self.view.incident.closed_at.is_none()
    }

    fn is_driver(&self) -> bool {
        self.view.incident.driver.as_deref() == Some(self.person.as_str())
    }

    /// Why something was not done whose form does not stand here any more.
    fn not_done(&self) -> Option<&Problem> {
        self.refused.gone("ask", |ask| match ask {
            "note" | "severity" | "title" => true,
            "take" => self.is_open() && !self.is_driver(),
            "hand_over" | "close" => self.is_open(),
            _ => false,
        })
    }

    fn severities(&self) -> [Severity; 4] {
        Severity::ALL
    }

    fn is_severity(&self, severity: &Severity) -> bool {
        match self.refused.filled("ask", "severity", "severity") {
            "" => self.view.incident.severity == Some(*severity),
            word => word == severity.word(),
        }
    }
}

/// `GET /incidents/{id}`: also by number, as people say it.
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(known) = id.parse::<Uuid>() else {
        let known = incident::find(&app, &id).await?;
        return Ok(Redirect::to(&format!("/incidents/{known}")).into_response());
    };
    let mut page = draw(&app, &visitor, known).await?;
    page.frame = page.frame.live("/events");
    if is_fragment(&headers) { html(&page.as_main()) } else { html(&page) }
}

async fn draw(app: &App, visitor: &Visitor, known: Uuid) -> Result<Page, Problem> {
    let view = incident::read(app, known).await?;
    let title = format!("{} {}", view.incident.name(), view.incident.title);
    let frame = Frame::new(app, visitor, "incidents", title);
    let mut lines = view.timeline();
    // The newest first: that is what somebody who comes back wants to know.
    lines.reverse();
    let mut offers = match view.incident.closed_at {
        None => store::signals::offers(app.pool(), Some(known), OFFERS + 1).await?,
        Some(_) => Vec::new(),
    };
    let shown = usize::try_from(OFFERS).unwrap_or(usize::MAX);
    let more_offers = offers.len() > shown;
    offers.truncate(shown);
    let close = Ask::Close { reason: "over".into() };
    let not_closed = allowed(&view.incident, &visitor.actor(), &close, view.firing).err();
    let not_closed = not_closed.map(|why| sentence(&why.to_string()));
    let (person, refused) = (visitor.person.clone(), Refusal::default());
    Ok(Page { frame, view, lines, offers, more_offers, not_closed, person, refused })
}

type Fields = Form<Vec<(String, String)>>;

/// `POST /incidents`
pub(crate) async fn open(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let targets: Vec<String> =
        form.iter().filter(|(name, _)| name == "target").map(|(_, value)| value.clone()).collect();
    let (engine, by) = (app.engine().clone(), visitor.actor());
    let title = field(&form, "title").to_owned();
    match to_the_end(async move { engine.open_incident(&title, &targets, &by).await }).await? {
        Ok((id, _)) => Ok(Redirect::to(&format!("/incidents/{id}")).into_response()),
        Err(error) => {
            let (status, refused) = Refusal::of("open-incident", "", form, error.into())?;
            let mut list = draw_list(&app, &visitor, Filter::default()).await?;
            list.refused = refused;
            with_status(status, &list)
        }
    }
}

/// `POST /incidents/{id}/ask`
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
    Form(form): Fields,
) -> Result<Response, Problem> {
    let driver = form.iter().find(|(name, _)| name == "driver").map(|(_, driver)| driver.clone());
    let done = match read(&form) {
        Ok(ask) => act(&app, &visitor, id, ask, driver).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/incidents/{id}")).into_response()),
        Err(problem) => {
            let (status, refused) = Refusal::of("ask", field(&form, "ask").to_owned(), form, problem)?;
            let mut page = draw(&app, &visitor, id).await?;
            page.refused = refused;
            page.frame.hold_still(format!("/incidents/{id}"));
            with_status(status, &page)
        }
    }
}

/// What a form asks.
fn read(form: &[(String, String)]) -> Result<Ask, Problem> {
    let text = |name: &str| field(form, name).trim().to_owned();
    Ok(match field(form, "ask") {
        "note" => Ask::Note { text: text("text") },
        "severity" => Ask::Severity { severity: text("severity").parse().map_err(Problem::unfit)? },
        "title" => Ask::Title { title: text("title") },
        "take" => Ask::Take,
        "hand_over" => {
            Ask::HandOver { to: text("to"), note: Some(text("note")).filter(|note| !note.is_empty()) }
        }
        "close" => Ask::Close { reason: text("reason") },
        other => {
            return Err(Problem::unfit(format!("`{other}` is nothing that can be asked of an incident")));
        }
    })
}

/// Does it, if whoever drives is still who was seen there (`driver`; nobody when empty; not asked when absent).
pub(crate) async fn act(
    app: &App,
    visitor: &Visitor,
    id: Uuid,
    ask: Ask,
    driver: Option<String>,
) -> Result<(), Problem> {
    let mut seen = app.engine().incident(id).await?;
    if let Some(driver) = driver {
        seen.driver = Some(driver).filter(|driver| !driver.is_empty());
    }
    let (engine, by) = (app.engine().clone(), visitor.actor());
    to_the_end(async move { engine.in_incident(&seen, &ask, &by).await }).await??;
    Ok(())
}

/// `GET /incidents/{id}/post-mortem.md`, and the same under `/api/v1`: by id or by number.
pub(crate) async fn post_mortem(
    State(app): State<App>,
    Path(word): Path<String>,
) -> Result<Response, Problem> {
    let view = incident::read(&app, incident::find(&app, &word).await?).await?;
    let text = pack::markdown(&view, app.engine().registry(), &app.settings().public_url)?;
    let name = format!("attachment; filename=\"{}.md\"", view.incident.name());
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).map_err(Problem::internal)?),
    ];
    Ok((headers, text).into_response())
}
