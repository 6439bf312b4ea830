//! The policy that `firebreak runbook permissions` prints is the least with which a runbook works.
//!
//! That it is enough, every drill shows: its engine may do what the policy of its runbook allows. That nothing of it can be
//! left out, this shows: a run begins with no permission at all, is refused, is granted what the refusal names, goes on, and
//! so on to its end. What it was granted by then is the policy: each action of it was missed once, by a step that says so.

use std::collections::BTreeSet;

use domain::action::ActionError;
use domain::run::{State, Status};
use serde_json::{Value, json};
use sim::EVERYBODY;

use crate::faults::{Stage, all_stages, on_each_of, refused};
use crate::served::{Served, ended};

/// The policy, of which only these actions are left; statements without one are left out.
fn with_only(policy: &Value, actions: &BTreeSet<String>) -> Value {
    let mut left = policy.clone();
    left["Statement"].as_array_mut().unwrap().retain_mut(|statement| {
        let all = statement["Action"].as_array_mut().unwrap();
        all.retain(|action| actions.contains(action.as_str().unwrap()));
        !all.is_empty()
    });
    left
}

fn actions(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let all = statements.flat_map(|s| s["Action"].as_array().unwrap());
    all.map(|action| action.as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_any_one_of_its_permissions_a_run_is_refused_and_names_it() {
    on_each_of(all_stages(), |stage| async move { every_permission_is_missed(&stage).await });
}

/// The permission that an error says is missing.
fn missing(error: &ActionError) -> Option<String> {
    let remedy = error.remedy.as_deref()?;
    let missing = remedy.split('`').nth(1)?.to_owned();
    let sentence = format!("is not authorized to perform: {missing}");
    (error.message.contains(&sentence) && remedy.contains("runbook permissions")).then_some(missing)
}

async fn every_permission_is_missed(stage: &Stage) {
    let (mut granted, mut policy) = (BTreeSet::new(), Value::Null);
    // What a run can do without is missed without asking anybody, and what comes after it in the same look only by the next run.
    while missed_by_a_run(stage, &mut granted, &mut policy).await {}
    assert_eq!(granted, actions(&policy), "{}", stage.runbook);
}

/// One run, which begins with what was granted; whether it missed something that it went on without.
async fn missed_by_a_run(stage: &Stage, granted: &mut BTreeSet<String>, policy: &mut Value) -> bool {
    let sim = stage.sim().await;
    let served = Served::on(&sim).await;
    let person = served.person().await;
    *policy = serde_json::from_str(&served.command(&["runbook", "permissions", &stage.runbook])).unwrap();
    sim.allow_only(EVERYBODY, &with_only(policy, granted)).unwrap();
    let run = stage.begin(&sim, &served, &person).await;

    while let Some((step, error)) = refused(&served, run).await {
        let missing = missing(&error).unwrap_or_else(|| panic!("{step}: {error:?}"));
        assert!(granted.insert(missing), "{} at {step}: {error:?}", stage.runbook);
        sim.allow_only(EVERYBODY, &with_only(policy, granted)).unwrap();
        person.post(&format!("/api/v1/runs/{run}/ask"), &json!({ "ask": "retry", "step": step })).await;
    }
    let row = ended(&served.db, run).await;
    assert_eq!(row.state, "succeeded", "{}: {:?}", stage.runbook, row.message);
    // What the run can do without was refused as well, and nobody was asked.
    let state = State::replay(&store::runs::journal(served.db.pool(), run).await.unwrap()).unwrap();
    let errors =
        state.nodes().filter_map(|(_, node)| node.error.as_ref().filter(|_| node.status == Status::Failed));
    let before = granted.len();
    granted.extend(errors.filter_map(missing));
    granted.len() > before
}
