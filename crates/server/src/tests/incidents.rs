//! Incidents and triggers, as people and programs meet them.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use domain::Role;
use domain::signal::{Signal, SignalState};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Bench, Person};

/// A runbook that asks a person to switch the lamp when somebody says that it is dark.
pub(super) fn asking() -> String {
    super::bench::SWITCH.replace("switch-lamp", "answer-dark").replace(
        "steps:",
        "triggers: [{ name: dark, where: signal.kind == \"dark\", inputs: { fleet: \"${signal.labels.fleet}\" }, mode: ask }]\nsteps:",
    )
}

/// … as its labels say.
const INPUTS: &str = "inputs: { fleet: \"${signal.labels.fleet}\", mode: \"${signal.labels.mode}\" }";

pub(super) fn dark() -> Signal {
    Signal {
        source: "generic".into(),
        kind: "dark".into(),
        fingerprint: "dark".into(),
        state: SignalState::Firing,
        severity: None,
        summary: "It is dark | at lamps-eu.".into(),
        labels: [("fleet".to_owned(), "lamps-eu".to_owned())].into(),
        started_at: None,
    }
}

/// Waits until the only signal has this code.
pub(super) async fn judged(bench: &Bench, person: &Person<'_>, code: &str) -> Value {
    let mut topics = bench.engine.listen();
    loop {
        let signals = person.get("/api/v1/signals").await.json();
        if signals["signals"][0]["code"] == code {
            return signals["signals"][0].clone();
        }
        topics.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_signal_opens_an_incident_that_people_drive_write_in_and_take_away_as_a_document() {
    let bench = Bench::with(&[("answer-dark", &asking())]).await;
    let ada = bench.sign_in("ada").await;
    bench.engine.receive(&dark(), None, Some("{}")).await.unwrap();
    let signal = judged(&bench, &ada, "ask").await;
    let again = Signal { summary: "It is darker now.".into(), ..dark() };
    bench.engine.receive(&again, None, Some("{}")).await.unwrap();
    let path = format!("/incidents/{}", signal["incident"].as_str().unwrap());
    let home = ada.get("/").await.text;
    assert!(home.contains("INC-1") && home.contains("nobody has it"), "{home}");

    let moved = ada.form(&format!("{path}/ask"), &[("ask", "take"), ("driver", "")]).await;
    assert_eq!(moved.status, StatusCode::SEE_OTHER, "{}", moved.text);
    let bo = bench.sign_in("bo").await;
    let late = bo.form(&format!("{path}/ask"), &[("ask", "take"), ("driver", "")]).await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(late.text.contains("It has changed since you looked"), "{}", late.text);
    for fields in [
        vec![("ask", "severity"), ("severity", "sev2")],
        vec![("ask", "note"), ("text", "It began with <b>shard-e</b>.")],
    ] {
        assert_eq!(bo.form(&format!("{path}/ask"), &fields).await.status, StatusCode::SEE_OTHER);
    }
    let page = ada.get(&path).await.text;
    for shown in [
        "SEV2: many customers",
        "<b>ada</b>",
        "It began with &#60;b&#62;shard-e",
        "Asks you",
        "lamps-eu",
        "id=\"offers\"",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let started = ada.form(&format!("/signals/{}/start", signal["id"].as_str().unwrap()), &[]).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
    let run: Uuid = started.header(header::LOCATION).rsplit('/').next().unwrap().parse().unwrap();
    bench.lamp().warm = true;
    bench.until(run, "succeeded").await;
    assert!(ada.get(&format!("/runs/{run}")).await.text.contains("INC-1"));
    let told = ada.get(&format!("/api/v1/runs/{run}")).await.json();
    assert_eq!(told["incidents"][0]["number"], 1, "{told}");

    let pack = ada.get(&format!("{path}/post-mortem.md")).await;
    assert_eq!(pack.header(header::CONTENT_DISPOSITION), "attachment; filename=\"INC-1.md\"");
    for told in [
        "| Severity | SEV2: many customers cannot work |",
        "| first signal |",
        "| decision |",
        "| first change |",
        "generic says: It is dark \\| at lamps-eu.",
        "generic says: It is darker now.",
        "It began with <b>shard-e</b>.",
        "Did lamp.set: ",
        "| When | Object | What | Before | After | Taken back |",
        "What follows, who does it, until when",
    ] {
        assert!(pack.text.contains(told), "{told}: {}", pack.text);
    }
    let told = ada.get(&format!("/api/v1{path}")).await.json();
    assert_eq!((&told["name"], &told["incident"]["driver"]), (&json!("INC-1"), &json!("ada")));
    assert_eq!(told["runs"][0]["run"]["id"], json!(run));
    let kinds: Vec<&str> =
        told["timeline"].as_array().unwrap().iter().map(|l| l["kind"].as_str().unwrap()).collect();
    for kind in ["incident", "signal", "verdict", "person", "run"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(ada.get("/incidents/INC-1").await.header(header::LOCATION), path);
    assert_eq!(ada.get("/incidents/INC-9").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_one_click_would_start_is_not_pushed_out_by_hundreds_of_alerts_that_come_after_it() {
    let bench = Bench::with(&[("answer-dark", &asking())]).await;
    let ada = bench.sign_in("ada").await;
    bench.engine.receive(&dark(), None, None).await.unwrap();
    let offer = judged(&bench, &ada, "ask").await;
    let others = (0..210).map(|n| {
        let fingerprint = format!("noise-{n}");
        (Signal { kind: "noise".into(), fingerprint, labels: Default::default(), ..dark() }, None)
    });
    bench.engine.receive_all(others.collect(), None).await.unwrap();

    let home = ada.get("/").await.text;
    assert!(home.contains("data-offer=\"answer-dark\""), "{home}");
    assert!(home.contains("href=\"/signals?firing=1\">And 161 others that fire</a>"), "{home}");
    let incident = ada.get(&format!("/incidents/{}", offer["incident"].as_str().unwrap())).await.text;
    assert!(incident.contains("data-offer=\"answer-dark\""), "{incident}");
    let now = ada.get("/api/v1/situation").await.json();
    assert_eq!(
        (&now["signals"][0]["id"], now["signals"].as_array().unwrap().len(), &now["firing"]),
        (&offer["id"], 50, &json!(211))
    );
    let newest = ada.get("/api/v1/signals?firing=1").await.json();
    assert!(newest["signals"].as_array().unwrap().iter().all(|signal| signal["id"] != offer["id"]));
    let asks = ada.get("/api/v1/signals?asks=1").await.json();
    assert_eq!((asks["signals"].as_array().unwrap().len(), &asks["signals"][0]["id"]), (1, &offer["id"]));
    assert!(ada.get("/signals?asks=1").await.text.contains("name=\"asks\" value=\"1\" checked"));
}

#[tokio::test]
async fn a_button_starts_what_stood_on_it_and_nothing_that_was_prepared_since() {
    let asking = asking().replace("inputs: { fleet: \"${signal.labels.fleet}\" }", INPUTS);
    let bench = Bench::with(&[("answer-dark", &asking)]).await;
    let ada = bench.sign_in("ada").await;
    let said = |mode: &str| {
        let mut signal = dark();
        signal.labels.insert("mode".into(), mode.into());
        signal
    };
    bench.engine.receive(&said("soft"), None, None).await.unwrap();
    let shown = judged(&bench, &ada, "ask").await;
    let (page, verdict) =
        (format!("/signals/{}", shown["id"].as_str().unwrap()), shown["verdict_id"].to_string());
    assert_eq!(ada.get(&page).await.field("verdict"), verdict);

    // It changes, and is judged anew, while somebody reads.
    bench.engine.receive(&said("hard"), None, None).await.unwrap();
    let mut topics = bench.engine.listen();
    let now = loop {
        let now = ada.get(&format!("/api/v1{page}")).await.json()["signal"].clone();
        if now["verdict"] == "asked" && now["inputs"]["mode"] == "hard" {
            break now;
        }
        topics.recv().await.unwrap();
    };
    let start = format!("{page}/start");
    let refused = ada.form(&start, &[("verdict", &verdict)]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
    assert!(refused.text.contains("data-problem=\"plan_changed\""), "{}", refused.text);
    let body = json!({ "verdict": shown["verdict_id"] });
    let told = ada.post(&format!("/api/v1{start}"), "", &body).await.json();
    assert_eq!(
        (&told["code"], &told["offer"]["verdict"], &told["offer"]["inputs"]["mode"]),
        (&json!("plan_changed"), &now["verdict_id"], &json!("hard")),
        "{told}"
    );
    assert_eq!(ada.get("/api/v1/runs").await.json()["runs"], json!([]));
    assert_eq!(bench.audited("start refused: plan_changed").await.len(), 2);
    let started = ada.form(&start, &[("verdict", &now["verdict_id"].to_string())]).await;
    assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text);
}

#[tokio::test]
async fn the_runbook_opens_with_all_inputs_of_what_a_signal_offers_whatever_their_kind() {
    let inputs = "inputs: { fleet: \"${signal.labels.fleet}\", times: 6, who: [ana, bo], gently: true }";
    let asking = asking().replace("inputs: { fleet: \"${signal.labels.fleet}\" }", inputs).replace(
        "inputs:\n",
        "inputs:\n  times: { type: integer, description: How often }\n  who: { type: list, of: string, description: For whom }\n  gently: { type: boolean, description: How }\n",
    );
    let bench = Bench::with(&[("answer-dark", &asking)]).await;
    let ada = bench.sign_in("ada").await;
    bench.engine.receive(&dark(), None, None).await.unwrap();
    let signal = judged(&bench, &ada, "ask").await;
    let page = ada.get(&format!("/signals/{}", signal["id"].as_str().unwrap())).await.text;
    let link = page.split("href=\"/runbooks/answer-dark?").nth(1).unwrap().split('"').next().unwrap();
    let link = link.replace("&#38;", "&").replace("&amp;", "&");
    for given in ["fleet=lamps-eu", "times=6", "who=ana%2C+bo", "gently=true"] {
        assert!(link.split('&').any(|part| part == given), "{given}: {link}");
    }
    let form = ada.get(&format!("/runbooks/answer-dark?{link}")).await.text;
    assert!(form.contains("value=\"ana, bo\"") && form.contains("value=\"6\""), "{form}");
}

#[tokio::test]
async fn a_person_opens_one_for_what_the_inventory_knows_and_finds_it_again() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let open = async |body: Value| ada.post("/api/v1/incidents", &Uuid::now_v7().to_string(), &body).await;
    let new = open(json!({ "title": "It flickers", "targets": ["fleet:lamps-eu"] })).await;
    assert_eq!(new.status, StatusCode::CREATED, "{}", new.text);
    let again = open(json!({ "title": "It is dark", "targets": ["fleet:lamps-eu"] })).await;
    assert_eq!(
        (again.status, again.json()["incident"].clone()),
        (StatusCode::OK, new.json()["incident"].clone())
    );
    for (body, says) in [
        (json!({ "title": "x", "targets": [] }), "Name at least one target"),
        (json!({ "title": " ", "targets": ["fleet:lamps-eu"] }), "A title is missing"),
        (json!({ "title": "x", "targets": ["fleet:moon"] }), "`fleet:moon` names no fleet"),
    ] {
        let refused = open(body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.text);
        assert!(refused.json()["detail"].as_str().unwrap().starts_with(says), "{}", refused.text);
    }
    let viewer = bench.sign_in_as("eve", Role::Viewer).await;
    let body = json!({ "title": "x", "targets": ["fleet:lamps-eu"] });
    assert_eq!(viewer.post("/api/v1/incidents", "k", &body).await.status, StatusCode::FORBIDDEN);
    let path = format!("/api/v1/incidents/{}/ask", new.json()["incident"].as_str().unwrap());
    let closed = ada.post(&path, "k", &json!({ "ask": "close", "reason": "a loose bulb" })).await;
    assert_eq!(closed.status, StatusCode::OK, "{}", closed.text);
    assert_eq!(closed.json()["incident"]["closed_by"], "ada");
    assert_eq!(ada.post(&path, "l", &json!({ "ask": "take" })).await.status, StatusCode::CONFLICT);
    let page = ada.get("/incidents").await.text;
    assert!(page.contains("It flickers") && page.contains("Closed"), "{page}");
    let page = ada.get("/incidents?open=1").await.text;
    assert!(!page.contains("It flickers") && page.contains("None is open."), "{page}");
}

#[tokio::test]
async fn programs_name_one_as_people_say_it_page_through_the_list_and_take_the_document_away() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    for title in ["It flickers", "It is dark"] {
        let opened = ada
            .post("/api/v1/incidents", title, &json!({ "title": title, "targets": ["fleet:lamps-eu"] }))
            .await;
        assert_eq!(opened.status, StatusCode::CREATED, "{}", opened.text);
        let id = opened.json()["incident"].as_str().unwrap().to_owned();
        let number = ada.get(&format!("/api/v1/incidents/{id}")).await.json()["incident"]["number"].clone();
        if title == "It flickers" {
            let ask = json!({ "ask": "close", "reason": "a loose bulb" });
            let closed = ada.post(&format!("/api/v1/incidents/INC-{number}/ask"), "close", &ask).await;
            assert_eq!(closed.status, StatusCode::OK, "{}", closed.text);
        }
        for word in [format!("{number}"), format!("INC-{number}"), format!("inc-{number}")] {
            let told = ada.get(&format!("/api/v1/incidents/{word}")).await.json();
            assert_eq!(told["incident"]["id"], json!(id), "{word}");
        }
        let pack = ada.get(&format!("/api/v1/incidents/INC-{number}/post-mortem.md")).await;
        assert!(pack.header(header::CONTENT_TYPE).starts_with("text/markdown"));
        assert!(pack.text.contains(title), "{}", pack.text);
    }
    let titles = |page: &Value| -> Vec<String> {
        let all = page["incidents"].as_array().unwrap().iter();
        all.map(|incident| incident["title"].as_str().unwrap().to_owned()).collect()
    };
    let page = ada.get("/api/v1/incidents?limit=1").await.json();
    assert_eq!(titles(&page), ["It is dark"]);
    let rest = ada.get(&format!("/api/v1/incidents?limit=1&before={}", page["next"])).await.json();
    assert_eq!((titles(&rest), &rest["next"]), (vec!["It flickers".to_owned()], &Value::Null));
    assert_eq!(titles(&ada.get("/api/v1/incidents?open=1").await.json()), ["It is dark"]);
    for word in ["INC-99", "INC-", "nonsense", "-1"] {
        assert_eq!(
            ada.get(&format!("/api/v1/incidents/{word}")).await.status,
            StatusCode::NOT_FOUND,
            "{word}"
        );
    }
}

#[tokio::test]
async fn modes_are_set_with_a_reason_and_a_verdict_is_overruled_by_a_person() {
    let bench = Bench::with(&[("answer-dark", &asking())]).await;
    let ada = bench.sign_in("ada").await;
    bench.engine.receive(&dark(), None, None).await.unwrap();
    let signal = judged(&bench, &ada, "ask").await;
    let page = format!("/signals/{}", signal["id"].as_str().unwrap());
    assert_eq!(
        ada.form(&format!("{page}/dismiss"), &[("reason", "")]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        ada.form(&format!("{page}/dismiss"), &[("reason", "a test")]).await.status,
        StatusCode::SEE_OTHER
    );
    let request = ada.request(Method::GET, &page).header("x-fragment", "1").body(Body::empty()).unwrap();
    let part = bench.send(request).await.text;
    assert!(
        part.contains("ada says: a test") && !part.contains("<html"),
        "the script gets the inner part alone"
    );
    let shown = ada.get(&page).await.text;
    assert!(shown.contains("ada says: a test") && !shown.contains("data-offer"), "{shown}");
    let mode = async |person: &Person<'_>, mode: &str, reason: &str| {
        let fields = [("rule", "answer-dark/dark"), ("mode", mode), ("reason", reason)];
        person.form("/triggers/mode", &fields).await.status
    };
    assert_eq!(mode(&ada, "auto", "bold").await, StatusCode::FORBIDDEN);
    assert_eq!(mode(&ada, "shadow", "").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(mode(&ada, "loud", "x").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(mode(&ada, "shadow", "it asks at night").await, StatusCode::SEE_OTHER);
    let triggers = ada.get("/triggers").await.text;
    for shown in ["data-mode=\"shadow\"", "it asks at night", "1</b> time:", "1 still open", "as configured"]
    {
        assert!(triggers.contains(shown), "{shown}: {triggers}");
    }
    assert_eq!(
        ada.form(&format!("{page}/judge"), &[("reason", "no test")]).await.status,
        StatusCode::SEE_OTHER
    );
    judged(&bench, &ada, "shadow").await;
    assert_eq!(mode(&ada, "configured", "day again").await, StatusCode::SEE_OTHER);
    let told = ada.get("/api/v1/triggers").await.json();
    assert_eq!(
        (&told["triggers"][0]["mode"], &told["triggers"][0]["written"]),
        (&json!("ask"), &json!("ask"))
    );
    assert!(ada.get("/outbox").await.text.contains("Nothing has been told yet"));
}
