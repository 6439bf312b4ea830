//! Links, sessions, and what the audit says of them.

use axum::body::Body;
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
