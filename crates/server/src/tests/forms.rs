//! Steps that hold others, forecasts, and the plan beside the run, on pages and as JSON.

use serde_json::json;

use super::bench::{Bench, run_of};

const EVENING: &str = r#"runbook: evening
title: Light the evening
when: It is dark.
risk: low
inputs:
  fleet: { type: proxy_fleet, description: Whose lamp }
steps:
  - id: both
    title: Light and wait
    together:
      light:
        - id: lamp
          title: The lamp
          run: switch-lamp
          with: { fleet: "${inputs.fleet}" }
      dusk:
        - id: dusk
          title: Let it get dark
          wait: 2m
"#;

#[tokio::test]
async fn branches_children_and_waits_are_shown_with_their_forecast_and_beside_their_plan() {
    let bench = Bench::with(&[("evening", EVENING)]).await;
    let person = bench.sign_in("ada").await;
    bench.lamp().warm = true;
    let outline = person.get("/runbooks/evening").await.text;
    for shown in ["2 branches at the same time", "run switch-lamp", "wait 2 m 00 s", "Medium risk"] {
        assert!(outline.contains(shown), "{shown}: {outline}");
    }
    let plan = person.form("/runbooks/evening/plan", &[("input.fleet", "lamps-eu")]).await.text;
    for shown in [
        "It has not succeeded yet; the runbook expects <b class=\"num\">2 m 00 s</b>",
        "runs <a href=\"/runbooks/switch-lamp\">switch-lamp</a>",
        "lets 2 m 00 s pass",
        "<code>both[light].lamp.switch</code>",
        "<code>fleet:lamps-eu</code> is free",
    ] {
        assert!(plan.contains(shown), "{shown}: {plan}");
    }

    let fields = person.planned("evening").await;
    let run = run_of(&person.start("evening", &fields).await);
    bench.until(run, "succeeded").await;
    let told = person.get(&format!("/api/v1/runs/{run}")).await.json();
    let both = &told["steps"][0];
    assert_eq!((&both["kind"], &both["steps"][0]["steps"][0]["kind"]), (&json!("together"), &json!("run")));
    let child = &both["steps"][0]["steps"][0]["steps"];
    assert_eq!((&child[2]["path"], &child[2]["status"]), (&json!("both[light].lamp.switch"), &json!("done")));
    assert_eq!(told["comparison"], json!({ "as_planned": 1, "differences": [] }));
    let page = person.get(&format!("/runs/{run}")).await.text;
    assert!(page.contains("data-step=\"both[dusk].dusk\" data-status=\"done\""), "{page}");
    let page = person.get(&format!("/runs/{run}?tab=plan")).await.text;
    assert!(
        page.contains(
            "One of the planned changes was made exactly so. Nothing differs that the plan did not say."
        ),
        "{page}"
    );

    // The next plan tells how long it took.
    bench.lamp().on = false;
    let plan = person.post("/api/v1/runbooks/evening/plan", "", &json!({ "fleet": "lamps-eu" })).await.json();
    assert_eq!(plan["forecast"]["total"]["of"], 1);
    assert!(plan["forecast"]["steps"]["both[].dusk"]["p50_s"].as_u64().unwrap() >= 120, "{plan}");
    let page = person.form("/runbooks/evening/plan", &[("input.fleet", "lamps-eu")]).await.text;
    let once = page.split("id=\"forecast\">").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(once.starts_with("It took <b") && once.ends_with("the one time that it succeeded."), "{once}");
    assert!(page.contains("id=\"step-forecast\"") && page.contains(" the one time before"), "{page}");
    let dusk = page.split("<code>both[].dusk</code>").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(dusk.contains(">–</td>"), "of one time no share is told: {dusk}");
}
