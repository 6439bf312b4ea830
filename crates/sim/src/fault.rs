//! What can go wrong, as data: a timeline in the world, or one at a time through the control API.

use serde::{Deserialize, Serialize};

/// A fault and when it strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedFault {
    /// Seconds after the world's start.
    pub at_s: u32,
    /// What happens.
    pub fault: FaultKind,
}

/// Everything that can go wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The writer is lost and Aurora fails over; nobody can use the cluster meanwhile.
    ClusterFailover {
        /// The cluster.
        cluster: String,
        /// Seconds until the cluster is `available` again, with another writer.
        duration_s: u32,
    },
    /// Hosts begin to fail logins to one cluster. Stays until the host is gone or restarted; its health sees nothing.
    SickHosts {
        /// The fleet, by the name of its group.
        fleet: String,
        /// The cluster whose logins fail.
        cluster: String,
        /// Share of queries that fail at first, 0 to 1.
        from: f64,
        /// Share of queries that fail in the end, 0 to 1.
        to: f64,
        /// Seconds from the first to the last, give or take a tenth per host.
        ramp_s: u32,
        /// Only so many of the hosts, the first of them; all if absent.
        #[serde(default)]
        hosts: Option<usize>,
        /// Whether hosts launched or restarted later are sick as well (a broken configuration rather than a sick process).
        #[serde(default)]
        new_hosts_too: bool,
    },
    /// From now on it is chance which of the queries fail (the same for the same seed); without this their failures are spread evenly,
    /// which is quicker to try things with: of ten logins through a host that fails three of ten, three fail.
    FailuresByChance,
    /// The instance that writes now has no connection left for some of those who ask, whoever asks and whichever way. It
    /// stays with the instance: only another writer helps.
    WriterExhausted {
        /// The cluster.
        cluster: String,
        /// Share of queries that fail, 0 to 1.
        share: f64,
    },
    /// From now on customers ask so many times as much as usual (1 is usual again). A writer that is asked for more than it can
    /// do stays overloaded when the surge has passed, as failing requests are asked again.
    Surge {
        /// The cluster.
        cluster: String,
        /// Times the usual number of requests.
        times: f64,
    },
    /// The load needs more memory than the writer's class has: some queries fail until a larger instance writes.
    Outgrown {
        /// The cluster.
        cluster: String,
        /// Memory that the load needs, in GiB.
        needs_gib: f64,
        /// Share of queries that fail on a writer with less, 0 to 1.
        share: f64,
    },
    /// Readers fall behind the writer, and stay behind.
    ReplicaLag {
        /// The cluster.
        cluster: String,
        /// The instance; all if absent.
        #[serde(default)]
        instance: Option<String>,
        /// How far behind.
        milliseconds: f64,
    },
    /// Somebody has put a change of class off to the maintenance window.
    ClassPutOff {
        /// The cluster.
        cluster: String,
        /// The instance.
        instance: String,
        /// Its class to be.
        class: String,
    },
    /// The next change of class in the cluster stays `modifying` for ever; the instance keeps its old class, and serves.
    ClassChangeSticks {
        /// The cluster.
        cluster: String,
    },
    /// Somebody has made a green copy of the cluster (a blue/green deployment), and has not switched over yet.
    BlueGreen {
        /// The cluster: the blue side.
        cluster: String,
    },
    /// A class cannot be ordered.
    NotOrderable {
        /// The class.
        class: String,
        /// The zone, or anywhere if absent.
        #[serde(default)]
        zone: Option<String>,
    },
    /// The next failover that is asked for goes back: the old writer is promoted again.
    FailoverReverts {
        /// The cluster.
        cluster: String,
    },
    /// From now on a failover of the cluster that is asked for takes so long, and nobody can write meanwhile.
    SlowFailovers {
        /// The cluster.
        cluster: String,
        /// Seconds until it is `available` again, the usual 44 at least.
        duration_s: u32,
    },
    /// From now on RDS tells nothing of the cluster that has these words in it, to nobody: its events are told as well as may be.
    EventsLost {
        /// The cluster.
        cluster: String,
        /// Words of the message (`Started`, `Completed`, `Promoting`); all its events if absent.
        #[serde(default)]
        saying: Option<String>,
    },
    /// From now on `DescribeEvents` shows what happens to the cluster only so much later.
    EventsLate {
        /// The cluster.
        cluster: String,
        /// Seconds.
        late_s: u32,
    },
    /// Hosts keep the old writer in their writer hostgroup when the cluster fails over next: logins through them work, and writes
    /// fail, as the old writer is read-only then. Stays until the host is gone or restarted.
    StuckWriter {
        /// The fleet, by the name of its group.
        fleet: String,
        /// The cluster.
        cluster: String,
        /// Only so many of the hosts, the first of them; all if absent.
        #[serde(default)]
        hosts: Option<usize>,
    },
    /// Aurora itself refuses the cluster's users: replacing hosts can never help.
    WrongCredentials {
        /// The cluster.
        cluster: String,
    },
    /// Puts an end to [`FaultKind::WrongCredentials`].
    CredentialsRestored {
        /// The cluster.
        cluster: String,
    },
    /// EC2 has no capacity; launches fail.
    NoCapacity {
        /// The zone, or all zones if absent.
        #[serde(default)]
        zone: Option<String>,
    },
    /// EC2 has capacity everywhere again.
    CapacityRestored,
    /// Hosts of the fleet launched from now on never listen, so they never become healthy.
    NewHostsNeverListen {
        /// The fleet, by the name of its group.
        fleet: String,
    },
    /// Hosts of the fleet that have ended answer nothing, as in EC2, where packets to what is not there any more are dropped: whoever
    /// connects learns so by running into their own deadline. Without this their ports refuse, which is quicker to try things with.
    DeadHostsSilent {
        /// The fleet, by the name of its group.
        fleet: String,
    },
    /// From now on the load balancer lets the connections of a target that becomes unhealthy drain first, and shows it as
    /// `unhealthy.draining` meanwhile, as a target group with `unhealthy_draining_interval_seconds` does.
    UnhealthyDrains {
        /// The fleet, by the name of its group.
        fleet: String,
        /// Seconds that it drains.
        drain_s: u32,
    },
    /// EC2 has room for only so many more instances in a zone; capacity restored ends it.
    RoomFor {
        /// The zone.
        zone: String,
        /// Instances.
        instances: u32,
    },
    /// Somebody else refreshes the instances of a group. Only the refresh is shown; it replaces no host.
    InstanceRefresh {
        /// The fleet, by the name of its group.
        fleet: String,
        /// Seconds until it is done.
        duration_s: u32,
    },
    /// Calls of the AWS API go wrong.
    Api(ApiFault),
    /// All API faults end.
    ApiRestored,
}

impl FaultKind {
    /// The cluster that it names.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Self::ClusterFailover { cluster, .. }
            | Self::SickHosts { cluster, .. }
            | Self::WriterExhausted { cluster, .. }
            | Self::Surge { cluster, .. }
            | Self::Outgrown { cluster, .. }
            | Self::ReplicaLag { cluster, .. }
            | Self::ClassPutOff { cluster, .. }
            | Self::ClassChangeSticks { cluster }
            | Self::BlueGreen { cluster }
            | Self::FailoverReverts { cluster }
            | Self::SlowFailovers { cluster, .. }
            | Self::EventsLost { cluster, .. }
            | Self::EventsLate { cluster, .. }
            | Self::StuckWriter { cluster, .. }
            | Self::WrongCredentials { cluster }
            | Self::CredentialsRestored { cluster } => Some(cluster),
            _ => None,
        }
    }

    /// The Aurora instance that it names.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::ReplicaLag { instance, .. } => instance.as_deref(),
            Self::ClassPutOff { instance, .. } => Some(instance),
            _ => None,
        }
    }

    /// The fleet that it names.
    #[must_use]
    pub fn fleet(&self) -> Option<&str> {
        match self {
            Self::SickHosts { fleet, .. }
            | Self::StuckWriter { fleet, .. }
            | Self::NewHostsNeverListen { fleet }
            | Self::DeadHostsSilent { fleet }
            | Self::UnhealthyDrains { fleet, .. }
            | Self::InstanceRefresh { fleet, .. } => Some(fleet),
            _ => None,
        }
    }
}

/// A dial on the AWS API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiFault {
    /// Only this service (`autoscaling`, `ec2`, `elasticloadbalancing`, `rds`, `shedder`, `sts`, `proxysql`). If absent: all but the
    /// admin ports of ProxySQL, which are not behind any API.
    #[serde(default)]
    pub service: Option<String>,
    /// Only this operation; all if absent. Those of ProxySQL are its commands (`PROXYSQL PAUSE`, …), and `SELECT` for every look.
    #[serde(default)]
    pub operation: Option<String>,
    /// What happens to the call.
    pub trouble: ApiTrouble,
    /// Share of the calls that are hit, 0 to 1, spread evenly.
    #[serde(default = "always")]
    pub probability: f64,
    /// Ends after that many hits; never if absent.
    #[serde(default)]
    pub next: Option<u32>,
}

fn always() -> f64 {
    1.0
}

/// What can happen to one call. The words are those of an API; what ProxySQL's admin port does instead is told in
/// `mysql::admin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiTrouble {
    /// Refused: too many calls.
    Throttle,
    /// HTTP 403: the caller may not do that. Nothing done.
    Refused,
    /// HTTP 500, nothing done.
    InternalError,
    /// HTTP 503, nothing done.
    Unavailable,
    /// Answered late by that many simulated seconds.
    Latency {
        /// Simulated seconds.
        seconds: f64,
    },
    /// Never answered, and never done.
    TimeoutBefore,
    /// Done, but never answered.
    TimeoutAfter,
}
