//! The group itself: who is in it, and in what state it is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use domain::Timestamp;
use domain::action::{ActionError, Ctx, ForeignWork, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Stage, named};
use crate::aws::{Aws, Purpose};
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
    /// Empty, or that the group is being deleted, in the words of AWS.
    status: String,
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

/// How a person looks at a group and its hosts.
macro_rules! look_by_hand {
    () => {
        r#"
  local found ids machines
  found=$(aws autoscaling describe-auto-scaling-groups --region "$region" --auto-scaling-group-names "$group" \
    --query 'AutoScalingGroups[0]' --output json) || return
  ids=$(jq -r '[.Instances[] | select(.LifecycleState == "InService").InstanceId] | join(",")' <<<"$found") || return
  machines=$(aws ec2 describe-instances --region "$region" --filters "Name=instance-id,Values=${ids:-none}" \
    --query 'Reservations[].Instances[].{id: InstanceId, ip: PrivateIpAddress, launched_at: LaunchTime}' --output json) || return
  jq -c --argjson machines "$machines" '
    # One host of each zone in turn, so that any slice touches the zones evenly.
    def spread: [group_by(.az)[] | sort_by(.id) | to_entries[]] | sort_by([.key, .value.az]) | map(.value);
    def ids(test): [.Instances[] | select(.LifecycleState | test).InstanceId] | sort;
    ([.Instances[] | select(.LifecycleState == "InService") | .InstanceId as $id |
      ([$machines[] | select(.id == $id)][0] // {}) as $machine | {
        id: $id, az: .AvailabilityZone, ip: ($machine.ip // ""), protected: .ProtectedFromScaleIn,
        healthy: (.HealthStatus == "Healthy"), launched_at: $machine.launched_at
      }] | spread) as $in_service | {
      group: .AutoScalingGroupName, desired: .DesiredCapacity, min: .MinSize, max: .MaxSize,
      in_service: $in_service, ids: [$in_service[].id],
      pending: ids(startswith("Pending")), leaving: ids(startswith("Terminat") or startswith("Detach")),
      other: ids(. != "InService" and (startswith("Pending") or startswith("Terminat") or startswith("Detach") | not)),
      suspended: ([.SuspendedProcesses[]?.ProcessName] | sort), target_groups: (.TargetGroupARNs // []),
      zones: .AvailabilityZones, status: (.Status // ""), health_check: .HealthCheckType
    }' <<<"$found"
"#
    };
}
pub(super) use look_by_hand;

impl Observe for DescribeGroup {
    const NAME: &'static str = "autoscaling.describe_group";
    const SUMMARY: &'static str = "Hosts, sizes and suspended processes of an Auto Scaling group";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "ec2:DescribeInstances"];
    const BY_HAND: Option<&'static str> = Some(look_by_hand!());
    type Input = GroupInput;
    type Output = Group;

    async fn observe(&self, ctx: &Ctx, input: &GroupInput) -> Result<Group, ActionError> {
        look(&self.0, &Calls::new(ctx), input).await
    }

    /// A group has a status only while it is being deleted.
    fn foreign(output: &Value) -> Vec<ForeignWork> {
        let text = |field: &str| output.get(field).and_then(Value::as_str).unwrap_or_default();
        match text("status") {
            "" => Vec::new(),
            status => vec![ForeignWork { object: named(text("group")), what: status.to_owned() }],
        }
    }

    fn command(&self, input: &GroupInput) -> String {
        Command::aws("autoscaling describe-auto-scaling-groups", &input.region)
            .option("--auto-scaling-group-names", &input.group)
            .line()
    }
}

/// Looks at a group and its hosts.
pub(super) async fn look(aws: &Aws, calls: &Calls<'_>, input: &GroupInput) -> Result<Group, ActionError> {
    let group = super::group(calls, aws, &input.region, &input.group).await?;
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
    let client = aws.of_group(&input.region, &input.group, Purpose::Observe)?.ec2;
    let machines = ec2::machines(calls, &client, &serving).await?;
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
        status: group.status().unwrap_or_default().to_owned(),
        health_check: group.health_check_type().unwrap_or_default().to_owned(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_being_deleted_belongs_to_somebody_else() {
        let told =
            |status: &str| DescribeGroup::foreign(&serde_json::json!({ "group": "g", "status": status }));
        assert_eq!(told(""), []);
        assert_eq!(told("Delete in progress")[0].to_string(), "auto scaling group g: Delete in progress");
    }

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
