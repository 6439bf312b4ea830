//! Auto Scaling: the operations that only look.

use super::params::{Paging, Params};
use super::xml::Xml;
use super::{Answer, Outcome, time};
use crate::physics::{Host, Machine, Physics, Refusal};

/// Pages of at most that many.
pub(super) fn paging(most: usize) -> Paging {
    Paging {
        size: "MaxRecords",
        token: "NextToken",
        sizes: 1..=most,
        usual: 50.min(most),
        bad_token: "InvalidNextToken",
    }
}

pub(super) fn groups(params: &Params, world: &Physics) -> Outcome {
    if params.all.keys().any(|k| k.starts_with("Filters.")) {
        return Err(Refusal::validation("the simulator has no tags to filter groups by; name the groups"));
    }
    let names = params.list("AutoScalingGroupNames.member");
    let wanted = |g: &usize| names.is_empty() || names.contains(&world.world.fleets[*g].asg);
    let found: Vec<usize> = (0..world.groups.len()).filter(wanted).collect();
    let page = params.page(found, &paging(100))?;
    Ok(Answer::looked(|x| {
        x.list("AutoScalingGroups", "member", page.items, |x, g| group(x, world, g));
        x.maybe("NextToken", page.next);
    }))
}

fn group(x: &mut Xml, world: &Physics, g: usize) {
    let (state, spec) = (&world.groups[g], &world.world.fleets[g]);
    let arn = group_arn(world, g);
    let hosts = world.hosts.iter().filter(|h| in_group(h, g));
    let subnets: Vec<String> = spec.zones.iter().map(|z| subnet(z)).collect();
    x.text("AutoScalingGroupName", &spec.asg)
        .text("AutoScalingGroupARN", arn)
        .node("LaunchTemplate", |x| launch_template(x, &spec.asg, &spec.template_version))
        .text("MinSize", state.min)
        .text("MaxSize", state.max)
        .text("DesiredCapacity", state.desired)
        .text("DefaultCooldown", 300)
        .texts("AvailabilityZones", "member", &spec.zones)
        .texts("LoadBalancerNames", "member", [""; 0])
        .texts("TargetGroupARNs", "member", world.target_group_arn(g))
        .text("HealthCheckType", spec.health_check.name())
        .text("HealthCheckGracePeriod", 0)
        .list("Instances", "member", hosts, |x, h| {
            instance(x, world, h, false);
        })
        .text("CreatedTime", time(state.created))
        .list("SuspendedProcesses", "member", &state.suspended, |x, (process, reason)| {
            x.text("ProcessName", process).text("SuspensionReason", reason);
        })
        .text("VPCZoneIdentifier", subnets.join(","))
        .texts("EnabledMetrics", "member", [""; 0])
        .list("Tags", "member", [("service", "proxysql"), ("firebreak", "true")], |x, (key, value)| {
            x.text("ResourceId", &spec.asg)
                .text("ResourceType", "auto-scaling-group")
                .text("Key", key)
                .text("Value", value)
                .text("PropagateAtLaunch", true);
        })
        .texts("TerminationPolicies", "member", ["Default"])
        .text("NewInstancesProtectedFromScaleIn", state.protects_new)
        .text(
            "ServiceLinkedRoleARN",
            format!(
                "arn:aws:iam::{}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
                world.world.account
            ),
        );
}

pub(super) fn instances(params: &Params, world: &Physics) -> Outcome {
    let ids = params.list("InstanceIds.member");
    let wanted = |h: &&Host| ids.is_empty() || ids.contains(&h.instance_id);
    let found: Vec<&Host> = world.hosts.iter().filter(|h| in_group(h, h.fleet)).filter(wanted).collect();
    let page = params.page(found, &paging(50))?;
    Ok(Answer::looked(|x| {
        x.list("AutoScalingInstances", "member", page.items, |x, h| instance(x, world, h, true));
        x.maybe("NextToken", page.next);
    }))
}

/// An instance as the group shows it, or, with `alone`, as `DescribeAutoScalingInstances` does.
fn instance(x: &mut Xml, world: &Physics, host: &Host, alone: bool) {
    let spec = &world.world.fleets[host.fleet];
    let runs = matches!(host.machine, Machine::Pending | Machine::Running) || host.lifecycle.leaving();
    let healthy = runs && !host.unhealthy;
    let health = match (healthy, alone) {
        (true, false) => "Healthy",
        (false, false) => "Unhealthy",
        (true, true) => "HEALTHY",
        (false, true) => "UNHEALTHY",
    };
    x.text("InstanceId", &host.instance_id).text("InstanceType", &spec.instance_type);
    if alone {
        x.text("AutoScalingGroupName", &spec.asg);
    }
    x.text("AvailabilityZone", &host.zone)
        .text("LifecycleState", host.lifecycle.name())
        .text("HealthStatus", health)
        .node("LaunchTemplate", |x| launch_template(x, &spec.asg, &host.template_version))
        .text("ProtectedFromScaleIn", host.protected);
}

fn launch_template(x: &mut Xml, asg: &str, version: &str) {
    x.text("LaunchTemplateId", "lt-0a1b2c3d4e5f60718")
        .text("LaunchTemplateName", asg)
        .text("Version", version);
}

pub(super) fn activities(params: &Params, world: &Physics) -> Outcome {
    let asked = match params.get("AutoScalingGroupName") {
        Some(name) => vec![world.group_index(name)?],
        None => (0..world.groups.len()).collect(),
    };
    let ids = params.list("ActivityIds.member");
    let mut found: Vec<(usize, usize)> = asked
        .into_iter()
        .flat_map(|g| (0..world.groups[g].activities.len()).map(move |a| (g, a)))
        .filter(|&(g, a)| ids.is_empty() || ids.contains(&world.groups[g].activities[a].id))
        .collect();
    found.sort_by_key(|&(g, a)| std::cmp::Reverse((world.groups[g].activities[a].start, a)));
    let page = params.page(found, &Paging { usual: 100, ..paging(100) })?;
    Ok(Answer::looked(|x| {
        x.list("Activities", "member", page.items, |x, (g, a)| activity(x, world, g, a));
        x.maybe("NextToken", page.next);
    }))
}

/// One scaling activity.
pub(super) fn activity(x: &mut Xml, world: &Physics, group: usize, activity: usize) {
    let a = &world.groups[group].activities[activity];
    let details = serde_json::json!({ "Subnet ID": subnet(&a.zone), "Availability Zone": a.zone });
    x.text("ActivityId", &a.id)
        .text("AutoScalingGroupName", &world.world.fleets[group].asg)
        .text("Description", &a.description)
        .text("Cause", &a.cause)
        .text("StartTime", time(a.start))
        .maybe("EndTime", a.end.map(time))
        .text("StatusCode", a.status)
        .maybe("StatusMessage", a.status_message.as_ref())
        .text("Progress", a.progress)
        .text("Details", details)
        .text("AutoScalingGroupARN", group_arn(world, group));
}

pub(super) fn hooks(params: &Params, world: &Physics) -> Outcome {
    let g = world.group_index(params.required("AutoScalingGroupName")?)?;
    let names = params.list("LifecycleHookNames.member");
    let spec = &world.world.fleets[g];
    let wanted = spec.hooks.iter().filter(|h| names.is_empty() || names.contains(&h.name));
    Ok(Answer::looked(|x| {
        x.list("LifecycleHooks", "member", wanted, |x, hook| {
            x.text("LifecycleHookName", &hook.name)
                .text("AutoScalingGroupName", &spec.asg)
                .text("LifecycleTransition", &hook.transition)
                .text("HeartbeatTimeout", hook.heartbeat_s)
                .text("GlobalTimeout", u64::from(hook.heartbeat_s).saturating_mul(100).min(172_800))
                .text("DefaultResult", &hook.default_result);
        });
    }))
}

fn in_group(host: &Host, group: usize) -> bool {
    host.fleet == group && (host.lifecycle.counts() || host.lifecycle.leaving())
}

pub(crate) fn group_arn(world: &Physics, g: usize) -> String {
    let (region, account, name) = (&world.world.region, &world.world.account, &world.world.fleets[g].asg);
    format!(
        "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:\
         6f1c2d3e-0000-4000-8000-{g:012x}:autoScalingGroupName/{name}"
    )
}

/// The subnet of a zone: one each, named after it.
pub(crate) fn subnet(zone: &str) -> String {
    let n = zone.bytes().fold(0_u64, |h, b| h.wrapping_mul(131).wrapping_add(u64::from(b)));
    format!("subnet-0{n:016x}")
}
