//! Auto Scaling groups.
//!
//! Everything that needs a group's members or limits reads the group itself (one call), never the account-wide listings:
//! they are slow, and throttled for everybody at once. Changes name exact hosts and absolute numbers; lowering the desired
//! capacity to get rid of *certain* hosts is not offered, because then AWS picks the victims.

mod activity;
mod group;
mod instances;
mod launch;
mod launches;
mod processes;
mod refresh;
mod size;

use std::sync::Arc;

use aws_sdk_autoscaling::types::AutoScalingGroup;
use domain::action::{ActionError, ErrorClass, Registry};

use crate::aws::{Aws, Purpose};
use crate::calls::Calls;

pub(crate) const SERVICE: &str = "autoscaling";

/// Adds all actions of this service.
pub(crate) fn register(registry: Registry, aws: &Arc<Aws>) -> Registry {
    let aws = || Arc::clone(aws);
    registry
        .observing(group::DescribeGroup(aws()))
        .observing(launches::DescribeLaunches(aws()))
        .observing(activity::DescribeActivities(aws()))
        .observing(activity::DescribeHooks(aws()))
        .observing(activity::DescribeRefreshes(aws()))
        .observing(instances::DescribeInstance(aws()))
        .changing(size::ScaleTo(aws()))
        .changing(size::SetMaxSize(aws()))
        .changing(launch::LaunchInstances(aws()))
        .changing(refresh::StartRefresh(aws()))
        .changing(refresh::CancelRefresh(aws()))
        .changing(processes::SuspendProcesses(aws()))
        .changing(processes::ResumeProcesses(aws()))
        .changing(instances::ProtectInstances(aws()))
        .changing(instances::TerminateInstance(aws()))
}

/// The group as AWS tells it now.
pub(crate) async fn group(
    calls: &Calls<'_>,
    aws: &Aws,
    region: &str,
    group: &str,
) -> Result<AutoScalingGroup, ActionError> {
    let client = aws.of_group(region, group, Purpose::Observe)?.autoscaling;
    let answer = calls
        .look(SERVICE, "DescribeAutoScalingGroups", group, |gate| {
            client
                .describe_auto_scaling_groups()
                .auto_scaling_group_names(group)
                .customize()
                .interceptor(gate)
                .send()
        })
        .await?;
    answer
        .auto_scaling_groups
        .unwrap_or_default()
        .into_iter()
        .find(|found| found.auto_scaling_group_name() == Some(group))
        .ok_or_else(|| no_such_group(region, group))
}

fn no_such_group(region: &str, group: &str) -> ActionError {
    ActionError::new(
        ErrorClass::Gone,
        "AutoScalingGroupNotFound",
        format!("There is no Auto Scaling group {group} in {region}."),
    )
    .remedy("check the fleet's `group` and `region` in the inventory, and the account of the credentials")
}

/// Where an instance is in its life, as far as runbooks care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `Pending`, `Pending:Wait`, `Pending:Proceed`.
    Pending,
    /// `InService`.
    InService,
    /// `Terminating…`, `Terminated`, `Detaching`, `Detached`: it will not come back.
    Leaving,
    /// Standby, warm pool, root volume replacement.
    Other,
}

impl Stage {
    fn of(lifecycle_state: &str) -> Self {
        match lifecycle_state.split(':').next().unwrap_or_default() {
            "InService" => Self::InService,
            "Pending" => Self::Pending,
            "Terminating" | "Terminated" | "Detaching" | "Detached" => Self::Leaving,
            _ => Self::Other,
        }
    }
}

/// Where this instance is in its life; nothing when the group does not have it.
pub(crate) fn stage(group: &AutoScalingGroup, instance: &str) -> Option<Stage> {
    let found = group.instances().iter().find(|i| i.instance_id() == Some(instance))?;
    Some(Stage::of(found.lifecycle_state().map_or("", |state| state.as_str())))
}

/// A group as errors and plans name it.
fn named(group: &str) -> String {
    format!("auto scaling group {group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lifecycle_state_has_a_stage() {
        for (state, stage) in [
            ("Pending:Wait", Stage::Pending),
            ("Pending", Stage::Pending),
            ("InService", Stage::InService),
            ("Terminating:Proceed", Stage::Leaving),
            ("Terminated", Stage::Leaving),
            ("Detached", Stage::Leaving),
            ("Standby", Stage::Other),
            ("EnteringStandby", Stage::Other),
            ("Warmed:Pending:Wait", Stage::Other),
            ("ReplacingRootVolume:Wait", Stage::Other),
        ] {
            assert_eq!(Stage::of(state), stage, "{state}");
        }
    }
}
