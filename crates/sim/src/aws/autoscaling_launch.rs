//! Auto Scaling: `LaunchInstances`.

use super::autoscaling_describe::subnet;
use super::params::Params;
use super::xml::Xml;
use super::{Answer, Outcome};
use crate::physics::{LaunchRequest, Physics, Refusal};

pub(super) fn launch(params: &Params, world: &mut Physics) -> Outcome {
    let asg = params.required("AutoScalingGroupName")?;
    params.required("RequestedCapacity")?;
    let capacity = params.parsed("RequestedCapacity")?.unwrap_or_default();
    let token = params.required("ClientToken")?;
    let g = world.group_index(asg)?;
    let request = LaunchRequest { capacity, zone: zone(params, world, g)?, retry: retry(params)? };
    let (effect, launch) = world.launch_instances(asg, token, request)?;
    Ok(Answer::changed(effect, |x| {
        let place = |x: &mut Xml| {
            x.text("InstanceType", &world.world.fleets[g].instance_type)
                .text("MarketType", "OnDemand")
                .text("SubnetId", subnet(&launch.zone))
                .text("AvailabilityZone", &launch.zone);
        };
        let launched = (!launch.hosts.is_empty()).then_some(&launch.hosts);
        x.text("AutoScalingGroupName", asg)
            .text("ClientToken", token)
            .list("Instances", "member", launched, |x, hosts| {
                place(x);
                x.texts("InstanceIds", "member", hosts.iter().map(|&h| &world.hosts[h].instance_id));
            })
            .list("Errors", "member", launch.error.as_ref(), |x, (code, message)| {
                place(x);
                x.text("ErrorCode", code).text("ErrorMessage", message);
            });
    }))
}

/// The one zone that is named, by itself or by its subnet.
fn zone(params: &Params, world: &Physics, g: usize) -> Result<Option<String>, Refusal> {
    if params.get("AvailabilityZoneIds.member.1").is_some() {
        let message = "the simulator's zones have no ids; name the zone or the subnet";
        return Err(Refusal::validation(message));
    }
    let (zones, subnets) = (params.list("AvailabilityZones.member"), params.list("SubnetIds.member"));
    if zones.len() > 1 || subnets.len() > 1 {
        return Err(Refusal::validation("At most one Availability Zone and one subnet may be specified"));
    }
    let Some(named) = subnets.first() else { return Ok(zones.into_iter().next()) };
    let found = world.world.fleets[g].zones.iter().find(|z| subnet(z) == *named);
    match found {
        Some(zone) if zones.is_empty() || zones.contains(zone) => Ok(Some(zone.clone())),
        _ => Err(Refusal::validation(format!("The subnet {named} is not a part of the AutoScalingGroup"))),
    }
}

fn retry(params: &Params) -> Result<bool, Refusal> {
    match params.get("RetryStrategy") {
        None | Some("none") => Ok(false),
        Some("retry-with-group-configuration") => Ok(true),
        Some(other) => Err(Refusal::validation(format!(
            "1 validation error detected: Value '{other}' at 'retryStrategy' failed to satisfy constraint: Member \
             must satisfy enum value set: [none, retry-with-group-configuration]"
        ))),
    }
}
