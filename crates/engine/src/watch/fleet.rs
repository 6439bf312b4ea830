//! One fleet under watch: its group, and the logins to each of its clusters.
//!
//! Each cluster is tried by itself. One that is down makes every try wait for its timeout, and must not keep what is known of
//! the others: a round takes in what has been answered within its patience, and the next one takes in the rest.
//!
//! Without hosts, because there is none in service or because the group cannot be read, the clusters are still tried directly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::action::{ActionError, ErrorClass};
use domain::inventory::ProxyFleet;
use futures::future::join_all;
use serde_json::{Value, json};
use store::fleets::FleetView;
use tokio::task::{AbortHandle, JoinSet};

use super::counted::Counted;
use super::recent::{Recent, matrix};
use super::{GROUP, LOGINS, STATISTICS, STATUS, observe};
use crate::Core;

/// Logins tried for each pair in a round.
const TRIES: u32 = 5;
/// So many where customers see errors, or hosts count failures, and no login has failed yet: a host that fails few of them is looked at closer.
const CLOSER: u32 = 20;

/// A host that has come lately may begin to listen within so long (clock time).
const BEGINS: TimeDelta = TimeDelta::minutes(5);

/// Rounds in which it has answered, until what is told of it counts.
const SETTLES: u32 = 2;

/// A round waits for its answers at least so long (wall time).
const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// What one round answered for one cluster.
struct Answer {
    cluster: String,
    matrix: Result<Value, ActionError>,
}

pub(super) struct Watched {
    fleet: ProxyFleet,
    recent: BTreeMap<String, Recent>,
    counted: Counted,
    looks: JoinSet<Answer>,
    /// Hosts that came after the first look: each since when, and in how many rounds it has answered.
    coming: BTreeMap<String, (Timestamp, u32)>,
    /// Hosts that are known; nothing before the first look.
    known: Option<BTreeSet<String>>,
    /// Clusters that are being tried, or were.
    tried: BTreeMap<String, AbortHandle>,
}

impl Watched {
    pub(super) fn new(fleet: &ProxyFleet) -> Self {
        Self {
            fleet: fleet.clone(),
            recent: BTreeMap::new(),
            counted: Counted::default(),
            looks: JoinSet::new(),
            coming: BTreeMap::new(),
            known: None,
            tried: BTreeMap::new(),
        }
    }

    /// The group, and the login matrix of its hosts.
    /// `felt` are the clusters whose customers see errors.
    pub(super) async fn look(
        &mut self,
        core: &Arc<Core>,
        patience: Duration,
        felt: &BTreeSet<String>,
    ) -> FleetView {
        let fleet = &self.fleet;
        let mut view = FleetView {
            fleet: fleet.id.clone(),
            at: core.clock.now(),
            group: None,
            matrix: None,
            error: None,
        };
        match group(core, fleet, patience).await {
            Ok(group) => view.group = Some(group),
            Err(e) => view.error = Some(format!("The group could not be read: {e}")),
        }
        let serving = view.group.as_ref().and_then(|group| group["in_service"].as_array());
        let mut hosts = serving.cloned().unwrap_or_default();
        if hosts.is_empty() {
            // What cannot be seen now is not filled in from before.
            self.recent.values_mut().for_each(Recent::forget_hosts);
        }
        self.begin(core, &hosts, felt);
        let fleet = self.fleet.id.clone();
        let counts = statistics(core, &fleet, &hosts, patience);
        let (error, counts) = tokio::join!(self.take_in(core, patience), counts);
        let errors: Vec<String> = view.error.take().into_iter().chain(error).collect();
        view.error = (!errors.is_empty()).then(|| errors.join(" "));
        for told in counts {
            self.counted.add(core.clock.now(), &told);
        }
        let mut unheard = Vec::new();
        // Who does not know which hosts there are does not know which of them are new, either.
        if view.group.is_some() {
            unheard = self.coming(core.clock.now(), &hosts);
            unheard.extend(self.leaving(core, &hosts, patience).await);
        }
        for host in unheard {
            self.recent.values_mut().for_each(|recent| recent.forget(&host));
            hosts.retain(|h| h["id"] != host);
        }
        let ids: Vec<&Value> = hosts.iter().map(|host| &host["id"]).collect();
        let now = core.clock.now();
        let told = self.fleet.clusters.iter().filter_map(|id| {
            let (direct, mut via) = self.recent.get_mut(id)?.told(now);
            via.retain(|cell| ids.contains(&&cell["host"]));
            Some((direct, via))
        });
        let mut matrix = matrix(told);
        matrix["hosts"] = self.counted.told(now, &ids).into();
        let nothing = |side: &str| matrix[side].as_array().is_none_or(Vec::is_empty);
        view.matrix = (!nothing("direct") || !nothing("via")).then_some(matrix);
        view
    }

    /// Hosts through which logins fail because their ProxySQL has not begun to listen: they are in service for their group as soon as
    /// the machine runs. One that answers anything, were it a refusal of the account, has come.
    fn coming(&mut self, now: Timestamp, hosts: &[Value]) -> Vec<Value> {
        let ids: BTreeSet<String> =
            hosts.iter().filter_map(|host| host["id"].as_str()).map(str::to_owned).collect();
        // Of those that were there at the first look nobody knows when they came.
        for new in self.known.iter().flat_map(|known| ids.difference(known)) {
            self.coming.insert(new.clone(), (now, 0));
        }
        let answers = |host: &str| {
            let host = json!(host);
            self.recent.values().any(|recent| recent.is_answered_by(&host))
        };
        for (host, (_, answered)) in &mut self.coming {
            *answered += u32::from(answers(host));
        }
        // Tries of before it listened are told beside, and after, the first that works.
        self.coming.retain(|host, (since, answered)| {
            ids.contains(host) && now - *since < BEGINS && *answered <= SETTLES
        });
        self.known = Some(ids);
        self.coming.keys().map(|host| json!(host)).collect()
    }

    /// Hosts through which logins fail because they are on their way out: they have left the service since the group was read, or
    /// take no new connections by order (ProxySQL is paused, and says so; one that is dead says nothing).
    async fn leaving(&self, core: &Core, hosts: &[Value], patience: Duration) -> Vec<Value> {
        let failing = |host: &&Value| self.recent.values().any(|recent| recent.fails_through(&host["id"]));
        let suspects: Vec<&Value> = hosts.iter().filter(failing).collect();
        if suspects.is_empty() {
            return Vec::new();
        }
        let refusing = |host: &&&Value| self.recent.values().any(|recent| recent.is_refused_by(&host["id"]));
        let paused = join_all(suspects.iter().filter(refusing).map(async |host| {
            let about = json!({ "fleet": self.fleet.id, "host": host });
            let status = in_time(core, patience, observe(core, STATUS, about)).await;
            let paused = status.is_ok_and(|status| status["paused"] == true);
            paused.then(|| host["id"].clone())
        }));
        let paused: Vec<Value> = paused.await.into_iter().flatten().collect();
        // Last: who was paused a moment ago may have left by now, and then does not say so any more.
        let group = group(core, &self.fleet, patience).await.ok();
        let serving = group.as_ref().and_then(|group| group["ids"].as_array());
        let ids = suspects.into_iter().map(|host| host["id"].clone());
        ids.filter(|id| paused.contains(id) || serving.is_some_and(|ids| !ids.contains(id))).collect()
    }

    /// Tries every cluster that is not being tried already.
    fn begin(&mut self, core: &Arc<Core>, hosts: &[Value], felt: &BTreeSet<String>) {
        // Where some login fails already, that is what the counters count.
        let counted = self.counted.rise() && !self.recent.values().any(Recent::fails);
        for cluster in &self.fleet.clusters {
            if self.tried.get(cluster).is_some_and(|look| !look.is_finished()) {
                continue;
            }
            let unexplained =
                (felt.contains(cluster) || counted) && !self.recent.get(cluster).is_some_and(Recent::fails);
            let tries = if unexplained { CLOSER } else { TRIES };
            let mut input =
                json!({ "fleet": self.fleet.id, "clusters": [cluster], "tries": tries, "partial": true });
            if !hosts.is_empty() {
                input["hosts"] = hosts.into();
            }
            let (core, name) = (core.clone(), cluster.clone());
            let look = self.looks.spawn(async move {
                let matrix = observe(&core, LOGINS, input).await;
                Answer { cluster: name, matrix }
            });
            self.tried.insert(cluster.clone(), look);
        }
    }

    /// Takes in what is answered within the patience; what could not be tried at all, in a sentence.
    async fn take_in(&mut self, core: &Core, patience: Duration) -> Option<String> {
        let end = over(core, patience);
        tokio::pin!(end);
        let mut failed = Vec::new();
        loop {
            let answer = tokio::select! {
                biased;
                answer = self.looks.join_next() => match answer {
                    None => break,
                    // It panicked: nothing is known, and the next round tries again.
                    Some(Err(_)) => continue,
                    Some(Ok(answer)) => answer,
                },
                () = &mut end => break,
            };
            match answer.matrix {
                // Told for a minute from now on, however long the tries have taken.
                Ok(matrix) => self.recent.entry(answer.cluster).or_default().add(core.clock.now(), matrix),
                Err(e) => failed.push(format!("{}: {e}", answer.cluster)),
            }
        }
        (!failed.is_empty()).then(|| format!("Logins could not be tried: {}", failed.join("; ")))
    }
}

/// The group of a fleet. More patience than for a login: without it nobody knows which hosts to try, and when much is asked of the
/// region it waits its turn. A region that hangs is blind after most of a round, and late for none.
async fn group(core: &Core, fleet: &ProxyFleet, patience: Duration) -> Result<Value, ActionError> {
    let group = json!({ "region": fleet.region, "group": fleet.group });
    in_time(core, patience * 3, observe(core, GROUP, group)).await
}

async fn in_time(
    core: &Core,
    patience: Duration,
    look: impl Future<Output = Result<Value, ActionError>>,
) -> Result<Value, ActionError> {
    tokio::select! {
        biased;
        seen = look => seen,
        () = over(core, patience) => Err(ActionError::new(ErrorClass::Transient, "timeout", "no answer in time")),
    }
}

/// Completes when the patience is over. However fast the clock runs, answers come at the pace of the machine.
async fn over(core: &Core, patience: Duration) {
    tokio::join!(core.clock.sleep(patience), tokio::time::sleep(LEAST_PATIENCE));
}

/// What each host counts, of those that answer within the patience.
async fn statistics(core: &Core, fleet: &str, hosts: &[Value], patience: Duration) -> Vec<Value> {
    let asked = hosts.iter().map(async |host| {
        let about = json!({ "fleet": fleet, "host": host });
        let patience = patience.max(LEAST_PATIENCE);
        tokio::time::timeout(patience, observe(core, STATISTICS, about)).await.ok()?.ok()
    });
    join_all(asked).await.into_iter().flatten().collect()
}
