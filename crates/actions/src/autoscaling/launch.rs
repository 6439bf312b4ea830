//! `autoscaling.launch_instances`: new hosts in one zone, told by id at once.
//!
//! The only call of Auto Scaling that takes a client token: the same step asks for the same hosts however often it is sent, and AWS
//! repeats its first answer. It raises the desired capacity by as many, and answers before the hosts have booted.
//!
//! AWS may have room for some of them and launch those: then it answers with their ids and an error. They run and are to be known, so
//! that is a success with something missing; only an answer without any host is a refusal.

use std::sync::Arc;

use aws_sdk_autoscaling::types::RetryStrategy;
use domain::action::{ActionError, Change, Ctx, Effect, ErrorClass, ObjectChange, UndoCall};
use domain::words::many;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{SERVICE, named};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `autoscaling.launch_instances`.
pub(super) struct LaunchInstances(pub(super) Arc<Aws>);

/// AWS launches at most this many by one call.
const MOST: i32 = 100;
/// The longest token that AWS takes.
const TOKEN: usize = 64;

/// How many hosts, and where.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// The zone, one of the group's: AWS takes one at a time.
    #[serde(deserialize_with = "input::name")]
    zone: String,
    /// How many, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    count: i32,
    /// Where the zone has no room, let the group launch them elsewhere, in its own time; their ids are then not told.
    #[serde(default)]
    elsewhere: bool,
}

/// The group before.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Room {
    desired: i32,
    max: i32,
    zones: Vec<String>,
    /// Nothing is launched: the process is suspended.
    suspended: bool,
}

/// What was launched.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Launched {
    /// The group.
    group: String,
    /// EC2 instance ids of the new hosts, which boot now; without those that the group launches elsewhere.
    instances: Vec<String>,
    /// How many of those asked for were not launched in this zone. With `elsewhere` the group launches them in its own time; else
    /// nobody does.
    missing: i32,
    /// What AWS says of those that are missing; null where none is.
    why_missing: Option<String>,
    /// The zone that was asked for.
    zone: String,
}

impl LaunchInput {
    fn refused(&self, code: &'static str, message: String, remedy: &'static str) -> ActionError {
        ActionError::refused(code, message).remedy(remedy)
    }
}

impl Change for LaunchInstances {
    const NAME: &'static str = "autoscaling.launch_instances";
    const SUMMARY: &'static str = "Launch hosts of a group in one zone, and learn their ids at once";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:LaunchInstances"];
    const EFFECT: Effect = Effect::Token;
    const UNDOABLE: bool = false;
    type Input = LaunchInput;
    type Facts = Room;
    type Output = Launched;

    async fn observe(&self, ctx: &Ctx, input: &LaunchInput) -> Result<Room, ActionError> {
        let group = super::group(&Calls::new(ctx), &self.0, &input.region, &input.group).await?;
        let suspended = group.suspended_processes().iter().any(|p| p.process_name() == Some("Launch"));
        Ok(Room {
            desired: group.desired_capacity().unwrap_or_default(),
            max: group.max_size().unwrap_or_default(),
            zones: group.availability_zones().to_vec(),
            suspended,
        })
    }

    fn settled(&self, _input: &LaunchInput, _facts: &Room) -> Option<Launched> {
        None
    }

    fn plan(&self, input: &LaunchInput, facts: &Room) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        Ok(vec![ObjectChange {
            object: named(&input.group),
            property: format!("hosts, new ones in {}", input.zone),
            before: facts.desired.into(),
            after: (facts.desired + input.count).into(),
        }])
    }

    fn forbidden(&self, input: &LaunchInput, facts: &Room) -> Option<ActionError> {
        let LaunchInput { group, zone, count, .. } = input;
        if !(1..=MOST).contains(count) {
            let message = format!("{count} hosts cannot be launched by one call.");
            return Some(input.refused("bad_input", message, "say 1 to 100"));
        }
        if !facts.zones.contains(zone) {
            let message =
                format!("The group {group} is not in {zone}; its zones are: {}.", facts.zones.join(", "));
            return Some(input.refused("bad_input", message, "name one of its zones"));
        }
        if facts.suspended {
            let message = format!("The process Launch of {group} is suspended.");
            return Some(input.refused("launch_suspended", message, "resume it first, once you know why"));
        }
        if facts.desired + count > facts.max {
            let message = format!(
                "The group {group} may have {}, its desired capacity is {}, and {count} more would be too many.",
                many(facts.max, "host"),
                facts.desired
            );
            let remedy = "raise the maximum first (`autoscaling.set_max_size`), or launch fewer";
            return Some(input.refused("beyond_limits", message, remedy));
        }
        None
    }

    fn predict(&self, _input: &LaunchInput, _facts: &Room) -> Option<Launched> {
        None
    }

    async fn apply(&self, ctx: &Ctx, input: &LaunchInput, _facts: &Room) -> Result<Launched, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        let retry =
            if input.elsewhere { RetryStrategy::RetryWithGroupConfiguration } else { RetryStrategy::None };
        // A step's own token may be longer than AWS takes.
        let token: String = hex::encode(Sha256::digest(&ctx.token)).chars().take(TOKEN).collect();
        let answer = Calls::new(ctx)
            .change(SERVICE, "LaunchInstances", &input.group, |gate| {
                client
                    .launch_instances()
                    .auto_scaling_group_name(&input.group)
                    .requested_capacity(input.count)
                    .availability_zones(&input.zone)
                    .client_token(token)
                    .retry_strategy(retry)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let instances: Vec<String> =
            answer.instances().iter().flat_map(|i| i.instance_ids()).cloned().collect();
        let why = answer.errors().first().map(|error| {
            format!(
                "{} ({})",
                error.error_message().unwrap_or("no reason given"),
                error.error_code().unwrap_or("no code")
            )
        });
        if let (Some(why), true, false) = (&why, instances.is_empty(), input.elsewhere) {
            return Err(ActionError::new(
                ErrorClass::Refused,
                "not_launched",
                format!("{} launched nothing in {}: {why}.", input.group, input.zone),
            )
            .remedy("begin anew with another zone, or let the group launch them elsewhere (`elsewhere: true`): AWS tells the same step the same again"));
        }
        let launched = i32::try_from(instances.len()).unwrap_or(i32::MAX);
        Ok(Launched {
            group: input.group.clone(),
            zone: input.zone.clone(),
            missing: (input.count - launched).max(0),
            why_missing: why,
            instances,
        })
    }

    fn undo(&self, _input: &LaunchInput, _facts: &Room) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &LaunchInput) -> String {
        let retry = if input.elsewhere { "retry-with-group-configuration" } else { "none" };
        Command::aws("autoscaling launch-instances", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--requested-capacity", &input.count.to_string())
            .option("--availability-zones", &input.zone)
            .option("--retry-strategy", retry)
            .option("--client-token", &format!("{}-{}-{}-by-hand", input.group, input.zone, input.count))
            .line()
    }
}
