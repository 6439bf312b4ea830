//! What a group is doing, and what may hold it up: activities, lifecycle hooks, instance refreshes.

use std::sync::Arc;

use aws_sdk_autoscaling::types::InstanceRefreshStatus as Refresh;
use aws_sdk_autoscaling::types::ScalingActivityStatusCode as Status;
use domain::Timestamp;
use domain::action::{ActionError, Ctx, ForeignWork, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::group::GroupInput;
use super::{SERVICE, named};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::ec2::moment;
use crate::input;
use crate::shell::Command;

/// `autoscaling.describe_activities`.
pub(super) struct DescribeActivities(pub(super) Arc<Aws>);

/// Whose activities, and from when on.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivitiesInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// Leave out activities that started before (RFC 3339).
    since: Option<Timestamp>,
}

/// The latest activities of a group.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Activities {
    /// Those that failed or were cancelled, latest first.
    failed: Vec<Failed>,
    /// How many are under way.
    running: usize,
}

/// A failed activity.
#[derive(Debug, Serialize, JsonSchema)]
struct Failed {
    /// When it started.
    at: Option<Timestamp>,
    /// `Failed` or `Cancelled`.
    status: String,
    /// Why, in the words of AWS; here a lack of capacity shows.
    message: String,
}

/// How many of the latest activities are read: one page.
const PAGE: i32 = 100;

impl Observe for DescribeActivities {
    const NAME: &'static str = "autoscaling.describe_activities";
    const SUMMARY: &'static str = "Failed and running scaling activities of a group, among its 100 latest";
    const PERMISSIONS: &'static [&'static str] = &["autoscaling:DescribeScalingActivities"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  aws autoscaling describe-scaling-activities --region "$region" --auto-scaling-group-name "$group" --max-items 100 --output json |
    jq -c --arg since "${since:-}" '[.Activities[] | select($since == "" or .StartTime >= $since)] | {
      failed: [.[] | select(.StatusCode == "Failed" or .StatusCode == "Cancelled") |
        { at: .StartTime, status: .StatusCode, message: (.StatusMessage // .Description // .Cause // "") }],
      running: ([.[] | select(.StatusCode | IN("Successful", "Failed", "Cancelled") | not)] | length)
    }'
"#,
    );
    type Input = ActivitiesInput;
    type Output = Activities;

    async fn observe(&self, ctx: &Ctx, input: &ActivitiesInput) -> Result<Activities, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Observe)?.autoscaling;
        let answer = Calls::new(ctx)
            .look(SERVICE, "DescribeScalingActivities", &input.group, |gate| {
                client
                    .describe_scaling_activities()
                    .auto_scaling_group_name(&input.group)
                    .max_records(PAGE)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let mut found = Activities { failed: Vec::new(), running: 0 };
        for activity in answer.activities() {
            let at = activity.start_time().and_then(moment);
            if input.since.is_some_and(|since| at.is_some_and(|at| at < since)) {
                continue;
            }
            match activity.status_code() {
                Some(Status::Successful) => {}
                Some(status @ (Status::Failed | Status::Cancelled)) => found.failed.push(Failed {
                    at,
                    status: status.as_str().to_owned(),
                    message: activity
                        .status_message()
                        .or_else(|| activity.description())
                        .or_else(|| activity.cause())
                        .unwrap_or_default()
                        .to_owned(),
                }),
                _ => found.running += 1,
            }
        }
        Ok(found)
    }

    fn command(&self, input: &ActivitiesInput) -> String {
        Command::aws("autoscaling describe-scaling-activities", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--max-items", &PAGE.to_string())
            .line()
    }
}

/// `autoscaling.describe_hooks`.
pub(super) struct DescribeHooks(pub(super) Arc<Aws>);

/// The lifecycle hooks of a group.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Hooks {
    /// Hooks that hold a starting host.
    launching: Vec<Hook>,
    /// Hooks that hold a host that is going.
    terminating: Vec<Hook>,
}

/// A lifecycle hook.
#[derive(Debug, Serialize, JsonSchema)]
struct Hook {
    /// Its name.
    name: String,
    /// Seconds that it holds a host when nobody completes it.
    timeout_s: i32,
    /// What happens then: `CONTINUE` or `ABANDON`.
    default_result: String,
}

/// The heartbeat timeout of a hook that names none, in seconds.
const HOOK_TIMEOUT: i32 = 3600;

impl Observe for DescribeHooks {
    const NAME: &'static str = "autoscaling.describe_hooks";
    const SUMMARY: &'static str = "Lifecycle hooks of a group, and how long they may hold a host";
    const PERMISSIONS: &'static [&'static str] = &["autoscaling:DescribeLifecycleHooks"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  aws autoscaling describe-lifecycle-hooks --region "$region" --auto-scaling-group-name "$group" --output json |
    jq -c '[.LifecycleHooks[] | { launching: (.LifecycleTransition == "autoscaling:EC2_INSTANCE_LAUNCHING"),
        hook: { name: .LifecycleHookName, timeout_s: (.HeartbeatTimeout // 3600), default_result: (.DefaultResult // "ABANDON") } }] |
      { launching: [.[] | select(.launching).hook], terminating: [.[] | select(.launching | not).hook] }'
"#,
    );
    type Input = GroupInput;
    type Output = Hooks;

    async fn observe(&self, ctx: &Ctx, input: &GroupInput) -> Result<Hooks, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Observe)?.autoscaling;
        let answer = Calls::new(ctx)
            .look(SERVICE, "DescribeLifecycleHooks", &input.group, |gate| {
                client
                    .describe_lifecycle_hooks()
                    .auto_scaling_group_name(&input.group)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let mut hooks = Hooks { launching: Vec::new(), terminating: Vec::new() };
        for hook in answer.lifecycle_hooks() {
            let list = match hook.lifecycle_transition() {
                Some("autoscaling:EC2_INSTANCE_LAUNCHING") => &mut hooks.launching,
                _ => &mut hooks.terminating,
            };
            list.push(Hook {
                name: hook.lifecycle_hook_name().unwrap_or_default().to_owned(),
                timeout_s: hook.heartbeat_timeout().unwrap_or(HOOK_TIMEOUT),
                default_result: hook.default_result().unwrap_or("ABANDON").to_owned(),
            });
        }
        Ok(hooks)
    }

    fn command(&self, input: &GroupInput) -> String {
        Command::aws("autoscaling describe-lifecycle-hooks", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .line()
    }
}

/// `autoscaling.describe_refreshes`.
pub(super) struct DescribeRefreshes(pub(super) Arc<Aws>);

/// The instance refreshes that are under way.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Refreshes {
    /// The group.
    group: String,
    /// Not yet ended; AWS allows one at a time.
    active: Vec<ActiveRefresh>,
}

/// An instance refresh under way.
#[derive(Debug, Serialize, JsonSchema)]
struct ActiveRefresh {
    /// Its id.
    id: String,
    /// Its status, such as `InProgress`.
    status: String,
    /// How much is done, 0 to 100.
    percent: i32,
}

impl Observe for DescribeRefreshes {
    const NAME: &'static str = "autoscaling.describe_refreshes";
    const SUMMARY: &'static str = "Instance refreshes of a group that have not ended";
    const PERMISSIONS: &'static [&'static str] = &["autoscaling:DescribeInstanceRefreshes"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  aws autoscaling describe-instance-refreshes --region "$region" --auto-scaling-group-name "$group" --output json |
    jq -c --arg group "$group" '{ group: $group, active: [.InstanceRefreshes[] |
      select(.Status | IN("Successful", "Failed", "Cancelled", "RollbackFailed", "RollbackSuccessful") | not) |
      { id: .InstanceRefreshId, status: .Status, percent: (.PercentageComplete // 0) }] }'
"#,
    );
    type Input = GroupInput;
    type Output = Refreshes;

    async fn observe(&self, ctx: &Ctx, input: &GroupInput) -> Result<Refreshes, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Observe)?.autoscaling;
        let answer = Calls::new(ctx)
            .look(SERVICE, "DescribeInstanceRefreshes", &input.group, |gate| {
                client
                    .describe_instance_refreshes()
                    .auto_scaling_group_name(&input.group)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let active = answer
            .instance_refreshes()
            .iter()
            .filter_map(|refresh| Some((refresh, refresh.status()?)))
            .filter(|(_, status)| {
                !matches!(
                    status,
                    Refresh::Successful
                        | Refresh::Failed
                        | Refresh::Cancelled
                        | Refresh::RollbackFailed
                        | Refresh::RollbackSuccessful
                )
            })
            .map(|(refresh, status)| ActiveRefresh {
                id: refresh.instance_refresh_id().unwrap_or_default().to_owned(),
                status: status.as_str().to_owned(),
                percent: refresh.percentage_complete().unwrap_or_default(),
            })
            .collect();
        Ok(Refreshes { group: input.group.clone(), active })
    }

    /// Two replacements would fight.
    fn foreign(output: &Value) -> Vec<ForeignWork> {
        let list = output.get("active").and_then(Value::as_array);
        let text = |of: &Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or("?").to_owned();
        let work = |refresh: &Value| ForeignWork {
            object: named(&text(output, "group")),
            what: format!(
                "instance refresh {} is {}, {} % done",
                text(refresh, "id"),
                text(refresh, "status"),
                refresh.get("percent").and_then(Value::as_i64).unwrap_or_default()
            ),
        };
        list.into_iter().flatten().map(work).collect()
    }

    fn command(&self, input: &GroupInput) -> String {
        Command::aws("autoscaling describe-instance-refreshes", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .line()
    }
}
