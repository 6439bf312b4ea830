//! What the wire layers need to know of the world: who listens where, and where to find what.

use std::net::{Ipv4Addr, SocketAddr};

use super::host::Lifecycle;
use super::{Host, Physics};
use crate::world::{ClusterInfo, FleetInfo, WorldInfo};

/// Port of every Aurora endpoint.
pub(crate) const AURORA_PORT: u16 = 3306;

/// Who answers on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persona {
    /// A proxy host's traffic port.
    Proxy { host: usize },
    /// A proxy host's admin port.
    Admin { host: usize },
    /// A cluster's writer endpoint.
    Writer { cluster: usize },
    /// A cluster's reader endpoint.
    Reader { cluster: usize },
    /// An instance's own endpoint.
    Instance { cluster: usize, member: usize },
}

/// An address where connections live; `accepting` says whether new ones are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) persona: Persona,
    pub(crate) accepting: bool,
}

impl Physics {
    /// Every address where somebody is at home.
    pub(crate) fn ports(&self) -> Vec<Port> {
        let port = |address: &str, port: u16, persona, accepting| {
            let ip: Ipv4Addr = address.parse().ok()?;
            Some(Port { address: SocketAddr::from((ip, port)), persona, accepting })
        };
        let mut ports = Vec::new();
        for (n, host) in self.hosts.iter().enumerate().filter(|(_, h)| h.alive(self.now)) {
            let fleet = &self.world.fleets[host.fleet];
            let accepting = host.accepts(self.now);
            ports.extend(port(&host.address, fleet.mysql_port, Persona::Proxy { host: n }, accepting));
            ports.extend(port(&host.address, fleet.admin_port, Persona::Admin { host: n }, true));
        }
        for (n, cluster) in self.clusters.iter().enumerate() {
            if !cluster.down() {
                ports.extend(port(&cluster.endpoint, AURORA_PORT, Persona::Writer { cluster: n }, true));
            }
            ports.extend(port(&cluster.reader_endpoint, AURORA_PORT, Persona::Reader { cluster: n }, true));
            for (m, member) in cluster.members.iter().enumerate() {
                if cluster.up(m) {
                    let persona = Persona::Instance { cluster: n, member: m };
                    ports.extend(port(&member.address, AURORA_PORT, persona, true));
                }
            }
        }
        ports
    }

    /// Every address that swallows what is sent to it: of hosts that have ended, where these are silent.
    pub(crate) fn silent_ports(&self) -> Vec<SocketAddr> {
        let ended = self.hosts.iter().filter(|h| h.ended() && self.silent.contains(&h.fleet));
        let addresses =
            ended.filter_map(|h| Some((h.address.parse::<Ipv4Addr>().ok()?, &self.world.fleets[h.fleet])));
        addresses
            .flat_map(|(ip, fleet)| [fleet.mysql_port, fleet.admin_port].map(|port| (ip, port).into()))
            .collect()
    }

    /// The instance ids of all hosts that live, oldest first.
    #[must_use]
    pub fn host_ids(&self) -> Vec<String> {
        self.hosts.iter().filter(|h| h.alive(self.now)).map(|h| h.instance_id.clone()).collect()
    }

    /// The instance ids of a fleet's hosts in service.
    pub(crate) fn serving(&self, fleet: &str) -> Vec<String> {
        let of = |h: &&Host| self.world.fleets[h.fleet].asg == fleet && h.lifecycle == Lifecycle::InService;
        self.hosts.iter().filter(of).map(|h| h.instance_id.clone()).collect()
    }

    /// How many hosts of a fleet clients are sent to.
    pub(crate) fn offered(&self, fleet: &str) -> usize {
        let of = |h: &usize| self.world.fleets[self.hosts[*h].fleet].asg == fleet;
        (0..self.hosts.len()).filter(of).filter(|h| self.reachable(*h)).count()
    }

    /// Has nobody on it any more.
    pub(crate) fn drained(&self, host: &str) -> bool {
        self.hosts.iter().filter(|h| h.instance_id == host).all(|h| h.clients < 1.0)
    }

    /// Is no longer in its group.
    pub(crate) fn gone(&self, host: &str) -> bool {
        self.hosts.iter().filter(|h| h.instance_id == host).all(|h| h.lifecycle == Lifecycle::Gone)
    }

    /// `PROXYSQL PAUSE` on a host, by its instance id.
    pub(crate) fn pause_host(&mut self, host: &str) {
        if let Some(n) = self.hosts.iter().position(|h| h.instance_id == host) {
            let _ = self.pause(n, true);
        }
    }

    pub(crate) fn target_group_arn(&self, fleet: usize) -> Option<String> {
        let name = &self.world.fleets[fleet].target_group.as_ref()?.name;
        let (region, account) = (&self.world.region, &self.world.account);
        let id = super::bits(self.seed, name, 0);
        Some(format!("arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{name}/{id:016x}"))
    }

    pub(crate) fn info(&self) -> WorldInfo {
        let cluster = |n: usize| {
            let (spec, state) = (&self.world.clusters[n], &self.clusters[n]);
            ClusterInfo {
                id: spec.id.clone(),
                customers_percent: spec.customers_percent,
                endpoint: state.endpoint.clone(),
                reader_endpoint: state.reader_endpoint.clone(),
                port: AURORA_PORT,
                class: spec.class.clone(),
                max_connections: spec.connection_limit(&spec.class),
                probe_user: spec.probe_user(),
                probe_password: spec.probe_password.clone(),
                fleet: self.world.fleets.get(self.fleet_of[n]).map(|f| f.asg.clone()).unwrap_or_default(),
            }
        };
        let fleet = |n: usize| {
            let spec = &self.world.fleets[n];
            let behind = (0..self.clusters.len()).filter(|&c| self.fleet_of[c] == n);
            FleetInfo {
                asg: spec.asg.clone(),
                region: self.world.region.clone(),
                target_group_arn: self.target_group_arn(n),
                mysql_port: spec.mysql_port,
                admin_port: spec.admin_port,
                admin_user: spec.admin_user.clone(),
                admin_password: spec.admin_password.clone(),
                backend_connections: spec.backend_connections,
                hostgroups: behind.map(|c| (self.clusters[c].id.clone(), Self::hostgroup(c))).collect(),
            }
        };
        WorldInfo {
            name: self.world.name.clone(),
            region: self.world.region.clone(),
            account: self.world.account.clone(),
            start: self.world.start,
            clusters: (0..self.clusters.len()).map(cluster).collect(),
            fleets: (0..self.world.fleets.len()).map(fleet).collect(),
        }
    }
}
