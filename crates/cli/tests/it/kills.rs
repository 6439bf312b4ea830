//! kill -9 before and after every single change of every runbook: the run goes on and ends well, each change made once.

use serde_json::json;
use sim::{FaultKind, Phase, TimedFault, World};
use uuid::Uuid;

use crate::faults::on_each_stage;
use crate::served::{PATIENCE, Served};

/// The incident, with two hosts and three clusters, and the hosts sick from the start.
pub(crate) fn small_world() -> World {
    let mut world = World::incident_2024_05_07();
    world.clusters.retain(|c| ["shard-a", "shard-b", "shard-e"].contains(&c.id.as_str()));
    let fleet = &mut world.fleets[0];
    (fleet.min, fleet.desired, fleet.max) = (2, 2, 3);
    world.faults = vec![TimedFault {
        at_s: 0,
        fault: FaultKind::SickHosts {
            fleet: fleet.asg.clone(),
            cluster: "shard-b".into(),
            from: 0.3,
            to: 0.5,
            ramp_s: 60,
            hosts: None,
            new_hosts_too: false,
        },
    }];
    world
}

#[test]
fn killed_before_and_after_each_change_the_run_goes_on_and_makes_each_change_once() {
    on_each_stage(|stage| async move {
        let clean = stage.clean().await;
        let sim = stage.sim().await;
        let mut served = Served::on(&sim).await;
        // Each trap is set while no server runs, or before the run begins: nothing can slip past it.
        let mut before = sim.hold(&clean[0].operation, Phase::BeforeEffect);
        let run = stage.begin(&sim, &served, &served.person().await).await;
        for (n, change) in clean.iter().enumerate() {
            let change = &change.operation;
            reached(&served, run, &mut before, change, "before").await;
            served.kill();
            // Its intent is in the journal, and no answer will ever tell that it never arrived.
            before.lose();
            let mut after = sim.hold(change, Phase::AfterEffect);
            served.start();
            reached(&served, run, &mut after, change, "after").await;
            served.kill();
            // It took effect, and its answer is lost.
            before = sim.hold(clean.get(n + 1).map_or("none", |c| &c.operation), Phase::BeforeEffect);
            after.lose();
            served.start();
        }
        stage.each_once(&sim, &served, run, &clean).await;

        // After all the restarts the page still tells all of it: who asked, and every step.
        let page = served.person().await.get(&format!("/api/v1/runs/{run}")).await;
        assert_eq!(
            (&page["run"]["state"], &page["run"]["requested_by"]),
            (&json!("succeeded"), &json!("on-call"))
        );
        let steps = page["steps"].as_array().unwrap();
        assert!(
            steps.len() > clean.len()
                && steps.iter().all(|s| ["done", "skipped"].contains(&s["status"].as_str().unwrap())),
            "{steps:#?}"
        );
        let journal = store::runs::journal(served.db.pool(), run).await.unwrap();
        let taken_over =
            journal.iter().filter(|r| matches!(r.entry, domain::run::Entry::TakenOver { .. })).count();
        // Each kill costs one take-over; a machine that stalls past the short lease of this test may add some.
        assert!(taken_over >= 2 * clean.len(), "{}: {taken_over}", stage.runbook);
    });
}

/// Waits until the trap has caught its call; else says how the run stands instead. Where a call was lost that is not made again by
/// itself, and the run asks what became of it, a person says that it did not happen.
pub(crate) async fn reached(served: &Served, run: Uuid, hold: &mut sim::Hold, change: &str, when: &str) {
    let asked = async {
        loop {
            let journal = store::runs::journal(served.db.pool(), run).await.unwrap();
            let state = domain::run::State::replay(&journal).unwrap();
            let unknown = state.nodes().find(|(_, node)| node.status == domain::run::Status::OutcomeUnknown);
            if let Some((step, node)) = unknown
                && state.paused().is_some()
                && !node.abandoned
            {
                let ask = json!({ "ask": "did_not_happen", "step": step.as_str(), "reason": "nothing in CloudTrail" });
                let carer = served.second("carer", "approver").await;
                carer.post(&format!("/api/v1/runs/{run}/ask"), &ask).await;
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let reached = async {
        tokio::select! {
            reached = hold.reached() => return reached,
            () = asked => {}
        }
        hold.reached().await
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    if !matches!(reached, Ok(Some(_))) {
        let journal = store::runs::journal(served.db.pool(), run).await.unwrap();
        let state = domain::run::State::replay(&journal).unwrap();
        let tail: Vec<String> =
            journal.iter().rev().take(8).rev().map(|r| format!("{:?}", r.entry)).collect();
        panic!("{change} ({when}) was never reached; the run is `{}`:\n{}", state.word(), tail.join("\n"));
    }
}
