//! MySQL logins: the only honest test of a proxy's or a cluster's health.
//!
//! - [`wire`]: one connection by hand, so that each phase has its own deadline and its own kind of failure;
//! - [`failure`]: what went wrong, in kinds that tell a sick proxy from a wrong password;
//! - [`identity`]: which server answers, and whether it is read-only;
//! - [`LoginMatrix`]: every cluster, directly and through every host;
//! - [`ReplicaStatus`]: one instance, by its own endpoint.
//!
//! No TLS: it can be added once a cluster demands it (`require_secure_transport`), in [`wire`] alone.

mod failure;
mod identity;
mod matrix;
mod replica;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::action::ActionError;
use domain::inventory::{Cluster, Credentials, Inventory, ProxyFleet};
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use failure::{Failure, Kind};
pub(crate) use matrix::LoginMatrix;
pub(crate) use replica::ReplicaStatus;
pub(crate) use wire::{Connection, knock};

use crate::ProbeLimits;
use crate::secrets::{Secret, Secrets};

/// Knows the accounts, and bounds what all runs of this process do at once.
pub(crate) struct Prober {
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) limits: ProbeLimits,
    secrets: Secrets,
    total: Semaphore,
    per_cluster: HashMap<String, Semaphore>,
}

/// An account, ready for a login.
#[derive(Clone, Copy)]
pub(crate) struct Account<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a Secret,
}

impl Prober {
    pub(crate) fn new(inventory: Arc<Inventory>, secrets: Secrets, limits: ProbeLimits) -> Self {
        let per_cluster = inventory
            .clusters
            .iter()
            .map(|cluster| (cluster.id.clone(), Semaphore::new(limits.per_cluster.max(1))))
            .collect();
        Self { inventory, limits, secrets, total: Semaphore::new(limits.at_once.max(1)), per_cluster }
    }

    /// The fleet of that id.
    pub(crate) fn fleet(&self, id: &str) -> Result<&ProxyFleet, ActionError> {
        self.inventory.fleet(id).ok_or_else(|| {
            ActionError::refused("not_in_inventory", format!("The inventory has no fleet `{id}`.")).remedy(
                format!("name one of: {}", list(self.inventory.fleets.iter().map(|fleet| fleet.id.as_str()))),
            )
        })
    }

    /// The cluster of that id.
    fn cluster(&self, id: &str) -> Result<&Cluster, ActionError> {
        self.inventory.cluster(id).ok_or_else(|| {
            ActionError::refused("not_in_inventory", format!("The inventory has no cluster `{id}`.")).remedy(
                format!("name one of: {}", list(self.inventory.clusters.iter().map(|c| c.id.as_str()))),
            )
        })
    }

    /// An account of the inventory with its password.
    pub(crate) fn account<'a>(&'a self, credentials: &'a Credentials) -> Result<Account<'a>, ActionError> {
        match self.secrets.get(&credentials.password) {
            Some(password) => Ok(Account { user: &credentials.user, password }),
            None => Err(ActionError::refused(
                "no_password",
                format!("The password of `{}` was not read when Firebreak started.", credentials.user),
            )
            .remedy("restart Firebreak, so that it reads the passwords of the present inventory")),
        }
    }

    /// Waits for a turn to log in to a cluster. The turn ends when the permits are dropped.
    async fn turn(&self, cluster: &Cluster) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        // The cluster's turn first: whoever waits for it holds nothing that others need.
        let cluster = self.per_cluster.get(&cluster.id)?.acquire().await.ok()?;
        Some((cluster, self.total.acquire().await.ok()?))
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "(there is none)".into() } else { names.join(", ") }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
