//! Signing in with a link. (At a provider, and out: `provider`.)

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use domain::identity::By;

use super::provider::Wanted;
use super::{Frame, html, with_status};
use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::limits::Address;
use crate::oidc::local;
use crate::session::{self, LINK_VALID};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    frame: Frame,
    /// The link's token, to be sent back by the button.
    token: Option<String>,
    /// The link did not work.
    spent: bool,
    minutes: u64,
    /// The provider at which one signs in, if there is one.
    provider: Option<String>,
    /// Where one wanted to go.
    to: String,
}

fn draw(app: &App, token: Option<String>, spent: bool) -> Page {
    let provider = app.settings().oidc.as_ref().map(|oidc| oidc.name().to_owned());
    let minutes = LINK_VALID.as_secs() / 60;
    Page { frame: Frame::bare(app, "Sign in"), token, spent, minutes, provider, to: String::new() }
}

/// `GET /sign-in`
pub(crate) async fn how(
    State(app): State<App>,
    Query(Wanted { to }): Query<Wanted>,
) -> Result<Response, Problem> {
    let to = local(&to).unwrap_or_default().to_owned();
    html(&Page { to, ..draw(&app, None, false) })
}

/// `GET /sign-in/{token}`: a button and nothing else, so that a mere look at the link does not use it up.
pub(crate) async fn page(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    html(&draw(&app, Some(token), false))
}

/// `POST /sign-in/{token}`
pub(crate) async fn sign_in(
    State(app): State<App>,
    Path(token): Path<String>,
    Address(address): Address,
) -> Result<Response, Problem> {
    let worker = app.clone();
    match to_the_end(async move { session::sign_in(&worker, &token).await }).await?? {
        Some((_, cookie)) => Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()),
        None => {
            let why = "the link is none, was used already, or is too old";
            session::turn_away(&app, By::Link, "somebody", why, address).await?;
            with_status(StatusCode::GONE, &draw(&app, None, true))
        }
    }
}
