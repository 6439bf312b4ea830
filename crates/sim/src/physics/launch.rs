//! `LaunchInstances`: new hosts in one zone, at once or not at all, and for one token only once. Where there is room for some of them, some
//! are launched, and the answer has both their ids and an error.
//!
//! AWS's manual says that the answer names the hosts, that they are then on their way like any other, and that a repeated
//! token tracks the first launch. That the desired capacity grows with them follows from the group keeping them.

use super::group::at;
use super::group_ops::Effect;
use super::{Physics, Refusal};

/// Hosts of one launch at most.
const MOST: u32 = 100;
/// Letters of a token at most.
const LONGEST_TOKEN: usize = 64;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LaunchRequest {
    pub(crate) capacity: u32,
    /// The zone, or the zone of the subnet; may be left out by a group with one zone.
    pub(crate) zone: Option<String>,
    /// If the zone has no capacity: raise the desired capacity all the same, and let the group launch wherever it can.
    pub(crate) retry: bool,
}

/// A launch and its token: asked for again, the answer is the same.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    token: String,
    request: LaunchRequest,
    pub(crate) zone: String,
    /// Indices of the hosts.
    pub(crate) hosts: Vec<usize>,
    /// What EC2 says of those that are missing: code and sentence.
    pub(crate) error: Option<(&'static str, String)>,
}

impl Physics {
    /// `LaunchInstances`: the effect, and the launch, of now or of the first call with this token.
    ///
    /// # Errors
    /// `ValidationError` for an unknown group or zone, no zone where the group has several, or a capacity that the group's
    /// largest size does not allow; `IdempotentParameterMismatch` for a token that came with another request.
    pub(crate) fn launch_instances(
        &mut self,
        asg: &str,
        token: &str,
        request: LaunchRequest,
    ) -> Result<(Effect, Launch), Refusal> {
        let g = self.group_index(asg)?;
        if token.len() > LONGEST_TOKEN {
            let message = format!("ClientToken must have at most {LONGEST_TOKEN} letters");
            return Err(Refusal::validation(message));
        }
        if let Some(first) = self.groups[g].launches.iter().find(|l| l.token == token) {
            if first.request != request {
                let message = "The client token was used before with other parameters";
                return Err(Refusal::new("IdempotentParameterMismatch", message));
            }
            return Ok((None, first.clone()));
        }
        let zone = self.zone_of_launch(g, &request)?;
        let (desired, max) = (self.groups[g].desired, self.groups[g].max);
        let wanted = desired + request.capacity;
        if wanted > max {
            return Err(Refusal::validation(format!(
                "Launching {} instances would raise the desired capacity to {wanted}, above max value {max} for the \
                 AutoScalingGroup.",
                request.capacity
            )));
        }
        if !self.groups[g].runs("Launch") {
            return Err(Refusal::validation("The Launch process of the AutoScalingGroup is suspended."));
        }
        let (hosts, error, effect) = self.try_launch(g, &zone, &request);
        let launch = Launch { token: token.to_owned(), request, zone, hosts, error };
        self.groups[g].launches.push(launch.clone());
        Ok((effect, launch))
    }

    fn zone_of_launch(&self, g: usize, request: &LaunchRequest) -> Result<String, Refusal> {
        let zones = &self.world.fleets[g].zones;
        if request.capacity == 0 || request.capacity > MOST {
            let message = format!("RequestedCapacity must be between 1 and {MOST}, not {}", request.capacity);
            return Err(Refusal::validation(message));
        }
        match (&request.zone, &zones[..]) {
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(Refusal::validation(
                "Exactly one Availability Zone or subnet must be specified for an AutoScalingGroup with several",
            )),
            (Some(zone), _) if zones.contains(zone) => Ok(zone.clone()),
            (Some(zone), _) => {
                let message = format!("{zone} is not a part of the AutoScalingGroup's Availability Zones");
                Err(Refusal::validation(message))
            }
        }
    }

    fn try_launch(
        &mut self,
        g: usize,
        zone: &str,
        request: &LaunchRequest,
    ) -> (Vec<usize>, Option<(&'static str, String)>, Effect) {
        let asg = self.world.fleets[g].asg.clone();
        let have = self.members(g).count();
        let cause = |n: usize| {
            format!(
                "At {} an instance was started in response to a user request to launch instances, increasing the \
                 capacity from {n} to {}.",
                at(self.now),
                n + 1
            )
        };
        let count = request.capacity.min(self.room(zone));
        let mut causes: Vec<String> = (have..=have + count as usize).map(cause).collect();
        let left_out = causes.pop().unwrap_or_default();
        let hosts: Vec<usize> =
            causes.into_iter().map(|cause| self.start_host(g, zone.to_owned(), cause)).collect();
        let missing = request.capacity > count;
        let error = missing.then(|| ("InsufficientInstanceCapacity", self.failed_launch(g, zone, left_out)));
        let from = self.groups[g].desired;
        let to = from + if request.retry { request.capacity } else { count };
        self.groups[g].desired = to;
        if missing && request.retry {
            self.groups[g].reason = format!(
                "At {} a user request to launch instances is retried, changing the desired capacity from {from} \
                 to {to}.  ",
                at(self.now)
            );
        }
        let ids: Vec<&str> = hosts.iter().map(|&h| self.hosts[h].instance_id.as_str()).collect();
        let effect = match (ids.is_empty(), from == to) {
            (true, true) => None,
            (true, false) => Some(format!("{asg}: desired capacity {from} -> {to}")),
            (false, _) => {
                Some(format!("{asg}: launching {}, desired capacity {from} -> {to}", ids.join(", ")))
            }
        };
        (hosts, error, effect)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{FaultKind, World};

    const ASG: &str = "proxysql-us";

    fn calm() -> Physics {
        let world = World { faults: vec![], ..World::incident_2024_05_07() };
        Physics::new(&world, 1, 1).expect("a sound world")
    }

    fn in_zone(capacity: u32, zone: &str) -> LaunchRequest {
        LaunchRequest { capacity, zone: Some(zone.into()), retry: false }
    }

    #[test]
    fn a_token_launches_once_whoever_asks_how_often() {
        let mut world = calm();
        let (effect, first) = world.launch_instances(ASG, "t", in_zone(2, "us-east-1b")).expect("launched");
        assert!(effect.expect("an effect").contains("desired capacity 6 -> 8"));
        let hosts = first.hosts;
        assert!(hosts.iter().all(|&h| world.hosts[h].zone == "us-east-1b"));
        let (effect, again) = world.launch_instances(ASG, "t", in_zone(2, "us-east-1b")).expect("the same");
        assert_eq!((effect, again.hosts), (None, hosts.clone()));
        let other = world.launch_instances(ASG, "t", in_zone(1, "us-east-1b")).expect_err("another request");
        assert_eq!(other.code, "IdempotentParameterMismatch");
        world.suspend_processes(ASG, &["AZRebalance".to_owned()], true).expect("suspended");
        world.advance(world.now() + TimeDelta::minutes(10));
        assert_eq!((world.members(0).count(), world.groups[0].desired), (8, 8));
        assert!(hosts.iter().all(|&h| world.hosts[h].in_service.is_some()));
    }

    #[test]
    fn a_zone_without_capacity_launches_nothing_unless_the_group_may_try_elsewhere() {
        let mut world = calm();
        world.strike(FaultKind::NoCapacity { zone: Some("us-east-1b".into()) });
        let (effect, launch) = world.launch_instances(ASG, "a", in_zone(1, "us-east-1b")).expect("an answer");
        assert_eq!((effect, launch.hosts.len()), (None, 0));
        assert_eq!(launch.error.expect("an error").0, "InsufficientInstanceCapacity");
        assert_eq!(world.groups[0].activities.last().expect("an activity").status, "Failed");
        world.advance(world.now() + TimeDelta::minutes(10));
        assert_eq!(world.members(0).count(), 6);
        let retry = LaunchRequest { retry: true, ..in_zone(1, "us-east-1b") };
        let (effect, _) = world.launch_instances(ASG, "b", retry).expect("an answer");
        assert_eq!(effect.as_deref(), Some("proxysql-us: desired capacity 6 -> 7"));
        world.advance(world.now() + TimeDelta::minutes(10));
        assert_eq!(world.members(0).count(), 7);
    }

    #[test]
    fn a_zone_with_room_for_some_launches_those() {
        let mut world = calm();
        world.strike(FaultKind::RoomFor { zone: "us-east-1b".into(), instances: 1 });
        let (effect, launch) = world.launch_instances(ASG, "a", in_zone(2, "us-east-1b")).expect("an answer");
        assert!(effect.expect("an effect").contains("desired capacity 6 -> 7"));
        assert_eq!((launch.hosts.len(), launch.error.is_some()), (1, true));
        world.advance(world.now() + TimeDelta::minutes(10));
        assert_eq!(world.members(0).count(), 7);
    }

    #[test]
    fn it_keeps_to_the_groups_size_zones_and_processes() {
        let mut world = calm();
        let refused = |world: &mut Physics, token: &str, request| {
            world.launch_instances(ASG, token, request).expect_err("refused").message
        };
        assert!(refused(&mut world, "a", in_zone(3, "us-east-1a")).contains("above max value 8"));
        assert!(refused(&mut world, "a", in_zone(1, "us-east-1f")).contains("us-east-1f is not a part"));
        assert!(refused(&mut world, "a", in_zone(101, "us-east-1a")).contains("between 1 and 100"));
        let nowhere = LaunchRequest { zone: None, ..in_zone(1, "") };
        assert!(refused(&mut world, "a", nowhere).contains("Exactly one Availability Zone"));
        assert!(refused(&mut world, &"x".repeat(65), in_zone(1, "us-east-1a")).contains("64"));
        world.suspend_processes(ASG, &["Launch".to_owned()], true).expect("suspended");
        assert!(refused(&mut world, "a", in_zone(1, "us-east-1a")).contains("suspended"));
    }
}
