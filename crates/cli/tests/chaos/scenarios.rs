//! Schedules made by hand: what seeds found, in its shortest form.

use std::sync::Arc;

use crate::play;
use crate::postgres::Cluster;
use crate::schedule::{Fault, SERVERS, Schedule, WireTrouble};
use crate::wire::Write;

async fn play(name: &str, faults: &[(u64, Fault)]) {
    let folder = crate::folder();
    let cluster = Cluster::take(&folder).await.unwrap_or_else(|e| panic!("no Postgres: {e:#}"));
    let verdict = play::play(name, Schedule::by_hand(faults), Arc::new(cluster), &folder).await;
    let verdict = verdict.unwrap_or_else(|e| panic!("{name} could not be played: {e:#}"));
    assert!(verdict.wrong.is_empty(), "\n{}\n", play::told(name, &verdict));
}

/// The run is there and its owner lives, and does not know that it has one.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_was_lost_is_driven() {
    play("lost-start", &[(0, Fault::Wire { write: Write::Create, trouble: WireTrouble::LoseReply })]).await;
}

/// The same for a take-over: whoever took it over lives, and does not know it.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_whose_answer_was_lost_is_driven() {
    let lost = Fault::Wire { write: Write::Claim, trouble: WireTrouble::LoseReply };
    // Whoever drives the run: the process that it was started through.
    play("lost-take-over", &[(4, lost), (4, Fault::Kill { server: 0 })]).await;
}

/// What a dying process leaves behind is not taken over by one that is about to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drains_takes_nothing_over() {
    let drains = (1..SERVERS).map(|server| (4, Fault::Drain { server }));
    let faults: Vec<_> = drains.chain([(4, Fault::Kill { server: 0 })]).collect();
    play("drain", &faults).await;
}
