//! EC2: the machines behind an id.

use std::sync::Arc;

use aws_sdk_ec2::types::Filter;
use chrono::DateTime;
use domain::Timestamp;
use domain::action::{ActionError, Ctx, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `ec2.describe_instances`.
pub(crate) struct DescribeInstances(pub(crate) Arc<Aws>);

/// Which machines.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstancesInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The account, by its name in the inventory; needed only where the region is used in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// EC2 instance ids.
    #[schemars(length(min = 1))]
    #[serde(deserialize_with = "input::names")]
    instances: Vec<String>,
}

/// Machines by id.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Instances {
    /// Those that EC2 still knows, by id; a terminated one is forgotten after about an hour.
    instances: Vec<Machine>,
}

/// A machine.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Machine {
    /// EC2 instance id.
    pub(crate) id: String,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping` or `stopped`.
    pub(crate) state: String,
    /// Availability zone.
    pub(crate) az: String,
    /// Private IPv4 address; empty when it has none (any more).
    pub(crate) ip: String,
    /// When it was launched.
    pub(crate) launched_at: Option<Timestamp>,
}

impl Observe for DescribeInstances {
    const NAME: &'static str = "ec2.describe_instances";
    const SUMMARY: &'static str = "State, zone and private address of machines by id";
    const PERMISSIONS: &'static [&'static str] = &["ec2:DescribeInstances"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  aws ec2 describe-instances --region "$region" --filters "Name=instance-id,Values=$(jq -r 'join(",")' <<<"$instances")" --output json |
    jq -c '{ instances: ([.Reservations[].Instances[] | { id: .InstanceId, state: .State.Name,
      az: .Placement.AvailabilityZone, ip: (.PrivateIpAddress // ""), launched_at: .LaunchTime }] | sort_by(.id)) }'
"#,
    );
    type Input = InstancesInput;
    type Output = Instances;

    async fn observe(&self, ctx: &Ctx, input: &InstancesInput) -> Result<Instances, ActionError> {
        let client = self.0.around(&input.region, input.account.as_deref())?.ec2;
        let instances = machines(&Calls::new(ctx), &client, &input.instances).await?;
        Ok(Instances { instances })
    }

    fn command(&self, input: &InstancesInput) -> String {
        Command::aws("ec2 describe-instances", &input.region).list("--instance-ids", &input.instances).line()
    }
}

/// A filter takes at most this many values.
const FILTER_VALUES: usize = 200;

/// The machines of these ids, sorted by id.
///
/// Asked by filter, not by id: one id that EC2 does not know (yet, or any more) would fail the whole call.
pub(crate) async fn machines(
    calls: &Calls<'_>,
    client: &aws_sdk_ec2::Client,
    ids: &[String],
) -> Result<Vec<Machine>, ActionError> {
    let mut machines = Vec::new();
    for ids in ids.chunks(FILTER_VALUES) {
        let target = match ids {
            [one] => one.clone(),
            many => format!("{} instances", many.len()),
        };
        let filter = Filter::builder().name("instance-id").set_values(Some(ids.to_vec())).build();
        let answer = calls
            .look("ec2", "DescribeInstances", &target, |gate| {
                client.describe_instances().filters(filter).customize().interceptor(gate).send()
            })
            .await?;
        for instance in answer.reservations().iter().flat_map(|reservation| reservation.instances()) {
            machines.push(Machine {
                id: instance.instance_id().unwrap_or_default().to_owned(),
                state: instance
                    .state()
                    .and_then(|state| state.name())
                    .map_or("", |name| name.as_str())
                    .to_owned(),
                az: instance
                    .placement()
                    .and_then(|placement| placement.availability_zone())
                    .unwrap_or_default()
                    .to_owned(),
                ip: instance.private_ip_address().unwrap_or_default().to_owned(),
                launched_at: instance.launch_time().and_then(moment),
            });
        }
    }
    machines.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(machines)
}

/// A moment as the SDK tells it.
pub(crate) fn moment(at: &aws_smithy_types::DateTime) -> Option<Timestamp> {
    DateTime::from_timestamp(at.secs(), at.subsec_nanos())
}
