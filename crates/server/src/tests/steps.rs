//! The steps of a run on its page: what went wrong said once, what is waited for, and what came of those that are done.

use axum::http::StatusCode;
use uuid::Uuid;

use super::bench::{Bench, Person, run_of};

async fn page(person: &Person<'_>, run: Uuid) -> String {
    person.get(&format!("/runs/{run}")).await.text
}

/// The page from this step's line on, up to the next one's.
fn step<'t>(page: &'t str, path: &str) -> &'t str {
    let from = page.find(&format!("data-step=\"{path}\"")).unwrap_or_else(|| panic!("{path}: {page}"));
    page[from..].split("<details class=\"step").next().unwrap()
}

#[tokio::test]
async fn of_a_step_that_failed_it_is_said_why_where_a_person_is_asked_and_by_its_attempts() {
    let bench = Bench::new().await;
    bench.lamp().broken = Some("The bulb is loose.");
    let person = bench.sign_in("ada").await;
    let run = run_of(&person.start("switch-lamp", &person.planned("switch-lamp").await).await);
    bench.until(run, "paused").await;
    let text = page(&person, run).await;
    assert!(!text.contains("id=\"pause\""), "the panel below the header says it: {text}");
    let asked = text.split("id=\"decide-switch\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(asked.contains("The bulb is loose.") && asked.contains("Mend it"), "{asked}");
    let switch = step(&text, "switch");
    assert!(
        switch.contains("data-open=\"2\" open") && switch.contains("href=\"#decide-switch\""),
        "{switch}"
    );
    assert!(switch.contains("data-failed>Attempt 1, ") && switch.contains("/docs/errors/"), "{switch}");
    assert_eq!(text.matches("The bulb is loose.").count(), 2, "{text}");
    assert_eq!(text.matches("Mend it").count(), 1, "{text}");

    // The same once more is not told once more.
    let id = Uuid::now_v7().to_string();
    let mut topics = bench.engine.listen();
    person.form(&format!("/runs/{run}/ask"), &[("ask", "retry"), ("id", &id), ("step", "switch")]).await;
    let text = loop {
        let text = page(&person, run).await;
        if text.contains("Attempts 1 to 2, ") && text.contains("data-state=\"paused\"") {
            break text;
        }
        topics.recv().await.unwrap();
    };
    assert_eq!(text.matches("The bulb is loose.").count(), 2, "{text}");
}

#[tokio::test]
async fn of_a_run_that_has_ended_because_of_a_step_it_is_said_why_at_the_top() {
    let text = super::bench::SWITCH
        .replace("switch-lamp", "switch-once")
        .replace("    undo: automatic\n", "    on_failure: fail\n");
    let bench = Bench::with(&[("switch-once", &text)]).await;
    bench.lamp().broken = Some("The bulb is loose.");
    let person = bench.sign_in("ada").await;
    let run = run_of(&person.start("switch-once", &person.planned("switch-once").await).await);
    bench.until(run, "failed").await;
    let text = page(&person, run).await;
    assert!(text.contains("id=\"message\">The bulb is loose.</p>"), "{text}");
    let switch = step(&text, "switch");
    assert!(switch.contains("href=\"#message\"") && switch.contains("Mend it"), "{switch}");
    assert_eq!(text.matches("The bulb is loose.").count(), 2, "the attempt has it, too: {text}");
}

#[tokio::test]
async fn a_wait_shows_its_condition_beside_what_that_names_and_apart_from_what_else_was_seen() {
    let rooms = r#"runbook: rooms
title: Warm the rooms
when: It is cold.
risk: low
inputs:
  fleet: { type: proxy_fleet, description: Whose lamp }
steps:
  - id: before
    title: Look at the lamp
    use: lamp.look
    with: { lamp: "${inputs.fleet.id}" }
  - id: all
    title: Every room
    each: '["north"]'
    steps:
      - id: warm
        title: Wait until it is warm
        why: Nobody sleeps in the cold.
        use: lamp.look
        with: { lamp: "${item}" }
        until: out.warm && !steps.before.warm && size(item) > 0
        for: 5s
        every: 1s
        timeout: 1h
  - id: last
    title: Look again
    use: lamp.look
    with: { lamp: "${inputs.fleet.id}" }
"#;
    let bench = Bench::with(&[("rooms", rooms)]).await;
    let person = bench.sign_in("ada").await;
    let run = run_of(&person.start("rooms", &person.planned("rooms").await).await);
    let mut topics = bench.engine.listen();
    let text = loop {
        let text = page(&person, run).await;
        if text.contains("<i>out.warm</i> no") {
            break text;
        }
        topics.recv().await.unwrap();
    };
    let warm = step(&text, "all[north].warm");
    let (why, wait) = warm.split_once("data-wait>").unwrap();
    assert!(why.contains("Nobody sleeps in the cold."), "words come first: {warm}");
    let (wait, rest) = wait.split_once("What else it saw").unwrap();
    for shown in [
        "<code>out.warm &#38;&#38; !steps.before.warm &#38;&#38; size(item) &#62; 0</code>",
        "for 5 s without a break; at most 1 h 00 m",
        "<i>steps.before.warm</i> no",
        "<i>item</i> north",
    ] {
        assert!(wait.contains(shown), "{shown}: {wait}");
    }
    assert!(!wait.contains("<i>on</i>") && rest.contains("<i>on</i> no"), "{warm}");
    assert!(warm.contains("data-open=\"1\" open"), "{warm}");
    // The line that programs get is as it was.
    let told = person.get(&format!("/api/v1/runs/{run}")).await.json();
    let line = &told["steps"][1]["steps"][0]["steps"][0]["waits_for"];
    assert!(
        line.as_str().unwrap().ends_with("size(item) > 0, for 5 s without a break; at most 1 h 00 m"),
        "{line}"
    );
}

#[tokio::test]
async fn a_step_that_is_done_is_folded_and_says_in_its_line_what_came_of_it() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let run = run_of(&person.start("switch-lamp", &person.planned("switch-lamp").await).await);
    let mut topics = bench.engine.listen();
    let text = loop {
        let text = page(&person, run).await;
        if step(&text, "warm").contains("data-wait") {
            break text;
        }
        topics.recv().await.unwrap();
    };
    for done in ["before", "is_off", "switch"] {
        let line = step(&text, done).split('>').next().unwrap();
        assert!(line.contains("data-status=\"done\"") && line.ends_with("data-open=\"0\""), "{line}");
    }
    assert!(
        step(&text, "switch").contains("class=\"dim gave\">on no → yes</small>"),
        "{}",
        step(&text, "switch")
    );
    bench.lamp().warm = true;
    bench.until(run, "succeeded").await;

    // One that somebody else has seen to.
    bench.lamp().broken = Some("The bulb is loose.");
    bench.lamp().on = false;
    let run = run_of(&person.start("switch-lamp", &person.planned("switch-lamp").await).await);
    bench.until(run, "paused").await;
    let id = Uuid::now_v7().to_string();
    let done = [("ask", "mark_done"), ("id", id.as_str()), ("step", "switch"), ("reason", "with my hand")];
    assert_eq!(person.form(&format!("/runs/{run}/ask"), &done).await.status, StatusCode::SEE_OTHER);
    bench.until(run, "succeeded").await;
    let text = page(&person, run).await;
    assert!(step(&text, "switch").contains("class=\"dim gave\">marked as done by ada</small>"), "{text}");
}
