//! Telling customers, against the stand-in for Atlassian's API.

use actions::{Settings, Statuspage};
use domain::action::{Effect, ErrorClass};
use domain::inventory::Inventory;
use serde_json::{Value, json};
use sim::{Options, Phase, STATUSPAGE_PAGE, STATUSPAGE_TOKEN, Sim, World};

use crate::harness::{Bench, Done, secret};

const POST: &str = "statuspage.post_incident";
const UPDATE: &str = "statuspage.update";

async fn sim() -> Sim {
    Sim::start(World::incident_2024_05_07(), Options { speed: 0.0, ..Options::default() }).await.unwrap()
}

async fn bench(sim: &Sim, token: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let page = Statuspage {
        page: STATUSPAGE_PAGE.into(),
        token: secret(&folder, "token", token),
        url: Some(sim.endpoint().into()),
    };
    Bench::new(Inventory::default(), Settings { statuspage: Some(page), ..Settings::default() }, folder).await
}

fn incident() -> Value {
    json!({ "title": "Logins fail", "body": "We look into it.", "impact": "major" })
}

#[tokio::test]
async fn an_incident_is_posted_once_for_a_step_and_updated_once_for_another() {
    let sim = sim().await;
    let mut bench = bench(&sim, STATUSPAGE_TOKEN).await;
    let posted = bench.change(POST, incident()).await.unwrap();
    let Done::Applied { changes, undo, .. } = &posted else { panic!("{posted:?}") };
    assert!(changes[0].object == "Statuspage" && undo.is_none(), "{posted:?}");
    let id = posted.output()["incident"].as_str().unwrap().to_owned();
    assert!(posted.output()["link"].as_str().unwrap().starts_with("https://stspg.io/"));
    // The same step again: it is found.
    let again = bench.change(POST, incident()).await.unwrap();
    assert!(matches!(&again, Done::AlreadySo(output) if output["incident"] == id.as_str()), "{again:?}");

    bench.ctx.token = "run/tell".into();
    let update = json!({ "incident": id, "status": "monitoring", "body": "It is mended." });
    let told = bench.change(UPDATE, update.clone()).await.unwrap();
    assert_eq!(told.output()["status"], "monitoring");
    assert!(matches!(bench.change(UPDATE, update).await.unwrap(), Done::AlreadySo(_)));
    // And the token of the first step is still there.
    bench.ctx.token = "run/step".into();
    assert!(matches!(bench.change(POST, incident()).await.unwrap(), Done::AlreadySo(_)));
    let made: Vec<String> = sim.ledger().into_iter().map(|e| e.operation).collect();
    assert_eq!(made, ["CreateIncident", "UpdateIncident"]);

    // Another step, such as that of another run, posts another one.
    bench.ctx.token = "other/step".into();
    assert!(matches!(bench.change(POST, incident()).await.unwrap(), Done::Applied { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_unknown_and_found_by_looking() {
    let sim = sim().await;
    let mut bench = bench(&sim, STATUSPAGE_TOKEN).await;
    bench.ctx.deadline = std::time::Duration::from_millis(500);
    let mut hold = sim.hold("CreateIncident", Phase::AfterEffect);
    let (answer, ()) = tokio::join!(bench.change(POST, incident()), async {
        hold.reached().await.unwrap();
        hold.lose();
    });
    assert_eq!(answer.unwrap_err().class, ErrorClass::Unknown);
    let action = bench.registry.get(POST).unwrap();
    let now = action.observe(&bench.ctx, &incident()).await.unwrap();
    let found = action.happened(&incident(), &json!({ "posted": null }), &now).unwrap();
    assert!(found.is_some() && action.spec().effect == Effect::Probe);
}

#[tokio::test]
async fn a_wrong_token_an_unknown_incident_and_no_page_are_refused() {
    let sim = sim().await;
    let error = bench(&sim, "wrong").await.change(POST, incident()).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "http_401"));
    assert!(error.message.contains("Could not authenticate") && !error.message.contains("wrong"), "{error}");
    let update = json!({ "incident": "../..", "status": "resolved", "body": "Over." });
    let error = bench(&sim, STATUSPAGE_TOKEN).await.change(UPDATE, update).await.unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "http_404"));
    let none = Bench::new(Inventory::default(), Settings::default(), tempfile::tempdir().unwrap()).await;
    let error = none.change(POST, incident()).await.unwrap_err();
    assert!(error.code == "not_configured" && error.remedy.unwrap().contains("statuspage:"));
    assert!(sim.ledger().is_empty());
}
