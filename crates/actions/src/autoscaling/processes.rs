//! Suspending and resuming a group's processes.
//!
//! Only what is not yet suspended is suspended, so that taking it back resumes exactly that: a process that somebody else
//! suspended before stays suspended.
//!
//! A host that was made unhealthy on purpose may need some minutes until its load balancer finds it healthy again, and a group that
//! looks before that replaces it. So to resume can be made to wait for it, also where it takes a suspension back: the end of a run is
//! the last that anybody does for the host.

use std::sync::Arc;

use domain::action::{ActionError, Change, Ctx, Effect, ErrorClass, ObjectChange, UndoByHand, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SERVICE, group, named};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::elbv2;
use crate::input;
use crate::shell::Command;

/// Which processes of which group.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessesInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// The processes.
    #[schemars(length(min = 1))]
    #[serde(deserialize_with = "input::targets")]
    processes: Vec<Process>,
    /// EC2 instance id of a host that `target_group` must find healthy before the processes are resumed: by
    /// `autoscaling.resume_processes`, and when `autoscaling.suspend_processes` is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    once_healthy: Option<String>,
    /// ARN of the target group that is asked; without it nothing is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_group: Option<String>,
}

/// A process of an Auto Scaling group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub(super) enum Process {
    /// Launches instances.
    Launch,
    /// Terminates instances.
    Terminate,
    /// Registers new instances with the load balancer.
    AddToLoadBalancer,
    /// Scales on CloudWatch alarms.
    AlarmNotification,
    /// Balances the availability zones, by terminating.
    AZRebalance,
    /// Checks instances.
    HealthCheck,
    /// Refreshes instances.
    InstanceRefresh,
    /// Replaces unhealthy instances.
    ReplaceUnhealthy,
    /// Scales on a schedule.
    ScheduledActions,
}

impl Process {
    fn name(self) -> &'static str {
        match self {
            Self::Launch => "Launch",
            Self::Terminate => "Terminate",
            Self::AddToLoadBalancer => "AddToLoadBalancer",
            Self::AlarmNotification => "AlarmNotification",
            Self::AZRebalance => "AZRebalance",
            Self::HealthCheck => "HealthCheck",
            Self::InstanceRefresh => "InstanceRefresh",
            Self::ReplaceUnhealthy => "ReplaceUnhealthy",
            Self::ScheduledActions => "ScheduledActions",
        }
    }
}

/// Names of the processes that are suspended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Suspended {
    suspended: Vec<String>,
    /// What the load balancer says of the host that is waited for, while it does not say that it is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_yet: Option<String>,
}

/// What was changed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Processes {
    /// The group.
    group: String,
    /// The processes that this changed.
    changed: Vec<String>,
    /// All that are suspended afterwards.
    suspended: Vec<String>,
}

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Suspend,
    Resume,
}

impl Way {
    /// The processes that still have to change.
    fn todo(self, input: &ProcessesInput, facts: &Suspended) -> Vec<Process> {
        let mut todo: Vec<Process> = input
            .processes
            .iter()
            .copied()
            .filter(|process| {
                let suspended = facts.suspended.iter().any(|name| name == process.name());
                suspended == (self == Self::Resume)
            })
            .collect();
        todo.sort();
        todo.dedup();
        todo
    }

    fn outcome(self, input: &ProcessesInput, facts: &Suspended) -> Processes {
        let changed: Vec<String> =
            self.todo(input, facts).into_iter().map(|process| process.name().to_owned()).collect();
        let mut suspended = facts.suspended.clone();
        match self {
            Self::Suspend => suspended.extend(changed.iter().cloned()),
            Self::Resume => suspended.retain(|name| !changed.contains(name)),
        }
        suspended.sort();
        Processes { group: input.group.clone(), changed, suspended }
    }

    fn changes(self, input: &ProcessesInput, facts: &Suspended) -> Vec<ObjectChange> {
        let (before, after) = match self {
            Self::Suspend => ("running", "suspended"),
            Self::Resume => ("suspended", "running"),
        };
        self.todo(input, facts)
            .into_iter()
            .map(|process| ObjectChange {
                object: named(&input.group),
                property: format!("process {}", process.name()),
                before: before.into(),
                after: after.into(),
            })
            .collect()
    }

    fn inverse(self, input: &ProcessesInput, facts: &Suspended) -> Option<UndoCall> {
        let processes = self.todo(input, facts);
        if processes.is_empty() {
            return None;
        }
        let name = match self {
            Self::Suspend => ResumeProcesses::NAME,
            Self::Resume => SuspendProcesses::NAME,
        };
        input::call(name, &ProcessesInput { processes, ..input.clone() })
    }

    fn command(self, input: &ProcessesInput) -> String {
        let verb = match self {
            Self::Suspend => "autoscaling suspend-processes",
            Self::Resume => "autoscaling resume-processes",
        };
        Command::aws(verb, &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .list("--scaling-processes", input.processes.iter().map(|process| process.name()))
            .line()
    }
}

async fn suspended(aws: &Aws, ctx: &Ctx, input: &ProcessesInput) -> Result<Suspended, ActionError> {
    let found = super::group(&Calls::new(ctx), aws, &input.region, &input.group).await?;
    Ok(Suspended { suspended: group::suspended(&found), not_yet: None })
}

/// `autoscaling.suspend_processes`.
pub(super) struct SuspendProcesses(pub(super) Arc<Aws>);

impl Change for SuspendProcesses {
    const NAME: &'static str = "autoscaling.suspend_processes";
    const SUMMARY: &'static str = "Suspend processes of a group that are not suspended yet";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:SuspendProcesses"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    const UNDONE_BY: &'static str = ResumeProcesses::NAME;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: Some("autoscaling.describe_group"),
        look_with: &["region", "group"],
        each: Some("processes"),
        when: "any($before.suspended[]; . == $one) | not",
        with: &[],
    });
    type Input = ProcessesInput;
    type Facts = Suspended;
    type Output = Processes;

    async fn observe(&self, ctx: &Ctx, input: &ProcessesInput) -> Result<Suspended, ActionError> {
        suspended(&self.0, ctx, input).await
    }

    fn settled(&self, input: &ProcessesInput, facts: &Suspended) -> Option<Processes> {
        Way::Suspend.todo(input, facts).is_empty().then(|| Way::Suspend.outcome(input, facts))
    }

    fn plan(&self, input: &ProcessesInput, facts: &Suspended) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        Ok(Way::Suspend.changes(input, facts))
    }

    fn predict(&self, input: &ProcessesInput, facts: &Suspended) -> Option<Processes> {
        Some(Way::Suspend.outcome(input, facts))
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        input: &ProcessesInput,
        facts: &Suspended,
    ) -> Result<Processes, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        let outcome = Way::Suspend.outcome(input, facts);
        // To AWS an empty list means all processes.
        if outcome.changed.is_empty() {
            return Ok(outcome);
        }
        Calls::new(ctx)
            .change(SERVICE, "SuspendProcesses", &input.group, |gate| {
                client
                    .suspend_processes()
                    .auto_scaling_group_name(&input.group)
                    .set_scaling_processes(Some(outcome.changed.clone()))
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(outcome)
    }

    fn undo(&self, input: &ProcessesInput, facts: &Suspended) -> Option<UndoCall> {
        Way::Suspend.inverse(input, facts)
    }

    fn command(&self, input: &ProcessesInput) -> String {
        Way::Suspend.command(input)
    }
}

/// `autoscaling.resume_processes`.
pub(super) struct ResumeProcesses(pub(super) Arc<Aws>);

impl Change for ResumeProcesses {
    const NAME: &'static str = "autoscaling.resume_processes";
    const SUMMARY: &'static str = "Resume suspended processes of a group";
    const PERMISSIONS: &'static [&'static str] = &[
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:ResumeProcesses",
        "elasticloadbalancing:DescribeTargetHealth",
    ];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    const UNDONE_BY: &'static str = SuspendProcesses::NAME;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: Some("autoscaling.describe_group"),
        look_with: &["region", "group"],
        each: Some("processes"),
        when: "any($before.suspended[]; . == $one)",
        with: &[],
    });
    type Input = ProcessesInput;
    type Facts = Suspended;
    type Output = Processes;

    async fn observe(&self, ctx: &Ctx, input: &ProcessesInput) -> Result<Suspended, ActionError> {
        let mut facts = suspended(&self.0, ctx, input).await?;
        if let (Some(host), Some(target_group)) = (&input.once_healthy, &input.target_group) {
            let state = elbv2::state(&self.0, &Calls::new(ctx), &input.region, target_group, host).await?;
            // One that is taken out, or not there any more, never becomes healthy. `unhealthy.draining` is not taken out: while its
            // connections drain it is checked on.
            facts.not_yet = state.filter(|state| state == "initial" || state.starts_with("unhealthy"));
        }
        Ok(facts)
    }

    fn settled(&self, input: &ProcessesInput, facts: &Suspended) -> Option<Processes> {
        Way::Resume.todo(input, facts).is_empty().then(|| Way::Resume.outcome(input, facts))
    }

    fn plan(&self, input: &ProcessesInput, facts: &Suspended) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        Ok(Way::Resume.changes(input, facts))
    }

    /// Passes by itself, mostly: asked again and again, as a service that is busy.
    fn forbidden(&self, input: &ProcessesInput, facts: &Suspended) -> Option<ActionError> {
        let (host, state) = (input.once_healthy.as_ref()?, facts.not_yet.as_ref()?);
        let message = format!(
            "The load balancer finds {host} `{state}`; the group {} would replace it if it looked now.",
            input.group
        );
        let remedy =
            "wait until it is healthy; or resume the processes by hand, and let the group replace it";
        Some(ActionError::new(ErrorClass::Busy, "not_healthy_yet", message).remedy(remedy))
    }

    fn predict(&self, input: &ProcessesInput, facts: &Suspended) -> Option<Processes> {
        Some(Way::Resume.outcome(input, facts))
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        input: &ProcessesInput,
        facts: &Suspended,
    ) -> Result<Processes, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        let outcome = Way::Resume.outcome(input, facts);
        // To AWS an empty list means all processes.
        if outcome.changed.is_empty() {
            return Ok(outcome);
        }
        Calls::new(ctx)
            .change(SERVICE, "ResumeProcesses", &input.group, |gate| {
                client
                    .resume_processes()
                    .auto_scaling_group_name(&input.group)
                    .set_scaling_processes(Some(outcome.changed.clone()))
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(outcome)
    }

    fn undo(&self, input: &ProcessesInput, facts: &Suspended) -> Option<UndoCall> {
        Way::Resume.inverse(input, facts)
    }

    fn command(&self, input: &ProcessesInput) -> String {
        Way::Resume.command(input)
    }
}
