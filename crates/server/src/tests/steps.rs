//! The steps of a run on its page: what went wrong said once.

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
    assert!(asked.contains("The bulb is loose.") && asked.contains("mend it"), "{asked}");
    let switch = step(&text, "switch");
    assert!(
        switch.contains("data-open=\"1\" open") && switch.contains("href=\"#decide-switch\""),
        "{switch}"
    );
    assert!(switch.contains("data-failed>Attempt 1, ") && switch.contains("/docs/errors/"), "{switch}");
    assert_eq!(text.matches("The bulb is loose.").count(), 2, "{text}");
    assert_eq!(text.matches("mend it").count(), 1, "{text}");

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
    assert!(switch.contains("href=\"#message\"") && switch.contains("mend it"), "{switch}");
    assert_eq!(text.matches("The bulb is loose.").count(), 2, "the attempt has it, too: {text}");
}
