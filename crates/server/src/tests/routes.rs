//! What holds for every route, walked from the one table of them.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use domain::Role;
use serde_json::{Value, json};

use super::bench::Bench;
use crate::routes::{Access, table};

fn filled(path: &str) -> String {
    path.replace("{name}", "switch-lamp")
        .replace("{id}", "018f0000-0000-7000-8000-000000000000")
        .replace("{incident}", "INC-1")
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
async fn whoever_opens_the_address_of_what_only_acts_is_led_to_the_page_above_it() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let looks: BTreeSet<_> = table().iter().filter(|r| r.method == "GET").map(|r| r.path).collect();
    let acts = table().into_iter().filter(|r| r.method == "POST" && r.access != Access::Source);
    for route in acts.filter(|r| !r.path.starts_with("/api/") && !looks.contains(r.path)) {
        let answer = person.get(&filled(route.path)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", route.path);
        let to = answer.header(header::LOCATION);
        assert!(to == "/" || filled(route.path).starts_with(&format!("{to}/")), "{}: {to}", route.path);
        assert!(looks.iter().any(|path| filled(path) == to), "{}: {to}", route.path);
    }
    for (path, page) in [
        ("/runbooks/switch-lamp/plan", "/runbooks/switch-lamp"),
        ("/runbooks/switch%2Flamp/start", "/runbooks/switch%2Flamp"),
        ("/brakes/freezes/1/lift", "/brakes"),
        ("/reviews/1/close", "/"),
    ] {
        assert_eq!(person.get(path).await.header(header::LOCATION), page, "{path}");
    }
}

/// Ways to change something over the API, each with a body that is understood.
fn deeds(run: &str, incident: &str) -> Vec<(String, Value)> {
    let nil = "00000000-0000-7000-8000-000000000000";
    let (reason, target) = ("a test", "fleet:lamps-eu");
    vec![
        ("/api/v1/runbooks/switch-lamp/plan".into(), json!({ "fleet": "lamps-eu" })),
        ("/api/v1/readiness".into(), json!({ "runbook": "switch-lamp", "target": target })),
        ("/api/v1/runs".into(), json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } })),
        (format!("/api/v1/runs/{run}/ask"), json!({ "ask": "pause", "reason": reason })),
        (format!("/api/v1/signals/{nil}/start"), json!({})),
        (format!("/api/v1/signals/{nil}/dismiss"), json!({ "reason": reason })),
        (format!("/api/v1/signals/{nil}/judge"), json!({ "reason": reason })),
        ("/api/v1/triggers/mode".into(), json!({ "rule": "none/none", "reason": reason })),
        ("/api/v1/incidents".into(), json!({ "title": "Dark", "targets": [target] })),
        (format!("/api/v1/incidents/{incident}/ask"), json!({ "ask": "note", "text": "Still dark." })),
        ("/api/v1/brakes/stop".into(), json!({ "reason": reason })),
        ("/api/v1/brakes/allow".into(), json!({ "reason": reason })),
        ("/api/v1/brakes/freezes".into(), json!({ "reason": reason, "ends": "2034-01-01T00:00:00Z" })),
        ("/api/v1/brakes/freezes/import".into(), json!({ "calendar": "" })),
        (format!("/api/v1/brakes/freezes/{nil}/lift"), json!({ "reason": reason })),
        ("/api/v1/brakes/locks".into(), json!({ "reason": reason, "target": target })),
        ("/api/v1/brakes/locks/give-back".into(), json!({ "target": target })),
        ("/api/v1/brakes/locks/force".into(), json!({ "reason": reason, "target": target, "run_id": run })),
        ("/api/v1/drills".into(), json!({ "drill": "lamp" })),
        (format!("/api/v1/drills/{nil}/end"), json!({})),
        (format!("/api/v1/drills/{nil}/leave"), json!({})),
        ("/api/v1/reviews/1/close".into(), json!({ "note": "looked at" })),
        ("/api/v1/tokens".into(), json!({ "name": "t", "role": "viewer" })),
        (format!("/api/v1/tokens/{nil}/revoke"), json!({})),
        (format!("/api/v1/slack/links/{nil}/remove"), json!({})),
        ("/api/v1/people/sign-out".into(), json!({ "person": "nobody" })),
        ("/api/v1/people/revoke-tokens".into(), json!({ "person": "nobody" })),
        ("/api/v1/people/let-go".into(), json!({ "person": "nobody" })),
    ]
}

/// The route of a path.
fn pattern(path: &str) -> &'static str {
    let fits = |pattern: &str| {
        let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
        wanted.len() == given.len() && wanted.iter().zip(&given).all(|(w, g)| w.starts_with('{') || w == g)
    };
    let exact = table().into_iter().find(|r| r.method == "POST" && r.path == path);
    exact.or_else(|| table().into_iter().find(|r| r.method == "POST" && fits(r.path))).unwrap().path
}

#[tokio::test]
async fn the_table_says_of_each_role_what_the_engine_says() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
    let run = ada.post("/api/v1/runs", "first", &body).await.json()["run_id"].as_str().unwrap().to_owned();
    let incident = json!({ "title": "Dark", "targets": ["fleet:lamps-eu"] });
    let incident =
        ada.post("/api/v1/incidents", "", &incident).await.json()["incident"].as_str().unwrap().to_owned();
    let deeds = deeds(&run, &incident);
    let all: BTreeSet<&str> = table()
        .into_iter()
        .filter(|r| r.method == "POST" && r.path.starts_with("/api/"))
        .map(|r| r.path)
        .collect();
    assert_eq!(
        deeds.iter().map(|(path, _)| pattern(path)).collect::<BTreeSet<_>>(),
        all,
        "each has its line"
    );
    for role in Role::ALL {
        let person = bench.sign_in_as(&format!("{role}-somebody"), role).await;
        for (path, body) in &deeds {
            let route = table().into_iter().find(|r| r.method == "POST" && r.path == pattern(path)).unwrap();
            let answer = person.post(path, &uuid::Uuid::now_v7().to_string(), body).await;
            // What is not there is not there for anybody, and so tells nothing of roles.
            if answer.status != StatusCode::NOT_FOUND {
                let refused = answer.status == StatusCode::FORBIDDEN;
                assert_eq!(refused, role < route.needs, "{role}: {path}: {}", answer.text);
            }
        }
        for route in table().into_iter().filter(|r| r.method == "GET" && !r.path.ends_with("/events")) {
            assert_eq!(route.needs, Role::Viewer, "{}: whoever is signed in may look", route.path);
            let answer = person.get(&filled(route.path)).await;
            assert_ne!(answer.status, StatusCode::FORBIDDEN, "{role}: {}", route.path);
        }
    }
}

#[tokio::test]
async fn what_a_page_does_takes_the_role_that_the_api_takes_and_the_matrix_says_so() {
    let bench = Bench::new().await;
    let page = bench.sign_in_as("vera", Role::Viewer).await.get("/docs/permissions").await.text;
    let routes = table();
    for route in &routes {
        let row = format!("data-route=\"{} {}\"", route.method, route.path);
        let row = page.split(&row).nth(1).unwrap_or_else(|| panic!("{row} is not on the page"));
        let row = row.split("</tr>").next().unwrap();
        let yes = Role::ALL.iter().filter(|role| **role >= route.needs).count();
        let told = row.matches("<td>yes</td>").count();
        assert_eq!(told, if route.access == Access::SignedIn { yes } else { 0 }, "{}", route.path);
        let twin = routes
            .iter()
            .find(|r| r.path.strip_prefix("/api/v1") == Some(route.path) && r.method == route.method);
        assert!(
            twin.is_none_or(|twin| twin.needs == route.needs),
            "{}: over the API another role",
            route.path
        );
    }
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
