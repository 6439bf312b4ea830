//! How far each trigger may go by itself, and whether it has earned it: modes, the scoreboard, and the occasions behind it.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use domain::runbook::Mode;
use domain::trust::score::{Compared, Occasion};
use engine::{Dangling, TriggerView};

use super::form::field;
use super::refused::Refusal;
use super::{Frame, html, with_status};
use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::session::Visitor;
use crate::words;

/// So many occasions are shown.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "triggers.html")]
struct Page {
    frame: Frame,
    triggers: Vec<TriggerView>,
    /// What is configured and not there.
    dangling: Vec<Dangling>,
    occasions: Vec<Occasion>,
    refused: Refusal,
}

impl Page {
    /// Why the mode of a trigger was not set that is not there.
    fn no_trigger(&self) -> Option<&Problem> {
        self.refused.gone("mode", |rule| self.triggers.iter().any(|trigger| trigger.rule == rule))
    }

    /// Which modes can be set, besides the one that holds.
    fn others(&self, trigger: &TriggerView) -> Vec<Mode> {
        [Mode::Shadow, Mode::Ask, Mode::Auto].into_iter().filter(|mode| *mode != trigger.mode).collect()
    }

    fn compared(&self, occasion: &Occasion) -> (&'static str, words::Icon, &'static str) {
        match occasion.compared() {
            Compared::Started => ("busy", words::Icon::Play, "It started the run"),
            Compared::Taken => ("ok", words::Icon::Check, "A person took its offer"),
            Compared::Same => ("ok", words::Icon::Check, "A person did the same"),
            Compared::Different => ("warn", words::Icon::Alert, "A person did something else"),
            Compared::Open => ("wait", words::Icon::Clock, "Nobody has done anything yet"),
            Compared::Nothing => ("off", words::Icon::Dot, "Nobody did anything"),
        }
    }

    /// How much earlier it was than people.
    fn lead_of(&self, lead: &TimeDelta) -> String {
        self.lead(&lead.num_seconds())
    }

    fn lead(&self, seconds: &i64) -> String {
        let span = words::span(TimeDelta::seconds(seconds.abs()));
        if *seconds < 0 { format!("{span} later than people") } else { format!("{span} before people") }
    }
}

/// `GET /triggers`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    html(&draw(&app, &visitor).await?)
}

async fn draw(app: &App, visitor: &Visitor) -> Result<Page, Problem> {
    let (triggers, mut occasions) = app.engine().triggers().await?;
    occasions.truncate(SHOWN);
    let frame = Frame::new(app, visitor, "signals", "Triggers");
    let dangling = app.engine().dangling();
    Ok(Page { frame, triggers, dangling, occasions, refused: Refusal::default() })
}

/// `POST /triggers/mode`
pub(crate) async fn set_mode(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    match set_as_told(&app, &visitor, &form).await {
        Ok(()) => Ok(Redirect::to("/triggers").into_response()),
        Err(problem) => {
            let (status, refused) = Refusal::of("mode", field(&form, "rule").to_owned(), form, problem)?;
            let mut page = draw(&app, &visitor).await?;
            page.refused = refused;
            with_status(status, &page)
        }
    }
}

async fn set_as_told(app: &App, visitor: &Visitor, form: &[(String, String)]) -> Result<(), Problem> {
    let mode = match field(form, "mode") {
        "configured" => None,
        word => Some(word.parse().map_err(Problem::unfit)?),
    };
    set(app, visitor, field(form, "rule"), mode, field(form, "reason")).await
}

/// Sets it.
pub(crate) async fn set(
    app: &App,
    visitor: &Visitor,
    rule: &str,
    mode: Option<Mode>,
    reason: &str,
) -> Result<(), Problem> {
    let (engine, by, rule, reason) =
        (app.engine().clone(), visitor.actor(), rule.to_owned(), reason.to_owned());
    to_the_end(async move { engine.set_mode(&rule, mode, &by, &reason).await }).await??;
    Ok(())
}
