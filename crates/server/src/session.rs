//! Who is it? Sign-in links, session cookies, and the token that every form carries back.
//!
//! ```text
//!  link (works once, 15 min) ─GET─▶ "Sign in as X" ─POST─▶ session cookie (12 h, 4 h unused) ─▶ every request
//!  a trusted proxy says who it is (`proxy`) ────────────▶ session cookie ───────────────────────▶ every request
//!  token of a program (`tokens`) ────────────────────────▶ `Authorization: Bearer` ─────────▶ requests of the API alone
//! ```
//!
//! Looking at a link does not use it up, because mail and chat programs look at links too. Only SHA-256 of a token is
//! stored. Every request that is not a mere look must carry the session's second token (`csrf` in a form, `X-CSRF-Token`
//! from a program): checked here for all routes at once, so that no handler can forget it. A bearer's token needs none: no
//! browser sends it by itself. It is read from that header alone, and with it no cookie counts.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::{Actor, Role};
use sha2::{Digest, Sha256};
use store::people::Session;
use store::tokens::Token;
use store::{PgPool, StoreError};

use crate::app::App;
use crate::error::Problem;
use crate::routes::BODY_LIMIT;
use crate::{limits, tokens};

/// How long a sign-in link works (wall time).
pub const LINK_VALID: Duration = Duration::from_secs(15 * 60);
/// How long a session lasts (wall time): a shift.
const SESSION_VALID: Duration = Duration::from_secs(12 * 3600);
/// … and how long one that nobody uses (wall time).
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(4 * 3600);

/// Why no link was made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The operating system gave no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a link that signs a person in with a role, once, within [`LINK_VALID`].
pub async fn sign_in_link(
    pool: &PgPool,
    person: &str,
    role: Role,
    public_url: &str,
) -> Result<String, LinkError> {
    let token = token().map_err(LinkError::Randomness)?;
    store::people::add_link(pool, &hash(&token), person, role, LINK_VALID).await?;
    Ok(format!("{}/sign-in/{token}", public_url.trim_end_matches('/')))
}

/// 32 random bytes, as text.
pub(crate) fn token() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| e.to_string())?;
    Ok(hex::encode(bytes))
}

pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

/// A signed-in person, as handlers know them.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) person: String,
    pub(crate) role: Role,
    pub(crate) csrf: String,
    /// The token that speaks for them, when it is one.
    pub(crate) token: Option<Token>,
    /// Hash of what they showed.
    pub(crate) session: Vec<u8>,
}

impl Visitor {
    pub(crate) fn actor(&self) -> Actor {
        match &self.token {
            Some(token) => Actor::by_token(&self.person, self.role, &token.name, token.scope.clone()),
            None => Actor::with_role(&self.person, self.role),
        }
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::signed_out)
    }
}

/// Lets signed-in people through, and of what they send only what carries their session's token; and programs with a token, as
/// often as they may ask.
pub(crate) async fn require(State(app): State<App>, request: Request, next: Next) -> Response {
    let program = request.uri().path().starts_with("/api/");
    let from = limits::address(request.extensions());
    let (visitor, cookie) =
        match identify(&app, &request.method().clone(), request.headers(), from, program).await {
            Ok(known) => known,
            Err(problem) => return problem.into_response(),
        };
    let allowance = program.then(|| app.limits().ask(&visitor.session));
    let answer = match &allowance {
        Some(allowance) if allowance.over => limits::refused(allowance).into_response(),
        _ => match admit(request, visitor).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        },
    };
    let mut answer = match allowance {
        Some(allowance) => allowance.told(answer),
        None => answer,
    };
    if let Some(cookie) = cookie {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

/// Who it is, and the cookie of a session that a trusted proxy has just opened. A program may show a token.
async fn identify(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
    from: IpAddr,
    program: bool,
) -> Result<(Visitor, Option<HeaderValue>), Problem> {
    if let Some(shown) = headers.get(header::AUTHORIZATION).filter(|_| program) {
        return Ok((tokens::visitor(app, shown, from).await?, None));
    }
    let known = visitor(app, headers).await?;
    let named = app.settings().proxy.as_ref().and_then(|proxy| proxy.person(headers, from));
    match (known, named) {
        (known, None) => Ok((known.ok_or_else(Problem::signed_out)?, None)),
        (Some(known), Some((person, role))) if known.person == person && known.role == role => {
            Ok((known, None))
        }
        // A form without a session cannot carry its token.
        (_, Some(_)) if program || !method.is_safe() => Err(Problem::signed_out()),
        (_, Some((person, role))) => {
            let (visitor, cookie) = open(app, person, role, "proxy").await?;
            Ok((visitor, Some(cookie)))
        }
    }
}

async fn admit(request: Request, visitor: Visitor) -> Result<Request, Problem> {
    let trusted = request.method().is_safe() || visitor.token.is_some();
    let mut request = if trusted { request } else { with_token(request, &visitor.csrf).await? };
    request.extensions_mut().insert(visitor);
    Ok(request)
}

/// The person behind a request, if their session is good.
pub(crate) async fn visitor(app: &App, headers: &HeaderMap) -> Result<Option<Visitor>, Problem> {
    let Some(session) = cookie(headers, cookie_name(app)).map(hash) else { return Ok(None) };
    let found = store::people::session(app.people(), &session, SESSION_IDLE).await?;
    Ok(found.map(|Session { person, role, csrf }| Visitor { person, role, csrf, token: None, session }))
}

async fn with_token(request: Request, csrf: &str) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let header = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (given, body) = match header {
        Some(given) => (Some(given), body),
        None => {
            let bytes = to_bytes(body, BODY_LIMIT).await.map_err(|_| {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large.")
            })?;
            let field =
                form_urlencoded::parse(&bytes).find(|(name, _)| name == "csrf").map(|(_, v)| v.into_owned());
            (field, Body::from(bytes))
        }
    };
    // Hashes are compared, so that the time it takes tells nothing of the token.
    if given.is_none_or(|given| hash(&given) != hash(csrf)) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "The request does not carry the token of your session, so it may not be yours. Nothing was done.",
        )
        .remedy(
            "Open the page anew and send it from there; programs send `X-CSRF-Token` from `/api/v1/session`.",
        ));
    }
    Ok(Request::from_parts(parts, body))
}

/// Uses a link up. The cookie to be set, and who it is.
pub(crate) async fn sign_in(app: &App, link: &str) -> Result<Option<(String, HeaderValue)>, Problem> {
    let Some((person, role)) = store::people::use_link(app.people(), &hash(link)).await? else {
        return Ok(None);
    };
    let (visitor, cookie) = open(app, person, role, "link").await?;
    Ok(Some((visitor.person, cookie)))
}

/// Opens a session: who it is now, and the cookie to be set.
async fn open(app: &App, person: String, role: Role, by: &str) -> Result<(Visitor, HeaderValue), Problem> {
    audit(app, &person, "signed in", serde_json::json!({ "by": by, "role": role })).await?;
    let token = token().map_err(Problem::internal)?;
    let session = Session { person, role, csrf: self::token().map_err(Problem::internal)? };
    store::people::add_session(app.people(), &hash(&token), &session, SESSION_VALID).await?;
    let cookie = set_cookie(app, &token, SESSION_VALID.as_secs())?;
    let Session { person, role, csrf } = session;
    Ok((Visitor { person, role, csrf, token: None, session: hash(&token) }, cookie))
}

/// Ends a session. The cookie that clears the browser's.
pub(crate) async fn sign_out(app: &App, visitor: &Visitor) -> Result<HeaderValue, Problem> {
    audit(app, &visitor.person, "signed out", serde_json::json!({})).await?;
    store::people::end_session(app.people(), &visitor.session).await?;
    set_cookie(app, "", 0)
}

/// Ends all sessions of a person, this one too. The cookie that clears the browser's.
pub(crate) async fn sign_out_everywhere(app: &App, visitor: &Visitor) -> Result<HeaderValue, Problem> {
    audit(app, &visitor.person, "signed out everywhere", serde_json::json!({})).await?;
    store::people::end_sessions(app.people(), &visitor.person).await?;
    set_cookie(app, "", 0)
}

async fn audit(app: &App, person: &str, action: &str, details: serde_json::Value) -> Result<(), Problem> {
    store::audit::add(app.people(), app.now(), &Actor::person(person), action, person, details).await?;
    Ok(())
}

fn set_cookie(app: &App, token: &str, seconds: u64) -> Result<HeaderValue, Problem> {
    let secure = if app.settings().secure_cookies { "; Secure" } else { "" };
    let name = cookie_name(app);
    let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&cookie).map_err(Problem::internal)
}

/// Browsers take `__Host-` only with `Secure`, and then from nobody but this very host.
fn cookie_name(app: &App) -> &'static str {
    if app.settings().secure_cookies { "__Host-firebreak" } else { "firebreak" }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}
