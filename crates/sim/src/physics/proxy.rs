//! What a MySQL query gets, on a proxy host or on Aurora itself.
//!
//! Chance would make a probe flaky, so failures are spread evenly: every query adds the probability
//! of failing to a debt, and the query that fills it up fails. That is kinder than the world, in which a host that fails three logins
//! of ten lets five in a row pass now and then: `failures_by_chance` draws instead, by the seed and the number of the query.

use super::aurora::AuroraCluster;
use super::{Physics, draw};

/// What becomes of a query that reaches for a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// This instance answers it.
    Answered {
        /// `@@aurora_server_id`.
        server_id: String,
        /// `@@innodb_read_only`.
        read_only: bool,
    },
    /// Aurora refuses the login.
    AccessDenied,
    /// Aurora has no connection left.
    TooManyConnections,
    /// ProxySQL gives up waiting for a connection, after ten seconds.
    NoBackend {
        /// The hostgroup that it tried.
        hostgroup: u32,
    },
}

impl Physics {
    /// ProxySQL's number of a cluster's writer hostgroup.
    pub(crate) fn hostgroup(cluster: usize) -> u32 {
        10 * (cluster as u32 + 1)
    }

    /// The cluster that a MySQL user belongs to, and the user's password.
    pub(crate) fn user(&self, user: &str) -> Option<(usize, &str)> {
        let clusters = &self.world.clusters;
        let cluster = clusters.iter().position(|c| c.probe_user() == user)?;
        Some((cluster, clusters[cluster].probe_password.as_str()))
    }

    /// The clusters behind a host, each with the connections that the host keeps to its writer.
    pub(crate) fn backend_connections(&self, host: usize) -> Vec<(usize, u32)> {
        let fleet = self.hosts[host].fleet;
        let behind = (0..self.clusters.len()).filter(|&c| self.fleet_of[c] == fleet);
        behind.map(|c| (c, self.world.fleets[fleet].backend_connections)).collect()
    }

    /// A query through a proxy host.
    pub(crate) fn proxy_query(&mut self, host: usize, cluster: usize) -> Reply {
        let c = &self.clusters[cluster];
        if c.down() {
            return Reply::NoBackend { hostgroup: Self::hostgroup(cluster) };
        }
        let writer = self.hosts[host].stuck_with(cluster, c.writer).unwrap_or(c.writer);
        if !c.up(writer) {
            return Reply::NoBackend { hostgroup: Self::hostgroup(cluster) };
        }
        let (refuses, answer) = (c.refuses_logins, instance_reply(c, writer));
        let overload = if refuses { 0.0 } else { self.backend_failure(cluster) };
        let sick = if refuses { 1.0 } else { self.hosts[host].sickness(cluster, self.now) };
        let share = 1.0 - (1.0 - sick) * (1.0 - overload);
        let draw = self.by_chance.then(|| self.drawn(&format!("query of {cluster} through {host}")));
        let pool = &mut self.hosts[host].pools[cluster];
        pool.queries += 1.0;
        if !fails(&mut pool.probe_debt, share, draw) {
            pool.ok += 1.0;
            return answer;
        }
        pool.err += 1.0;
        if overload > sick { Reply::TooManyConnections } else { Reply::AccessDenied }
    }
}

impl Physics {
    /// A query to a member, past the proxies.
    pub(crate) fn direct_query(&mut self, cluster: usize, member: usize) -> Reply {
        let overload =
            if member == self.clusters[cluster].writer { self.loads[cluster].overload } else { 0.0 };
        let draw = self.by_chance.then(|| self.drawn(&format!("query of {cluster} at {member}")));
        let c = &mut self.clusters[cluster];
        let strain = c.strain(member).max(overload);
        if fails(&mut c.members[member].debt, strain, draw) {
            return Reply::TooManyConnections;
        }
        instance_reply(c, member)
    }

    /// Chance, from 0 to 1, of the next query on this way.
    fn drawn(&mut self, way: &str) -> f64 {
        let n = self.draws.entry(way.to_owned()).or_default();
        *n += 1;
        draw::unit(self.seed, way, *n)
    }
}

/// Does the next query fail, where this share of them does?
fn fails(debt: &mut f64, share: f64, draw: Option<f64>) -> bool {
    if let Some(draw) = draw {
        return draw < share;
    }
    *debt += share;
    let full = *debt >= 1.0;
    if full {
        *debt -= 1.0;
    }
    full
}

/// What a member answers when it answers.
fn instance_reply(cluster: &AuroraCluster, member: usize) -> Reply {
    let m: &super::Member = &cluster.members[member];
    Reply::Answered { server_id: m.id.clone(), read_only: member != cluster.writer }
}
