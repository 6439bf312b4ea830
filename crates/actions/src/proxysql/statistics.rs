//! `proxysql.statistics`: what a host says of its own connections to the databases.
//!
//! ProxySQL never shuns a backend for failed logins, and its health stays green; but it counts them. The counters only grow, from when
//! its process began: what has happened lately is the difference of two looks. `stats_mysql_errors` would tell more, with the users'
//! addresses and thousands of schemas in it, so it is not read.

use std::sync::Arc;

use domain::action::{ActionError, Ctx, ErrorClass, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CLIENTS, HostInput, Hosts, by_hand, code, looked, said};
use crate::mysql::Failure;

const POOL: &str =
    "SELECT srv_host, status, ConnUsed, ConnFree, ConnOK, ConnERR FROM stats_mysql_connection_pool";

/// `proxysql.statistics`.
pub(crate) struct Statistics(pub(super) Arc<Hosts>);

/// A host's connections.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HostStatistics {
    /// EC2 instance id.
    host: String,
    /// Clients that are connected to it.
    clients: u64,
    /// Connections to databases that clients use now.
    used: u64,
    /// Connections to databases that wait for clients.
    free: u64,
    /// Connections to databases that were made, since its process began.
    connected: u64,
    /// Tries to connect to a database that failed, since its process began.
    failed: u64,
    /// By database server.
    backends: Vec<Backend>,
}

/// Its connections to one database server.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Backend {
    /// Address of the server, as ProxySQL has it.
    server: String,
    /// What ProxySQL holds it for; `ONLINE` also while every login fails.
    status: String,
    /// Connections that were made.
    connected: u64,
    /// Tries that failed.
    failed: u64,
}

impl Hosts {
    async fn statistics(&self, ctx: &Ctx, input: &HostInput) -> Result<HostStatistics, ActionError> {
        let host = &input.host;
        let fleet = self.prober.fleet(&input.fleet)?;
        let look = async {
            let mut admin = self.admin(ctx, fleet, host).await?;
            let failed = |failure: Failure| {
                ActionError::new(ErrorClass::Transient, code(&failure), said(host, &failure))
            };
            let clients = admin.query(CLIENTS).await.map_err(failed)?;
            let pool = admin.query(POOL).await.map_err(failed)?;
            admin.quit().await;
            let text = |row: &[Option<String>], n: usize| row.get(n).cloned().flatten().unwrap_or_default();
            let number = |row: &[Option<String>], n: usize| text(row, n).parse::<u64>().unwrap_or(0);
            let sum = |n: usize| pool.iter().map(|row| number(row, n)).sum();
            Ok(HostStatistics {
                host: host.id.clone(),
                clients: clients.first().map_or(0, |row| number(row, 0)),
                used: sum(2),
                free: sum(3),
                connected: sum(4),
                failed: sum(5),
                backends: pool
                    .iter()
                    .map(|row| Backend {
                        server: text(row, 0),
                        status: text(row, 1),
                        connected: number(row, 4),
                        failed: number(row, 5),
                    })
                    .collect(),
            })
        };
        looked(ctx, "statistics", host, look).await
    }
}

impl Observe for Statistics {
    const NAME: &'static str = "proxysql.statistics";
    const SUMMARY: &'static str =
        "What a ProxySQL host counts: its clients, and its connections to databases that were made or failed";
    const PERMISSIONS: &'static [&'static str] = super::PERMISSIONS;
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local at port user clients pool
  at=$(jq -r .ip <<<"$host") || return
  read -r port user < <(jq -r --arg id "$fleet" '.fleets[] | select(.id == $id) | "\(.admin_port) \(.admin)"' <<<"$inventory")
  clients=$(mysql --host "$at" --port "$port" --user "$user" --password --batch --skip-column-names \
    --execute "SELECT variable_value FROM stats_mysql_global WHERE variable_name='Client_Connections_connected'") || return
  pool=$(mysql --host "$at" --port "$port" --user "$user" --password --batch --skip-column-names \
    --execute 'SELECT srv_host, status, ConnUsed, ConnFree, ConnOK, ConnERR FROM stats_mysql_connection_pool') || return
  jq -nc --argjson host "$host" --argjson clients "$clients" --arg pool "$pool" '
    [$pool | split("\n")[] | select(. != "") | split("\t")] as $rows | def sum(n): [$rows[][n] | tonumber] | add // 0;
    { host: $host.id, clients: $clients, used: sum(2), free: sum(3), connected: sum(4), failed: sum(5),
      backends: [$rows[] | { server: .[0], status: .[1], connected: (.[4] | tonumber), failed: (.[5] | tonumber) }] }'
"#,
    );
    type Input = HostInput;
    type Output = HostStatistics;

    async fn observe(&self, ctx: &Ctx, input: &HostInput) -> Result<HostStatistics, ActionError> {
        self.0.statistics(ctx, input).await
    }

    fn command(&self, input: &HostInput) -> String {
        by_hand(&self.0, input, POOL)
    }
}
