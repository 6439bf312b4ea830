//! The Aurora clusters: who writes, who is available, and the events of a failover.
//!
//! The fault's failover follows the sequence seen on real clusters: the old writer is lost, the
//! identity flips, the completion event follows, and the cluster is `available` some 20 s later.
//! Failover on request and changes of class are not here yet.

use chrono::{DateTime, TimeDelta, Utc};

use super::Physics;
use crate::world::World;

/// Seconds between the flip of identity and the cluster being `available` again.
const SETTLE_S: i64 = 22;

#[derive(Debug, Clone)]
pub(crate) struct AuroraCluster {
    pub(crate) id: String,
    pub(crate) members: Vec<Member>,
    /// Index of the member that writes.
    pub(crate) writer: usize,
    pub(crate) failover: Option<Failover>,
    /// Aurora refuses its users' logins.
    pub(crate) refuses_logins: bool,
    pub(crate) endpoint: String,
    pub(crate) reader_endpoint: String,
    /// When the cluster was created: long ago.
    pub(crate) created: DateTime<Utc>,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) class: String,
    pub(crate) zone: String,
    pub(crate) tier: u8,
    pub(crate) address: String,
}

/// A failover that is going on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failover {
    /// The member that was lost.
    pub(crate) old: usize,
    pub(crate) target: usize,
    pub(crate) flips: DateTime<Utc>,
    pub(crate) ends: DateTime<Utc>,
    pub(crate) flipped: bool,
}

/// An event as `DescribeEvents` shows it.
#[derive(Debug, Clone)]
pub(crate) struct RdsEvent {
    pub(crate) at: DateTime<Utc>,
    /// `db-cluster` or `db-instance`.
    pub(crate) source_type: &'static str,
    pub(crate) source: String,
    pub(crate) categories: &'static [&'static str],
    pub(crate) message: String,
}

impl AuroraCluster {
    pub(crate) fn status(&self) -> &'static str {
        if self.failover.is_some() { "failing-over" } else { "available" }
    }

    /// Nobody can write: between the loss of the writer and the flip.
    pub(crate) fn down(&self) -> bool {
        self.failover.is_some_and(|f| !f.flipped)
    }

    pub(crate) fn member_status(&self, member: usize) -> &'static str {
        match self.failover {
            Some(f) if member == f.old && f.flipped => "rebooting",
            Some(f) if member == f.old => "failed",
            _ => "available",
        }
    }
}

/// The clusters of a world, in the zones of its first fleet (or of its region).
pub(crate) fn clusters(world: &World, subnet: u8) -> Vec<AuroraCluster> {
    let zones: Vec<String> = ["a", "b", "c"].iter().map(|z| format!("{}{z}", world.region)).collect();
    let mut instances = 0_u16;
    let mut member = |cluster: &crate::world::Cluster, place: usize, n: u8| {
        instances += 1;
        Member {
            id: format!("{}-{}", cluster.id, n + 1),
            class: cluster.class.clone(),
            zone: zones[(place + usize::from(n)) % zones.len()].clone(),
            tier: if n == 0 { 0 } else { 1 },
            address: format!("127.{subnet}.{}.{}", 3 + instances / 250, 1 + instances % 250),
        }
    };
    world
        .clusters
        .iter()
        .enumerate()
        .map(|(place, cluster)| AuroraCluster {
            id: cluster.id.clone(),
            members: (0..=cluster.readers).map(|n| member(cluster, place, n)).collect(),
            writer: 0,
            failover: None,
            refuses_logins: false,
            endpoint: format!("127.{subnet}.1.{}", 1 + place % 250),
            reader_endpoint: format!("127.{subnet}.2.{}", 1 + place % 250),
            created: world.start - TimeDelta::days(1_200),
        })
        .collect()
}

impl Physics {
    /// The writer is lost. Without a reader the same instance comes back.
    pub(crate) fn lose_writer(&mut self, cluster: usize, duration: TimeDelta) {
        let now = self.now;
        let c = &mut self.clusters[cluster];
        if c.failover.is_some() {
            return;
        }
        let readers = (0..c.members.len()).filter(|&m| m != c.writer);
        let target = readers.min_by_key(|&m| c.members[m].tier).unwrap_or(c.writer);
        let flips = now + (duration - TimeDelta::seconds(SETTLE_S)).max(TimeDelta::zero());
        c.failover = Some(Failover { old: c.writer, target, flips, ends: now + duration, flipped: false });
        let across = if c.members[c.writer].zone == c.members[target].zone { "same" } else { "cross" };
        let message = format!("Started {across} AZ failover to DB instance: {}", c.members[target].id);
        let source = c.id.clone();
        self.event("db-cluster", source, &["failover"], message);
    }

    pub(crate) fn tick_clusters(&mut self) {
        let now = self.now;
        for i in 0..self.clusters.len() {
            let c = &mut self.clusters[i];
            let Some(mut failover) = c.failover else { continue };
            if !failover.flipped && now >= failover.flips {
                failover.flipped = true;
                c.failover = Some(failover);
                let old = std::mem::replace(&mut c.writer, failover.target);
                let (cluster, new, old) =
                    (c.id.clone(), c.members[failover.target].id.clone(), c.members[old].id.clone());
                self.event("db-instance", new.clone(), &[], "DB instance restarted".into());
                self.event(
                    "db-instance",
                    old,
                    &[],
                    "A new writer was promoted. Restarting database as a reader.".into(),
                );
                let message = format!("Completed failover to DB instance: {new}");
                self.event("db-cluster", cluster, &["failover"], message);
            } else if now >= failover.ends {
                c.failover = None;
            }
        }
    }

    fn event(
        &mut self,
        source_type: &'static str,
        source: String,
        categories: &'static [&'static str],
        message: String,
    ) {
        self.events.push(RdsEvent { at: self.now, source_type, source, categories, message });
    }
}
