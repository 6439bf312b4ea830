//! What a refresh may and may not do to the group, watched every second.

use super::*;
use crate::{FaultKind, World};

const ASG: &str = "proxysql-us";

fn calm() -> Physics {
    let world = World { faults: vec![], ..World::incident_2024_05_07() };
    Physics::new(&world, 1, 1).expect("a sound world")
}

/// The least hosts in service and the most hosts at all, until no refresh goes on (or for four hours).
fn watch(world: &mut Physics) -> (usize, usize, &'static str) {
    let (mut least, mut most) = (usize::MAX, 0);
    for _ in 0..4 * 3600 {
        world.advance(world.now() + TimeDelta::seconds(1));
        least = least.min(world.healthy(0, 0));
        most = most.max(world.members(0).count());
        if world.active(0).is_none() {
            break;
        }
    }
    (least, most, world.groups[0].refreshes.last().expect("a refresh").status.name())
}

fn ids(world: &Physics) -> Vec<String> {
    world.members(0).map(|h| world.hosts[h].instance_id.clone()).collect()
}

fn replaced(world: &Physics, before: &[String]) -> usize {
    let now = ids(world);
    before.iter().filter(|id| !now.contains(id)).count()
}

fn surge(min_healthy: u32, max_healthy: u32) -> Preferences {
    Preferences { min_healthy, max_healthy: Some(max_healthy), ..Preferences::default() }
}

#[test]
fn both_percentages_hold_at_every_second_and_every_host_is_replaced() {
    for (preferences, least, most) in [
        (surge(100, 200), 6, 12),
        (surge(100, 150), 6, 9),
        (surge(50, 100), 3, 6),
        (surge(100, 100), 6, 7), // neither fewer nor more: one more is launched first
        (Preferences::default(), 5, 6), // 90 % of six are six: one at a time is terminated first
    ] {
        let mut world = calm();
        let before = ids(&world);
        world.start_refresh(ASG, preferences).expect("a refresh");
        assert_eq!(watch(&mut world), (least, most, "Successful"), "{preferences:?}");
        assert_eq!(replaced(&world, &before), 6, "{preferences:?}");
        assert_eq!((ids(&world).len(), world.groups[0].desired), (6, 6));
    }
}

#[test]
fn a_refresh_heals_the_incident_as_replacing_by_hand_does() {
    let mut world = Physics::new(&World::incident_2024_05_07(), 1, 1).expect("a sound world");
    world.advance(world.now() + TimeDelta::minutes(30));
    assert!(world.last_sample("shard-b").expect("a sample").error_share() > 0.1);
    world.start_refresh(ASG, surge(100, 200)).expect("a refresh");
    assert_eq!(watch(&mut world).2, "Successful");
    world.advance(world.now() + TimeDelta::minutes(10));
    assert!(world.last_sample("shard-b").expect("a sample").error_share() < 1e-6);
}

#[test]
fn warm_up_makes_it_slower_and_counts_only_in_the_end() {
    let mut world = calm();
    let start = world.now();
    world.start_refresh(ASG, Preferences { warmup_s: 600, ..surge(100, 200) }).expect("a refresh");
    world.advance(start + TimeDelta::seconds(300));
    assert_eq!(world.refresh_progress(0, &world.groups[0].refreshes[0]), (6, 6));
    assert_eq!(watch(&mut world).2, "Successful");
    assert!(world.now() - start > TimeDelta::seconds(600));
    assert_eq!(world.refresh_progress(0, &world.groups[0].refreshes[0]), (6, 0));
}

#[test]
fn hosts_with_the_same_template_are_skipped_if_so_wished() {
    let mut world = calm();
    let before = ids(&world);
    world.start_refresh(ASG, Preferences { skip_matching: true, ..surge(100, 200) }).expect("a refresh");
    assert_eq!((watch(&mut world).2, replaced(&world, &before)), ("Successful", 0));
}

#[test]
fn protected_hosts_are_replaced_spared_or_waited_for_an_hour() {
    for (protected, status, count) in [
        (Protected::Refresh, "Successful", 6),
        (Protected::Ignore, "Successful", 4),
        (Protected::Wait, "Failed", 4),
    ] {
        let mut world = calm();
        let before = ids(&world);
        world.set_protection(ASG, &before[..2], true).expect("protected");
        world.start_refresh(ASG, Preferences { protected, ..surge(100, 200) }).expect("a refresh");
        let (least, _, ended) = watch(&mut world);
        assert_eq!((least, ended, replaced(&world, &before)), (6, status, count), "{protected:?}");
        assert_eq!(ids(&world).len(), 6);
    }
}

#[test]
fn without_capacity_or_with_a_process_suspended_it_fails_after_an_hour_and_nobody_was_hurt() {
    let starved = |world: &mut Physics| world.strike(FaultKind::NoCapacity { zone: None });
    let suspended = |world: &mut Physics| {
        world.suspend_processes(ASG, &["Launch".to_owned()], true).expect("suspended");
    };
    for hinder in [starved as fn(&mut Physics), suspended] {
        let mut world = calm();
        let (start, before) = (world.now(), ids(&world));
        hinder(&mut world);
        world.start_refresh(ASG, surge(100, 200)).expect("a refresh");
        assert_eq!(watch(&mut world), (6, 6, "Failed"));
        assert!(world.now() - start >= TimeDelta::hours(1));
        assert_eq!(replaced(&world, &before), 0);
        let refresh = &world.groups[0].refreshes[0];
        assert_eq!(
            refresh.reason.as_deref(),
            Some("No progress for one hour; 6 instances were not replaced.")
        );
    }
}

#[test]
fn one_at_a_time_and_cancelling_keeps_what_was_done() {
    let mut world = calm();
    let before = ids(&world);
    world.start_refresh(ASG, Preferences::default()).expect("a refresh");
    assert_eq!(
        world.start_refresh(ASG, Preferences::default()).expect_err("one at a time").code,
        "InstanceRefreshInProgress"
    );
    world.advance(world.now() + TimeDelta::seconds(75));
    world.cancel_refresh(ASG, true).expect("cancelled");
    assert_eq!(watch(&mut world).2, "Cancelled");
    let done = replaced(&world, &before);
    assert!((1..6).contains(&done), "{done}");
    world.advance(world.now() + TimeDelta::hours(1));
    assert_eq!((replaced(&world, &before), ids(&world).len()), (done, 6));
    assert_eq!(
        world.cancel_refresh(ASG, true).expect_err("nothing to cancel").code,
        "ActiveInstanceRefreshNotFound"
    );
}

#[test]
fn somebody_elses_refresh_is_shown_blocks_ours_and_replaces_nothing() {
    let mut world = calm();
    let before = ids(&world);
    world.strike(FaultKind::InstanceRefresh { fleet: ASG.into(), duration_s: 600 });
    assert!(world.start_refresh(ASG, surge(100, 200)).is_err());
    assert_eq!(watch(&mut world), (6, 6, "Successful"));
    assert_eq!(replaced(&world, &before), 0);
}
