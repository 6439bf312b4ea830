//! A group that is larger after a replacement than before it: the run recovers all the same, and says so.

use std::time::Duration;

use serde_json::json;
use sim::{Phase, Sim};

use crate::kills::{reached, small_world};
use crate::served::{Served, ended};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_host_that_auto_scaling_has_replaced_by_itself_is_told_at_the_end() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let old = sim.edit(|world| world.host_ids());
    let served = Served::on(&sim).await;
    let mut paused = sim.hold("PROXYSQL PAUSE", Phase::AfterEffect);
    let person = served.person().await;
    let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b", "at_once": "50%" });
    let run = person.start("replace-proxysql", inputs, None).await;
    reached(&served, run, &mut paused, "PROXYSQL PAUSE", "after").await;
    // While the first one drains the last one dies, and the group puts another one in its place.
    sim.edit(|world| world.terminate_instance(old.last().unwrap())).unwrap();
    sim.clock().sleep(Duration::from_secs(180)).await;
    paused.release();

    let row = ended(&served.db, run).await;
    let said = row.message.unwrap_or_default();
    assert_eq!(row.state, "succeeded", "{said}");
    assert!(said.contains("larger than before (3 hosts are desired, and were 2)"), "{said}");
    let now = sim.edit(|world| world.host_ids());
    let stranger = now.iter().filter(|id| !old.contains(id)).find(|id| said.contains(id.as_str()));
    assert!(stranger.is_some(), "it names the host that nobody has proven: {said}, of {now:?}");
}
