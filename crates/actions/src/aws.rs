//! AWS clients, one set per session and region, built when a region is first needed.
//!
//! Credentials come from the SDK's default chain and are cached for all regions together. Where the inventory names accounts, they
//! only assume the account's roles: one session looks, another changes, so that a look cannot change anything whatever it asks. The SDK's retries are off for
//! every call: a retry is a new attempt that the engine journals.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use domain::action::ActionError;
use domain::inventory::{AssumedRole, Cluster, Inventory};

use crate::{Settings, SetupError, wall};

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
    /// With Firebreak's own credentials: where the inventory names no account.
    own: Arc<Session>,
    /// With roles, by account.
    accounts: HashMap<String, Roles>,
    inventory: Arc<Inventory>,
    /// For what is asked without the SDK.
    http: reqwest::Client,
}

/// The roles of an account.
struct Roles {
    observe: Arc<Session>,
    act: Arc<Session>,
}

/// Credentials, and the clients that use them.
pub(crate) struct Session {
    config: SdkConfig,
    regions: Mutex<HashMap<String, Clients>>,
    /// For what is asked without the SDK, which keeps its own.
    credentials: tokio::sync::Mutex<Option<Credentials>>,
}

/// What something is done for: it decides by which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To look.
    Observe,
    /// To change something.
    Act,
}

/// Credentials with less time left are got anew.
const FRESH: Duration = Duration::from_secs(300);
/// Sessions of roles are called so, for CloudTrail.
const SESSION: &str = "firebreak";

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
    pub(crate) async fn new(inventory: Arc<Inventory>, settings: &Settings) -> Result<Self, SetupError> {
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
        let base = loader.load().await;
        let mut accounts = HashMap::new();
        for account in &inventory.accounts {
            let roles = Roles {
                observe: assumed(&base, &account.observe).await,
                act: assumed(&base, &account.act).await,
            };
            accounts.insert(account.id.clone(), roles);
        }
        Ok(Self {
            own: Arc::new(Session::new(base)),
            accounts,
            inventory,
            http: crate::http::client().map_err(|e| SetupError::Http(e.to_string()))?,
        })
    }

    /// The client for what is asked without the SDK.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The clients for a group: of the account of its fleet.
    pub(crate) fn of_group(
        &self,
        region: &str,
        group: &str,
        purpose: Purpose,
    ) -> Result<Clients, ActionError> {
        let fleet = self.inventory.fleets.iter().find(|f| f.region == region && f.group == group);
        self.clients(region, fleet.and_then(|f| f.account.as_deref()), purpose)
    }

    /// The clients for a cluster, by its id in the inventory or as RDS knows it.
    pub(crate) fn of_cluster(
        &self,
        region: &str,
        cluster: &str,
        purpose: Purpose,
    ) -> Result<Clients, ActionError> {
        let meant = self.named(region, cluster);
        let account = meant.first().and_then(|c| c.account.as_deref());
        if meant.iter().any(|c| c.account.as_deref() != account) {
            let ids: Vec<&str> = meant.iter().map(|c| c.id.as_str()).collect();
            return Err(ActionError::refused(
                "which_account",
                format!(
                    "Several accounts have a cluster {cluster} in {region}, and nothing says which is meant."
                ),
            )
            .remedy(format!("name it by its id in the inventory, one of: {}", ids.join(", "))));
        }
        self.clients(region, account, purpose)
    }

    /// The clusters that a name may mean: the one with that id; else those that RDS knows by it, of which each account may have
    /// one. An id comes first, because only it means one cluster.
    fn named(&self, region: &str, name: &str) -> Vec<&Cluster> {
        match self.inventory.cluster(name).filter(|c| c.region == region) {
            Some(cluster) => vec![cluster],
            None => {
                let clusters = self.inventory.clusters.iter();
                clusters.filter(|c| c.region == region && c.rds_identifier() == name).collect()
            }
        }
    }

    /// The clients for looking at what an ARN names.
    pub(crate) fn of_arn(&self, region: &str, arn: &str) -> Result<Clients, ActionError> {
        let number = arn.split(':').nth(4);
        let account = self.inventory.accounts.iter().find(|a| number.is_some() && a.number() == number);
        self.clients(region, account.map(|a| a.id.as_str()), Purpose::Observe)
    }

    /// The clients for looking around in a region.
    pub(crate) fn around(&self, region: &str, account: Option<&str>) -> Result<Clients, ActionError> {
        self.clients(region, account, Purpose::Observe)
    }

    fn clients(&self, region: &str, account: Option<&str>, purpose: Purpose) -> Result<Clients, ActionError> {
        Ok(self.session(region, account, purpose)?.region(region))
    }

    /// The session for a region of an account; where it is not said which, for the one that the region is used in.
    pub(crate) fn session(
        &self,
        region: &str,
        account: Option<&str>,
        purpose: Purpose,
    ) -> Result<Arc<Session>, ActionError> {
        let account = match account {
            Some(account) => account,
            None if self.accounts.is_empty() => return Ok(Arc::clone(&self.own)),
            None => self.only_account(region)?,
        };
        let roles = self.accounts.get(account).ok_or_else(|| {
            let known = self.inventory.accounts.iter().map(|a| a.id.as_str()).collect::<Vec<_>>().join(", ");
            ActionError::refused(
                "not_in_inventory",
                format!("The inventory has no account `{account}`; it has: {known}."),
            )
            .remedy("add it under accounts, or correct the step's `account`")
        })?;
        Ok(Arc::clone(match purpose {
            Purpose::Observe => &roles.observe,
            Purpose::Act => &roles.act,
        }))
    }

    /// The account of everything that the inventory has in a region.
    fn only_account(&self, region: &str) -> Result<&str, ActionError> {
        let Inventory { clusters, fleets, .. } = &*self.inventory;
        let clusters = clusters.iter().filter(|c| c.region == region).filter_map(|c| c.account.as_deref());
        let fleets = fleets.iter().filter(|f| f.region == region).filter_map(|f| f.account.as_deref());
        let found: BTreeSet<&str> = clusters.chain(fleets).collect();
        match (found.first(), found.len()) {
            (Some(only), 1) => Ok(only),
            _ => Err(ActionError::refused(
                "which_account",
                format!(
                    "The inventory has {} accounts in {region}, and nothing says which is meant.",
                    found.len()
                ),
            )
            .remedy("name one in the step's `with:`, such as `account: \"${inputs.cluster.account}\"`")),
        }
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
        if !self.named(region, cluster).is_empty() {
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
        self.named(region, cluster).first().map_or(cluster, |known| known.rds_identifier())
    }
}

impl Session {
    fn new(config: SdkConfig) -> Self {
        Self { config, regions: Mutex::default(), credentials: tokio::sync::Mutex::default() }
    }

    /// The clients of a region.
    fn region(&self, region: &str) -> Clients {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = regions.get(region) {
            return clients.clone();
        }
        let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
        let clients = Clients {
            autoscaling: aws_sdk_autoscaling::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            rds: aws_sdk_rds::Client::new(&config),
        };
        regions.insert(region.to_owned(), clients.clone());
        clients
    }

    /// Where a service listens in a region.
    pub(crate) fn endpoint(&self, service: &str, region: &str) -> String {
        let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
        match self.config.endpoint_url() {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://{service}.{region}.amazonaws.com{suffix}/"),
        }
    }

    /// Credentials to sign with.
    pub(crate) async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        let mut kept = self.credentials.lock().await;
        if let Some(credentials) = kept.as_ref().filter(|c| fresh(c)) {
            return Ok(credentials.clone());
        }
        let provider = self
            .config
            .credentials_provider()
            .ok_or_else(|| CredentialsError::not_loaded("there is no provider of credentials"))?;
        Ok(kept.insert(provider.provide_credentials().await?).clone())
    }
}

/// A session of a role, assumed with Firebreak's own credentials when it is first used; the SDK keeps it until it is about to end.
async fn assumed(base: &SdkConfig, role: &AssumedRole) -> Arc<Session> {
    let mut builder = AssumeRoleProvider::builder(&role.arn).session_name(SESSION).configure(base);
    if let Some(id) = &role.external_id {
        builder = builder.external_id(id);
    }
    let provider = SharedCredentialsProvider::new(builder.build().await);
    Arc::new(Session::new(base.to_builder().credentials_provider(provider).build()))
}

fn fresh(credentials: &Credentials) -> bool {
    credentials.expiry().is_none_or(|end| end > wall::now() + FRESH)
}
