//! `mysql.replica_status`: one instance of a cluster, logged in to by its own endpoint: does it answer, is it the writer,
//! and how far is it behind?
//!
//! Before an instance is made the writer, and after it has got another class. The lag is what Aurora itself keeps in
//! `information_schema.replica_host_status`, which any account may read: one row for each instance, no heavy query.

use std::sync::Arc;

use domain::action::{ActionError, CallRecord, Ctx, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::identity::{AURORA, identify};
use super::{Connection, Failure, Kind, Prober, millis};
use crate::input;
use crate::shell::Command;

/// `mysql.replica_status`.
pub(crate) struct ReplicaStatus(pub(crate) Arc<Prober>);

/// Which instance.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplicaInput {
    /// Id of the cluster in the inventory: its account logs in.
    #[serde(deserialize_with = "input::name")]
    cluster: String,
    /// DB instance identifier.
    #[serde(deserialize_with = "input::name")]
    instance: String,
    /// Host name of the instance's own endpoint, as `rds.describe_cluster` tells it.
    endpoint: String,
}

/// An instance at one moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Replica {
    /// Did the login and its query work?
    reachable: bool,
    /// Why not.
    error: Option<Failure>,
    /// The instance that answered: `@@aurora_server_id`.
    server_id: Option<String>,
    /// Is it read-only?
    read_only: Option<bool>,
    /// How far it is behind the writer, in milliseconds; null when the server does not tell.
    lag_ms: Option<f64>,
}

const HOST_STATUS: &str =
    "SELECT server_id, replica_lag_in_milliseconds FROM information_schema.replica_host_status";

impl Observe for ReplicaStatus {
    const NAME: &'static str = "mysql.replica_status";
    const SUMMARY: &'static str =
        "Log in to one instance of a cluster, and ask how far it is behind the writer";
    const PERMISSIONS: &'static [&'static str] = &[];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local port user answer
  read -r port user < <(jq -r --arg id "$cluster" '.clusters[] | select(.id == $id) | "\(.port) \(.user)"' <<<"$inventory")
  if ! answer=$(mysql --host "$endpoint" --port "$port" --user "$user" --password --batch --skip-column-names --execute \
    'SELECT @@aurora_server_id, @@innodb_read_only; SELECT server_id, replica_lag_in_milliseconds FROM information_schema.replica_host_status' 2>&1); then
    jq -nc --arg error "$answer" '{ reachable: false, error: { message: $error }, server_id: null, read_only: null, lag_ms: null }'
    return
  fi
  jq -Rsc --arg instance "$instance" '[split("\n")[] | select(. != "") | split("\t")] | {
      reachable: true, error: null, server_id: .[0][0], read_only: (.[0][1] == "1"),
      lag_ms: ([.[1:][] | select(.[0] == $instance)[1] | tonumber?][0])
    }' <<<"$answer"
"#,
    );
    type Input = ReplicaInput;
    type Output = Replica;

    async fn observe(&self, ctx: &Ctx, input: &ReplicaInput) -> Result<Replica, ActionError> {
        let (at, started) = (ctx.clock.now(), Instant::now());
        let ask = Box::pin(self.ask(input));
        let replica = match timeout(ctx.deadline, ask).await {
            Ok(answer) => answer?,
            Err(_) => Replica::unreachable(Failure::new(Kind::TimeoutQuery, "no answer in time")),
        };
        ctx.calls.push(CallRecord {
            at,
            service: "mysql".into(),
            operation: "replica_status".into(),
            target: input.instance.clone(),
            request_id: None,
            status: replica.error.as_ref().map_or_else(|| "ok".into(), |e| e.kind.name().to_owned()),
            duration_ms: millis(started.elapsed()),
            mutating: false,
        });
        Ok(replica)
    }

    fn command(&self, input: &ReplicaInput) -> String {
        self.0.inventory.cluster(&input.cluster).map_or_else(String::new, |cluster| {
            Command::mysql(&input.endpoint, cluster.port, &cluster.probe.user)
                .option("--execute", &format!("{AURORA}; {HOST_STATUS}"))
                .line()
        })
    }
}

impl ReplicaStatus {
    async fn ask(&self, input: &ReplicaInput) -> Result<Replica, ActionError> {
        let cluster = self.0.cluster(&input.cluster)?;
        let account = self.0.account(&cluster.probe)?;
        if input.endpoint.is_empty() {
            let failure = Failure::new(Kind::Other, "the instance has no endpoint yet");
            return Ok(Replica::unreachable(failure));
        }
        let _turn = self.0.turn(cluster).await;
        let look = async {
            let mut connection =
                Connection::open(&input.endpoint, cluster.port, account, &self.0.limits).await?;
            let (server_id, read_only) = identify(&mut connection, "").await?;
            let rows = match connection.query(HOST_STATUS).await {
                // Not Aurora: nobody keeps such a table.
                Err(failure) if failure.code.is_some() => Vec::new(),
                answer => answer?,
            };
            connection.quit().await;
            let lag = rows.into_iter().find_map(|row| match row.as_slice() {
                [Some(server), Some(lag), ..] if *server == input.instance => lag.parse().ok(),
                _ => None,
            });
            Ok(Replica { reachable: true, error: None, server_id, read_only, lag_ms: lag })
        };
        Ok(look.await.unwrap_or_else(Replica::unreachable))
    }
}

impl Replica {
    fn unreachable(failure: Failure) -> Self {
        Self { reachable: false, error: Some(failure), server_id: None, read_only: None, lag_ms: None }
    }
}
