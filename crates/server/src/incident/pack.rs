//! The post-mortem pack: an incident as a document that is read after it, and as JSON for whatever writes such documents.

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::action::Registry;
use domain::plan::{self, Made, Plan, PlannedOutcome};
use domain::run::{Ask, Entry, Record, State};
use serde_json::{Value, json};
use store::pages::RunRow;

use super::{IncidentView, Line, graph};
use crate::error::Problem;
use crate::words;

/// As Markdown.
pub(crate) fn markdown(
    view: &IncidentView,
    registry: &Registry,
    public_url: &str,
) -> Result<String, Problem> {
    let text = Document { view, registry, public_url, lines: view.timeline() }
        .render()
        .map_err(Problem::internal)?;
    Ok(text)
}

/// As JSON.
pub(crate) fn json(view: &IncidentView, registry: &Registry) -> Value {
    let runs = view.runs.iter().map(|(row, _)| {
        let run = RunOf { row, view, registry };
        json!({
            "run": row, "plan": row.plan, "approvals": run.approvals(), "changes": run.changes(), "evidence": run.evidence(),
        })
    });
    json!({
        "incident": view.incident,
        "name": view.incident.name(),
        "times": view.times,
        "signals": view.signals,
        "verdicts": view.verdicts,
        "runs": runs.collect::<Vec<_>>(),
        "timeline": view.timeline(),
        "said": view.said,
        "graphs": view.chart.as_ref().map(|chart| json!({ "title": chart.title, "svg": graph::svg(chart) })).into_iter().collect::<Vec<_>>(),
    })
}

#[derive(Template)]
#[template(path = "incident.md", escape = "none")]
struct Document<'a> {
    view: &'a IncidentView,
    registry: &'a Registry,
    public_url: &'a str,
    lines: Vec<Line>,
}

impl<'a> Document<'a> {
    fn runs(&self) -> impl Iterator<Item = RunOf<'a>> {
        let (view, registry) = (self.view, self.registry);
        view.runs.iter().map(move |(row, _)| RunOf { row, view, registry })
    }

    /// The graph as an address that carries the picture itself.
    fn graph(&self) -> Option<(&str, String)> {
        let chart = self.view.chart.as_ref()?;
        Some((chart.title, format!("data:image/svg+xml;base64,{}", STANDARD.encode(graph::svg(chart)))))
    }

    /// In one line of a table.
    fn cell(&self, text: &str) -> String {
        text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A run, as a post-mortem tells it.
struct RunOf<'a> {
    row: &'a RunRow,
    view: &'a IncidentView,
    registry: &'a Registry,
}

impl RunOf<'_> {
    fn plan(&self) -> Option<Plan> {
        self.row.plan.clone().and_then(|plan| serde_json::from_value(plan).ok())
    }

    /// The guards of its plan that held, with what they saw.
    fn evidence(&self) -> Vec<(String, String)> {
        let plan = self.plan();
        let steps = plan.iter().flat_map(|plan| &plan.steps);
        let told = steps.filter_map(|step| match &step.outcome {
            PlannedOutcome::Holds { facts } => {
                let seen: Vec<_> =
                    facts.iter().map(|(name, value)| format!("{name} = {}", words::brief(value))).collect();
                Some((step.title.clone(), words::shorten(&seen.join(", "), 200)))
            }
            _ => None,
        });
        told.collect()
    }

    /// What it changed, as its journal tells: a plan is what it meant to do.
    fn changes(&self) -> Vec<Made> {
        let state = self.journal().and_then(|journal| State::replay(journal).ok());
        state.map(|state| plan::made(&state, self.registry)).unwrap_or_default()
    }

    fn journal(&self) -> Option<&Vec<Record>> {
        self.view.runs.iter().find(|(row, _)| row.id == self.row.id).map(|(_, journal)| journal)
    }

    /// Who agreed to it, or did not.
    fn approvals(&self) -> Vec<(String, String)> {
        let entries = self.journal().into_iter().flatten();
        let told = entries.filter_map(|record| match &record.entry {
            Entry::Asked { by, ask, refused: None, .. } => match ask {
                Ask::Approve { .. } | Ask::Reject { .. } | Ask::BreakGlass { .. } => {
                    let why = ask.reason().map(|why| format!(": {why}")).unwrap_or_default();
                    Some((by.name().to_owned(), format!("{}{why}", ask.verb())))
                }
                _ => None,
            },
            _ => None,
        });
        told.collect()
    }

    fn ended(&self) -> &'static str {
        words::run_badge(&self.row.state).word
    }
}
