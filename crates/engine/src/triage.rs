//! The reconciler that judges signals: it has no input but the store, so that whatever it was told, lost or left half done, it
//! does.
//!
//! ```text
//!  signals that are due ─claim─▶ look (`look`: rules, runs, brakes, the plan) ─▶ domain::triage::decide
//!        ▲                                                                          │
//!        └── look again, while it fires ◀── start, by its key ◀── one statement: verdict, incident
//! ```
//!
//! Ten thousand signals at once are judged at a bounded pace: those that no rule takes get their verdicts together, without a look;
//! of the others a few at a time, the new ones first, and a plan that was made a moment ago serves all that ask for the same.
//!
//! A claim ends with its worker's lease, so a signal is judged by one process at a time, and by another when that dies. Between
//! storing a verdict and starting its run a process may die as well: the next look finds no run of that key, judges anew, and
//! starts it under the same key, which stands for *this runbook on these targets for this incident*: one run, whatever happens.

mod events;
mod look;
mod tidy;
pub(crate) mod trust;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use domain::brake::Overrides;
use domain::incident::LONGEST_TITLE;
use domain::notice;
use domain::runbook::Mode;
use domain::signal::{Signal, SignalState};
use domain::triage::{Budget, Case, Decision, Rule, Surroundings, Verdict, decide};
use domain::trust::{ModeSet, in_force};
use domain::{Actor, Timestamp};
use serde_json::{Map, Value, json};
use store::StoreError;
use store::triage::{Belongs, Due, Given, NewVerdict, Offer, Offered};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::committer::Delivery;
use crate::{Core, Engine, StartError, StartRequest, Started, Topic};
pub(crate) use look::Plans;
use look::{Evidence, Looked};

/// So many signals are judged at the same time: each may make a plan, and a plan asks the outside.
const AT_ONCE: usize = 4;
/// So many are taken together, so that ten thousand cost few questions.
const TAKEN: usize = 64;
/// What comes between again and again is left to the next look.
const TRIES: usize = 3;

/// How far rules may go here.
#[derive(Debug, Clone)]
pub struct TriageSettings {
    /// Modes by rule (`runbook/trigger`), instead of the files'.
    pub modes: BTreeMap<String, Mode>,
    /// One mode for all rules, instead of the files' and the ones above: for drills.
    pub all: Option<Mode>,
    /// How much may be done without a person.
    pub budget: Budget,
    /// How long nothing is started by itself after a start of the process (clock time).
    pub warm_up: Duration,
    /// An incident is over when its signals have been for so long (clock time).
    pub quiet: Duration,
}

impl Default for TriageSettings {
    fn default() -> Self {
        Self {
            modes: BTreeMap::new(),
            all: None,
            budget: Budget::default(),
            warm_up: Duration::from_secs(60),
            quiet: Duration::from_secs(600),
        }
    }
}

impl TriageSettings {
    /// The mode of a rule: by its file, by the configuration, by what was set since.
    fn mode(&self, rule: &Rule, written: Mode, set: Option<&ModeSet>) -> Mode {
        self.all.unwrap_or_else(|| in_force(written, self.modes.get(&rule.to_string()).copied(), set))
    }
}

/// Why an offer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// There is none (any more).
    #[error("this signal offers nothing (any more)")]
    NotThere,
    /// It is another one than they saw: what is offered now.
    #[error("what is prepared for this signal has changed since you looked, so nothing was started")]
    Changed(Box<Offered>),
    /// The start itself.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Stores a signal that came in; from then on it will get its verdict. `None` when this very delivery was stored before.
    pub async fn receive(
        &self,
        signal: &Signal,
        delivery: Option<&str>,
        body: Option<&str>,
    ) -> Result<Option<Uuid>, StoreError> {
        let signals = vec![(signal.clone(), delivery.map(str::to_owned))];
        Ok(self.receive_all(signals, body.map(str::to_owned)).await?.into_iter().next().flatten())
    }

    /// The same of all that came in with one delivery, each with its source's id; by one commit, which other deliveries share.
    pub async fn receive_all(
        &self,
        signals: Vec<(Signal, Option<String>)>,
        body: Option<String>,
    ) -> Result<Vec<Option<Uuid>>, StoreError> {
        let at = self.core.clock.now();
        let inventory = &self.core.inventory;
        let taken = |signal: Signal| signal.taken_at(at).named_by(inventory);
        let signals: Vec<_> =
            signals.into_iter().map(|(signal, delivery)| (taken(signal), delivery)).collect();
        let happened: BTreeSet<_> = signals.iter().flat_map(|(signal, _)| events::happened(signal)).collect();
        let delivery = Delivery { signals, body, at };
        let rows = self.core.committer.receive(Arc::new(delivery)).await?;
        for event in happened {
            self.core.observer.hint(event.service, &event.region, &event.resource);
        }
        self.core.bell.ring(Topic::Signals);
        Ok(rows)
    }

    /// A person starts what a rule has prepared for a signal: with the plan that was its evidence, under the same key, so that
    /// two clicks (or a click and a rule) are one run. `seen`: the verdict that they were shown; when another one offers something else
    /// by now, nothing is started.
    pub async fn take_offer(
        &self,
        signal: Uuid,
        by: &Actor,
        seen: Option<i64>,
        confirm: Option<String>,
        overrides: Overrides,
    ) -> Result<Started, OfferError> {
        let pool = &self.core.pool;
        let offer = store::triage::offered(pool, signal).await?.ok_or(OfferError::NotThere)?;
        if let Some(seen) = seen.filter(|seen| *seen != offer.verdict)
            && !store::triage::offered_before(pool, signal, seen, &offer).await?
        {
            return Err(OfferError::Changed(Box::new(offer)));
        }
        let plan = serde_json::from_value(offer.plan).map_err(|e| StoreError::Corrupt {
            what: "plan",
            key: offer.verdict.to_string(),
            why: e.to_string(),
        })?;
        let started = self
            .start(StartRequest {
                runbook: offer.runbook,
                inputs: offer.inputs.as_object().cloned().unwrap_or_default(),
                by: by.clone(),
                reason: Some(format!("prepared by {}", offer.rule)),
                idem_key: offer.start_key,
                plan: Some(plan),
                overrides,
                confirm,
                wait: false,
            })
            .await?;
        self.core.bell.ring(Topic::Signals);
        Ok(started)
    }
}

/// Judges what is due, until the process ends.
pub(crate) async fn judge(core: Arc<Core>) {
    let warm_at = core.clock.now() + delta(core.settings.triage.warm_up);
    let mut at_work: JoinSet<Uuid> = JoinSet::new();
    let mut claims: Vec<Uuid> = Vec::new();
    let mut waiting: VecDeque<Due> = VecDeque::new();
    let mut rings = core.bell.listen_but_runs();
    let mut tidied: Option<Instant> = None;
    loop {
        if tidied.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
            tidied = Some(Instant::now());
            tidy::tidy(&core).await;
        }
        let room = AT_ONCE - at_work.len().min(AT_ONCE);
        let mut more = false;
        if waiting.is_empty() && room > 0 {
            let (taken, rules) = (take(&core, &claims).await, core.rules());
            let (nobodys, others): (Vec<Due>, Vec<Due>) =
                taken.into_iter().partition(|due| look::is_nobodys(&core, &rules, due));
            match dismiss(&core, &nobodys).await {
                Ok(()) => more = nobodys.len() + others.len() == TAKEN,
                Err(e) => tracing::warn!("signals were not judged: {e}"),
            }
            claims.extend(others.iter().map(|due| due.claim));
            waiting.extend(others);
        }
        for due in waiting.drain(..room.min(waiting.len())) {
            let core = core.clone();
            at_work.spawn(async move {
                let claim = due.claim;
                // Boxed: a plan is a large future.
                if let Err(e) = Box::pin(one(&core, due, warm_at)).await {
                    tracing::warn!("a signal was not judged: {e}");
                }
                claim
            });
        }
        if more && waiting.is_empty() && at_work.len() < AT_ONCE {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            Some(done) = at_work.join_next(), if !at_work.is_empty() => match done {
                Ok(claim) => claims.retain(|c| *c != claim),
                // It panicked: nobody looks at what it had claimed any more.
                Err(_) if at_work.is_empty() => claims = waiting.iter().map(|due| due.claim).collect(),
                Err(_) => {}
            },
            () = heard(&mut rings), if room > 0 => {}
        }
    }
}

/// Completes when something was said that may make a signal due.
pub(crate) async fn heard(rings: &mut tokio::sync::broadcast::Receiver<Topic>) {
    loop {
        match rings.recv().await {
            Ok(Topic::Signals | Topic::Brakes) | Err(RecvError::Lagged(_)) => {
                // Whatever was said besides is looked at by the same look.
                while rings.try_recv().is_ok() {}
                return;
            }
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn take(core: &Core, claims: &[Uuid]) -> Vec<Due> {
    if core.lease.remaining().is_none() || core.draining.load(Ordering::SeqCst) {
        return Vec::new();
    }
    let now = core.clock.now();
    let limit = i64::try_from(TAKEN).unwrap_or(0);
    let due = store::triage::claim(&core.pool, core.lease.worker(), claims, now, limit);
    core.soon(due).await.unwrap_or_else(|e| {
        tracing::warn!("what is due to be judged cannot be read: {e}");
        Vec::new()
    })
}

/// Judges those that no rule takes: nothing is looked at, and they get their verdicts together.
async fn dismiss(core: &Core, dues: &[Due]) -> Result<(), StoreError> {
    if dues.is_empty() {
        return Ok(());
    }
    let (now, around) = (core.clock.now(), Surroundings::default());
    // What is said about a target belongs to its incident, whether a rule takes it or not.
    let open = core.soon(store::incidents::now_open(&core.pool)).await?;
    let incident = |due: &Due| {
        let targets = due.signal.targets();
        open.iter()
            .filter(|_| due.signal.state == SignalState::Firing)
            .find(|incident| incident.targets.iter().any(|t| targets.contains(t)))
            .map(|incident| incident.id)
    };
    let decisions: Vec<Decision> = dues
        .iter()
        .map(|due| {
            let budget = &core.settings.triage.budget;
            decide(&Case { state: due.signal.state, now, candidates: &[], around: &around, budget })
        })
        .collect();
    let verdicts: Vec<NewVerdict<'_>> = dues
        .iter()
        .zip(&decisions)
        .map(|(due, decision)| NewVerdict {
            due,
            at: now,
            verdict: decision.verdict,
            code: decision.code,
            because: &decision.because,
            rule: None,
            considered: json!([]),
            offer: None,
            run_id: None,
            incident: incident(due).map(Belongs::To),
            notices: json!([]),
            seen: 0,
            modes_seen: 0,
            look_at: decision.again.map(|again| now + again),
        })
        .collect();
    if core.soon(store::triage::give_all(&core.pool, &verdicts)).await?.contains(&Given::Stored) {
        core.bell.ring(Topic::Signals);
    }
    Ok(())
}

/// Judges one signal.
async fn one(core: &Arc<Core>, due: Due, warm_at: Timestamp) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        match attempt(core, &due, warm_at).await? {
            Given::Stale => {}
            Given::Stored => {
                core.bell.ring(Topic::Signals);
                return Ok(());
            }
            Given::Same | Given::Lost => return Ok(()),
        }
    }
    postpone(core, &due, TimeDelta::seconds(5)).await
}

async fn postpone(core: &Core, due: &Due, by: TimeDelta) -> Result<(), StoreError> {
    core.soon(store::triage::postpone(&core.pool, due, core.clock.now() + by)).await
}

async fn attempt(core: &Arc<Core>, due: &Due, warm_at: Timestamp) -> Result<Given, StoreError> {
    // What was started is left alone while it runs.
    if let Some(key) = &due.start_key
        && let Some((_, None)) = core.soon(store::triage::run_of(&core.pool, key)).await?
    {
        postpone(core, due, TimeDelta::seconds(30)).await?;
        return Ok(Given::Same);
    }
    let Looked { candidates, evidence, around, incident, seen, modes_seen } =
        look::look(core, due, warm_at).await?;
    let now = core.clock.now();
    let budget = &core.settings.triage.budget;
    let case = Case { state: due.signal.state, now, candidates: &candidates, around: &around, budget };
    let decision = decide(&case);
    let chosen = decision.of.and_then(|at| candidates.get(at).zip(evidence.into_iter().nth(at)));
    let rule = chosen.as_ref().map(|(candidate, _)| candidate.rule.clone());
    let evidence = chosen.and_then(|(_, evidence)| evidence);
    let offers = matches!(decision.verdict, Verdict::Suggested | Verdict::Asked | Verdict::Started);
    // What is offered or held back is an incident, and has its own key; what was done and did not help is told once for its run.
    let belongs_to = match &evidence {
        Some(evidence) if offers || decision.held_back => Some(evidence.opening(&due.signal.title())),
        _ => incident.map(Belongs::To),
    };
    let told = match (&evidence, decision.run) {
        (Some(evidence), _) => (evidence.key.clone(), evidence.title()),
        (None, run) => (run.map(|id| id.to_string()).unwrap_or_default(), String::new()),
    };
    let notice =
        notice::of_verdict(&decision, (due.id, belongs_to.as_ref().map(Belongs::id)), (&told.0, &told.1));
    let verdict = NewVerdict {
        due,
        at: now,
        verdict: decision.verdict,
        code: decision.code,
        because: &decision.because,
        rule: rule.as_ref().map(Rule::to_string),
        considered: candidates
            .iter()
            .map(|c| json!({ "rule": c.rule.to_string(), "mode": c.mode, "standing": c.standing.word(), "says": c.standing.says() }))
            .collect(),
        offer: evidence.as_ref().filter(|_| offers).map(Evidence::offer).transpose()?.flatten(),
        run_id: decision.run,
        incident: belongs_to,
        notices: notice.map_or(json!([]), |notice| core.rows(&notice)),
        seen,
        modes_seen,
        look_at: decision.again.map(|again| now + again),
    };
    let given = core.soon(store::triage::give(&core.pool, &verdict)).await?;
    if given == Given::Stored {
        let (signal, verdict) = (&due.signal.fingerprint, decision.verdict.word());
        tracing::info!(signal, verdict, code = decision.code, "{}", decision.because);
    }
    if let (
        Given::Stored | Given::Same,
        Decision { verdict: Verdict::Started, .. },
        Some(rule),
        Some(evidence),
    ) = (given, &decision, rule, evidence)
    {
        start(core, due, &rule, evidence).await?;
    }
    Ok(given)
}

/// Starts what was decided. What stands in the way is found by the next look, and told there.
async fn start(core: &Arc<Core>, due: &Due, rule: &Rule, evidence: Evidence) -> Result<(), StoreError> {
    let request = StartRequest {
        runbook: rule.runbook.clone(),
        inputs: evidence.given,
        by: principal(rule),
        reason: Some(match due.signal.summary.trim() {
            "" => format!("{} of {}", due.signal.kind, due.signal.source),
            said => said.to_owned(),
        }),
        idem_key: evidence.key,
        plan: evidence.plan,
        overrides: Overrides::default(),
        confirm: None,
        wait: false,
    };
    match core.start(request).await {
        Ok(started) => tracing::info!(run = %started.run_id, "{rule} has started a run"),
        Err(e) => tracing::warn!("{rule} could not start its run: {e}"),
    }
    Ok(())
}

/// As whom a rule starts runs.
pub(crate) fn principal(rule: &Rule) -> Actor {
    Actor::system(format!("trigger {rule}"))
}

pub(crate) fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

impl Evidence {
    /// What it would do to what; where nobody could look, by which runbook.
    fn title(&self) -> String {
        self.plan.as_ref().map_or_else(|| self.runbook.clone(), |plan| plan.title.clone())
    }

    /// An incident is called what the first signal of it says, not what would be done about it.
    fn opening(&self, said: &str) -> Belongs {
        let title = if said.is_empty() { self.title() } else { said.chars().take(LONGEST_TITLE).collect() };
        Belongs::Opening { id: self.incident, title, targets: self.targets.clone() }
    }

    fn offer(&self) -> Result<Option<Offer>, StoreError> {
        let Some(plan) = &self.plan else { return Ok(None) };
        let unreadable = |e: serde_json::Error| StoreError::Corrupt {
            what: "plan",
            key: self.key.clone(),
            why: e.to_string(),
        };
        Ok(Some(Offer {
            runbook: plan.runbook.clone(),
            inputs: Value::Object(Map::clone(&self.given)),
            start_key: self.key.clone(),
            plan: serde_json::to_value(plan).map_err(unreadable)?,
        }))
    }
}
