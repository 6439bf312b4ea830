//! The group itself: who is in it, how many there should be, how many there may be.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use domain::Timestamp;
use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, Observe, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SERVICE, Stage, named};
use crate::aws::Aws;
use crate::calls::Calls;
use crate::shell::Command;
use crate::{ec2, input};

/// `autoscaling.describe_group`.
pub(super) struct DescribeGroup(pub(super) Arc<Aws>);

/// Which group.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    pub(super) region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    pub(super) group: String,
}

/// A group at one moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Group {
    /// Its name.
    group: String,
    /// Desired capacity.
    desired: i32,
    /// Least size.
    min: i32,
    /// Greatest size.
    max: i32,
    /// The hosts in service, one zone after the other in turn, so that a slice of them is spread over the zones.
    in_service: Vec<Host>,
    /// The ids of the hosts in service, in the same order.
    ids: Vec<String>,
    /// Ids of hosts that are starting.
    pending: Vec<String>,
    /// Ids of hosts that are being terminated or detached.
    leaving: Vec<String>,
    /// Ids of hosts in any other state, such as standby.
    other: Vec<String>,
    /// Names of the suspended processes.
    suspended: Vec<String>,
    /// ARNs of the load balancer target groups that hosts are registered in.
    target_groups: Vec<String>,
    /// Its availability zones.
    zones: Vec<String>,
    /// What decides about a host's health: `EC2` (the machine only) or `ELB` (the target group's check, too).
    health_check: String,
}

/// A host in service.
#[derive(Debug, Serialize, JsonSchema)]
struct Host {
    /// EC2 instance id.
    id: String,
    /// Availability zone.
    az: String,
    /// Private IPv4 address; empty when EC2 does not tell one (yet).
    ip: String,
    /// Protected from scale-in.
    protected: bool,
    /// Healthy in the eyes of the group; it says nothing about logins.
    healthy: bool,
    /// When EC2 launched it.
    launched_at: Option<Timestamp>,
}

impl Observe for DescribeGroup {
    const NAME: &'static str = "autoscaling.describe_group";
    const SUMMARY: &'static str = "Hosts, sizes and suspended processes of an Auto Scaling group";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"];
    type Input = GroupInput;
    type Output = Group;

    async fn observe(&self, ctx: &Ctx, input: &GroupInput) -> Result<Group, ActionError> {
        let calls = Calls::new(ctx);
        let group = super::group(&calls, &self.0, &input.region, &input.group).await?;
        let mut stages: HashMap<&str, Vec<String>> = HashMap::new();
        for instance in group.instances() {
            let bucket = match Stage::of(instance.lifecycle_state().map_or("", |s| s.as_str())) {
                Stage::InService => "in service",
                Stage::Pending => "pending",
                Stage::Leaving => "leaving",
                Stage::Other => "other",
            };
            stages.entry(bucket).or_default().extend(instance.instance_id().map(str::to_owned));
        }
        let mut take = |bucket| {
            let mut ids = stages.remove(bucket).unwrap_or_default();
            ids.sort();
            ids
        };
        let serving = take("in service");
        let machines = ec2::machines(&calls, &self.0, &input.region, &serving).await?;
        let hosts = group
            .instances()
            .iter()
            .filter(|i| i.instance_id().is_some_and(|id| serving.iter().any(|s| s == id)))
            .map(|instance| {
                let id = instance.instance_id().unwrap_or_default();
                let machine = machines.iter().find(|machine| machine.id == id);
                Host {
                    id: id.to_owned(),
                    az: instance.availability_zone().unwrap_or_default().to_owned(),
                    ip: machine.map(|m| m.ip.clone()).unwrap_or_default(),
                    protected: instance.protected_from_scale_in().unwrap_or_default(),
                    healthy: instance.health_status() == Some("Healthy"),
                    launched_at: machine.and_then(|m| m.launched_at),
                }
            })
            .collect();
        let in_service = spread(hosts);
        Ok(Group {
            group: input.group.clone(),
            desired: group.desired_capacity().unwrap_or_default(),
            min: group.min_size().unwrap_or_default(),
            max: group.max_size().unwrap_or_default(),
            ids: in_service.iter().map(|host| host.id.clone()).collect(),
            in_service,
            pending: take("pending"),
            leaving: take("leaving"),
            other: take("other"),
            suspended: suspended(&group),
            target_groups: group.target_group_arns().to_vec(),
            zones: group.availability_zones().to_vec(),
            health_check: group.health_check_type().unwrap_or_default().to_owned(),
        })
    }

    fn command(&self, input: &GroupInput) -> String {
        Command::aws("autoscaling describe-auto-scaling-groups", &input.region)
            .option("--auto-scaling-group-names", &input.group)
            .line()
    }
}

/// Names of the suspended processes, sorted.
pub(super) fn suspended(group: &AutoScalingGroup) -> Vec<String> {
    let mut names: Vec<String> = group
        .suspended_processes()
        .iter()
        .filter_map(|process| process.process_name().map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// One host of each zone in turn, so that any slice touches the zones evenly.
fn spread(hosts: Vec<Host>) -> Vec<Host> {
    let mut zones: BTreeMap<String, Vec<Host>> = BTreeMap::new();
    for host in hosts {
        zones.entry(host.az.clone()).or_default().push(host);
    }
    let mut queues: VecDeque<VecDeque<Host>> = zones
        .into_values()
        .map(|mut hosts| {
            hosts.sort_by(|a, b| a.id.cmp(&b.id));
            hosts.into()
        })
        .collect();
    let mut spread = Vec::new();
    while let Some(mut queue) = queues.pop_front() {
        spread.extend(queue.pop_front());
        if !queue.is_empty() {
            queues.push_back(queue);
        }
    }
    spread
}

/// `autoscaling.scale_to`.
pub(super) struct ScaleTo(pub(super) Arc<Aws>);

/// The wanted size.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// The desired capacity, as an absolute number.
    desired: i32,
}

/// The sizes of a group.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sizes {
    desired: i32,
    min: i32,
    max: i32,
}

/// The size that a group was given.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Scaled {
    /// The group.
    group: String,
    /// Its desired capacity.
    desired: i32,
}

impl Sizes {
    async fn of(aws: &Aws, ctx: &Ctx, region: &str, group: &str) -> Result<Self, ActionError> {
        let group = super::group(&Calls::new(ctx), aws, region, group).await?;
        Ok(Self {
            desired: group.desired_capacity().unwrap_or_default(),
            min: group.min_size().unwrap_or_default(),
            max: group.max_size().unwrap_or_default(),
        })
    }
}

/// Cannot be undone: lowering the desired capacity again would let AWS choose which hosts go.
impl Change for ScaleTo {
    const NAME: &'static str = "autoscaling.scale_to";
    const SUMMARY: &'static str = "Set the desired capacity of a group to an absolute number";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:SetDesiredCapacity"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = false;
    type Input = ScaleInput;
    type Facts = Sizes;
    type Output = Scaled;

    async fn observe(&self, ctx: &Ctx, input: &ScaleInput) -> Result<Sizes, ActionError> {
        Sizes::of(&self.0, ctx, &input.region, &input.group).await
    }

    fn settled(&self, input: &ScaleInput, facts: &Sizes) -> Option<Scaled> {
        (facts.desired == input.desired)
            .then(|| Scaled { group: input.group.clone(), desired: input.desired })
    }

    fn plan(&self, input: &ScaleInput, facts: &Sizes) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        if !(facts.min..=facts.max).contains(&input.desired) {
            return Err(ActionError::refused(
                "beyond_limits",
                format!(
                    "The group {} may have {} to {} hosts, so its desired capacity cannot be {} (it is {}).",
                    input.group, facts.min, facts.max, input.desired, facts.desired
                ),
            )
            .remedy(
                "raise the maximum first (`autoscaling.set_max_size`), or choose a number within the limits",
            ));
        }
        Ok(vec![ObjectChange {
            object: named(&input.group),
            property: "desired capacity".into(),
            before: facts.desired.into(),
            after: input.desired.into(),
        }])
    }

    fn predict(&self, input: &ScaleInput, _facts: &Sizes) -> Option<Scaled> {
        Some(Scaled { group: input.group.clone(), desired: input.desired })
    }

    async fn apply(&self, ctx: &Ctx, input: &ScaleInput, _facts: &Sizes) -> Result<Scaled, ActionError> {
        let client = self.0.region(&input.region).autoscaling;
        Calls::new(ctx)
            .change(SERVICE, "SetDesiredCapacity", &input.group, |gate| {
                client
                    .set_desired_capacity()
                    .auto_scaling_group_name(&input.group)
                    .desired_capacity(input.desired)
                    .honor_cooldown(false)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(Scaled { group: input.group.clone(), desired: input.desired })
    }

    fn undo(&self, _input: &ScaleInput, _facts: &Sizes) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &ScaleInput) -> String {
        Command::aws("autoscaling set-desired-capacity", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--desired-capacity", &input.desired.to_string())
            .flag("--no-honor-cooldown")
            .line()
    }
}

/// `autoscaling.set_max_size`.
pub(super) struct SetMaxSize(pub(super) Arc<Aws>);

/// The wanted maximum.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MaxInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// The greatest size, as an absolute number.
    max: i32,
}

/// The maximum that a group was given.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Maximum {
    /// The group.
    group: String,
    /// Its greatest size.
    max: i32,
}

impl Change for SetMaxSize {
    const NAME: &'static str = "autoscaling.set_max_size";
    const SUMMARY: &'static str = "Set the greatest size of a group";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:UpdateAutoScalingGroup"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    type Input = MaxInput;
    type Facts = Sizes;
    type Output = Maximum;

    async fn observe(&self, ctx: &Ctx, input: &MaxInput) -> Result<Sizes, ActionError> {
        Sizes::of(&self.0, ctx, &input.region, &input.group).await
    }

    fn settled(&self, input: &MaxInput, facts: &Sizes) -> Option<Maximum> {
        (facts.max == input.max).then(|| Maximum { group: input.group.clone(), max: input.max })
    }

    fn plan(&self, input: &MaxInput, facts: &Sizes) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        // Below the desired capacity AWS would terminate hosts of its own choice.
        if input.max < facts.desired || input.max < facts.min {
            return Err(ActionError::refused(
                "beyond_limits",
                format!(
                    "The maximum of {} cannot be {}: {} hosts are desired, and at least {} are kept.",
                    input.group, input.max, facts.desired, facts.min
                ),
            )
            .remedy("remove the surplus hosts by id first, then lower the maximum"));
        }
        Ok(vec![ObjectChange {
            object: named(&input.group),
            property: "maximum size".into(),
            before: facts.max.into(),
            after: input.max.into(),
        }])
    }

    fn predict(&self, input: &MaxInput, _facts: &Sizes) -> Option<Maximum> {
        Some(Maximum { group: input.group.clone(), max: input.max })
    }

    async fn apply(&self, ctx: &Ctx, input: &MaxInput, _facts: &Sizes) -> Result<Maximum, ActionError> {
        let client = self.0.region(&input.region).autoscaling;
        Calls::new(ctx)
            .change(SERVICE, "UpdateAutoScalingGroup", &input.group, |gate| {
                client
                    .update_auto_scaling_group()
                    .auto_scaling_group_name(&input.group)
                    .max_size(input.max)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(Maximum { group: input.group.clone(), max: input.max })
    }

    fn undo(&self, input: &MaxInput, facts: &Sizes) -> Option<UndoCall> {
        if facts.max == input.max {
            return None;
        }
        let before = MaxInput { region: input.region.clone(), group: input.group.clone(), max: facts.max };
        input::call(Self::NAME, &before)
    }

    fn command(&self, input: &MaxInput) -> String {
        Command::aws("autoscaling update-auto-scaling-group", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--max-size", &input.max.to_string())
            .line()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_spread_over_zones() {
        let host = |id: &str, az: &str| Host {
            id: id.into(),
            az: az.into(),
            ip: String::new(),
            protected: false,
            healthy: true,
            launched_at: None,
        };
        let hosts = vec![host("5", "b"), host("4", "a"), host("1", "a"), host("3", "a"), host("2", "c")];
        let order: Vec<String> = spread(hosts).into_iter().map(|h| h.id).collect();
        assert_eq!(order, ["1", "5", "2", "3", "4"]);
    }
}
