//! How an engine behaves, and what is usual.

use std::time::Duration;

use domain::policy::Policies;

use crate::{Budget, TriageSettings};

/// How an engine behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of this process, for people.
    pub worker: String,
    /// How long a worker is believed alive after its last renewal (wall time). Take-over costs at most this.
    pub lease: Duration,
    /// How long one mutating call may take (wall time); never longer than what is left of the lease.
    pub change_deadline: Duration,
    /// How long one look may take (wall time).
    pub look_deadline: Duration,
    /// How long after its deadline, read on anybody's clock, a signed request may still be accepted by the service: AWS
    /// takes signatures of about five minutes' age, and machines' clocks differ by less than a minute.
    pub signature_window: Duration,
    /// How much the looks of all replicas together may ask of one service in one region.
    pub look_budget: Budget,
    /// The same of RDS, which grants less.
    pub rds_budget: Budget,
    /// How long a run must do nothing but wait before it forgets what is in its journal anyway (wall time).
    pub rest_after: Duration,
    /// How long history may wait until a block binds it (wall time).
    pub seal_every: Duration,
    /// How long deliveries and messages are kept once they are done with (clock time).
    pub keep: Duration,
    /// How often every runbook is rehearsed on every target (clock time); not at all, when absent.
    pub rehearse_every: Option<Duration>,
    /// How far rules may go by themselves.
    pub triage: TriageSettings,
    /// Who may start what, and agree to it, where that is less than their roles allow.
    pub policies: Policies,
    /// How people reach the pages: what elsewhere is told leads there.
    pub public_url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            worker: "firebreak".into(),
            lease: Duration::from_secs(10),
            change_deadline: Duration::from_secs(15),
            look_deadline: Duration::from_secs(60),
            signature_window: Duration::from_secs(300 + 60),
            look_budget: Budget::default(),
            rds_budget: Budget::of_rds(),
            rest_after: Duration::from_millis(500),
            seal_every: Duration::from_secs(10),
            keep: Duration::from_secs(30 * 24 * 3600),
            rehearse_every: None,
            triage: TriageSettings::default(),
            policies: Policies::default(),
            public_url: "http://127.0.0.1:8080".into(),
        }
    }
}
