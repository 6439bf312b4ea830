//! RDS: the Aurora clusters, looked at, failed over, and their instances changed.
//!
//! Endpoints are loopback addresses, not names: a client that connects to what `DescribeDBClusters`
//! says reaches the simulated cluster with no DNS in between.

use chrono::{DateTime, TimeDelta, Utc};

use super::params::{Manner, Paging, Params};
use super::xml::Xml;
use super::{Act, Answer, Dialect, Outcome, Service, time};
use crate::physics::{AuroraCluster, Member, Modification, Physics, RdsEvent, Refusal};

pub(super) static SERVICE: Service = Service {
    name: "rds",
    version: "2014-10-31",
    namespace: "http://rds.amazonaws.com/doc/2014-10-31/",
    dialect: Dialect::Query,
    target: None,
    manner: Manner::ParameterValue,
    throttled: ("Throttling", 400),
    operations: &[
        ("DescribeDBClusters", Act::Look(clusters)),
        ("DescribeDBInstances", Act::Look(instances)),
        ("DescribeEvents", Act::Look(events)),
        ("FailoverDBCluster", Act::Change(fail_over)),
        ("ModifyDBInstance", Act::Change(modify)),
        ("DescribeOrderableDBInstanceOptions", Act::Look(orderable)),
        ("DescribeBlueGreenDeployments", Act::Look(blue_green)),
    ],
};

const PAGES: Paging = Paging {
    size: "MaxRecords",
    token: "Marker",
    sizes: 20..=100,
    usual: 100,
    bad_token: "InvalidParameterValue",
};
const PORT: u16 = 3306;
const ENGINE: &str = "aurora-mysql";
const ENGINE_VERSION: &str = "8.0.mysql_aurora.3.04.2";

/// What events can be about: `SourceType` in AWS's model.
const SOURCE_TYPES: [&str; 11] = [
    "db-instance",
    "db-parameter-group",
    "db-security-group",
    "db-snapshot",
    "db-cluster",
    "db-cluster-snapshot",
    "custom-engine-version",
    "db-proxy",
    "blue-green-deployment",
    "db-shard-group",
    "zero-etl",
];

fn fail_over(params: &Params, world: &mut Physics) -> Outcome {
    params.required("DBClusterIdentifier")?;
    let id = identifier(params, "DBClusterIdentifier").unwrap_or_default();
    let effect = world.fail_over(id, identifier(params, "TargetDBInstanceIdentifier"))?;
    let mut answer = Answer::changed(effect, |_| {});
    if let Some(c) = world.clusters.iter().find(|c| c.id == id) {
        answer.result.node("DBCluster", |x| cluster(x, world, c));
    }
    Ok(answer)
}

fn modify(params: &Params, world: &mut Physics) -> Outcome {
    params.required("DBInstanceIdentifier")?;
    let id = identifier(params, "DBInstanceIdentifier").unwrap_or_default();
    let known =
        ["DBInstanceIdentifier", "DBInstanceClass", "PromotionTier", "ApplyImmediately", "Action", "Version"];
    if let Some(unknown) = params.all.keys().find(|name| !known.contains(&name.as_str())) {
        let message =
            format!("the simulator cannot change {unknown}; it can change DBInstanceClass and PromotionTier");
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    let tier = params.parsed::<u8>("PromotionTier")?;
    if let Some(tier) = tier.filter(|tier| *tier > 15) {
        let message = format!("Invalid promotion tier: {tier}. Valid values: 0 - 15");
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    let class = params.get("DBInstanceClass").map(str::to_owned);
    let now = params.flag("ApplyImmediately")?.unwrap_or_default();
    let effect = world.modify_instance(id, &Modification { class, tier, now })?;
    let mut answer = Answer::changed(effect, |_| {});
    let found = world.clusters.iter().find_map(|c| Some((c, c.member(id)?)));
    if let Some((c, m)) = found {
        answer.result.node("DBInstance", |x| instance(x, world, c, &c.members[m], c.member_status(m)));
    }
    Ok(answer)
}

/// Classes that can be ordered for the one engine version that is here.
fn orderable(params: &Params, world: &Physics) -> Outcome {
    let engine = params.required("Engine")?;
    let mut classes: Vec<String> = ["r6g", "r6i", "r7g", "r7i", "x2g"]
        .iter()
        .flat_map(|family| {
            [
                "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge",
                "32xlarge",
            ]
            .map(|size| format!("db.{family}.{size}"))
        })
        // Only some Intel families have these.
        .filter(|class| {
            !class.contains("g.") || !(class.ends_with("24xlarge") || class.ends_with("32xlarge"))
        })
        .filter(|class| !class.starts_with("db.r7i") || !class.ends_with("32xlarge"))
        .collect();
    if engine != ENGINE || params.get("EngineVersion").is_some_and(|v| v != ENGINE_VERSION) {
        classes.clear();
    }
    if let Some(class) = params.get("DBInstanceClass") {
        classes.retain(|c| c == class);
    }
    let zones = ["a", "b", "c"].map(|z| format!("{}{z}", world.world.region));
    let options = classes.into_iter().filter_map(|class| {
        let zones: Vec<String> = zones.iter().filter(|z| world.orderable(&class, z)).cloned().collect();
        (!zones.is_empty()).then_some((class, zones))
    });
    let page = params.page(options.collect(), &Paging { sizes: 20..=1000, ..PAGES })?;
    Ok(Answer::looked(|x| {
        x.list("OrderableDBInstanceOptions", "OrderableDBInstanceOption", page.items, |x, (class, zones)| {
            x.text("Engine", ENGINE)
                .text("EngineVersion", ENGINE_VERSION)
                .text("DBInstanceClass", &class)
                .text("LicenseModel", "general-public-license")
                .list("AvailabilityZones", "AvailabilityZone", zones, |x, zone| {
                    x.text("Name", &zone);
                })
                .text("MultiAZCapable", false)
                .text("ReadReplicaCapable", false)
                .text("Vpc", true)
                .text("SupportsStorageEncryption", true)
                .text("StorageType", "aurora");
        });
        x.maybe("Marker", page.next);
    }))
}

/// Blue/green deployments, none of which is switched over.
fn blue_green(params: &Params, world: &Physics) -> Outcome {
    let id = |c: &AuroraCluster| format!("bgd-{}", c.id.replace('-', ""));
    let source = |c: &AuroraCluster| arn(world, "cluster", &c.id);
    let target = |c: &AuroraCluster| arn(world, "cluster", &format!("{}-green-a1b2c3", c.id));
    let mut found: Vec<&AuroraCluster> = world.clusters.iter().filter(|c| c.has_green).collect();
    if let Some(wanted) = params.get("BlueGreenDeploymentIdentifier") {
        found.retain(|c| id(c) == wanted);
        if found.is_empty() {
            let message = format!("Blue/Green Deployment {wanted} not found.");
            return Err(Refusal::new("BlueGreenDeploymentNotFoundFault", message).with_status(404));
        }
    }
    for (name, values) in params.filters("Filters.Filter", "Values.Value") {
        match name.as_str() {
            "blue-green-deployment-identifier" => found.retain(|c| values.contains(&id(c))),
            "blue-green-deployment-name" => found.retain(|c| values.contains(&c.id)),
            "source" => found.retain(|c| values.contains(&source(c))),
            "target" => found.retain(|c| values.contains(&target(c))),
            _ => return Err(unknown_filter(&name)),
        }
    }
    let page = params.page(found, &PAGES)?;
    Ok(Answer::looked(|x| {
        x.list("BlueGreenDeployments", "member", page.items, |x, c| {
            x.text("BlueGreenDeploymentIdentifier", id(c))
                .text("BlueGreenDeploymentName", &c.id)
                .text("Source", source(c))
                .text("Target", target(c))
                .text("Status", "AVAILABLE")
                .text("CreateTime", time(c.created));
        });
        x.maybe("Marker", page.next);
    }))
}

fn arn(world: &Physics, kind: &str, id: &str) -> String {
    format!("arn:aws:rds:{}:{}:{kind}:{id}", world.world.region, world.world.account)
}

/// An identifier parameter may also be an ARN.
fn identifier<'p>(params: &'p Params, name: &str) -> Option<&'p str> {
    params.get(name).map(|v| v.rsplit(':').next().unwrap_or(v))
}

fn unknown_filter(name: &str) -> Refusal {
    Refusal::new("InvalidParameterValue", format!("Unrecognized filter name: {name}"))
}

fn clusters(params: &Params, world: &Physics) -> Outcome {
    let mut found: Vec<&AuroraCluster> = world.clusters.iter().collect();
    if let Some(id) = identifier(params, "DBClusterIdentifier") {
        found.retain(|c| c.id == id);
        if found.is_empty() {
            let message = format!("DBCluster {id} not found.");
            return Err(Refusal::new("DBClusterNotFoundFault", message).with_status(404));
        }
    }
    for (name, values) in params.filters("Filters.Filter", "Values.Value") {
        match name.as_str() {
            "db-cluster-id" => found.retain(|c| values.iter().any(|v| v.rsplit(':').next() == Some(&c.id))),
            "engine" => found.retain(|_| values.iter().any(|v| v == ENGINE)),
            _ => return Err(unknown_filter(&name)),
        }
    }
    let page = params.page(found, &PAGES)?;
    Ok(Answer::looked(|x| {
        x.list("DBClusters", "DBCluster", page.items, |x, c| cluster(x, world, c));
        x.maybe("Marker", page.next);
    }))
}

/// As somebody would tag it who wants it found.
fn cluster_tags(world: &Physics, id: &str) -> Vec<(&'static str, String)> {
    let share = world.world.clusters.iter().find(|c| c.id == id).map(|c| c.customers_percent.to_string());
    let mut tags = vec![("firebreak", id.to_owned())];
    tags.extend(share.map(|share| ("firebreak:customers-percent", share)));
    tags
}

fn cluster(x: &mut Xml, world: &Physics, c: &AuroraCluster) {
    let mut zones: Vec<&str> = c.members.iter().map(|m| m.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    x.text("DBClusterIdentifier", &c.id)
        .text("DBClusterArn", arn(world, "cluster", &c.id))
        .text("DbClusterResourceId", format!("cluster-{}", c.id.to_uppercase().replace('-', "")))
        .text("Status", c.status())
        .text("Engine", ENGINE)
        .text("EngineVersion", ENGINE_VERSION)
        .text("EngineMode", "provisioned")
        .text("Endpoint", &c.endpoint)
        .text("ReaderEndpoint", &c.reader_endpoint)
        .text("Port", PORT)
        .text("MultiAZ", zones.len() > 1)
        .texts("AvailabilityZones", "AvailabilityZone", zones)
        .text("MasterUsername", "root")
        .text("DBClusterParameterGroup", "aurora-mysql8")
        .text("DBSubnetGroup", "databases")
        .text("BackupRetentionPeriod", 7)
        .text("PreferredBackupWindow", "04:10-04:40")
        .text("PreferredMaintenanceWindow", "sun:06:00-sun:06:30")
        .text("ClusterCreateTime", time(c.created))
        .text("StorageEncrypted", true)
        .text("DeletionProtection", true)
        .text("IAMDatabaseAuthenticationEnabled", false)
        .list("TagList", "Tag", cluster_tags(world, &c.id), |x, (key, value)| {
            x.text("Key", key).text("Value", value);
        })
        .list("DBClusterMembers", "DBClusterMember", c.members.iter().enumerate(), |x, (m, member)| {
            x.text("DBInstanceIdentifier", &member.id)
                .text("IsClusterWriter", m == c.writer)
                .text("DBClusterParameterGroupStatus", "in-sync")
                .text("PromotionTier", member.tier);
        });
}

fn instances(params: &Params, world: &Physics) -> Outcome {
    let members = |c: &'_ AuroraCluster| c.members.len();
    let mut found: Vec<(&AuroraCluster, usize)> =
        world.clusters.iter().flat_map(|c| (0..members(c)).map(move |m| (c, m))).collect();
    if let Some(id) = identifier(params, "DBInstanceIdentifier") {
        found.retain(|(c, m)| c.members[*m].id == id);
        if found.is_empty() {
            let message = format!("DBInstance {id} not found.");
            return Err(Refusal::new("DBInstanceNotFound", message).with_status(404));
        }
    }
    for (name, values) in params.filters("Filters.Filter", "Values.Value") {
        let named = |id: &str| values.iter().any(|v| v.rsplit(':').next() == Some(id));
        match name.as_str() {
            "db-cluster-id" => found.retain(|(c, _)| named(&c.id)),
            "db-instance-id" => found.retain(|(c, m)| named(&c.members[*m].id)),
            "engine" => found.retain(|_| named(ENGINE)),
            _ => return Err(unknown_filter(&name)),
        }
    }
    let page = params.page(found, &PAGES)?;
    Ok(Answer::looked(|x| {
        x.list("DBInstances", "DBInstance", page.items, |x, (c, m)| {
            instance(x, world, c, &c.members[m], c.member_status(m));
        });
        x.maybe("Marker", page.next);
    }))
}

fn instance(x: &mut Xml, world: &Physics, c: &AuroraCluster, m: &Member, status: &str) {
    x.text("DBInstanceIdentifier", &m.id)
        .text("DBInstanceArn", arn(world, "db", &m.id))
        .text("DbiResourceId", format!("db-{}", m.id.to_uppercase().replace('-', "")))
        .text("DBInstanceClass", &m.class)
        .text("DBInstanceStatus", status)
        .text("Engine", ENGINE)
        .text("EngineVersion", ENGINE_VERSION)
        .node("Endpoint", |x| {
            x.text("Address", &m.address).text("Port", PORT);
        })
        .text("InstanceCreateTime", time(c.created))
        .text("AvailabilityZone", &m.zone)
        .text("PreferredMaintenanceWindow", "sun:06:00-sun:06:30")
        .node("PendingModifiedValues", |x| {
            x.maybe("DBInstanceClass", m.pending_class());
        })
        .text("MultiAZ", false)
        .text("AutoMinorVersionUpgrade", false)
        .text("PubliclyAccessible", false)
        .text("StorageType", "aurora")
        .text("StorageEncrypted", true)
        .text("DBClusterIdentifier", &c.id)
        .list("DBParameterGroups", "DBParameterGroup", ["aurora-mysql8"], |x, name| {
            x.text("DBParameterGroupName", name).text("ParameterApplyStatus", "in-sync");
        })
        .text("PromotionTier", m.tier)
        .text("PerformanceInsightsEnabled", true);
}

fn events(params: &Params, world: &Physics) -> Outcome {
    let now = world.now();
    let minutes: i64 = params.parsed("Duration")?.unwrap_or(60);
    let end = params.parsed::<DateTime<Utc>>("EndTime")?.unwrap_or(now);
    let start = params.parsed::<DateTime<Utc>>("StartTime")?;
    let start = start.unwrap_or_else(|| end - TimeDelta::minutes(minutes.clamp(0, 14 * 24 * 60)));
    let categories = params.list("EventCategories.EventCategory");
    let (source, kind) = (params.get("SourceIdentifier"), params.get("SourceType"));
    if source.is_some() && kind.is_none() {
        let message = "SourceType must be supplied if SourceIdentifier is supplied";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    if let Some(kind) = kind.filter(|kind| !SOURCE_TYPES.contains(kind)) {
        let message = format!("Invalid value {kind} for SourceType");
        return Err(Refusal::new("InvalidParameterValue", message));
    }
    if start > end {
        let message = "The start time must not be after the end time";
        return Err(Refusal::new("InvalidParameterCombination", message));
    }
    let wanted = |e: &&RdsEvent| {
        (start..=end).contains(&e.at)
            && e.shown <= now
            && source.is_none_or(|s| s == e.source)
            && kind.is_none_or(|k| k == e.source_type)
            && (categories.is_empty() || e.categories.iter().any(|c| categories.iter().any(|w| w == c)))
    };
    let found: Vec<&RdsEvent> = world.events.iter().filter(wanted).collect();
    let page = params.page(found, &PAGES)?;
    Ok(Answer::looked(|x| {
        x.list("Events", "Event", page.items, |x, e| {
            let kind = if e.source_type == "db-cluster" { "cluster" } else { "db" };
            x.text("SourceIdentifier", &e.source)
                .text("SourceType", e.source_type)
                .text("Message", &e.message)
                .texts("EventCategories", "EventCategory", e.categories)
                .text("Date", time(e.at))
                .text("SourceArn", arn(world, kind, &e.source));
        });
        x.maybe("Marker", page.next);
    }))
}
