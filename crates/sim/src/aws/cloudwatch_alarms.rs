//! CloudWatch: the alarms and their states.

use super::cloudwatch::{NAMESPACE, dimensions_of};
use super::params::{Paging, Params};
use super::tree::Tree;
use super::{Answer, Outcome};
use crate::physics::{Physics, Refusal, Watch};

const PAGES: Paging = Paging {
    size: "MaxRecords",
    token: "NextToken",
    sizes: 1..=100,
    usual: 50,
    bad_token: "InvalidNextToken",
};

pub(super) fn describe(params: &Params, world: &Physics) -> Outcome {
    let (names, types) = (params.list("AlarmNames.member"), params.list("AlarmTypes.member"));
    let (prefix, state) = (params.get("AlarmNamePrefix"), params.get("StateValue"));
    if !names.is_empty() && prefix.is_some() {
        let message = "AlarmNamePrefix and AlarmNames cannot be used together";
        return Err(Refusal::validation(message));
    }
    if let Some(state) = state.filter(|s| !matches!(*s, "OK" | "ALARM" | "INSUFFICIENT_DATA")) {
        return Err(Refusal::validation(format!("Invalid value '{state}' for StateValue")));
    }
    if let Some(family) =
        ["ChildrenOfAlarmName", "ParentsOfAlarmName"].iter().find(|p| params.get(p).is_some())
    {
        let message = format!("the simulator has no composite alarms; leave {family} out");
        return Err(Refusal::validation(message));
    }
    let wanted = |w: &&Watch| {
        !w.deleted
            && (names.is_empty() || names.contains(&w.alarm.name))
            && (types.is_empty() || types.iter().any(|t| t == "MetricAlarm"))
            && prefix.is_none_or(|p| w.alarm.name.starts_with(p))
            && state.is_none_or(|s| s == w.state.name())
    };
    let page = params.page(world.watches.iter().filter(wanted).collect(), &PAGES)?;
    let alarms = page.items.into_iter().map(|w| alarm(world, w)).collect();
    let mut members = vec![("CompositeAlarms", Tree::List(vec![])), ("MetricAlarms", Tree::List(alarms))];
    members.extend(page.next.map(|next| ("NextToken", Tree::Text(next))));
    Ok(Answer::of(members))
}

fn alarm(world: &Physics, watch: &Watch) -> Tree {
    let alarm = &watch.alarm;
    let (region, account) = (&world.world.region, &world.world.account);
    let whole = |n: u32| Tree::Whole(n.into());
    let none = || Tree::List(vec![]);
    let mut members = vec![
        ("AlarmName", Tree::text(&alarm.name)),
        ("AlarmArn", Tree::Text(format!("arn:aws:cloudwatch:{region}:{account}:alarm:{}", alarm.name))),
        ("AlarmConfigurationUpdatedTimestamp", Tree::Time(world.world.start - chrono::TimeDelta::days(30))),
        ("ActionsEnabled", Tree::Flag(true)),
        ("OKActions", none()),
        ("AlarmActions", none()),
        ("InsufficientDataActions", none()),
        ("StateValue", Tree::text(watch.state.name())),
        ("StateReason", Tree::text(&watch.reason)),
        ("StateUpdatedTimestamp", Tree::Time(watch.since)),
        ("StateTransitionedTimestamp", Tree::Time(watch.since)),
        ("MetricName", Tree::text(&alarm.metric)),
        ("Namespace", Tree::text(NAMESPACE)),
        ("Statistic", Tree::text(alarm.statistic.name())),
        ("Dimensions", dimensions_of(world, watch.subject)),
        ("Period", whole(alarm.period_s)),
        ("EvaluationPeriods", whole(alarm.evaluation_periods)),
    ];
    members.extend(alarm.datapoints_to_alarm.map(|n| ("DatapointsToAlarm", whole(n))));
    members.extend([
        ("Threshold", Tree::Real(alarm.threshold)),
        ("ComparisonOperator", Tree::text(alarm.comparison.name().0)),
        ("TreatMissingData", Tree::text(alarm.missing.name())),
    ]);
    Tree::Structure(members)
}
