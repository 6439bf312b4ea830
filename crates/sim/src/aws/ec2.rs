//! EC2: the hosts as instances. Its dialect has no result element and calls list members `item`.

use chrono::TimeDelta;

use super::autoscaling_describe::subnet;
use super::params::{Manner, Paging, Params};
use super::xml::Xml;
use super::{Act, Answer, Dialect, Outcome, Service, time};
use crate::physics::{Host, Machine, Physics, Refusal};

pub(super) static SERVICE: Service = Service {
    name: "ec2",
    version: "2016-11-15",
    namespace: "http://ec2.amazonaws.com/doc/2016-11-15/",
    dialect: Dialect::Ec2,
    target: None,
    manner: Manner::Parameter,
    throttled: ("RequestLimitExceeded", 503),
    operations: &[
        ("DescribeInstances", Act::Look(describe_instances)),
        ("DescribeInstanceStatus", Act::Look(describe_status)),
        ("TerminateInstances", Act::Change(terminate)),
    ],
};

const PAGES: Paging = Paging {
    size: "MaxResults",
    token: "NextToken",
    sizes: 5..=1000,
    usual: 1000,
    bad_token: "InvalidNextToken",
};

/// The instances that the call is about: named ones must exist, filters must be known.
fn select<'w>(params: &Params, world: &'w Physics) -> Result<Vec<&'w Host>, Refusal> {
    // EC2 shows a terminated instance for about an hour.
    let shown =
        |h: &&Host| h.machine != Machine::Terminated || world.now() - h.machine_until < TimeDelta::hours(1);
    let ids = params.list("InstanceId");
    let mut found: Vec<&Host> = world.hosts.iter().filter(shown).collect();
    if let Some(id) = ids.iter().find(|id| !well_formed(id)) {
        let message = format!("Invalid id: \"{id}\"");
        return Err(Refusal::new("InvalidInstanceID.Malformed", message));
    }
    if let Some(id) = ids.iter().find(|id| !found.iter().any(|h| h.instance_id == **id)) {
        let message = format!("The instance ID '{id}' does not exist");
        return Err(Refusal::new("InvalidInstanceID.NotFound", message));
    }
    found.retain(|h| ids.is_empty() || ids.contains(&h.instance_id));
    for (name, values) in params.filters("Filter", "Value") {
        let value = |h: &Host| match name.as_str() {
            "instance-id" => Some(h.instance_id.clone()),
            "instance-state-name" => Some(h.machine.code_and_name().1.to_owned()),
            "private-ip-address" => Some(h.address.clone()),
            "availability-zone" => Some(h.zone.clone()),
            "tag:aws:autoscaling:groupName" => Some(world.world.fleets[h.fleet].asg.clone()),
            "tag:service" => Some("proxysql".to_owned()),
            _ => None,
        };
        if world.hosts.first().is_some_and(|h| value(h).is_none()) {
            let message = format!("The filter '{name}' is invalid (or not simulated)");
            return Err(Refusal::new("InvalidParameterValue", message));
        }
        found.retain(|h| value(h).is_some_and(|v| values.contains(&v)));
    }
    Ok(found)
}

/// `i-` and hexadecimal digits.
fn well_formed(id: &str) -> bool {
    id.strip_prefix("i-")
        .is_some_and(|digits| matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn describe_instances(params: &Params, world: &Physics) -> Outcome {
    let page = params.page(select(params, world)?, &PAGES)?;
    Ok(Answer::looked(|x| {
        x.list("reservationSet", "item", page.items, |x, host| {
            x.text("reservationId", host.instance_id.replace("i-", "r-"))
                .text("ownerId", &world.world.account)
                .texts("groupSet", "item", [""; 0])
                .list("instancesSet", "item", [host], |x, host| instance(x, world, host));
        });
        x.maybe("nextToken", page.next);
    }))
}

fn instance(x: &mut Xml, world: &Physics, host: &Host) {
    let spec = &world.world.fleets[host.fleet];
    let exists = host.machine != Machine::Terminated;
    let tags = [
        ("Name", spec.asg.as_str()),
        ("service", "proxysql"),
        ("aws:autoscaling:groupName", spec.asg.as_str()),
    ];
    x.text("instanceId", &host.instance_id)
        .text("imageId", "ami-0123456789abcdef0")
        .node("instanceState", |x| state(x, host.machine))
        .text(
            "privateDnsName",
            if exists {
                format!("ip-{}.ec2.internal", host.address.replace('.', "-"))
            } else {
                String::new()
            },
        )
        .text("dnsName", "")
        .text("reason", if exists { "" } else { "User initiated" })
        .text("amiLaunchIndex", 0)
        .text("instanceType", &spec.instance_type)
        .text("launchTime", time(host.launched))
        .node("placement", |x| {
            x.text("availabilityZone", &host.zone).text("groupName", "").text("tenancy", "default");
        })
        .node("monitoring", |x| {
            x.text("state", "disabled");
        })
        .maybe("subnetId", exists.then(|| subnet(&host.zone)))
        .maybe("vpcId", exists.then_some("vpc-0a1b2c3d4e5f60718"))
        .maybe("privateIpAddress", exists.then_some(&host.address))
        .text("architecture", "x86_64")
        .text("rootDeviceType", "ebs")
        .list("tagSet", "item", tags, |x, (key, value)| {
            x.text("key", key).text("value", value);
        });
}

fn state(x: &mut Xml, machine: Machine) {
    let (code, name) = machine.code_and_name();
    x.text("code", code).text("name", name);
}

fn describe_status(params: &Params, world: &Physics) -> Outcome {
    let all = params.flag("IncludeAllInstances")?.unwrap_or(false);
    let mut found = select(params, world)?;
    found.retain(|h| all || h.machine == Machine::Running);
    let page = params.page(found, &PAGES)?;
    Ok(Answer::looked(|x| {
        x.list("instanceStatusSet", "item", page.items, |x, host| {
            // Status checks take a couple of minutes to pass.
            let (summary, detail) = match host.machine {
                Machine::Running if world.now() - host.launched < TimeDelta::seconds(150) => {
                    ("initializing", Some("initializing"))
                }
                Machine::Running => ("ok", Some("passed")),
                _ => ("not-applicable", None),
            };
            x.text("instanceId", &host.instance_id)
                .text("availabilityZone", &host.zone)
                .node("instanceState", |x| state(x, host.machine));
            for check in ["systemStatus", "instanceStatus"] {
                x.node(check, |x| {
                    x.text("status", summary).list("details", "item", detail, |x, detail| {
                        x.text("name", "reachability").text("status", detail);
                    });
                });
            }
        });
        x.maybe("nextToken", page.next);
    }))
}

fn terminate(params: &Params, world: &mut Physics) -> Outcome {
    let chosen: Vec<(String, Machine)> =
        select(params, world)?.iter().map(|h| (h.instance_id.clone(), h.machine)).collect();
    if params.list("InstanceId").is_empty() {
        return Err(params.missing("InstanceId"));
    }
    let mut effects = Vec::new();
    for (id, _) in &chosen {
        effects.extend(world.terminate_instance(id)?);
    }
    let effect = (!effects.is_empty()).then(|| effects.join(", "));
    let now_of = |id: &str| world.hosts.iter().find(|h| h.instance_id == *id).map(|h| h.machine);
    Ok(Answer::changed(effect, |x| {
        x.list("instancesSet", "item", &chosen, |x, (id, before)| {
            x.text("instanceId", id)
                .node("currentState", |x| state(x, now_of(id).unwrap_or(*before)))
                .node("previousState", |x| state(x, *before));
        });
    }))
}
