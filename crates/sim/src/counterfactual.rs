//! "What if": the same physics with no wire, no real time, and the hands of the caller, or nobody's.

use std::time::Duration;

use chrono::TimeDelta;

use crate::physics::{Physics, Sample};
use crate::sim::Options;
use crate::world::{World, WorldError};

/// What customers see for `duration` from the start if nobody acts.
///
/// # Errors
/// [`WorldError`] if the world contradicts itself.
pub fn counterfactual(
    world: &World,
    options: &Options,
    duration: Duration,
) -> Result<Vec<Sample>, WorldError> {
    counterfactual_with(world, options, duration, |_, _| {})
}

/// As [`counterfactual`], with somebody acting: `act` is called every simulated second with the offset
/// from the start.
///
/// # Errors
/// [`WorldError`] if the world contradicts itself.
pub fn counterfactual_with(
    world: &World,
    options: &Options,
    duration: Duration,
    mut act: impl FnMut(Duration, &mut Physics),
) -> Result<Vec<Sample>, WorldError> {
    let mut physics = Physics::new(world, options.seed, 1)?;
    for second in 0..=duration.as_secs() {
        physics.advance(world.start + TimeDelta::seconds(i64::try_from(second).unwrap_or(i64::MAX)));
        act(Duration::from_secs(second), &mut physics);
    }
    Ok(physics.samples().to_vec())
}
