//! The home page: how things are, what is wrong, and the button that fits.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::brakes::may_not;
use super::refused::Refusal;
use super::{Frame, html, is_fragment, with_status};
use crate::app::App;
use crate::chart::{HEIGHT, WIDTH};
use crate::error::Problem;
use crate::on_it::Stands;
use crate::session::Visitor;
use crate::situation::{self, Situation};
use crate::words;
use domain::advice::Recommended;
use store::signals::SignalRow;

#[derive(Template)]
#[template(path = "situation.html", blocks = ["main"])]
struct Page {
    frame: Frame,
    now: Situation,
    /// Title of each runbook that is advised, by name; what is not on the shelf is not offered.
    offers: Vec<(String, String)>,
    may_not: Option<String>,
    refused: Refusal,
}

impl Page {
    /// The button for a recommendation: label and address.
    fn offer(&self, advised: &Recommended) -> Option<(&str, String)> {
        let (_, title) = self.offers.iter().find(|(name, _)| name == advised.name)?;
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&advised.inputs).finish();
        Some((title, format!("/runbooks/{}?{query}", advised.name)))
    }

    /// What triage has prepared for just that: one click starts it.
    fn prepared(&self, advised: &Recommended) -> Option<&SignalRow> {
        self.now.signals.iter().find(|signal| is_prepared(signal, advised))
    }

    /// Is its button shown with what is wrong?
    fn is_shown_above(&self, signal: &SignalRow) -> bool {
        let mut advised = self.now.findings.iter().filter_map(|found| found.finding.runbook.as_ref());
        advised.any(|advised| self.prepared(advised).is_some_and(|shown| shown.id == signal.id))
    }

    /// Why a kill switch was not released, or not pressed, whose form does not stand here any more.
    fn gone(&self) -> Option<&Problem> {
        let is_on = |scope: &str| self.now.switches.iter().any(|switch| switch.scope == scope);
        let gone = self.refused.gone("allow", is_on);
        gone.or_else(|| self.refused.gone("kill-switch", |_| !self.now.all_stopped()))
    }

    /// Clusters, those whose customers see errors first.
    fn clusters(&self) -> Vec<&situation::Cluster> {
        let mut clusters: Vec<_> = self.now.clusters.iter().collect();
        clusters.sort_by(|a, b| b.error_share.unwrap_or(0.0).total_cmp(&a.error_share.unwrap_or(0.0)));
        clusters
    }
}

fn is_prepared(signal: &SignalRow, advised: &Recommended) -> bool {
    let same = |(name, value): &(&str, String)| {
        signal.inputs.as_ref().and_then(|inputs| inputs[*name].as_str()) == Some(value.as_str())
    };
    signal.asks() && signal.runbook.as_deref() == Some(advised.name) && advised.inputs.iter().all(same)
}

/// `GET /`
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut page = draw(&app, &visitor).await?;
    page.frame = page.frame.live("/events");
    if is_fragment(&headers) { html(&page.as_main()) } else { html(&page) }
}

/// The page again, with a form of it that was refused. It does not redraw itself.
pub(super) async fn again(
    app: &App,
    visitor: &Visitor,
    status: StatusCode,
    refused: Refusal,
) -> Result<Response, Problem> {
    let mut page = draw(app, visitor).await?;
    page.refused = refused;
    page.frame.hold_still("/");
    with_status(status, &page)
}

async fn draw(app: &App, visitor: &Visitor) -> Result<Page, Problem> {
    let now = situation::read(app).await?;
    let runbooks = app.engine().library();
    let offers = runbooks.runbooks().map(|runbook| (runbook.name.clone(), runbook.title.clone()));
    Ok(Page {
        frame: Frame::new(app, visitor, "situation", "Situation"),
        now,
        offers: offers.collect(),
        may_not: may_not(visitor),
        refused: Refusal::default(),
    })
}
