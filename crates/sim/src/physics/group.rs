//! Auto Scaling: keeps a group at its desired capacity, one second at a time.
//!
//! A group launches while it has too few instances and takes out while it has too many, unless the
//! process in question is suspended. Every movement is a scaling activity with a cause. Calls from
//! outside are in `group_ops`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::host::{Host, Lifecycle, Machine, Pool, Sickness, Target, TargetState};
use super::launch::Launch;
use super::refresh::Refresh;
use super::{Physics, draw};

/// Seconds between two attempts to launch where there is no capacity.
const CAPACITY_RETRY_S: i64 = 60;
/// Seconds of calm before zones are rebalanced.
const CALM_S: i64 = 60;

/// The state of one Auto Scaling group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) desired: u32,
    /// Suspended process to the reason.
    pub(crate) suspended: BTreeMap<String, String>,
    pub(crate) protects_new: bool,
    /// Oldest first.
    pub(crate) activities: Vec<Activity>,
    /// Why the desired capacity is what it is; the first half of the next activity's cause.
    pub(crate) reason: String,
    pub(crate) created: DateTime<Utc>,
    /// Instance refreshes, oldest first.
    pub(crate) refreshes: Vec<Refresh>,
    /// Launches that came with a token.
    pub(super) launches: Vec<Launch>,
    /// One instance too many on purpose, while zones are being rebalanced.
    surplus: u32,
    next_launch: DateTime<Utc>,
    pub(super) last_movement: DateTime<Utc>,
}

/// A scaling activity.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    pub(crate) id: String,
    pub(crate) zone: String,
    pub(crate) description: String,
    pub(crate) cause: String,
    pub(crate) start: DateTime<Utc>,
    pub(crate) end: Option<DateTime<Utc>>,
    pub(crate) status: &'static str,
    pub(crate) status_message: Option<String>,
    pub(crate) progress: u8,
}

impl Group {
    pub(crate) fn new(fleet: &crate::world::Fleet, start: DateTime<Utc>) -> Self {
        let suspended = |p: &String| (p.clone(), "User suspended before the start".to_owned());
        Self {
            min: fleet.min,
            max: fleet.max,
            desired: fleet.desired,
            suspended: fleet.suspended.iter().map(suspended).collect(),
            protects_new: false,
            activities: Vec::new(),
            reason: String::new(),
            created: start - TimeDelta::days(400),
            refreshes: Vec::new(),
            launches: Vec::new(),
            surplus: 0,
            next_launch: start,
            last_movement: start,
        }
    }

    pub(super) fn runs(&self, process: &str) -> bool {
        !self.suspended.contains_key(process)
    }
}

/// A time as it stands in a cause: `2024-05-07T15:20:00Z`.
pub(crate) fn at(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Physics {
    /// Hosts of the group that count towards its desired capacity.
    pub(crate) fn members(&self, fleet: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.hosts.len())
            .filter(move |&h| self.hosts[h].fleet == fleet && self.hosts[h].lifecycle.counts())
    }

    /// The hosts of the start: in service for days, every client connected.
    pub(crate) fn settle_hosts(&mut self) {
        for fleet in 0..self.groups.len() {
            for n in 0..self.groups[fleet].desired {
                let zones = &self.world.fleets[fleet].zones;
                let zone = zones[n as usize % zones.len()].clone();
                let launched = self.now - TimeDelta::days(9) + TimeDelta::minutes(i64::from(n) * 7);
                let h = self.new_host(fleet, zone, launched);
                let share = self.world.clients.connections / f64::from(self.groups[fleet].desired);
                let behind_nlb = self.world.fleets[fleet].target_group.is_some();
                let host = &mut self.hosts[h];
                host.machine = Machine::Running;
                host.lifecycle = Lifecycle::InService;
                host.listens = Some(launched);
                host.began = Some(launched);
                host.in_service = Some(launched);
                host.clients = share;
                host.target = behind_nlb.then_some(Target {
                    state: TargetState::Healthy,
                    since: launched,
                    checks_since: launched,
                    checks_pass: true,
                });
            }
        }
    }

    /// Adds a host that is being launched; returns its index.
    fn new_host(&mut self, fleet: usize, zone: String, launched: DateTime<Utc>) -> usize {
        let n = self.hosts.len();
        let spec = &self.world.fleets[fleet];
        let number = n as u64;
        let (shortest, longest) = (f64::from(spec.boot_s.0), f64::from(spec.boot_s.1));
        let boot = draw::between(self.seed, "boot", number, shortest, longest.max(shortest));
        let starting = draw::between(self.seed, "ec2 start", number, 15.0, 30.0);
        let mut pools = vec![Pool::default(); self.clusters.len()];
        for pool in &mut pools {
            pool.probe_debt = 0.5;
            pool.ok = f64::from(spec.backend_connections);
        }
        let begins = (!self.stillborn.contains(&fleet)).then(|| launched + secs(boot.round()));
        let inherited = self.inherited.iter().filter(|(f, ..)| *f == fleet);
        let sick: BTreeMap<usize, Sickness> = inherited.map(|&(_, c, s)| (c, s)).collect();
        self.hosts.push(Host {
            instance_id: format!("i-0{:016x}", draw::bits(self.seed, "instance", number)),
            fleet,
            zone,
            address: format!("127.{}.{}.{}", self.subnet, 16 + n / 250, 1 + n % 250),
            launched,
            listens: begins,
            began: begins,
            machine: Machine::Pending,
            machine_until: launched + secs(starting.round()),
            lifecycle: Lifecycle::Pending,
            in_service: None,
            protected: self.groups[fleet].protects_new,
            unhealthy: false,
            template_version: spec.template_version.clone(),
            activity: None,
            target: None,
            paused: false,
            calls_itself_paused: false,
            clients: 0.0,
            sick,
            will_keep: BTreeSet::new(),
            keeps: BTreeMap::new(),
            pools,
        });
        n
    }

    pub(crate) fn tick_groups(&mut self) {
        for fleet in 0..self.groups.len() {
            let have = self.members(fleet).count() as u32;
            let wanted =
                self.groups[fleet].desired + self.groups[fleet].surplus + self.refresh_surplus(fleet);
            if have < wanted && self.groups[fleet].runs("Launch") {
                if self.now >= self.groups[fleet].next_launch {
                    for _ in have..wanted {
                        if !self.launch(fleet) {
                            break;
                        }
                    }
                }
            } else if have > wanted && self.groups[fleet].runs("Terminate") {
                for size in (wanted..have).rev() {
                    let Some(victim) = self.scale_in_victim(fleet) else { break };
                    let because = format!(
                        "a difference between desired and actual capacity, shrinking the capacity from {} to \
                         {size}",
                        size + 1
                    );
                    let activity = self.take_out(victim, &because);
                    let group = &mut self.groups[fleet];
                    group.activities[activity].cause.insert_str(0, &group.reason);
                }
            } else if have == wanted && !self.refreshing(fleet) {
                self.rebalance(fleet);
            }
        }
    }

    /// Launches one instance in the emptiest zone that has capacity; false if there is none.
    fn launch(&mut self, fleet: usize) -> bool {
        let mut zones = self.zones_by_size(fleet);
        zones.sort_by_key(|(_, size)| *size);
        let capacity = |zone: &String| self.room(zone) > 0;
        let preferred = zones.first().map(|(z, _)| z.clone()).unwrap_or_default();
        let zone = zones.iter().map(|(z, _)| z).find(|z| capacity(z)).cloned();
        let have = self.members(fleet).count();
        let cause = format!(
            "{}At {} an instance was started in response to a difference between desired and actual \
             capacity, increasing the capacity from {have} to {}.",
            self.groups[fleet].reason,
            at(self.now),
            have + 1
        );
        if zone.as_ref() != Some(&preferred) {
            self.failed_launch(fleet, &preferred, cause.clone());
        }
        let Some(zone) = zone else {
            self.groups[fleet].next_launch = self.now + TimeDelta::seconds(CAPACITY_RETRY_S);
            return false;
        };
        self.start_host(fleet, zone, cause);
        true
    }

    /// For how many instances EC2 has room in a zone.
    pub(super) fn room(&self, zone: &str) -> u32 {
        if self.no_capacity.contains(zone) { 0 } else { self.room.get(zone).copied().unwrap_or(u32::MAX) }
    }

    /// Starts an instance in a zone that has capacity; returns its index.
    pub(super) fn start_host(&mut self, fleet: usize, zone: String, cause: String) -> usize {
        if let Some(room) = self.room.get_mut(&zone) {
            *room = room.saturating_sub(1);
        }
        let h = self.new_host(fleet, zone, self.now);
        let description = format!("Launching a new EC2 instance: {}", self.hosts[h].instance_id);
        let activity = self.activity(fleet, h, description, cause);
        self.hosts[h].activity = Some(activity);
        self.groups[fleet].last_movement = self.now;
        h
    }

    /// The activity of a launch in a zone without capacity; returns AWS's sentence.
    pub(super) fn failed_launch(&mut self, fleet: usize, zone: &str, cause: String) -> String {
        let kind = &self.world.fleets[fleet].instance_type;
        let others: Vec<&str> = self.world.fleets[fleet]
            .zones
            .iter()
            .map(String::as_str)
            .filter(|z| *z != zone && self.room(z) > 0)
            .collect();
        let hint = if others.is_empty() {
            String::new()
        } else {
            format!(
                " You can currently get {kind} capacity by not specifying an Availability Zone in your \
                 request or choosing {}.",
                others.join(", ")
            )
        };
        let message = format!(
            "We currently do not have sufficient {kind} capacity in the Availability Zone you requested \
             ({zone}). Our system will be working on provisioning additional capacity.{hint} Launching EC2 \
             instance failed."
        );
        let id = self.activity_id(fleet);
        self.groups[fleet].activities.push(Activity {
            id,
            zone: zone.into(),
            description: "Launching a new EC2 instance.  Status Reason: ".to_owned() + &message,
            cause,
            start: self.now,
            end: Some(self.now),
            status: "Failed",
            status_message: Some(message.clone()),
            progress: 100,
        });
        self.scaled(fleet, self.groups[fleet].activities.len() - 1, None);
        message
    }

    /// Starts an activity about a host; returns its index.
    fn activity(&mut self, fleet: usize, host: usize, description: String, cause: String) -> usize {
        let id = self.activity_id(fleet);
        let zone = self.hosts[host].zone.clone();
        self.groups[fleet].activities.push(Activity {
            id,
            zone,
            description,
            cause,
            start: self.now,
            end: None,
            status: "InProgress",
            status_message: None,
            progress: 30,
        });
        self.groups[fleet].activities.len() - 1
    }

    fn activity_id(&self, fleet: usize) -> String {
        let n = ((fleet as u64) << 32) + self.groups[fleet].activities.len() as u64;
        draw::uuid(self.seed, "activity", n)
    }

    /// Begins to terminate a host, in response to `because`; returns the activity.
    pub(crate) fn take_out(&mut self, host: usize, because: &str) -> usize {
        let (now, fleet) = (self.now, self.hosts[host].fleet);
        let id = self.hosts[host].instance_id.clone();
        let cause =
            format!("At {} instance {id} was taken out of service in response to {because}.", at(now));
        let activity = self.activity(fleet, host, format!("Terminating EC2 instance: {id}"), cause);
        self.groups[fleet].last_movement = now;
        let h = &mut self.hosts[host];
        if let Some(launch) = h.activity.replace(activity) {
            let launch = &mut self.groups[fleet].activities[launch];
            (launch.status, launch.end) = ("Cancelled", Some(now));
        }
        h.lifecycle = Lifecycle::Terminating;
        h.deregister(now);
        if h.target.is_some() {
            self.groups[fleet].activities[activity].status = "WaitingForELBConnectionDraining";
        }
        activity
    }

    /// Auto Scaling's default policy: the fullest zone, the oldest launch template, then chance. Which
    /// of two equal hosts it takes is nothing to rely on, so chance it is here too.
    fn scale_in_victim(&self, fleet: usize) -> Option<usize> {
        let sizes: BTreeMap<String, usize> = self.zones_by_size(fleet).into_iter().collect();
        self.members(fleet).filter(|&h| !self.hosts[h].protected).min_by_key(|&h| {
            let host = &self.hosts[h];
            let fullest_first = std::cmp::Reverse(sizes.get(&host.zone).copied());
            let template = host.template_version.parse::<u64>().unwrap_or(u64::MAX);
            (fullest_first, template, draw::bits(self.seed, "scale in", h as u64))
        })
    }

    /// Zones of the fleet with their number of members, in the fleet's order.
    fn zones_by_size(&self, fleet: usize) -> Vec<(String, usize)> {
        let size = |z: &String| self.members(fleet).filter(|&h| self.hosts[h].zone == *z).count();
        self.world.fleets[fleet].zones.iter().map(|z| (z.clone(), size(z))).collect()
    }

    /// `AZRebalance`: launches in an empty zone first, then takes out in a full one.
    fn rebalance(&mut self, fleet: usize) {
        let moving = |h: &Host| {
            h.fleet == fleet && (h.lifecycle.leaving() || matches!(h.lifecycle, Lifecycle::Pending))
        };
        if self.hosts.iter().any(moving) {
            return;
        }
        if self.groups[fleet].surplus > 0 {
            self.groups[fleet].surplus = 0;
            return;
        }
        let calm = self.now - self.groups[fleet].last_movement >= TimeDelta::seconds(CALM_S);
        let allowed = ["AZRebalance", "Launch", "Terminate"].iter().all(|p| self.groups[fleet].runs(p));
        let zones = self.zones_by_size(fleet);
        let smallest = zones.iter().filter(|(z, _)| self.room(z) > 0).map(|(_, n)| *n).min();
        let largest = zones.iter().map(|(_, n)| *n).max();
        if let (true, true, Some(smallest), Some(largest)) = (calm, allowed, smallest, largest)
            && largest > smallest + 1
        {
            self.groups[fleet].surplus = 1;
            self.groups[fleet].reason = format!(
                "At {} the group was out of balance between Availability Zones and is being rebalanced.  ",
                at(self.now)
            );
        }
    }
}

/// A span of that many seconds.
pub(super) fn secs(s: f64) -> TimeDelta {
    TimeDelta::milliseconds((s * 1000.0) as i64)
}
