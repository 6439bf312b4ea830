//! What the customers see: a fluid of application processes that hold their connections for hours.
//!
//! A process logs in to one ProxySQL host and stays. ProxySQL authenticates by itself, so a sick host
//! fails the *queries* of one cluster while the connection stays up: nothing drives the process away.
//! That is why new hosts alone do not help; they only get the few processes that reconnect anyway.
//! A cut connection costs the requests in flight and one reconnect, spread evenly over the hosts that
//! the load balancer offers. With no such host, everything fails.
//!
//! Left out: retries (but for what they do to a cluster: see `load`), latency, connection storms, and a client that meets a just-paused host tries the
//! next one at no cost.

use super::Physics;
use super::host::TargetState;

/// Share of the requests that write: they fail on a host that takes a read-only instance for the writer.
const WRITES: f64 = 0.3;
/// Fewer clients than this are none.
const NOBODY: f64 = 0.5;

/// The processes of one fleet that hold no connection just now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Crowd {
    /// Could not connect to any host.
    pub(crate) adrift: f64,
    /// Lost their connection in this tick.
    pub(crate) cut: f64,
}

/// Requests and errors of one cluster.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) requests: f64,
    pub(crate) errors: f64,
}

impl Physics {
    /// Whether the load balancer sends new connections to this host, and the host takes them.
    pub(crate) fn reachable(&self, host: usize) -> bool {
        let h = &self.hosts[host];
        if !h.accepts(self.now) {
            return false;
        }
        if self.world.fleets[h.fleet].target_group.is_none() {
            return h.lifecycle == super::host::Lifecycle::InService;
        }
        match h.target.map(|t| t.state) {
            Some(TargetState::Healthy) => true,
            // With no healthy target left an NLB fails open and offers all of them.
            Some(TargetState::Initial | TargetState::Unhealthy) => !self.any_healthy(h.fleet),
            Some(TargetState::Draining) | None => false,
        }
    }

    fn any_healthy(&self, fleet: usize) -> bool {
        let healthy = |t: super::host::Target| t.state == TargetState::Healthy;
        self.hosts.iter().any(|h| h.fleet == fleet && h.target.is_some_and(healthy))
    }

    /// Moves clients between hosts for one second.
    pub(crate) fn move_clients(&mut self) {
        for fleet in 0..self.groups.len() {
            let reachable: Vec<usize> = (0..self.hosts.len())
                .filter(|&h| self.hosts[h].fleet == fleet && self.reachable(h))
                .collect();
            let recycled = 1.0 - 0.5_f64.powf(1.0 / self.world.clients.drain_half_life_s.max(1.0));
            let churned = 1.0 / self.world.clients.connection_life_s.max(1.0);
            let (mut cut, mut seeking) = (0.0, self.crowds[fleet].adrift);
            for h in 0..self.hosts.len() {
                let stays = reachable.contains(&h);
                let now = self.now;
                let host = &mut self.hosts[h];
                if host.fleet != fleet || host.clients == 0.0 {
                    continue;
                }
                let leaving = if !host.alive(now) {
                    cut += host.clients;
                    host.clients
                } else {
                    let leaving = host.clients * if stays { churned } else { recycled };
                    if host.clients - leaving < NOBODY { host.clients } else { leaving }
                };
                host.clients -= leaving;
                seeking += leaving;
            }
            if !reachable.is_empty() {
                let each = seeking / reachable.len() as f64;
                for &h in &reachable {
                    self.hosts[h].clients += each;
                }
                seeking = 0.0;
            }
            self.crowds[fleet] = Crowd { adrift: seeking, cut };
        }
    }

    /// Counts one second of requests.
    pub(crate) fn count_requests(&mut self) {
        for c in 0..self.clusters.len() {
            let load = self.loads[c];
            let asked_for = self.world.clusters[c].requests_per_second * load.surge;
            let turned_away = asked_for * load.turned_away();
            let requests = asked_for - turned_away;
            let fleet = self.fleet_of[c];
            let crowd = self.crowds[fleet];
            let backend = self.backend_failure(c);
            let held: f64 = self.hosts.iter().filter(|h| h.fleet == fleet).map(|h| h.clients).sum();
            let everyone = (held + crowd.adrift).max(f64::MIN_POSITIVE);
            let lost_in_flight = self.world.clients.lost_in_flight_s.clamp(0.0, 1.0);
            let mut errors = requests * (crowd.adrift + crowd.cut.min(held) * lost_in_flight) / everyone;
            let (now, writer) = (self.now, self.clusters[c].writer);
            for host in self.hosts.iter_mut().filter(|h| h.fleet == fleet && h.clients > 0.0) {
                let asked = requests * host.clients / everyone;
                let read_only = if host.stuck_with(c, writer).is_some() { WRITES } else { 0.0 };
                let failed =
                    asked * (1.0 - (1.0 - host.sickness(c, now)) * (1.0 - read_only) * (1.0 - backend));
                errors += failed;
                host.pools[c].queries += asked;
                host.pools[c].err += failed;
                host.pools[c].ok += asked / 2_000.0;
            }
            self.tallies[c].requests += asked_for;
            self.tallies[c].errors += turned_away + errors.min(requests);
        }
    }

    /// Share of a cluster's queries that fail at Aurora itself, whatever the host.
    pub(crate) fn backend_failure(&self, cluster: usize) -> f64 {
        let c = &self.clusters[cluster];
        if c.down() || c.refuses_logins {
            return 1.0;
        }
        let fleet = self.fleet_of[cluster];
        let hosts = self.hosts.iter().filter(|h| h.fleet == fleet && h.alive(self.now)).count();
        let opened = hosts as f64 * f64::from(self.world.fleets[fleet].backend_connections);
        let class = &c.members[c.writer].class;
        let limit = f64::from(self.world.clusters[cluster].connection_limit(class));
        let crowded = if opened > limit { 1.0 - limit / opened } else { 0.0 };
        crowded.max(c.strain(c.writer)).max(self.loads[cluster].overload)
    }
}
