//! The list of runs, one run, and what is asked of it.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use domain::forecast::Took;
use domain::plan::{Comparison, DeviationKind, Plan, PlannedOutcome, Verdict};
use domain::run::{Ask, StepPath, Takeback};
use engine::StopsAgain;
use serde::Deserialize;
use store::pages::{RunFilter, RunRow};
use uuid::Uuid;

use super::cursor::{cursor, read_cursor};
use super::refused::Refusal;
use super::{Frame, html, is_fragment, with_status};
use crate::app::{App, to_the_end};
use crate::chart::{Chart, HEIGHT, WIDTH};
use crate::error::{Problem, Thing};
use crate::ids::{self, AMONG, is_like};
use crate::run::gantt::{self, Gantt};
use crate::run::{self, Asker, Choice, Decision, GateView, RunView, Seen, Told, form_of};
use crate::session::Visitor;
use crate::words;

/// On one page of the list.
pub(crate) const PAGE: usize = 40;
/// Entries of the timeline, unless all are asked for.
const TOLD: usize = 300;

/// What the list shows.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(crate) struct Filter {
    /// Any value: only runs that have not ended.
    open: Option<String>,
    /// Only those of this runbook.
    runbook: Option<String>,
    /// Only those of the newest thousand whose id begins or ends like this.
    id: Option<String>,
    /// A cursor, from the page before.
    before: Option<String>,
}

impl Filter {
    pub(crate) fn read(&self) -> Result<RunFilter, Problem> {
        let before = self
            .before
            .as_deref()
            .filter(|c| !c.is_empty())
            .map(|text| read_cursor(text, ("Runs", "/runs")))
            .transpose()?;
        Ok(RunFilter { open: self.is_open(), runbook: self.runbook().map(str::to_owned), before })
    }

    fn part_of_id(&self) -> Option<&str> {
        self.id.as_deref().filter(|part| !part.is_empty())
    }

    fn is_open(&self) -> bool {
        self.open.as_deref().is_some_and(|open| !matches!(open, "" | "0" | "false"))
    }

    fn runbook(&self) -> Option<&str> {
        self.runbook.as_deref().filter(|name| !name.is_empty())
    }
}

/// One page, and where the next one begins.
pub(crate) async fn some(app: &App, filter: &Filter) -> Result<(Vec<RunRow>, Option<String>), Problem> {
    let page = i64::try_from(PAGE + 1).unwrap_or(i64::MAX);
    let limit = filter.part_of_id().map_or(page, |_| AMONG);
    let mut runs = store::pages::runs(app.pool(), &filter.read()?, limit).await?;
    runs.retain(|run| filter.part_of_id().is_none_or(|part| is_like(run.id, part)));
    let more = runs.len() > PAGE;
    runs.truncate(PAGE);
    let next = runs.last().filter(|_| more).map(|last| cursor(last.created_at, last.id));
    Ok((runs, next))
}

#[derive(Template)]
#[template(path = "runs.html")]
struct List {
    frame: Frame,
    runs: Vec<RunRow>,
    filter: Filter,
    runbooks: Vec<String>,
    next: Option<String>,
    now: domain::Timestamp,
}

impl List {
    fn elapsed(&self, run: &RunRow) -> String {
        words::span(run.ended_at.unwrap_or(self.now) - run.created_at)
    }

    /// The address of the next page.
    fn next(&self) -> Option<String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("before", self.next.as_deref()?);
        if self.filter.is_open() {
            query.append_pair("open", "1");
        }
        if let Some(name) = self.filter.runbook() {
            query.append_pair("runbook", name);
        }
        if let Some(part) = self.filter.part_of_id() {
            query.append_pair("id", part);
        }
        Some(format!("/runs?{}", query.finish()))
    }
}

/// `GET /runs`
pub(crate) async fn list(
    State(app): State<App>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<Response, Problem> {
    let (runs, next) = some(&app, &filter).await?;
    let runbooks = app.engine().library().iter().map(|(name, _)| name.to_owned()).collect();
    let frame = Frame::new(&app, &visitor, "runs", "Runs");
    html(&List { frame, runs, filter, runbooks, next, now: app.now() })
}

/// What the page of a run shows below its header: the steps, whatever else is asked for that it does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tab {
    Timeline,
    Calls,
    Plan,
    Definition,
    #[default]
    #[serde(other)]
    Steps,
}

impl Tab {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Steps, "steps", "Steps"),
        (Self::Timeline, "timeline", "Timeline"),
        (Self::Calls, "calls", "Calls"),
        (Self::Plan, "plan", "Plan"),
        (Self::Definition, "definition", "Definition"),
    ];
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Show {
    tab: Tab,
    /// Any value: the whole timeline.
    all: Option<String>,
}

#[derive(Template)]
#[template(path = "run.html", blocks = ["main"])]
struct Page<'a> {
    frame: Frame,
    run: &'a RunView,
    tab: Tab,
    told: Vec<Told>,
    choices: Vec<Choice>,
    gate: GateView,
    decisions: Vec<Decision>,
    plan: Option<Plan>,
    comparison: Option<Comparison>,
    /// Beside the steps.
    chart: Option<&'a Chart>,
    /// Above the timeline.
    gantt: Option<Gantt>,
    refused: Refusal,
}

impl Page<'_> {
    fn tabs(&self) -> impl Iterator<Item = &'static (Tab, &'static str, &'static str)> {
        Tab::ALL.iter()
    }

    fn shows(&self, tab: &Tab) -> bool {
        self.tab == *tab
    }

    /// Why something was not asked whose button does not stand there any more: the run has moved since.
    fn not_asked(&self) -> Option<&Problem> {
        let gate = &self.gate;
        let approvals = gate.approvals.iter().filter(|approval| approval.open);
        let choices = (self.choices.iter())
            .chain(self.decisions.iter().flat_map(|decision| &decision.choices))
            .chain(approvals.flat_map(|approval| &approval.choices))
            .chain(gate.drift.iter().flat_map(|drift| &drift.choices))
            .chain(gate.held_back.iter().flat_map(|held| &held.choices));
        let forms: Vec<String> = choices.map(Choice::form).collect();
        self.refused.gone("ask", |form| forms.iter().any(|stands| stands == form))
    }

    /// Entries of the journal that are not shown.
    fn untold(&self) -> usize {
        if self.tab == Tab::Timeline { self.run.journal.len() - self.told.len() } else { 0 }
    }

    /// One for each form that is drawn: a double click asks once.
    fn fresh(&self) -> Uuid {
        Uuid::now_v7()
    }

    /// Have past runs told often enough what it takes at most?
    fn tells_most(&self) -> bool {
        let total = self.run.forecast.as_ref().and_then(|forecast| forecast.total.as_ref());
        total.is_some_and(Took::tells_most)
    }

    fn changes_made(&self) -> usize {
        self.run.calls.iter().filter(|c| c.mutating && c.status == "ok").count()
    }
}

/// `GET /runs/{id}`: also by a part of the id.
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(word): Path<String>,
    (RawQuery(query), Query(show)): (RawQuery, Query<Show>),
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(id) = word.parse::<Uuid>() else {
        return ids::in_full(&app, Thing::Run, ("/runs", &word), query.as_deref()).await;
    };
    // A page that looks again shares what it sees with the others; one that is opened shows what is so now.
    let seen = match show.all {
        Some(_) => Arc::new(run::see(&app, id, run::Looks::All).await?),
        None if is_fragment(&headers) => app.watched().run(&app, id).await?,
        None => Arc::new(run::see(&app, id, run::Looks::Newest).await?),
    };
    let mut page = draw(&app, &visitor, &seen, &show);
    page.frame = page.frame.live(format!("/runs/{id}/events"));
    if is_fragment(&headers) { html(&page.as_main()) } else { html(&page) }
}

fn draw<'a>(app: &App, visitor: &Visitor, seen: &'a Seen, show: &Show) -> Page<'a> {
    let run = &seen.run;
    let told = match show.tab {
        Tab::Timeline => run.timeline(if show.all.is_some() { usize::MAX } else { TOLD }),
        _ => Vec::new(),
    };
    let by = Asker { by: visitor.actor(), policies: app.engine().policies() };
    let choices = if run.state.outcome().is_some() { Vec::new() } else { run::shown(&run.state, &by) };
    let frame = Frame::new(app, visitor, "runs", run.row.title.clone());
    let chart = seen.chart.as_ref().filter(|_| show.tab == Tab::Steps);
    let gantt = if show.tab == Tab::Timeline { gantt::draw(run) } else { None };
    let (plan, comparison) = (run.plan(), run.comparison.clone());
    let (gate, decisions) = (run.gate(&by), run.decisions(&by));
    let (tab, refused) = (show.tab, Refusal::default());
    Page { frame, plan, comparison, told, choices, gate, decisions, chart, gantt, tab, run, refused }
}

/// What a form asks.
#[derive(Debug, Deserialize)]
pub(crate) struct AskForm {
    ask: String,
    id: Uuid,
    #[serde(default)]
    step: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    takeback: String,
    #[serde(default)]
    plan_hash: String,
}

/// What can be asked of a run, by the words that forms and programs send.
const ASKS: [&str; 13] = [
    "pause",
    "resume",
    "retry",
    "skip",
    "mark_done",
    "approve",
    "reject",
    "break_glass",
    "accept_plan",
    "did_not_happen",
    "stop_looking",
    "begin_despite",
    "abort",
];

impl AskForm {
    /// Which form of the page it is.
    fn form(&self) -> String {
        form_of(&self.ask, &self.takeback, Some(self.step.as_str()).filter(|step| !step.is_empty()))
    }

    fn read(self) -> Result<Ask, Problem> {
        let step = || StepPath::from(self.step.as_str());
        let reason = self.reason.trim().to_owned();
        let at = || Some(step()).filter(|step| !step.as_str().is_empty());
        let seen = || Some(self.plan_hash.clone()).filter(|hash| !hash.is_empty());
        Ok(match self.ask.as_str() {
            "pause" => Ask::Pause { reason: Some(reason).filter(|r| !r.is_empty()) },
            "resume" => Ask::Resume,
            "retry" => Ask::Retry { step: step() },
            "skip" => Ask::Skip { step: step(), reason },
            "did_not_happen" => Ask::DidNotHappen { step: step(), reason },
            "stop_looking" => Ask::StopLooking { step: step() },
            "begin_despite" => Ask::BeginDespite { reason },
            "mark_done" => Ask::MarkDone { step: step(), reason, output: serde_json::Value::Null },
            "approve" => Ask::Approve { step: at(), plan_hash: seen() },
            "reject" => Ask::Reject { step: at(), reason },
            "break_glass" => Ask::BreakGlass { step: at(), reason, plan_hash: seen() },
            "accept_plan" => Ask::AcceptPlan { plan_hash: self.plan_hash },
            "abort" if self.takeback == "all" => Ask::Abort { takeback: Takeback::All, reason },
            "abort" => Ask::Abort { takeback: Takeback::Finally, reason },
            other => {
                let all = ASKS.join(", ");
                let detail = format!("`{other}` cannot be asked of a run. These can: {all}.");
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_ask", detail));
            }
        })
    }
}

/// Puts a wish into the run's inbox, once a reason is given where one must be. Answers with what stops the run again, where that is so.
pub(crate) async fn put(
    app: &App,
    visitor: &Visitor,
    run: Uuid,
    id: Uuid,
    ask: Ask,
) -> Result<Option<StopsAgain>, Problem> {
    if ask.reason_needed() && ask.reason().is_none_or(|reason| reason.trim().is_empty()) {
        let detail =
            format!("To {} needs a reason: it is read by whoever looks at this run later.", ask.verb());
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no_reason", detail)
            .remedy("Say why, in a few words.")
            .link("Back to the run", format!("/runs/{run}")));
    }
    let (engine, by) = (app.engine().clone(), visitor.actor());
    to_the_end(async move { engine.ask(run, id, &by, &ask).await })
        .await?
        .map_err(|error| Problem::from(error).link("Back to the run", format!("/runs/{run}")))
}

/// `POST /runs/{id}/ask`. What is refused is told on the page of the run, where its button stands; it does not redraw itself then, so
/// that what was typed stays.
pub(crate) async fn ask(
    State(app): State<App>,
    visitor: Visitor,
    Path(run): Path<Uuid>,
    Form(form): Form<AskForm>,
) -> Result<Response, Problem> {
    let (id, about, filled) = (form.id, form.form(), vec![("reason".to_owned(), form.reason.clone())]);
    let asked = match form.read() {
        Ok(ask) => put(&app, &visitor, run, id, ask).await,
        Err(problem) => Err(problem),
    };
    match asked {
        Ok(_) => Ok(Redirect::to(&format!("/runs/{run}")).into_response()),
        Err(problem) => {
            let (status, refused) = Refusal::of("ask", about, filled, problem)?;
            let seen = run::see(&app, run, run::Looks::Newest).await?;
            let mut page = draw(&app, &visitor, &seen, &Show::default());
            page.refused = refused;
            page.frame.hold_still(format!("/runs/{run}"));
            with_status(status, &page)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_what_there_is_not_is_told_what_there_is() {
        let ask = |word: &str| {
            let form = serde_json::json!({ "ask": word, "id": Uuid::nil() });
            serde_json::from_value::<AskForm>(form).unwrap().read()
        };
        let told = ask("dance").unwrap_err().detail;
        // Programs are told by whoever reads their JSON.
        let read = serde_json::from_str::<Ask>(r#"{ "ask": "dance" }"#).unwrap_err().to_string();
        for word in ASKS {
            assert!(
                ask(word).is_ok() && told.contains(word) && read.contains(&format!("`{word}`")),
                "{word}"
            );
        }
        assert_eq!(read.matches('`').count(), 2 * (ASKS.len() + 1), "{read}");
    }
}
