//! Auto Scaling: dispatch, and the operations that change something.

use super::autoscaling_describe as describe;
use super::params::Params;
use super::{Answer, Dialect, Outcome, Service};
use crate::physics::{Bounds, Physics, Refusal};

pub(super) static SERVICE: Service = Service {
    name: "autoscaling",
    version: "2011-01-01",
    namespace: "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    dialect: Dialect::Query,
    throttled: ("Throttling", 400),
    handle,
};

/// `SetInstanceProtection` takes at most this many instances.
const PROTECTION_BATCH: usize = 50;

fn handle(operation: &str, params: &Params, world: &mut Physics) -> Option<Outcome> {
    Some(match operation {
        "DescribeAutoScalingGroups" => describe::groups(params, world),
        "DescribeAutoScalingInstances" => describe::instances(params, world),
        "DescribeScalingActivities" => describe::activities(params, world),
        "DescribeLifecycleHooks" => describe::hooks(params, world),
        "DescribeInstanceRefreshes" => describe::refreshes(params, world),
        "SetDesiredCapacity" => set_desired_capacity(params, world),
        "UpdateAutoScalingGroup" => update_group(params, world),
        "TerminateInstanceInAutoScalingGroup" => terminate(params, world),
        "SetInstanceProtection" => set_protection(params, world),
        "SuspendProcesses" => suspend(params, world, true),
        "ResumeProcesses" => suspend(params, world, false),
        _ => return None,
    })
}

fn set_desired_capacity(params: &Params, world: &mut Physics) -> Outcome {
    let group = params.required("AutoScalingGroupName")?;
    params.required("DesiredCapacity")?;
    let to = params.parsed("DesiredCapacity")?.unwrap_or_default();
    let honor = params.flag("HonorCooldown")?.unwrap_or(false);
    let effect = world.set_desired_capacity(group, to, honor)?;
    Ok(Answer::changed(effect, |_| {}))
}

fn update_group(params: &Params, world: &mut Physics) -> Outcome {
    let known = |k: &str| {
        let simulated = [
            "AutoScalingGroupName",
            "MinSize",
            "MaxSize",
            "DesiredCapacity",
            "NewInstancesProtectedFromScaleIn",
        ];
        simulated.contains(&k) || matches!(k, "Action" | "Version")
    };
    if let Some(other) = params.0.keys().find(|k| !known(k)) {
        let message = format!("the simulator cannot change '{other}' of a group; leave it out");
        return Err(Refusal::validation(message));
    }
    let bounds = Bounds {
        min: params.parsed("MinSize")?,
        max: params.parsed("MaxSize")?,
        desired: params.parsed("DesiredCapacity")?,
        protects_new: params.flag("NewInstancesProtectedFromScaleIn")?,
    };
    let effect = world.update_group(params.required("AutoScalingGroupName")?, bounds)?;
    Ok(Answer::changed(effect, |_| {}))
}

fn terminate(params: &Params, world: &mut Physics) -> Outcome {
    params.required("ShouldDecrementDesiredCapacity")?;
    let decrement = params.flag("ShouldDecrementDesiredCapacity")?.unwrap_or(false);
    let (effect, (group, activity)) = world.terminate_in_group(params.required("InstanceId")?, decrement)?;
    let mut answer = Answer::changed(effect, |_| {});
    answer.result.node("Activity", |x| describe::activity(x, world, group, activity));
    Ok(answer)
}

fn set_protection(params: &Params, world: &mut Physics) -> Outcome {
    let instances = params.list("InstanceIds.member");
    if instances.is_empty() || instances.len() > PROTECTION_BATCH {
        let message =
            format!("InstanceIds must name 1 to {PROTECTION_BATCH} instances, not {}", instances.len());
        return Err(Refusal::validation(message));
    }
    params.required("ProtectedFromScaleIn")?;
    let protect = params.flag("ProtectedFromScaleIn")?.unwrap_or(false);
    let effect = world.set_protection(params.required("AutoScalingGroupName")?, &instances, protect)?;
    Ok(Answer::changed(effect, |_| {}))
}

fn suspend(params: &Params, world: &mut Physics, suspend: bool) -> Outcome {
    let names = params.list("ScalingProcesses.member");
    let effect = world.suspend_processes(params.required("AutoScalingGroupName")?, &names, suspend)?;
    Ok(Answer::changed(effect, |_| {}))
}
