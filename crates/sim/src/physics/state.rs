//! What a person wants to see of the world at a glance, the hidden parts included.

use serde::Serialize;

use super::{Physics, Sample};

/// The whole world, now.
#[derive(Debug, Serialize)]
pub(crate) struct State {
    pub(crate) clusters: Vec<ClusterState>,
    pub(crate) fleets: Vec<FleetState>,
    pub(crate) alarms: Vec<AlarmShown>,
    /// Zones in which EC2 has no capacity.
    pub(crate) zones_without_capacity: Vec<String>,
    /// Faults of the timeline that are still to come.
    pub(crate) faults_to_come: usize,
}

#[derive(Debug, Serialize)]
pub(crate) struct ClusterState {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    /// Share of the customers' requests that fail, 0 to 1.
    pub(crate) error_share: f64,
    /// How many per cent of them the load shedder turns away.
    pub(crate) turned_away_percent: f64,
    pub(crate) members: Vec<MemberState>,
}

#[derive(Debug, Serialize)]
pub(crate) struct MemberState {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) zone: String,
    pub(crate) status: &'static str,
    pub(crate) writer: bool,
    pub(crate) lag_ms: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct FleetState {
    pub(crate) asg: String,
    pub(crate) min: u32,
    pub(crate) desired: u32,
    pub(crate) max: u32,
    pub(crate) suspended: Vec<String>,
    pub(crate) refresh: Option<&'static str>,
    pub(crate) hosts: Vec<HostState>,
}

#[derive(Debug, Serialize)]
pub(crate) struct HostState {
    pub(crate) instance: String,
    pub(crate) address: String,
    pub(crate) zone: String,
    pub(crate) lifecycle: &'static str,
    pub(crate) machine: &'static str,
    /// ProxySQL takes connections.
    pub(crate) listens: bool,
    pub(crate) clients: u64,
    /// The clusters whose logins it fails now, or whose writer it does not know, which no API shows.
    pub(crate) sick_for: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct AlarmShown {
    pub(crate) name: String,
    pub(crate) state: &'static str,
    pub(crate) reason: String,
}

impl Physics {
    pub(crate) fn state(&self) -> State {
        State {
            clusters: (0..self.clusters.len()).map(|c| self.cluster_state(c)).collect(),
            fleets: (0..self.groups.len()).map(|g| self.fleet_state(g)).collect(),
            alarms: self
                .watches
                .iter()
                .map(|w| AlarmShown {
                    name: w.alarm.name.clone(),
                    state: w.state.name(),
                    reason: w.reason.clone(),
                })
                .collect(),
            zones_without_capacity: self.no_capacity.iter().cloned().collect(),
            faults_to_come: self.faults.len(),
        }
    }

    fn cluster_state(&self, cluster: usize) -> ClusterState {
        let c = &self.clusters[cluster];
        let members = c.members.iter().enumerate().map(|(m, member)| MemberState {
            id: member.id.clone(),
            class: member.class.clone(),
            zone: member.zone.clone(),
            status: c.member_status(m),
            writer: m == c.writer,
            lag_ms: if m == c.writer { 0.0 } else { member.lag_ms },
        });
        ClusterState {
            id: c.id.clone(),
            status: c.status(),
            error_share: self.last_sample(&c.id).map_or(0.0, Sample::error_share),
            turned_away_percent: 100.0 * self.loads[cluster].turned_away(),
            members: members.collect(),
        }
    }

    fn fleet_state(&self, g: usize) -> FleetState {
        let group = &self.groups[g];
        let there = |h: &&super::Host| h.fleet == g && (h.lifecycle.counts() || h.lifecycle.leaving());
        let hosts = self.hosts.iter().filter(there).map(|h| HostState {
            instance: h.instance_id.clone(),
            address: h.address.clone(),
            zone: h.zone.clone(),
            lifecycle: h.lifecycle.name(),
            machine: h.machine.code_and_name().1,
            listens: h.accepts(self.now),
            clients: h.clients.round() as u64,
            sick_for: (self.clusters.iter().enumerate())
                .filter(|(c, cluster)| {
                    h.sickness(*c, self.now) > 0.0 || h.stuck_with(*c, cluster.writer).is_some()
                })
                .map(|(_, cluster)| cluster.id.clone())
                .collect(),
        });
        FleetState {
            asg: self.world.fleets[g].asg.clone(),
            min: group.min,
            desired: group.desired,
            max: group.max,
            suspended: group.suspended.keys().cloned().collect(),
            refresh: group.refreshes.last().map(|r| r.status.name()),
            hosts: hosts.collect(),
        }
    }
}
