//! Tokens of programs: made, shown once, and known again by their hash.
//!
//! A token begins with `fb_`, so that whoever finds one in a log or a repository knows what it is. What it may do is asked by the
//! engine (`domain::token`); here is only who it is.

use std::net::IpAddr;

use axum::http::{HeaderValue, StatusCode};
use domain::token::{BadWish, Deed, Wish, reach};
use domain::{Actor, Timestamp};
use store::tokens::Token;
use store::{PgPool, StoreError};
use uuid::Uuid;

use crate::app::App;
use crate::error::{Problem, out_of_scope, sentence};
use crate::limits;
use crate::session::{self, Visitor, hash};

/// How every token begins.
const PREFIX: &str = "fb_";

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It may not be.
    #[error(transparent)]
    Wish(#[from] BadWish),
    /// The name is in use.
    #[error("{0} has a token `{1}` already; revoke it first, or take another name")]
    Taken(String, String),
    /// The operating system gave no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a token that speaks for a person, and says so in the audit. The secret is told here, and never again.
pub async fn make_token(
    pool: &PgPool,
    person: &str,
    wish: &Wish,
    by: &Actor,
    at: Timestamp,
) -> Result<(String, Token), TokenError> {
    wish.check(by)?;
    let secret = format!("{PREFIX}{}", session::token().map_err(TokenError::Randomness)?);
    let made = store::tokens::add(pool, &hash(&secret), person, wish, by, at).await?;
    let token = made.ok_or_else(|| TokenError::Taken(person.to_owned(), wish.name.clone()))?;
    Ok((secret, token))
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            TokenError::Wish(BadWish::ByToken) => out_of_scope(detail),
            TokenError::Wish(BadWish::Role { .. }) => Self::new(StatusCode::FORBIDDEN, "not_allowed", detail)
                .remedy("A token may do at most what you may."),
            TokenError::Wish(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_token_wish", detail),
            TokenError::Taken(..) => Self::new(StatusCode::CONFLICT, "name_taken", detail),
            TokenError::Randomness(_) => Self::internal(error),
            TokenError::Store(error) => error.into(),
        }
    }
}

/// Makes a token for the one who asks.
pub(crate) async fn make(app: &App, visitor: &Visitor, wish: &Wish) -> Result<(String, Token), Problem> {
    Ok(make_token(app.people(), &visitor.person, wish, &visitor.actor(), app.now()).await?)
}

/// The tokens that the one who asks may see.
pub(crate) async fn list(app: &App, visitor: &Visitor) -> Result<Vec<Token>, Problem> {
    Ok(store::tokens::list(app.people(), reach(&visitor.actor())).await?)
}

/// Revokes a token.
pub(crate) async fn revoke(app: &App, visitor: &Visitor, id: Uuid) -> Result<(), Problem> {
    let by = visitor.actor();
    by.within_scope(Deed::Other).map_err(|e| out_of_scope(sentence(&e.to_string())))?;
    if store::tokens::revoke(app.people(), id, reach(&by), &by, app.now()).await? {
        return Ok(());
    }
    let detail = "There is no such token of yours that could be revoked.";
    Err(Problem::new(StatusCode::CONFLICT, "not_there", detail)
        .remedy("It may be revoked already: look at the list again.")
        .link("Settings", "/settings"))
}

/// Hash of the token in a header `Authorization`.
pub(crate) fn shown(header: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, secret) = header.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| hash(secret.trim()))
}

/// Whose program it is, by the header `Authorization`.
pub(crate) async fn visitor(app: &App, header: &HeaderValue, from: IpAddr) -> Result<Visitor, Problem> {
    let Some(session) = shown(header) else {
        return Err(refused("The header `Authorization` is not understood."));
    };
    let Some((token, standing)) = store::tokens::find(app.people(), &session).await? else {
        tracing::warn!(%from, "a token that is none");
        let allowance = app.limits().failed(from);
        return Err(if allowance.over {
            limits::refused(&allowance)
        } else {
            refused("There is no such token.")
        });
    };
    if !token.good {
        let why = if token.revoked_at.is_some() { "was revoked" } else { "has expired" };
        return Err(refused(format!("The token `{}` {why}.", token.name)));
    }
    let Some(role) = session::at_most(app, &token.person, token.role, standing.as_ref()) else {
        return Err(refused(format!(
            "The token `{}` speaks for somebody who may do nothing here any more.",
            token.name
        )));
    };
    // What looks while nothing can be written is still known.
    if let Err(e) = store::tokens::used(app.people(), token.id).await {
        tracing::warn!("when a token was used last is not written down: {e}");
    }
    let (person, groups) = (token.person.clone(), standing.map(|s| s.groups).unwrap_or_default());
    Ok(Visitor { person, role, csrf: String::new(), groups, token: Some(token), session })
}

fn refused(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "bad_token", why)
        .remedy("Send `Authorization: Bearer fb_…`; a new token is made under Settings, or by `firebreak token create`.")
}
