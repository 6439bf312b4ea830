//! ProxySQL's admin interface: is a host taking traffic, and how many clients are still on it.
//!
//! `PROXYSQL PAUSE` closes the traffic port and leaves everybody who is connected alone; `RESUME` opens it again. The admin
//! port speaks MySQL's text protocol and nothing else. Drained means no clients: `Active_Transactions` is not asked, it
//! was seen to stay at 1 after the last client had gone.
//!
//! Whether a host takes traffic is tried at its port. What ProxySQL says of it itself is another matter: a host that was paused and
//! restarted is open and goes on calling itself paused, and then refuses every PAUSE until it is sent a RESUME, which changes
//! nothing else (`lib/Admin_Handler.cpp`: one flag, which only PAUSE and RESUME set). So a host is resumed when it is open and does
//! not call itself paused any more.

mod gone;
mod restart;
mod statistics;

use std::sync::Arc;

use domain::action::{
    ActionError, CallRecord, Change, Ctx, Effect, ErrorClass, ObjectChange, Observe, Registry, UndoByHand,
    UndoCall,
};
use domain::inventory::ProxyFleet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use crate::aws::Aws;
use crate::input;
use crate::mysql::{Connection, Failure, Kind, Prober, knock};
use crate::shell::Command;

/// Adds all actions of this service.
pub(crate) fn register(registry: Registry, aws: &Arc<Aws>, prober: &Arc<Prober>) -> Registry {
    let groups = gone::Groups::default();
    let hosts = Arc::new(Hosts { prober: Arc::clone(prober), aws: Arc::clone(aws), groups });
    let hosts = || Arc::clone(&hosts);
    registry
        .observing(Status(hosts()))
        .observing(statistics::Statistics(hosts()))
        .changing(Pause(hosts()))
        .changing(Resume(hosts()))
        .changing(restart::Restart(hosts()))
}

/// The hosts of all fleets: their admin ports, and what Auto Scaling says of one that does not answer.
pub(crate) struct Hosts {
    prober: Arc<Prober>,
    aws: Arc<Aws>,
    groups: gone::Groups,
}

/// Asked only of a host that does not answer.
const PERMISSIONS: &[&str] = &["autoscaling:DescribeAutoScalingGroups"];

const CLIENTS: &str =
    "SELECT variable_value FROM stats_mysql_global WHERE variable_name='Client_Connections_connected'";
const CALLED_PAUSED: &str =
    "SELECT variable_value FROM stats_mysql_global WHERE variable_name='mysql_listener_paused'";
const SERVERS: &str = "SELECT status FROM runtime_mysql_servers";

/// Which host.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostInput {
    /// Id of the fleet in the inventory.
    #[serde(deserialize_with = "input::name")]
    fleet: String,
    /// The host, as `autoscaling.describe_group` tells it.
    host: Host,
}

/// A host, by id and address. More fields are welcome and ignored.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct Host {
    /// EC2 instance id.
    #[serde(deserialize_with = "input::name")]
    id: String,
    /// Private address.
    #[serde(deserialize_with = "input::name")]
    ip: String,
}

/// A host at one moment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HostStatus {
    /// Clients that are connected to its traffic port.
    clients: u64,
    /// The traffic port refuses connections. Null when it neither took nor refused one in time.
    paused: Option<bool>,
    /// ProxySQL itself says that it is paused. It goes on saying so after a restart, though the port is open then, and refuses to be
    /// paused until it is resumed. Null where its version does not tell.
    #[serde(default)]
    calls_itself_paused: Option<bool>,
    /// Backend servers that ProxySQL holds for online. It keeps those for online that refuse every login, too.
    servers_online: u64,
    /// Backend servers in all.
    servers: u64,
}

/// What a change left behind.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Listening {
    /// EC2 instance id.
    host: String,
    /// The traffic port refuses connections.
    paused: bool,
    /// Clients that were connected before.
    clients: u64,
}

impl Hosts {
    async fn admin(&self, ctx: &Ctx, fleet: &ProxyFleet, host: &Host) -> Result<Connection, ActionError> {
        let account = self.prober.account(&fleet.admin)?;
        match Connection::open(&host.ip, fleet.admin_port, account, &self.prober.limits).await {
            Ok(connection) => Ok(connection),
            Err(failure) => Err(self.told_apart(ctx, fleet, host, unreachable(host, fleet, &failure)).await),
        }
    }

    async fn status(&self, ctx: &Ctx, input: &HostInput) -> Result<HostStatus, ActionError> {
        let host = &input.host;
        let fleet = self.prober.fleet(&input.fleet)?;
        let look = async {
            let mut admin = self.admin(ctx, fleet, host).await?;
            let failed = |failure: Failure| {
                ActionError::new(ErrorClass::Transient, code(&failure), said(host, &failure))
            };
            let clients = admin.query(CLIENTS).await.map_err(failed)?;
            let called_paused = admin.query(CALLED_PAUSED).await.map_err(failed)?;
            let servers = admin.query(SERVERS).await.map_err(failed)?;
            admin.quit().await;
            let paused = match knock(&host.ip, fleet.port, self.prober.limits.connect).await {
                Ok(()) => Some(false),
                Err(failure) if failure.kind == Kind::Refused => Some(true),
                Err(_) => None,
            };
            let first = |row: &Vec<Option<String>>| row.first().cloned().flatten();
            let clients = clients.first().and_then(first).and_then(|count| count.parse().ok());
            let online = servers.iter().filter(|row| first(row).as_deref() == Some("ONLINE")).count();
            Ok(HostStatus {
                clients: clients.ok_or_else(|| {
                    ActionError::refused(
                        "no_client_count",
                        format!("The host {} does not tell how many clients it has.", host.id),
                    )
                    .remedy("check that the admin port of the fleet is ProxySQL's")
                })?,
                paused,
                calls_itself_paused: called_paused.first().and_then(first).map(|flag| flag == "1"),
                servers_online: online.try_into().unwrap_or(u64::MAX),
                servers: servers.len().try_into().unwrap_or(u64::MAX),
            })
        };
        looked(ctx, "status", host, look).await
    }

    /// Sends the one admin command that changes something.
    async fn command(&self, ctx: &Ctx, input: &HostInput, command: &'static str) -> Result<(), ActionError> {
        let host = &input.host;
        let fleet = self.prober.fleet(&input.fleet)?;
        let mut sent = false;
        let work = async {
            let mut admin = self.admin(ctx, fleet, host).await?;
            if let Err(closed) = ctx.gate.check() {
                return Err(ActionError::new(
                    ErrorClass::Busy,
                    "gate_closed",
                    format!("{command} on {}: {closed}.", host.id),
                ));
            }
            sent = true;
            let answer = admin.query(command).await;
            admin.quit().await;
            match answer {
                Ok(_) => Ok(()),
                // Told no before it was read.
                Err(failure) if failure.kind == Kind::TooManyConnections => {
                    Err(ActionError::new(ErrorClass::Busy, code(&failure), said(host, &failure)))
                }
                Err(failure) if failure.code.is_some() => {
                    let remedy = if failure.message.contains("already paused") {
                        "it calls itself paused though its port is open, as after a restart: send it `PROXYSQL RESUME`, which only \
                         takes that back, and try again"
                    } else {
                        "the fleet's admin account must be one that may run `PROXYSQL PAUSE`; `stats` may not"
                    };
                    Err(ActionError::refused(code(&failure), said(host, &failure)).remedy(remedy))
                }
                Err(failure) => Err(ActionError::new(
                    ErrorClass::Unknown,
                    code(&failure),
                    format!(
                        "{command} was sent, and it is not known whether it took effect: {}",
                        said(host, &failure)
                    ),
                )),
            }
        };
        let started = Started::now(ctx);
        let result = match timeout(ctx.deadline, Box::pin(work)).await {
            Ok(result) => result,
            Err(_) => {
                let class = if sent { ErrorClass::Unknown } else { ErrorClass::Transient };
                let was = if sent { "was sent and not answered" } else { "was not sent" };
                Err(ActionError::new(class, "timeout", format!("{command} on {} {was} in time.", host.id)))
            }
        };
        started.record(command, host, &result, true);
        result
    }
}

/// A call that has begun.
struct Started<'a> {
    ctx: &'a Ctx,
    at: domain::Timestamp,
    from: Instant,
}

impl<'a> Started<'a> {
    fn now(ctx: &'a Ctx) -> Self {
        Self { ctx, at: ctx.clock.now(), from: Instant::now() }
    }

    fn record<T>(self, operation: &str, host: &Host, result: &Result<T, ActionError>, mutating: bool) {
        self.ctx.calls.push(CallRecord {
            at: self.at,
            service: "proxysql".into(),
            operation: operation.into(),
            target: host.id.clone(),
            request_id: None,
            status: result.as_ref().map_or_else(|error| error.code.clone(), |_| "ok".into()),
            duration_ms: self.from.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            mutating,
        });
    }
}

/// A look at a host, within its deadline, and on record.
async fn looked<T>(
    ctx: &Ctx,
    operation: &str,
    host: &Host,
    look: impl Future<Output = Result<T, ActionError>>,
) -> Result<T, ActionError> {
    let started = Started::now(ctx);
    let result = timeout(ctx.deadline, Box::pin(look)).await.unwrap_or_else(|_| {
        Err(ActionError::new(
            ErrorClass::Transient,
            "timeout",
            format!("The admin port of host {} did not answer in time.", host.id),
        ))
    });
    started.record(operation, host, &result, false);
    result
}

/// Why the admin port could not be used. A host that refuses it is gone: ProxySQL keeps it open while paused.
fn unreachable(host: &Host, fleet: &ProxyFleet, failure: &Failure) -> ActionError {
    let text = said(host, failure);
    match failure.kind {
        Kind::Refused => ActionError::new(ErrorClass::Gone, code(failure), text),
        Kind::AccessDenied | Kind::AccessDeniedByProxy => {
            ActionError::refused(code(failure), text).remedy(format!(
                "check the admin account of fleet {} (`{}`); ProxySQL's own `admin` may only connect from the host itself",
                fleet.id, fleet.admin.user
            ))
        }
        _ => ActionError::new(ErrorClass::Transient, code(failure), text),
    }
}

fn code(failure: &Failure) -> String {
    failure.code.map_or_else(|| failure.kind.name().to_owned(), |code| code.to_string())
}

fn said(host: &Host, failure: &Failure) -> String {
    format!("The ProxySQL admin port of host {} ({}): {}", host.id, host.ip, failure.message)
}

fn by_hand(hosts: &Hosts, input: &HostInput, sql: &str) -> String {
    hosts.prober.inventory.fleet(&input.fleet).map_or_else(String::new, |fleet| {
        Command::mysql(&input.host.ip, fleet.admin_port, &fleet.admin.user).option("--execute", sql).line()
    })
}

/// `proxysql.status`.
pub(crate) struct Status(Arc<Hosts>);

impl Observe for Status {
    const NAME: &'static str = "proxysql.status";
    const SUMMARY: &'static str = "Clients of a ProxySQL host, and whether it takes new ones";
    const PERMISSIONS: &'static [&'static str] = PERMISSIONS;
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local at port user clients called servers paused=false
  at=$(jq -r .ip <<<"$host") || return
  read -r port user < <(jq -r --arg id "$fleet" '.fleets[] | select(.id == $id) | "\(.admin_port) \(.admin)"' <<<"$inventory")
  clients=$(mysql --host "$at" --port "$port" --user "$user" --password --batch --skip-column-names \
    --execute "SELECT variable_value FROM stats_mysql_global WHERE variable_name='Client_Connections_connected'") || return
  called=$(mysql --host "$at" --port "$port" --user "$user" --password --batch --skip-column-names \
    --execute "SELECT variable_value FROM stats_mysql_global WHERE variable_name='mysql_listener_paused'") || return
  servers=$(mysql --host "$at" --port "$port" --user "$user" --password --batch --skip-column-names \
    --execute 'SELECT status FROM runtime_mysql_servers') || return
  port=$(jq -r --arg id "$fleet" '.fleets[] | select(.id == $id).port' <<<"$inventory") || return
  timeout 2 bash -c "exec 3<>/dev/tcp/$at/$port" 2>/dev/null || paused=true
  jq -nc --argjson clients "$clients" --argjson paused "$paused" --arg called "$called" --arg servers "$servers" '
    ($servers | split("\n")) as $servers |
    { clients: $clients, paused: $paused, calls_itself_paused: (if $called == "" then null else $called == "1" end),
      servers_online: ([$servers[] | select(. == "ONLINE")] | length), servers: ($servers | length) }'
"#,
    );
    type Input = HostInput;
    type Output = HostStatus;

    async fn observe(&self, ctx: &Ctx, input: &HostInput) -> Result<HostStatus, ActionError> {
        self.0.status(ctx, input).await
    }

    fn command(&self, input: &HostInput) -> String {
        by_hand(&self.0, input, CLIENTS)
    }
}

fn listening(input: &HostInput, facts: &HostStatus, paused: bool) -> Listening {
    Listening { host: input.host.id.clone(), paused, clients: facts.clients }
}

fn change(input: &HostInput, before: &str, after: &str) -> Vec<ObjectChange> {
    vec![ObjectChange {
        object: format!("host {}", input.host.id),
        property: "traffic port".into(),
        before: before.into(),
        after: after.into(),
    }]
}

/// `proxysql.pause`.
pub(crate) struct Pause(Arc<Hosts>);

impl Change for Pause {
    const NAME: &'static str = "proxysql.pause";
    const SUMMARY: &'static str =
        "Close the traffic port of a ProxySQL host; clients that are connected stay";
    const PERMISSIONS: &'static [&'static str] = PERMISSIONS;
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    const UNDONE_BY: &'static str = Resume::NAME;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: Some(Status::NAME),
        look_with: &["fleet", "host"],
        each: None,
        when: "$before.paused | not",
        with: &[],
    });
    type Input = HostInput;
    type Facts = HostStatus;
    type Output = Listening;

    async fn observe(&self, ctx: &Ctx, input: &HostInput) -> Result<HostStatus, ActionError> {
        self.0.status(ctx, input).await
    }

    fn settled(&self, input: &HostInput, facts: &HostStatus) -> Option<Listening> {
        (facts.paused == Some(true)).then(|| listening(input, facts, true))
    }

    fn plan(&self, input: &HostInput, _facts: &HostStatus) -> Result<Vec<ObjectChange>, ActionError> {
        Ok(change(input, "open", "closed"))
    }

    fn predict(&self, input: &HostInput, facts: &HostStatus) -> Option<Listening> {
        Some(listening(input, facts, true))
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        input: &HostInput,
        facts: &HostStatus,
    ) -> Result<Listening, ActionError> {
        self.0.command(ctx, input, "PROXYSQL PAUSE").await?;
        Ok(listening(input, facts, true))
    }

    fn undo(&self, input: &HostInput, facts: &HostStatus) -> Option<UndoCall> {
        if facts.paused == Some(true) { None } else { input::call(Resume::NAME, input) }
    }

    fn command(&self, input: &HostInput) -> String {
        by_hand(&self.0, input, "PROXYSQL PAUSE")
    }
}

/// `proxysql.resume`.
pub(crate) struct Resume(Arc<Hosts>);

impl Change for Resume {
    const NAME: &'static str = "proxysql.resume";
    const SUMMARY: &'static str = "Open the traffic port of a paused ProxySQL host again";
    const PERMISSIONS: &'static [&'static str] = PERMISSIONS;
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    const UNDONE_BY: &'static str = Pause::NAME;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: Some(Status::NAME),
        look_with: &["fleet", "host"],
        each: None,
        when: "$before.paused",
        with: &[],
    });
    type Input = HostInput;
    type Facts = HostStatus;
    type Output = Listening;

    async fn observe(&self, ctx: &Ctx, input: &HostInput) -> Result<HostStatus, ActionError> {
        self.0.status(ctx, input).await
    }

    fn settled(&self, input: &HostInput, facts: &HostStatus) -> Option<Listening> {
        let open = facts.paused == Some(false) && facts.calls_itself_paused != Some(true);
        open.then(|| listening(input, facts, false))
    }

    fn plan(&self, input: &HostInput, facts: &HostStatus) -> Result<Vec<ObjectChange>, ActionError> {
        let before = if facts.paused == Some(false) { "open, and called paused" } else { "closed" };
        Ok(change(input, before, "open"))
    }

    fn predict(&self, input: &HostInput, facts: &HostStatus) -> Option<Listening> {
        Some(listening(input, facts, false))
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        input: &HostInput,
        facts: &HostStatus,
    ) -> Result<Listening, ActionError> {
        self.0.command(ctx, input, "PROXYSQL RESUME").await?;
        Ok(listening(input, facts, false))
    }

    fn undo(&self, input: &HostInput, facts: &HostStatus) -> Option<UndoCall> {
        if facts.paused == Some(false) { None } else { input::call(Pause::NAME, input) }
    }

    fn command(&self, input: &HostInput) -> String {
        by_hand(&self.0, input, "PROXYSQL RESUME")
    }
}
