//! Runbooks that change while the engine works.

use std::collections::BTreeMap;

use domain::policy::{Policies, Policy};
use domain::run::Outcome;
use domain::runbook::Mode;
use engine::{Engine, Reloaded, TriageSettings};
use store::search::Search;

use crate::judging::{code, signal, until};
use crate::world::{Bench, Trouble, output, request};

const STEPS: &str = "steps:\n  - { id: set, use: world.set, with: { name: a, value: 5 } }\n";

fn file(name: &str, title: &str, steps: &str) -> (String, String) {
    let text =
        format!("runbook: {name}\ntitle: {title}\nwhen: In tests\nrisk: low\nlocks: [\"thing\"]\n{steps}");
    (format!("{name}.yaml"), text)
}

async fn reload(engine: &Engine, files: &[(String, String)]) -> BTreeMap<String, Reloaded> {
    engine.reload(files.to_vec()).await.unwrap()
}

async fn audited(bench: &Bench) -> Vec<(String, String)> {
    let reloads = Search { actor: Some("reload".into()), ..Search::default() };
    let found = store::search::search(bench.pool(), &reloads, 100).await.unwrap();
    found.into_iter().map(|row| (row.action, row.target)).collect()
}

#[tokio::test]
async fn what_is_good_replaces_and_what_is_not_leaves_the_last_good_version_in_force() {
    let bench = Bench::new(STEPS).await;
    let engine = bench.engine(std::time::Duration::from_secs(10)).await;
    let parent = file("parent", "Parent", "steps:\n  - { id: inner, run: test }\n");
    let good = file("test", "Better", STEPS);
    let changes = reload(&engine, &[good.clone(), parent.clone()]).await;
    assert!(matches!(changes["test"], Reloaded::Changed(Some(_), _)), "{changes:?}");
    assert!(matches!(changes["parent"], Reloaded::Added(_)), "{changes:?}");
    assert_eq!(engine.library().runbook("test").unwrap().title, "Better");

    // What is broken is kept beside it; who runs it goes on with the good one; and it is told once.
    let bad = file("test", "Worse", "steps:\n  - { id: set, use: world.sit }\n");
    let changes = reload(&engine, &[bad.clone(), parent.clone()]).await;
    assert_eq!(changes, BTreeMap::from([("test".into(), Reloaded::Refused(1))]));
    let shelf = engine.library().get("test").unwrap();
    assert_eq!(shelf.runbook.as_ref().unwrap().title, "Better");
    assert!(shelf.refused.as_ref().unwrap().mistakes[0].what.contains("world.sit"), "{:?}", shelf.refused);
    assert!(engine.library().runbook("parent").is_some());
    assert!(reload(&engine, &[bad, parent.clone()]).await.is_empty());
    let started = engine.start(request("after the refusal")).await.unwrap();
    assert_eq!(bench.ended(started.run_id).await.outcome().unwrap().0, Outcome::Succeeded);

    let new_and_broken = file("other", "Other", "steps: []\n");
    let changes = reload(&engine, &[good, new_and_broken]).await;
    let wanted = [("other", Reloaded::Refused(1)), ("parent", Reloaded::Removed), ("test", Reloaded::Back)];
    assert_eq!(changes, wanted.map(|(name, change)| (name.to_owned(), change)).into());
    assert!(
        engine.library().get("other").unwrap().runbook.is_err() && engine.library().get("parent").is_none()
    );

    let mut told = audited(&bench).await;
    told.sort();
    let wanted = [
        ("runbook added", "parent"),
        ("runbook as before", "test"),
        ("runbook changed", "test"),
        ("runbook refused", "other"),
        ("runbook refused", "test"),
        ("runbook removed", "parent"),
    ];
    assert_eq!(told, wanted.map(|(action, name)| (action.to_owned(), name.to_owned())));
}

#[tokio::test]
async fn a_good_change_that_makes_another_runbook_wrong_is_told_of_that_one() {
    let bench = Bench::new(STEPS).await;
    let engine = bench.engine(std::time::Duration::from_secs(10)).await;
    let parent = file("parent", "Parent", "steps:\n  - { id: inner, run: test }\n");
    reload(&engine, &[file("test", "Test", STEPS), parent.clone()]).await;
    let asks =
        file("test", "Test", &format!("inputs:\n  n: {{ type: integer, description: A number }}\n{STEPS}"));
    let changes = reload(&engine, &[asks.clone(), parent.clone()]).await;
    assert!(matches!(changes["test"], Reloaded::Changed(Some(_), _)), "{changes:?}");
    assert_eq!(changes["parent"], Reloaded::Refused(1));
    assert!(engine.library().get("parent").unwrap().runbook.is_err(), "it has no version that fits");
    let fits = file("parent", "Parent", "steps:\n  - { id: inner, run: test, with: { n: 1 } }\n");
    let changes = reload(&engine, &[asks, fits]).await;
    assert!(changes.len() == 1 && matches!(changes["parent"], Reloaded::Changed(None, _)), "{changes:?}");
}

#[tokio::test]
async fn a_run_under_way_keeps_its_text() {
    let steps = "steps:\n  - { id: wait, use: world.look, with: { name: a }, until: out.value == 1, timeout: 1d }\n  - { id: set, use: world.set, with: { name: b, value: 2 } }\n";
    let bench = Bench::new(steps).await;
    let (engine, run) = bench.start().await;
    bench.until(run, "waiting", |s| s.node(&"wait".into()).is_some()).await;
    bench.world.trouble(Trouble::LosesAnswer);
    reload(&engine, &[file("test", "Other steps", STEPS)]).await;
    bench.world.put("a", 1);
    let state = bench.ended(run).await;
    assert_eq!(output(&state, "set")["value"], 2, "by the text that it began with");
    assert_eq!(bench.world.made(), [("b".to_owned(), 2)]);
}

#[tokio::test]
async fn a_rule_that_comes_later_takes_what_fires_already() {
    let bench = Bench::new(STEPS).await;
    let engine = bench.engine(std::time::Duration::from_secs(10)).await;
    engine.receive(&signal("lamps", "disk"), None, None).await.unwrap();
    until(&bench, &engine, "judged", |signals| code(signals, "no_rule")).await;
    let rule = "triggers: [{ name: bad, where: signal.kind == \"bad\", mode: ask }]";
    reload(&engine, &[file("test", "Test", &format!("{rule}\n{STEPS}"))]).await;
    until(&bench, &engine, "taken by the new rule", |signals| code(signals, "ask")).await;
    engine.shut_down().await;
}

#[tokio::test]
async fn a_name_in_the_configuration_that_a_reload_takes_away_is_told_with_what_was_meant() {
    let modes = ["test/bad", "broken/any", "tset/bad"].map(|rule| (rule.to_owned(), Mode::Ask));
    let bench =
        Bench::new(STEPS).await.judging(TriageSettings { modes: modes.into(), ..TriageSettings::default() });
    let engine = bench.engine(std::time::Duration::from_secs(10)).await;
    let with = |trigger: &str| {
        let rule = format!("triggers: [{{ name: {trigger}, where: signal.kind == \"bad\" }}]");
        [file("test", "Test", &format!("{rule}\n{STEPS}")), file("broken", "Broken", "steps: []\n")]
    };
    let told = || -> Vec<_> { engine.dangling().into_iter().map(|d| (d.name, d.why)).collect() };
    reload(&engine, &with("bad")).await;
    let [broken, misspelt] = told().try_into().unwrap();
    assert!(broken.0 == "broken/any" && broken.1.contains("has mistakes"), "{broken:?}");
    assert!(misspelt.0 == "tset/bad" && misspelt.1.contains("did you mean `test/bad`?"), "{misspelt:?}");
    reload(&engine, &with("bed")).await;
    let [_, renamed, _] = told().try_into().unwrap();
    assert!(renamed.0 == "test/bad" && renamed.1.contains("did you mean `test/bed`?"), "{renamed:?}");

    let policies =
        Policies([("test".to_owned(), Policy::default()), ("tset".to_owned(), Policy::default())].into());
    let [policy] = engine.library().dangling(&BTreeMap::new(), &policies).try_into().unwrap();
    assert_eq!(
        policy.to_string(),
        "policies: `tset`: there is no such runbook, so that nothing is narrowed; did you mean `test`?"
    );
}
