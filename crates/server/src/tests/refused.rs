//! Nobody's words are lost because what they sent was refused, or came to nothing.

use axum::http::StatusCode;
use domain::Role;
use serde_json::json;
use uuid::Uuid;

use super::bench::{Bench, run_of};
use super::incidents::{asking, dark, judged};

#[tokio::test]
async fn a_form_that_is_refused_stands_on_its_page_as_it_was_filled_in() {
    let bench = Bench::with(&[("answer-dark", &asking())]).await;
    let ada = bench.sign_in("ada").await;
    bench.engine.receive(&dark(), None, None).await.unwrap();
    let asked = judged(&bench, &ada, "ask").await;
    let signal = format!("/signals/{}", asked["id"].as_str().unwrap());
    let incident = format!("/incidents/{}", asked["incident"].as_str().unwrap());
    let eve = bench.sign_in_as("eve", Role::Viewer).await;
    let long = "x".repeat(201);

    let dismiss = ada.form(&format!("{signal}/dismiss"), &[("reason", " ")]).await;
    assert!(dismiss.text.contains("id=\"dismiss\" data-open=\"1\" open"), "{}", dismiss.text);
    let refused = [
        // Of an incident.
        (ada.form("/incidents", &[("title", "It flickers")]).await, 422, "value=\"It flickers\""),
        (
            ada.form("/incidents", &[("title", " "), ("target", "fleet:lamps-eu")]).await,
            422,
            "value=\"fleet:lamps-eu\" checked",
        ),
        (
            ada.form(&format!("{incident}/ask"), &[("ask", "close"), ("reason", "a loose bulb")]).await,
            409,
            "value=\"a loose bulb\"",
        ),
        (
            ada.form(&format!("{incident}/ask"), &[("ask", "hand_over"), ("to", " "), ("note", "the fuse")])
                .await,
            422,
            "value=\"the fuse\"",
        ),
        (ada.form(&format!("{incident}/ask"), &[("ask", "title"), ("title", &long)]).await, 422, &long),
        (
            eve.form(&format!("{incident}/ask"), &[("ask", "note"), ("text", "I see <it>")]).await,
            403,
            ">I see &#60;it&#62;</textarea>",
        ),
        (
            eve.form(&format!("{incident}/ask"), &[("ask", "severity"), ("severity", "sev3")]).await,
            403,
            "value=\"sev3\" selected",
        ),
        // Of a signal.
        (eve.form(&format!("{signal}/dismiss"), &[("reason", "a test")]).await, 403, "value=\"a test\""),
        (eve.form(&format!("{signal}/judge"), &[("reason", "no test")]).await, 403, "value=\"no test\""),
        (eve.form(&format!("{signal}/start"), &[]).await, 403, "data-problem=\"not_allowed\""),
        // Of triggers and tokens.
        (
            ada.form("/triggers/mode", &[("rule", "answer-dark/dark"), ("mode", "auto"), ("reason", "bold")])
                .await,
            403,
            "value=\"bold\"",
        ),
        (
            ada.form(
                "/settings/tokens",
                &[("name", "laptop"), ("role", "viewer"), ("scope", "read-only"), ("days", "400")],
            )
            .await,
            422,
            "value=\"laptop\"",
        ),
    ];
    for (page, status, kept) in refused {
        assert_eq!(page.status.as_u16(), status, "{kept}: {}", page.text);
        assert!(page.text.contains(kept) && page.text.contains("role=\"alert\""), "{kept}: {}", page.text);
        assert!(page.text.contains("<nav") && !page.text.contains("data-events"), "{}", page.text);
    }

    // What would redraw itself stands still, and says so.
    let page =
        ada.form(&format!("{incident}/ask"), &[("ask", "close"), ("reason", "a loose bulb")]).await.text;
    assert!(
        page.contains(&format!("id=\"still\" class=\"live\">Stands still: <a href=\"{incident}\">")),
        "{page}"
    );
    assert!(
        page.contains("A signal of it fires still") && page.contains("<button disabled>Close it</button>"),
        "{page}"
    );
    assert!(ada.get(&incident).await.text.contains("<button disabled>Close it</button>"));
    let stop = ada.form("/brakes/stop", &[("from", "situation"), ("reason", "")]).await.text;
    assert!(stop.contains("This page stands still, so that what you wrote stays. <a href=\"/\">"), "{stop}");
}

#[tokio::test]
async fn a_review_that_is_not_closed_keeps_its_note() {
    let bench = Bench::new().await;
    let (ada, bo) = (bench.sign_in("ada").await, bench.sign_in_as("bo", Role::Admin).await);
    let run = run_of(&ada.start("switch-lamp-severe", &ada.planned("switch-lamp-severe").await).await);
    bench.until(run, "waiting_for_approval").await;
    let glass = json!({ "ask": "break_glass", "reason": "nobody answers" });
    let broken = bo.post(&format!("/api/v1/runs/{run}/ask"), &Uuid::now_v7().to_string(), &glass).await;
    assert_eq!(broken.status, StatusCode::ACCEPTED, "{}", broken.text);
    let mut topics = bench.engine.listen();
    while bo.get("/api/v1/reviews").await.json()["reviews"] == json!([]) {
        topics.recv().await.unwrap();
    }
    let id = bo.get("/api/v1/reviews").await.json()["reviews"][0]["id"].clone();
    let own = bo.form(&format!("/reviews/{id}/close"), &[("note", "it was right")]).await;
    assert_eq!(own.status, StatusCode::FORBIDDEN);
    assert!(own.text.contains("value=\"it was right\"") && own.text.contains("data-review"), "{}", own.text);
}

#[tokio::test]
async fn what_the_database_did_not_answer_is_there_to_be_sent_again() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let opened = json!({ "title": "It flickers", "targets": ["fleet:lamps-eu"] });
    let opened = ada.post("/api/v1/incidents", "k", &opened).await.json();
    let ask = format!("/incidents/{}/ask", opened["incident"].as_str().unwrap());
    let note = [("ask", "note"), ("text", "It began with <b>shard-e</b>,\nI think.")];

    // Whoever is not signed in any more has their words, too; but nothing to send them with.
    let mut nobody = bench.sign_in("ada").await;
    nobody.cookie = "firebreak=none".into();
    let page = nobody.form(&ask, &note).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(
        page.text.contains("readonly>It began with") && !page.text.contains("Send it again"),
        "{}",
        page.text
    );

    bench.engine.pool().close().await;
    let page = ada.form(&ask, &note).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{}", page.text);
    for shown in [
        &format!("action=\"{ask}\""),
        "name=\"text\" rows=\"2\">It began with &#60;b&#62;shard-e&#60;/b&#62;,\nI think.</textarea>",
        "name=\"ask\" value=\"note\"",
        &format!("name=\"csrf\" value=\"{}\"", ada.csrf),
        "Send it again",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
}
