//! Looks through whole accounts and regions for what the inventory should have; changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use domain::action::{ActionError, Ctx};
use domain::discovery::{Found, FoundCluster, FoundGroup, Place};
use domain::inventory::Inventory;

use crate::aws::{Aws, Clients};
use crate::calls::Calls;
use crate::{Settings, SetupError};

/// For one place, all pages together (wall time).
const DEADLINE: Duration = Duration::from_secs(60);

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// It could not be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A place could not be looked through.
    #[error("{region}{}: {error}", account.as_ref().map(|a| format!(" of account {a}")).unwrap_or_default())]
    Look {
        /// Where.
        region: String,
        /// Of which account.
        account: Option<String>,
        /// Why.
        error: ActionError,
    },
}

impl DiscoverError {
    /// What to do about it.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Setup(_) => None,
            Self::Look { error, .. } => error.remedy.as_deref(),
        }
    }
}

/// Looks through these places, with the roles that look.
pub async fn discover(
    inventory: Arc<Inventory>,
    settings: &Settings,
    places: &[Place],
    clock: Arc<dyn Clock>,
) -> Result<Found, DiscoverError> {
    let aws = Aws::new(inventory, settings).await?;
    let mut found = Found { places: places.to_vec(), ..Found::default() };
    for place in places {
        let failed = |error| DiscoverError::Look {
            region: place.region.clone(),
            account: place.account.clone(),
            error,
        };
        let ctx = Ctx::looking(Arc::clone(&clock), DEADLINE);
        let clients = aws.around(&place.region, place.account.as_deref()).map_err(failed)?;
        found.clusters.extend(clusters(&clients, &Calls::new(&ctx), place).await.map_err(failed)?);
        found.groups.extend(groups(&clients, &Calls::new(&ctx), place).await.map_err(failed)?);
    }
    Ok(found)
}

async fn clusters(
    clients: &Clients,
    calls: &Calls<'_>,
    place: &Place,
) -> Result<Vec<FoundCluster>, ActionError> {
    let (mut found, mut marker) = (Vec::new(), None);
    loop {
        let page = calls.look("rds", "DescribeDBClusters", &place.region, |gate| {
            clients.rds.describe_db_clusters().set_marker(marker.take()).customize().interceptor(gate).send()
        });
        let page = page.await?;
        for cluster in page.db_clusters() {
            // What speaks another protocol is behind no ProxySQL.
            if !cluster.engine().is_some_and(|engine| engine.contains("mysql")) {
                continue;
            }
            let tags = cluster.tag_list().iter();
            found.push(FoundCluster {
                place: place.clone(),
                identifier: cluster.db_cluster_identifier().unwrap_or_default().to_owned(),
                endpoint: cluster.endpoint().unwrap_or_default().to_owned(),
                port: cluster.port().and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
                tags: pairs(tags.map(|tag| (tag.key(), tag.value()))),
            });
        }
        marker = page.marker().filter(|next| !next.is_empty()).map(str::to_owned);
        if marker.is_none() {
            return Ok(found);
        }
    }
}

async fn groups(clients: &Clients, calls: &Calls<'_>, place: &Place) -> Result<Vec<FoundGroup>, ActionError> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let page = calls.look("autoscaling", "DescribeAutoScalingGroups", &place.region, |gate| {
            let look = clients.autoscaling.describe_auto_scaling_groups().set_next_token(token.take());
            look.customize().interceptor(gate).send()
        });
        let page = page.await?;
        for group in page.auto_scaling_groups() {
            found.push(FoundGroup {
                place: place.clone(),
                name: group.auto_scaling_group_name().unwrap_or_default().to_owned(),
                target_groups: group.target_group_arns().to_vec(),
                tags: pairs(group.tags().iter().map(|tag| (tag.key(), tag.value()))),
            });
        }
        token = page.next_token().filter(|next| !next.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(found);
        }
    }
}

fn pairs<'a>(tags: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> BTreeMap<String, String> {
    tags.filter_map(|(key, value)| Some((key?.to_owned(), value.unwrap_or_default().to_owned()))).collect()
}
