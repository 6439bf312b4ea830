//! What CloudWatch knows of the Aurora instances: one value per metric and minute, published when the minute is over.
//!
//! Every value follows from the world: connections are those that the proxies hold, the processor works for the requests
//! that customers make, memory is what the buffer pool and the connections leave, and a login fails at Aurora only if Aurora
//! refuses it: what a sick proxy host does to its clients is invisible here, as it was on 7 May 2024. An instance that
//! is not available publishes nothing.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Physics, draw};
use crate::world::memory_gib;

/// Minutes that are kept: a day.
const KEPT: usize = 24 * 60;
/// Minutes of calm that are known of the time before the world's start.
pub(super) const BEFORE: i64 = 3 * 60;
/// Requests per second that keep one virtual CPU busy.
pub(super) const REQUESTS_PER_CPU: f64 = 250.0;
/// Share of a CPU's time that an idle instance uses: shortest and longest.
const IDLE_PERCENT: (f64, f64) = (2.0, 4.0);
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// Memory that a connection holds.
const BYTES_PER_CONNECTION: f64 = 3.0 * 1024.0 * 1024.0;
/// Share of the memory that the buffer pool leaves.
const BESIDE_THE_POOL: f64 = 0.25;
/// A metric of the namespace `AWS/RDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    CpuUtilization,
    DatabaseConnections,
    FreeableMemory,
    /// Readers only.
    ReplicaLag,
    /// Of the cluster's slowest reader, as its writer tells.
    ReplicaLagMaximum,
    /// Of the cluster's fastest reader, as its writer tells.
    ReplicaLagMinimum,
    LoginFailures,
}

impl Metric {
    pub(crate) const ALL: [Self; 7] = [
        Self::CpuUtilization,
        Self::DatabaseConnections,
        Self::FreeableMemory,
        Self::ReplicaLag,
        Self::ReplicaLagMaximum,
        Self::ReplicaLagMinimum,
        Self::LoginFailures,
    ];

    /// CloudWatch's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CpuUtilization => "CPUUtilization",
            Self::DatabaseConnections => "DatabaseConnections",
            Self::FreeableMemory => "FreeableMemory",
            Self::ReplicaLag => "AuroraReplicaLag",
            Self::ReplicaLagMaximum => "AuroraReplicaLagMaximum",
            Self::ReplicaLagMinimum => "AuroraReplicaLagMinimum",
            Self::LoginFailures => "LoginFailures",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// CloudWatch's unit.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::CpuUtilization => "Percent",
            Self::DatabaseConnections => "Count",
            Self::FreeableMemory => "Bytes",
            Self::ReplicaLag | Self::ReplicaLagMaximum | Self::ReplicaLagMinimum => "Milliseconds",
            Self::LoginFailures => "Count/Second",
        }
    }
}

/// The values of one instance for one minute.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    writer: bool,
    cpu_percent: f64,
    connections: f64,
    freeable_bytes: f64,
    /// Of a reader: how far it is behind. Of a writer: the largest and smallest of its readers, if it has any.
    lag_ms: Option<(f64, f64)>,
    login_failures_per_s: f64,
}

impl Point {
    fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::CpuUtilization => Some(self.cpu_percent),
            Metric::DatabaseConnections => Some(self.connections),
            Metric::FreeableMemory => Some(self.freeable_bytes),
            Metric::ReplicaLag => self.lag_ms.filter(|_| !self.writer).map(|(lag, _)| lag),
            Metric::ReplicaLagMaximum => self.lag_ms.filter(|_| self.writer).map(|(largest, _)| largest),
            Metric::ReplicaLagMinimum => self.lag_ms.filter(|_| self.writer).map(|(_, smallest)| smallest),
            Metric::LoginFailures => Some(self.login_failures_per_s),
        }
    }
}

/// All that was published, minute by minute.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(VecDeque<Minute>);

#[derive(Debug, Clone)]
struct Minute {
    begins: DateTime<Utc>,
    /// By cluster and member; none of an instance that was not available.
    points: Vec<Vec<Option<Point>>>,
}

/// Whose values are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) cluster: usize,
    /// Only this member.
    pub(crate) member: Option<usize>,
    /// Only the member that was the writer, or only those that were not.
    pub(crate) writer: Option<bool>,
}

impl Metrics {
    /// The values of a metric in the minutes that begin in `from..to`, oldest first: a time and a value for each instance
    /// that has one.
    pub(crate) fn values(
        &self,
        metric: Metric,
        of: Subject,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Vec<(DateTime<Utc>, f64)> {
        let first = self.0.partition_point(|m| m.begins < from);
        let minutes = self.0.range(first..).take_while(|m| m.begins < to);
        let wanted = |m: usize, p: &Point| {
            of.member.is_none_or(|only| only == m) && of.writer.is_none_or(|only| only == p.writer)
        };
        minutes
            .flat_map(|minute| {
                let members = minute.points[of.cluster].iter().enumerate();
                members.filter_map(move |(m, point)| {
                    let point = point.filter(|p| wanted(m, p))?;
                    Some((minute.begins, point.value(metric)?))
                })
            })
            .collect()
    }
}

impl Physics {
    /// What the time before the start looked like.
    pub(super) fn remember_calm(&mut self) {
        let this_minute = self.world.start.timestamp().div_euclid(60);
        for minute in this_minute - BEFORE..this_minute {
            self.publish(DateTime::from_timestamp(60 * minute, 0).unwrap_or(self.world.start));
        }
    }

    /// Publishes the minute that has just ended, if one has.
    pub(super) fn tick_metrics(&mut self) {
        if self.now.timestamp() % 60 == 0 {
            self.publish(self.now - TimeDelta::seconds(60));
            self.tick_alarms();
        }
    }

    fn publish(&mut self, begins: DateTime<Utc>) {
        let points = (0..self.clusters.len()).map(|c| self.cluster_points(c, begins)).collect();
        if self.metrics.0.len() >= KEPT {
            self.metrics.0.pop_front();
        }
        self.metrics.0.push_back(Minute { begins, points });
    }

    fn cluster_points(&self, cluster: usize, begins: DateTime<Utc>) -> Vec<Option<Point>> {
        let c = &self.clusters[cluster];
        let available = |m: usize| c.up(m);
        let readers = || (0..c.members.len()).filter(|&m| m != c.writer && available(m));
        let lags = readers().map(|m| c.members[m].lag_ms);
        let (smallest, largest) = lags.fold((f64::MAX, 0.0_f64), |(s, l), lag| (s.min(lag), l.max(lag)));
        let of = |m: usize| {
            let lag_ms = if m != c.writer {
                let lag = c.members[m].lag_ms;
                Some((lag, lag))
            } else {
                (readers().count() > 0).then_some((largest, smallest))
            };
            self.point(cluster, m, begins, lag_ms)
        };
        (0..c.members.len()).map(|m| available(m).then(|| of(m))).collect()
    }

    fn point(
        &self,
        cluster: usize,
        member: usize,
        begins: DateTime<Utc>,
        lag_ms: Option<(f64, f64)>,
    ) -> Point {
        let (c, spec) = (&self.clusters[cluster], &self.world.clusters[cluster]);
        let m = &c.members[member];
        let writer = member == c.writer;
        let minute = begins.timestamp().div_euclid(60).unsigned_abs();
        let fleet = self.fleet_of[cluster];
        let hosts = self.hosts.iter().filter(|h| h.fleet == fleet && h.alive(self.now)).count() as f64;
        let limit = f64::from(spec.connection_limit(&m.class));
        // A proxy keeps its pool to the writer, and one connection to watch each instance.
        let pool = hosts * f64::from(self.world.fleets[fleet].backend_connections);
        let refused = c.refuses_logins;
        let connections = hosts + if writer && !refused { pool.min(limit - hosts) } else { 0.0 };
        let asked = if writer && !c.down() { self.loads[cluster].arriving } else { 0.0 };
        let idle =
            draw::between(self.seed, &format!("cpu of {}", m.id), minute, IDLE_PERCENT.0, IDLE_PERCENT.1);
        let cpus = cpus(&m.class);
        let memory_bytes = memory_gib(&m.class).unwrap_or(8.0 * cpus) * GIB;
        let busy = if refused { 0.0 } else { 100.0 * asked / (cpus * REQUESTS_PER_CPU) };
        let strain = c.strain(member);
        let outgrown = c.outgrown.is_some_and(|o| writer && memory_bytes < o.needs_gib * GIB);
        let free = memory_bytes * BESIDE_THE_POOL - connections * BYTES_PER_CONNECTION;
        let least = memory_bytes * 0.01;
        Point {
            writer,
            cpu_percent: (idle + busy * (1.0 - strain)).min(100.0),
            connections: if c.exhausted.is_some_and(|e| e.member == member) {
                limit
            } else {
                connections.max(0.0)
            },
            freeable_bytes: if outgrown { least } else { free.max(least) }.round(),
            lag_ms,
            login_failures_per_s: if writer && refused { asked } else { 0.0 },
        }
    }
}

/// Virtual CPUs of an instance class.
pub(super) fn cpus(class: &str) -> f64 {
    let size = class.rsplit('.').next().unwrap_or_default();
    match size.strip_suffix("xlarge") {
        Some("") => 4.0,
        Some(times) => 4.0 * times.parse().unwrap_or(1.0),
        None => 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physics::alarms::AlarmState;
    use crate::{FaultKind, World};

    fn calm() -> Physics {
        let world = World { faults: vec![], ..World::incident_2024_05_07() };
        Physics::new(&world, 1, 1).expect("a sound world")
    }

    fn pass(world: &mut Physics, minutes: i64) {
        world.advance(world.now() + TimeDelta::minutes(minutes));
    }

    /// The values of an instance in the last minutes, oldest first.
    fn last(world: &Physics, metric: Metric, instance: &str, minutes: i64) -> Vec<f64> {
        let (cluster, member) = world.instance(instance).expect("an instance");
        let of = Subject { cluster, member: Some(member), writer: None };
        let from = world.now() - TimeDelta::minutes(minutes);
        world.metrics.values(metric, of, from, world.now()).into_iter().map(|(_, v)| v).collect()
    }

    fn alarm(world: &Physics, name: &str) -> AlarmState {
        world.watches.iter().find(|w| w.alarm.name == name).expect("an alarm").state
    }

    #[test]
    fn on_that_day_auroras_own_metrics_of_shard_b_stayed_nominal() {
        let mut world = Physics::new(&World::incident_2024_05_07(), 1, 1).expect("a sound world");
        pass(&mut world, 45);
        assert!(world.last_sample("shard-b").expect("a sample").error_share() > 0.2);
        assert!(last(&world, Metric::LoginFailures, "shard-b-1", 45).iter().all(|v| *v == 0.0));
        assert_eq!(alarm(&world, "shard-b-login-failures"), AlarmState::Ok);
        let cpu = last(&world, Metric::CpuUtilization, "shard-b-1", 200);
        assert_eq!(cpu.len(), 200, "known from before the start, too");
        assert!(cpu.iter().all(|v| (30.0..45.0).contains(v)), "{cpu:?}");
    }

    #[test]
    fn a_lagging_reader_shows_it_as_does_its_writer() {
        let mut world = calm();
        let instance = Some("shard-b-2".to_owned());
        world.strike(FaultKind::ReplicaLag { cluster: "shard-b".into(), instance, milliseconds: 20_000.0 });
        pass(&mut world, 2);
        assert_eq!(last(&world, Metric::ReplicaLag, "shard-b-2", 1), [20_000.0]);
        assert!(last(&world, Metric::ReplicaLag, "shard-b-3", 1)[0] < 30.0);
        assert_eq!(last(&world, Metric::ReplicaLagMaximum, "shard-b-1", 1), [20_000.0]);
        assert!(last(&world, Metric::ReplicaLagMinimum, "shard-b-1", 1)[0] < 30.0);
        assert_eq!(last(&world, Metric::ReplicaLag, "shard-b-1", 60), [0.0; 0], "a writer is behind nobody");
        world.fail_over("shard-b", Some("shard-b-2")).expect("a failover");
        pass(&mut world, 2);
        assert_eq!(last(&world, Metric::ReplicaLag, "shard-b-2", 1), [0.0; 0], "it writes now");
        assert!(last(&world, Metric::ReplicaLagMaximum, "shard-b-2", 1)[0] < 30.0);
    }

    #[test]
    fn a_load_that_has_outgrown_its_class_leaves_no_memory() {
        let mut world = calm();
        let needs_gib = 300.0; // its class has 256
        world.strike(FaultKind::Outgrown { cluster: "shard-e".into(), needs_gib, share: 0.2 });
        pass(&mut world, 1);
        let free = last(&world, Metric::FreeableMemory, "shard-e-1", 2);
        assert!(free[0] > 50.0 * GIB && free[1] < 3.0 * GIB, "{free:?}");
    }

    #[test]
    fn refused_logins_raise_the_alarm_and_end_it() {
        let mut world = calm();
        assert_eq!(alarm(&world, "shard-b-login-failures"), AlarmState::Ok);
        world.strike(FaultKind::WrongCredentials { cluster: "shard-b".into() });
        pass(&mut world, 1);
        assert_eq!(alarm(&world, "shard-b-login-failures"), AlarmState::Ok, "one of three minutes");
        pass(&mut world, 1);
        assert_eq!(alarm(&world, "shard-b-login-failures"), AlarmState::Alarm);
        assert_eq!(last(&world, Metric::LoginFailures, "shard-b-1", 1), [8000.0]);
        world.strike(FaultKind::CredentialsRestored { cluster: "shard-b".into() });
        pass(&mut world, 2);
        assert_eq!(alarm(&world, "shard-b-login-failures"), AlarmState::Ok);
    }

    #[test]
    fn an_instance_that_is_not_available_publishes_nothing() {
        let mut world = Physics::new(&World::incident_2024_05_07(), 1, 1).expect("a sound world");
        pass(&mut world, 17);
        assert_eq!(last(&world, Metric::FreeableMemory, "shard-e-1", 4), [0.0; 0]);
        pass(&mut world, 5);
        assert_eq!(last(&world, Metric::FreeableMemory, "shard-e-1", 1).len(), 1);
    }
}
