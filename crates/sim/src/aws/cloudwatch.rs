//! CloudWatch: the metrics of the Aurora instances. It speaks several protocols, so its answers are trees.

use chrono::{DateTime, TimeDelta, Utc};

use super::cloudwatch_alarms as alarms;
use super::params::{Manner, Params};
use super::tree::Tree;
use super::{Act, Answer, Dialect, Outcome, Service};
use crate::alarm::Statistic;
use crate::physics::{Metric, Physics, Refusal, Subject};

pub(super) static SERVICE: Service = Service {
    name: "monitoring",
    version: "2010-08-01",
    namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
    dialect: Dialect::Query,
    target: Some("GraniteServiceVersion20100801"),
    manner: Manner::Parameter,
    throttled: ("Throttling", 400),
    operations: &[
        ("GetMetricData", Act::Look(metric_data)),
        ("ListMetrics", Act::Look(list)),
        ("DescribeAlarms", Act::Look(alarms::describe)),
    ],
};

pub(super) const NAMESPACE: &str = "AWS/RDS";
const CLUSTER: &str = "DBClusterIdentifier";
const INSTANCE: &str = "DBInstanceIdentifier";
const ROLE: &str = "Role";

/// `GetMetricData` takes at most this many queries, and answers at most this many values at once.
const MOST_QUERIES: usize = 500;
const MOST_VALUES: usize = 100_800;
/// `ListMetrics` has no size of page.
const METRICS_PER_PAGE: usize = 500;

/// One metric that is asked for.
struct Query<'p> {
    id: &'p str,
    label: String,
    /// None for what CloudWatch does not know either: it has no values.
    series: Option<(Metric, Subject)>,
    period: TimeDelta,
    statistic: Statistic,
    returns: bool,
}

type Dimensions = Vec<(String, String)>;

fn metric_data(params: &Params, world: &Physics) -> Outcome {
    params.required("MetricDataQueries.member.1.Id").map_err(|_| params.missing("MetricDataQueries"))?;
    let at = |name: &str| -> Result<DateTime<Utc>, Refusal> {
        params.required(name)?;
        Ok(params.time(name)?.unwrap_or_default())
    };
    let (start, end) = (at("StartTime")?, at("EndTime")?);
    if start >= end {
        let message = "The parameter StartTime must be less than the parameter EndTime.";
        return Err(Refusal::validation(message));
    }
    // As CloudWatch rounds the start: down to the whole minute.
    let start = start - TimeDelta::seconds(start.timestamp().rem_euclid(60));
    let queries = queries(params, world)?;
    let newest_first = match params.get("ScanBy") {
        None | Some("TimestampDescending") => true,
        Some("TimestampAscending") => false,
        Some(other) => return Err(Refusal::validation(format!("Invalid value '{other}' for ScanBy"))),
    };
    let most = params.parsed::<usize>("MaxDatapoints")?.unwrap_or(MOST_VALUES).clamp(1, MOST_VALUES);
    let mut skip = params.token("NextToken", "InvalidNextToken")?;
    let begin = skip;
    let (mut left, mut results, mut more) = (most, Vec::new(), false);
    for query in queries.iter().filter(|q| q.returns) {
        let mut values = query
            .series
            .map_or_else(Vec::new, |(metric, subject)| periods(world, metric, subject, query, start, end));
        if newest_first {
            values.reverse();
        }
        if skip > 0 && skip >= values.len() {
            skip -= values.len();
            continue;
        }
        let rest = values.split_off(std::mem::take(&mut skip));
        let shown = rest.len().min(left);
        left -= shown;
        let partly = shown < rest.len();
        more |= partly;
        if shown == 0 && partly {
            break;
        }
        results.push(result(query, &rest[..shown], partly));
    }
    let mut members = vec![("MetricDataResults", Tree::List(results)), ("Messages", Tree::List(vec![]))];
    if more {
        members.push(("NextToken", Tree::Text(Params::token_at(begin + most - left))));
    }
    Ok(Answer::of(members))
}

fn result(query: &Query, values: &[(DateTime<Utc>, f64)], partly: bool) -> Tree {
    Tree::Structure(vec![
        ("Id", Tree::text(query.id)),
        ("Label", Tree::text(&query.label)),
        ("Timestamps", Tree::List(values.iter().map(|(at, _)| Tree::Time(*at)).collect())),
        ("Values", Tree::List(values.iter().map(|(_, value)| Tree::Real(*value)).collect())),
        ("StatusCode", Tree::text(if partly { "PartialData" } else { "Complete" })),
    ])
}

/// The values of whole periods, oldest first.
fn periods(
    world: &Physics,
    metric: Metric,
    subject: Subject,
    query: &Query,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Vec<(DateTime<Utc>, f64)> {
    let seconds = query.period.num_seconds().max(1);
    let begins = |at: DateTime<Utc>| at.timestamp().div_euclid(seconds) * seconds;
    let values = world.metrics.values(metric, subject, start, end);
    let of_period = |chunk: &[(DateTime<Utc>, f64)]| {
        let held: Vec<f64> = chunk.iter().map(|(_, v)| *v).collect();
        let first = chunk.first().and_then(|(at, _)| DateTime::from_timestamp(begins(*at), 0));
        first.zip(query.statistic.of(&held))
    };
    values.chunk_by(|(a, _), (b, _)| begins(*a) == begins(*b)).filter_map(of_period).collect()
}

fn queries<'p>(params: &'p Params, world: &Physics) -> Result<Vec<Query<'p>>, Refusal> {
    let mut queries: Vec<Query> = Vec::new();
    for n in 1.. {
        let prefix = format!("MetricDataQueries.member.{n}");
        if !params.all.keys().any(|k| k.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with('.'))) {
            break;
        }
        let query = query(params, world, &prefix)?;
        if queries.iter().any(|q| q.id == query.id) {
            let message = "The values for parameter id in MetricDataQueries are not unique.";
            return Err(Refusal::validation(message));
        }
        queries.push(query);
    }
    if queries.len() > MOST_QUERIES {
        let message =
            format!("The collection MetricDataQueries must not have a size greater than {MOST_QUERIES}.");
        return Err(Refusal::validation(message));
    }
    Ok(queries)
}

fn query<'p>(params: &'p Params, world: &Physics, prefix: &str) -> Result<Query<'p>, Refusal> {
    let named = |member: &str| format!("{prefix}.{member}");
    let id = params.required(&named("Id"))?;
    if !id.starts_with(|c: char| c.is_ascii_lowercase()) {
        let message =
            format!("The value {id} for parameter {prefix}.Id is not matching the expected pattern");
        return Err(Refusal::validation(message));
    }
    if params.get(&named("Expression")).is_some() {
        return Err(Refusal::validation(format!(
            "Error in expression '{id}': the simulator computes no expressions; ask for metrics by MetricStat"
        )));
    }
    let of_stat = |member: &str| format!("{prefix}.MetricStat.{member}");
    let name = params.required(&of_stat("Metric.MetricName"))?;
    let namespace = params.required(&of_stat("Metric.Namespace"))?;
    params.required(&of_stat("Period"))?;
    let period: i64 = params.parsed(&of_stat("Period"))?.unwrap_or(60);
    if !matches!(period, 1 | 5 | 10 | 20 | 30) && (period <= 0 || period % 60 != 0) {
        let message =
            format!("Invalid value {period} for Period: must be 1, 5, 10, 20, 30 or a multiple of 60");
        return Err(Refusal::validation(message));
    }
    let stat = params.required(&of_stat("Stat"))?;
    let Some(statistic) = Statistic::named(stat) else {
        let message = format!("The value {stat} for parameter {prefix}.MetricStat.Stat is not supported.");
        return Err(Refusal::validation(message));
    };
    let metric = Metric::named(name).filter(|_| namespace == NAMESPACE);
    let subject = subject(world, &dimensions(params, &of_stat("Metric.Dimensions")));
    let unit = params.get(&of_stat("Unit"));
    Ok(Query {
        id,
        label: params.get(&named("Label")).unwrap_or(name).to_owned(),
        series: metric.filter(|m| unit.is_none_or(|u| u == m.unit())).zip(subject),
        period: TimeDelta::seconds(period),
        statistic,
        returns: params.flag(&named("ReturnData"))?.unwrap_or(true),
    })
}

/// The dimensions `prefix.member.N`: name and value.
fn dimensions(params: &Params, prefix: &str) -> Dimensions {
    (1_u32..)
        .map_while(|n| {
            let name = params.get(&format!("{prefix}.member.{n}.Name"))?;
            Some((name.to_owned(), params.get(&format!("{prefix}.member.{n}.Value"))?.to_owned()))
        })
        .collect()
}

/// Whose values these dimensions name, if anybody's.
fn subject(world: &Physics, dimensions: &Dimensions) -> Option<Subject> {
    let value = |name: &str| dimensions.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    match (value(INSTANCE), value(CLUSTER), value(ROLE), dimensions.len()) {
        (Some(id), None, None, 1) => {
            let (cluster, member) = world.instance(id)?;
            Some(Subject { cluster, member: Some(member), writer: None })
        }
        (None, Some(id), role, n) if n == 1 + usize::from(role.is_some()) => {
            let cluster = world.clusters.iter().position(|c| c.id == id)?;
            let writer = match role {
                None => None,
                Some("WRITER") => Some(true),
                Some("READER") => Some(false),
                Some(_) => return None,
            };
            Some(Subject { cluster, member: None, writer })
        }
        _ => None,
    }
}

/// The dimensions of a subject: the reverse of [`subject`].
pub(super) fn dimensions_of(world: &Physics, of: Subject) -> Tree {
    let dimension =
        |(name, value)| Tree::Structure(vec![("Name", Tree::text(name)), ("Value", Tree::text(value))]);
    Tree::List(named_dimensions(world, of).into_iter().map(dimension).collect())
}

/// Names and values.
pub(crate) fn named_dimensions(world: &Physics, of: Subject) -> Vec<(&'static str, &str)> {
    let cluster = &world.clusters[of.cluster];
    let role = of.writer.map(|writer| (ROLE, if writer { "WRITER" } else { "READER" }));
    match of.member {
        Some(member) => vec![(INSTANCE, cluster.members[member].id.as_str())],
        None => [(CLUSTER, cluster.id.as_str())].into_iter().chain(role).collect(),
    }
}

fn list(params: &Params, world: &Physics) -> Outcome {
    let wanted: Vec<(String, Option<String>)> = (1_u32..)
        .map_while(|n| {
            let name = params.get(&format!("Dimensions.member.{n}.Name"))?.to_owned();
            Some((name, params.get(&format!("Dimensions.member.{n}.Value")).map(str::to_owned)))
        })
        .collect();
    let all = (0..world.clusters.len()).flat_map(|cluster| {
        let whole = [None, Some(true), Some(false)].map(|writer| Subject { cluster, member: None, writer });
        let members = 0..world.clusters[cluster].members.len();
        let single = members.map(move |m| Subject { cluster, member: Some(m), writer: None });
        whole.into_iter().chain(single)
    });
    let named = |of: &Subject| {
        let cluster = &world.clusters[of.cluster];
        wanted.iter().all(|(name, value)| {
            let held = match (name.as_str(), of.member, of.writer) {
                (INSTANCE, Some(m), _) => cluster.members[m].id.as_str(),
                (CLUSTER, None, _) => cluster.id.as_str(),
                (ROLE, _, Some(true)) => "WRITER",
                (ROLE, _, Some(false)) => "READER",
                _ => return false,
            };
            value.as_deref().is_none_or(|v| v == held)
        })
    };
    let here = params.get("Namespace").is_none_or(|n| n == NAMESPACE);
    let metrics: Vec<(Metric, Subject)> = all
        .filter(|of| here && named(of))
        .flat_map(|of| Metric::ALL.map(|metric| (metric, of)))
        .filter(|(metric, _)| params.get("MetricName").is_none_or(|n| n == metric.name()))
        .collect();
    let begin = params.token("NextToken", "InvalidParameterValue")?;
    let shown = metrics.iter().skip(begin).take(METRICS_PER_PAGE).map(|(metric, of)| {
        Tree::Structure(vec![
            ("Namespace", Tree::text(NAMESPACE)),
            ("MetricName", Tree::text(metric.name())),
            ("Dimensions", dimensions_of(world, *of)),
        ])
    });
    let mut members = vec![("Metrics", Tree::List(shown.collect()))];
    let next = begin + METRICS_PER_PAGE;
    if metrics.len() > next {
        members.push(("NextToken", Tree::Text(Params::token_at(next))));
    }
    Ok(Answer::of(members))
}
