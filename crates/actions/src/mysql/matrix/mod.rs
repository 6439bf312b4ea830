//! `mysql.login_matrix`: a login to every cluster, directly and through every host.
//!
//! A login alone proves nothing, because ProxySQL answers it by itself; so a probe logs in, sends one query that only the
//! cluster can answer, and quits. Beside "does it work?" the answer says which server it was, and whether it is writable.
//!
//! After a failover a host may keep the old writer: logins through it work, and writes fail, because that server is read-only now.
//! So a try through a host that meets a read-only server failed, if the cluster's own endpoint leads to one that is writable.
//! For that the query must go where writes go: it ends with ` FOR UPDATE`, which the usual rules that split reads from writes
//! send to the writers. It reads no table, so it locks nothing, and a read-only server takes it.
//!
//! - [`pair`]: which logins there are, and one of them;
//! - [`tried`]: what the tries of a pair come to;
//! - [`told`]: what is told of all of them.

mod pair;
mod told;
mod tried;

use std::sync::Arc;
use std::time::Duration;

use domain::action::{ActionError, CallRecord, Ctx, ErrorClass, Observe};
use domain::inventory::{Cluster, ProxyFleet};
use futures::future::try_join_all;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::{Instant, timeout};

use super::identity::AURORA;
use super::{Prober, list, millis};
use crate::input;
use crate::shell::Command;
use pair::pairs;
use told::Matrix;
use tried::{Tried, judge_read_only, out_of_time};

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
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    hosts: Option<Option<Vec<HostRef>>>,
    /// `hosts` may be `null`, as where their group could not be read: then the clusters are tried directly alone. Otherwise that is
    /// refused, so that no host is left out by mistake.
    #[serde(default)]
    unknown_hosts: bool,
    /// Ids of the clusters; all of the fleet when absent.
    #[serde(default)]
    clusters: Option<Vec<String>>,
    /// Also log in directly, past the hosts. Only beside it can a host be told that holds the old writer of a failover: the query
    /// through hosts ends with `FOR UPDATE`, and ProxySQL must send such a one to the writers' hostgroup.
    #[serde(default = "yes")]
    direct: bool,
    /// Logins for each pair of host and cluster (1 to 100): a sick host may fail only now and then. A pair that runs
    /// into its second time-out is given up, and counts as failed; into its first, where the direct login to the cluster has timed out.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 100))]
    tries: u32,
    /// When the time is over before all is through: tell what was tried until then, and leave out what was not. Without it such a look
    /// fails as a whole, so that nobody takes what was not tried for well; unless all that was not tried is of clusters whose direct
    /// login timed out: then it counts as failed (`not_tried`).
    #[serde(default)]
    partial: bool,
}

/// A host, by id and address. More fields are welcome and ignored, so that a whole host of
/// `autoscaling.describe_group` can be handed on.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
struct HostRef {
    /// EC2 instance id.
    id: String,
    /// Private address; logins through a host without one count as failed.
    ip: String,
}

/// Present, be it `null`; no list is empty.
fn given<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<Vec<HostRef>>>, D::Error> {
    let hosts = Option::<Vec<HostRef>>::deserialize(input)?;
    if hosts.as_ref().is_some_and(Vec::is_empty) {
        return Err(D::Error::custom(input::EMPTY));
    }
    Ok(Some(hosts))
}

fn yes() -> bool {
    true
}

fn once() -> u32 {
    1
}

const MOST_TRIES: u32 = 100;

impl Observe for LoginMatrix {
    const NAME: &'static str = "mysql.login_matrix";
    const SUMMARY: &'static str =
        "Log in to clusters directly and through hosts, and ask which server answers";
    const PERMISSIONS: &'static [&'static str] = &[];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local host address port cluster user try failed met error server query
  jq -r --arg fleet "$fleet" --argjson hosts "${hosts:-null}" --argjson wanted "${clusters:-null}" --argjson direct "${direct:-true}" '
    (.fleets[] | select(.id == $fleet)) as $fleet |
    [.clusters[] | .id as $id | select(any($fleet.clusters[]; . == $id) and ($wanted == null or any($wanted[]; . == $id)))] as $clusters |
    ($clusters[] | select($direct) | ["direct", .endpoint, .port, .id, .user]),
    (($hosts // [])[] as $host | $clusters[] | [$host.id, (if $host.ip == "" then "no-address" else $host.ip end), $fleet.port, .id, .user]) | @tsv' <<<"$inventory" |
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
        if matches!(&input.hosts, Some(None)) && !input.unknown_hosts {
            return Err(ActionError::refused(
                "bad_input",
                "`hosts` is null: nobody says which hosts there are.",
            )
            .remedy(
                "look at the group first; or say `unknown_hosts`, and the clusters are tried directly alone",
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
        let time = time_for(ctx);
        match timeout(time, all).await {
            Ok(through) => through.map(drop)?,
            Err(_) if input.partial && tried.iter().any(|one| one.cell.tries > 0) => {
                tried.retain(|one| one.cell.tries > 0);
            }
            Err(_) if !input.partial && out_of_time(&pairs, &mut tried) => {}
            Err(_) => {
                return Err(ActionError::new(
                    ErrorClass::Transient,
                    "timeout",
                    format!(
                        "{} pairs with {} tries each were not through within {:.1} s.",
                        pairs.len(),
                        input.tries,
                        time.as_secs_f64()
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

impl MatrixInput {
    fn hosts(&self) -> &[HostRef] {
        self.hosts.as_ref().and_then(Option::as_deref).unwrap_or_default()
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
}

/// How long the pairs are tried: what was tried until then must still get told before the look's own deadline.
fn time_for(ctx: &Ctx) -> Duration {
    ctx.deadline - ctx.deadline / 10
}
