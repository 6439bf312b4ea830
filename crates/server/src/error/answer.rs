//! What went wrong, as an answer: a page for people, `application/problem+json` for programs.

use askama::Template;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::Problem;
use crate::app::App;
use crate::routes::is_for_programs;
use crate::session::{self, Visitor};
use crate::web::Frame;
use crate::web::refused::Kept;
use crate::words;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    problem: &'a Problem,
    /// The form that came to nothing.
    kept: Option<Kept>,
}

/// Draws whatever went wrong below it, in the form that was asked for.
pub(crate) async fn render(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let program =
        is_for_programs(path) || ["/hooks/", "/slack/"].iter().any(|source| path.starts_with(source));
    let headers = request.headers().clone();
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if is_page(&parts.headers) => return Response::from_parts(parts, body),
        None => unnamed(status, body).await,
    };
    let (kind, text) = if program {
        ("application/problem+json", problem.json(&app.settings().public_url).to_string())
    } else {
        let lost = matches!(problem.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        let visitor = match parts.extensions.remove::<Visitor>() {
            // No route has asked who it is: whoever is signed in goes on from there all the same.
            None if lost => session::visitor(&app, &headers).await.ok().flatten(),
            known => known,
        };
        let frame = match visitor {
            Some(visitor) => Frame::new(&app, &visitor, "", problem.title()),
            None => Frame::bare(&app, problem.title()),
        };
        let page = ErrorPage { frame, problem: &problem, kept: parts.extensions.remove() };
        match page.render() {
            Ok(text) => ("text/html; charset=utf-8", text),
            Err(_) => ("text/plain; charset=utf-8", problem.detail.clone()),
        }
    };
    parts.status = problem.status;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after {
        parts.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if program && problem.status == StatusCode::UNAUTHORIZED {
        parts
            .headers
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"firebreak\""));
    }
    Response::from_parts(parts, Body::from(text))
}

fn is_page(headers: &axum::http::HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// A failure of a layer or an extractor, which say what is wrong in plain text.
async fn unnamed(status: StatusCode, body: Body) -> Problem {
    let said = to_bytes(body, 4096).await.ok().and_then(|text| String::from_utf8(text.to_vec()).ok());
    let said = said.filter(|text| !text.trim().is_empty() && status.is_client_error());
    match status {
        StatusCode::NOT_FOUND => Problem::not_found("such page"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(status, "method_not_allowed", "This address does not take that method.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too_large", "The request is too large; 256 KiB are taken.")
        }
        StatusCode::GATEWAY_TIMEOUT => Problem::new(status, "too_slow", "It took too long and was given up.")
            .remedy("Nothing was changed by looking. If you started something, look at the list of runs before you try again.")
            .link("Runs", "/runs"),
        status if status.is_server_error() => Problem::internal(format!("answered {status}")),
        status => Problem::new(status, "bad_request", said.unwrap_or_else(|| "The request is not understood.".into())),
    }
}
