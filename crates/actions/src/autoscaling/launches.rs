//! `autoscaling.describe_launches`: a group that is growing, and why it does not, in the words of AWS.
//!
//! For waiting for new hosts: that they do not come is seen at the group, and why only among its activities.

use std::sync::Arc;

use aws_sdk_autoscaling::types::ScalingActivityStatusCode as Status;
use domain::action::{ActionError, Ctx, ForeignWork, Observe};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::SERVICE;
use super::group::{DescribeGroup, Group, GroupInput, look, look_by_hand};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::shell::Command;

/// `autoscaling.describe_launches`.
pub(super) struct DescribeLaunches(pub(super) Arc<Aws>);

/// A group, and its last failed launch.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Launches {
    #[serde(flatten)]
    group: Group,
    /// Why its latest failed launch failed, in the words of AWS (a lack of capacity, for example); null when none of its latest
    /// activities failed.
    launch_failure: Option<String>,
}

/// How many of the latest activities are looked through.
const LATEST: i32 = 20;

impl Observe for DescribeLaunches {
    const NAME: &'static str = "autoscaling.describe_launches";
    const SUMMARY: &'static str = "A group and its hosts, and why its latest failed launch failed";
    const PERMISSIONS: &'static [&'static str] = &[
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "ec2:DescribeInstances",
    ];
    const BY_HAND: Option<&'static str> = Some(concat!(
        r#"
  local failure
  failure=$(aws autoscaling describe-scaling-activities --region "$region" --auto-scaling-group-name "$group" --max-items 20 --output json |
    jq -c '[.Activities[] | select(.StatusCode == "Failed") | .StatusMessage // .Description][0]') || return
  {"#,
        look_by_hand!(),
        r#"  } | jq -c --argjson failure "$failure" '. + { launch_failure: $failure }'
"#,
    ));
    type Input = GroupInput;
    type Output = Launches;

    async fn observe(&self, ctx: &Ctx, input: &GroupInput) -> Result<Launches, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Observe)?.autoscaling;
        let calls = Calls::new(ctx);
        let group = look(&self.0, &calls, input).await?;
        let answer = calls
            .look(SERVICE, "DescribeScalingActivities", &input.group, |gate| {
                client
                    .describe_scaling_activities()
                    .auto_scaling_group_name(&input.group)
                    .max_records(LATEST)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let failed = answer.activities().iter().find(|a| a.status_code() == Some(&Status::Failed));
        let why = failed.and_then(|a| a.status_message().or_else(|| a.description()));
        Ok(Launches { group, launch_failure: why.map(str::to_owned) })
    }

    fn foreign(output: &Value) -> Vec<ForeignWork> {
        DescribeGroup::foreign(output)
    }

    fn command(&self, input: &GroupInput) -> String {
        let group = Command::aws("autoscaling describe-auto-scaling-groups", &input.region)
            .option("--auto-scaling-group-names", &input.group);
        let activities = Command::aws("autoscaling describe-scaling-activities", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--max-items", &LATEST.to_string());
        format!("{}\n{}", group.line(), activities.line())
    }
}
