//! What a caller can do to a group: the mutating half of the Auto Scaling API.
//!
//! Each function either refuses, with AWS's words, or makes the whole change. `Ok(None)` means that the
//! call is accepted and nothing changed: the ledger tells the two apart.

use chrono::TimeDelta;

use super::group::at;
use super::host::{Lifecycle, Pool};
use super::{Physics, Refusal};

/// The processes that can be suspended.
pub(crate) const PROCESSES: [&str; 9] = [
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
];

/// Seconds until a process that was told to restart listens again.
const RESTART_S: i64 = 4;

/// What really changed, in a few words; `None` if nothing did.
pub type Effect = Option<String>;

/// The part of `UpdateAutoScalingGroup` that is simulated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// New `MinSize`.
    pub min: Option<u32>,
    /// New `MaxSize`.
    pub max: Option<u32>,
    /// New `DesiredCapacity`.
    pub desired: Option<u32>,
    /// New `NewInstancesProtectedFromScaleIn`.
    pub protects_new: Option<bool>,
}

impl Physics {
    pub(crate) fn group_index(&self, asg: &str) -> Result<usize, Refusal> {
        let found = self.world.fleets.iter().position(|f| f.asg == asg);
        found.ok_or_else(|| {
            Refusal::validation(format!("AutoScalingGroup name not found - no such group: {asg}"))
        })
    }

    /// `SetDesiredCapacity`.
    ///
    /// # Errors
    /// `ValidationError` for an unknown group or a number outside its bounds; `ScalingActivityInProgress`
    /// if the cooldown is to be honoured and something moved in the last 300 s.
    pub fn set_desired_capacity(
        &mut self,
        asg: &str,
        to: u32,
        honor_cooldown: bool,
    ) -> Result<Effect, Refusal> {
        let g = self.group_index(asg)?;
        let now = self.now;
        let group = &mut self.groups[g];
        if to > group.max {
            return Err(Refusal::validation(format!(
                "New SetDesiredCapacity value {to} is above max value {} for the AutoScalingGroup.",
                group.max
            )));
        }
        if to < group.min {
            return Err(Refusal::validation(format!(
                "New SetDesiredCapacity value {to} is below min value {} for the AutoScalingGroup.",
                group.min
            )));
        }
        let recent = group.activities.last().filter(|a| now - a.end.unwrap_or(now) < TimeDelta::seconds(300));
        if let (true, Some(activity)) = (honor_cooldown, recent) {
            let message = format!("Scaling activity {} is in progress and blocks this action", activity.id);
            return Err(Refusal::new("ScalingActivityInProgress", message));
        }
        let from = std::mem::replace(&mut group.desired, to);
        if from == to {
            return Ok(None);
        }
        group.reason = format!(
            "At {} a user request explicitly set group desired capacity changing the desired capacity from \
             {from} to {to}.  ",
            at(now)
        );
        Ok(Some(format!("{asg}: desired capacity {from} -> {to}")))
    }

    /// `UpdateAutoScalingGroup`. As on AWS, bounds drag the desired capacity along unless it is given.
    ///
    /// # Errors
    /// `ValidationError` for an unknown group or bounds that contradict each other.
    pub fn update_group(&mut self, asg: &str, wanted: Bounds) -> Result<Effect, Refusal> {
        let g = self.group_index(asg)?;
        let now = self.now;
        let group = &mut self.groups[g];
        let (min, max) = (wanted.min.unwrap_or(group.min), wanted.max.unwrap_or(group.max));
        if min > max {
            return Err(Refusal::validation(format!(
                "Min bound, {min}, must be less than or equal to max bound, {max}"
            )));
        }
        if let Some(desired) = wanted.desired
            && !(min..=max).contains(&desired)
        {
            return Err(Refusal::validation(format!(
                "Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}"
            )));
        }
        let desired = wanted.desired.unwrap_or(group.desired).clamp(min, max);
        let mut changes = Vec::new();
        let mut set = |name: &str, slot: &mut u32, to: u32| {
            let from = std::mem::replace(slot, to);
            if from != to {
                changes.push(format!("{name} {from} -> {to}"));
            }
        };
        set("min size", &mut group.min, min);
        set("max size", &mut group.max, max);
        let before = group.desired;
        set("desired capacity", &mut group.desired, desired);
        if before != desired {
            group.reason = format!(
                "At {} a user request update of AutoScalingGroup constraints to min: {min}, max: {max}, \
                 desired: {desired} changing the desired capacity from {before} to {desired}.  ",
                at(now)
            );
        }
        if let Some(protects) = wanted.protects_new
            && protects != std::mem::replace(&mut group.protects_new, protects)
        {
            changes.push(format!("new instances protected from scale-in: {protects}"));
        }
        Ok((!changes.is_empty()).then(|| format!("{asg}: {}", changes.join(", "))))
    }

    /// `TerminateInstanceInAutoScalingGroup`: the effect, and the place (group, activity) of the scaling
    /// activity. On an instance that is already on its way out nothing changes, least of all the capacity.
    ///
    /// # Errors
    /// `ValidationError` for an instance that no group manages, or if the group would get too small.
    pub fn terminate_in_group(
        &mut self,
        instance: &str,
        decrement: bool,
    ) -> Result<(Effect, (usize, usize)), Refusal> {
        let unknown = || {
            Refusal::validation(format!(
                "Instance Id not found - No managed instance found for instance ID: {instance}"
            ))
        };
        let managed = |h: &super::host::Host| h.instance_id == instance && h.lifecycle != Lifecycle::Gone;
        let h = self.hosts.iter().position(managed).ok_or_else(unknown)?;
        let g = self.hosts[h].fleet;
        if self.hosts[h].lifecycle.leaving() {
            return Ok((None, (g, self.hosts[h].activity.ok_or_else(unknown)?)));
        }
        let group = &self.groups[g];
        let (from, asg) = (group.desired, self.world.fleets[g].asg.clone());
        if decrement && from <= group.min {
            return Err(Refusal::validation(format!(
                "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will \
                 violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to \
                 false or lower group's min size.",
                group.min
            )));
        }
        let have = self.members(g).count();
        let because = if decrement {
            format!("a user request, shrinking the capacity from {have} to {}", have - 1)
        } else {
            "a user request".to_owned()
        };
        let activity = self.take_out(h, &because);
        let mut effect = format!("{asg}: terminating {instance}");
        if decrement {
            self.groups[g].desired = from - 1;
            effect = format!("{effect}, desired capacity {from} -> {}", from - 1);
        }
        Ok((Some(effect), (g, activity)))
    }

    /// `SetInstanceProtection`, all or nothing.
    ///
    /// # Errors
    /// `ValidationError` for an unknown group or an instance that is not in it.
    pub fn set_protection(
        &mut self,
        asg: &str,
        instances: &[String],
        protect: bool,
    ) -> Result<Effect, Refusal> {
        let g = self.group_index(asg)?;
        let mut found = Vec::new();
        for id in instances {
            let member = self.members(g).find(|&h| self.hosts[h].instance_id == *id);
            found.push(member.ok_or_else(|| {
                Refusal::validation(format!("The instance {id} is not part of Auto Scaling group {asg}."))
            })?);
        }
        let mut changed = Vec::new();
        for h in found {
            if protect != std::mem::replace(&mut self.hosts[h].protected, protect) {
                changed.push(self.hosts[h].instance_id.clone());
            }
        }
        let state = if protect { "protected" } else { "unprotected" };
        Ok((!changed.is_empty()).then(|| format!("{asg}: {state} {}", changed.join(", "))))
    }

    /// `SuspendProcesses` and `ResumeProcesses`; an empty list means all.
    ///
    /// # Errors
    /// `ValidationError` for an unknown group or process.
    pub fn suspend_processes(
        &mut self,
        asg: &str,
        names: &[String],
        suspend: bool,
    ) -> Result<Effect, Refusal> {
        let g = self.group_index(asg)?;
        if let Some(bad) = names.iter().find(|n| !PROCESSES.contains(&n.as_str())) {
            return Err(Refusal::validation(format!("Unknown process type(s): {bad}")));
        }
        let all = PROCESSES.map(String::from);
        let reason = format!("User suspended at {}", at(self.now));
        let suspended = &mut self.groups[g].suspended;
        let mut changed = Vec::new();
        for name in if names.is_empty() { &all[..] } else { names } {
            let moved = if suspend {
                let new = !suspended.contains_key(name);
                suspended.entry(name.clone()).or_insert_with(|| reason.clone());
                new
            } else {
                suspended.remove(name).is_some()
            };
            if moved {
                changed.push(name.as_str());
            }
        }
        let verb = if suspend { "suspended" } else { "resumed" };
        Ok((!changed.is_empty()).then(|| format!("{asg}: {verb} {}", changed.join(", "))))
    }

    /// EC2's `TerminateInstances` on one instance; its group finds out by itself.
    ///
    /// # Errors
    /// `InvalidInstanceID.NotFound`.
    pub fn terminate_instance(&mut self, instance: &str) -> Result<Effect, Refusal> {
        let h = self.hosts.iter().position(|h| h.instance_id == instance).ok_or_else(|| {
            let message = format!("The instance ID '{instance}' does not exist");
            Refusal::new("InvalidInstanceID.NotFound", message)
        })?;
        let before = self.hosts[h].machine;
        self.stop_machine(h);
        Ok((before != self.hosts[h].machine).then(|| format!("terminating {instance}")))
    }

    /// `PROXYSQL PAUSE` and `RESUME` on a host's admin interface. It goes by what it says of itself, whatever its port does; what it
    /// refuses, it refuses in these words.
    pub(crate) fn pause(&mut self, host: usize, pause: bool) -> Result<Effect, &'static str> {
        let h = &mut self.hosts[host];
        if pause == h.calls_itself_paused {
            return Err(if pause {
                "ProxySQL MySQL module is already paused, impossible to pause"
            } else {
                "ProxySQL MySQL module is not paused, impossible to resume"
            });
        }
        (h.paused, h.calls_itself_paused) = (pause, pause);
        let verb = if pause { "paused" } else { "resumed" };
        Ok(Some(format!("{verb} {} ({})", h.instance_id, h.address)))
    }

    /// `PROXYSQL RESTART`: the process begins anew within itself, open for clients and with nothing of what it had but its uptime, and
    /// its word that it is paused.
    pub(crate) fn restart(&mut self, host: usize) -> Effect {
        let now = self.now;
        let fleet = self.hosts[host].fleet;
        let inherited =
            self.inherited.iter().filter(|(f, ..)| *f == fleet).map(|&(_, c, s)| (c, s)).collect();
        let h = &mut self.hosts[host];
        h.listens = Some(now + TimeDelta::seconds(RESTART_S));
        h.paused = false;
        h.sick = inherited;
        h.will_keep.clear();
        h.keeps.clear();
        for pool in &mut h.pools {
            *pool = Pool { probe_debt: pool.probe_debt, ..Pool::default() };
        }
        Some(format!("restarted {} ({})", h.instance_id, h.address))
    }
}
