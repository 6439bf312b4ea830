//! `autoscaling.describe_launches`: a group that is growing, and why it does not, in the words of AWS.
//!
//! For waiting for new hosts: that they do not come is seen at the group, and why only among its activities.

use std::sync::Arc;

use aws_sdk_autoscaling::types::{Activity, ScalingActivityStatusCode as Status};
use domain::Timestamp;
use domain::action::{ActionError, Ctx, ForeignWork, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SERVICE;
use super::group::{DescribeGroup, Group, GroupInput, look, look_by_hand};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::ec2::moment;
use crate::input;
use crate::shell::Command;

/// `autoscaling.describe_launches`.
pub(super) struct DescribeLaunches(pub(super) Arc<Aws>);

/// Which group, and how old a failed launch may be.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchesInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// Leave out launches that began more seconds ago than these: what failed last week says nothing of the hosts that are waited
    /// for now.
    within_s: Option<u32>,
}

/// A group, and its last failed launch.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Launches {
    #[serde(flatten)]
    group: Group,
    /// Why its latest failed or cancelled launch came to nothing, in the words of AWS (a lack of capacity, for example), and when that
    /// was; null when a later launch was successful, or none failed.
    launch_failure: Option<String>,
}

/// How many of the latest activities are looked through: one page.
const LATEST: i32 = 100;
/// How AWS describes a launch; nothing else tells it from a termination.
const LAUNCH: &str = "Launching";

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
  failure=$(aws autoscaling describe-scaling-activities --region "$region" --auto-scaling-group-name "$group" --max-items 100 --output json |
    jq -c --argjson within "${within_s:-null}" '
      [.Activities[] | select((.Description // "") | startswith("Launching")) | .at = (.StartTime[:19] + "Z" | fromdate)] |
      ([.[] | select(.StatusCode == "Successful").at] | max // 0) as $well |
      [.[] | select((.StatusCode | IN("Failed", "Cancelled")) and .at > $well and ($within == null or .at >= now - $within))] |
      max_by(.at) | if . == null then . else "\(.StatusMessage // .Description) (at \(.at | strftime("%Y-%m-%d %H:%M:%S")) UTC)" end') || return
  {"#,
        look_by_hand!(),
        r#"  } | jq -c --argjson failure "$failure" '. + { launch_failure: $failure }'
"#,
    ));
    type Input = LaunchesInput;
    type Output = Launches;

    async fn observe(&self, ctx: &Ctx, input: &LaunchesInput) -> Result<Launches, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Observe)?.autoscaling;
        let calls = Calls::new(ctx);
        let of = GroupInput { region: input.region.clone(), group: input.group.clone() };
        let group = look(&self.0, &calls, &of).await?;
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
        let oldest = input.within_s.map(|s| ctx.clock.now().timestamp() - i64::from(s));
        Ok(Launches { group, launch_failure: failure(answer.activities(), oldest) })
    }

    fn foreign(output: &Value) -> Vec<ForeignWork> {
        DescribeGroup::foreign(output)
    }

    fn command(&self, input: &LaunchesInput) -> String {
        let group = Command::aws("autoscaling describe-auto-scaling-groups", &input.region)
            .option("--auto-scaling-group-names", &input.group);
        let activities = Command::aws("autoscaling describe-scaling-activities", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--max-items", &LATEST.to_string());
        format!("{}\n{}", group.line(), activities.line())
    }
}

/// Why the latest launch that came to nothing did, if none was successful since; one that began before `oldest` is not meant.
fn failure(activities: &[Activity], oldest: Option<i64>) -> Option<String> {
    let launches = || {
        activities
            .iter()
            .filter(|a| a.description().is_some_and(|what| what.starts_with(LAUNCH)))
            .filter_map(|a| Some((a.start_time().and_then(moment)?, a)))
    };
    let second = |at: Timestamp| at.timestamp();
    let successful = launches().filter(|(_, a)| a.status_code() == Some(&Status::Successful));
    let successful = successful.map(|(at, _)| second(at)).max();
    let (at, latest) = launches()
        .filter(|(_, a)| matches!(a.status_code(), Some(Status::Failed | Status::Cancelled)))
        .filter(|(at, _)| successful.is_none_or(|then| second(*at) > then))
        .filter(|(at, _)| oldest.is_none_or(|oldest| second(*at) >= oldest))
        .max_by_key(|(at, _)| second(*at))?;
    let why = latest.status_message().or_else(|| latest.description()).unwrap_or_default();
    Some(format!("{why} (at {} UTC)", at.format("%Y-%m-%d %H:%M:%S")))
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::DateTime;

    use super::*;

    fn activity(minute: i64, what: &str, status: Status, why: Option<&str>) -> Activity {
        Activity::builder()
            .activity_id(minute.to_string())
            .auto_scaling_group_name("g")
            .cause("c")
            .start_time(DateTime::from_secs(minute * 60))
            .description(what)
            .status_code(status)
            .set_status_message(why.map(str::to_owned))
            .build()
    }

    #[test]
    fn only_a_launch_that_failed_after_the_last_good_one_is_the_reason() {
        let launch =
            |minute, status| activity(minute, "Launching a new EC2 instance: i-1", status, Some("no room"));
        let said = |activities: &[Activity]| failure(activities, None);
        let at_two = Some("no room (at 1970-01-01 00:02:00 UTC)".to_owned());
        assert_eq!(said(&[launch(2, Status::Failed), launch(1, Status::Successful)]), at_two);
        assert_eq!(said(&[launch(2, Status::Cancelled), launch(1, Status::Failed)]), at_two);
        assert_eq!(said(&[launch(2, Status::Successful), launch(1, Status::Failed)]), None);
        assert_eq!(said(&[launch(3, Status::InProgress), launch(2, Status::Failed)]), at_two);
        let terminated = activity(2, "Terminating EC2 instance: i-1", Status::Failed, Some("no room"));
        assert_eq!(said(&[terminated]), None);
    }

    #[test]
    fn a_launch_that_failed_long_before_is_not_the_reason() {
        let failed = [activity(10, "Launching a new EC2 instance", Status::Failed, None)];
        assert_eq!(failure(&failed, Some(601)), None);
        let why = failure(&failed, Some(600)).unwrap();
        assert_eq!(why, "Launching a new EC2 instance (at 1970-01-01 00:10:00 UTC)");
    }
}
