//! Elastic Load Balancing v2: the fleets' target groups.

use chrono::TimeDelta;

use super::params::{Manner, Paging, Params};
use super::{Act, Answer, Dialect, Outcome, Service};

use crate::physics::{Host, Physics, Refusal, TargetState};
use crate::world::TargetGroup;

pub(super) static SERVICE: Service = Service {
    name: "elasticloadbalancing",
    version: "2015-12-01",
    namespace: "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
    dialect: Dialect::Query,
    target: None,
    manner: Manner::Validation,
    throttled: ("Throttling", 400),
    operations: &[
        ("DescribeTargetHealth", Act::Look(target_health)),
        ("DescribeTargetGroups", Act::Look(target_groups)),
        ("DescribeTargetGroupAttributes", Act::Look(attributes)),
    ],
};

const PAGES: Paging =
    Paging { size: "PageSize", token: "Marker", sizes: 1..=400, usual: 400, bad_token: "ValidationError" };

fn not_found() -> Refusal {
    Refusal::new("TargetGroupNotFound", "One or more target groups not found")
}

fn load_balancer_arn(world: &Physics, group: &TargetGroup) -> String {
    let (region, account) = (&world.world.region, &world.world.account);
    format!(
        "arn:aws:elasticloadbalancing:{region}:{account}:loadbalancer/net/{}/50dc6c495c0c9188",
        group.name
    )
}

/// The fleet behind the target group that the call names.
fn fleet<'w>(params: &Params, world: &'w Physics) -> Result<(usize, &'w TargetGroup), Refusal> {
    let arn = params.required("TargetGroupArn")?;
    let found = (0..world.groups.len()).find(|&g| world.target_group_arn(g).as_deref() == Some(arn));
    let fleet = found.ok_or_else(not_found)?;
    Ok((fleet, world.world.fleets[fleet].target_group.as_ref().ok_or_else(not_found)?))
}

fn target_health(params: &Params, world: &Physics) -> Outcome {
    let (fleet, _) = fleet(params, world)?;
    let port = world.world.fleets[fleet].mysql_port;
    let asked: Vec<String> =
        (1_u32..).map_while(|n| params.get(&format!("Targets.member.{n}.Id")).map(str::to_owned)).collect();
    let registered = |h: &&Host| h.fleet == fleet && h.target.is_some();
    let hosts: Vec<&Host> = world.hosts.iter().filter(registered).collect();
    let all: Vec<(String, Option<&Host>)> = if asked.is_empty() {
        hosts.iter().map(|h| (h.instance_id.clone(), Some(*h))).collect()
    } else {
        let find = |id: String| (id.clone(), hosts.iter().copied().find(|h| h.instance_id == id));
        asked.into_iter().map(find).collect()
    };
    Ok(Answer::looked(|x| {
        x.list("TargetHealthDescriptions", "member", all, |x, (id, host)| {
            let (state, why) = health(world, host);
            x.node("Target", |x| {
                x.text("Id", &id).text("Port", port);
            });
            if host.is_some() {
                x.text("HealthCheckPort", port);
            }
            x.node("TargetHealth", |x| {
                x.text("State", state);
                if let Some((reason, description)) = why {
                    x.text("Reason", reason).text("Description", description);
                }
            });
        });
    }))
}

type Why = Option<(&'static str, &'static str)>;

fn health(world: &Physics, host: Option<&Host>) -> (&'static str, Why) {
    let Some(target) = host.and_then(|h| h.target) else {
        return ("unused", Some(("Target.NotRegistered", "Target is not registered to the target group")));
    };
    let drains = host.map_or(TimeDelta::zero(), |h| world.unhealthy_drains(h.fleet));
    match target.state {
        TargetState::Initial if (world.now() - target.since).num_seconds() < 10 => {
            ("initial", Some(("Elb.RegistrationInProgress", "Target registration is in progress")))
        }
        TargetState::Initial => {
            ("initial", Some(("Elb.InitialHealthChecking", "Initial health checks in progress")))
        }
        TargetState::Healthy => ("healthy", None),
        TargetState::Unhealthy if drains > world.now() - target.since => {
            ("unhealthy.draining", Some(("Target.FailedHealthChecks", "Health checks failed")))
        }
        TargetState::Unhealthy => ("unhealthy", Some(("Target.FailedHealthChecks", "Health checks failed"))),
        TargetState::Draining => {
            ("draining", Some(("Target.DeregistrationInProgress", "Target deregistration is in progress")))
        }
    }
}

fn target_groups(params: &Params, world: &Physics) -> Outcome {
    let (arns, names) = (params.list("TargetGroupArns.member"), params.list("Names.member"));
    let balancer = params.get("LoadBalancerArn");
    let all: Vec<(usize, &TargetGroup, String)> = (0..world.groups.len())
        .filter_map(|g| Some((g, world.world.fleets[g].target_group.as_ref()?, world.target_group_arn(g)?)))
        .collect();
    let missing = arns.iter().any(|a| !all.iter().any(|(.., arn)| arn == a))
        || names.iter().any(|n| !all.iter().any(|(_, group, _)| group.name == *n));
    if missing {
        return Err(not_found());
    }
    if let Some(unknown) =
        balancer.filter(|b| !all.iter().any(|(_, group, _)| *b == load_balancer_arn(world, group)))
    {
        let message = format!("Load balancer '{unknown}' not found");
        return Err(Refusal::new("LoadBalancerNotFound", message));
    }
    let wanted = |(_, group, arn): &(usize, &TargetGroup, String)| {
        (arns.is_empty() || arns.contains(arn))
            && (names.is_empty() || names.contains(&group.name))
            && balancer.is_none_or(|b| b == load_balancer_arn(world, group))
    };
    let page = params.page(all.into_iter().filter(wanted).collect(), &PAGES)?;
    Ok(Answer::looked(|x| {
        x.list("TargetGroups", "member", page.items, |x, (g, group, arn)| {
            x.text("TargetGroupArn", arn)
                .text("TargetGroupName", &group.name)
                .text("Protocol", "TCP")
                .text("Port", world.world.fleets[g].mysql_port)
                .text("VpcId", "vpc-0a1b2c3d4e5f60718")
                .text("HealthCheckProtocol", "TCP")
                .text("HealthCheckPort", "traffic-port")
                .text("HealthCheckEnabled", true)
                .text("HealthCheckIntervalSeconds", 30)
                .text("HealthCheckTimeoutSeconds", 10)
                .text("HealthyThresholdCount", 3)
                .text("UnhealthyThresholdCount", 2)
                .texts("LoadBalancerArns", "member", [load_balancer_arn(world, group)])
                .text("TargetType", "instance")
                .text("IpAddressType", "ipv4");
        });
        x.maybe("NextMarker", page.next);
    }))
}

fn attributes(params: &Params, world: &Physics) -> Outcome {
    let (_, group) = fleet(params, world)?;
    let delay = group.deregistration_delay_s.to_string();
    let attributes = [
        ("deregistration_delay.timeout_seconds", delay.as_str()),
        ("deregistration_delay.connection_termination.enabled", "false"),
        ("preserve_client_ip.enabled", "true"),
        ("proxy_protocol_v2.enabled", "false"),
        ("stickiness.enabled", "false"),
        ("target_health_state.unhealthy.connection_termination.enabled", "false"),
    ];
    Ok(Answer::looked(|x| {
        x.list("Attributes", "member", attributes, |x, (key, value)| {
            x.text("Key", key).text("Value", value);
        });
    }))
}
