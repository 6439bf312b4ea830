//! One run, worked out once for the page and for the API: the journal folded, the runbook's steps beside what became of
//! them, the calls that were made, and what may be asked of it now.
//!
//! The whole journal is read and folded each time: hundreds of entries for a runbook of ten steps, thousands for one that was
//! retried all day, and no more than that, because a look that sees nothing new writes none. How large the table is does not
//! matter; `cargo xtask bench-audit` times it. Calls, of which a waiting run makes many, are limited.

mod asks;
pub(crate) mod by_hand;
mod came_of;
mod failures;
pub(crate) mod gantt;
mod gate;
mod gathered;
mod outline;
mod steps;
mod timeline;
mod wait;

use std::sync::Arc;

use domain::Timestamp;
use domain::forecast::{Forecast, Remaining};
use domain::incident::Incident;
use domain::plan::{Comparison, Plan, compare};
use domain::run::{Ask, Entry, Record, State};
use domain::runbook::{self, Children, Runbook};
use serde_json::Value;
use store::calls::Call;
use store::gate::Ahead;
use store::inbox::Wish;
use store::pages::RunRow;
use store::reviews::Review;
use store::triage::Cause;
use uuid::Uuid;

use crate::app::App;
use crate::chart::{self, Chart};
use crate::error::{Problem, Thing};
use crate::words;

pub(crate) use asks::{Asker, Choice, Decision, choices, form_of, shown};
pub(crate) use gate::GateView;
pub(crate) use outline::Outline;
pub(crate) use steps::StepView;
pub(crate) use timeline::{Told, tell};

/// Which of a run's calls are read. Those that change something always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    /// All.
    All,
    /// The newest: a run that waits for an hour looks hundreds of times.
    Newest,
}

impl Looks {
    fn limit(self) -> i64 {
        match self {
            Self::All => i64::MAX,
            Self::Newest => 200,
        }
    }
}

/// A run.
pub(crate) struct RunView {
    pub(crate) row: RunRow,
    pub(crate) state: State,
    pub(crate) journal: Vec<Record>,
    pub(crate) calls: Vec<Call>,
    pub(crate) steps: Vec<StepView>,
    /// Asked for, and not answered yet by the worker that owns the run.
    pub(crate) wishes: Vec<Wish>,
    /// What it was given, in the order of the runbook's form.
    pub(crate) inputs: Vec<(String, String)>,
    /// The exact text that the run is pinned to.
    pub(crate) text: String,
    /// What it stands in line for.
    pub(crate) ahead: Vec<Ahead>,
    /// Where somebody went on alone.
    pub(crate) reviews: Vec<Review>,
    /// The signal that it was started or offered for.
    pub(crate) cause: Option<Cause>,
    /// Those that it was at work on.
    pub(crate) incidents: Vec<Incident>,
    /// How long such runs take, and what is left of this one.
    pub(crate) forecast: Option<Forecast>,
    pub(crate) remaining: Option<Remaining>,
    /// The plan that the run went by, beside what was done.
    pub(crate) comparison: Option<Comparison>,
    pub(crate) now: Timestamp,
}

/// A run, and what customers saw meanwhile.
pub(crate) struct Seen {
    pub(crate) run: RunView,
    /// `None` where nothing was measured.
    pub(crate) chart: Option<Chart>,
}

/// Reads a run with its chart.
pub(crate) async fn see(app: &App, id: Uuid, looks: Looks) -> Result<Seen, Problem> {
    let run = read(app, id, looks).await?;
    let chart = symptom(app, &run).await?;
    Ok(Seen { run, chart })
}

/// Reads a run.
pub(crate) async fn read(app: &App, id: Uuid, looks: Looks) -> Result<RunView, Problem> {
    let pool = app.pool();
    let row = store::pages::run(pool, id).await?.ok_or_else(|| Problem::no_such(Thing::Run))?;
    let journal = store::runs::journal(pool, id).await?;
    let state = State::replay(&journal).map_err(Problem::internal)?;
    let calls = store::calls::of_run(pool, id, looks.limit()).await?;
    let wishes = if state.outcome().is_some() {
        Vec::new()
    } else {
        store::inbox::after(pool, id, state.inbox()).await?
    };
    let text = store::pages::runbook_text(pool, &row.hash).await?.unwrap_or_default();
    let ahead = if row.state == "queued" { store::gate::ahead(pool, id).await? } else { Vec::new() };
    let broken = journal.iter().any(|r| matches!(&r.entry, Entry::Asked { ask: Ask::BreakGlass { .. }, .. }));
    let reviews = if broken { store::reviews::of_run(pool, id).await? } else { Vec::new() };
    let cause = store::triage::cause(pool, id).await?;
    let incidents = store::incidents::of_run(pool, id).await?;
    let now = app.now();
    // A text of another version of the language may not parse; what has happened is shown all the same.
    let runbook = runbook::parse(&row.runbook, &text).ok().map(Arc::new);
    let mut children = Children::new();
    for (name, hash) in state.children() {
        let text = store::pages::runbook_text(pool, hash).await?.unwrap_or_default();
        if let Ok(child) = runbook::parse(name, &text) {
            children.insert(name.clone(), Arc::new(child));
        }
    }
    let forecast = match &runbook {
        Some(runbook) => Some(app.engine().forecast(runbook, &children).await?),
        None => None,
    };
    let remaining = runbook
        .as_ref()
        .zip(forecast.as_ref())
        .and_then(|(runbook, forecast)| forecast.remaining(runbook, &children, &state, now));
    let steps = steps::tree(&steps::Sight {
        runbook: runbook.as_deref(),
        children: &children,
        forecast: forecast.as_ref(),
        state: &state,
        registry: app.engine().registry(),
        calls: &calls,
        now,
    });
    let mut run = RunView {
        inputs: inputs(&row.inputs, runbook.as_deref()),
        row,
        state,
        journal,
        calls,
        steps,
        wishes,
        text,
        ahead,
        reviews,
        cause,
        incidents,
        forecast,
        remaining,
        comparison: None,
        now,
    };
    run.comparison = run.plan().map(|plan| compare(&plan, &run.state, app.engine().registry()));
    Ok(run)
}

fn inputs(given: &Value, runbook: Option<&Runbook>) -> Vec<(String, String)> {
    let place = |name: &str| runbook.and_then(|r| r.inputs.iter().position(|input| input.name == name));
    let mut given: Vec<_> = given.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()).collect();
    given.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    given.into_iter().map(|(name, value)| (name.replace('_', " "), words::brief(value))).collect()
}

impl RunView {
    /// Has it come past its gate, or did it before it ended?
    pub(crate) fn has_begun(&self) -> bool {
        let over = self.row.ended_at.is_some();
        self.state.gate().is_none() && (!over || self.state.nodes().next().is_some())
    }

    /// The plan that is asked about, was accepted after a drift, or else the one that the requester looked at.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let newer = self.state.drift().map(|drift| &*drift.plan).or(self.state.accepted_plan());
        newer.cloned().or_else(|| self.seen_plan())
    }

    fn seen_plan(&self) -> Option<Plan> {
        self.row.plan.clone().and_then(|plan| serde_json::from_value(plan).ok())
    }

    /// The journal in words, the newest `most` entries.
    pub(crate) fn timeline(&self, most: usize) -> Vec<Told> {
        let from = self.journal.len().saturating_sub(most);
        self.journal[from..].iter().map(|record| timeline::tell(record, self.row.created_at)).collect()
    }

    /// The steps that wait for a person, and those at which a person may cut a wait short.
    pub(crate) fn decisions(&self, by: &Asker<'_>) -> Vec<Decision> {
        let ending = self.state.aborting().is_some() || self.steps.iter().any(StepView::ends_run);
        asks::decisions(&self.state, by, ending, |path| self.titled(path))
    }

    /// The title of the step at a path, where it has one of its own.
    pub(crate) fn titled(&self, path: &str) -> Option<String> {
        self.steps.iter().find_map(|step| step.titled(path))
    }

    /// What stands between it and its next step: approvals, a line, a drift, what holds it back.
    pub(crate) fn gate(&self, by: &Asker<'_>) -> GateView {
        gate::view(self, by)
    }

    /// The steps that go on now.
    pub(crate) fn at_work(&self) -> Vec<&StepView> {
        let mut at_work = Vec::new();
        if self.row.ended_at.is_none() {
            self.steps.iter().for_each(|step| step.at_work(&mut at_work));
        }
        at_work
    }

    /// How long it lasted, or lasts.
    pub(crate) fn elapsed(&self) -> chrono::TimeDelta {
        self.row.ended_at.unwrap_or(self.now) - self.row.created_at
    }
}

/// So much before a run and after it is drawn, to see how it was.
const AROUND: chrono::TimeDelta = chrono::TimeDelta::minutes(3);

/// What customers see while it is at work, with a mark where it changed something; while its samples are kept.
async fn symptom(app: &App, run: &RunView) -> Result<Option<Chart>, Problem> {
    let from = run.row.created_at - AROUND;
    let to = run.row.ended_at.map_or(run.now, |end| run.now.min(end + AROUND));
    for (series, title) in
        [("error_share", "Share of requests that fail"), ("login_failures", "Share of login tries that fail")]
    {
        let samples = store::fleets::samples(app.pool(), series, (from, to)).await?;
        if let Some(chart) = chart::draw(title, &samples, from, to) {
            let changes = run.calls.iter().filter(|call| call.mutating && call.status == "ok");
            let said = changes.map(|call| (call.at, format!("{} {}", call.operation, call.target)));
            return Ok(Some(chart.marked(said, (from, to))));
        }
    }
    Ok(None)
}

/// The steps of a runbook as a list to read before anything is started.
pub(crate) fn overview(runbook: &Runbook) -> Vec<Outline> {
    outline::outline(&runbook.steps, 0)
}
