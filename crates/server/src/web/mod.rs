//! Pages for people. Each is drawn from what `situation`, `run` and `plans` worked out; none decides anything.

pub(crate) mod audit;
pub(crate) mod brakes;
pub(crate) mod cursor;
pub(crate) mod drills;
pub(crate) mod form;
pub(crate) mod incidents;
pub(crate) mod outbox;
pub(crate) mod people;
pub(crate) mod permissions;
pub(crate) mod provider;
pub(crate) mod readiness;
pub(crate) mod refused;
pub(crate) mod runbooks;
pub(crate) mod runs;
pub(crate) mod search;
pub(crate) mod settings;
pub(crate) mod sign_in;
pub(crate) mod signals;
pub(crate) mod situation;
pub(crate) mod triggers;

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};

use crate::app::{App, OnStage};
use crate::error::Problem;
use crate::session::Visitor;

/// What surrounds every page.
pub(crate) struct Frame {
    pub(crate) title: String,
    /// Which entry of the navigation is lit.
    pub(crate) here: &'static str,
    pub(crate) person: Option<String>,
    pub(crate) csrf: String,
    pub(crate) environment: Option<String>,
    pub(crate) simulated: bool,
    /// The drill whose world this is.
    pub(crate) drill: Option<OnStage>,
    /// Where the page hears that it should look again.
    pub(crate) events: Option<String>,
    /// Of a page that does so else, and does not now: where it does.
    pub(crate) still: Option<String>,
}

impl Frame {
    /// Around a page of somebody who is signed in.
    pub(crate) fn new(app: &App, visitor: &Visitor, here: &'static str, title: impl Into<String>) -> Self {
        let mut frame = Self::bare(app, title);
        frame.here = here;
        frame.person = Some(visitor.person.clone());
        frame.csrf.clone_from(&visitor.csrf);
        frame
    }

    /// Around a page that everybody may see.
    pub(crate) fn bare(app: &App, title: impl Into<String>) -> Self {
        let settings = app.settings();
        Self {
            title: title.into(),
            here: "",
            person: None,
            csrf: String::new(),
            environment: settings.environment.clone(),
            simulated: settings.simulated,
            drill: settings.drill.clone(),
            events: None,
            still: None,
        }
    }

    /// A page that redraws itself when told to.
    #[must_use]
    pub(crate) fn live(mut self, events: impl Into<String>) -> Self {
        self.events = Some(events.into());
        self
    }

    /// A page that stands still for once, and says where it does not.
    pub(crate) fn hold_still(&mut self, page: impl Into<String>) {
        self.still = Some(page.into());
    }

    /// The colour of the strip.
    pub(crate) fn strip(&self) -> &'static str {
        match self.environment.as_deref() {
            Some("production" | "prod") => "production",
            _ if self.drill.is_some() => "drill",
            _ if self.simulated => "simulated",
            _ => "other",
        }
    }

    /// The address of a static file.
    pub(crate) fn asset(&self, name: &str) -> &'static str {
        crate::assets::address(name)
    }
}

/// Draws a page.
pub(crate) fn html(page: &impl Template) -> Result<Response, Problem> {
    with_status(StatusCode::OK, page)
}

/// Draws a page that says why something was not done.
pub(crate) fn with_status(status: StatusCode, page: &impl Template) -> Result<Response, Problem> {
    Ok((status, Html(page.render().map_err(Problem::internal)?)).into_response())
}

/// Does the page's own script ask, for its inner part only?
pub(crate) fn is_fragment(headers: &HeaderMap) -> bool {
    headers.contains_key("x-fragment")
}

/// Refuses what another site makes a browser send, as far as the browser tells.
pub(crate) async fn same_origin(request: Request, next: Next) -> Response {
    let site = request.headers().get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes);
    if request.method().is_safe() || matches!(site, None | Some(b"same-origin" | b"none")) {
        return next.run(request).await;
    }
    Problem::new(StatusCode::FORBIDDEN, "other_site", "Another site sent this request. Nothing was done.")
        .into_response()
}
