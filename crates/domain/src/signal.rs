//! Signals: what a machine says is wrong, in one form, whoever says it.
//!
//! An alert source's own words become a kind, labels and a fingerprint; the same trouble said again has the same fingerprint, and
//! counts up instead of being a new signal. A signal says nothing about what is to be done: that is [`crate::triage`]'s to judge.
//!
//! - [`alarm`]: an alarm of CloudWatch as a signal;
//! - [`Signal::named_by`]: what AWS names, by the inventory's names;
//! - [`of_logins`], [`of_group`]: the login prober's own signals, from what it saw in the last minute; [`unseen`]: of which of
//!   them nothing can be said, because nothing was seen.

pub mod alarm;
mod named;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Timestamp;
use crate::advice::{self, Cell, Matrix};
use crate::inventory::{Inventory, ProxyFleet};

/// The login prober's name as a source.
pub const PROBER: &str = "prober";

/// The kind of what RDS says has happened.
pub const RDS_EVENT: &str = "rds_event";

/// The kind of what Auto Scaling says has happened.
pub const AUTO_SCALING_EVENT: &str = "autoscaling_event";

/// Kinds that say that something has happened, and never that it is over: it is, a while after it was last said.
pub const EVENTS: [&str; 2] = [RDS_EVENT, AUTO_SCALING_EVENT];

/// An event is over when it was not said for so long (clock time).
pub const EVENT_LASTS: TimeDelta = TimeDelta::minutes(15);

/// Sources that give each time of a trouble a fingerprint of its own: what was over by it never fires again.
pub const ONCE: [&str; 2] = ["datadog", "opsgenie"];

/// Sources whose messages bear the time of what they tell: of two about the same, the one with the later time is the newer, in
/// whatever order they come.
pub const DATED: [&str; 2] = ["sns", "eventbridge"];

/// Sources that say of whatever happens to a trouble when it began, and a later time only when it has begun anew: what bears no
/// later time than what is over is a late word of that.
pub const REOPENED: [&str; 1] = ["pagerduty"];

/// Is the trouble there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalState {
    /// It is.
    Firing,
    /// It is over. Such a signal never starts anything.
    Resolved,
    /// It came from a source that is trusted, and is not understood. Kept and shown; it never starts anything.
    Unclear,
}

/// What a machine says is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Who says so: `prober`, `alertmanager`, …
    pub source: String,
    /// What is wrong, in the word that rules name it by: `logins_fail`, the name of an alert.
    pub kind: String,
    /// The same trouble said again has the same, within its source.
    pub fingerprint: String,
    /// Is it there?
    pub state: SignalState,
    /// How bad, in the source's own word.
    pub severity: Option<String>,
    /// In a sentence, for people.
    pub summary: String,
    /// What it is about.
    pub labels: BTreeMap<String, String>,
    /// Since when, by the source's clock, if it tells.
    pub started_at: Option<Timestamp>,
}

impl SignalState {
    /// Its word, as it is stored and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
            Self::Unclear => "unclear",
        }
    }
}

impl FromStr for SignalState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Firing, Self::Resolved, Self::Unclear]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| format!("`{word}` is no state of a signal"))
    }
}

impl fmt::Display for SignalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Signal {
    /// As it is to be taken at this moment: an event that comes when it would be over by now is kept, and starts nothing.
    #[must_use]
    pub fn taken_at(mut self, now: Timestamp) -> Self {
        let event = EVENTS.contains(&self.kind.as_str()) && DATED.contains(&self.source.as_str());
        if event && self.started_at.is_some_and(|at| now - at > EVENT_LASTS) {
            self.state = SignalState::Resolved;
        }
        self
    }

    /// What its incident is called: that outlives the numbers of the moment, so the prober's summary is not said with them.
    pub fn title(&self) -> String {
        let label = |name: &str| self.labels.get(name).map_or("", String::as_str);
        let (cluster, fleet) = (label("cluster"), label("fleet"));
        match (self.source.as_str(), self.kind.as_str(), label("hosts"), label("direct")) {
            (PROBER, "logins_fail", "none", "read_only") => format!("{cluster} is read-only"),
            (PROBER, "logins_fail", "none", _) => format!("Logins to {cluster} fail"),
            (PROBER, "logins_fail", _, _) => format!("Logins to {cluster} fail through {fleet}"),
            _ => self.summary.clone(),
        }
    }

    /// What it says is struck, in the names of locks, by the labels that name it: whether any rule takes it or not.
    pub fn targets(&self) -> Vec<String> {
        let named = ["fleet", "cluster"].into_iter();
        named
            .filter_map(|kind| Some(format!("{kind}:{}", self.labels.get(kind).filter(|id| !id.is_empty())?)))
            .collect()
    }

    /// What expressions see as `signal`. A label that it does not have is empty text, as it is for Prometheus: `named` are those
    /// that the expressions ask for.
    pub fn value<'a>(&self, named: impl IntoIterator<Item = &'a str>) -> Value {
        let mut labels: BTreeMap<&str, &str> = named.into_iter().map(|name| (name, "")).collect();
        labels.extend(self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        json!({
            "source": self.source, "kind": self.kind, "severity": self.severity.as_deref().unwrap_or_default(),
            "summary": self.summary, "labels": labels,
        })
    }
}

/// One failed login may be a lost packet; so many within the last minute are not.
const ENOUGH: u32 = 3;

/// What the login prober says: a signal for each cluster of the fleet to which logins fail, by the rounds of the last minute.
///
/// Labels: `fleet`, `cluster`, `hosts` (through how many of them logins fail: `none`, `one`, `several`, `all`), and `direct`, what
/// a login past the hosts meets: `ok`, `read_only`, `refused`, `no_connection`, `down`, or `not_tried`.
pub fn of_logins(fleet: &str, matrix: &Matrix) -> Vec<Signal> {
    matrix.clusters().into_iter().filter_map(|cluster| of_cluster(fleet, cluster, matrix)).collect()
}

/// What it says of a fleet that has no host in service, by what `autoscaling.describe_group` tells. Its label: `fleet`.
pub fn of_group(inventory: &Inventory, fleet: &ProxyFleet, group: &Value) -> Option<Signal> {
    let found = advice::no_host(inventory, fleet, group)?;
    Some(Signal {
        source: PROBER.into(),
        kind: "no_host_in_service".into(),
        fingerprint: no_host(&fleet.id),
        state: SignalState::Firing,
        severity: None,
        summary: found.what,
        labels: BTreeMap::from([("fleet".to_owned(), fleet.id.clone())]),
        started_at: None,
    })
}

/// Fingerprints of what it cannot know of a fleet just now: of a group that was not read, and of clusters that were not tried, past the
/// hosts and through them. Through which hosts there are, only the group says. That it does not say them again does not mean that they
/// are over.
pub fn unseen(fleet: &ProxyFleet, group: Option<&Value>, matrix: &Matrix) -> Vec<String> {
    let serving = group.and_then(|group| group["in_service"].as_array());
    let tried = |cells: &[Cell], cluster: &str| cells.iter().any(|c| c.cluster == cluster && c.tries > 0);
    let is_seen = |cluster: &str| {
        let through = serving.is_some_and(|hosts| hosts.is_empty() || tried(&matrix.via, cluster));
        through && tried(&matrix.direct, cluster)
    };
    let untried = fleet.clusters.iter().filter(|cluster| !is_seen(cluster));
    let unread = group.is_none().then(|| no_host(&fleet.id));
    untried.map(|cluster| logins_fail(&fleet.id, cluster)).chain(unread).collect()
}

fn logins_fail(fleet: &str, cluster: &str) -> String {
    format!("logins_fail/{fleet}/{cluster}")
}

fn no_host(fleet: &str) -> String {
    format!("no_host_in_service/{fleet}")
}

fn of_cluster(fleet: &str, cluster: &str, matrix: &Matrix) -> Option<Signal> {
    let direct = matrix.direct.iter().find(|c| c.cluster == cluster && c.tries > 0);
    let via: Vec<_> = matrix.via.iter().filter(|c| c.cluster == cluster && c.tries > 0).collect();
    let failed = via.iter().chain(&direct).map(|c| c.failed).sum::<u32>();
    let read_only = direct.is_some_and(|d| d.read_only == Some(true));
    if failed < ENOUGH && !read_only {
        return None;
    }
    let hosts = match via.iter().filter(|c| c.failed > 0).count() {
        0 => "none",
        n if n == via.len() && n > 1 => "all",
        1 => "one",
        _ => "several",
    };
    let direct = match direct {
        None => "not_tried",
        Some(cell) if cell.failed > 0 => match cell.error.as_ref().map_or("", |e| e.kind.as_str()) {
            "access_denied" => "refused",
            "too_many_connections" => "no_connection",
            _ => "down",
        },
        Some(_) if read_only => "read_only",
        Some(_) => "ok",
    };
    let labels = [("fleet", fleet), ("cluster", cluster), ("hosts", hosts), ("direct", direct)];
    let about = Matrix {
        direct: matrix.direct.iter().filter(|c| c.cluster == cluster).cloned().collect(),
        via: via.into_iter().cloned().collect(),
        ..Matrix::default()
    };
    Some(Signal {
        source: PROBER.into(),
        kind: "logins_fail".into(),
        fingerprint: logins_fail(fleet, cluster),
        state: SignalState::Firing,
        severity: None,
        summary: advice::logins(fleet, &about).into_iter().map(|found| found.what).collect(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        started_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::{Cell, Failure};

    fn cell(host: &str, failed: u32, kind: &str) -> Cell {
        let error = (failed > 0).then(|| Failure { kind: kind.into(), ..Failure::default() });
        Cell { host: host.into(), cluster: "b".into(), tries: 30, failed, error, read_only: Some(false) }
    }

    fn says(direct: Cell, via: Vec<Cell>) -> Option<(String, String)> {
        let found = of_logins("f", &Matrix { direct: vec![direct], via, ..Matrix::default() });
        let signal = found.first()?;
        assert_eq!((found.len(), signal.fingerprint.as_str()), (1, "logins_fail/f/b"));
        assert!(!signal.summary.is_empty());
        let title = signal.title();
        assert!(title.contains('b') && !title.contains(|c: char| c.is_ascii_digit()), "{title}");
        Some((signal.labels["hosts"].clone(), signal.labels["direct"].clone()))
    }

    #[test]
    fn a_login_or_two_that_fail_are_no_signal() {
        assert_eq!(says(cell("direct", 0, ""), vec![cell("i-1", 1, "other"), cell("i-2", 1, "other")]), None);
        assert_eq!(says(cell("direct", 2, "timeout_login"), vec![]), None);
    }

    #[test]
    fn it_says_through_how_many_hosts_and_what_the_direct_login_met() {
        let said = |hosts: &str, direct: &str| Some((hosts.to_owned(), direct.to_owned()));
        let (sick, well) = (cell("i-1", 3, "access_denied"), cell("i-2", 0, ""));
        let also = cell("i-3", 3, "access_denied");
        assert_eq!(says(cell("direct", 0, ""), vec![sick.clone(), well.clone()]), said("one", "ok"));
        assert_eq!(
            says(cell("direct", 0, ""), vec![sick.clone(), well.clone(), also.clone()]),
            said("several", "ok")
        );
        assert_eq!(says(cell("direct", 0, ""), vec![sick.clone(), also]), said("all", "ok"));
        for (kind, direct) in [
            ("access_denied", "refused"),
            ("too_many_connections", "no_connection"),
            ("timeout_login", "down"),
        ] {
            assert_eq!(says(cell("direct", 9, kind), vec![well.clone()]), said("none", direct));
        }
        let follower = Cell { read_only: Some(true), ..cell("direct", 0, "") };
        assert_eq!(says(follower, vec![well]), said("none", "read_only"));
        let untried = Cell { tries: 0, ..cell("direct", 0, "") };
        assert_eq!(says(untried, vec![sick]), said("one", "not_tried"));
    }

    #[test]
    fn of_what_was_not_seen_nothing_is_said_to_be_over() {
        let fleet: ProxyFleet = serde_json::from_value(json!({
            "id": "f", "region": "eu-west-1", "group": "g", "clusters": ["a", "b"],
            "admin": { "user": "radmin", "password": { "file": "p" } },
        }))
        .unwrap();
        let empty = json!({ "in_service": [], "pending": [], "desired": 2, "suspended": [] });
        let signal = of_group(&Inventory::default(), &fleet, &empty).unwrap();
        assert_eq!(
            (signal.kind.as_str(), signal.targets()),
            ("no_host_in_service", vec!["fleet:f".to_owned()])
        );
        assert!(signal.summary.contains("no host in service"));
        let seen = Matrix { direct: vec![cell("direct", 0, "")], ..Matrix::default() };
        assert_eq!(unseen(&fleet, Some(&empty), &seen), ["logins_fail/f/a"]);
        // Through which of its hosts nobody gets is not told by a direct login, nor by a group that cannot be read.
        let serving = json!({ "in_service": [{ "id": "i-1" }] });
        assert_eq!(unseen(&fleet, Some(&serving), &seen), ["logins_fail/f/a", "logins_fail/f/b"]);
        let unread = unseen(&fleet, None, &seen);
        assert_eq!(unread, ["logins_fail/f/a", "logins_fail/f/b", "no_host_in_service/f"]);
        let whole = Matrix { via: vec![cell("i-1", 0, "")], ..seen.clone() };
        assert_eq!(unseen(&fleet, Some(&serving), &whole), ["logins_fail/f/a"]);
        assert_eq!(
            unseen(&fleet, Some(&serving), &Matrix { direct: vec![], ..whole }),
            ["logins_fail/f/a", "logins_fail/f/b"]
        );
        let nothing = unseen(&fleet, None, &Matrix::default());
        assert_eq!(nothing, ["logins_fail/f/a", "logins_fail/f/b", signal.fingerprint.as_str()]);
    }

    #[test]
    fn an_event_that_comes_when_it_would_be_over_does_not_fire() {
        let at = Timestamp::UNIX_EPOCH + TimeDelta::days(1);
        let state = |source: &str, kind: &str, age: TimeDelta| {
            let logins =
                of_logins("f", &Matrix { direct: vec![cell("direct", 3, "other")], ..Matrix::default() });
            let signal = Signal {
                source: source.into(),
                kind: kind.into(),
                started_at: Some(at - age),
                ..logins[0].clone()
            };
            signal.taken_at(at).state
        };
        let late = EVENT_LASTS + TimeDelta::seconds(1);
        assert_eq!(state("sns", RDS_EVENT, late), SignalState::Resolved);
        assert_eq!(state("eventbridge", AUTO_SCALING_EVENT, late), SignalState::Resolved);
        assert_eq!(state("sns", RDS_EVENT, EVENT_LASTS), SignalState::Firing);
        assert_eq!(state("sns", "an alarm", late), SignalState::Firing);
        assert_eq!(state("generic", RDS_EVENT, late), SignalState::Firing);
    }

    #[test]
    fn a_label_that_it_does_not_have_is_empty_text() {
        let found = of_logins("f", &Matrix { direct: vec![cell("direct", 3, "other")], ..Matrix::default() });
        let value = found[0].value(["team", "fleet"]);
        assert_eq!((&value["labels"]["team"], &value["labels"]["fleet"]), (&json!(""), &json!("f")));
    }
}
