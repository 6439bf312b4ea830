//! From a form to a run, and what stands in the way.

use axum::http::{StatusCode, header};

use super::bench::{Bench, run_of};

#[tokio::test]
async fn a_double_click_lands_on_one_run() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let fields = person.planned("switch-lamp").await;
    let (first, second) =
        tokio::join!(person.start("switch-lamp", &fields), person.start("switch-lamp", &fields));
    let run = run_of(&first);
    assert_eq!(run_of(&second), run);
    bench.lamp().warm = true;
    bench.until(run, "succeeded").await;
    assert_eq!(bench.lamp().switched, 1);

    let page = person.get(&format!("/runs/{run}?tab=calls")).await;
    assert!(page.text.contains("data-state=\"succeeded\"") && page.text.contains("data-final"));
    assert!(page.text.contains("req-1"), "the request id of the call is shown");
    let timeline = person.get(&format!("/runs/{run}?tab=timeline")).await;
    assert!(timeline.text.contains("Asked for switch-lamp: it is dark"));
    let plan = person.get(&format!("/runs/{run}?tab=plan")).await;
    assert!(plan.text.contains("lamp lamps-eu"), "the plan that was approved");
    let text = person.get(&format!("/runs/{run}?tab=definition")).await;
    assert!(text.text.contains("runbook: switch-lamp"));
}

#[tokio::test]
async fn a_start_that_is_repeated_at_another_replica_is_answered_by_its_run_though_the_plan_is_another_by_now()
 {
    let mut bench = Bench::new().await;
    let mut topics = bench.engine.listen();
    let fields = bench.sign_in("ada").await.planned("switch-lamp").await;
    let run = run_of(&bench.sign_in("ada").await.start("switch-lamp", &fields).await);
    while bench.lamp().switched == 0 {
        topics.recv().await.unwrap();
    }
    bench.behind(None); // knows nothing of the plans that the first has shown
    let person = bench.sign_in("ada").await;
    assert_eq!(run_of(&person.start("switch-lamp", &fields).await), run);
    let field = |wanted| fields.iter().find(|(name, _)| *name == wanted).unwrap().1.clone();
    let body = serde_json::json!({
        "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" }, "plan_hash": field("plan_hash"),
    });
    let again = person.post("/api/v1/runs", &field("idem_key"), &body).await;
    assert_eq!((again.status, again.json()["run_id"].clone()), (StatusCode::OK, run.to_string().into()));
    let fresh = person.post("/api/v1/runs", "fresh", &body).await;
    assert_eq!(fresh.json()["code"], "plan_changed", "which is why it must be asked first: {}", fresh.text);
    bench.lamp().warm = true;
    bench.until(run, "succeeded").await;
}

#[tokio::test]
async fn a_target_that_another_run_holds_is_refused_with_a_way_to_it_and_the_inputs_stay() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let first = person.planned("switch-lamp").await;
    let mut second = person.planned("switch-lamp").await;
    second.push(("input.cluster", "shard-b".into()));
    let run = run_of(&person.start("switch-lamp", &first).await);
    bench.until(run, "running").await;

    let plan = person.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(plan.text.contains("data-verdict=\"stops\""), "a plan made now says so before anybody clicks");
    assert!(plan.text.contains("id=\"why-not\"") && plan.text.contains("is locked by"));

    let second: Vec<_> = second.into_iter().filter(|(name, _)| *name != "input.cluster").collect();
    let answer = person.start("switch-lamp", &second).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("data-problem=\"locked\""), "{}", answer.text);
    assert!(answer.text.contains(&format!("href=\"/runs/{run}\"")));
    assert!(answer.text.contains("value=\"lamps-eu\" selected"));
    assert!(answer.text.contains("value=\"it is dark\""), "the reason stays");
    assert!(person.get("/audit").await.text.contains("start refused: locked"));
    bench.lamp().warm = true;
    bench.until(run, "succeeded").await;
}

#[tokio::test]
async fn a_plan_that_is_not_true_any_more_starts_nothing_and_shows_the_new_one() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let mut fields = person.planned("switch-lamp").await;
    for field in &mut fields {
        if field.0 == "plan_hash" {
            field.1 = "0".repeat(64);
        }
    }
    let answer = person.start("switch-lamp", &fields).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("data-problem=\"plan_changed\""));
    assert_eq!(answer.field("plan_hash").len(), 64, "the new plan is offered");
    assert!(person.get("/runs").await.text.contains("No run fits"));
    assert!(person.get("/audit").await.text.contains("start refused: plan_changed"));
}

#[tokio::test]
async fn high_risk_wants_the_target_typed() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let mut fields = person.planned("switch-lamp-high").await;
    let answer = person.start("switch-lamp-high", &fields).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("data-problem=\"not_confirmed\""));
    fields.push(("confirm", "lamps-eu".into()));
    run_of(&person.start("switch-lamp-high", &fields).await);
}

#[tokio::test]
async fn inputs_that_do_not_fit_are_told_at_their_fields_and_kept() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let wrong = [("input.fleet", "lamps-us"), ("input.mode", "hard")];
    let answer = person.form("/runbooks/switch-lamp/plan", &wrong).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("field wrong"), "{}", answer.text);
    assert!(answer.text.contains("value=\"lamps-us\" selected"), "what was given is still there");
    assert!(answer.text.contains("value=\"hard\" selected"));
}

#[tokio::test]
async fn a_failed_step_waits_for_a_decision_and_a_retry_goes_on() {
    let bench = Bench::new().await;
    bench.lamp().broken = Some("The bulb is loose.");
    bench.lamp().warm = true;
    let person = bench.sign_in("ada").await;
    let fields = person.planned("switch-lamp").await;
    let run = run_of(&person.start("switch-lamp", &fields).await);
    bench.until(run, "paused").await;

    let page = person.get(&format!("/runs/{run}")).await;
    assert!(page.text.contains("data-decision=\"switch\""), "{}", page.text);
    let remedy = "<p>Mend it, see <code>lamp &#60;eu&#62;</code>.</p>";
    assert!(page.text.contains("The bulb is loose.") && page.text.contains(remedy), "{}", page.text);
    for ask in ["retry", "mark_done", "skip", "abort-finally"] {
        assert!(page.text.contains(&format!("data-ask=\"{ask}\"")), "{ask}");
    }
    assert!(!page.text.contains("data-ask=\"abort-all\""), "nothing was changed: there is nothing to choose");
    let resume = page.text.split("data-ask=\"resume\"").next().unwrap();
    assert!(resume.ends_with("<button disabled "), "what is not possible is there, and says why");

    let path = format!("/runs/{run}/ask");
    let id = uuid::Uuid::now_v7().to_string();
    let no_reason =
        person.form(&path, &[("ask", "skip"), ("id", &id), ("step", "switch"), ("reason", " ")]).await;
    assert_eq!(no_reason.status, StatusCode::UNPROCESSABLE_ENTITY);
    let not_now = person.form(&path, &[("ask", "resume"), ("id", &id)]).await;
    assert_eq!(not_now.status, StatusCode::CONFLICT);
    assert!(not_now.text.contains("A step has failed"));
    let at_button = |page: &str, form: &str, code: &str| {
        let form = page.split(&format!("id=\"{form}\"")).nth(1).unwrap_or_default();
        let form = form.split("class=\"ask").next().unwrap_or_default();
        page.matches("role=\"alert\" tabindex").count() == 1
            && form.contains(&format!("data-problem=\"{code}\""))
    };
    assert!(at_button(&no_reason.text, "ask-skip-switch", "no_reason"), "{}", no_reason.text);
    assert!(at_button(&not_now.text, "ask-resume", "not_possible_now"), "{}", not_now.text);
    // What was typed is kept: here with a character that cannot be.
    let odd = [("ask", "skip"), ("id", &id), ("step", "switch"), ("reason", "not needed\0")];
    let not_kept = person.form(&path, &odd).await;
    assert_eq!(not_kept.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(at_button(&not_kept.text, "ask-skip-switch", "not_storable"), "{}", not_kept.text);
    assert!(not_kept.text.contains("value=\"not needed\0\""), "{}", not_kept.text);
    // Of what stands on the page no more, the refusal stands above.
    let gone = person.form(&path, &[("ask", "retry"), ("id", &id), ("step", "other")]).await;
    assert_eq!(gone.status, StatusCode::CONFLICT);
    assert!(gone.text.contains("id=\"not-asked\"") && gone.text.contains("data-decision=\"switch\""));

    bench.lamp().broken = None;
    let retry = person.form(&path, &[("ask", "retry"), ("id", &id), ("step", "switch")]).await;
    assert_eq!(retry.status, StatusCode::SEE_OTHER);
    assert_eq!(retry.header(header::LOCATION), format!("/runs/{run}"));
    bench.until(run, "succeeded").await;
    let timeline = person.get(&format!("/runs/{run}?tab=timeline")).await;
    assert!(timeline.text.contains("Asked to retry"));
}

#[tokio::test]
async fn a_guard_that_does_not_hold_disables_the_button_with_its_words() {
    let bench = Bench::new().await;
    bench.lamp().on = true;
    let person = bench.sign_in("ada").await;
    let page = person.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    assert!(page.text.contains("data-verdict=\"stops\""));
    assert!(page.text.contains("It would stop: The lamp is on already."));
}
