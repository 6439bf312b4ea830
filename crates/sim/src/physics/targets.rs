//! The NLB's view of the hosts: TCP checks of the MySQL port, and deregistration.
//!
//! ```text
//!   initial ──passing long enough──▶ healthy ⇄ unhealthy
//!      └──────────────┬──────────────────┘
//!                     ▼ deregistered
//!                 draining ──delay over, or nobody left──▶ (not registered)
//! ```
//!
//! The target group keeps existing connections of an unhealthy target
//! (`target_health_state.unhealthy.connection_termination.enabled` is false).

use chrono::{DateTime, TimeDelta, Utc};

use super::Physics;
use super::host::{Host, Target, TargetState};

impl Target {
    /// A registration that begins now.
    pub(crate) fn registered(now: DateTime<Utc>) -> Self {
        Self { state: TargetState::Initial, since: now, checks_since: now, checks_pass: false }
    }
}

impl Host {
    pub(crate) fn deregister(&mut self, now: DateTime<Utc>) {
        if let Some(target) = &mut self.target
            && target.state != TargetState::Draining
        {
            *target = Target { state: TargetState::Draining, since: now, ..*target };
        }
    }
}

impl Physics {
    /// How long a target that has become unhealthy is shown as one whose connections drain.
    pub(crate) fn unhealthy_drains(&self, fleet: usize) -> TimeDelta {
        self.unhealthy_drains.get(&fleet).copied().unwrap_or_default()
    }

    pub(crate) fn tick_targets(&mut self) {
        let now = self.now;
        for host in &mut self.hosts {
            let Some(group) = &self.world.fleets[host.fleet].target_group else { continue };
            let span = |s: u32| TimeDelta::seconds(i64::from(s));
            let pass = host.accepts(now);
            let Some(target) = &mut host.target else { continue };
            if target.checks_pass != pass {
                (target.checks_pass, target.checks_since) = (pass, now);
            }
            let checked = now - target.checks_since;
            let next = match (target.state, pass) {
                (TargetState::Initial | TargetState::Unhealthy, true)
                    if checked >= span(group.initial_health_s) =>
                {
                    TargetState::Healthy
                }
                (TargetState::Healthy, false) if checked >= span(group.unhealthy_after_s) => {
                    TargetState::Unhealthy
                }
                (same, _) => same,
            };
            if next != target.state {
                (target.state, target.since) = (next, now);
            }
            let drained = now - target.since >= span(group.deregistration_delay_s) || host.clients == 0.0;
            if target.state == TargetState::Draining && drained {
                host.target = None;
            }
        }
    }
}
