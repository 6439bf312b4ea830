//! What is asked of a writer, and what becomes of it when that is more than it can do.
//!
//! Whoever waits too long gives up and asks again, and the work done for them was for nothing. So a writer that is asked for
//! more than it can do does less than it could, and it stays so when the surge that began it has long passed: the
//! repetitions alone keep it there, as long as more than a part of its capacity is asked for. Another writer is asked for the
//! same. Turning some requests away at the door (the load shedder) ends it, if it is enough; those turned away fail, quickly.
//!
//! ```text
//!  asked by customers ─┬─▶ turned away
//!                      └─▶ let in, with repetitions ─▶ arriving ÷ capacity = x ≤ 1 ▶ all is well
//!                                                                              x > 1 ▶ 1 − 1/x² of them fail
//! ```

use chrono::{DateTime, TimeDelta, Utc};

use super::Physics;
use super::group_ops::Effect;
use super::metrics::{REQUESTS_PER_CPU, cpus};

/// How often a request that failed is asked again.
const REPETITIONS: f64 = 3.0;

/// The load of one cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Times the usual number of requests that customers ask.
    pub(super) surge: f64,
    pub(super) shedding: Option<Shedding>,
    /// Share of the requests let in that fail of overload.
    pub(super) overload: f64,
    /// Requests per second that reach the cluster, with repetitions.
    pub(super) arriving: f64,
}

/// Requests are turned away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shedding {
    /// So many per cent of them,
    pub(crate) percent: f64,
    /// until then.
    pub(crate) until: DateTime<Utc>,
}

impl Load {
    /// A day like any other.
    pub(super) fn usual(requests_per_second: f64) -> Self {
        Self { surge: 1.0, shedding: None, overload: 0.0, arriving: requests_per_second }
    }

    /// Share of requests that are turned away.
    pub(super) fn turned_away(&self) -> f64 {
        self.shedding.map_or(0.0, |s| s.percent / 100.0)
    }
}

impl Physics {
    /// Works out the load of every cluster for this second.
    pub(super) fn tick_loads(&mut self) {
        for c in 0..self.clusters.len() {
            let now = self.now;
            let (cluster, spec) = (&self.clusters[c], &self.world.clusters[c]);
            let capacity = cpus(&cluster.members[cluster.writer].class) * REQUESTS_PER_CPU;
            // While nobody answers, the queue is neither worked off nor forgotten.
            let stands = cluster.down();
            let load = &mut self.loads[c];
            load.shedding = load.shedding.filter(|s| s.until > now);
            let let_in = spec.requests_per_second * load.surge * (1.0 - load.turned_away());
            load.arriving = let_in * (1.0 + REPETITIONS * load.overload);
            if !stands {
                let x = load.arriving / capacity;
                load.overload = if x > 1.0 { 1.0 - 1.0 / (x * x) } else { 0.0 };
            }
        }
    }

    /// From now on customers ask so many times the usual.
    pub(super) fn surge(&mut self, cluster: usize, times: f64) {
        self.loads[cluster].surge = times.max(0.0);
    }

    /// The load shedder turns so many per cent away for so long; 0 ends it.
    pub(crate) fn shed(&mut self, cluster: usize, percent: f64, seconds: i64) -> Effect {
        let id = &self.clusters[cluster].id;
        let shedding = Shedding { percent, until: self.now + TimeDelta::seconds(seconds) };
        let (before, load) = (self.loads[cluster].shedding, &mut self.loads[cluster]);
        if percent > 0.0 {
            load.shedding = Some(shedding);
            return Some(format!("{percent} % of the requests to {id} are turned away for {seconds} s"));
        }
        load.shedding = None;
        before.map(|before| format!("{} % of the requests to {id} are let in again", before.percent))
    }

    /// What the load shedder does for a cluster.
    pub(crate) fn shedding(&self, cluster: usize) -> Option<Shedding> {
        self.loads[cluster].shedding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaultKind, World};

    fn world() -> (Physics, usize) {
        let world = World { faults: vec![], ..World::incident_2024_05_07() };
        let world = Physics::new(&world, 1, 1).expect("a sound world");
        let c = world.clusters.iter().position(|c| c.id == "shard-b").expect("shard-b");
        (world, c)
    }

    fn pass(world: &mut Physics, seconds: i64) -> f64 {
        world.advance(world.now() + TimeDelta::seconds(seconds));
        world.last_sample("shard-b").expect("a sample").error_share()
    }

    fn surge(world: &mut Physics, times: f64) {
        world.strike(FaultKind::Surge { cluster: "shard-b".into(), times });
    }

    #[test]
    fn a_busy_day_is_borne_and_what_a_surge_began_stays_when_it_has_passed() {
        let (mut world, c) = world();
        surge(&mut world, 2.0);
        assert_eq!(pass(&mut world, 60), 0.0);
        surge(&mut world, 3.6);
        assert!(pass(&mut world, 60) > 0.5);
        surge(&mut world, 2.0);
        assert!(pass(&mut world, 3600) > 0.5);
        // Another writer of the same size is asked for the same.
        world.lose_writer(c, TimeDelta::seconds(60));
        assert!(pass(&mut world, 300) > 0.5);
        surge(&mut world, 1.0);
        assert_eq!(pass(&mut world, 60), 0.0);
    }

    #[test]
    fn turning_enough_away_ends_it_and_too_little_does_not() {
        let (mut world, c) = world();
        surge(&mut world, 3.6);
        pass(&mut world, 60);
        surge(&mut world, 2.0);
        let without = pass(&mut world, 60);
        assert!(world.shed(c, 10.0, 600).is_some());
        assert!(pass(&mut world, 300) > 0.5, "it is too little");
        world.shed(c, 30.0, 600);
        let with = pass(&mut world, 60);
        assert!((0.299..0.301).contains(&with) && with < without, "{with} {without}");
        assert!(world.shed(c, 0.0, 0).is_some());
        assert_eq!(pass(&mut world, 3600), 0.0, "it stays gone");
        assert_eq!(world.shed(c, 0.0, 0), None, "there is nothing to end");
    }

    #[test]
    fn a_shedder_that_nobody_asks_again_lets_everybody_in() {
        let (mut world, c) = world();
        world.shed(c, 30.0, 120);
        assert!((0.299..0.301).contains(&pass(&mut world, 60)));
        assert_eq!(pass(&mut world, 120), 0.0);
        assert_eq!(world.shedding(c), None);
    }
}
