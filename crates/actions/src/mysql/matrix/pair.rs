//! Which logins there are: every cluster directly, and through every host; and how one is done.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use domain::inventory::{Cluster, ProxyFleet};

use super::MatrixInput;
use crate::ProbeLimits;
use crate::mysql::identity::{Server, identify};
use crate::mysql::{Account, Connection, Failure, Kind};

pub(super) const DIRECT: &str = "direct";

/// Rules that split reads from writes take what ends so for a write.
const TO_WRITERS: &str = " FOR UPDATE";

/// One pair that is to be tried.
pub(super) struct Pair<'a> {
    pub(super) host: &'a str,
    pub(super) address: &'a str,
    pub(super) port: u16,
    pub(super) cluster: &'a Cluster,
    /// Has a direct login to the cluster timed out? All pairs of the cluster share it.
    pub(super) hangs: Arc<AtomicBool>,
}

impl Pair<'_> {
    /// What the query ends with, so that it goes where writes go. Only through hosts: who asks a server itself has chosen it.
    pub(super) fn to_writers(&self) -> &'static str {
        if self.host == DIRECT { "" } else { TO_WRITERS }
    }
}

/// All pairs: direct ones first, then host by host.
pub(super) fn pairs<'a>(
    fleet: &'a ProxyFleet,
    clusters: &[&'a Cluster],
    input: &'a MatrixInput,
) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    let clusters: Vec<_> = clusters.iter().map(|cluster| (*cluster, Arc::<AtomicBool>::default())).collect();
    if input.direct {
        pairs.extend(clusters.iter().map(|(cluster, hangs)| Pair {
            host: DIRECT,
            address: &cluster.endpoint,
            port: cluster.port,
            cluster,
            hangs: Arc::clone(hangs),
        }));
    }
    for host in input.hosts() {
        pairs.extend(clusters.iter().map(|(cluster, hangs)| Pair {
            host: &host.id,
            address: &host.ip,
            port: fleet.port,
            cluster,
            hangs: Arc::clone(hangs),
        }));
    }
    pairs
}

/// One login with its query. The server's identity, and whether it is read-only.
pub(super) async fn login(
    pair: &Pair<'_>,
    account: Account<'_>,
    limits: &ProbeLimits,
) -> Result<Server, Failure> {
    if pair.address.is_empty() {
        // In service for the group, and no longer (or not yet) for EC2: nothing gets through it.
        return Err(Failure::new(Kind::Other, "the host has no private address"));
    }
    let mut connection = Connection::open(pair.address, pair.port, account, limits).await?;
    let server = identify(&mut connection, pair.to_writers()).await?;
    connection.quit().await;
    Ok(server)
}
