//! What holds it back: shown, set and released on the pages and over the API.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::bench::{Bench, run_of};

#[tokio::test]
async fn the_kill_switch_is_one_click_and_a_reason_and_stands_big_on_the_situation_page() {
    let bench = Bench::new().await;
    let (ada, bob) = (bench.sign_in("ada").await, bench.sign_in("bob").await);
    let page = ada.get("/").await;
    assert!(page.text.contains("id=\"stop-everything\"") && !page.text.contains("ALL CHANGES"));
    let silent = ada.form("/brakes/stop", &[("reason", " "), ("from", "situation")]).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
    let stopped = ada.form("/brakes/stop", &[("reason", "it acts <strange>"), ("from", "situation")]).await;
    assert_eq!((stopped.status, stopped.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/"));

    let page = bob.get("/").await;
    assert!(page.text.contains("ALL CHANGES ARE STOPPED") && page.text.contains("data-kill-switch=\"*\""));
    assert!(
        page.text.contains("<b>ada</b>") && page.text.contains("it acts &#60;strange&#62;"),
        "{}",
        page.text
    );
    let plan = bob.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(plan.text.contains("data-brake=\"kill_switch\"") && plan.text.contains("id=\"start\" disabled"));
    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
    let refused = bob.post("/api/v1/runs", "k", &body).await;
    assert_eq!((refused.status, &refused.json()["code"]), (StatusCode::CONFLICT, &json!("kill_switch")));
    assert_eq!(refused.json()["brake"]["by"], "ada");
    assert_eq!(bob.get("/api/v1/situation").await.json()["switches"][0]["reason"], "it acts <strange>");

    let released = bob.form("/brakes/allow", &[("runbook", "*"), ("reason", "understood")]).await;
    assert_eq!(released.header(header::LOCATION), "/brakes");
    assert!(!bob.get("/").await.text.contains("ALL CHANGES"));
    let again = bob.post("/api/v1/brakes/allow", "", &json!({ "reason": "again" })).await;
    assert_eq!(again.json()["code"], "not_there");
    let audit = bob.get("/audit").await.text;
    for action in ["kill switch on", "kill switch off", "start refused: kill_switch"] {
        assert_eq!(audit.matches(&format!("data-action=\"{action}\"")).count(), 1, "{action}");
    }
    assert_eq!(bob.post("/api/v1/runs", "k", &body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_mistyped_name_is_refused_with_what_was_meant_on_the_page_and_over_the_api() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let switch = json!({ "runbook": "swich-lamp", "reason": "x" });
    let refused = ada.post("/api/v1/brakes/stop", "", &switch).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("bad_name"))
    );
    assert!(refused.text.contains("did you mean `switch-lamp`?"), "{}", refused.text);
    let lock = ada.form("/brakes/locks", &[("target", "fleet:lamps-ue"), ("reason", "I am on it")]).await;
    assert_eq!(lock.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(lock.text.contains("did you mean <code>fleet:lamps-eu</code>?"), "{}", lock.text);
    assert!(ada.get("/brakes").await.text.contains("Nothing is locked"));
}

#[tokio::test]
async fn a_form_that_is_refused_comes_back_as_it_was_filled_in_with_why() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let calendar = "BEGIN:VCALENDAR\nBEGIN:VEVENT";
    for (path, form, code, fields) in [
        (
            "/brakes/freezes",
            "new-freeze",
            "bad_time",
            vec![
                ("starts", "2034-05-07T14:00"),
                ("ends", "tomorrow"),
                ("reason", "holi<days>"),
                ("runbook", "switch-lamp"),
            ],
        ),
        (
            "/brakes/freezes",
            "new-freeze",
            "bad_time",
            vec![("ends", "2001-01-01T00:00"), ("reason", "it is late")],
        ),
        (
            "/brakes/freezes/import",
            "import-freezes",
            "bad_calendar",
            vec![("calendar", calendar), ("zone", "Europe/Berlin")],
        ),
        (
            "/brakes/locks",
            "take",
            "bad_name",
            vec![("target", "fleet:lamps-ue"), ("reason", "I am on it"), ("until", "2034-05-07T14:00")],
        ),
        ("/brakes/stop", "kill-switch", "no_reason", vec![("runbook", "switch-lamp"), ("reason", " ")]),
    ] {
        let page = ada.form(path, &fields).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert!(page.text.contains("<nav") && !page.text.contains("data-events"), "{}", page.text);
        let part =
            page.text.split(&format!("id=\"{form}\"")).nth(1).unwrap().split("</form>").next().unwrap();
        assert!(part.contains(&format!("data-problem=\"{code}\"")), "{form}: {part}");
        for (name, value) in fields {
            let value = value.replace('<', "&#60;").replace('>', "&#62;");
            let kept =
                part.contains(&format!("\"{value}\"")) || part.contains(&format!(">{value}</textarea>"));
            assert!(kept, "{form}: {name} {value}: {part}");
        }
        assert_eq!(page.text.matches("data-problem=").count(), 1, "nowhere else");
    }
    let in_force = ada.get("/api/v1/brakes").await.json();
    assert_eq!(
        (&in_force["freezes"], &in_force["locks"], &in_force["switches"]),
        (&json!([]), &json!([]), &json!([]))
    );
}

/// A part of a page, from where it begins up to where it ends.
fn part<'t>(page: &'t str, begins: &str, ends: &str) -> &'t str {
    page.split(begins).nth(1).unwrap_or_else(|| panic!("{begins}: {page}")).split(ends).next().unwrap()
}

#[tokio::test]
async fn what_is_not_lifted_given_back_or_released_is_said_where_the_button_is() {
    let bench = Bench::new().await;
    let (ada, bob) = (bench.sign_in("ada").await, bench.sign_in_as("bob", domain::Role::Admin).await);
    ada.form("/brakes/freezes", &[("ends", "2999-01-01T00:00"), ("reason", "holidays")]).await;
    ada.form("/brakes/locks", &[("target", "fleet:lamps-eu"), ("reason", "I am on it")]).await;
    let id = bob.get("/api/v1/brakes").await.json()["freezes"][0]["id"].as_str().unwrap().to_owned();
    let lift = format!("/brakes/freezes/{id}/lift");
    let give_back = [("target", "fleet:lamps-eu"), ("reason", " ")];

    // Nobody says why.
    let page = bob.form(&lift, &[("reason", "\t")]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let row = part(&page.text, &format!("data-freeze=\"{id}\""), "</tr>");
    assert!(row.contains("role=\"alert\"") && row.contains("data-problem=\"no_reason\""), "{row}");
    let page = bob.form("/brakes/locks/give-back", &give_back).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "{}", page.text);
    let row = part(&page.text, "data-lock=\"fleet:lamps-eu\"", "</tr>");
    assert!(row.contains("to release somebody else&#39;s lock, give a reason"), "{row}");

    // Somebody else was faster, so that there is no such button any more.
    assert_eq!(ada.form(&lift, &[("reason", "over")]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(ada.form("/brakes/locks/give-back", &give_back[..1]).await.status, StatusCode::SEE_OTHER);
    let late = bob.form(&lift, &[("reason", "over")]).await;
    let target = [("target", "fleet:lamps-eu"), ("reason", "she sleeps")];
    let no_lock = bob.form("/brakes/locks/give-back", &target).await;
    let nil = uuid::Uuid::nil().to_string();
    let no_run = bob.form("/brakes/locks/force", &[target[0], target[1], ("run_id", &nil)]).await;
    for (page, section) in [(late, "freezes"), (no_lock, "locks"), (no_run, "locks")] {
        assert_eq!(page.status, StatusCode::CONFLICT, "{}", page.text);
        let section = part(&page.text, &format!("id=\"{section}\""), "</section>");
        assert!(section.contains("data-problem=\"not_there\""), "{section}");
        assert_eq!(page.text.matches("data-problem=").count(), 1, "{}", page.text);
    }
}

#[tokio::test]
async fn what_is_not_stopped_or_allowed_again_is_said_on_the_page_of_the_button() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let silent = ada.form("/brakes/stop", &[("reason", " "), ("from", "situation")]).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
    let switch = part(&silent.text, "id=\"kill-switch\"", "</details>");
    assert!(switch.contains("open>") && switch.contains("data-problem=\"no_reason\""), "{switch}");
    assert!(
        silent.text.contains("id=\"clusters\"") && !silent.text.contains("data-events"),
        "{}",
        silent.text
    );

    ada.form("/brakes/stop", &[("runbook", "switch-lamp"), ("reason", "it acts strange")]).await;
    for (from, title) in [("situation", "Situation"), ("brakes", "Brakes")] {
        let allow = async |reason| {
            ada.form("/brakes/allow", &[("runbook", "switch-lamp"), ("from", from), ("reason", reason)]).await
        };
        let page = allow(" ").await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text.contains(&format!("<title>{title} ")), "{}", page.text);
        let switch = part(&page.text, "id=\"switch-switch-lamp\"", "</form>");
        assert!(switch.contains("data-problem=\"no_reason\""), "{switch}");
    }
    ada.form("/brakes/allow", &[("runbook", "switch-lamp"), ("reason", "understood")]).await;
    for (from, title) in [("situation", "Situation"), ("brakes", "Brakes")] {
        let late = [("runbook", "switch-lamp"), ("from", from), ("reason", "understood")];
        let page = ada.form("/brakes/allow", &late).await;
        assert_eq!(page.status, StatusCode::CONFLICT);
        assert!(page.text.contains(&format!("<title>{title} ")), "{}", page.text);
        assert!(page.text.contains("That kill switch is not on."), "{}", page.text);
        assert_eq!(page.text.matches("data-problem=").count(), 1, "{}", page.text);
    }
}

#[tokio::test]
async fn whoever_stops_what_is_stopped_is_told_who_did_and_that_their_reason_is_kept() {
    let bench = Bench::new().await;
    let (ada, bob) = (bench.sign_in("ada").await, bench.sign_in("bob").await);
    ada.form("/brakes/stop", &[("reason", "it acts strange"), ("from", "situation")]).await;
    let again = bob.form("/brakes/stop", &[("reason", "me too"), ("from", "situation")]).await;
    assert_eq!(again.header(header::LOCATION), "/brakes?already=*");
    let page = bob.get(again.header(header::LOCATION)).await.text;
    let told = page.split("id=\"stopped-before\"").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(told.contains("<b>ada</b> had stopped it already") && told.contains("it acts strange"), "{told}");
    assert!(!bob.get("/brakes").await.text.contains("stopped-before"));
    assert!(bob.get("/audit?action=kill+switch+on").await.text.contains("me too"));
}

#[tokio::test]
async fn a_freeze_asks_for_a_confirmation_on_the_page_and_over_the_api() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let form = [("ends", "2034-05-07T14:00"), ("reason", "holidays"), ("runbook", "")];
    assert_eq!(person.form("/brakes/freezes", &form).await.status, StatusCode::SEE_OTHER);
    assert!(person.get("/").await.text.contains("data-freeze="));
    let page = person.get("/brakes").await;
    assert!(page.text.contains("holidays") && page.text.contains("7 May 2034 14:00:00"));

    let body = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" }, "reason": "it is dark" });
    assert_eq!(person.post("/api/v1/runs", "k", &body).await.json()["code"], "freeze");
    let plan = person.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await.text;
    assert!(plan.contains("Every guard holds, but it is held back by what is named below."), "{plan}");
    assert!(plan.contains("data-brake=\"freeze\"") && !plan.contains("Nothing speaks against it"), "{plan}");
    let mut fields = person.planned("switch-lamp").await;
    let refused = person.start("switch-lamp", &fields).await;
    assert!(
        refused.text.contains("data-problem=\"freeze\"") && refused.text.contains("name=\"despite_freeze\"")
    );
    fields.push(("despite_freeze", "true".into()));
    let run = run_of(&person.start("switch-lamp", &fields).await);
    let timeline = person.get(&format!("/runs/{run}?tab=timeline")).await;
    assert!(timeline.text.contains("despite a freeze"), "{}", timeline.text);

    let freezes = person.get("/api/v1/brakes").await.json();
    let id = freezes["freezes"][0]["id"].as_str().unwrap();
    let lifted =
        person.post(&format!("/api/v1/brakes/freezes/{id}/lift"), "", &json!({ "reason": "over" })).await;
    assert_eq!(lifted.status, StatusCode::OK, "{}", lifted.text);
    let calendar = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDTSTART:20340507T140000\nDURATION:PT1H\nEND:VEVENT\nEND:VCALENDAR\n";
    let homeless = person.post("/api/v1/brakes/freezes/import", "", &json!({ "calendar": calendar })).await;
    assert_eq!(homeless.json()["code"], "bad_calendar");
    assert!(homeless.json()["detail"].as_str().unwrap().contains("line 4"), "{}", homeless.text);
    let zone = json!({ "calendar": calendar, "zone": "Europe/Berlin" });
    let imported = person.post("/api/v1/brakes/freezes/import", "", &zone).await.json();
    assert_eq!(imported, json!({ "events": 1, "windows": 1, "replaced": 0 }));
    let told = person.get("/api/v1/brakes").await.json();
    assert_eq!(told["freezes"][0]["starts"], "2034-05-07T12:00:00Z");
    let form = [("calendar", calendar), ("zone", "Europe/Berlin")];
    assert_eq!(person.form("/brakes/freezes/import", &form).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_limit_is_shown_in_the_plan_and_passed_with_a_reason() {
    let bench = Bench::new().await;
    bench.lamp().warm = true;
    let person = bench.sign_in("ada").await;
    let fields = person.planned("switch-lamp-limited").await;
    let run = run_of(&person.start("switch-lamp-limited", &fields).await);
    bench.until(run, "succeeded").await;
    bench.lamp().on = false;

    let plan = person.form("/runbooks/switch-lamp-limited/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(
        plan.text.contains("data-brake=\"limit\"") && plan.text.contains(&run.to_string()),
        "{}",
        plan.text
    );
    assert!(plan.text.contains("name=\"acknowledge.switching lamps-eu\""));
    let mut fields = person.planned("switch-lamp-limited").await;
    let refused = person.start("switch-lamp-limited", &fields).await;
    assert!(refused.text.contains("data-problem=\"limit\""), "{}", refused.text);
    fields.push(("acknowledge.switching lamps-eu", "it went out again".into()));
    bench.until(run_of(&person.start("switch-lamp-limited", &fields).await), "succeeded").await;

    bench.lamp().on = false;
    let mut body = json!({ "runbook": "switch-lamp-limited", "inputs": { "fleet": "lamps-eu" } });
    let refused = person.post("/api/v1/runs", "k", &body).await.json();
    assert_eq!((&refused["code"], &refused["brake"]["at_most"]), (&json!("limit"), &json!(1)));
    body["acknowledge"] = json!([{ "limit": "switching lamps-eu", "reason": "" }]);
    assert_eq!(person.post("/api/v1/runs", "k", &body).await.json()["code"], "bad_override");
    body["acknowledge"][0]["reason"] = "once more".into();
    assert_eq!(person.post("/api/v1/runs", "k", &body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_target_is_taken_given_back_and_released_by_force() {
    let bench = Bench::new().await;
    let (ada, bob) = (bench.sign_in("ada").await, bench.sign_in_as("bob", domain::Role::Admin).await);
    let take = [("target", "fleet:lamps-eu"), ("reason", "I am on it")];
    assert_eq!(ada.form("/brakes/locks", &take).await.status, StatusCode::SEE_OTHER);
    let page = bob.get("/").await;
    assert!(page.text.contains("data-lock=\"fleet:lamps-eu\"") && page.text.contains("is on it: I am on it"));
    let plan = bob.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(plan.text.contains("It cannot start: ada works on `fleet:lamps-eu` by hand"), "{}", plan.text);
    let own = ada.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(!own.text.contains("id=\"start\" disabled"), "their own runs pass");
    let taken = bob
        .post("/api/v1/brakes/locks", "", &json!({ "target": "fleet:lamps-eu", "reason": "me too" }))
        .await;
    assert_eq!(
        (taken.json()["code"].clone(), taken.json()["held"]["holder"].clone()),
        ("held".into(), "ada".into())
    );
    let no_reason =
        bob.post("/api/v1/brakes/locks/give-back", "", &json!({ "target": "fleet:lamps-eu" })).await;
    assert_eq!(no_reason.json()["code"], "not_there");
    let back = ada.form("/brakes/locks/give-back", &[("target", "fleet:lamps-eu")]).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER);

    let run = run_of(&ada.start("switch-lamp", &ada.planned("switch-lamp").await).await);
    bench.until(run, "running").await;
    let force = json!({ "target": "fleet:lamps-eu", "run_id": run, "reason": "it hangs" });
    assert_eq!(ada.post("/api/v1/brakes/locks/force", "", &force).await.status, StatusCode::FORBIDDEN);
    assert_eq!(bob.post("/api/v1/brakes/locks/force", "", &force).await.json()["code"], "run_is_moving");
    let id = uuid::Uuid::now_v7().to_string();
    ada.form(&format!("/runs/{run}/ask"), &[("ask", "pause"), ("id", &id)]).await;
    bench.until(run, "paused").await;
    assert!(bob.get("/brakes").await.text.contains("does not move again before it has the lock back"));
    assert_eq!(bob.post("/api/v1/brakes/locks/force", "", &force).await.status, StatusCode::OK);
    assert_eq!(bob.get("/api/v1/brakes").await.json()["locks"], json!([]));
    bob.form("/brakes/locks", &take).await;
    let id = uuid::Uuid::now_v7().to_string();
    let resume = ada.form(&format!("/runs/{run}/ask"), &[("ask", "resume"), ("id", &id)]).await;
    assert_eq!(resume.status, StatusCode::CONFLICT);
    assert!(resume.text.contains("taken by bob by hand"), "{}", resume.text);
    let audit = bob.get("/audit").await.text;
    assert!(audit.contains("lock released by force") && audit.contains("lock taken by hand"));
    let told: Value = bob.get("/api/v1/situation").await.json();
    assert_eq!(told["locks"][0]["kind"], "person");
}

#[tokio::test]
async fn whoever_lets_a_run_go_on_while_changes_are_held_back_is_told_that_it_stops_again() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    let run = run_of(&ada.start("switch-lamp", &ada.planned("switch-lamp").await).await);
    bench.until(run, "running").await;
    let ask = async |what: &str| {
        let answer = ada
            .post(
                &format!("/api/v1/runs/{run}/ask"),
                &uuid::Uuid::now_v7().to_string(),
                &json!({ "ask": what }),
            )
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        answer.json()["note"].clone()
    };
    assert_eq!(ask("pause").await, Value::Null);
    bench.until(run, "paused").await;
    let stop = json!({ "runbook": "switch-lamp", "reason": "it acts strange" });
    assert_eq!(ada.post("/api/v1/brakes/stop", "", &stop).await.status, StatusCode::OK);
    let note = ask("resume").await;
    let told = "The run stops again before its next change.";
    assert!(
        note.as_str().is_some_and(|note| note.contains("it acts strange") && note.ends_with(told)),
        "{note}"
    );
}

#[tokio::test]
async fn who_may_only_look_is_told_so_where_the_brakes_are_and_presses_nothing_in_vain() {
    let bench = Bench::new().await;
    let (ada, eve) = (bench.sign_in("ada").await, bench.sign_in_as("eve", domain::Role::Viewer).await);
    ada.form("/brakes/stop", &[("runbook", "switch-lamp"), ("reason", "it acts strange")]).await;
    ada.form("/brakes/freezes", &[("ends", "2999-01-01T00:00"), ("reason", "holidays")]).await;
    for path in ["/", "/brakes"] {
        let forms = |page: &str| -> Vec<bool> {
            let forms =
                page.split("action=\"/brakes/").skip(1).map(|form| form.split("</form>").next().unwrap());
            forms
                .map(|form| form.contains("disabled title=\"this takes a responder, and you are a viewer\""))
                .collect()
        };
        let (seen, all) = (forms(&eve.get(path).await.text), forms(&ada.get(path).await.text));
        assert!(seen.len() > 1 && seen.iter().all(|off| *off), "{path}: {seen:?}");
        assert!(all.len() == seen.len() && all.iter().all(|off| !off), "{path}: {all:?}");
    }
}
