//! The world, moving: one state, advanced in ticks of one simulated second.
//!
//! Pure and single-threaded: no socket, no real time, no chance but the seed's. The wire layers hold it
//! behind one lock, advance it to "now" and call methods on it; a counterfactual runs it alone.
//!
//! Order within a tick: faults, clusters, hosts, groups, targets, clients, loads, requests, metrics.

mod alarms;
mod aurora;
mod class_change;
pub(crate) mod dials;
mod draw;
mod group;
mod group_ops;
mod host;
mod launch;
mod life;
mod load;
mod metrics;
mod news;
mod proxy;
mod refresh;
mod refusal;
mod state;
mod targets;
mod traffic;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub(crate) use alarms::{AlarmState, Watch};
pub(crate) use aurora::{AuroraCluster, Member, RdsEvent};
pub use class_change::Modification;
pub(crate) use draw::bits;
pub(crate) use group::Group;
pub use group_ops::{Bounds, Effect};
pub(crate) use host::{Host, Machine, TargetState};
pub(crate) use launch::LaunchRequest;
pub(crate) use metrics::{Metric, Metrics, Subject};
pub(crate) use news::News;
pub(crate) use proxy::Reply;
pub(crate) use refresh::{Preferences, Protected, Refresh};
pub use refusal::Refusal;
pub(crate) use state::{ClusterState, FleetState, HostState, MemberState, State};
pub(crate) use view::{Persona, Port};

use crate::fault::{FaultKind, TimedFault};
use crate::world::{World, WorldError};
use aurora::{Exhausted, Outgrown};
use dials::Dials;
use host::Sickness;
use load::Load;
use traffic::{Crowd, Tally};

/// Simulated seconds per sample of what customers see.
const SAMPLE_S: i64 = 5;
/// Samples kept per cluster: two simulated days.
const SAMPLES_KEPT: usize = 2 * 24 * 3600 / SAMPLE_S as usize;

/// Requests and errors of one cluster over five simulated seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// End of the span.
    pub at: DateTime<Utc>,
    /// The cluster.
    pub cluster: String,
    /// Requests made in the span.
    pub requests: f64,
    /// Those that failed.
    pub errors: f64,
}

impl Sample {
    /// Errors per request, 0 to 1.
    #[must_use]
    pub fn error_share(&self) -> f64 {
        if self.requests > 0.0 { self.errors / self.requests } else { 0.0 }
    }

    /// Requests per simulated second.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.requests / SAMPLE_S as f64
    }
}

/// The state of the world.
#[derive(Debug, Clone)]
pub struct Physics {
    pub(crate) world: World,
    seed: u64,
    /// Second byte of all its addresses: 127.x.
    subnet: u8,
    now: DateTime<Utc>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) groups: Vec<Group>,
    pub(crate) clusters: Vec<AuroraCluster>,
    /// Oldest first.
    pub(crate) events: Vec<RdsEvent>,
    pub(crate) metrics: Metrics,
    pub(crate) watches: Vec<Watch>,
    /// Oldest first.
    pub(crate) news: Vec<News>,
    pub(crate) dials: Dials,
    /// Index of the fleet in front of each cluster.
    fleet_of: Vec<usize>,
    /// By fleet.
    crowds: Vec<Crowd>,
    /// By cluster.
    loads: Vec<Load>,
    /// By cluster: the sample being collected.
    tallies: Vec<Tally>,
    samples: Vec<Sample>,
    /// Faults still to come, the next one last.
    faults: Vec<TimedFault>,
    /// Zones without capacity.
    no_capacity: BTreeSet<String>,
    /// Zones with capacity for so many instances more.
    room: BTreeMap<String, u32>,
    /// By fleet: how long a target is `unhealthy.draining` before it is `unhealthy`.
    unhealthy_drains: BTreeMap<usize, TimeDelta>,
    /// Classes that cannot be ordered: in one zone, or anywhere.
    not_orderable: Vec<(String, Option<String>)>,
    /// Fleets whose new hosts never listen.
    stillborn: BTreeSet<usize>,
    /// Fleets whose ended hosts answer nothing.
    silent: BTreeSet<usize>,
    /// Sickness that new hosts are born with: fleet, cluster.
    inherited: Vec<(usize, usize, Sickness)>,
    /// Which queries fail is drawn, and not spread evenly.
    by_chance: bool,
    /// How many were drawn, by their way.
    draws: BTreeMap<String, u64>,
}

impl Physics {
    /// The world at its start. `subnet` becomes the second byte of all its addresses.
    ///
    /// # Errors
    /// [`WorldError`] if the world contradicts itself.
    pub fn new(world: &World, seed: u64, subnet: u8) -> Result<Self, WorldError> {
        world.check()?;
        let mut faults = world.faults.clone();
        faults.sort_by_key(|f| std::cmp::Reverse(f.at_s));
        let fleet_of = |c: &crate::world::Cluster| {
            let named = c.fleet.as_ref();
            named.and_then(|n| world.fleets.iter().position(|f| f.asg == *n)).unwrap_or(0)
        };
        let mut physics = Self {
            seed,
            subnet,
            now: world.start,
            hosts: Vec::new(),
            groups: world.fleets.iter().map(|f| Group::new(f, world.start)).collect(),
            clusters: aurora::clusters(world, subnet),
            events: Vec::new(),
            metrics: Metrics::default(),
            watches: Vec::new(),
            news: Vec::new(),
            dials: Dials::default(),
            fleet_of: world.clusters.iter().map(fleet_of).collect(),
            crowds: vec![Crowd::default(); world.fleets.len()],
            loads: world.clusters.iter().map(|c| Load::usual(c.requests_per_second)).collect(),
            tallies: vec![Tally::default(); world.clusters.len()],
            samples: Vec::new(),
            faults,
            no_capacity: BTreeSet::new(),
            room: BTreeMap::new(),
            unhealthy_drains: BTreeMap::new(),
            not_orderable: Vec::new(),
            stillborn: BTreeSet::new(),
            silent: BTreeSet::new(),
            inherited: Vec::new(),
            by_chance: false,
            draws: BTreeMap::new(),
            world: world.clone(),
        };
        physics.settle_hosts();
        physics.remember_calm();
        physics.set_alarms();
        Ok(physics)
    }

    /// What chance is drawn from.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The time up to which the world has moved.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Moves the world on to `to`, in whole seconds; a time in the past changes nothing.
    pub fn advance(&mut self, to: DateTime<Utc>) {
        while self.now + TimeDelta::seconds(1) <= to {
            self.now += TimeDelta::seconds(1);
            self.tick();
        }
    }

    fn tick(&mut self) {
        let offset = (self.now - self.world.start).num_seconds();
        while let Some(fault) = self.faults.pop_if(|f| i64::from(f.at_s) <= offset) {
            self.strike(fault.fault);
        }
        self.tick_clusters();
        self.tick_hosts();
        self.tick_refreshes();
        self.tick_groups();
        self.tick_targets();
        self.move_clients();
        self.tick_loads();
        self.count_requests();
        self.tick_metrics();
        if offset % SAMPLE_S == 0 {
            self.take_sample();
        }
    }

    /// What is wrong with the names in a fault, if anything.
    pub(crate) fn unknown_name(&self, fault: &FaultKind) -> Option<String> {
        let cluster = fault.cluster().filter(|id| !self.clusters.iter().any(|c| c.id == **id));
        let fleet = fault.fleet().filter(|asg| !self.world.fleets.iter().any(|f| f.asg == **asg));
        let unknown = |kind: &str, name: &str| format!("there is no {kind} `{name}` in this world");
        let instance = fault.instance().filter(|id| self.instance(id).is_none());
        let nobody = cluster.map(|c| unknown("cluster", c)).or_else(|| fleet.map(|f| unknown("fleet", f)));
        nobody.or_else(|| instance.map(|i| unknown("instance", i)))
    }

    /// A fault strikes now. One that names something unknown strikes nothing.
    pub fn strike(&mut self, fault: FaultKind) {
        let cluster = |id: &str| self.clusters.iter().position(|c| c.id == id);
        let fleet = |asg: &str| self.world.fleets.iter().position(|f| f.asg == asg);
        match fault {
            FaultKind::ClusterFailover { cluster: id, duration_s } => {
                if let Some(c) = cluster(&id) {
                    self.lose_writer(c, TimeDelta::seconds(i64::from(duration_s)));
                }
            }
            FaultKind::SickHosts { fleet: asg, cluster: id, from, to, ramp_s, hosts, new_hosts_too } => {
                if let (Some(f), Some(c)) = (fleet(&asg), cluster(&id)) {
                    let sickness = Sickness { since: self.now, from, to, ramp_s: f64::from(ramp_s) };
                    self.sicken(f, c, sickness, hosts, new_hosts_too);
                }
            }
            FaultKind::FailuresByChance => self.by_chance = true,
            FaultKind::WriterExhausted { cluster: id, share } => {
                if let Some(c) = cluster(&id) {
                    let writer = self.clusters[c].writer;
                    self.clusters[c].exhausted = Some(Exhausted { member: writer, share });
                }
            }
            FaultKind::Surge { cluster: id, times } => {
                if let Some(c) = cluster(&id) {
                    self.surge(c, times);
                }
            }
            FaultKind::Outgrown { cluster: id, needs_gib, share } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].outgrown = Some(Outgrown { needs_gib, share });
                }
            }
            FaultKind::ReplicaLag { cluster: id, instance, milliseconds } => {
                if let Some(c) = cluster(&id) {
                    for m in self.clusters[c].members.iter_mut() {
                        if instance.as_ref().is_none_or(|i| *i == m.id) {
                            m.lag_ms = milliseconds;
                        }
                    }
                }
            }
            FaultKind::ClassPutOff { cluster: id, instance, class } => {
                if let Some(c) = cluster(&id)
                    && let Some(m) = self.clusters[c].member(&instance)
                {
                    self.clusters[c].members[m].put_off = Some(class);
                }
            }
            FaultKind::ClassChangeSticks { cluster: id } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].next_change_sticks = true;
                }
            }
            FaultKind::BlueGreen { cluster: id } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].has_green = true;
                }
            }
            FaultKind::NotOrderable { class, zone } => self.not_orderable.push((class, zone)),
            FaultKind::FailoverReverts { cluster: id } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].next_reverts = true;
                }
            }
            FaultKind::SlowFailovers { cluster: id, duration_s } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].asked_take = Some(TimeDelta::seconds(i64::from(duration_s)));
                }
            }
            FaultKind::EventsLost { cluster: id, saying } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].unsaid.push(saying.unwrap_or_default());
                }
            }
            FaultKind::EventsLate { cluster: id, late_s } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].told_late = TimeDelta::seconds(i64::from(late_s));
                }
            }
            FaultKind::StuckWriter { fleet: asg, cluster: id, hosts } => {
                if let (Some(f), Some(c)) = (fleet(&asg), cluster(&id)) {
                    let of_fleet = self.hosts.iter_mut().filter(|h| h.fleet == f);
                    for host in of_fleet.take(hosts.unwrap_or(usize::MAX)) {
                        host.will_keep.insert(c);
                    }
                }
            }
            FaultKind::WrongCredentials { cluster: id } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].refuses_logins = true;
                }
            }
            FaultKind::CredentialsRestored { cluster: id } => {
                if let Some(c) = cluster(&id) {
                    self.clusters[c].refuses_logins = false;
                }
            }
            FaultKind::NoCapacity { zone: Some(zone) } => {
                self.no_capacity.insert(zone);
            }
            FaultKind::NoCapacity { zone: None } => {
                let zones = self.world.fleets.iter().flat_map(|f| f.zones.iter().cloned());
                self.no_capacity = zones.collect();
            }
            FaultKind::CapacityRestored => {
                self.no_capacity.clear();
                self.room.clear();
            }
            FaultKind::RoomFor { zone, instances } => {
                self.room.insert(zone, instances);
            }
            FaultKind::UnhealthyDrains { fleet: asg, drain_s } => {
                if let Some(f) = fleet(&asg) {
                    self.unhealthy_drains.insert(f, TimeDelta::seconds(i64::from(drain_s)));
                }
            }
            FaultKind::NewHostsNeverListen { fleet: asg } => {
                self.stillborn.extend(fleet(&asg));
            }
            FaultKind::DeadHostsSilent { fleet: asg } => {
                self.silent.extend(fleet(&asg));
            }
            FaultKind::InstanceRefresh { fleet: asg, duration_s } => {
                if let Some(f) = fleet(&asg) {
                    self.show_refresh(f, TimeDelta::seconds(i64::from(duration_s)));
                }
            }
            FaultKind::Api(fault) => self.dials.turn_up(fault),
            FaultKind::ApiRestored => self.dials.clear(),
        }
    }

    fn sicken(
        &mut self,
        fleet: usize,
        cluster: usize,
        sickness: Sickness,
        most: Option<usize>,
        new_hosts_too: bool,
    ) {
        let hosts = self.hosts.iter_mut().enumerate().filter(|(_, h)| h.fleet == fleet);
        for (n, host) in hosts.take(most.unwrap_or(usize::MAX)) {
            let pace = draw::between(self.seed, "ramp", n as u64, 0.9, 1.1);
            host.sick.insert(cluster, Sickness { ramp_s: sickness.ramp_s * pace, ..sickness });
        }
        if new_hosts_too {
            self.inherited.push((fleet, cluster, sickness));
        }
    }

    fn take_sample(&mut self) {
        let limit = SAMPLES_KEPT * self.clusters.len();
        if self.samples.len() >= limit {
            // An eighth at a time, so that dropping costs next to nothing per sample.
            self.samples.drain(..limit / 8);
        }
        for (cluster, tally) in self.clusters.iter().zip(&mut self.tallies) {
            let Tally { requests, errors } = std::mem::take(tally);
            self.samples.push(Sample { at: self.now, cluster: cluster.id.clone(), requests, errors });
        }
    }

    /// What customers have seen so far, oldest first, one sample per cluster and span; after two simulated
    /// days the oldest are dropped.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The samples taken after `since`.
    pub(crate) fn samples_after(&self, since: DateTime<Utc>) -> &[Sample] {
        &self.samples[self.samples.partition_point(|s| s.at <= since)..]
    }

    /// The last finished sample of every cluster; empty before the first.
    pub(crate) fn last_samples(&self) -> &[Sample] {
        &self.samples[self.samples.len().saturating_sub(self.clusters.len())..]
    }

    /// The last finished sample of a cluster.
    #[must_use]
    pub fn last_sample(&self, cluster: &str) -> Option<&Sample> {
        self.last_samples().iter().find(|s| s.cluster == cluster)
    }
}
