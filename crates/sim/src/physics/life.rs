//! The life of a host, one second at a time: boot, service, draining, hooks, death.
//!
//! The states are drawn in `host`; when a group launches or takes out is `group`'s business.

use chrono::TimeDelta;

use super::group::secs;
use super::host::{Lifecycle, Machine, Target, TargetState};
use super::{Physics, draw};
use crate::world::HealthCheck;

/// Seconds until Auto Scaling notices that an instance was terminated behind its back.
const NOTICE_S: i64 = 60;

const LAUNCHING: &str = "autoscaling:EC2_INSTANCE_LAUNCHING";
const TERMINATING: &str = "autoscaling:EC2_INSTANCE_TERMINATING";

impl Physics {
    /// Moves every host along its life by one second.
    pub(crate) fn tick_hosts(&mut self) {
        for h in 0..self.hosts.len() {
            self.tick_machine(h);
            let now = self.now;
            let host = &self.hosts[h];
            let fleet = host.fleet;
            match host.lifecycle {
                Lifecycle::Pending if host.machine == Machine::Running => match self.hook(fleet, LAUNCHING) {
                    Some((wait, _)) => self.hosts[h].lifecycle = Lifecycle::PendingWait(now + wait),
                    None => self.enter_service(h),
                },
                Lifecycle::PendingWait(until) if now >= until => match self.hook(fleet, LAUNCHING) {
                    Some((_, abandon)) if abandon => {
                        self.take_out(h, "an abandoned lifecycle action");
                    }
                    _ => self.enter_service(h),
                },
                Lifecycle::InService if host.machine == Machine::Terminated => {
                    let checked =
                        ["HealthCheck", "ReplaceUnhealthy"].iter().all(|p| self.groups[fleet].runs(p));
                    if checked && now - host.machine_until >= TimeDelta::seconds(NOTICE_S) {
                        let because = "an EC2 health check indicating it has been terminated or stopped";
                        self.take_out(h, because);
                        self.hosts[h].target = None;
                    }
                }
                Lifecycle::InService if self.found_unhealthy(h) => {
                    self.hosts[h].unhealthy = true;
                    if self.groups[fleet].runs("ReplaceUnhealthy") {
                        self.take_out(h, "an ELB system health check failure");
                    }
                }
                Lifecycle::Terminating if host.target.is_none() => match self.hook(fleet, TERMINATING) {
                    Some((wait, _)) => {
                        self.hosts[h].lifecycle = Lifecycle::TerminatingWait(now + wait);
                        self.mark(h, "MidLifecycleAction", 60);
                    }
                    None => self.shut_down(h),
                },
                Lifecycle::TerminatingWait(until) if now >= until => self.shut_down(h),
                Lifecycle::TerminatingProceed if host.machine == Machine::Terminated => {
                    self.hosts[h].lifecycle = Lifecycle::Gone;
                    self.mark(h, "Successful", 100);
                }
                _ => {}
            }
        }
    }

    /// Does the group, where it asks the load balancer, find a host unhealthy, or has it done so before? It looks only while its
    /// process `HealthCheck` runs.
    fn found_unhealthy(&self, h: usize) -> bool {
        let host = &self.hosts[h];
        let asks = self.world.fleets[host.fleet].health_check == HealthCheck::Elb
            && self.groups[host.fleet].runs("HealthCheck");
        host.unhealthy || (asks && host.target.is_some_and(|t| t.state == TargetState::Unhealthy))
    }

    fn tick_machine(&mut self, h: usize) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if now >= host.machine_until {
            host.machine = match host.machine {
                Machine::Pending => Machine::Running,
                Machine::ShuttingDown => Machine::Terminated,
                same => same,
            };
        }
    }

    fn hook(&self, fleet: usize, transition: &str) -> Option<(TimeDelta, bool)> {
        let hook = self.world.fleets[fleet].hooks.iter().find(|hook| hook.transition == transition)?;
        Some((TimeDelta::seconds(i64::from(hook.heartbeat_s)), hook.default_result == "ABANDON"))
    }

    fn enter_service(&mut self, h: usize) {
        let fleet = self.hosts[h].fleet;
        self.hosts[h].lifecycle = Lifecycle::InService;
        self.hosts[h].in_service = Some(self.now);
        if self.world.fleets[fleet].target_group.is_some() && self.groups[fleet].runs("AddToLoadBalancer") {
            self.hosts[h].target = Some(Target::registered(self.now));
        }
        self.mark(h, "Successful", 100);
        self.groups[fleet].last_movement = self.now;
    }

    fn shut_down(&mut self, h: usize) {
        self.hosts[h].lifecycle = Lifecycle::TerminatingProceed;
        self.mark(h, "InProgress", 80);
        self.stop_machine(h);
    }

    /// EC2 begins to shut the instance down. ProxySQL exits at once on SIGTERM: no grace for clients.
    pub(crate) fn stop_machine(&mut self, h: usize) {
        if matches!(self.hosts[h].machine, Machine::Pending | Machine::Running) {
            let takes = draw::between(self.seed, "ec2 stop", h as u64, 20.0, 40.0).round();
            self.hosts[h].machine = Machine::ShuttingDown;
            self.hosts[h].machine_until = self.now + secs(takes);
        }
    }

    fn mark(&mut self, h: usize, status: &'static str, progress: u8) {
        let Some(a) = self.hosts[h].activity else { return };
        let now = self.now;
        let activity = &mut self.groups[self.hosts[h].fleet].activities[a];
        (activity.status, activity.progress) = (status, progress);
        if status == "Successful" {
            activity.end = Some(now);
            self.hosts[h].activity = None;
            self.scaled(self.hosts[h].fleet, a, Some(self.hosts[h].instance_id.clone()));
        }
    }
}
