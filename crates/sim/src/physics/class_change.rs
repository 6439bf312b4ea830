//! `ModifyDBInstance`: an instance gets another class, or another promotion tier.
//!
//! ```text
//!  accepted ─15 s─▶ modifying ─60 s─▶ "Applying" ─130 s─▶ down ─4 to 9 min─▶ "Finished", restarted ─12 s─▶ available
//! ```
//!
//! Seconds after the call. The order and the spans are those of a recorded change; the whole takes 4 to 10 minutes. For the
//! first 15 s the status is still `available`, and until "Finished" the class is the old one and the new one is pending:
//! who waits for `available` alone is fooled. Nothing here stops anybody from changing two instances at once, as AWS does
//! not. Left out: that Aurora may fail over by itself when the writer is changed; here the writer is simply gone meanwhile.

use chrono::{DateTime, TimeDelta, Utc};

use super::aurora::{AuroraCluster, Member};
use super::group_ops::Effect;
use super::{Physics, Refusal, draw};
use crate::world;

/// Seconds after the call until the status tells.
const SHOWS_S: i64 = 15;
/// Seconds after the call until the event says that it is applied.
const APPLIES_S: i64 = 60;
/// Seconds after the call until the instance goes down.
const SHUTS_S: i64 = 130;
/// Seconds after the call until it is up again with its new class: shortest and longest.
const FINISHES_S: (f64, f64) = (240.0, 560.0);
/// Seconds from then until it is `available`.
const SETTLES_S: i64 = 12;

/// A change of class that is under way.
#[derive(Debug, Clone)]
pub(crate) struct ClassChange {
    pub(crate) to: String,
    shows: DateTime<Utc>,
    applies: DateTime<Utc>,
    shuts: DateTime<Utc>,
    finishes: DateTime<Utc>,
    ends: DateTime<Utc>,
    pub(crate) stage: Stage,
    /// It never goes down, and never ends.
    stuck: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Accepted,
    Modifying,
    Applying,
    Down,
    Restarted,
}

/// What `ModifyDBInstance` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Modification {
    /// `DBInstanceClass`.
    pub class: Option<String>,
    /// `PromotionTier`.
    pub tier: Option<u8>,
    /// `ApplyImmediately`: this change, and everything that was put off before.
    pub now: bool,
}

impl Member {
    /// A class that waits: put off, or being applied.
    pub(crate) fn pending_class(&self) -> Option<&str> {
        let applied = self.change.as_ref().filter(|c| c.stage < Stage::Restarted);
        applied.map(|c| c.to.as_str()).or(self.put_off.as_deref())
    }

    /// Down for its change of class.
    pub(crate) fn changing(&self) -> bool {
        self.change.as_ref().is_some_and(|c| c.stage == Stage::Down)
    }
}

impl Physics {
    /// `ModifyDBInstance`.
    ///
    /// # Errors
    /// An unknown instance or class; an instance that is not `available`; a class that its zone does not have.
    pub fn modify_instance(&mut self, instance: &str, wanted: &Modification) -> Result<Effect, Refusal> {
        let found = self
            .clusters
            .iter()
            .enumerate()
            .find_map(|(c, cluster)| Some((c, cluster.members.iter().position(|m| m.id == instance)?)));
        let Some((c, m)) = found else {
            let message = format!("DBInstance {instance} not found.");
            return Err(Refusal::new("DBInstanceNotFound", message).with_status(404));
        };
        let status = self.clusters[c].member_status(m);
        let member = &self.clusters[c].members[m];
        if status != "available" || member.change.is_some() {
            let message = format!("Database instance {instance} is not in available state.");
            return Err(Refusal::new("InvalidDBInstanceState", message));
        }
        if let Some(class) = &wanted.class {
            if world::memory_gib(class).is_none() {
                return Err(Refusal::new(
                    "InvalidParameterValue",
                    format!("Invalid DB Instance class: {class}"),
                ));
            }
            if !self.orderable(class, &member.zone) || self.no_capacity.contains(&member.zone) {
                let message = format!("{class} is not available in {}.", member.zone);
                return Err(Refusal::new("InsufficientDBInstanceCapacity", message));
            }
        }
        let mut done = Vec::new();
        let member = &mut self.clusters[c].members[m];
        if let Some(tier) = wanted.tier.filter(|tier| *tier != member.tier) {
            done.push(format!("promotion tier of {instance} from {} to {tier}", member.tier));
            member.tier = tier;
        }
        if let Some(class) = &wanted.class {
            member.put_off = (*class != member.class).then(|| class.clone());
            if let Some(class) = member.put_off.as_ref().filter(|_| !wanted.now) {
                done.push(format!("class of {instance} from {} to {class}, put off", member.class));
            }
        }
        if wanted.now
            && let Some(class) = self.clusters[c].members[m].put_off.take()
        {
            done.push(format!("class of {instance} from {} to {class}", self.clusters[c].members[m].class));
            self.begin_change(c, m, class);
        }
        Ok((!done.is_empty()).then(|| done.join("; ")))
    }

    fn begin_change(&mut self, c: usize, m: usize, to: String) {
        let (seed, now) = (self.seed, self.now);
        let cluster = &mut self.clusters[c];
        let stuck = std::mem::take(&mut cluster.next_change_sticks);
        let member = &mut cluster.members[m];
        member.changes += 1;
        let takes = draw::between(
            seed,
            &format!("class of {}", member.id),
            member.changes,
            FINISHES_S.0,
            FINISHES_S.1,
        );
        let after = |seconds: i64| now + TimeDelta::seconds(seconds);
        let takes = takes.round() as i64;
        member.change = Some(ClassChange {
            to,
            shows: after(SHOWS_S),
            applies: after(APPLIES_S),
            shuts: after(SHUTS_S),
            finishes: after(takes),
            ends: after(takes + SETTLES_S),
            stage: Stage::Accepted,
            stuck,
        });
    }

    /// Moves the changes of a cluster on.
    pub(super) fn tick_changes(&mut self, cluster: usize) {
        let now = self.now;
        let c = &mut self.clusters[cluster];
        let mut told = Vec::new();
        for member in &mut c.members {
            let Some(change) = &mut member.change else { continue };
            let next = match change.stage {
                Stage::Accepted => (change.shows, Stage::Modifying),
                Stage::Modifying => (change.applies, Stage::Applying),
                Stage::Applying if change.stuck => continue,
                Stage::Applying => (change.shuts, Stage::Down),
                Stage::Down => (change.finishes, Stage::Restarted),
                Stage::Restarted => {
                    if now >= change.ends {
                        member.change = None;
                    }
                    continue;
                }
            };
            if now < next.0 {
                continue;
            }
            change.stage = next.1;
            let messages: &[&str] = match next.1 {
                Stage::Applying => &["Applying modification to database instance class"],
                Stage::Down => &["DB instance shutdown"],
                Stage::Restarted => {
                    member.class.clone_from(&change.to);
                    &["Finished applying modification to DB instance class", "DB instance restarted"]
                }
                Stage::Accepted | Stage::Modifying => &[],
            };
            told.extend(messages.iter().map(|message| (member.id.clone(), (*message).to_owned())));
        }
        let down = c.members.iter().filter(|m| m.changing()).count();
        c.most_changing = c.most_changing.max(down);
        for (id, message) in told {
            self.event("db-instance", id, &["configuration change"], message);
        }
    }

    /// May this class be ordered in this zone?
    pub(crate) fn orderable(&self, class: &str, zone: &str) -> bool {
        !self.not_orderable.iter().any(|(c, z)| c == class && z.as_deref().is_none_or(|z| z == zone))
    }

    /// The most instances of a cluster that were down for a change of class at the same time, so far.
    #[must_use]
    pub fn most_changing(&self, cluster: &str) -> usize {
        self.clusters.iter().find(|c| c.id == cluster).map_or(0, |c| c.most_changing)
    }
}

impl AuroraCluster {
    /// What the change of a member makes of its status.
    pub(super) fn change_status(&self, member: usize) -> &'static str {
        match self.members[member].change.as_ref().map(|c| c.stage) {
            None | Some(Stage::Accepted) => "available",
            Some(_) => "modifying",
        }
    }
}
