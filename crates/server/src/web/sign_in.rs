//! Signing in with a link, and out.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::{Frame, html, with_status};
use crate::app::{App, to_the_end};
use crate::error::Problem;
use crate::limits::{self, Address};
use crate::session::{self, LINK_VALID, Visitor};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    frame: Frame,
    /// The link's token, to be sent back by the button.
    token: Option<String>,
    /// The link did not work.
    spent: bool,
    minutes: u64,
}

fn draw(app: &App, token: Option<String>, spent: bool) -> Page {
    Page { frame: Frame::bare(app, "Sign in"), token, spent, minutes: LINK_VALID.as_secs() / 60 }
}

/// `GET /sign-in`
pub(crate) async fn how(State(app): State<App>) -> Result<Response, Problem> {
    html(&draw(&app, None, false))
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
            let allowance = app.limits().failed(address);
            if allowance.over {
                return Err(limits::refused(&allowance));
            }
            with_status(StatusCode::GONE, &draw(&app, None, true))
        }
    }
}

/// `POST /sign-out`
pub(crate) async fn sign_out(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let cookie = session::sign_out(&app, &visitor).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response())
}
