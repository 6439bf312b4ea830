//! On which resources AWS authorizes an IAM action, and their ARNs.
//!
//! From the Service Authorization Reference, where it says that a resource type is required or may be given. A listing
//! that is filtered rather than named is authorized on all of its kind.

use std::collections::BTreeSet;

use crate::inventory::Inventory;

/// What an IAM action is authorized on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    /// AWS knows no resource for it: `*`.
    Any,
    /// The Auto Scaling groups of the fleets.
    Groups,
    /// The DB clusters.
    Clusters,
    /// DB instances. The inventory names none: they come and go.
    Instances,
}

impl Resource {
    /// `None` for an action that nobody has looked up.
    pub(super) fn of(action: &str) -> Option<Self> {
        Some(match action {
            "autoscaling:DescribeAutoScalingGroups"
            | "autoscaling:DescribeInstanceRefreshes"
            | "autoscaling:DescribeLifecycleHooks"
            | "autoscaling:DescribeScalingActivities"
            // Allowed on less than everything, it tells of no composite alarm, and says nothing of that.
            | "cloudwatch:DescribeAlarms"
            | "cloudwatch:GetMetricData"
            | "cloudwatch:GetMetricStatistics"
            | "ec2:DescribeInstances"
            | "elasticloadbalancing:DescribeTargetGroupAttributes"
            | "elasticloadbalancing:DescribeTargetHealth"
            // Its resource would be the deployment, and whether there is one is what is asked.
            | "rds:DescribeBlueGreenDeployments"
            | "rds:DescribeEvents"
            | "rds:DescribeOrderableDBInstanceOptions" => Self::Any,
            "autoscaling:CancelInstanceRefresh"
            | "autoscaling:LaunchInstances"
            | "autoscaling:ResumeProcesses"
            | "autoscaling:SetDesiredCapacity"
            | "autoscaling:SetInstanceProtection"
            | "autoscaling:StartInstanceRefresh"
            | "autoscaling:SuspendProcesses"
            | "autoscaling:TerminateInstanceInAutoScalingGroup"
            | "autoscaling:UpdateAutoScalingGroup" => Self::Groups,
            "rds:DescribeDBClusters" | "rds:FailoverDBCluster" | "rds:ModifyDBCluster" => Self::Clusters,
            "rds:DescribeDBInstances"
            | "rds:DescribeValidDBInstanceModifications"
            | "rds:ModifyDBInstance"
            | "rds:RebootDBInstance" => Self::Instances,
            _ => return None,
        })
    }

    /// As a part of a `Sid`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Groups => "Groups",
            Self::Clusters => "Clusters",
            Self::Instances => "Instances",
        }
    }
}

/// The ARNs of what the inventory has.
pub(super) struct Arns<'a> {
    inventory: Option<&'a Inventory>,
    account: Option<&'a str>,
}

impl<'a> Arns<'a> {
    pub(super) fn new(inventory: Option<&'a Inventory>) -> Self {
        // arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/…: all of an inventory is in one account.
        let of_target_group = |inventory: &'a Inventory| {
            let mut arns = inventory.fleets.iter().filter_map(|fleet| fleet.target_group.as_deref());
            arns.find_map(|arn| arn.split(':').nth(4)).filter(|account| !account.is_empty())
        };
        let account = inventory.and_then(|i| i.account.as_deref().or_else(|| of_target_group(i)));
        Self { inventory, account }
    }

    /// The ARNs of all resources of a kind, each once.
    pub(super) fn of(&self, resource: Resource) -> Vec<String> {
        if resource == Resource::Any {
            return vec!["*".into()];
        }
        let Some(inventory) = self.inventory else { return vec![self.arn(resource, "*", "*")] };
        let clusters = || inventory.clusters.iter();
        let found: BTreeSet<String> = match resource {
            Resource::Any => BTreeSet::new(),
            Resource::Groups => {
                inventory.fleets.iter().map(|f| self.arn(resource, &f.region, &f.group)).collect()
            }
            Resource::Clusters => {
                clusters().map(|c| self.arn(resource, &c.region, c.rds_identifier())).collect()
            }
            Resource::Instances => clusters().map(|c| self.arn(resource, &c.region, "*")).collect(),
        };
        found.into_iter().collect()
    }

    /// The regions of the inventory, each once; `None` without an inventory.
    pub(super) fn regions(&self) -> Option<Vec<String>> {
        let inventory = self.inventory?;
        let (clusters, fleets) = (inventory.clusters.iter(), inventory.fleets.iter());
        let regions: BTreeSet<&str> =
            clusters.map(|c| c.region.as_str()).chain(fleets.map(|f| f.region.as_str())).collect();
        Some(regions.into_iter().map(str::to_owned).collect())
    }

    /// Where the ARNs are wider than they need be.
    pub(super) fn note(&self) -> Option<String> {
        match (self.inventory, self.account) {
            (None, _) => Some(
                "there is no inventory, so everything of a kind is allowed; --config names the one that limits it".into(),
            ),
            (Some(_), None) => {
                Some("the ARNs leave the account open; name it in the inventory: `account: \"111122223333\"`".into())
            }
            (Some(_), Some(_)) => None,
        }
    }

    fn arn(&self, resource: Resource, region: &str, name: &str) -> String {
        let (partition, account) = (partition(region), self.account.unwrap_or("*"));
        match resource {
            Resource::Any => "*".into(),
            // The group's own id, which only AWS knows, stands before its name.
            Resource::Groups => format!(
                "arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{name}"
            ),
            Resource::Clusters => format!("arn:{partition}:rds:{region}:{account}:cluster:{name}"),
            Resource::Instances => format!("arn:{partition}:rds:{region}:{account}:db:{name}"),
        }
    }
}

/// The part of AWS that a region belongs to.
fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}
