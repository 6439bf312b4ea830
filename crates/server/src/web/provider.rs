//! Signing in at a provider: off to it, and back; and its word that a session there is over.
//!
//! The way there is a link and no form, because browsers hold a form to `form-action` on every redirect that follows. Signing out there,
//! too, is a page of ours that goes on by itself, for the same reason.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use domain::Actor;
use domain::identity::By;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

use super::{Frame, html};
use crate::app::{App, to_the_end};
use crate::error::{Problem, sentence};
use crate::limits::{self, Address};
use crate::oidc::{Answer, Oidc, Refusal, local};
use crate::session::{self, Visitor};

/// So long somebody may take at the provider, in seconds.
const AWAY: u64 = 600;

#[derive(Template)]
#[template(path = "signed_out.html")]
struct SignedOut {
    frame: Frame,
    /// The provider, and where one signs out there.
    name: String,
    address: String,
}

/// Where one wanted to go.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    pub(crate) to: String,
}

fn oidc(app: &App) -> Result<Arc<Oidc>, Problem> {
    app.settings().oidc.clone().ok_or_else(|| Problem::not_found("provider to sign in at"))
}

fn cookie_name(app: &App) -> &'static str {
    if app.settings().secure_cookies { "__Host-firebreak-sign-in" } else { "firebreak-sign-in" }
}

/// `GET /sign-in/with-provider`: off to the provider, with a fresh secret in a cookie.
pub(crate) async fn depart(
    State(app): State<App>,
    Query(Wanted { to }): Query<Wanted>,
) -> Result<Response, Problem> {
    let oidc = oidc(&app)?;
    let secret = session::token().map_err(Problem::internal)?;
    let address = oidc.departure(&secret).await.map_err(|refusal| told(&refusal))?;
    let kept = format!("{secret}.{}", hex::encode(local(&to).unwrap_or("/")));
    let cookie = session::cookie_of(&app, cookie_name(&app), &kept, AWAY)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&address)).into_response())
}

/// `GET /sign-in/callback`: back from the provider.
pub(crate) async fn arrive(
    State(app): State<App>,
    Address(from): Address,
    headers: HeaderMap,
    Query(answer): Query<Answer>,
) -> Result<Response, Problem> {
    let oidc = oidc(&app)?;
    let (secret, to) =
        match session::cookie(&headers, cookie_name(&app)).and_then(|kept| kept.split_once('.')) {
            Some((secret, to)) => {
                (Some(secret.to_owned()), hex::decode(to).ok().and_then(|to| String::from_utf8(to).ok()))
            }
            None => (None, None),
        };
    let worker = app.clone();
    // What the provider has said is written down, even if the browser hangs up.
    let arrived = to_the_end(async move { come_in(&worker, &oidc, secret.as_deref(), answer).await }).await?;
    let spent = session::cookie_of(&app, cookie_name(&app), "", 0)?;
    match arrived? {
        Ok(cookie) => {
            let to = to.as_deref().and_then(local).unwrap_or("/");
            let mut answer = Redirect::to(to).into_response();
            for cookie in [cookie, spent] {
                answer.headers_mut().append(header::SET_COOKIE, cookie);
            }
            Ok(answer)
        }
        Err((name, refusal)) => {
            tracing::warn!(%from, "nobody was signed in: {refusal}");
            session::turn_away(&app, By::Provider, &name, &refusal.to_string(), from).await?;
            Err(told(&refusal))
        }
    }
}

/// The cookie of a session; or who was refused, as far as that is known, and why.
async fn come_in(
    app: &App,
    oidc: &Oidc,
    secret: Option<&str>,
    answer: Answer,
) -> Result<Result<HeaderValue, (String, Refusal)>, Problem> {
    let known = match oidc.arrival(secret, answer).await {
        Ok(known) => known,
        Err(refusal) => {
            let mut name = "somebody".to_owned();
            if let Refusal::NoRole { account, name: known, .. } = &refusal {
                name.clone_from(known);
                store::people::lose(app.people(), account, &refusal.to_string(), app.now()).await?;
            }
            return Ok(Err((name, refusal)));
        }
    };
    let (name, account) = (known.account.name.clone(), oidc.account_of(&known.account.subject));
    Ok(session::arrive(app, known, account).await?.ok_or_else(|| {
        let taken = "the name belongs to another account of the provider; an admin can let go of that one, under Settings";
        (name, Refusal::Token(taken.to_owned()))
    }))
}

fn told(refusal: &Refusal) -> Problem {
    let detail = sentence(&refusal.to_string());
    match refusal {
        Refusal::Provider(_) => {
            // Whoever is not signed in is told that it failed; the log has why.
            tracing::warn!("the provider: {refusal}");
            let detail = "The provider cannot sign anybody in now: it is not reached, or answers with what cannot be used.";
            Problem::new(StatusCode::BAD_GATEWAY, "provider_unavailable", detail)
                .remedy("Try again. Meanwhile `firebreak sign-in NAME --role ROLE --config FILE` on the server prints a link; `firebreak doctor` says what is wrong.")
        }
        Refusal::Stray => Problem::new(StatusCode::BAD_REQUEST, "stray_sign_in", detail)
            .remedy("Begin again, in this window."),
        Refusal::Denied(_) | Refusal::Token(_) => {
            Problem::new(StatusCode::FORBIDDEN, "sign_in_refused", detail)
                .remedy("Nobody was signed in. Begin again; if it stays so, an admin finds it in the audit.")
        }
        Refusal::NoRole { .. } => Problem::new(StatusCode::FORBIDDEN, "sign_in_refused", detail)
            .remedy("Ask for a group that may; the configuration lists them under `auth.oidc.groups`."),
    }
    .link("Sign in", "/sign-in")
}

/// What the provider posts.
#[derive(Debug, Deserialize)]
pub(crate) struct Logout {
    #[serde(default)]
    logout_token: String,
}

/// `POST /sign-in/back-channel`: the provider itself says that a session there is over (OpenID Connect Back-Channel Logout).
pub(crate) async fn back_channel(
    State(app): State<App>,
    Address(from): Address,
    Form(Logout { logout_token }): Form<Logout>,
) -> Result<Response, Problem> {
    let oidc = oidc(&app)?;
    let ended = match oidc.ended(&logout_token).await {
        Ok((account, sid)) => {
            store::people::end_sessions_elsewhere(app.people(), account.as_deref(), sid.as_deref()).await?
        }
        Err(refusal) => {
            tracing::warn!(%from, "nobody was signed out: {refusal}");
            let allowance = app.limits().failed(from);
            if allowance.over {
                return Err(limits::refused(&allowance));
            }
            let detail = sentence(&refusal.to_string());
            return Err(match refusal {
                Refusal::Provider(_) => told(&refusal),
                _ => Problem::new(StatusCode::BAD_REQUEST, "bad_logout_token", detail),
            });
        }
    };
    let mut names = ended.clone();
    names.dedup();
    for name in names {
        let details = json!({ "by": By::Provider.word(), "sessions": ended.len() });
        let actor = Actor::system("sign-in");
        store::audit::add(app.people(), app.now(), &actor, "signed out by the provider", &name, details)
            .await?;
    }
    Ok(StatusCode::OK.into_response())
}

/// Signed out here: on to the provider, if the session came from it, and else to the page that says how to sign in.
pub(crate) async fn leave(
    app: &App,
    way_out: Option<String>,
    cookie: HeaderValue,
) -> Result<Response, Problem> {
    let (Some(address), Some(oidc)) = (way_out, app.settings().oidc.as_ref()) else {
        return Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response());
    };
    let onward = HeaderValue::from_str(&format!("0;url={address}")).map_err(Problem::internal)?;
    let frame = Frame::bare(app, "Signed out");
    let page = html(&SignedOut { frame, name: oidc.name().to_owned(), address })?;
    Ok(([(header::SET_COOKIE, cookie), (HeaderName::from_static("refresh"), onward)], page).into_response())
}

/// `POST /sign-out`
pub(crate) async fn sign_out(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let way_out = session::way_out(&app, &visitor).await?;
    let cookie = session::sign_out(&app, &visitor).await?;
    leave(&app, way_out, cookie).await
}
