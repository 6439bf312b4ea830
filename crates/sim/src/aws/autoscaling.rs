//! Auto Scaling: dispatch, and the operations that change something.

use super::autoscaling_describe as describe;
use super::autoscaling_launch::launch;
use super::autoscaling_refresh as refresh;
use super::params::{Manner, Params};
use super::{Act, Answer, Dialect, Outcome, Service};
use crate::physics::{Bounds, Physics, Refusal};

pub(super) static SERVICE: Service = Service {
    name: "autoscaling",
    version: "2011-01-01",
    namespace: "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    dialect: Dialect::Query,
    target: None,
    manner: Manner::Validation,
    throttled: ("Throttling", 400),
    operations: &[
        ("DescribeAutoScalingGroups", Act::Look(describe::groups)),
        ("DescribeAutoScalingInstances", Act::Look(describe::instances)),
        ("DescribeScalingActivities", Act::Look(describe::activities)),
        ("DescribeLifecycleHooks", Act::Look(describe::hooks)),
        ("DescribeInstanceRefreshes", Act::Look(refresh::describe)),
        ("StartInstanceRefresh", Act::Change(refresh::start)),
        ("CancelInstanceRefresh", Act::Change(refresh::cancel)),
        ("LaunchInstances", Act::Change(launch)),
        ("SetDesiredCapacity", Act::Change(set_desired_capacity)),
        ("UpdateAutoScalingGroup", Act::Change(update_group)),
        ("TerminateInstanceInAutoScalingGroup", Act::Change(terminate)),
        ("SetInstanceProtection", Act::Change(set_protection)),
        ("SuspendProcesses", Act::Change(suspend)),
        ("ResumeProcesses", Act::Change(resume)),
    ],
};

/// `SetInstanceProtection` takes at most this many instances.
const PROTECTION_BATCH: usize = 50;

fn set_desired_capacity(params: &Params, world: &mut Physics) -> Outcome {
    let group = params.required("AutoScalingGroupName")?;
    params.required("DesiredCapacity")?;
    let to = params.parsed("DesiredCapacity")?.unwrap_or_default();
    let honor = params.flag("HonorCooldown")?.unwrap_or(false);
    let effect = world.set_desired_capacity(group, to, honor)?;
    Ok(Answer::done(effect))
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
    if let Some(other) = params.all.keys().find(|k| !known(k)) {
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
    Ok(Answer::done(effect))
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

fn suspend(params: &Params, world: &mut Physics) -> Outcome {
    set_processes(params, world, true)
}

fn resume(params: &Params, world: &mut Physics) -> Outcome {
    set_processes(params, world, false)
}

fn set_processes(params: &Params, world: &mut Physics, suspend: bool) -> Outcome {
    let names = params.list("ScalingProcesses.member");
    let effect = world.suspend_processes(params.required("AutoScalingGroupName")?, &names, suspend)?;
    Ok(Answer::done(effect))
}
