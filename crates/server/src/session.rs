//! Who is it? Sign-in links, session cookies, and the token that every form carries back.
//!
//! ```text
//!  link (works once, 15 min) ─GET─▶ "Sign in as X" ─POST─▶ session cookie (12 h, 4 h unused) ─▶ every request
//!  a trusted proxy says who it is (`proxy`) ────────────▶ session cookie ───────────────────────▶ every request
//!  a provider says who it is (`oidc`) ──────────────────▶ session cookie ───────────────────────▶ every request
//!  token of a program (`tokens`) ────────────────────────▶ `Authorization: Bearer` ─────────▶ what is for programs alone
//! ```
//!
//! Looking at a link does not use it up, because mail and chat programs look at links too. Only SHA-256 of a token is
//! stored. Every request that is not a mere look must carry the session's second token (`csrf` in a form, `X-CSRF-Token`
//! from a program): checked here for all routes at once, so that no handler can forget it. A bearer's token needs none: no
//! browser sends it by itself. It is read from that header alone, and with it no cookie counts.
//!
//! A session is good for what its person may do now: one that a proxy or a provider opened is over once the configuration would give
//! them another role.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::identity::{Account, By};
use domain::{Actor, Role};
use sha2::{Digest, Sha256};
use store::people::{Elsewhere, Session, Standing};
use store::tokens::Token;
use store::{PgPool, StoreError};

use crate::app::App;
use crate::error::Problem;
use crate::routes::BODY_LIMIT;
use crate::web::refused::Kept;
use crate::{limits, metrics, oidc, routes, tokens};

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
    /// Their groups, as who signed them in says.
    pub(crate) groups: Vec<String>,
    /// The token that speaks for them, when it is one.
    pub(crate) token: Option<Token>,
    /// Hash of what they showed.
    pub(crate) session: Vec<u8>,
}

impl Visitor {
    pub(crate) fn actor(&self) -> Actor {
        let actor = match &self.token {
            Some(token) => Actor::by_token(&self.person, self.role, &token.name, token.scope.clone()),
            None => Actor::with_role(&self.person, self.role),
        };
        actor.in_groups(self.groups.clone())
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
    let path = request.uri().path();
    let program = routes::is_for_programs(path);
    let (method, headers) = (request.method().clone(), request.headers());
    let identified = identify(&app, &method, headers, limits::address(request.extensions()), program);
    let known = match path {
        metrics::PATH => metrics::reader(&app, headers, identified).await,
        _ => identified.await,
    };
    let (visitor, cookie) = match known {
        Ok(known) => known,
        Err(problem) if problem.code == "signed_out" && !program && method == Method::GET => {
            return back_to(problem, request.uri()).into_response();
        }
        Err(problem) if program => return problem.into_response(),
        Err(problem) => {
            let kept = keep(request).await.ok().and_then(|(_, kept)| kept);
            return keeping(problem.into_response(), kept);
        }
    };
    let (request, kept) = match keep(request).await {
        Ok(kept) => kept,
        Err(problem) => return problem.into_response(),
    };
    let allowance = program.then(|| app.limits().ask(&visitor.session));
    // Whoever meets a page of what went wrong goes on from there by the same navigation as from any other.
    let who = (!program).then(|| visitor.clone());
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
    if let Some(who) = who.filter(|_| answer.status().is_client_error() || answer.status().is_server_error())
    {
        answer.extensions_mut().insert(who);
        answer = keeping(answer, kept);
    }
    if let Some(cookie) = cookie {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

/// A form that is sent, read once and kept: what went wrong with it does not cost anybody their words.
async fn keep(request: Request) -> Result<(Request, Option<Kept>), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let form = kind.is_some_and(|kind| kind.starts_with(b"application/x-www-form-urlencoded"));
    if request.method().is_safe() || !form {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    let body = read(body).await?;
    let kept = Kept::new(parts.uri.path(), body.clone());
    Ok((Request::from_parts(parts, Body::from(body)), Some(kept)))
}

fn keeping(mut answer: Response, kept: Option<Kept>) -> Response {
    if let Some(kept) = kept {
        answer.extensions_mut().insert(kept);
    }
    answer
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The request is too large."))
}

/// Whoever signs in goes on to where they wanted to.
fn back_to(problem: Problem, uri: &Uri) -> Problem {
    let wanted = uri.path_and_query().map_or("/", |path| path.as_str());
    match oidc::local(wanted).filter(|to| *to != "/") {
        Some(to) => {
            let to: String = form_urlencoded::byte_serialize(to.as_bytes()).collect();
            problem.link("How to sign in", format!("/sign-in?to={to}"))
        }
        None => problem,
    }
}

/// Who it is, and the cookie of a session that a trusted proxy has just opened.
pub(crate) type Known = (Visitor, Option<HeaderValue>);

/// Who asks. A program may show a token.
async fn identify(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
    from: IpAddr,
    program: bool,
) -> Result<Known, Problem> {
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
            let fresh = Session { person, role, csrf: csrf()?, by: By::Proxy, groups: Vec::new() };
            let (visitor, cookie) = open(app, fresh, None).await?.ok_or_else(Problem::signed_out)?;
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

/// The person behind a request, if their session is good, and would be opened like this today.
pub(crate) async fn visitor(app: &App, headers: &HeaderMap) -> Result<Option<Visitor>, Problem> {
    let Some(session) = cookie(headers, cookie_name(app)).map(hash) else { return Ok(None) };
    let found = store::people::session(app.people(), &session, SESSION_IDLE).await?;
    let good = found.filter(|s| role_now(app, s.by, &s.person, s.role, &s.groups) == Some(s.role));
    Ok(good.map(|Session { person, role, csrf, groups, .. }| Visitor {
        person,
        role,
        csrf,
        groups,
        token: None,
        session,
    }))
}

/// What somebody may do whom a link, a proxy or a provider has signed in, as the configuration is now. A link's word stays.
pub(crate) fn role_now(app: &App, by: By, person: &str, then: Role, groups: &[String]) -> Option<Role> {
    let settings = app.settings();
    match by {
        By::Link => Some(then),
        By::Proxy => settings.proxy.as_ref().map(|proxy| proxy.role_of(person)),
        By::Provider => settings.oidc.as_ref().and_then(|oidc| oidc.grants().role(groups)),
    }
}

/// What somebody may do now by a role that they were given before: never more than a proxy or a provider still grants them; nothing,
/// when they may do nothing here any more.
pub(crate) fn at_most(app: &App, person: &str, given: Role, standing: Option<&Standing>) -> Option<Role> {
    let Some(Standing { by, role, groups }) = standing else { return Some(given) };
    match by {
        By::Link => Some(given),
        By::Proxy | By::Provider => {
            let then = (*role)?;
            role_now(app, *by, person, then, groups).map(|now| now.min(then).min(given))
        }
    }
}

async fn with_token(request: Request, csrf: &str) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let header = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (given, body) = match header {
        Some(given) => (Some(given), body),
        None => {
            let bytes = read(body).await?;
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
    let fresh = Session { person, role, csrf: csrf()?, by: By::Link, groups: Vec::new() };
    let opened = open(app, fresh, None).await?;
    Ok(opened.map(|(visitor, cookie)| (visitor.person, cookie)))
}

/// Opens a session for somebody whom the provider knows. The cookie to be set; none when their name is another account's.
pub(crate) async fn arrive(
    app: &App,
    known: oidc::Known,
    account: String,
) -> Result<Option<HeaderValue>, Problem> {
    let oidc::Known { account: Account { name, groups, session, .. }, role, id_token } = known;
    let fresh = Session { person: name, role, csrf: csrf()?, by: By::Provider, groups };
    let elsewhere = Elsewhere { account, sid: session, id_token };
    Ok(open(app, fresh, Some(elsewhere)).await?.map(|(_, cookie)| cookie))
}

fn csrf() -> Result<String, Problem> {
    token().map_err(Problem::internal)
}

/// Opens a session, and says so in the audit: who it is now, and the cookie to be set. None when the name is another account's.
async fn open(
    app: &App,
    fresh: Session,
    elsewhere: Option<Elsewhere>,
) -> Result<Option<(Visitor, HeaderValue)>, Problem> {
    let token = token().map_err(Problem::internal)?;
    let session = hash(&token);
    let (elsewhere, now) = (elsewhere.as_ref(), app.now());
    if !store::people::add_session(app.people(), &session, &fresh, elsewhere, SESSION_VALID, now).await? {
        return Ok(None);
    }
    let cookie = set_cookie(app, &token, SESSION_VALID.as_secs())?;
    let Session { person, role, csrf, groups, .. } = fresh;
    Ok(Some((Visitor { person, role, csrf, groups, token: None, session }, cookie)))
}

/// Nobody was signed in: says so in the audit, as often as one address may try.
pub(crate) async fn turn_away(app: &App, by: By, name: &str, why: &str, from: IpAddr) -> Result<(), Problem> {
    let allowance = app.limits().failed(from);
    if allowance.over {
        return Err(limits::refused(&allowance));
    }
    let details = serde_json::json!({ "by": by.word(), "why": why, "from": from.to_string() });
    let actor = Actor::system("sign-in");
    store::audit::add(app.people(), app.now(), &actor, "sign-in refused", name, details).await?;
    Ok(())
}

/// Where a session came from, so that it can be ended there, too. Asked before it is ended here.
pub(crate) async fn way_out(app: &App, visitor: &Visitor) -> Result<Option<String>, Problem> {
    let Some(oidc) = app.settings().oidc.clone() else { return Ok(None) };
    match store::people::id_token(app.people(), &visitor.session).await? {
        Some(id_token) => Ok(oidc.way_out(&id_token).await),
        None => Ok(None),
    }
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
    cookie_of(app, cookie_name(app), token, seconds)
}

/// A cookie of ours; with 0 seconds the one that takes it back.
pub(crate) fn cookie_of(app: &App, name: &str, value: &str, seconds: u64) -> Result<HeaderValue, Problem> {
    let secure = if app.settings().secure_cookies { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    HeaderValue::from_str(&cookie).map_err(Problem::internal)
}

/// Browsers take `__Host-` only with `Secure`, and then from nobody but this very host.
fn cookie_name(app: &App) -> &'static str {
    if app.settings().secure_cookies { "__Host-firebreak" } else { "firebreak" }
}

pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}
