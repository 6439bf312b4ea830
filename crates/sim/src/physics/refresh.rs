//! Instance refreshes: a group replaces its hosts by itself, as many at a time as the two percentages allow.
//!
//! ```text
//!   Pending ──▶ InProgress ──▶ Successful
//!                  │  └──────▶ Failed       (an hour without progress)
//!                  └─▶ Cancelling ──▶ Cancelled
//! ```
//!
//! With `MaxHealthyPercentage` the group launches first and terminates what the new hosts make superfluous; without it the
//! group terminates first, and its ordinary launching fills the gap. "Healthy" is what the group's own check says, which is
//! EC2's: it knows nothing of MySQL logins, so that a refresh may well replace the last host that served anybody.

use chrono::{DateTime, TimeDelta, Utc};

use super::group_ops::Effect;
use super::host::Lifecycle;
use super::{Physics, Refusal, draw};

/// Seconds from the call until it begins.
const BEGINS_S: i64 = 5;
/// Seconds without progress after which it fails.
const STUCK_S: i64 = 3600;

/// What the caller may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// Per cent of the desired capacity that must be in service.
    pub(crate) min_healthy: u32,
    /// Per cent of the desired capacity that may be there at all; absent is not the same as 100.
    pub(crate) max_healthy: Option<u32>,
    /// Seconds in service until a new host counts.
    pub(crate) warmup_s: u32,
    /// Spare hosts that have the group's launch template already.
    pub(crate) skip_matching: bool,
    pub(crate) protected: Protected,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            min_healthy: 90,
            max_healthy: None,
            warmup_s: 0,
            skip_matching: false,
            protected: Protected::Wait,
        }
    }
}

/// What happens to hosts that are protected from scale-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protected {
    Refresh,
    Ignore,
    /// Waited for until they are not.
    Wait,
}

/// Where a refresh stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshStatus {
    Pending,
    InProgress,
    Successful,
    Failed,
    Cancelling,
    Cancelled,
}

impl RefreshStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Cancelling => "Cancelling",
            Self::Cancelled => "Cancelled",
        }
    }

    /// It blocks another one.
    pub(crate) fn active(self) -> bool {
        matches!(self, Self::Pending | Self::InProgress | Self::Cancelling)
    }
}

/// One refresh of a group.
#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    pub(crate) id: String,
    pub(crate) status: RefreshStatus,
    pub(crate) reason: Option<String>,
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: Option<DateTime<Utc>>,
    pub(crate) preferences: Preferences,
    /// How many hosts it set out to replace.
    total: usize,
    /// Those that it has still to replace.
    old: Vec<usize>,
    /// Hosts too many on purpose.
    surplus: u32,
    /// Hosts that were healthy, and when that last changed.
    progress: (usize, DateTime<Utc>),
    /// Somebody else's, that is only shown: when it ends.
    shown_until: Option<DateTime<Utc>>,
}

impl Physics {
    /// The group's refresh that is going on.
    fn active(&self, g: usize) -> Option<usize> {
        self.groups[g].refreshes.iter().position(|r| r.status.active())
    }

    /// Hosts too many on purpose, because new ones are launched before old ones go.
    pub(super) fn refresh_surplus(&self, g: usize) -> u32 {
        self.active(g).map_or(0, |r| self.groups[g].refreshes[r].surplus)
    }

    pub(super) fn refreshing(&self, g: usize) -> bool {
        self.active(g).is_some_and(|r| self.groups[g].refreshes[r].shown_until.is_none())
    }

    /// `StartInstanceRefresh`: the effect, and the new refresh's id.
    ///
    /// # Errors
    /// `ValidationError` for an unknown group; `InstanceRefreshInProgress` while another one goes on.
    pub(crate) fn start_refresh(
        &mut self,
        asg: &str,
        preferences: Preferences,
    ) -> Result<(Effect, String), Refusal> {
        let g = self.group_index(asg)?;
        if self.active(g).is_some() {
            let message = "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.";
            return Err(Refusal::new("InstanceRefreshInProgress", message));
        }
        let template = &self.world.fleets[g].template_version;
        let skipped = |h: usize| {
            let host = &self.hosts[h];
            preferences.skip_matching && host.template_version == *template
                || preferences.protected == Protected::Ignore && host.protected
        };
        let old: Vec<usize> = self.members(g).filter(|&h| !skipped(h)).collect();
        let id = self.add_refresh(g, preferences, old, None);
        Ok((Some(format!("{asg}: instance refresh {id} started")), id))
    }

    /// Somebody else's refresh, which is only shown.
    pub(super) fn show_refresh(&mut self, g: usize, duration: TimeDelta) {
        let until = self.now + duration;
        self.add_refresh(g, Preferences::default(), Vec::new(), Some(until));
    }

    fn add_refresh(
        &mut self,
        g: usize,
        preferences: Preferences,
        old: Vec<usize>,
        shown_until: Option<DateTime<Utc>>,
    ) -> String {
        let n = ((g as u64) << 32) + self.groups[g].refreshes.len() as u64;
        let id = draw::uuid(self.seed, "refresh", n);
        self.groups[g].refreshes.push(Refresh {
            id: id.clone(),
            status: if shown_until.is_some() { RefreshStatus::InProgress } else { RefreshStatus::Pending },
            reason: None,
            start: self.now,
            end: None,
            preferences,
            total: old.len(),
            old,
            surplus: 0,
            progress: (0, self.now),
            shown_until,
        });
        id
    }

    /// `CancelInstanceRefresh`: the effect, and the refresh's id. What was replaced stays replaced.
    ///
    /// # Errors
    /// `ValidationError` for an unknown group; `ActiveInstanceRefreshNotFound` if none goes on.
    pub(crate) fn cancel_refresh(&mut self, asg: &str, wait: bool) -> Result<(Effect, String), Refusal> {
        let g = self.group_index(asg)?;
        let Some(r) = self.active(g) else {
            let message =
                format!("No in progress or pending Instance Refresh found for Auto Scaling group {asg}");
            return Err(Refusal::new("ActiveInstanceRefreshNotFound", message));
        };
        let now = self.now;
        let refresh = &mut self.groups[g].refreshes[r];
        let before = refresh.status;
        refresh.reason = Some("Cancelled due to user request.".into());
        refresh.surplus = 0;
        if wait && before != RefreshStatus::Pending {
            refresh.status = RefreshStatus::Cancelling;
        } else {
            (refresh.status, refresh.end) = (RefreshStatus::Cancelled, Some(now));
        }
        let id = refresh.id.clone();
        let changed = before != refresh.status;
        Ok((changed.then(|| format!("{asg}: instance refresh {id} cancelled")), id))
    }

    /// Hosts to be replaced, and how many of them are not replaced yet. A new host counts once it is healthy.
    pub(crate) fn refresh_progress(&self, g: usize, refresh: &Refresh) -> (usize, usize) {
        if let Some(until) = refresh.shown_until {
            let (done, whole) =
                ((self.now - refresh.start).num_seconds(), (until - refresh.start).num_seconds().max(1));
            return (100, (100 - (done * 100 / whole).clamp(0, 100)) as usize);
        }
        let unhealthy = if refresh.status == RefreshStatus::InProgress {
            let healthy = self.healthy(g, refresh.preferences.warmup_s);
            let new = healthy.saturating_sub(self.old_in_service(refresh));
            (self.groups[g].desired as usize).saturating_sub(new)
        } else {
            0
        };
        let left = refresh.old.len().max(unhealthy.min(refresh.total));
        (refresh.total, left)
    }

    fn old_in_service(&self, refresh: &Refresh) -> usize {
        refresh.old.iter().filter(|&&h| self.hosts[h].lifecycle == Lifecycle::InService).count()
    }

    /// Hosts in service, warm, and not found dead.
    fn healthy(&self, g: usize, warmup_s: u32) -> usize {
        let warm = |h: usize| {
            let host = &self.hosts[h];
            host.lifecycle == Lifecycle::InService
                && host.machine == super::Machine::Running
                && host.in_service.is_some_and(|at| self.now - at >= TimeDelta::seconds(i64::from(warmup_s)))
        };
        self.members(g).filter(|&h| warm(h)).count()
    }

    pub(super) fn tick_refreshes(&mut self) {
        for g in 0..self.groups.len() {
            if let Some(r) = self.active(g) {
                self.tick_refresh(g, r);
            }
        }
    }

    fn tick_refresh(&mut self, g: usize, r: usize) {
        let now = self.now;
        let gone: Vec<usize> = {
            let old = &self.groups[g].refreshes[r].old;
            old.iter().copied().filter(|&h| !self.hosts[h].lifecycle.counts()).collect()
        };
        self.groups[g].refreshes[r].old.retain(|h| !gone.contains(h));
        let refresh = &self.groups[g].refreshes[r];
        let desired = self.groups[g].desired as usize;
        let healthy = self.healthy(g, refresh.preferences.warmup_s);
        let settled = self.members(g).count() == desired && healthy == desired;
        let next = match (refresh.status, refresh.shown_until) {
            (_, Some(until)) => (now >= until).then_some(RefreshStatus::Successful),
            (RefreshStatus::Pending, _) => {
                (now - refresh.start >= TimeDelta::seconds(BEGINS_S)).then_some(RefreshStatus::InProgress)
            }
            (RefreshStatus::Cancelling, _) => settled.then_some(RefreshStatus::Cancelled),
            _ if refresh.old.is_empty() && settled => Some(RefreshStatus::Successful),
            _ if now - refresh.progress.1 >= TimeDelta::seconds(STUCK_S) => Some(RefreshStatus::Failed),
            _ => None,
        };
        let refresh = &mut self.groups[g].refreshes[r];
        if let Some(next) = next {
            refresh.status = next;
            refresh.progress = (healthy, now);
            if !next.active() {
                (refresh.end, refresh.surplus) = (Some(now), 0);
            }
            if next == RefreshStatus::Failed {
                let left = refresh.old.len();
                refresh.reason =
                    Some(format!("No progress for one hour; {left} instances were not replaced."));
            }
            return;
        }
        if refresh.progress.0 != healthy {
            refresh.progress = (healthy, now);
        }
        let runs = ["InstanceRefresh", "Launch", "Terminate"].iter().all(|p| self.groups[g].runs(p));
        if runs
            && self.groups[g].refreshes[r].status == RefreshStatus::InProgress
            && self.groups[g].refreshes[r].shown_until.is_none()
        {
            self.replace(g, r, healthy);
        }
    }

    /// Terminates as many old hosts as may go now, and asks for as many new ones as may come.
    fn replace(&mut self, g: usize, r: usize, healthy: usize) {
        let refresh = &self.groups[g].refreshes[r];
        let preferences = refresh.preferences;
        let desired = self.groups[g].desired as usize;
        let floor = (desired * preferences.min_healthy as usize).div_ceil(100);
        let may_go: Vec<usize> = refresh
            .old
            .iter()
            .copied()
            .filter(|&h| preferences.protected != Protected::Wait || !self.hosts[h].protected)
            .collect();
        let goes = match preferences.max_healthy {
            // One at a time at least, and the next ones only when all are well.
            None if healthy == desired && self.members(g).count() == desired => {
                (desired - floor).max(1).min(may_go.len())
            }
            None => 0,
            Some(_) => healthy.saturating_sub(floor).min(may_go.len()),
        };
        for &h in &may_go[..goes] {
            self.take_out(h, "an instance refresh");
        }
        let left = self.groups[g].refreshes[r].old.len() - goes;
        let room = preferences.max_healthy.map_or(0, |most| {
            let room = (desired * most as usize / 100).saturating_sub(desired);
            // Where neither fewer nor more would be allowed, one more is.
            if room == 0 && floor == desired { 1 } else { room }
        });
        let waiting = left - (may_go.len() - goes); // for their protection to end
        self.groups[g].refreshes[r].surplus = room.min(left - waiting) as u32;
        self.groups[g].refreshes[r].old.retain(|h| !may_go[..goes].contains(h));
        if goes > 0 {
            self.groups[g].refreshes[r].progress.1 = self.now;
        }
    }
}

#[cfg(test)]
mod tests;
