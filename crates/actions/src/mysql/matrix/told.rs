//! What is told of all logins: what worked and what did not, by pair, by host and by cluster.

use schemars::JsonSchema;
use serde::Serialize;

use super::MatrixInput;
use super::pair::DIRECT;
use crate::mysql::Failure;

/// What worked and what did not.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Matrix {
    /// Direct logins, one cell for each cluster; empty when not asked for.
    direct: Vec<Cell>,
    /// Logins through hosts, one cell for each pair.
    via: Vec<Cell>,
    /// Failed direct logins.
    pub(super) direct_failures: u32,
    /// Failed logins through hosts.
    pub(super) failures: u32,
    /// Ids of hosts through which some login failed, or was not tried.
    failing_hosts: Vec<String>,
    /// Ids of hosts through which every login worked.
    healthy_hosts: Vec<String>,
    /// Ids of clusters to which some login through a host failed, or was not tried.
    failing_clusters: Vec<String>,
    /// Ids of clusters to which some direct login failed.
    direct_failing_clusters: Vec<String>,
    /// Logins tried in all.
    pub(super) tried: u32,
}

/// The logins to one cluster, directly or through one host.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Cell {
    /// The host's id, or `direct`.
    pub(super) host: String,
    /// The cluster's id.
    pub(super) cluster: String,
    /// Did every try work? One through a host also has to meet a server that is writable, if the direct login does.
    pub(super) ok: bool,
    /// Logins tried.
    pub(super) tries: u32,
    /// Logins that failed.
    pub(super) failed: u32,
    /// The last failure.
    pub(super) error: Option<Failure>,
    /// The server that answered last: `@@aurora_server_id`, or the host name where the server is no Aurora.
    pub(super) server_id: Option<String>,
    /// Whether that server was read-only.
    pub(super) read_only: Option<bool>,
    /// The slowest try took no longer than this, in milliseconds of wall time: one of 1, 2, 5, 10, 20 … so that two looks at
    /// the same world say the same.
    pub(super) ms: f64,
}

impl Matrix {
    pub(super) fn of(input: &MatrixInput, cells: Vec<Cell>) -> Self {
        let (direct, via): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|cell| cell.host == DIRECT);
        let failing = |cells: &[Cell]| -> Vec<String> {
            let mut ids: Vec<String> = Vec::new();
            for cell in cells.iter().filter(|cell| !cell.ok) {
                if !ids.contains(&cell.cluster) {
                    ids.push(cell.cluster.clone());
                }
            }
            ids
        };
        let (failing_hosts, healthy_hosts) = input
            .hosts()
            .iter()
            .map(|host| host.id.clone())
            .filter(|id| via.iter().any(|cell| cell.host == *id))
            .partition(|id| via.iter().any(|cell| cell.host == *id && !cell.ok));
        Self {
            direct_failures: direct.iter().map(|cell| cell.failed).sum(),
            failures: via.iter().map(|cell| cell.failed).sum(),
            failing_hosts,
            healthy_hosts,
            failing_clusters: failing(&via),
            direct_failing_clusters: failing(&direct),
            tried: direct.iter().chain(&via).map(|cell| cell.tries).sum(),
            direct,
            via,
        }
    }
}
