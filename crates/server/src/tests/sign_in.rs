//! Links, sessions, and what the audit says of them.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};

use super::bench::Bench;

#[tokio::test]
async fn a_link_signs_in_once_and_looking_at_it_does_not_use_it_up() {
    let bench = Bench::new().await;
    let link = bench.link("ada").await;
    for _ in 0..2 {
        let page = bench.get(&link).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.text.contains("id=\"sign-in\""));
    }
    let first = bench.send(Request::post(&link).body(Body::empty()).unwrap()).await;
    assert_eq!(first.status, StatusCode::SEE_OTHER);
    let cookie = first.header(header::SET_COOKIE);
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
        "{cookie}"
    );
    let second = bench.send(Request::post(&link).body(Body::empty()).unwrap()).await;
    assert_eq!(second.status, StatusCode::GONE);
    assert!(second.headers.get(header::SET_COOKIE).is_none());
    assert!(second.text.contains("does not work any more"));
}

#[tokio::test]
async fn signing_out_ends_the_session_and_both_are_in_the_audit() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    assert_eq!(person.get("/").await.status, StatusCode::OK);
    assert_eq!(person.form("/sign-out", &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(person.get("/").await.status, StatusCode::UNAUTHORIZED);

    let other = bench.sign_in("grace").await;
    let page = other.get("/audit").await;
    for action in ["signed in", "signed out"] {
        assert!(page.text.contains(&format!("data-action=\"{action}\"")), "{action}");
    }
}

#[tokio::test]
async fn neither_the_link_nor_the_cookie_is_in_the_database() {
    let bench = Bench::new().await;
    let link = bench.link("ada").await;
    let token = link.strip_prefix("/sign-in/").unwrap();
    assert!(store::people::use_link(bench.engine.pool(), token.as_bytes()).await.unwrap().is_none());
    let hash = crate::session::hash(token);
    assert_eq!(
        store::people::use_link(bench.engine.pool(), &hash).await.unwrap(),
        Some(("ada".into(), domain::Role::Responder))
    );
}

/// A request for a page, as it comes through a proxy at an address, with a header, and perhaps a cookie.
fn through(from: [u8; 4], name: &str, cookie: &str, path: &str) -> Request<Body> {
    let request = Request::get(path).header("x-forwarded-user", name).header(header::COOKIE, cookie);
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((from, 1234))));
    request
}

#[tokio::test]
async fn a_trusted_proxy_signs_people_in_and_nobody_else_does_by_a_header() {
    let bench = Bench::new().await;
    let forged = bench.send(through([192, 168, 1, 1], "ada", "", "/")).await;
    assert_eq!(forged.status, StatusCode::UNAUTHORIZED);
    let page = bench.send(through([10, 0, 0, 1], "ada", "", "/settings")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("You are <b>ada</b>, a responder"), "{}", page.text);
    let cookie = page.header(header::SET_COOKIE).split(';').next().unwrap().to_owned();
    let again = bench.send(through([10, 0, 0, 1], "ada", &cookie, "/settings")).await;
    assert!(again.headers.get(header::SET_COOKIE).is_none(), "one session is enough");
    // The cookie of somebody else does not count while the proxy says who it is.
    let other = bench.send(through([10, 0, 0, 1], "bob", &cookie, "/settings")).await;
    assert!(other.text.contains("You are <b>bob</b>, a viewer"), "{}", other.text);
    let program = bench.send(through([10, 0, 0, 1], "bob", &cookie, "/api/v1/session")).await;
    assert_eq!(program.status, StatusCode::UNAUTHORIZED);
    let mut form = through([10, 0, 0, 1], "bob", "", "/sign-out");
    *form.method_mut() = axum::http::Method::POST;
    assert_eq!(bench.send(form).await.status, StatusCode::UNAUTHORIZED, "there is no token it could carry");
}
