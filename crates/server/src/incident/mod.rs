//! One incident, worked out once for the page, the API and the post-mortem pack: what was said, judged, done, and when.
//!
//! Nothing is kept for the sake of this page: the timeline is put together from signals, verdicts, the journals of the runs that
//! were at work on the incident's targets, and what people wrote (`audit`). So it tells what happened, and cannot tell anything else.

mod graph;
pub(crate) mod pack;
mod timeline;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::incident::{Incident, Times};
use domain::run::Record;
use store::incidents::{Said, SignalOf, VerdictOf};
use store::pages::RunRow;
use uuid::Uuid;

use crate::app::App;
use crate::chart::{self, Chart};
use crate::error::{Problem, Thing};

pub(crate) use timeline::Line;

/// So much before an incident and after it is drawn, to see how it was.
const AROUND: TimeDelta = TimeDelta::minutes(10);

/// An incident.
pub(crate) struct IncidentView {
    pub(crate) incident: Incident,
    pub(crate) signals: Vec<SignalOf>,
    pub(crate) verdicts: Vec<VerdictOf>,
    pub(crate) runs: Vec<(RunRow, Vec<Record>)>,
    pub(crate) said: Vec<Said>,
    pub(crate) times: Times,
    /// How many of its signals fire.
    pub(crate) firing: i64,
    /// The symptom over its time, while its samples are kept.
    pub(crate) chart: Option<Chart>,
    pub(crate) now: Timestamp,
}

/// The one that is meant: by its id, or by the number that people say (`17`, `INC-17`).
pub(crate) async fn find(app: &App, word: &str) -> Result<Uuid, Problem> {
    if let Ok(id) = word.parse() {
        return Ok(id);
    }
    let number = word.trim_start_matches("INC-").trim_start_matches("inc-").parse().ok();
    let found = match number {
        Some(number) => store::incidents::numbered(app.pool(), number).await?,
        None => None,
    };
    found.ok_or_else(|| Problem::no_such(Thing::Incident))
}

/// Reads one.
pub(crate) async fn read(app: &App, id: Uuid) -> Result<IncidentView, Problem> {
    let pool = app.pool();
    let incident = app.engine().incident(id).await?;
    let signals = store::incidents::signals(pool, id).await?;
    let verdicts = store::incidents::verdicts(pool, id).await?;
    let said = store::incidents::said(pool, id).await?;
    let mut runs = Vec::new();
    for row in store::incidents::runs(pool, &incident).await? {
        let journal = store::runs::journal(pool, row.id).await?;
        runs.push((row, journal));
    }
    let ids: Vec<Uuid> = runs.iter().map(|(row, _)| row.id).collect();
    let times = store::incidents::times(pool, &incident, &ids).await?;
    let firing = store::incidents::firing(pool, id).await?;
    let now = app.now();
    let chart = chart(app, &incident, now).await?;
    Ok(IncidentView { incident, signals, verdicts, runs, said, times, firing, chart, now })
}

async fn chart(app: &App, incident: &Incident, now: Timestamp) -> Result<Option<Chart>, Problem> {
    let (from, to) =
        (incident.opened_at - AROUND, incident.closed_at.map_or(now, |at| (at + AROUND).min(now)));
    for (series, title) in
        [("error_share", "Share of requests that fail"), ("login_failures", "Share of login tries that fail")]
    {
        let samples = store::fleets::samples(app.pool(), series, (from, to)).await?;
        let chart = chart::draw(title, &samples, from, to);
        if chart.is_some() {
            return Ok(chart);
        }
    }
    Ok(None)
}

impl IncidentView {
    /// Everything that happened, the oldest first.
    pub(crate) fn timeline(&self) -> Vec<Line> {
        timeline::lines(self)
    }

    /// How long it lasted, or lasts.
    pub(crate) fn elapsed(&self) -> TimeDelta {
        self.incident.closed_at.unwrap_or(self.now) - self.incident.opened_at
    }

    /// From what offsets count: the first signal, or when it was opened.
    pub(crate) fn began(&self) -> Timestamp {
        self.times.began.map_or(self.incident.opened_at, |began| began.min(self.incident.opened_at))
    }
}
