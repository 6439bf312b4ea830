//! Instance refreshes, for those who let AWS replace the hosts: `autoscaling.start_refresh` and `autoscaling.cancel_refresh`.
//!
//! AWS takes no token for it and lets one go on at a time. So what was seen before the call is kept: when its answer was lost, a refresh
//! that was not there before says that it took effect. Both shares are always said: without a greatest one AWS takes hosts away before
//! their successors serve, and without a least one it keeps 90 %.

use std::sync::Arc;

use aws_sdk_autoscaling::types::{InstanceRefreshStatus as Status, RefreshPreferences};
use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::group::GroupInput;
use super::{SERVICE, named};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `autoscaling.start_refresh`.
pub(super) struct StartRefresh(pub(super) Arc<Aws>);

/// How the hosts are replaced.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// Least share of healthy hosts, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    min_healthy: i32,
    /// Greatest share of hosts, 100 to 200: what is over 100 is launched before anything is taken away.
    #[schemars(range(min = 100, max = 200))]
    max_healthy: i32,
    /// Seconds after which a new host that is in service counts as healthy.
    #[schemars(range(min = 0))]
    warmup_s: i32,
    /// Leave hosts alone that have the newest template already. Sick hosts have it, too.
    #[serde(default)]
    skip_matching: bool,
}

/// The refreshes of a group.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    /// The newest, whether it has ended or not.
    newest: Option<String>,
    /// One that goes on.
    active: Option<String>,
}

/// A refresh.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Begun {
    /// The group.
    group: String,
    /// The refresh, as AWS names it; nothing where none went on.
    refresh: Option<String>,
}

impl Known {
    async fn of(aws: &Aws, ctx: &Ctx, region: &str, group: &str) -> Result<Self, ActionError> {
        let client = aws.of_group(region, group, Purpose::Observe)?.autoscaling;
        let answer = Calls::new(ctx)
            .look(SERVICE, "DescribeInstanceRefreshes", group, |gate| {
                client
                    .describe_instance_refreshes()
                    .auto_scaling_group_name(group)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let goes_on = |status: Option<&Status>| {
            matches!(
                status,
                Some(
                    Status::Pending
                        | Status::InProgress
                        | Status::Baking
                        | Status::Cancelling
                        | Status::RollbackInProgress
                )
            )
        };
        // The newest comes first.
        let id = |refresh: &aws_sdk_autoscaling::types::InstanceRefresh| {
            refresh.instance_refresh_id().map(str::to_owned)
        };
        let refreshes = answer.instance_refreshes();
        Ok(Self {
            newest: refreshes.first().and_then(id),
            active: refreshes.iter().find(|r| goes_on(r.status())).and_then(id),
        })
    }
}

impl Change for StartRefresh {
    const NAME: &'static str = "autoscaling.start_refresh";
    const SUMMARY: &'static str = "Let AWS replace the hosts of a group (an instance refresh)";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeInstanceRefreshes", "autoscaling:StartInstanceRefresh"];
    const EFFECT: Effect = Effect::Probe;
    const UNDOABLE: bool = false;
    type Input = RefreshInput;
    type Facts = Known;
    type Output = Begun;

    async fn observe(&self, ctx: &Ctx, input: &RefreshInput) -> Result<Known, ActionError> {
        Known::of(&self.0, ctx, &input.region, &input.group).await
    }

    fn settled(&self, _input: &RefreshInput, _facts: &Known) -> Option<Begun> {
        None
    }

    fn happened(&self, input: &RefreshInput, before: &Known, now: &Known) -> Option<Begun> {
        (now.newest.is_some() && now.newest != before.newest)
            .then(|| Begun { group: input.group.clone(), refresh: now.newest.clone() })
    }

    fn plan(&self, input: &RefreshInput, _facts: &Known) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        let how = format!(
            "AWS replaces them, {} to {} % healthy{}",
            input.min_healthy,
            input.max_healthy,
            if input.skip_matching { ", but those of the newest template" } else { "" }
        );
        Ok(vec![ObjectChange {
            object: named(&input.group),
            property: "hosts".into(),
            before: "as they are".into(),
            after: how.into(),
        }])
    }

    fn forbidden(&self, input: &RefreshInput, facts: &Known) -> Option<ActionError> {
        let (min, max) = (input.min_healthy, input.max_healthy);
        if !(0..=100).contains(&min) || !(100..=200).contains(&max) || max - min > 100 || input.warmup_s < 0 {
            return Some(
                ActionError::refused(
                    "bad_input",
                    format!(
                        "A refresh cannot keep {min} to {max} % of the hosts healthy after {} s.",
                        input.warmup_s
                    ),
                )
                .remedy("say 0 to 100 and 100 to 200, no further apart than 100, and no negative time"),
            );
        }
        facts.active.as_ref().map(|active| {
            ActionError::refused(
                "refresh_active",
                format!(
                    "The instance refresh {active} of {} goes on; AWS allows one at a time.",
                    input.group
                ),
            )
            .remedy("wait until it has ended, or cancel it (`autoscaling.cancel_refresh`)")
        })
    }

    fn predict(&self, _input: &RefreshInput, _facts: &Known) -> Option<Begun> {
        None
    }

    async fn apply(&self, ctx: &Ctx, input: &RefreshInput, _facts: &Known) -> Result<Begun, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        let preferences = RefreshPreferences::builder()
            .min_healthy_percentage(input.min_healthy)
            .max_healthy_percentage(input.max_healthy)
            .instance_warmup(input.warmup_s)
            .skip_matching(input.skip_matching)
            .build();
        let answer = Calls::new(ctx)
            .change(SERVICE, "StartInstanceRefresh", &input.group, |gate| {
                client
                    .start_instance_refresh()
                    .auto_scaling_group_name(&input.group)
                    .preferences(preferences)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let refresh = answer.instance_refresh_id().map(str::to_owned);
        Ok(Begun { group: input.group.clone(), refresh })
    }

    fn undo(&self, _input: &RefreshInput, _facts: &Known) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &RefreshInput) -> String {
        let preferences = format!(
            "MinHealthyPercentage={},MaxHealthyPercentage={},InstanceWarmup={},SkipMatching={}",
            input.min_healthy, input.max_healthy, input.warmup_s, input.skip_matching
        );
        Command::aws("autoscaling start-instance-refresh", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--preferences", &preferences)
            .line()
    }
}

/// `autoscaling.cancel_refresh`.
pub(super) struct CancelRefresh(pub(super) Arc<Aws>);

/// What was replaced stays replaced.
impl Change for CancelRefresh {
    const NAME: &'static str = "autoscaling.cancel_refresh";
    const SUMMARY: &'static str =
        "Cancel the instance refresh of a group; what it has replaced stays replaced";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeInstanceRefreshes", "autoscaling:CancelInstanceRefresh"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = false;
    type Input = GroupInput;
    type Facts = Known;
    type Output = Begun;

    async fn observe(&self, ctx: &Ctx, input: &GroupInput) -> Result<Known, ActionError> {
        Known::of(&self.0, ctx, &input.region, &input.group).await
    }

    fn settled(&self, input: &GroupInput, facts: &Known) -> Option<Begun> {
        facts.active.is_none().then(|| Begun { group: input.group.clone(), refresh: None })
    }

    fn plan(&self, input: &GroupInput, facts: &Known) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        Ok(vec![ObjectChange {
            object: named(&input.group),
            property: format!("instance refresh {}", facts.active.as_deref().unwrap_or_default()),
            before: "goes on".into(),
            after: "cancelled".into(),
        }])
    }

    fn forbidden(&self, _input: &GroupInput, _facts: &Known) -> Option<ActionError> {
        None
    }

    fn predict(&self, input: &GroupInput, facts: &Known) -> Option<Begun> {
        Some(Begun { group: input.group.clone(), refresh: facts.active.clone() })
    }

    async fn apply(&self, ctx: &Ctx, input: &GroupInput, _facts: &Known) -> Result<Begun, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        let answer = Calls::new(ctx)
            .change(SERVICE, "CancelInstanceRefresh", &input.group, |gate| {
                client
                    .cancel_instance_refresh()
                    .auto_scaling_group_name(&input.group)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let refresh = answer.instance_refresh_id().map(str::to_owned);
        Ok(Begun { group: input.group.clone(), refresh })
    }

    fn undo(&self, _input: &GroupInput, _facts: &Known) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &GroupInput) -> String {
        Command::aws("autoscaling cancel-instance-refresh", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .line()
    }
}
