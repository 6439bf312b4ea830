//! People, as an admin sees them and ends what they have open; and that nobody else does.

use axum::http::StatusCode;
use domain::Role;
use serde_json::{Value, json};

use super::bench::{Bench, wish};

fn seen(people: &Value, name: &str) -> Value {
    let found = people["people"].as_array().unwrap().iter().find(|person| person["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not among {people}")).clone()
}

#[tokio::test]
async fn an_admin_sees_who_is_here_and_ends_what_they_have_open() {
    let bench = Bench::new().await;
    let (ada, again) = (bench.sign_in("ada").await, bench.sign_in("ada").await);
    let (bob, root) = (bench.sign_in("bob").await, bench.sign_in_as("root", Role::Admin).await);
    let program = bench.program("ada", wish("laptop", Role::Responder)).await;
    let listed = seen(&root.get("/api/v1/people").await.json(), "ada");
    assert_eq!(
        (&listed["sessions"], &listed["tokens"], &listed["by"], &listed["role"]),
        (&json!(2), &json!(1), &json!("link"), &json!("responder"))
    );
    let page = root.get("/settings").await.text;
    assert!(
        page.contains("data-person=\"ada\"") && page.contains("action=\"/settings/people/sign-out\""),
        "{page}"
    );

    let answer = root.form("/settings/people/sign-out", &[("person", "ada")]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    for gone in [&ada, &again] {
        assert_eq!(gone.get("/").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(bob.get("/").await.status, StatusCode::OK);
    assert_eq!(
        program.get("/api/v1/session").await.status,
        StatusCode::OK,
        "tokens go on until they are revoked"
    );
    root.form("/settings/people/revoke-tokens", &[("person", "ada")]).await;
    assert_eq!(program.get("/api/v1/session").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.audited("signed out by an admin").await, [("ada".to_owned(), json!({ "sessions": 2 }))]);
    assert_eq!(
        bench.audited("tokens revoked by an admin").await,
        [("ada".to_owned(), json!({ "tokens": ["laptop"] }))]
    );
    let unknown = root.post("/api/v1/people/sign-out", "", &json!({ "person": "nobody" })).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (StatusCode::CONFLICT, &json!("not_there")));
}

#[tokio::test]
async fn others_see_themselves_alone_and_end_nothing_of_anybodys() {
    let bench = Bench::new().await;
    let (ada, lead) = (bench.sign_in("ada").await, bench.sign_in_as("lead", Role::Approver).await);
    for path in ["sign-out", "revoke-tokens", "let-go"] {
        let page = lead.form(&format!("/settings/people/{path}"), &[("person", "ada")]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{path}");
        let answer = lead.post(&format!("/api/v1/people/{path}"), "", &json!({ "person": "ada" })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    let people = lead.get("/api/v1/people").await.json();
    assert_eq!(people["people"].as_array().unwrap().len(), 1, "{people}");
    assert!(!lead.get("/settings").await.text.contains("id=\"people\""));
    assert_eq!(ada.get("/").await.status, StatusCode::OK);
    // A token that only looks ends nothing, whatever its person may.
    let mut looks = wish("looks", Role::Admin);
    looks.scope.read_only = true;
    let program = bench.program("root", looks).await;
    let answer = program.post("/api/v1/people/sign-out", "", &json!({ "person": "ada" })).await;
    assert_eq!(answer.json()["code"], "out_of_scope");
}
