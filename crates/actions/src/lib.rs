//! Everything Firebreak asks of, or does to, the outside: one file per service.
//!
//! ```text
//!  Registry ──▶ action ──▶ aws: one client per region ──▶ gate, deadline ──▶ ONE call ──▶ call record
//!                      ──▶ mysql: a login by hand, each phase with a deadline of its own
//!                      ──▶ metrics: Prometheus · cloudwatch: signed by hand
//!                      ──▶ webhook: signed calls to places of your own · statuspage
//!  Channels ──▶ notify: Slack, mail, webhooks, PagerDuty · slack: runs as messages, and answers to people
//!  fetch: one GET, for hooks · provider: where people sign in · discover: what accounts and regions hold, for the inventory
//! ```
//!
//! An action here says what it sees, or makes exactly one mutating call. It never retries, never waits and never decides
//! what follows: the engine does, from the error's class. It never widens a target: an empty set is refused, and a group
//! that the inventory does not have is never changed.
//!
//! Deliberately absent: retries of the SDK (a retry is a new, journaled attempt), TLS to MySQL, anything that pretends
//! to be the outside (that is the simulator's).

mod autoscaling;
mod aws;
mod calls;
mod cloudwatch;
mod departure;
mod discover;
mod ec2;
mod elbv2;
mod errors;
mod fetch;
mod http;
mod input;
mod metrics;
mod mysql;
pub mod notify;
mod provider;
mod proxysql;
mod rds;
pub mod secrets;
mod shell;
pub mod slack;
mod statuspage;
mod wall;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::action::Registry;
use domain::inventory::Inventory;

pub use discover::{DiscoverError, discover};
pub use fetch::fetch;
pub use provider::provider;
pub use statuspage::Statuspage;
pub use webhook::Webhook;

use aws::Aws;
use mysql::Prober;
use secrets::{MissingSecrets, Secrets};

/// How the outside is reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One endpoint for all AWS services (the simulator, or an emulator); AWS itself when absent.
    pub aws_endpoint: Option<String>,
    /// With an endpoint, and with nothing in the environment that leads to credentials: sign with made-up keys.
    pub aws_static_credentials: bool,
    /// Base URL of Prometheus, such as `http://prometheus:9090`; without one `metrics.query` is refused.
    pub prometheus: Option<String>,
    /// Places that take signed calls, by the names that runbooks use.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Where customers are told; without one the actions of Statuspage are refused.
    pub statuspage: Option<Statuspage>,
    /// Bounds of the MySQL logins.
    pub probe: ProbeLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            aws_endpoint: None,
            aws_static_credentials: true,
            prometheus: None,
            webhooks: BTreeMap::new(),
            statuspage: None,
            probe: ProbeLimits::default(),
        }
    }
}

/// Bounds of the MySQL logins: wall time of each phase, and how many go on at once.
///
/// Phases have their own deadlines because a hung ProxySQL still accepts TCP (the kernel does) and never greets, and
/// because a healthy login through a proxy says nothing about the cluster behind it before a query was answered.
#[derive(Debug, Clone, Copy)]
pub struct ProbeLimits {
    /// For the TCP connection, and once more for the server's greeting.
    pub connect: Duration,
    /// For the handshake after the greeting.
    pub login: Duration,
    /// For the one query.
    pub query: Duration,
    /// Logins under way at once, over all runs of this process.
    pub at_once: usize,
    /// Logins under way at once to one cluster, so that a probe is never the storm that it looks for.
    pub per_cluster: usize,
}

impl Default for ProbeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            login: Duration::from_secs(2),
            query: Duration::from_secs(3),
            at_once: 16,
            per_cluster: 4,
        }
    }
}

/// Why the actions could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Passwords that the inventory refers to are not there.
    #[error(transparent)]
    Secrets(#[from] MissingSecrets),
    /// A webhook of the configuration is none.
    #[error("the webhook `{name}`: {reason}")]
    Webhook {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The Statuspage of the configuration is none.
    #[error("statuspage: {0}")]
    Statuspage(String),
    /// No HTTP client could be built.
    #[error("the HTTP client: {0}")]
    Http(String),
    /// The HTTP client for Prometheus could not be built, or its address is not a URL.
    #[error("Prometheus at {url}: {reason}")]
    Prometheus {
        /// The address as configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// All actions, ready to use: secrets are read, clients are set up; nothing is called yet.
pub async fn registry(inventory: Arc<Inventory>, settings: Settings) -> Result<Registry, SetupError> {
    let secrets = secrets::resolve(&inventory, &settings)?;
    with(inventory, secrets, settings).await
}

/// All actions, for what they say of themselves and for the commands they write: without a secret, and nothing is called.
pub async fn described(inventory: Arc<Inventory>, settings: Settings) -> Result<Registry, SetupError> {
    with(inventory, Secrets::default(), settings).await
}

async fn with(
    inventory: Arc<Inventory>,
    secrets: Secrets,
    settings: Settings,
) -> Result<Registry, SetupError> {
    // Whoever comes first decides the process's TLS provider; all of ours bring ring, so a second time is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let aws = Arc::new(Aws::new(Arc::clone(&inventory), &settings).await?);
    let webhooks = webhook::Webhooks::new(&settings.webhooks, &secrets)?;
    let page = statuspage::Page::new(settings.statuspage.as_ref(), &secrets)?;
    let prober = Arc::new(Prober::new(inventory, secrets, settings.probe));
    let metrics = metrics::Prometheus::new(settings.prometheus.as_deref())?;

    let mut registry = Registry::default();
    registry = autoscaling::register(registry, &aws);
    registry = registry
        .observing(ec2::DescribeInstances(Arc::clone(&aws)))
        .observing(elbv2::TargetHealth(Arc::clone(&aws)))
        .observing(metrics::Query(metrics));
    registry = cloudwatch::register(registry, &aws);
    registry = rds::register(registry, &aws);
    registry = registry
        .changing(statuspage::PostIncident(Arc::clone(&page)))
        .changing(statuspage::Update(page))
        .changing(webhook::Send(webhooks));
    registry = registry
        .observing(mysql::LoginMatrix(Arc::clone(&prober)))
        .observing(mysql::ReplicaStatus(Arc::clone(&prober)));
    Ok(proxysql::register(registry, &aws, &prober))
}
