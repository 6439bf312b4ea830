//! The incident as people lived it, and every change a caller can make.

use std::time::Duration;

use super::*;
use crate::sim::Options;
use crate::{counterfactual, counterfactual_with};

const ASG: &str = "proxysql-us";
const SHARD_B: &str = "shard-b";

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// The error share of a cluster around a minute of the incident.
fn share(samples: &[Sample], cluster: &str, minute: i64) -> f64 {
    let at = World::incident_2024_05_07().start + TimeDelta::minutes(minute);
    samples.iter().find(|s| s.cluster == cluster && s.at == at).expect("a sample").error_share()
}

fn calm() -> World {
    World { faults: vec![], ..World::incident_2024_05_07() }
}

fn physics(world: &World) -> Physics {
    Physics::new(world, 1, 1).expect("a sound world")
}

/// Lets a number of simulated seconds pass.
fn pass(world: &mut Physics, seconds: i64) {
    let to = world.now() + TimeDelta::seconds(seconds);
    world.advance(to);
}

fn ids(world: &Physics) -> Vec<String> {
    world.members(0).map(|h| world.hosts[h].instance_id.clone()).collect()
}

fn states(world: &Physics) -> Vec<&'static str> {
    let present = |h: &&Host| h.lifecycle != host::Lifecycle::Gone;
    world.hosts.iter().filter(present).map(|h| h.lifecycle.name()).collect()
}

fn sound(share: f64) -> bool {
    share < 1e-6
}

#[test]
fn left_alone_the_incident_rises_to_just_over_half_and_stays() {
    let seen =
        counterfactual(&World::incident_2024_05_07(), &Options::default(), minutes(180)).expect("world");
    assert!(sound(share(&seen, SHARD_B, 11)), "calm before the trigger");
    let early = share(&seen, SHARD_B, 14);
    assert!((0.02..0.10).contains(&early), "a small fraction at first: {early}");
    let mut last = 0.0;
    for minute in (12..180).step_by(4) {
        let now = share(&seen, SHARD_B, minute);
        assert!(now >= last - 0.005, "it never gets better by itself: {last} then {now} at {minute}");
        last = now;
    }
    assert!((0.50..0.56).contains(&last), "just over half in the end: {last}");
    for healthy in ["shard-a", "shard-c", "accounts"] {
        assert!(sound(share(&seen, healthy, 90)), "{healthy} is not concerned");
    }
}

#[test]
fn shard_e_fails_over_for_six_minutes() {
    let mut world = physics(&World::incident_2024_05_07());
    pass(&mut world, 14 * 60);
    let e = world.clusters.iter().position(|c| c.id == "shard-e").expect("shard-e");
    assert_eq!((world.clusters[e].status(), world.clusters[e].writer), ("failing-over", 0));
    assert_eq!(world.last_sample("shard-e").expect("sample").error_share(), 1.0);
    pass(&mut world, 4 * 60);
    assert_eq!((world.clusters[e].status(), world.clusters[e].writer), ("available", 1));
    pass(&mut world, 5);
    assert!(sound(world.last_sample("shard-e").expect("sample").error_share()));
    let messages: Vec<&str> = world.events.iter().map(|e| e.message.as_str()).collect();
    assert_eq!(messages.first(), Some(&"Started cross AZ failover to DB instance: shard-e-2"));
    assert_eq!(messages.last(), Some(&"Completed failover to DB instance: shard-e-2"));
}

#[test]
fn adding_hosts_alone_does_not_heal() {
    let world = World::incident_2024_05_07();
    let add = |at: Duration, w: &mut Physics| {
        if at == minutes(50) {
            w.update_group(ASG, Bounds { max: Some(12), desired: Some(12), ..Bounds::default() })
                .expect("surge");
        }
    };
    let seen = counterfactual_with(&world, &Options::default(), minutes(100), add).expect("world");
    let (before, after) = (share(&seen, SHARD_B, 50), share(&seen, SHARD_B, 70));
    assert!(after > 0.9 * before, "twenty minutes with twice the hosts: {before} -> {after}");
    assert!(share(&seen, SHARD_B, 100) > 0.4);
}

#[test]
fn adding_and_removing_heals_within_minutes_and_hurts_nobody() {
    let world = World::incident_2024_05_07();
    let mut old = Vec::new();
    let replace = |at: Duration, w: &mut Physics| {
        if at == minutes(20) {
            old = ids(w);
            w.update_group(ASG, Bounds { max: Some(12), desired: Some(12), ..Bounds::default() })
                .expect("surge");
        }
        if at == minutes(26) {
            for id in &old {
                w.terminate_in_group(id, true).expect("terminate");
            }
        }
    };
    let seen = counterfactual_with(&world, &Options::default(), minutes(45), replace).expect("world");
    assert!(share(&seen, SHARD_B, 25) > 0.05, "nothing is better before the removal");
    assert!(sound(share(&seen, SHARD_B, 35)), "zero errors once the last sick host is gone");
    let worst = seen.iter().filter(|s| s.cluster == "shard-a").map(Sample::error_share).fold(0.0, f64::max);
    assert!(worst < 0.02, "the others see at most a blip: {worst}");
}

#[test]
fn a_seed_always_gives_the_same_world_and_ticks_do_not_depend_on_the_steps() {
    let world = World::incident_2024_05_07();
    let surge = |at: Duration, w: &mut Physics| {
        if at == minutes(20) {
            w.set_desired_capacity(ASG, 8, false).expect("surge");
        }
    };
    let a = counterfactual_with(&world, &Options::default(), minutes(40), surge).expect("world");
    let mut b = physics(&world);
    b.advance(world.start + TimeDelta::minutes(20));
    b.set_desired_capacity(ASG, 8, false).expect("surge");
    b.advance(world.start + TimeDelta::minutes(40));
    assert_eq!(a, b.samples());
}

#[test]
fn a_new_host_is_in_service_long_before_it_takes_clients() {
    let mut world = physics(&calm());
    let effect = world.set_desired_capacity(ASG, 7, false).expect("accepted");
    assert_eq!(effect.as_deref(), Some("proxysql-us: desired capacity 6 -> 7"));
    assert_eq!(world.set_desired_capacity(ASG, 7, false), Ok(None), "the same again changes nothing");
    pass(&mut world, 2);
    assert_eq!(states(&world).last(), Some(&"Pending"));
    pass(&mut world, 40);
    let new = world.hosts.last().expect("a host").clone();
    assert_eq!(new.lifecycle.name(), "InService");
    assert!(!new.alive(world.now()), "still booting");
    assert_eq!(new.target.map(|t| t.state), Some(TargetState::Initial));
    pass(&mut world, 300);
    let new = world.hosts.last().expect("a host");
    assert_eq!(new.target.map(|t| t.state), Some(TargetState::Healthy));
    assert!(new.clients > 0.0 && new.clients < 100.0, "a few clients by churn: {}", new.clients);
    assert_eq!(world.groups[0].activities[0].status, "Successful");
}

#[test]
fn desired_capacity_stays_within_the_bounds() {
    let mut world = physics(&calm());
    for (to, words) in [(9, "is above max value 8"), (5, "is below min value 6")] {
        let refusal = world.set_desired_capacity(ASG, to, false).expect_err("out of bounds");
        assert_eq!((refusal.code, refusal.status), ("ValidationError", 400));
        assert!(refusal.message.contains(words), "{refusal}");
    }
    assert!(world.set_desired_capacity("nope", 6, false).is_err());
    let twisted = Bounds { min: Some(9), ..Bounds::default() };
    assert!(world.update_group(ASG, twisted).is_err());
    let effect = world.update_group(ASG, Bounds { min: Some(7), ..Bounds::default() }).expect("accepted");
    assert_eq!(effect.as_deref(), Some("proxysql-us: min size 6 -> 7, desired capacity 6 -> 7"));
}

#[test]
fn a_terminated_host_drains_dies_and_leaves_and_the_capacity_shrinks_once() {
    let mut world = physics(&calm());
    world.update_group(ASG, Bounds { min: Some(4), ..Bounds::default() }).expect("bounds");
    let id = ids(&world)[0].clone();
    let (effect, _) = world.terminate_in_group(&id, true).expect("accepted");
    assert!(effect.expect("effect").ends_with("desired capacity 6 -> 5"));
    let (again, _) = world.terminate_in_group(&id, true).expect("accepted");
    assert_eq!((again, world.groups[0].desired), (None, 5), "the second call takes nothing away");
    pass(&mut world, 5);
    assert_eq!(world.hosts[0].lifecycle.name(), "Terminating");
    assert_eq!(world.hosts[0].target.map(|t| t.state), Some(TargetState::Draining));
    assert!(world.hosts[0].alive(world.now()), "it still serves the connections that it has");
    let before = world.hosts[0].clients;
    pass(&mut world, 100);
    let during = world.hosts[0].clients;
    assert!(during < before / 3.0 && during > 10.0, "draining makes progress and is not done: {during}");
    pass(&mut world, 200);
    assert_eq!(world.hosts[0].machine, Machine::ShuttingDown);
    pass(&mut world, 60);
    assert!(!ids(&world).contains(&id) && states(&world).len() == 5);
    let refusal = world.terminate_in_group(&id, true).expect_err("gone");
    assert!(refusal.message.starts_with("Instance Id not found"), "{refusal}");
    let everybody: f64 = world.hosts.iter().map(|h| h.clients).sum();
    assert!((everybody - 12_000.0).abs() < 1.0, "all clients found another host: {everybody}");
}

#[test]
fn terminating_below_the_minimum_is_refused_and_without_decrement_replaces() {
    let mut world = physics(&calm());
    let id = ids(&world)[0].clone();
    let refusal = world.terminate_in_group(&id, true).expect_err("at the minimum");
    assert!(refusal.message.contains("equals minSize (6)"), "{refusal}");
    world.terminate_in_group(&id, false).expect("accepted");
    pass(&mut world, 2);
    assert_eq!(world.members(0).count(), 6, "a replacement is on its way");
    assert_eq!(world.groups[0].desired, 6);
}

#[test]
fn scale_in_spares_the_protected() {
    let mut world = physics(&calm());
    world.update_group(ASG, Bounds { min: Some(1), ..Bounds::default() }).expect("bounds");
    let keep: Vec<String> = ids(&world).into_iter().take(3).collect();
    world.set_protection(ASG, &keep, true).expect("protect").expect("effect");
    assert_eq!(world.set_protection(ASG, &keep, true), Ok(None));
    assert!(world.set_protection(ASG, &["i-0".into()], true).is_err());
    world.set_desired_capacity(ASG, 1, false).expect("accepted");
    pass(&mut world, 400);
    let mut left = ids(&world);
    left.sort();
    let mut expected = keep.clone();
    expected.sort();
    assert_eq!(left, expected, "protected hosts stay, though the group is too large");
    world.terminate_in_group(&keep[0], true).expect_err("desired equals min");
    world.terminate_in_group(&keep[0], false).expect("protection does not stop an explicit termination");
}

#[test]
fn a_suspended_launch_launches_nothing_until_resumed() {
    let mut world = physics(&calm());
    let launch = ["Launch".to_owned()];
    world.suspend_processes(ASG, &launch, true).expect("suspend").expect("effect");
    assert_eq!(world.suspend_processes(ASG, &launch, true), Ok(None));
    assert!(world.suspend_processes(ASG, &["Lunch".into()], true).is_err());
    world.set_desired_capacity(ASG, 8, false).expect("accepted");
    pass(&mut world, 300);
    assert_eq!(world.members(0).count(), 6);
    world.suspend_processes(ASG, &launch, false).expect("resume").expect("effect");
    pass(&mut world, 2);
    assert_eq!(world.members(0).count(), 8);
}

#[test]
fn a_host_that_was_never_registered_gets_no_clients() {
    let mut world = physics(&calm());
    world.suspend_processes(ASG, &["AddToLoadBalancer".into()], true).expect("suspend");
    world.set_desired_capacity(ASG, 7, false).expect("accepted");
    pass(&mut world, 600);
    let new = world.hosts.last().expect("a host");
    assert_eq!((new.lifecycle.name(), new.target, new.clients), ("InService", None, 0.0));
}

#[test]
fn an_unbalanced_group_launches_first_and_then_takes_out() {
    let mut world = physics(&calm());
    world.update_group(ASG, Bounds { min: Some(3), ..Bounds::default() }).expect("bounds");
    let of_zone_a: Vec<String> = world
        .members(0)
        .filter(|&h| world.hosts[h].zone.ends_with('a'))
        .map(|h| world.hosts[h].instance_id.clone())
        .collect();
    for id in &of_zone_a {
        world.terminate_in_group(id, true).expect("accepted");
    }
    pass(&mut world, 900);
    let zones: std::collections::BTreeSet<&str> =
        world.members(0).map(|h| world.hosts[h].zone.as_str()).collect();
    assert_eq!((zones.len(), world.members(0).count(), world.groups[0].desired), (3, 4, 4));
}

#[test]
fn with_rebalancing_suspended_an_unbalanced_group_stays_as_it_is() {
    let mut world = physics(&calm());
    world.update_group(ASG, Bounds { min: Some(3), ..Bounds::default() }).expect("bounds");
    world.suspend_processes(ASG, &["AZRebalance".into()], true).expect("suspend");
    let before = ids(&world);
    for h in [0, 3] {
        world.terminate_in_group(&before[h], true).expect("accepted");
    }
    pass(&mut world, 900);
    assert_eq!(ids(&world), [1, 2, 4, 5].map(|n| before[n].clone()));
}

#[test]
fn without_capacity_the_launch_fails_with_awss_sentence_and_another_zone_serves() {
    let mut world = physics(&calm());
    world.strike(FaultKind::NoCapacity { zone: Some("us-east-1a".into()) });
    world.set_desired_capacity(ASG, 7, false).expect("accepted");
    pass(&mut world, 2);
    let failed = &world.groups[0].activities[0];
    assert_eq!(failed.status, "Failed");
    let message = failed.status_message.as_deref().expect("a message");
    assert!(message.starts_with("We currently do not have sufficient c6i.4xlarge capacity"), "{message}");
    assert_eq!(world.hosts.last().expect("a host").zone, "us-east-1b");
    world.strike(FaultKind::NoCapacity { zone: None });
    world.set_desired_capacity(ASG, 8, false).expect("accepted");
    pass(&mut world, 600);
    assert_eq!(world.members(0).count(), 7);
    world.strike(FaultKind::CapacityRestored);
    pass(&mut world, 61);
    assert_eq!(world.members(0).count(), 8);
}

#[test]
fn a_host_that_never_listens_is_in_service_and_never_healthy() {
    let mut world = physics(&calm());
    world.strike(FaultKind::NewHostsNeverListen { fleet: ASG.into() });
    world.set_desired_capacity(ASG, 7, false).expect("accepted");
    pass(&mut world, 1_800);
    let new = world.hosts.last().expect("a host");
    assert_eq!(new.lifecycle.name(), "InService");
    assert_eq!(new.target.map(|t| t.state), Some(TargetState::Initial));
    assert_eq!((new.clients, new.alive(world.now())), (0.0, false));
}

#[test]
fn terminating_a_host_that_is_still_being_launched_cancels_the_launch() {
    let mut world = physics(&calm());
    world.set_desired_capacity(ASG, 7, false).expect("accepted");
    pass(&mut world, 5);
    let id = ids(&world)[6].clone();
    world.terminate_in_group(&id, true).expect("accepted");
    pass(&mut world, 60);
    let statuses: Vec<&str> = world.groups[0].activities.iter().map(|a| a.status).collect();
    assert_eq!((statuses, states(&world).len()), (vec!["Cancelled", "Successful"], 6));
}

#[test]
fn causes_read_as_on_aws() {
    let mut world = physics(&calm());
    world.update_group(ASG, Bounds { min: Some(4), ..Bounds::default() }).expect("bounds");
    let id = ids(&world)[0].clone();
    world.terminate_in_group(&id, true).expect("accepted");
    world.set_desired_capacity(ASG, 4, false).expect("accepted");
    pass(&mut world, 1);
    let causes: Vec<&str> = world.groups[0].activities.iter().map(|a| a.cause.as_str()).collect();
    assert_eq!(
        causes[0],
        format!(
            "At 2024-05-07T14:30:00Z instance {id} was taken out of service in response to a user request, \
             shrinking the capacity from 6 to 5."
        )
    );
    assert!(
        causes[1].starts_with("At 2024-05-07T14:30:00Z a user request explicitly set group desired capacity")
    );
    assert!(causes[1].ends_with("shrinking the capacity from 5 to 4."), "{}", causes[1]);
}

#[test]
fn pausing_every_host_bleeds_into_a_total_outage_and_resuming_ends_it() {
    let mut world = physics(&calm());
    for h in 0..6 {
        world.pause(h, true).expect("effect");
    }
    assert!(world.pause(0, true).is_err(), "as ProxySQL refuses it");
    pass(&mut world, 600);
    assert!(world.last_sample("accounts").expect("sample").error_share() > 0.99);
    for h in 0..6 {
        world.pause(h, false).expect("resumed");
    }
    pass(&mut world, 10);
    assert!(sound(world.last_sample("accounts").expect("sample").error_share()), "an NLB fails open");
}

#[test]
fn wrong_credentials_are_not_healed_by_new_hosts() {
    let mut world = physics(&calm());
    world.strike(FaultKind::WrongCredentials { cluster: SHARD_B.into() });
    world.set_desired_capacity(ASG, 8, false).expect("accepted");
    pass(&mut world, 600);
    assert_eq!(world.last_sample(SHARD_B).expect("sample").error_share(), 1.0);
    assert_eq!(world.proxy_query(7, 1), Reply::AccessDenied, "through a new host as well");
}

#[test]
fn too_many_hosts_exhaust_a_small_clusters_connections() {
    let mut world = calm();
    world.fleets[0].max = 20;
    let mut world = physics(&world);
    world.set_desired_capacity(ASG, 14, false).expect("accepted");
    pass(&mut world, 600);
    let e = world.last_sample("shard-e").expect("sample").error_share();
    assert!((e - (1.0 - 5000.0 / 5600.0)).abs() < 0.001, "14 hosts want 5,600 of 5,000: {e}");
    assert!(sound(world.last_sample(SHARD_B).expect("sample").error_share()));
}

#[test]
fn probe_failures_are_spread_evenly() {
    let mut world = physics(&calm());
    world.strike(FaultKind::SickHosts {
        fleet: ASG.into(),
        cluster: SHARD_B.into(),
        from: 0.25,
        to: 0.25,
        ramp_s: 0,
        hosts: None,
        new_hosts_too: false,
    });
    let failed: Vec<bool> = (0..8).map(|_| world.proxy_query(0, 1) == Reply::AccessDenied).collect();
    assert_eq!(failed, [false, true, false, false, false, true, false, false]);
    let pool = world.hosts[0].pools[1];
    assert_eq!((pool.err, pool.queries), (2.0, 8.0));
}

#[test]
fn a_termination_hook_that_nobody_answers_costs_its_timeout() {
    let mut world = calm();
    world.fleets[0].min = 1;
    world.fleets[0].hooks = vec![crate::Hook {
        name: "drain".into(),
        transition: "autoscaling:EC2_INSTANCE_TERMINATING".into(),
        heartbeat_s: 600,
        default_result: "CONTINUE".into(),
    }];
    let mut world = physics(&world);
    let id = ids(&world)[0].clone();
    world.terminate_in_group(&id, true).expect("accepted");
    pass(&mut world, 400);
    assert_eq!(world.hosts[0].lifecycle.name(), "Terminating:Wait");
    pass(&mut world, 600);
    assert_eq!(world.hosts[0].lifecycle.name(), "Terminated");
}

#[test]
fn an_instance_terminated_behind_the_groups_back_is_replaced() {
    let mut world = physics(&calm());
    let id = ids(&world)[0].clone();
    world.terminate_instance(&id).expect("accepted").expect("effect");
    assert_eq!(world.terminate_instance(&id), Ok(None), "naturally idempotent");
    assert!(world.terminate_instance("i-0").is_err());
    pass(&mut world, 200);
    assert!(!ids(&world).contains(&id) && world.members(0).count() == 6);
}

#[test]
fn where_the_load_balancer_is_asked_a_paused_host_is_unhealthy_for_good_and_replaced() {
    let mut world = calm();
    world.fleets[0].health_check = crate::HealthCheck::Elb;
    let mut world = physics(&world);
    let paused = ids(&world)[0].clone();
    world.suspend_processes("proxysql-us", &["HealthCheck".into()], true).expect("known");
    world.pause(0, true).expect("done");
    pass(&mut world, 300);
    assert_eq!(world.hosts[0].target.map(|t| t.state), Some(TargetState::Unhealthy));
    assert_eq!(world.hosts[0].lifecycle.name(), "InService", "nobody looks while the process is suspended");
    world.suspend_processes("proxysql-us", &["HealthCheck".into()], false).expect("known");
    world.suspend_processes("proxysql-us", &["ReplaceUnhealthy".into()], true).expect("known");
    pass(&mut world, 5);
    assert!(world.hosts[0].unhealthy);
    // Well again to the load balancer, but not to the group.
    world.pause(0, false).expect("done");
    pass(&mut world, 300);
    world.suspend_processes("proxysql-us", &["ReplaceUnhealthy".into()], false).expect("known");
    pass(&mut world, 5);
    assert!(world.hosts[0].lifecycle.leaving() && world.hosts.len() == 7, "replaced");
    let (effect, _) = world.terminate_in_group(&paused, true).expect("accepted");
    assert_eq!((effect, world.groups[0].desired), (None, 6), "it is on its way out: nothing is decremented");
    let said = world.groups[0].activities.iter().any(|a| a.cause.contains("ELB system health check failure"));
    assert!(said, "{:?}", world.groups[0].activities);
}

#[test]
fn where_only_ec2_is_asked_a_paused_host_stays() {
    let mut world = physics(&calm());
    world.pause(0, true).expect("done");
    pass(&mut world, 600);
    assert_eq!((world.hosts[0].lifecycle.name(), world.hosts.len()), ("InService", 6));
}

#[test]
fn of_one_promotion_tier_the_largest_reader_becomes_the_writer() {
    let mut world = physics(&calm());
    let c = world.clusters.iter_mut().find(|c| c.id == "shard-b").expect("it is there");
    let readers: Vec<usize> = (0..c.members.len()).filter(|&m| m != c.writer).collect();
    assert!(readers.len() >= 2, "{readers:?}");
    for &reader in &readers {
        c.members[reader].tier = 1;
        c.members[reader].class = "db.r6i.4xlarge".into();
    }
    let last = readers[readers.len() - 1];
    c.members[last].class = "db.r6i.12xlarge".into();
    assert_eq!(c.heir(), last);
    c.members[readers[0]].tier = 0;
    assert_eq!(c.heir(), readers[0], "the tier comes first");
}

#[test]
fn hosts_that_keep_the_old_writer_fail_writes_until_they_are_restarted() {
    let mut world = physics(&calm());
    let c = world.clusters.iter().position(|c| c.id == "shard-b").expect("shard-b");
    let (fleet, cluster) = ("proxysql-us".to_owned(), "shard-b".to_owned());
    world.strike(FaultKind::StuckWriter { fleet, cluster, hosts: Some(2) });
    let read_only = |world: &mut Physics, host| match world.proxy_query(host, c) {
        super::Reply::Answered { read_only, .. } => read_only,
        other => panic!("{other:?}"),
    };
    pass(&mut world, 60);
    assert!(!read_only(&mut world, 0), "nothing happens before a failover");
    world.fail_over("shard-b", Some("shard-b-2")).expect("accepted");
    pass(&mut world, 300);
    assert!(read_only(&mut world, 0) && read_only(&mut world, 1) && !read_only(&mut world, 2));
    let share = world.last_sample("shard-b").expect("a sample").error_share();
    assert!((0.05..0.15).contains(&share), "two of six hosts fail three requests of ten: {share}");
    world.restart(0);
    pass(&mut world, 30);
    assert!(!read_only(&mut world, 0) && read_only(&mut world, 1));
}

#[test]
fn a_failover_takes_as_long_as_the_dial_says_and_nobody_writes_meanwhile() {
    let mut world = physics(&calm());
    world.strike(FaultKind::SlowFailovers { cluster: "shard-b".into(), duration_s: 300 });
    let c = world.clusters.iter().position(|c| c.id == "shard-b").expect("shard-b");
    world.fail_over("shard-b", Some("shard-b-2")).expect("accepted");
    pass(&mut world, 250);
    assert!(world.clusters[c].down() && world.clusters[c].status() == "failing-over");
    pass(&mut world, 45);
    assert!(!world.clusters[c].down() && world.clusters[c].status() == "failing-over");
    pass(&mut world, 10);
    assert_eq!((world.clusters[c].writer, world.clusters[c].status()), (1, "available"));
}

#[test]
fn a_world_that_contradicts_itself_is_refused_with_the_place() {
    let mut world = calm();
    world.clusters[3].fleet = Some("nope".into());
    let error = Physics::new(&world, 1, 1).expect_err("unknown fleet").to_string();
    assert!(error.contains("`shard-d` names the unknown fleet `nope`"), "{error}");
    let twice = World { clusters: [calm().clusters, calm().clusters].concat(), ..calm() };
    let error = Physics::new(&twice, 1, 1).expect_err("a name twice").to_string();
    assert!(error.contains("`shard-a` is used twice"), "{error}");
    let refused = |change: fn(&mut World)| {
        let mut world = calm();
        change(&mut world);
        Physics::new(&world, 1, 1).expect_err("a contradiction").to_string()
    };
    let error = refused(|w| w.alarms[0].of = crate::AlarmSubject::Instance("shard-b-9".into()));
    assert!(error.contains("`shard-b-login-failures` watches something unknown"), "{error}");
    let error = refused(|w| w.alarms[0].metric = "Weather".into());
    assert!(error.contains("unknown metric `Weather`; there are CPUUtilization"), "{error}");
    let error = refused(|w| w.alarms[0].period_s = 90);
    assert!(error.contains("whole minutes"), "{error}");
    let error = refused(|w| {
        let instance = Some("shard-b-9".to_owned());
        let fault = FaultKind::ReplicaLag { cluster: "shard-b".into(), instance, milliseconds: 1.0 };
        w.faults.push(TimedFault { at_s: 5, fault });
    });
    assert!(error.contains("the fault at 5 s names the unknown instance `shard-b-9`"), "{error}");
    let empty = World { fleets: vec![], ..calm() };
    assert!(Physics::new(&empty, 1, 1).is_err());
}

#[test]
fn a_world_survives_a_round_trip_as_data() {
    let world = World::incident_2024_05_07();
    let text = serde_json::to_string(&world).expect("serialise");
    assert_eq!(serde_json::from_str::<World>(&text).expect("deserialise"), world);
}
