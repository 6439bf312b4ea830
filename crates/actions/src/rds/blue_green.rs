//! `rds.blue_green_deployments`: the blue/green deployments that a cluster is a side of.
//!
//! While one is not switched over, the cluster is `available` like any other, and nothing in its description tells of it. What is changed
//! on the blue side then is lost with the switchover, and a failover there cuts what the green side replicates from.

use std::sync::Arc;

use aws_sdk_rds::types::BlueGreenDeployment;
use domain::action::{ActionError, Ctx, Observe};
use schemars::JsonSchema;
use serde::Serialize;

use super::{ClusterInput, SERVICE};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::shell::Command;

/// `rds.blue_green_deployments`.
pub(super) struct BlueGreen(pub(super) Arc<Aws>);

/// Those of one cluster.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deployments {
    /// Those that are under way: not switched over, and not being deleted.
    active: Vec<Deployment>,
}

/// One of them.
#[derive(Debug, Serialize, JsonSchema)]
struct Deployment {
    /// Its identifier, such as `bgd-…`.
    id: String,
    /// Its name.
    name: String,
    /// `PROVISIONING`, `AVAILABLE`, `SWITCHOVER_IN_PROGRESS`, `SWITCHOVER_FAILED`, `INVALID_CONFIGURATION`.
    status: String,
    /// The side that the cluster is: `blue` (what clients use until the switchover) or `green`.
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Side {
    Blue,
    Green,
}

/// RDS tells at most so many at a time.
const PAGE: i32 = 100;
/// What is left of a deployment after its switchover, and one that is on its way out.
const OVER: [&str; 2] = ["SWITCHOVER_COMPLETED", "DELETING"];

impl Deployment {
    /// If it is under way, and the cluster is a side of it. Names would do for no filter of RDS: it wants the ARN.
    fn of(found: &BlueGreenDeployment, cluster: &str) -> Option<Self> {
        let names = |arn: Option<&str>| {
            arn.is_some_and(|arn| arn.contains(":cluster:") && arn.rsplit(':').next() == Some(cluster))
        };
        let side = match found {
            _ if names(found.source()) => Side::Blue,
            _ if names(found.target()) => Side::Green,
            _ => return None,
        };
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let status = text(found.status());
        (!OVER.contains(&status.as_str())).then(|| Self {
            id: text(found.blue_green_deployment_identifier()),
            name: text(found.blue_green_deployment_name()),
            status,
            side,
        })
    }
}

impl Observe for BlueGreen {
    const NAME: &'static str = "rds.blue_green_deployments";
    const SUMMARY: &'static str = "Blue/green deployments under way that a cluster is a side of";
    const PERMISSIONS: &'static [&'static str] = &["rds:DescribeBlueGreenDeployments"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local id
  id=$(jq -r --arg id "$cluster" '[.clusters[] | select(.id == $id).identifier][0] // $id' <<<"$inventory") || return
  aws rds describe-blue-green-deployments --region "$region" --output json |
    jq -c --arg id "$id" '
      def names: . != null and contains(":cluster:") and (split(":")[-1] == $id);
      { active: [.BlueGreenDeployments[] | select(.Status != "SWITCHOVER_COMPLETED" and .Status != "DELETING") |
        select((.Source | names) or (.Target | names)) | {
          id: .BlueGreenDeploymentIdentifier, name: .BlueGreenDeploymentName, status: .Status,
          side: (if .Source | names then "blue" else "green" end)
        }] }'
"#,
    );
    type Input = ClusterInput;
    type Output = Deployments;

    async fn observe(&self, ctx: &Ctx, input: &ClusterInput) -> Result<Deployments, ActionError> {
        let client = self.0.of_cluster(&input.region, &input.cluster, Purpose::Observe)?.rds;
        let id = self.0.cluster_identifier(&input.region, &input.cluster);
        let calls = Calls::new(ctx);
        let (mut active, mut marker) = (Vec::new(), None);
        loop {
            let page = calls
                .look(SERVICE, "DescribeBlueGreenDeployments", id, |gate| {
                    client
                        .describe_blue_green_deployments()
                        .max_records(PAGE)
                        .set_marker(marker.take())
                        .customize()
                        .interceptor(gate)
                        .send()
                })
                .await?;
            active.extend(page.blue_green_deployments().iter().filter_map(|d| Deployment::of(d, id)));
            marker = page.marker;
            if marker.is_none() {
                break;
            }
        }
        Ok(Deployments { active })
    }

    fn command(&self, input: &ClusterInput) -> String {
        Command::aws("rds describe-blue-green-deployments", &input.region).line()
    }
}
