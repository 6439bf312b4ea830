//! RDS: a cluster and its members.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_rds::types::{DbInstance, Filter};
use domain::action::{ActionError, Ctx, ErrorClass, ForeignWork, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aws::Aws;
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

const SERVICE: &str = "rds";

/// `rds.describe_cluster`.
pub(crate) struct DescribeCluster(pub(crate) Arc<Aws>);

/// Which cluster.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The cluster, by its id in the inventory or its DB cluster identifier.
    #[serde(deserialize_with = "input::name")]
    cluster: String,
}

/// A cluster at one moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Cluster {
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
    /// Availability zone.
    az: String,
}

/// The promotion tier of an instance that was given none.
const DEFAULT_TIER: i32 = 1;

impl Observe for DescribeCluster {
    const NAME: &'static str = "rds.describe_cluster";
    const SUMMARY: &'static str = "Status, endpoints, writer and members of an Aurora cluster";
    const PERMISSIONS: &'static [&'static str] = &["rds:DescribeDBClusters", "rds:DescribeDBInstances"];
    type Input = ClusterInput;
    type Output = Cluster;

    async fn observe(&self, ctx: &Ctx, input: &ClusterInput) -> Result<Cluster, ActionError> {
        let (client, calls) = (self.0.region(&input.region).rds, Calls::new(ctx));
        let id = self.0.cluster_identifier(&input.region, &input.cluster);
        let clusters = calls
            .look(SERVICE, "DescribeDBClusters", id, |gate| {
                client.describe_db_clusters().db_cluster_identifier(id).customize().interceptor(gate).send()
            })
            .await?;
        let Some(cluster) = clusters.db_clusters().first() else {
            return Err(ActionError::new(
                ErrorClass::Gone,
                "DBClusterNotFoundFault",
                format!("There is no DB cluster {id} in {}.", input.region),
            ));
        };
        let filter = Filter::builder().name("db-cluster-id").values(id).build();
        let instances = calls
            .look(SERVICE, "DescribeDBInstances", id, |gate| {
                client.describe_db_instances().filters(filter).customize().interceptor(gate).send()
            })
            .await?;
        let details: HashMap<&str, &DbInstance> = instances
            .db_instances()
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
