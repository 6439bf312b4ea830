//! What holds for every route, walked from the one table of them.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};

use super::bench::Bench;
use crate::routes::{Access, table};

fn filled(path: &str) -> String {
    path.replace("{name}", "switch-lamp")
        .replace("{id}", "018f0000-0000-7000-8000-000000000000")
        .replace("{token}", "none")
        .replace("{number}", "1")
        .replace("{source}", "generic")
        .replace("{code}", "locked")
        .replace("{hash}", "none")
}

#[tokio::test]
async fn whoever_is_not_signed_in_gets_nothing_but_what_is_public() {
    let bench = Bench::new().await;
    let mut refused = 0;
    for route in table() {
        let method: Method = route.method.parse().unwrap();
        let request = Request::builder().method(method).uri(filled(route.path)).body(Body::empty()).unwrap();
        let answer = bench.send(request).await;
        let anonymous = answer.status == StatusCode::UNAUTHORIZED;
        assert_eq!(
            anonymous,
            // A source proves itself in another way than by a session, and is not heard without either.
            route.access != Access::Public,
            "{} {}: {}",
            route.method,
            route.path,
            answer.status
        );
        refused += u32::from(anonymous);
    }
    assert!(refused > 20);
}

#[tokio::test]
async fn a_cookie_that_was_made_up_signs_nobody_in() {
    let bench = Bench::new().await;
    let request = Request::get("/").header(header::COOKIE, "firebreak=0123").body(Body::empty()).unwrap();
    assert_eq!(bench.send(request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nothing_is_changed_without_the_sessions_token() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    for route in table().into_iter().filter(|r| r.method == "POST" && r.access == Access::SignedIn) {
        for token in ["", "csrf=wrong"] {
            let request = person
                .request(Method::POST, &filled(route.path))
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from(token))
                .unwrap();
            assert_eq!(bench.send(request).await.status, StatusCode::FORBIDDEN, "{}", route.path);
        }
    }
    assert_eq!(person.get("/").await.status, StatusCode::OK, "still signed in");
}

#[tokio::test]
async fn another_site_can_make_a_browser_send_nothing() {
    let bench = Bench::new().await;
    let link = bench.link("ada").await;
    let request = Request::post(&link).header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
    assert_eq!(bench.send(request).await.status, StatusCode::FORBIDDEN);
    let request = Request::post(&link).header("sec-fetch-site", "same-origin").body(Body::empty()).unwrap();
    assert_eq!(bench.send(request).await.status, StatusCode::SEE_OTHER, "the link was not used up by it");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let bench = Bench::new().await;
    for path in ["/", "/sign-in", "/nowhere", "/api/v1/runs", "/healthz"] {
        let answer = bench.get(path).await;
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{path}");
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store", "{path}");
    }
}

#[tokio::test]
async fn static_files_are_kept_for_ever_under_the_hash_of_their_content() {
    let bench = Bench::new().await;
    for name in ["app.css", "live.js", "icon.svg"] {
        let path = crate::assets::address(name);
        let answer = bench.get(path).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.header(header::CACHE_CONTROL).contains("immutable"));
        let tag = answer.header(header::ETAG);
        let again = Request::get(path).header(header::IF_NONE_MATCH, tag).body(Body::empty()).unwrap();
        assert_eq!(bench.send(again).await.status, StatusCode::NOT_MODIFIED);
    }
    assert_eq!(bench.get("/static/0000/app.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let big = "x".repeat(300 * 1024);
    let answer = person.form("/runbooks/switch-lamp/plan", &[("input.fleet", &big)]).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(bench.get("/readyz").await.status, StatusCode::OK);
}
