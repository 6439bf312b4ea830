//! Auto Scaling: instance refreshes.

use super::autoscaling_describe::paging;
use super::params::Params;
use super::{Answer, Outcome, time};
use crate::physics::{Physics, Preferences, Protected, Refresh, Refusal};

pub(super) fn start(params: &Params, world: &mut Physics) -> Outcome {
    let asg = params.required("AutoScalingGroupName")?;
    let (effect, id) = world.start_refresh(asg, preferences(params)?)?;
    Ok(Answer::changed(effect, |x| {
        x.text("InstanceRefreshId", id);
    }))
}

fn preferences(params: &Params) -> Result<Preferences, Refusal> {
    let unsupported = |k: &&String| {
        let simulated = [
            "Preferences.MinHealthyPercentage",
            "Preferences.MaxHealthyPercentage",
            "Preferences.InstanceWarmup",
            "Preferences.SkipMatching",
            "Preferences.AutoRollback",
            "Preferences.ScaleInProtectedInstances",
            "Preferences.StandbyInstances",
        ];
        (k.starts_with("Preferences.") || k.starts_with("DesiredConfiguration"))
            && !simulated.contains(&k.as_str())
    };
    if let Some(other) = params.all.keys().find(unsupported) {
        let message = format!("the simulator's refreshes know nothing of '{other}'; leave it out");
        return Err(Refusal::validation(message));
    }
    if params.get("Strategy").is_some_and(|s| s != "Rolling") {
        return Err(Refusal::validation("the simulator refreshes with Strategy Rolling only"));
    }
    if params.flag("Preferences.AutoRollback")? == Some(true) {
        let message = "AutoRollback is not supported without a DesiredConfiguration";
        return Err(Refusal::validation(message));
    }
    let one_of = |name: &str, values: &[&'static str]| -> Result<&'static str, Refusal> {
        let given = params.get(name).unwrap_or("Wait");
        let found = values.iter().find(|v| **v == given).copied();
        found.ok_or_else(|| {
            Refusal::validation(format!("Value '{given}' at '{name}' must be one of {}", values.join(", ")))
        })
    };
    one_of("Preferences.StandbyInstances", &["Terminate", "Ignore", "Wait"])?; // no host is ever in Standby here
    let protected = match one_of("Preferences.ScaleInProtectedInstances", &["Refresh", "Ignore", "Wait"])? {
        "Refresh" => Protected::Refresh,
        "Ignore" => Protected::Ignore,
        _ => Protected::Wait,
    };
    let (min, max) = (
        params.parsed::<u32>("Preferences.MinHealthyPercentage")?,
        params.parsed::<u32>("Preferences.MaxHealthyPercentage")?,
    );
    let usual = Preferences::default();
    let wrong = match (min, max) {
        (Some(min), _) if min > 100 => Some("MinHealthyPercentage must be between 0 and 100"),
        (_, Some(max)) if !(100..=200).contains(&max) => {
            Some("MaxHealthyPercentage must be between 100 and 200")
        }
        (None, Some(_)) => Some("MaxHealthyPercentage needs MinHealthyPercentage to be specified, too"),
        (Some(min), Some(max)) if max - min > 100 => Some(
            "The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than 100",
        ),
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(Refusal::validation(wrong));
    }
    Ok(Preferences {
        min_healthy: min.unwrap_or(usual.min_healthy),
        max_healthy: max,
        warmup_s: params.parsed("Preferences.InstanceWarmup")?.unwrap_or(usual.warmup_s),
        skip_matching: params.flag("Preferences.SkipMatching")?.unwrap_or(false),
        protected,
    })
}

pub(super) fn cancel(params: &Params, world: &mut Physics) -> Outcome {
    let wait = params.flag("WaitForTransitioningInstances")?.unwrap_or(true);
    let (effect, id) = world.cancel_refresh(params.required("AutoScalingGroupName")?, wait)?;
    Ok(Answer::changed(effect, |x| {
        x.text("InstanceRefreshId", id);
    }))
}

pub(super) fn describe(params: &Params, world: &Physics) -> Outcome {
    let g = world.group_index(params.required("AutoScalingGroupName")?)?;
    let ids = params.list("InstanceRefreshIds.member");
    let wanted = |r: &&Refresh| ids.is_empty() || ids.contains(&r.id);
    let found: Vec<&Refresh> = world.groups[g].refreshes.iter().rev().filter(wanted).collect();
    let page = params.page(found, &paging(100))?;
    Ok(Answer::looked(|x| {
        x.list("InstanceRefreshes", "member", page.items, |x, r| {
            let (total, left) = world.refresh_progress(g, r);
            let done = (100 * (total - left)).checked_div(total).unwrap_or(100);
            let p = &r.preferences;
            x.text("InstanceRefreshId", &r.id)
                .text("AutoScalingGroupName", &world.world.fleets[g].asg)
                .text("Status", r.status.name())
                .maybe("StatusReason", r.reason.as_ref())
                .text("StartTime", time(r.start))
                .maybe("EndTime", r.end.map(time))
                .text("PercentageComplete", done)
                .text("InstancesToUpdate", left)
                .node("Preferences", |x| {
                    x.text("MinHealthyPercentage", p.min_healthy)
                        .maybe("MaxHealthyPercentage", p.max_healthy)
                        .text("InstanceWarmup", p.warmup_s)
                        .text("SkipMatching", p.skip_matching)
                        .text("AutoRollback", false)
                        .text(
                            "ScaleInProtectedInstances",
                            match p.protected {
                                Protected::Refresh => "Refresh",
                                Protected::Ignore => "Ignore",
                                Protected::Wait => "Wait",
                            },
                        )
                        .text("StandbyInstances", "Wait");
                })
                .text("Strategy", "Rolling");
        });
        x.maybe("NextToken", page.next);
    }))
}
