//! The description of a world: what exists at the start, and what will go wrong when.
//!
//! It is plain data, so that a drill can carry one. Every quantity says its unit; everything with a
//! sensible default has one. The physics begins from this and never changes it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::alarm::Alarm;
use crate::fault::TimedFault;

/// Each cluster's endpoints have one address in a network of 256.
const MOST_CLUSTERS: usize = 250;

/// A world that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("world `{world}`: {what}")]
pub struct WorldError {
    /// The world's name.
    pub world: String,
    /// What is wrong, and what to do.
    pub what: String,
}

/// Everything that exists at the start, and the timeline of faults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// A name for people.
    pub name: String,
    /// The AWS region, e.g. `us-east-1`.
    #[serde(default = "default_region")]
    pub region: String,
    /// The AWS account id, twelve digits.
    #[serde(default = "default_account")]
    pub account: String,
    /// Simulated time at which the world begins.
    pub start: DateTime<Utc>,
    /// The Aurora clusters.
    pub clusters: Vec<Cluster>,
    /// The ProxySQL fleets.
    pub fleets: Vec<Fleet>,
    /// The application's processes.
    #[serde(default)]
    pub clients: Clients,
    /// CloudWatch's alarms.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<TimedFault>,
}

impl World {
    /// Whether everything that the world names exists.
    ///
    /// # Errors
    /// [`WorldError`] with the first contradiction.
    pub fn check(&self) -> Result<(), WorldError> {
        let wrong = |what: String| Err(WorldError { world: self.name.clone(), what });
        if self.fleets.is_empty() {
            return wrong("it has no fleet; add at least one under `fleets`".into());
        }
        let names = self.fleets.iter().map(|f| &f.asg).chain(self.clusters.iter().map(|c| &c.id));
        let mut seen = BTreeSet::new();
        if let Some(twice) = names.into_iter().find(|n| !seen.insert(n.as_str())) {
            return wrong(format!(
                "the name `{twice}` is used twice; clusters and fleets need names of their own"
            ));
        }
        if self.clusters.len() > MOST_CLUSTERS {
            return wrong(format!(
                "{} clusters are more than the {MOST_CLUSTERS} that have addresses",
                self.clusters.len()
            ));
        }
        let fleet_known = |asg: &str| self.fleets.iter().any(|f| f.asg == asg);
        let cluster_known = |id: &str| self.clusters.iter().any(|c| c.id == id);
        for fleet in &self.fleets {
            let (name, min, desired, max) = (&fleet.asg, fleet.min, fleet.desired, fleet.max);
            if fleet.zones.is_empty() {
                return wrong(format!("fleet `{name}` has no zone; name at least one under `zones`"));
            }
            if desired == 0 || !(min..=max).contains(&desired) {
                return wrong(format!(
                    "fleet `{name}`: need 0 < desired and min {min} <= desired {desired} <= max {max}"
                ));
            }
            if fleet.mysql_port == fleet.admin_port {
                return wrong(format!("fleet `{name}`: `mysql_port` and `admin_port` must differ"));
            }
        }
        for cluster in &self.clusters {
            if let Some(fleet) = cluster.fleet.as_ref().filter(|f| !fleet_known(f)) {
                return wrong(format!("cluster `{}` names the unknown fleet `{fleet}`", cluster.id));
            }
        }
        for TimedFault { at_s, fault } in &self.faults {
            if let Some(name) = fault.cluster().filter(|c| !cluster_known(c)) {
                return wrong(format!("the fault at {at_s} s names the unknown cluster `{name}`"));
            }
            if let Some(name) = fault.fleet().filter(|f| !fleet_known(f)) {
                return wrong(format!("the fault at {at_s} s names the unknown fleet `{name}`"));
            }
            if let Some(name) = fault.instance().filter(|i| !self.has_instance(i)) {
                return wrong(format!("the fault at {at_s} s names the unknown instance `{name}`"));
            }
        }
        self.alarms.iter().try_for_each(|alarm| alarm.check(self)).or_else(wrong)
    }

    /// Whether a cluster has a member of that name.
    pub(crate) fn has_instance(&self, id: &str) -> bool {
        self.clusters.iter().any(|c| (0..=c.readers).any(|n| c.member_id(n) == id))
    }
}

/// One Aurora MySQL cluster: a writer and its readers, spread over the region's zones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The cluster's identifier, e.g. `shard-b`. Its members are `<id>-1`, `<id>-2`, ...
    pub id: String,
    /// How many per cent of the customers use it.
    pub customers_percent: f64,
    /// Instance class of every member, e.g. `db.r6i.8xlarge`.
    pub class: String,
    /// Number of readers beside the writer.
    #[serde(default = "default_readers")]
    pub readers: u8,
    /// Requests per second that customers make of it.
    pub requests_per_second: f64,
    /// Overrides the class's default `max_connections`.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Name of the fleet (its group) in front of the writer; the first fleet if absent.
    #[serde(default)]
    pub fleet: Option<String>,
    /// Password of the probe user, which is called `probe_<id with _ for ->`.
    #[serde(default = "default_probe_password")]
    pub probe_password: String,
}

impl Cluster {
    /// The MySQL user that a login probe uses; through a proxy it also selects the cluster.
    #[must_use]
    pub fn probe_user(&self) -> String {
        format!("probe_{}", self.id.replace('-', "_"))
    }

    /// The identifier of its member number `n`, from 0.
    pub(crate) fn member_id(&self, n: u8) -> String {
        format!("{}-{}", self.id, u16::from(n) + 1)
    }

    /// The limit of connections of a writer of that class.
    #[must_use]
    pub fn connection_limit(&self, class: &str) -> u32 {
        self.max_connections.unwrap_or_else(|| max_connections(class))
    }
}

/// One fleet of ProxySQL hosts: an Auto Scaling group, usually behind an NLB target group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Name of the Auto Scaling group.
    pub asg: String,
    /// Zones, e.g. `us-east-1a`.
    pub zones: Vec<String>,
    /// Smallest size of the group.
    pub min: u32,
    /// Wanted size at the start, spread evenly over the zones.
    pub desired: u32,
    /// Largest size of the group.
    pub max: u32,
    /// EC2 instance type.
    #[serde(default = "default_instance_type")]
    pub instance_type: String,
    /// Version of the launch template that every host was launched from.
    #[serde(default = "default_template_version")]
    pub template_version: String,
    /// Auto Scaling processes suspended at the start.
    #[serde(default)]
    pub suspended: Vec<String>,
    /// Lifecycle hooks.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// The target group, or none when clients reach the hosts without a load balancer.
    #[serde(default)]
    pub target_group: Option<TargetGroup>,
    /// By what the group tells a healthy host.
    #[serde(default)]
    pub health_check: HealthCheck,
    /// Port of the MySQL traffic.
    #[serde(default = "default_mysql_port")]
    pub mysql_port: u16,
    /// Port of ProxySQL's admin interface.
    #[serde(default = "default_admin_port")]
    pub admin_port: u16,
    /// User of the admin interface, allowed from everywhere.
    #[serde(default = "default_admin_user")]
    pub admin_user: String,
    /// Password of the admin user.
    #[serde(default = "default_admin_password")]
    pub admin_password: String,
    /// Connections that one host keeps open to each cluster's writer.
    #[serde(default = "default_backend_connections")]
    pub backend_connections: u32,
    /// Seconds from launch until ProxySQL listens: shortest and longest, drawn per host.
    #[serde(default = "default_boot_s")]
    pub boot_s: (u32, u32),
}

/// By what a group tells that an instance is to be replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthCheck {
    /// By EC2 alone: a machine that is gone.
    #[default]
    Ec2,
    /// Also by the load balancer: a target that was healthy and fails its checks, if only because its host is paused.
    Elb,
}

impl HealthCheck {
    /// As the API calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Elb => "ELB",
        }
    }
}

/// A lifecycle hook that nobody answers: the instance waits for the heartbeat timeout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Name of the hook.
    pub name: String,
    /// `autoscaling:EC2_INSTANCE_TERMINATING` or `autoscaling:EC2_INSTANCE_LAUNCHING`.
    pub transition: String,
    /// Seconds until the hook's default result applies.
    #[serde(default = "default_heartbeat_s")]
    pub heartbeat_s: u32,
    /// `CONTINUE` or `ABANDON`.
    #[serde(default = "default_hook_result")]
    pub default_result: String,
}

/// An NLB target group in front of a fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// Name, part of the ARN.
    pub name: String,
    /// Seconds that a deregistering target keeps its busy connections.
    #[serde(default = "default_deregistration_delay_s")]
    pub deregistration_delay_s: u32,
    /// Seconds of passing checks until a new target is `healthy`.
    #[serde(default = "default_initial_health_s")]
    pub initial_health_s: u32,
    /// Seconds of failing checks until a target is `unhealthy`.
    #[serde(default = "default_unhealthy_after_s")]
    pub unhealthy_after_s: u32,
}

/// The application's processes, as a fluid: they hold connections to ProxySQL hosts for hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clients {
    /// Client connections to each fleet, all hosts together.
    pub connections: f64,
    /// Mean life of a connection in seconds; why new hosts stay nearly empty.
    pub connection_life_s: f64,
    /// Seconds in which half of the clients leave a paused or draining host.
    pub drain_half_life_s: f64,
    /// Seconds' worth of requests that a client loses when its connection is cut.
    pub lost_in_flight_s: f64,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            connections: 12_000.0,
            connection_life_s: 4.0 * 3600.0,
            drain_half_life_s: 45.0,
            lost_in_flight_s: 0.2,
        }
    }
}

/// Default `max_connections` of an instance class on Aurora MySQL (AWS's table; 1,000 if unknown).
#[must_use]
pub fn max_connections(class: &str) -> u32 {
    match class.rsplit('.').next().unwrap_or_default() {
        "xlarge" => 2000,
        "2xlarge" => 3000,
        "4xlarge" => 4000,
        "8xlarge" => 5000,
        "12xlarge" | "16xlarge" => 6000,
        "24xlarge" | "32xlarge" => 7000,
        _ => 1000,
    }
}

/// Memory of an instance class of the families that Aurora MySQL has, in GiB (AWS's table).
#[must_use]
pub fn memory_gib(class: &str) -> Option<f64> {
    let (family, size) = class.strip_prefix("db.")?.split_once('.')?;
    let per_xlarge = match family {
        "r5" | "r6g" | "r6i" | "r7g" | "r7i" | "r8g" => 32.0,
        "x2g" => 64.0,
        "t3" | "t4g" => 16.0,
        _ => return None,
    };
    let xlarges = match size {
        "medium" => 0.25,
        "large" => 0.5,
        "xlarge" => 1.0,
        "2xlarge" | "4xlarge" | "8xlarge" | "12xlarge" | "16xlarge" | "24xlarge" | "32xlarge" => {
            size.strip_suffix("xlarge")?.parse().ok()?
        }
        _ => return None,
    };
    Some(per_xlarge * xlarges)
}

/// What a program needs in order to find its way around a running simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorldInfo {
    /// The world's name.
    pub name: String,
    /// The AWS region.
    pub region: String,
    /// The AWS account id.
    pub account: String,
    /// Simulated time at which the world began.
    pub start: DateTime<Utc>,
    /// The clusters.
    pub clusters: Vec<ClusterInfo>,
    /// The fleets.
    pub fleets: Vec<FleetInfo>,
}

/// One cluster of a running simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterInfo {
    /// The cluster's identifier.
    pub id: String,
    /// How many per cent of the customers use it.
    pub customers_percent: f64,
    /// Address of the writer endpoint.
    pub endpoint: String,
    /// Address of the reader endpoint.
    pub reader_endpoint: String,
    /// Port of both endpoints.
    pub port: u16,
    /// Instance class at the start.
    pub class: String,
    /// The writer's limit of connections.
    pub max_connections: u32,
    /// The probe's MySQL user.
    pub probe_user: String,
    /// The probe's password.
    pub probe_password: String,
    /// Name of the group of the fleet in front of it.
    pub fleet: String,
}

/// One fleet of a running simulator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetInfo {
    /// Name of the Auto Scaling group.
    pub asg: String,
    /// The AWS region.
    pub region: String,
    /// The target group, if there is one.
    pub target_group_arn: Option<String>,
    /// Port of the MySQL traffic on every host.
    pub mysql_port: u16,
    /// Port of the admin interface on every host.
    pub admin_port: u16,
    /// User of the admin interface.
    pub admin_user: String,
    /// Password of the admin user.
    pub admin_password: String,
    /// Connections that one host keeps open to each cluster's writer.
    pub backend_connections: u32,
    /// ProxySQL's hostgroup number of each cluster's writer.
    pub hostgroups: BTreeMap<String, u32>,
}

fn default_region() -> String {
    "us-east-1".into()
}
fn default_account() -> String {
    "111122223333".into()
}
fn default_readers() -> u8 {
    1
}
fn default_probe_password() -> String {
    "probe-secret".into()
}
fn default_instance_type() -> String {
    "c6i.4xlarge".into()
}
fn default_template_version() -> String {
    "7".into()
}
fn default_mysql_port() -> u16 {
    6033
}
fn default_admin_port() -> u16 {
    6032
}
fn default_admin_user() -> String {
    "radmin".into()
}
fn default_admin_password() -> String {
    "radmin-secret".into()
}
fn default_backend_connections() -> u32 {
    400
}
fn default_boot_s() -> (u32, u32) {
    (60, 150)
}
fn default_heartbeat_s() -> u32 {
    3600
}
fn default_hook_result() -> String {
    "ABANDON".into()
}
fn default_deregistration_delay_s() -> u32 {
    300
}
fn default_initial_health_s() -> u32 {
    100
}
fn default_unhealthy_after_s() -> u32 {
    60
}
