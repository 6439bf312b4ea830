//! The Aurora clusters: who writes, who is available, and the events of a failover.
//!
//! Both failovers, the fault's and the one that is asked for, follow the sequence seen on real clusters: the writer goes, the
//! identity flips, the completion event follows, and the cluster is `available` some 20 s later. Asked for, it takes: 3 s
//! until it begins, 15 to 19 s until the identity flips, 22 s until the event, 44 s until `available`; without a reader the
//! writer is made anew, which takes minutes. Changes of class are in `class_change`.

use chrono::{DateTime, TimeDelta, Utc};

use super::class_change::ClassChange;
use super::group_ops::Effect;
use super::news::News;
use super::{Physics, Refusal, draw};
use crate::world::{World, memory_gib};

/// Seconds between the flip of identity and the cluster being `available` again, when the writer was lost.
const SETTLE_S: i64 = 22;
/// Seconds after the call until the writer goes.
const BEGINS_S: i64 = 3;
/// Seconds after the call until the identity flips: shortest and longest.
const FLIPS_S: (f64, f64) = (15.0, 19.0);
/// Seconds after the call until the event says that it is over.
const COMPLETES_S: i64 = 22;
/// Seconds after the call until the cluster is `available`.
const ENDS_S: i64 = 44;
/// The same without a reader: the writer is made anew.
const ANEW_S: i64 = 8 * 60;

#[derive(Debug, Clone)]
pub(crate) struct AuroraCluster {
    pub(crate) id: String,
    pub(crate) members: Vec<Member>,
    /// Index of the member that writes.
    pub(crate) writer: usize,
    pub(crate) failover: Option<Failover>,
    /// Failovers asked for so far.
    asked: u64,
    /// A blue/green deployment of it is there, not switched over.
    pub(crate) has_green: bool,
    /// The next one goes back.
    pub(crate) next_reverts: bool,
    /// How long those take that are asked for, where it is not the usual time.
    pub(crate) asked_take: Option<TimeDelta>,
    /// What RDS says nothing of: words of its messages.
    pub(crate) unsaid: Vec<String>,
    /// How late `DescribeEvents` shows what happens to it.
    pub(crate) told_late: TimeDelta,
    /// The next change of class never ends.
    pub(crate) next_change_sticks: bool,
    /// The most members that were down for a change of class at the same time.
    pub(super) most_changing: usize,
    pub(crate) exhausted: Option<Exhausted>,
    pub(crate) outgrown: Option<Outgrown>,
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
    /// A change of class that is under way.
    pub(crate) change: Option<ClassChange>,
    /// A class that waits for the maintenance window.
    pub(crate) put_off: Option<String>,
    /// Changes of class so far.
    pub(super) changes: u64,
    /// How far it is behind the writer.
    pub(crate) lag_ms: f64,
    /// Direct queries that are still to fail: see `proxy`.
    pub(crate) debt: f64,
}

/// A failover that is going on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failover {
    /// The member that was lost.
    pub(crate) old: usize,
    pub(crate) target: usize,
    /// From when on nobody can write.
    pub(crate) begins: DateTime<Utc>,
    pub(crate) flips: DateTime<Utc>,
    /// When the event says that it is over.
    pub(crate) completes: DateTime<Utc>,
    pub(crate) ends: DateTime<Utc>,
    pub(crate) begun: bool,
    pub(crate) flipped: bool,
    pub(crate) told: bool,
    /// It was asked for; the writer was not lost.
    pub(crate) asked: bool,
    /// The old writer is promoted again.
    pub(crate) reverts: bool,
}

/// An instance that has no connection left for some.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exhausted {
    pub(crate) member: usize,
    /// Share of queries that fail.
    pub(crate) share: f64,
}

/// A load that needs more memory than some classes have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgrown {
    /// Memory that it needs.
    pub(crate) needs_gib: f64,
    /// Share of queries that fail on a writer with less.
    pub(crate) share: f64,
}

/// An event as `DescribeEvents` shows it.
#[derive(Debug, Clone)]
pub(crate) struct RdsEvent {
    pub(crate) at: DateTime<Utc>,
    /// Not shown before.
    pub(crate) shown: DateTime<Utc>,
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
        self.failover.is_some_and(|f| f.begun && !f.flipped) || self.members[self.writer].changing()
    }

    /// Does a member take connections? It does while its change of class is only being prepared.
    pub(crate) fn up(&self, member: usize) -> bool {
        matches!(self.member_status(member), "available" | "modifying") && !self.members[member].changing()
    }

    /// Who writes when the writer is lost, or hands over to nobody in particular: of the best promotion tier the largest. Without a
    /// reader that is up, the writer itself.
    pub(super) fn heir(&self) -> usize {
        let memory = |m: usize| memory_gib(&self.members[m].class).unwrap_or_default();
        let readers = (0..self.members.len()).filter(|&m| m != self.writer && self.up(m));
        let first = readers.min_by(|&a, &b| {
            let tiers = self.members[a].tier.cmp(&self.members[b].tier);
            tiers.then(memory(b).total_cmp(&memory(a)))
        });
        first.unwrap_or(self.writer)
    }

    /// Share of queries that fail on a member for what is asked of it.
    pub(crate) fn strain(&self, member: usize) -> f64 {
        let exhausted = self.exhausted.filter(|e| e.member == member).map_or(0.0, |e| e.share);
        let memory = memory_gib(&self.members[member].class).unwrap_or(f64::INFINITY);
        let outgrown = self.outgrown.filter(|o| member == self.writer && memory < o.needs_gib);
        exhausted.max(outgrown.map_or(0.0, |o| o.share))
    }

    /// A member by its name.
    pub(crate) fn member(&self, id: &str) -> Option<usize> {
        self.members.iter().position(|m| m.id == id)
    }

    pub(crate) fn member_status(&self, member: usize) -> &'static str {
        match self.failover {
            Some(f) if member == f.old && f.flipped && !f.reverts => "rebooting",
            Some(f) if member == f.old && f.begun && !f.asked => "failed",
            Some(f) if (member == f.old || member == f.target) && f.begun && !f.flipped => "rebooting",
            _ => self.change_status(member),
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
            id: cluster.member_id(n),
            class: cluster.class.clone(),
            zone: zones[(place + usize::from(n)) % zones.len()].clone(),
            tier: if n == 0 { 0 } else { 1 },
            address: format!("127.{subnet}.{}.{}", 3 + instances / 250, 1 + instances % 250),
            change: None,
            put_off: None,
            changes: 0,
            lag_ms: f64::from(10 + instances % 15),
            debt: 0.0,
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
            asked: 0,
            has_green: false,
            next_reverts: false,
            asked_take: None,
            unsaid: Vec::new(),
            told_late: TimeDelta::zero(),
            next_change_sticks: false,
            most_changing: 0,
            exhausted: None,
            outgrown: None,
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
        let target = c.heir();
        let flips = now + (duration - TimeDelta::seconds(SETTLE_S)).max(TimeDelta::zero());
        c.failover = Some(Failover {
            old: c.writer,
            target,
            begins: now,
            flips,
            completes: flips,
            ends: now + duration,
            begun: false,
            flipped: false,
            told: false,
            asked: false,
            reverts: false,
        });
        self.tick_clusters();
    }

    /// `FailoverDBCluster`.
    ///
    /// # Errors
    /// An unknown cluster or target; a cluster that is not `available`; a target that writes already, or is not `available`.
    pub fn fail_over(&mut self, cluster: &str, target: Option<&str>) -> Result<Effect, Refusal> {
        let (seed, now) = (self.seed, self.now);
        let Some(c) = self.clusters.iter_mut().find(|c| c.id == cluster) else {
            let message = format!("DBCluster {cluster} not found.");
            return Err(Refusal::new("DBClusterNotFoundFault", message).with_status(404));
        };
        if c.failover.is_some() {
            let message =
                format!("DB cluster {cluster} is not in the available state. Status: {}", c.status());
            return Err(Refusal::new("InvalidDBClusterStateFault", message));
        }
        let target = match target {
            None => c.heir(),
            Some(id) => {
                let Some(found) = c.members.iter().position(|m| m.id == id) else {
                    let message = format!("DBInstance {id} not found.");
                    return Err(Refusal::new("DBInstanceNotFound", message).with_status(404));
                };
                if found == c.writer {
                    let message = format!("{id} is already the writer of DB cluster {cluster}.");
                    return Err(Refusal::new("InvalidDBInstanceState", message));
                }
                let status = c.member_status(found);
                if status != "available" {
                    let message = format!("DB instance {id} is not in the available state. Status: {status}");
                    return Err(Refusal::new("InvalidDBInstanceState", message));
                }
                found
            }
        };
        c.asked += 1;
        let after = |seconds: i64| now + TimeDelta::seconds(seconds);
        let alone = target == c.writer;
        let flips = if alone {
            ANEW_S
        } else {
            draw::between(seed, &format!("failover of {cluster}"), c.asked, FLIPS_S.0, FLIPS_S.1).round()
                as i64
        };
        let ends = if alone { ANEW_S + SETTLE_S } else { ENDS_S };
        // What a failover takes longer than usual, it takes before the identity flips.
        let late = c.asked_take.map_or(0, |takes| (takes.num_seconds() - ends).max(0));
        c.failover = Some(Failover {
            old: c.writer,
            target,
            begins: after(BEGINS_S),
            flips: after(flips + late),
            completes: after(flips.max(COMPLETES_S) + late),
            ends: after(ends + late),
            begun: false,
            flipped: false,
            told: false,
            asked: true,
            reverts: std::mem::take(&mut c.next_reverts),
        });
        Ok(Some(format!("failover of {cluster} from {} to {}", c.members[c.writer].id, c.members[target].id)))
    }

    pub(crate) fn tick_clusters(&mut self) {
        for cluster in 0..self.clusters.len() {
            self.tick_failover(cluster);
            self.tick_changes(cluster);
        }
    }

    fn tick_failover(&mut self, cluster: usize) {
        let now = self.now;
        let c = &mut self.clusters[cluster];
        let Some(f) = &mut c.failover else { return };
        let (id, old, new) = (c.id.clone(), c.members[f.old].id.clone(), c.members[f.target].id.clone());
        let (mut told, mut flipped_from) = (Vec::new(), None);
        if !f.begun && now >= f.begins {
            f.begun = true;
            let across = if c.members[f.old].zone == c.members[f.target].zone { "same" } else { "cross" };
            told.push((
                "db-cluster",
                id.clone(),
                format!("Started {across} AZ failover to DB instance: {new}"),
            ));
        }
        if !f.flipped && now >= f.flips {
            f.flipped = true;
            if f.reverts {
                told.push(("db-cluster", id.clone(), format!("Promoting previous primary again: {old}")));
            } else {
                c.writer = f.target;
                flipped_from = Some(f.old);
                // What held its connections is gone with the process.
                c.exhausted = c.exhausted.filter(|e| e.member != f.old);
                told.push(("db-instance", new.clone(), "DB instance restarted".into()));
                let message = "A new writer was promoted. Restarting database as a reader.";
                told.push(("db-instance", old, message.into()));
            }
        }
        if f.flipped && !f.told && now >= f.completes {
            f.told = true;
            if !f.reverts {
                let who = if f.asked { "customer initiated " } else { "" };
                told.push(("db-cluster", id, format!("Completed {who}failover to DB instance: {new}")));
            }
        }
        if f.told && now >= f.ends {
            c.failover = None;
        }
        if let Some(old) = flipped_from {
            for host in &mut self.hosts {
                if host.will_keep.remove(&cluster) {
                    host.keeps.insert(cluster, old);
                }
            }
        }
        for (source_type, source, message) in told {
            let categories: &[&str] = if source_type == "db-cluster" { &["failover"] } else { &[] };
            self.event(source_type, source, categories, message);
        }
    }

    pub(super) fn event(
        &mut self,
        source_type: &'static str,
        source: String,
        categories: &'static [&'static str],
        message: String,
    ) {
        let of = self.clusters.iter().find(|c| source_type == "db-cluster" && c.id == source);
        if of.is_some_and(|c| c.unsaid.iter().any(|words| message.contains(words.as_str()))) {
            return;
        }
        let shown = self.now + of.map_or(TimeDelta::zero(), |c| c.told_late);
        let event = RdsEvent { at: self.now, shown, source_type, source, categories, message };
        self.news.push(News::Rds(event.clone()));
        self.events.push(event);
    }
}
