//! The critical path: how long a replacement takes an operator who sees everything at once, and whose hands take no time.
//!
//! The same physics, with no wire: what is left is what no operator can shorten (boot, registration, draining, termination).
//! A run is measured against it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::counterfactual::counterfactual_with;
use crate::physics::{Bounds, Physics};
use crate::sim::Options;
use crate::world::{World, WorldError};

/// A fleet that is replaced: as many new hosts first, then the old ones in slices.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The fleet, by the name of its group.
    pub fleet: String,
    /// How many old hosts drain at the same time.
    pub at_once: usize,
    /// How long a host is given to drain.
    pub drain: Duration,
}

/// How far it is.
enum Stage {
    Launching,
    /// These are being drained, since then; the others follow.
    Draining(Vec<String>, DateTime<Utc>),
    Leaving,
    Done,
}

/// From `begin` (after the world's start) until the last old host is gone; `None` if it is not within `most`.
///
/// # Errors
/// [`WorldError`] if the world contradicts itself.
pub fn critical_path(
    world: &World,
    options: &Options,
    begin: Duration,
    replacement: &Replacement,
    most: Duration,
) -> Result<Option<Duration>, WorldError> {
    let (mut old, mut stage, mut took) = (Vec::new(), Stage::Launching, None);
    let mut left: Vec<String> = Vec::new();
    let drain = TimeDelta::from_std(replacement.drain).unwrap_or(TimeDelta::MAX);
    counterfactual_with(world, options, begin + most, |offset, physics| {
        if offset < begin {
            return;
        }
        if old.is_empty() {
            old = physics.serving(&replacement.fleet);
            left.clone_from(&old);
            launch(physics, &replacement.fleet, 2 * old.len());
        }
        if let Stage::Launching = stage
            && physics.offered(&replacement.fleet) >= 2 * old.len()
        {
            stage = next_slice(physics, &mut left, replacement.at_once);
        }
        if let Stage::Draining(slice, since) = &stage
            && (physics.now() - *since >= drain || slice.iter().all(|host| physics.drained(host)))
        {
            for host in slice {
                // What is gone by itself needs nobody to terminate it.
                let _ = physics.terminate_in_group(host, true);
            }
            stage = next_slice(physics, &mut left, replacement.at_once);
        }
        if let Stage::Leaving = stage
            && old.iter().all(|host| physics.gone(host))
        {
            took = Some(offset.saturating_sub(begin));
            stage = Stage::Done;
        }
    })?;
    Ok(took)
}

fn launch(physics: &mut Physics, fleet: &str, hosts: usize) {
    let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
    // A world in which even this is refused has no critical path, and says so by never ending.
    let _ = physics.suspend_processes(fleet, &["AZRebalance".to_owned()], true);
    let _ = physics.update_group(fleet, Bounds { max: Some(hosts), ..Bounds::default() });
    let _ = physics.set_desired_capacity(fleet, hosts, false);
}

fn next_slice(physics: &mut Physics, left: &mut Vec<String>, at_once: usize) -> Stage {
    let slice: Vec<String> = left.drain(..at_once.clamp(1, left.len().max(1)).min(left.len())).collect();
    for host in &slice {
        physics.pause_host(host);
    }
    if slice.is_empty() { Stage::Leaving } else { Stage::Draining(slice, physics.now()) }
}
