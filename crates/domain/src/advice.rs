//! From what the prober saw to a sentence and the runbook that fits: the diagnosis, as a pure function.
//!
//! | direct login | through the hosts | what it means |
//! |---|---|---|
//! | works | fails | sick hosts: replace them (the run proves a fresh one first, and stops if that fails too) |
//! | works | a read-only server answers | hosts hold the old writer of a failover: replace or restart those |
//! | works, a read-only server answers | – | a failover was not followed |
//! | refused (account) | fails | account or grants at the cluster; replacing hosts does not help |
//! | no free connection | fails | the writer's connection limit; when it is one cluster alone, `failover-cluster` is offered |
//! | times out | fails | the cluster is overloaded or down; likewise |
//! | not tried | fails | cannot be told |
//! | any | there is no host in service | nobody gets through: look at the group ([`no_host`]) |
//!
//! Deliberately absent: starting anything. It advises; a person (or, one day, triage) decides.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::inventory::{Inventory, ProxyFleet};

/// What the login prober saw, as `mysql.login_matrix` tells it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Matrix {
    /// Direct logins, one cell for each cluster.
    pub direct: Vec<Cell>,
    /// Logins through hosts, one cell for each pair.
    pub via: Vec<Cell>,
    /// What the hosts themselves counted in the last minute, of those that told.
    pub hosts: Vec<Counted>,
}

/// What a ProxySQL host counted lately, of its own connections to the databases.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Counted {
    /// The host's id.
    pub host: String,
    /// Clients that are connected to it.
    pub clients: u64,
    /// Connections that it made.
    pub connected: u64,
    /// Tries to connect that failed.
    pub failed: u64,
    /// Over so many seconds.
    pub seconds: u64,
}

/// The logins to one cluster, directly or through one host.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Cell {
    /// The host's id, or `direct`.
    pub host: String,
    /// The cluster's id.
    pub cluster: String,
    /// Logins tried.
    pub tries: u32,
    /// Logins that failed.
    pub failed: u32,
    /// The last failure.
    pub error: Option<Failure>,
    /// Whether the server that answered last was read-only.
    pub read_only: Option<bool>,
}

/// Why a login failed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Failure {
    /// `access_denied`, `timeout_login`, …
    pub kind: String,
    /// MySQL's error number.
    pub code: Option<u16>,
    /// The server's or the network's words.
    pub message: String,
}

impl Matrix {
    /// The clusters that it tells of, in its order.
    pub fn clusters(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        let all = self.direct.iter().chain(&self.via).map(|cell| cell.cluster.as_str());
        all.filter(|cluster| seen.insert(*cluster)).collect()
    }
}

impl Cell {
    /// Share of the tries that failed, 0 to 1; `None` when nothing was tried.
    pub fn failed_share(&self) -> Option<f64> {
        (self.tries > 0).then(|| f64::from(self.failed) / f64::from(self.tries))
    }

    fn kind(&self) -> &str {
        self.error.as_ref().map_or("", |e| e.kind.as_str())
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// What is wrong, in a sentence.
    pub what: String,
    /// What to do about it, in a sentence.
    pub advice: String,
    /// The runbook that heals it, if one does.
    pub runbook: Option<Recommended>,
    /// The clusters that it is about.
    pub clusters: Vec<String>,
}

/// A runbook with the inputs that fit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommended {
    /// Its name.
    pub name: &'static str,
    /// Input by input.
    pub inputs: Vec<(&'static str, String)>,
}

/// What one row of the diagnosis says of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    SickHosts,
    OldWriter,
    NotFollowed,
    Account,
    Connections,
    ClusterDown,
    CannotTell,
}

/// What is wrong with the logins through a fleet. Clusters with the same trouble are told together.
pub fn logins(fleet: &str, matrix: &Matrix) -> Vec<Finding> {
    let mut rows: BTreeMap<Row, Vec<&str>> = BTreeMap::new();
    for cluster in matrix.clusters() {
        if let Some(row) = diagnose(cluster, matrix) {
            rows.entry(row).or_default().push(cluster);
        }
    }
    rows.into_iter().map(|(row, clusters)| finding(fleet, row, &clusters, matrix)).collect()
}

fn diagnose(cluster: &str, matrix: &Matrix) -> Option<Row> {
    let direct = matrix.direct.iter().find(|c| c.cluster == cluster && c.tries > 0);
    let mut via = matrix.via.iter().filter(|c| c.cluster == cluster);
    match direct {
        Some(direct) if direct.failed > 0 => Some(match direct.kind() {
            "access_denied" => Row::Account,
            "too_many_connections" => Row::Connections,
            _ => Row::ClusterDown,
        }),
        Some(direct) if direct.read_only == Some(true) => Some(Row::NotFollowed),
        Some(_) => {
            let failing: Vec<_> = via.filter(|c| c.failed > 0).collect();
            let old_writer = failing.iter().all(|c| c.kind() == "read_only");
            (!failing.is_empty()).then_some(if old_writer { Row::OldWriter } else { Row::SickHosts })
        }
        None => via.any(|c| c.failed > 0).then_some(Row::CannotTell),
    }
}

fn finding(fleet: &str, row: Row, clusters: &[&str], matrix: &Matrix) -> Finding {
    let named = clusters.join(", ");
    let about = |cell: &&Cell| clusters.contains(&cell.cluster.as_str());
    let through = through(fleet, &matrix.via.iter().filter(about).collect::<Vec<_>>());
    let said = matrix.direct.iter().filter(about).find_map(|c| c.error.as_ref());
    let said = said.map_or_else(String::new, |e| format!(" (“{}”)", e.message));
    let (what, advice) = match row {
        Row::SickHosts => (
            format!("Logins {through} to {named} fail; direct logins work."),
            "The hosts are sick, not the cluster: replace them. The run proves fresh hosts first, and stops if those fail too.".to_owned(),
        ),
        Row::OldWriter => (
            format!("Logins {through} to {named} meet a read-only server; direct logins meet the writer."),
            "These hosts hold the old writer of a failover: reads work, writes fail, and only a new process clears it. Within half a minute of a failover it passes by itself; after that, replace those hosts.".to_owned(),
        ),
        Row::NotFollowed => (
            format!("The writer endpoint of {named} is answered by a read-only server."),
            "A failover was not followed. Look at who is the writer before anything is replaced.".to_owned(),
        ),
        Row::Account => (
            format!("{named} itself refuses the probe's account{said}."),
            "Correct the account or its grants. Replacing hosts does not help.".to_owned(),
        ),
        Row::Connections => (
            format!("{named} has no free connection{said}."),
            "Find out who holds them. Replacing hosts does not help; a failover cuts them all off, and has a cold start.".to_owned(),
        ),
        Row::ClusterDown => (
            format!("Direct logins to {named} fail too{said}."),
            "The cluster is overloaded or down, or fails over just now. Another writer may help, replacing ProxySQL hosts does not.".to_owned(),
        ),
        Row::CannotTell => (
            format!("Logins {through} to {named} fail; no direct login was tried."),
            "Log in directly before you replace anything.".to_owned(),
        ),
    };
    let only = clusters.first().filter(|_| clusters.len() == 1).map(|c| ("cluster", (*c).to_owned()));
    let runbook = match (row, only) {
        (Row::SickHosts, only) => {
            let fleet = ("fleet", fleet.to_owned());
            Some(Recommended { name: "replace-proxysql", inputs: [fleet].into_iter().chain(only).collect() })
        }
        // The others follow the writer: their clients need not reconnect.
        (Row::OldWriter, only) => {
            let inputs = [("fleet", fleet.to_owned()), ("which", "sick".to_owned())];
            Some(Recommended { name: "replace-proxysql", inputs: inputs.into_iter().chain(only).collect() })
        }
        // It looks by itself whether a failover is going on already, and whether a reader can take over.
        (Row::Connections | Row::ClusterDown, Some(cluster)) => {
            Some(Recommended { name: "failover-cluster", inputs: vec![cluster] })
        }
        _ => None,
    };
    Finding { what, advice, runbook, clusters: clusters.iter().map(|c| (*c).to_owned()).collect() }
}

/// A fleet whose group has no host in service, by what `autoscaling.describe_group` tells of it. What does not tell is no such group.
///
/// No runbook is offered: each of those that mend a fleet refuses to go by an empty view, and none launches what its group cannot.
/// Nothing is wrong with one that shall have no host, as the old one of a migration, where all of its clusters are reached through
/// another.
pub fn no_host(inventory: &Inventory, fleet: &ProxyFleet, group: &Value) -> Option<Finding> {
    let listed = |name: &str| group[name].as_array().map(Vec::as_slice);
    let serving = listed("in_service")?;
    if !serving.is_empty() {
        return None;
    }
    let others = || inventory.fleets.iter().filter(|other| other.id != fleet.id);
    let is_elsewhere = |cluster: &String| others().any(|other| other.clusters.contains(cluster));
    let (starting, wanted) = (listed("pending").map_or(0, <[Value]>::len), group["desired"].as_i64());
    if wanted == Some(0) && starting == 0 && fleet.clusters.iter().all(is_elsewhere) {
        return None;
    }
    let wanted = wanted.map_or_else(String::new, |wanted| format!(", {wanted} wanted"));
    let suspended: Vec<&str> = listed("suspended").into_iter().flatten().filter_map(Value::as_str).collect();
    let suspended = match suspended.as_slice() {
        [] => String::new(),
        names => format!(" Suspended in it: {}; resume what it needs, once you know why.", names.join(", ")),
    };
    Some(Finding {
        what: format!(
            "{} has no host in service ({starting} starting{wanted}): nobody gets to {} through it.",
            fleet.id,
            fleet.clusters.join(", ")
        ),
        advice: format!(
            "Look at the activities of its group, which say why no host comes or stays: aws autoscaling describe-scaling-activities --region {} --auto-scaling-group-name {}.{suspended} No runbook helps here: each needs a host that serves.",
            fleet.region, fleet.group
        ),
        runbook: None,
        clusters: fleet.clusters.clone(),
    })
}

/// `through 4 of 6 hosts of proxysql-us (31 % of tries)`.
fn through(fleet: &str, cells: &[&Cell]) -> String {
    let mut hosts: BTreeMap<&str, bool> = BTreeMap::new();
    for cell in cells {
        *hosts.entry(&cell.host).or_default() |= cell.failed > 0;
    }
    let failing = hosts.values().filter(|failing| **failing).count();
    let sum = |of: fn(&Cell) -> u32| cells.iter().map(|c| f64::from(of(c))).sum::<f64>();
    let failed = sum(|c| c.failed) / sum(|c| c.tries).max(1.0);
    format!("through {failing} of {} hosts of {fleet} ({} of tries)", hosts.len(), share(&failed))
}

/// An error share from which customers feel it, 0 to 1.
pub const FELT: f64 = 0.01;

/// Clusters whose customers see errors that no finding explains: told, so that a green matrix does not calm anybody.
pub fn unexplained(shares: &[(String, f64)], findings: &[Finding]) -> Option<Finding> {
    let known = |cluster: &String| findings.iter().any(|f| f.clusters.contains(cluster));
    let felt: Vec<_> = shares.iter().filter(|(cluster, value)| *value >= FELT && !known(cluster)).collect();
    if felt.is_empty() {
        return None;
    }
    let named: Vec<_> =
        felt.iter().map(|(cluster, value)| format!("{} of {cluster}", share(value))).collect();
    Some(Finding {
        what: format!("Requests fail, and the login probes see nothing so far: {}.", named.join(", ")),
        advice: "A host that fails few of its logins can slip past the probes for a while. Look at the cluster, and at what changed last.".into(),
        runbook: None,
        clusters: felt.into_iter().map(|(cluster, _)| cluster.clone()).collect(),
    })
}

/// A share of 1 as a percentage: `0 %`, `0.4 %`, `31 %`.
pub fn share(value: &f64) -> String {
    percent(&(value * 100.0))
}

/// A number of percent. What is not nothing is never told as nothing, and what is not all never as all.
pub fn percent(value: &f64) -> String {
    let value = *value;
    if value > 0.0 && value < 0.05 {
        return "< 0.1 %".into();
    }
    if value < 9.95 && value.fract().abs() > 0.049 {
        return format!("{value:.1} %");
    }
    if value > 99.5 && value < 100.0 { "99 %".into() } else { format!("{value:.0} %") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cell(host: &str, cluster: &str, failed: u32) -> Cell {
        let error = (failed > 0).then(|| Failure { kind: "timeout_login".into(), ..Failure::default() });
        Cell { host: host.into(), cluster: cluster.into(), tries: 10, failed, error, read_only: Some(false) }
    }

    fn matrix(direct: Vec<Cell>, via: Vec<Cell>) -> Matrix {
        Matrix { direct, via, ..Matrix::default() }
    }

    #[test]
    fn sick_hosts_are_told_with_the_runbook_that_replaces_them() {
        let seen = matrix(
            vec![cell("direct", "shard-a", 0), cell("direct", "shard-b", 0)],
            vec![
                cell("i-1", "shard-a", 0),
                cell("i-2", "shard-a", 0),
                cell("i-1", "shard-b", 3),
                cell("i-2", "shard-b", 4),
            ],
        );
        let found = logins("proxysql-us", &seen);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].what,
            "Logins through 2 of 2 hosts of proxysql-us (35 % of tries) to shard-b fail; direct logins work."
        );
        let runbook = found[0].runbook.as_ref().unwrap();
        assert_eq!(runbook.inputs, [("fleet", "proxysql-us".to_owned()), ("cluster", "shard-b".to_owned())]);
    }

    #[test]
    fn several_clusters_behind_the_same_sick_hosts_are_one_finding_without_a_cluster_input() {
        let seen = matrix(
            vec![cell("direct", "a", 0), cell("direct", "b", 0)],
            vec![cell("i-1", "a", 10), cell("i-1", "b", 10)],
        );
        let found = logins("f", &seen);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].runbook.as_ref().unwrap().inputs, [("fleet", "f".to_owned())]);
    }

    #[test]
    fn when_direct_logins_fail_too_no_host_is_to_be_replaced() {
        let kinds = [
            ("timeout_login", Some("failover-cluster")),
            ("too_many_connections", Some("failover-cluster")),
            ("other", Some("failover-cluster")),
            ("access_denied", None),
        ];
        for (kind, runbook) in kinds {
            let failing = |cluster: &str| {
                let error = Some(Failure { kind: kind.into(), message: "no".into(), code: None });
                Cell { error, ..cell("direct", cluster, 10) }
            };
            let found = logins("f", &matrix(vec![failing("a")], vec![cell("i-1", "a", 10)]));
            assert_eq!(found.len(), 1, "{kind}");
            assert_eq!(found[0].runbook.as_ref().map(|r| r.name), runbook, "{kind}");
            // Several at once are no sick writer.
            let found = logins("f", &matrix(vec![failing("a"), failing("b")], vec![]));
            assert!(found[0].runbook.is_none(), "{kind}");
        }
    }

    #[test]
    fn a_read_only_writer_endpoint_is_a_failover_not_followed() {
        let mut direct = cell("direct", "a", 0);
        direct.read_only = Some(true);
        let found = logins("f", &matrix(vec![direct], vec![]));
        assert!(found[0].what.contains("read-only"), "{found:?}");
        assert!(found[0].runbook.is_none());
    }

    #[test]
    fn hosts_that_meet_a_read_only_server_hold_the_old_writer() {
        let kept = |host: &str, kind: &str| {
            let error = Some(Failure { kind: kind.into(), ..Failure::default() });
            Cell { error, read_only: Some(true), ..cell(host, "a", 10) }
        };
        let direct = || vec![cell("direct", "a", 0)];
        let found = logins("f", &matrix(direct(), vec![kept("i-1", "read_only"), cell("i-2", "a", 0)]));
        assert!(found[0].what.contains("through 1 of 2 hosts of f"), "{found:?}");
        assert!(found[0].advice.contains("hold the old writer"), "{found:?}");
        let runbook = found[0].runbook.as_ref().unwrap();
        let expected = [("fleet", "f".to_owned()), ("which", "sick".to_owned()), ("cluster", "a".to_owned())];
        assert_eq!((runbook.name, &runbook.inputs[..]), ("replace-proxysql", &expected[..]));
        // Beside hosts that fail otherwise they are one trouble of the hosts.
        let found = logins("f", &matrix(direct(), vec![kept("i-1", "read_only"), kept("i-2", "other")]));
        assert!(found.len() == 1 && found[0].advice.contains("sick"), "{found:?}");
    }

    #[test]
    fn a_group_without_a_host_in_service_is_told_and_one_that_was_not_read_is_not() {
        let fleet: ProxyFleet = serde_json::from_value(json!({
            "id": "f", "region": "eu-west-1", "group": "g", "clusters": ["a", "b"],
            "admin": { "user": "radmin", "password": { "file": "p" } },
        }))
        .unwrap();
        let group = |serving: Value| json!({ "in_service": serving, "pending": ["i-1"], "desired": 2, "suspended": ["Launch"] });
        let none = Inventory::default();
        let found = no_host(&none, &fleet, &group(json!([]))).unwrap();
        assert_eq!(
            found.what,
            "f has no host in service (1 starting, 2 wanted): nobody gets to a, b through it."
        );
        assert!(
            found.advice.contains("--auto-scaling-group-name g")
                && found.advice.contains("Suspended in it: Launch;")
        );
        assert!(found.runbook.is_none() && found.clusters == ["a", "b"]);
        assert_eq!(no_host(&none, &fleet, &group(json!([{ "id": "i-1" }]))), None);
        assert_eq!(no_host(&none, &fleet, &Value::Null), None);
        // Scaled to nothing: by somebody's mistake, or because another fleet has taken its place.
        let retired = json!({ "desired": 0, "in_service": [], "pending": [] });
        assert!(no_host(&none, &fleet, &retired).is_some());
        let beside = |clusters: &[&str]| {
            let clusters = clusters.iter().map(ToString::to_string).collect();
            let other = ProxyFleet { id: "new".into(), clusters, ..fleet.clone() };
            Inventory { fleets: vec![fleet.clone(), other], ..Inventory::default() }
        };
        let all: Vec<&str> = fleet.clusters.iter().map(String::as_str).collect();
        assert!(no_host(&beside(&all[1..]), &fleet, &retired).is_some());
        assert_eq!(no_host(&beside(&all), &fleet, &retired), None);
        assert!(no_host(&beside(&all), &fleet, &group(json!([]))).is_some());
    }

    #[test]
    fn without_a_direct_login_nothing_is_recommended() {
        let found = logins("f", &matrix(vec![], vec![cell("i-1", "a", 1)]));
        assert!(found[0].runbook.is_none());
        assert!(found[0].what.contains("no direct login was tried"));
    }

    #[test]
    fn all_well_is_silence() {
        assert!(logins("f", &matrix(vec![cell("direct", "a", 0)], vec![cell("i-1", "a", 0)])).is_empty());
        assert!(logins("f", &Matrix::default()).is_empty());
        assert!(unexplained(&[("a".into(), 0.002)], &[]).is_none());
    }

    #[test]
    fn errors_that_the_matrix_does_not_explain_are_told() {
        let found = unexplained(&[("a".into(), 0.31), ("b".into(), 0.0)], &[]).unwrap();
        assert_eq!(found.what, "Requests fail, and the login probes see nothing so far: 31 % of a.");
    }
}
