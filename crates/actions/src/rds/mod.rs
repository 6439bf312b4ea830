//! RDS: a cluster and its members; what happened to it; handing the writer's part to another instance; changing instances.

mod blue_green;
mod class;
mod events;
mod failover;
mod modify;
mod orderable;
mod tier;

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_rds::types::{DbCluster, DbInstance, Filter};
use domain::action::{ActionError, Ctx, ErrorClass, ForeignWork, Observe, Registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

const SERVICE: &str = "rds";

/// Adds the actions of this service.
pub(crate) fn register(registry: Registry, aws: &Arc<Aws>) -> Registry {
    registry
        .observing(DescribeCluster(Arc::clone(aws)))
        .observing(events::ClusterEvents(Arc::clone(aws)))
        .changing(failover::FailOver(Arc::clone(aws)))
        .observing(blue_green::BlueGreen(Arc::clone(aws)))
        .observing(orderable::OrderableZones(Arc::clone(aws)))
        .changing(modify::ModifyClass(Arc::clone(aws)))
        .changing(tier::SetTier(Arc::clone(aws)))
}

/// `rds.describe_cluster`.
struct DescribeCluster(Arc<Aws>);

/// Which cluster.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClusterInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The cluster, by its id in the inventory or its DB cluster identifier.
    #[serde(deserialize_with = "input::name")]
    cluster: String,
}

/// A cluster at one moment.
#[derive(Debug, Serialize, JsonSchema)]
struct Cluster {
    /// DB cluster identifier.
    id: String,
    /// `available`, `failing-over`, `modifying`, …; it lags behind what the cluster really does.
    status: String,
    /// Host name of the writer endpoint.
    endpoint: String,
    /// Host name of the reader endpoint; empty when there is none.
    reader_endpoint: String,
    /// MySQL port.
    port: i32,
    /// Engine version, such as `8.0.mysql_aurora.3.07.1`.
    engine_version: String,
    /// DB instance identifier of the writer; null while there is none.
    writer: Option<String>,
    /// Its instances, writer first, then by promotion tier.
    members: Vec<Member>,
}

/// An instance of a cluster.
#[derive(Debug, Serialize, JsonSchema)]
struct Member {
    /// DB instance identifier.
    id: String,
    /// The writer?
    writer: bool,
    /// Promotion tier, 0 (first choice) to 15.
    tier: i32,
    /// Instance status, such as `available`; empty when RDS does not list the instance.
    status: String,
    /// Instance class, such as `db.r6i.8xlarge`.
    class: String,
    /// Size of the class within its family, in units of `xlarge`: 12 for `db.r6i.12xlarge`, 0.5 for `large`; 0 when unknown.
    size: f64,
    /// Memory of the class in GiB, by AWS's table; 0 when unknown.
    memory_gib: f64,
    /// Host name of its own endpoint; empty while it has none.
    endpoint: String,
    /// Availability zone.
    az: String,
    /// The class that waits to be applied to it; null when none does.
    pending_class: Option<String>,
    /// What waits to be applied to it: attributes with pending values, and `parameter group` when only a reboot applies it.
    pending: Vec<String>,
}

/// The promotion tier of an instance that was given none.
const DEFAULT_TIER: i32 = 1;

impl Observe for DescribeCluster {
    const NAME: &'static str = "rds.describe_cluster";
    const SUMMARY: &'static str = "Status, endpoints, writer and members of an Aurora cluster";
    const PERMISSIONS: &'static [&'static str] = &["rds:DescribeDBClusters", "rds:DescribeDBInstances"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local id found instances
  id=$(jq -r --arg id "$cluster" '[.clusters[] | select(.id == $id).identifier][0] // $id' <<<"$inventory") || return
  found=$(aws rds describe-db-clusters --region "$region" --db-cluster-identifier "$id" --query 'DBClusters[0]' --output json) || return
  instances=$(aws rds describe-db-instances --region "$region" --filters "Name=db-cluster-id,Values=$id" --output json) || return
  jq -c --argjson instances "$instances" '
    def size: split(".")[-1] | { medium: 0.25, large: 0.5, xlarge: 1 }[.] // (capture("^(?<n>[0-9]+)xlarge$").n | tonumber)? // 0;
    def memory: size * ({ r4: 30.5, r5: 32, r6g: 32, r6i: 32, r7g: 32, r7i: 32, r8g: 32, x2g: 64, t3: 16, t4g: 16 }[split(".")[1] // ""] // 0);
    def pending: [(.PendingModifiedValues // {}) | (select(.DBInstanceClass) | "class"), (select(.DBInstanceIdentifier) | "identifier"),
        (select(.EngineVersion) | "engine version"), (select(.Port) | "port"), (select(.MasterUserPassword) | "password"),
        (select(.CACertificateIdentifier) | "certificate")] +
      (if any(.DBParameterGroups[]?; (.ParameterApplyStatus // "in-sync") != "in-sync") then ["parameter group"] else [] end);
    ([.DBClusterMembers[] | .DBInstanceIdentifier as $id |
      ([$instances.DBInstances[] | select(.DBInstanceIdentifier == $id)][0] // {}) as $detail | {
        id: $id, writer: .IsClusterWriter, tier: (.PromotionTier // 1), status: ($detail.DBInstanceStatus // ""),
        class: ($detail.DBInstanceClass // ""), size: ($detail.DBInstanceClass // "" | size),
        memory_gib: ($detail.DBInstanceClass // "" | memory), endpoint: ($detail.Endpoint.Address // ""),
        pending_class: $detail.PendingModifiedValues.DBInstanceClass,
        az: ($detail.AvailabilityZone // ""), pending: ($detail | pending)
      }] | sort_by([(.writer | not), .tier, .id])) as $members | {
      id: .DBClusterIdentifier, status: .Status, endpoint: .Endpoint, reader_endpoint: (.ReaderEndpoint // ""), port: .Port,
      engine_version: .EngineVersion, writer: [$members[] | select(.writer).id][0], members: $members
    }' <<<"$found"
"#,
    );
    type Input = ClusterInput;
    type Output = Cluster;

    async fn observe(&self, ctx: &Ctx, input: &ClusterInput) -> Result<Cluster, ActionError> {
        let calls = Calls::new(ctx);
        let cluster = cluster(&self.0, &calls, &input.region, &input.cluster).await?;
        let instances = instances(&self.0, &calls, &input.region, &input.cluster).await?;
        let details: HashMap<&str, &DbInstance> = instances
            .iter()
            .filter_map(|instance| Some((instance.db_instance_identifier()?, instance)))
            .collect();
        let mut members: Vec<Member> = cluster
            .db_cluster_members()
            .iter()
            .map(|member| {
                let id = member.db_instance_identifier().unwrap_or_default();
                let detail = details.get(id);
                let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
                Member {
                    id: id.to_owned(),
                    writer: member.is_cluster_writer().unwrap_or_default(),
                    tier: member.promotion_tier().unwrap_or(DEFAULT_TIER),
                    status: text(detail.and_then(|d| d.db_instance_status())),
                    class: text(detail.and_then(|d| d.db_instance_class())),
                    size: detail.and_then(|d| d.db_instance_class()).map_or(0.0, class::size),
                    memory_gib: detail.and_then(|d| d.db_instance_class()).map_or(0.0, class::memory_gib),
                    endpoint: text(detail.and_then(|d| d.endpoint()).and_then(|e| e.address())),
                    pending_class: detail.and_then(|d| pending_class(d)),
                    pending: detail.map_or_else(Vec::new, |d| pending(d)),
                    az: text(detail.and_then(|d| d.availability_zone())),
                }
            })
            .collect();
        members.sort_by(|a, b| (!a.writer, a.tier, &a.id).cmp(&(!b.writer, b.tier, &b.id)));
        Ok(Cluster {
            id: cluster.db_cluster_identifier().unwrap_or_default().to_owned(),
            status: cluster.status().unwrap_or_default().to_owned(),
            endpoint: cluster.endpoint().unwrap_or_default().to_owned(),
            reader_endpoint: cluster.reader_endpoint().unwrap_or_default().to_owned(),
            port: cluster.port().unwrap_or_default(),
            engine_version: cluster.engine_version().unwrap_or_default().to_owned(),
            writer: members.iter().find(|member| member.writer).map(|member| member.id.clone()),
            members,
        })
    }

    /// Whatever is not `available` is being changed: by somebody, or by RDS itself.
    fn foreign(output: &Value) -> Vec<ForeignWork> {
        let text = |field: &str| output.get(field).and_then(Value::as_str).unwrap_or("?");
        match text("status") {
            "available" => Vec::new(),
            status => vec![ForeignWork {
                object: format!("DB cluster {}", text("id")),
                what: format!("its status is {status}"),
            }],
        }
    }

    fn command(&self, input: &ClusterInput) -> String {
        let id = self.0.cluster_identifier(&input.region, &input.cluster);
        Command::aws("rds describe-db-clusters", &input.region).option("--db-cluster-identifier", id).line()
    }
}

/// Looks at one cluster, by its name as steps give it: that name, not the identifier at RDS, says in which account it is.
async fn cluster(aws: &Aws, calls: &Calls<'_>, region: &str, name: &str) -> Result<DbCluster, ActionError> {
    let client = aws.of_cluster(region, name, Purpose::Observe)?.rds;
    let id = aws.cluster_identifier(region, name);
    let found = calls
        .look(SERVICE, "DescribeDBClusters", id, |gate| {
            client.describe_db_clusters().db_cluster_identifier(id).customize().interceptor(gate).send()
        })
        .await?;
    found.db_clusters.unwrap_or_default().into_iter().next().ok_or_else(|| {
        let message = format!("There is no DB cluster {id} in {region}.");
        ActionError::new(ErrorClass::Gone, "DBClusterNotFoundFault", message)
    })
}

/// Looks at the instances of one cluster, by its name as steps give it.
async fn instances(
    aws: &Aws,
    calls: &Calls<'_>,
    region: &str,
    name: &str,
) -> Result<Vec<DbInstance>, ActionError> {
    let client = aws.of_cluster(region, name, Purpose::Observe)?.rds;
    let id = aws.cluster_identifier(region, name);
    let filter = Filter::builder().name("db-cluster-id").values(id).build();
    let found = calls
        .look(SERVICE, "DescribeDBInstances", id, |gate| {
            client.describe_db_instances().filters(filter).customize().interceptor(gate).send()
        })
        .await?;
    Ok(found.db_instances.unwrap_or_default())
}

fn pending_class(instance: &DbInstance) -> Option<String> {
    instance.pending_modified_values()?.db_instance_class().map(str::to_owned)
}

/// What waits to be applied to an instance.
fn pending(instance: &DbInstance) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(pending) = instance.pending_modified_values() {
        let mut note = |is: bool, what: &str| {
            if is {
                found.push(what.to_owned());
            }
        };
        note(pending.db_instance_class().is_some(), "class");
        note(pending.db_instance_identifier().is_some(), "identifier");
        note(pending.engine_version().is_some(), "engine version");
        note(pending.port().is_some(), "port");
        note(pending.master_user_password().is_some(), "password");
        note(pending.ca_certificate_identifier().is_some(), "certificate");
    }
    let applied = |status: Option<&str>| status.is_none_or(|status| status == "in-sync");
    if instance.db_parameter_groups().iter().any(|group| !applied(group.parameter_apply_status())) {
        found.push("parameter group".into());
    }
    found
}
