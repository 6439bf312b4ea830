//! The simulated AWS says what happens, as SNS and EventBridge do, and it becomes signals on our API.

use std::time::Duration;

use serde_json::json;
use sim::{FaultKind, Sim, Subscriber};
use store::signals::SignalFilter;

use crate::kills::small_world;
use crate::served::Served;
use crate::signals::until;

const TOKEN: &str = "a token that is long enough";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alarms_and_events_of_the_simulated_aws_become_signals_whichever_way_they_come() {
    let mut world = small_world();
    world.faults.clear();
    let sim = Sim::start(world, sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (authority, token) = (folder.path().join("authority.pem"), folder.path().join("token"));
    std::fs::write(&authority, sim.authority()).unwrap();
    std::fs::write(&token, TOKEN).unwrap();
    let hooks = json!({ "hooks": {
        "sns": { "topics": [sim.topic()], "simulated": { "endpoint": sim.endpoint(), "authority": authority } },
        "eventbridge": { "token": { "file": token } },
    } });
    let served = Served::on_with(&sim, &hooks).await;
    let doctor = served.told(&["doctor"]);
    assert!(doctor.contains("webhooks: open for eventbridge, sns"), "{doctor}");
    sim.subscribe(Subscriber::Sns { endpoint: format!("{}/hooks/sns", served.url) });
    sim.subscribe(Subscriber::EventBridge {
        endpoint: format!("{}/hooks/eventbridge", served.url),
        header: ("x-firebreak-token".into(), TOKEN.into()),
    });
    until(&served.db, "subscribed", |s| s.kind == "subscription" && s.state == "resolved").await;
    // The signal is kept before the subscription is confirmed, and only then anything is heard.
    sim.confirmed().await;

    sim.strike(FaultKind::ClusterFailover { cluster: "shard-e".into(), duration_s: 360 });
    for source in ["sns", "eventbridge"] {
        let event = until(&served.db, "the failover", |s| {
            s.source == source && s.kind == "rds_event" && s.labels["event"] == "RDS-EVENT-0073"
        });
        assert_eq!(event.await.labels["cluster"], "shard-e");
        let alarm =
            until(&served.db, "the alarm", |s| s.source == source && s.kind == "shard-e-no-connections");
        assert_eq!(alarm.await.labels["cluster"], "shard-e");
    }
    sim.strike(FaultKind::NoCapacity { zone: None });
    // Whose host is gone needs another one, and does not get it.
    let host = sim.world_info().fleets[0].asg.clone();
    sim.edit(|world| world.set_desired_capacity(&host, 3, false)).unwrap();
    let failed = until(&served.db, "the launch that failed", |s| {
        s.source == "sns" && s.kind == "autoscaling_event" && s.labels["status"] == "Failed"
    });
    assert_eq!(failed.await.labels["group"], host.as_str());
    // Nobody says that an event is over; the clock does.
    let over = until(&served.db, "over", |s| s.kind == "rds_event" && s.state == "resolved");
    assert!(over.await.resolved_at.is_some());

    let page = served.person().await.get("/api/v1/signals").await;
    assert!(page["signals"].as_array().unwrap().iter().any(|signal| signal["source"] == "sns"));
    let all = store::signals::list(served.db.pool(), SignalFilter::default(), 100).await.unwrap();
    assert!(all.iter().all(|s| s.kind != "not_understood"), "{all:#?}");
    drop(tokio::time::timeout(Duration::from_secs(5), sim.stop()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_that_rang_before_anybody_listened_is_read_and_one_that_nobody_ended_ends() {
    let mut world = small_world();
    world.faults.clear();
    let sim = Sim::start(world, sim::Options { speed: 10.0, ..sim::Options::default() }).await.unwrap();
    let cluster = || "shard-b".to_owned();
    sim.strike(FaultKind::WrongCredentials { cluster: cluster() });
    sim.step(Duration::from_secs(5 * 60)).await.unwrap();
    let region = sim.world_info().region.clone();
    let config = json!({ "alarms": { "every_s": 1, "of": [{ "region": region, "prefix": "shard-b" }] } });
    let served = Served::on_with(&sim, &config).await;
    let name = "shard-b-login-failures";
    let told = until(&served.db, "the alarm", |s| s.source == "sns" && s.kind == name).await;
    let seen = (told.state.as_str(), told.labels["cluster"].as_str(), told.count);
    assert_eq!(seen, ("firing", Some("shard-b"), 1));
    assert_eq!(told.labels["metric"], "LoginFailures");
    // Nobody is subscribed to anything: that it is over is read, too.
    sim.strike(FaultKind::CredentialsRestored { cluster: cluster() });
    sim.step(Duration::from_secs(5 * 60)).await.unwrap();
    let over = until(&served.db, "its end", |s| s.kind == name && s.state == "resolved").await;
    assert_eq!(over.id, told.id);

    // One that is deleted while it rings: nobody tells of that.
    sim.strike(FaultKind::WrongCredentials { cluster: cluster() });
    sim.step(Duration::from_secs(5 * 60)).await.unwrap();
    let again = until(&served.db, "the alarm again", |s| s.kind == name && s.state == "firing").await;
    assert!(sim.edit(|world| world.delete_alarm(name)));
    let over = until(&served.db, "its end", |s| s.id == again.id && s.state == "resolved").await;
    assert_eq!(over.labels["cluster"], "shard-b", "what it was about stays said");
}
