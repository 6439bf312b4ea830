//! One ProxySQL host: an EC2 instance, its place in the group, its target, its sickness.
//!
//! ```text
//!   EC2     pending ──▶ running ───────────────────────────────▶ shutting-down ──▶ terminated
//!   group   Pending ──▶ (Pending:Wait) ──▶ InService ──▶ Terminating ──▶ (Terminating:Wait) ──▶ gone
//!   MySQL             (booting) ──▶ listening ⇄ paused ────────▶ dead, connections cut
//! ```
//!
//! A host knows nothing of its sickness: no state here that an API shows depends on it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

/// A ProxySQL host. Hosts are never removed from the world's list, so that indices stay valid.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) instance_id: String,
    /// Index of its fleet.
    pub(crate) fleet: usize,
    pub(crate) zone: String,
    pub(crate) address: String,
    pub(crate) launched: DateTime<Utc>,
    /// When ProxySQL listens; never for a host that is broken from birth.
    pub(crate) listens: Option<DateTime<Utc>>,
    /// Since when ProxySQL counts its uptime: it goes on counting over a `PROXYSQL RESTART`.
    pub(crate) began: Option<DateTime<Utc>>,
    pub(crate) machine: Machine,
    /// When `machine` reaches its next state, in the two states that end by themselves.
    pub(crate) machine_until: DateTime<Utc>,
    pub(crate) lifecycle: Lifecycle,
    /// When it came into service.
    pub(crate) in_service: Option<DateTime<Utc>>,
    pub(crate) protected: bool,
    /// The group has found it unhealthy, which nothing takes back.
    pub(crate) unhealthy: bool,
    pub(crate) template_version: String,
    /// The scaling activity that is bringing it in or taking it out.
    pub(crate) activity: Option<usize>,
    pub(crate) target: Option<Target>,
    /// Its MySQL port is closed.
    pub(crate) paused: bool,
    /// What it says of that itself: a `PROXYSQL RESTART` opens the port and does not touch this.
    pub(crate) calls_itself_paused: bool,
    /// Client connections that it holds.
    pub(crate) clients: f64,
    /// By index of the cluster.
    pub(crate) sick: BTreeMap<usize, Sickness>,
    /// Clusters whose next failover it will not follow.
    pub(crate) will_keep: BTreeSet<usize>,
    /// The member that it takes for the writer, by cluster: one that wrote before a failover.
    pub(crate) keeps: BTreeMap<usize, usize>,
    pub(crate) pools: Vec<Pool>,
}

/// EC2's states of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
}

impl Machine {
    /// Code and name, as `DescribeInstances` has them.
    pub(crate) fn code_and_name(self) -> (u16, &'static str) {
        match self {
            Self::Pending => (0, "pending"),
            Self::Running => (16, "running"),
            Self::ShuttingDown => (32, "shutting-down"),
            Self::Terminated => (48, "terminated"),
        }
    }
}

/// Auto Scaling's states of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Pending,
    /// A launch hook is waiting for its timeout.
    PendingWait(DateTime<Utc>),
    InService,
    /// The target is draining.
    Terminating,
    /// A termination hook is waiting for its timeout.
    TerminatingWait(DateTime<Utc>),
    /// The machine is going down.
    TerminatingProceed,
    /// No longer in the group.
    Gone,
}

impl Lifecycle {
    /// The name that `DescribeAutoScalingGroups` shows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::PendingWait(_) => "Pending:Wait",
            Self::InService => "InService",
            Self::Terminating => "Terminating",
            Self::TerminatingWait(_) => "Terminating:Wait",
            Self::TerminatingProceed => "Terminating:Proceed",
            Self::Gone => "Terminated",
        }
    }

    /// Counted towards the desired capacity.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Pending | Self::PendingWait(_) | Self::InService)
    }

    /// On its way out.
    pub(crate) fn leaving(self) -> bool {
        matches!(self, Self::Terminating | Self::TerminatingWait(_) | Self::TerminatingProceed)
    }
}

/// A registration with the target group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) state: TargetState,
    /// When the state began.
    pub(crate) since: DateTime<Utc>,
    /// When the checks last changed between passing and failing.
    pub(crate) checks_since: DateTime<Utc>,
    pub(crate) checks_pass: bool,
}

/// ELBv2's states of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
}

/// A share of one cluster's queries that a host fails, growing in a straight line and then staying.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sickness {
    pub(crate) since: DateTime<Utc>,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) ramp_s: f64,
}

impl Sickness {
    pub(crate) fn probability(&self, now: DateTime<Utc>) -> f64 {
        let age = seconds(now - self.since).max(0.0);
        let grown = if self.ramp_s > 0.0 { (age / self.ramp_s).min(1.0) } else { 1.0 };
        (self.from + (self.to - self.from) * grown).clamp(0.0, 1.0)
    }
}

/// A host's connection pool to one cluster's writer, as the admin interface counts it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Pool {
    pub(crate) ok: f64,
    pub(crate) err: f64,
    pub(crate) queries: f64,
    /// Spreads the failures of probe queries evenly: fails whenever it fills up.
    pub(crate) probe_debt: f64,
}

impl Host {
    /// The ProxySQL process runs: its admin port answers and its connections live.
    pub(crate) fn alive(&self, now: DateTime<Utc>) -> bool {
        self.machine == Machine::Running && self.listens.is_some_and(|at| at <= now)
    }

    /// Its machine has ended, or is about to.
    pub(crate) fn ended(&self) -> bool {
        matches!(self.machine, Machine::ShuttingDown | Machine::Terminated)
    }

    /// New client connections to its MySQL port succeed.
    pub(crate) fn accepts(&self, now: DateTime<Utc>) -> bool {
        self.alive(now) && !self.paused
    }

    /// The member that it takes for the writer, where that is another one than `writer`.
    pub(crate) fn stuck_with(&self, cluster: usize, writer: usize) -> Option<usize> {
        self.keeps.get(&cluster).copied().filter(|kept| *kept != writer)
    }

    pub(crate) fn sickness(&self, cluster: usize, now: DateTime<Utc>) -> f64 {
        self.sick.get(&cluster).map_or(0.0, |s| s.probability(now))
    }
}

/// A span in seconds.
pub(crate) fn seconds(span: TimeDelta) -> f64 {
    span.num_milliseconds() as f64 / 1000.0
}
