//! AWS clients, one set per region, built when a region is first needed.
//!
//! Credentials come from the SDK's default chain and are cached for all regions together. The SDK's retries are off for
//! every call: a retry is a new attempt that the engine journals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use domain::action::ActionError;
use domain::inventory::Inventory;

use crate::Settings;

/// Environment variables that say where real credentials are: an endpoint may also be one of AWS's own, inside a VPC.
const CREDENTIALS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// The AWS clients of this process, and what may be changed through them.
pub(crate) struct Aws {
    base: SdkConfig,
    regions: Mutex<HashMap<String, Clients>>,
    inventory: Arc<Inventory>,
}

/// The clients of one region; cheap to clone.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) autoscaling: aws_sdk_autoscaling::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) elbv2: aws_sdk_elasticloadbalancingv2::Client,
    pub(crate) rds: aws_sdk_rds::Client,
}

impl Aws {
    /// Reads the SDK's environment; calls nothing.
    pub(crate) async fn new(inventory: Arc<Inventory>, settings: &Settings) -> Self {
        // Credential providers want some region (for a regional STS); the first of the inventory is one that is used.
        let region = inventory
            .clusters
            .first()
            .map(|c| c.region.clone())
            .or_else(|| inventory.fleets.first().map(|f| f.region.clone()))
            .unwrap_or_else(|| "us-east-1".into());
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region))
            .http_client(http)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(Duration::from_secs(2)).build());
        if let Some(endpoint) = &settings.aws_endpoint {
            loader = loader.endpoint_url(endpoint);
            let given = CREDENTIALS.iter().any(|name| std::env::var_os(name).is_some());
            if settings.aws_static_credentials && !given {
                loader = loader.credentials_provider(Credentials::new(
                    "firebreak",
                    "firebreak",
                    None,
                    None,
                    "made up for the configured endpoint",
                ));
            }
        }
        Self { base: loader.load().await, regions: Mutex::default(), inventory }
    }

    /// The clients of a region.
    pub(crate) fn region(&self, region: &str) -> Clients {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = regions.get(region) {
            return clients.clone();
        }
        let config = self.base.to_builder().region(Region::new(region.to_owned())).build();
        let clients = Clients {
            autoscaling: aws_sdk_autoscaling::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            rds: aws_sdk_rds::Client::new(&config),
        };
        regions.insert(region.to_owned(), clients.clone());
        clients
    }

    /// Refuses to change a group that the inventory does not have.
    pub(crate) fn may_change_group(&self, region: &str, group: &str) -> Result<(), ActionError> {
        if self.inventory.fleets.iter().any(|f| f.region == region && f.group == group) {
            return Ok(());
        }
        Err(ActionError::refused(
            "not_in_inventory",
            format!(
                "The group {group} in {region} belongs to no fleet of the inventory, so it is not changed."
            ),
        )
        .remedy("add a fleet with this region and group to the inventory, or correct the runbook's input"))
    }

    /// Refuses to change a cluster that the inventory does not have.
    pub(crate) fn may_change_cluster(&self, region: &str, cluster: &str) -> Result<(), ActionError> {
        let known = |c: &domain::inventory::Cluster| {
            c.region == region && (c.id == cluster || c.rds_identifier() == cluster)
        };
        if self.inventory.clusters.iter().any(known) {
            return Ok(());
        }
        Err(ActionError::refused(
            "not_in_inventory",
            format!("The cluster {cluster} in {region} is not in the inventory, so it is not changed."),
        )
        .remedy("add it to the inventory, or correct the runbook's input"))
    }

    /// The DB cluster identifier at RDS, for an id of the inventory or an identifier as RDS knows it.
    pub(crate) fn cluster_identifier<'a>(&'a self, region: &str, cluster: &'a str) -> &'a str {
        match self.inventory.cluster(cluster) {
            Some(known) if known.region == region => known.rds_identifier(),
            _ => cluster,
        }
    }
}
