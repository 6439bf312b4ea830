//! People, on the page of settings: an admin signs somebody out, revokes their tokens, or lets go of their account.

use axum::Form;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::app::App;
use crate::error::Problem;
use crate::people::{End, end};
use crate::session::Visitor;

/// Whose.
#[derive(Debug, Deserialize)]
pub(crate) struct Whose {
    person: String,
}

async fn done(app: &App, visitor: &Visitor, whose: &Whose, what: End) -> Result<Response, Problem> {
    end(app, visitor, &whose.person, what).await?;
    Ok(Redirect::to("/settings#people").into_response())
}

/// `POST /settings/people/sign-out`
pub(crate) async fn sign_out(
    State(app): State<App>,
    visitor: Visitor,
    Form(whose): Form<Whose>,
) -> Result<Response, Problem> {
    done(&app, &visitor, &whose, End::Sessions).await
}

/// `POST /settings/people/revoke-tokens`
pub(crate) async fn revoke_tokens(
    State(app): State<App>,
    visitor: Visitor,
    Form(whose): Form<Whose>,
) -> Result<Response, Problem> {
    done(&app, &visitor, &whose, End::Tokens).await
}

/// `POST /settings/people/let-go`
pub(crate) async fn let_go(
    State(app): State<App>,
    visitor: Visitor,
    Form(whose): Form<Whose>,
) -> Result<Response, Problem> {
    done(&app, &visitor, &whose, End::Account).await
}
