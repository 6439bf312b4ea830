//! `mysql.login_matrix`: a login to every cluster, directly and through every host.
//!
//! A login alone proves nothing, because ProxySQL answers it by itself; so a probe logs in, sends one query that only the
//! cluster can answer, and quits. Beside "does it work?" the answer says which server it was, and whether it is writable.
//!
//! After a failover a host may keep the old writer: logins through it work, and writes fail, because that server is read-only now.
//! So a try through a host that meets a read-only server failed, if the cluster's own endpoint leads to one that is writable.
//! For that the query must go where writes go: it ends with ` FOR UPDATE`, which the usual rules that split reads from writes
//! send to the writers. It reads no table, so it locks nothing, and a read-only server takes it.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::action::{ActionError, CallRecord, Ctx, ErrorClass, Observe};
use domain::inventory::{Cluster, ProxyFleet};
use futures::future::try_join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

use super::failure::UNKNOWN_VARIABLE;
use super::{Account, Connection, Failure, Kind, Prober, list};
use crate::ProbeLimits;
use crate::input;
use crate::shell::Command;

/// `mysql.login_matrix`.
pub(crate) struct LoginMatrix(pub(crate) Arc<Prober>);

/// Which logins are tried.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MatrixInput {
    /// Id of the fleet in the inventory.
    #[serde(deserialize_with = "input::name")]
    fleet: String,
    /// The hosts to go through, as `autoscaling.describe_group` tells them. An empty list is refused; without any, the clusters are
    /// tried directly alone.
    #[schemars(length(min = 1))]
    #[serde(default, deserialize_with = "input::targets", skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<HostRef>,
    /// Ids of the clusters; all of the fleet when absent.
    #[serde(default)]
    clusters: Option<Vec<String>>,
    /// Also log in directly, past the hosts. Only beside it can a host be told that holds the old writer of a failover: the query
    /// through hosts ends with `FOR UPDATE`, and ProxySQL must send such a one to the writers' hostgroup.
    #[serde(default = "yes")]
    direct: bool,
    /// Logins for each pair of host and cluster (1 to 100): a sick host may fail only now and then. A pair that runs
    /// into its second time-out is given up, and counts as failed.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 100))]
    tries: u32,
    /// When the time is over before all is through: tell what was tried until then, and leave out what was not. Without it such a look
    /// fails as a whole, so that nobody takes what was not tried for well.
    #[serde(default)]
    partial: bool,
}

/// A host, by id and address. More fields are welcome and ignored, so that a whole host of
/// `autoscaling.describe_group` can be handed on.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
pub(crate) struct HostRef {
    /// EC2 instance id.
    pub(crate) id: String,
    /// Private address; logins through a host without one count as failed.
    pub(crate) ip: String,
}

fn yes() -> bool {
    true
}

fn once() -> u32 {
    1
}

const MOST_TRIES: u32 = 100;
/// A pair that timed out so often is given up: each costs a whole deadline, and the look of all pairs has one, too.
const MOST_TIMEOUTS: u32 = 2;

/// What worked and what did not.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Matrix {
    /// Direct logins, one cell for each cluster; empty when not asked for.
    direct: Vec<Cell>,
    /// Logins through hosts, one cell for each pair.
    via: Vec<Cell>,
    /// Failed direct logins.
    direct_failures: u32,
    /// Failed logins through hosts.
    failures: u32,
    /// Ids of hosts through which some login failed.
    failing_hosts: Vec<String>,
    /// Ids of hosts through which every login worked.
    healthy_hosts: Vec<String>,
    /// Ids of clusters to which some login through a host failed.
    failing_clusters: Vec<String>,
    /// Ids of clusters to which some direct login failed.
    direct_failing_clusters: Vec<String>,
    /// Logins tried in all.
    tried: u32,
}

/// The logins to one cluster, directly or through one host.
#[derive(Debug, Serialize, JsonSchema)]
struct Cell {
    /// The host's id, or `direct`.
    host: String,
    /// The cluster's id.
    cluster: String,
    /// Did every try work? One through a host also has to meet a server that is writable, if the direct login does.
    ok: bool,
    /// Logins tried.
    tries: u32,
    /// Logins that failed.
    failed: u32,
    /// The last failure.
    error: Option<Failure>,
    /// The server that answered last: `@@aurora_server_id`, or the host name where the server is no Aurora.
    server_id: Option<String>,
    /// Whether that server was read-only.
    read_only: Option<bool>,
    /// The slowest try took no longer than this, in milliseconds of wall time: one of 1, 2, 5, 10, 20 … so that two looks at
    /// the same world say the same.
    ms: f64,
}

const DIRECT: &str = "direct";

/// The tries of one pair.
struct Tried {
    cell: Cell,
    /// Tries that a read-only server answered.
    read_only: u32,
    at: Timestamp,
    slowest: Duration,
}

/// One pair that is to be tried.
struct Pair<'a> {
    host: &'a str,
    address: &'a str,
    port: u16,
    cluster: &'a Cluster,
}

impl Observe for LoginMatrix {
    const NAME: &'static str = "mysql.login_matrix";
    const SUMMARY: &'static str =
        "Log in to clusters directly and through hosts, and ask which server answers";
    const PERMISSIONS: &'static [&'static str] = &[];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local host address port cluster user try failed met error server query
  jq -r --arg fleet "$fleet" --argjson hosts "${hosts:-[]}" --argjson wanted "${clusters:-null}" --argjson direct "${direct:-true}" '
    (.fleets[] | select(.id == $fleet)) as $fleet |
    [.clusters[] | .id as $id | select(any($fleet.clusters[]; . == $id) and ($wanted == null or any($wanted[]; . == $id)))] as $clusters |
    ($clusters[] | select($direct) | ["direct", .endpoint, .port, .id, .user]),
    ($hosts[] as $host | $clusters[] | [$host.id, (if $host.ip == "" then "no-address" else $host.ip end), $fleet.port, .id, .user]) | @tsv' <<<"$inventory" |
    while IFS=$'\t' read -r host address port cluster user; do
      failed=0 met=0 server= query='SELECT @@aurora_server_id, @@innodb_read_only'
      [[ $host == direct ]] || query+=' FOR UPDATE'
      for ((try = 0; try < ${tries:-1}; try++)); do
        if ! server=$(mysql --host "$address" --port "$port" --user "$user" --password --batch --skip-column-names \
          --execute "$query" 2>&1); then
          failed=$((failed + 1)) error=$server server=
        elif [[ $server == *$'\t1' ]]; then
          met=$((met + 1))
        fi
      done
      printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$host" "$cluster" "${tries:-1}" "$failed" "$met" "${error//[$'\t\n']/ }" "$server"
      error=
    done |
    jq -Rsc '
      [split("\n")[] | select(. != "") | split("\t") | { host: .[0], cluster: .[1], ok: (.[3] == "0"), tries: (.[2] | tonumber),
        failed: (.[3] | tonumber), met: (.[4] | tonumber), error: (.[5] | if . == "" then null else { message: ., kind: (if test("ProxySQL Error: Access denied") then "access_denied_by_proxy"
          elif test("ERROR 1045") then "access_denied" elif test("ERROR 1040") then "too_many_connections" else "other" end) } end),
        server_id: .[6], read_only: (if .[7] == null then null else .[7] == "1" end) }] |
      [.[] | select(.host == "direct" and .ok and .met == 0 and .read_only == false).cluster] as $writable |
      map(if .host != "direct" and .met > 0 and any($writable[] == .cluster; .) then .ok = false | .failed += .met
        | .error = { message: "a read-only server answers through the host", kind: "read_only" } else . end | del(.met)) |
      def once: reduce .[] as $it ([]; if any(.[]; . == $it) then . else . + [$it] end);
      def clusters: [.[] | select(.ok | not).cluster] | once;
      [.[] | select(.host == "direct")] as $direct | [.[] | select(.host != "direct")] as $via |
      ([$via[] | select(.ok | not).host] | once) as $failing | {
        direct: $direct, via: $via, direct_failures: ([$direct[].failed] | add // 0), failures: ([$via[].failed] | add // 0),
        failing_hosts: $failing, healthy_hosts: ([$via[].host] | once | . - $failing),
        failing_clusters: ($via | clusters), direct_failing_clusters: ($direct | clusters), tried: ([.[].tries] | add // 0)
      }'
"#,
    );
    type Input = MatrixInput;
    type Output = Matrix;

    async fn observe(&self, ctx: &Ctx, input: &MatrixInput) -> Result<Matrix, ActionError> {
        if !(1..=MOST_TRIES).contains(&input.tries) {
            return Err(ActionError::refused(
                "bad_input",
                format!("tries is {}; it must be 1 to {MOST_TRIES}.", input.tries),
            ));
        }
        let fleet = self.0.fleet(&input.fleet)?;
        let clusters = self.clusters(fleet, input)?;
        let pairs = pairs(fleet, &clusters, input);
        if pairs.is_empty() {
            return Err(ActionError::refused(
                "bad_input",
                "No host is named, and `direct` is false: nothing would be tried.",
            ));
        }
        let (at, started) = (ctx.clock.now(), Instant::now());
        let mut tried: Vec<Tried> = pairs.iter().map(|pair| Tried::not_yet(pair, at)).collect();
        let cells = pairs.iter().zip(&mut tried);
        let all = try_join_all(cells.map(|(pair, tried)| Box::pin(self.cell(ctx, pair, input.tries, tried))));
        match timeout(time_for(ctx, input), all).await {
            Ok(through) => through.map(drop)?,
            Err(_) if input.partial && tried.iter().any(|one| one.cell.tries > 0) => {
                tried.retain(|one| one.cell.tries > 0);
            }
            Err(_) => {
                return Err(ActionError::new(
                    ErrorClass::Transient,
                    "timeout",
                    format!(
                        "{} pairs with {} tries each were not through within {:.1} s.",
                        pairs.len(),
                        input.tries,
                        ctx.deadline.as_secs_f64()
                    ),
                )
                .remedy("lower `tries`, or name fewer hosts or clusters"));
            }
        }
        judge_read_only(&mut tried);
        for one in &tried {
            one.record(ctx);
        }
        let matrix = Matrix::of(input, tried.into_iter().map(|one| one.cell).collect());
        ctx.calls.push(CallRecord {
            at,
            service: "mysql".into(),
            operation: "login".into(),
            target: format!("{}: {} pairs", input.fleet, pairs.len()),
            request_id: None,
            status: match matrix.failures + matrix.direct_failures {
                0 => "ok".into(),
                failed => format!("{failed} of {} failed", matrix.tried),
            },
            duration_ms: millis(started.elapsed()),
            mutating: false,
        });
        Ok(matrix)
    }

    fn command(&self, input: &MatrixInput) -> String {
        let Some(fleet) = self.0.inventory.fleet(&input.fleet) else { return String::new() };
        let clusters = self.clusters(fleet, input).unwrap_or_default();
        let lines: Vec<String> = pairs(fleet, &clusters, input)
            .iter()
            .map(|pair| {
                Command::mysql(pair.address, pair.port, &pair.cluster.probe.user)
                    .option("--execute", &format!("{AURORA}{}", pair.to_writers()))
                    .line()
            })
            .collect();
        lines.join("\n")
    }
}

impl LoginMatrix {
    /// The clusters that are asked for.
    fn clusters<'a>(
        &'a self,
        fleet: &'a ProxyFleet,
        input: &MatrixInput,
    ) -> Result<Vec<&'a Cluster>, ActionError> {
        let mut clusters: Vec<&Cluster> = self.0.inventory.clusters_of(fleet).collect();
        if let Some(wanted) = &input.clusters {
            if let Some(unknown) = wanted.iter().find(|id| !fleet.clusters.contains(id)) {
                return Err(ActionError::refused(
                    "not_in_inventory",
                    format!("The cluster `{unknown}` is not reached through the fleet {}.", fleet.id),
                )
                .remedy(format!("name some of: {}", list(fleet.clusters.iter().map(String::as_str)))));
            }
            clusters.retain(|cluster| wanted.contains(&cluster.id));
        }
        if clusters.is_empty() {
            return Err(ActionError::refused(
                "no_targets",
                "No cluster is named; an empty set is refused, it never means `all`.",
            ));
        }
        Ok(clusters)
    }

    /// The tries of one pair, one after the other. What is known of it is known at each moment: the time may be over at any.
    async fn cell(
        &self,
        ctx: &Ctx,
        pair: &Pair<'_>,
        tries: u32,
        tried: &mut Tried,
    ) -> Result<(), ActionError> {
        tried.at = ctx.clock.now();
        let mut timeouts = 0;
        while tried.cell.tries < tries && timeouts < MOST_TIMEOUTS {
            let account = self.0.account(&pair.cluster.probe)?;
            let _turn = self.0.turn(pair.cluster).await;
            let started = Instant::now();
            let result = login(pair, account, &self.0.limits).await;
            tried.slowest = tried.slowest.max(started.elapsed());
            let cell = &mut tried.cell;
            cell.tries += 1;
            cell.ms = coarse(tried.slowest);
            match result {
                Ok(server) => {
                    tried.read_only += u32::from(server.1 == Some(true));
                    (cell.server_id, cell.read_only) = server;
                }
                Err(failure) => {
                    timeouts += u32::from(failure.kind.is_timeout());
                    cell.ok = false;
                    cell.failed += 1;
                    cell.error = Some(failure);
                }
            }
        }
        Ok(())
    }
}

/// How long the pairs are tried. Who wants what was tried until then must still get it told before the look's own deadline.
fn time_for(ctx: &Ctx, input: &MatrixInput) -> Duration {
    if input.partial { ctx.deadline - ctx.deadline / 10 } else { ctx.deadline }
}

/// Counts tries through hosts that met a read-only server as failed, where the cluster's endpoint leads to one that is writable.
/// Any try, not the last one: a host may hold the old writer beside the new one.
fn judge_read_only(tried: &mut [Tried]) {
    let writable: Vec<String> = tried
        .iter()
        .filter(|one| one.cell.host == DIRECT && one.cell.ok && one.read_only == 0)
        .filter(|one| one.cell.read_only == Some(false))
        .map(|one| one.cell.cluster.clone())
        .collect();
    for Tried { cell, read_only, .. } in tried {
        if cell.host != DIRECT && *read_only > 0 && writable.contains(&cell.cluster) {
            cell.ok = false;
            cell.failed += *read_only;
            let message = format!(
                "{read_only} of {} tries met a read-only server, and the cluster's own endpoint leads to one that is writable",
                cell.tries
            );
            cell.error = Some(Failure::new(Kind::ReadOnly, message));
        }
    }
}

impl Tried {
    fn not_yet(pair: &Pair<'_>, at: Timestamp) -> Self {
        let cell = Cell {
            host: pair.host.to_owned(),
            cluster: pair.cluster.id.clone(),
            ok: true,
            tries: 0,
            failed: 0,
            error: None,
            server_id: None,
            read_only: None,
            ms: 0.0,
        };
        Self { cell, read_only: 0, at, slowest: Duration::ZERO }
    }

    /// Tells the journal of a pair that failed.
    fn record(&self, ctx: &Ctx) {
        let cell = &self.cell;
        let Some(failure) = &cell.error else { return };
        ctx.calls.push(CallRecord {
            at: self.at,
            service: "mysql".into(),
            operation: "login".into(),
            target: format!("{} via {}", cell.cluster, cell.host),
            request_id: None,
            status: format!("{} of {} failed: {}", cell.failed, cell.tries, failure.kind.name()),
            duration_ms: millis(self.slowest),
            mutating: false,
        });
    }
}

impl Pair<'_> {
    /// What the query ends with, so that it goes where writes go. Only through hosts: who asks a server itself has chosen it.
    fn to_writers(&self) -> &'static str {
        if self.host == DIRECT { "" } else { TO_WRITERS }
    }
}

/// The next of 1, 2, 5, 10, 20, 50 … milliseconds.
fn coarse(duration: Duration) -> f64 {
    let ms = duration.as_secs_f64() * 1000.0;
    let steps = (0..7).flat_map(|n| [1.0, 2.0, 5.0].map(|step| step * 10.0_f64.powi(n)));
    steps.into_iter().find(|step| ms <= *step).unwrap_or(ms)
}

/// All pairs: direct ones first, then host by host.
fn pairs<'a>(fleet: &'a ProxyFleet, clusters: &[&'a Cluster], input: &'a MatrixInput) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    if input.direct {
        pairs.extend(clusters.iter().map(|cluster| Pair {
            host: DIRECT,
            address: &cluster.endpoint,
            port: cluster.port,
            cluster,
        }));
    }
    for host in &input.hosts {
        pairs.extend(clusters.iter().map(|cluster| Pair {
            host: &host.id,
            address: &host.ip,
            port: fleet.port,
            cluster,
        }));
    }
    pairs
}

/// A server's name, and whether it is read-only.
pub(super) type Server = (Option<String>, Option<bool>);

/// Rules that split reads from writes take what ends so for a write.
const TO_WRITERS: &str = " FOR UPDATE";
pub(super) const AURORA: &str = "SELECT @@aurora_server_id, @@innodb_read_only";
const PLAIN: &str = "SELECT @@hostname, @@read_only";

/// One login with its query. The server's identity, and whether it is read-only.
async fn login(pair: &Pair<'_>, account: Account<'_>, limits: &ProbeLimits) -> Result<Server, Failure> {
    if pair.address.is_empty() {
        // In service for the group, and no longer (or not yet) for EC2: nothing gets through it.
        return Err(Failure::new(Kind::Other, "the host has no private address"));
    }
    let mut connection = Connection::open(pair.address, pair.port, account, limits).await?;
    let server = identify(&mut connection, pair.to_writers()).await?;
    connection.quit().await;
    Ok(server)
}

/// Which server answers, and whether it is read-only. `ending` says to a proxy where the query belongs.
pub(super) async fn identify(connection: &mut Connection, ending: &str) -> Result<Server, Failure> {
    let rows = match connection.query(&format!("{AURORA}{ending}")).await {
        Err(failure) if failure.code == Some(UNKNOWN_VARIABLE) => {
            connection.query(&format!("{PLAIN}{ending}")).await?
        }
        answer => answer?,
    };
    let Some(row) = rows.into_iter().next() else {
        return Err(Failure::new(Kind::Other, "the query was answered without a row"));
    };
    let mut values = row.into_iter();
    let server = values.next().flatten();
    let read_only = values.next().flatten().map(|value| value == "1" || value.eq_ignore_ascii_case("on"));
    Ok((server, read_only))
}

impl Matrix {
    fn of(input: &MatrixInput, cells: Vec<Cell>) -> Self {
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
            .hosts
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

pub(super) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
