//! What a verdict rests on: the rules that take a signal, and how things stand for each. Looks, and changes nothing.
//!
//! What is cheap is asked first; a plan is only made when nothing else has an answer yet, because it asks the outside.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;
use domain::plan::{Plan, PlannedOutcome, Verdict, is_typed};
use domain::run::StepPath;
use domain::runbook::{Runbook, Trigger};
use domain::signal::SignalState;
use domain::triage::{Candidate, Rule, Run, Standing, Surroundings};
use domain::{Actor, Timestamp};
use futures::future::try_join_all;
use serde_json::{Map, Value, json};
use store::StoreError;
use store::triage::Due;
use uuid::Uuid;

use super::{delta, principal};
use crate::{Core, PlanError};

/// Budgets are per hour.
const BUDGET_SPAN: TimeDelta = TimeDelta::hours(1);
/// Targets struck within this are one storm.
const STORM_SPAN: TimeDelta = TimeDelta::minutes(5);

/// What was found.
pub(super) struct Looked {
    pub(super) candidates: Vec<Candidate>,
    /// Of each candidate that got so far as to be looked at.
    pub(super) evidence: Vec<Option<Evidence>>,
    pub(super) around: Surroundings,
    /// The open incident that the signal belongs to, if there is one.
    pub(super) incident: Option<Uuid>,
    /// The newest start that is counted in it.
    pub(super) seen: i64,
    /// The newest mode that it goes by.
    pub(super) modes_seen: i64,
}

/// What would be started, and why.
pub(super) struct Evidence {
    /// None where it could not be looked at.
    pub(super) plan: Option<Plan>,
    pub(super) runbook: String,
    /// Inputs as the trigger gives them.
    pub(super) given: Map<String, Value>,
    pub(super) targets: Vec<String>,
    pub(super) incident: Uuid,
    /// Of the run.
    pub(super) key: String,
}

impl Core {
    /// All rules, in the order of the shelf.
    pub(super) fn rules(&self) -> Vec<(Rule, Arc<Runbook>, Trigger)> {
        let mut rules = Vec::new();
        for runbook in self.library().runbooks() {
            for trigger in &runbook.triggers {
                let rule = Rule { runbook: runbook.name.clone(), trigger: trigger.name.clone() };
                rules.push((rule, Arc::clone(&runbook), trigger.clone()));
            }
        }
        rules
    }
}

/// No rule takes it, and nothing was done about it: there is nothing to look at.
pub(super) fn is_nobodys(core: &Core, rules: &[(Rule, Arc<Runbook>, Trigger)], due: &Due) -> bool {
    let taken = |trigger: &Trigger| !matches!(trigger.matches(&due.signal, &core.inventory_value), Ok(false));
    let fires = due.signal.state == SignalState::Firing;
    due.start_key.is_none() && !(fires && rules.iter().any(|(_, _, trigger)| taken(trigger)))
}

/// Looks. The starts are read first, so that whatever comes between is found out by the statement that stores the verdict.
pub(super) async fn look(core: &Core, due: &Due, warm_at: Timestamp) -> Result<Looked, StoreError> {
    let now = core.clock.now();
    let modes = super::trust::modes(core).await?;
    let lately =
        store::triage::lately(&core.pool, due.start_key.as_deref(), now - BUDGET_SPAN, now - STORM_SPAN);
    let lately = core.soon(lately).await?;
    let around = Surroundings {
        starts: lately.starts,
        struck: lately.struck.into_iter().collect(),
        warm_at: Some(warm_at),
    };
    let (mut candidates, mut evidence) = (Vec::new(), Vec::new());
    let mut incident = None;
    if due.signal.state == SignalState::Firing {
        // At the same time: what one of them must wait for is no reason for the others to be late.
        let rules = core.rules();
        let looks = rules.iter().filter_map(|(rule, runbook, trigger)| {
            let mode = core.settings.triage.mode(rule, trigger.mode, modes.of(rule));
            let matches = match trigger.matches(&due.signal, &core.inventory_value) {
                Ok(false) => return None,
                Ok(true) => Ok(()),
                Err(e) => Err(Standing::Unfit(format!("its `where` cannot be worked out: {e}"))),
            };
            Some(async move {
                let stand = match matches {
                    Ok(()) => stands(core, due, rule, runbook, trigger).await?,
                    Err(unfit) => Stand::of(unfit),
                };
                Ok::<_, StoreError>((
                    Candidate { rule: rule.clone(), mode, standing: stand.standing },
                    stand.evidence,
                    stand.incident,
                ))
            })
        });
        for (candidate, found, at) in try_join_all(looks).await? {
            candidates.push(candidate);
            evidence.push(found);
            incident = incident.or(at);
        }
        if incident.is_none() {
            incident = core.soon(store::triage::incident(&core.pool, &due.signal.targets())).await?;
        }
    }
    Ok(Looked { candidates, evidence, around, incident, seen: lately.seen, modes_seen: modes.seen })
}

/// How things stand for a rule, with what was found.
struct Stand {
    standing: Standing,
    evidence: Option<Evidence>,
    /// The open incident at its targets.
    incident: Option<Uuid>,
}

impl Stand {
    fn of(standing: Standing) -> Self {
        Self { standing, evidence: None, incident: None }
    }
}

async fn stands(
    core: &Core,
    due: &Due,
    rule: &Rule,
    runbook: &Runbook,
    trigger: &Trigger,
) -> Result<Stand, StoreError> {
    let unfit = |why: String| Ok(Stand::of(Standing::Unfit(why)));
    let given = match trigger.given(&due.signal, &core.inventory_value) {
        Ok(given) => given,
        Err(e) => return unfit(format!("its `inputs` cannot be worked out: {e}")),
    };
    let by: Actor = principal(rule);
    let prepared = match core.prepare(&rule.runbook, &given, Uuid::nil(), &by) {
        Ok(prepared) => prepared,
        Err(e) => return unfit(e.to_string()),
    };
    let targets = prepared.locks.clone();
    let open = core.soon(store::triage::incident(&core.pool, &targets)).await?;
    let stands = |standing| Ok(Stand { standing, evidence: None, incident: open });
    let incident = open.unwrap_or_else(Uuid::now_v7);
    let first = format!("signal:{incident}:{}:{}", rule.runbook, targets.join(","));
    let mut key = first.clone();
    for again in 1.. {
        let Some((run, outcome)) = core.soon(store::triage::run_of(&core.pool, &key)).await? else { break };
        match outcome.as_deref() {
            None => return stands(Standing::Running(run)),
            // It has changed nothing: the world was another one by then, and may be again. The budget says how often.
            Some("refused" | "expired") => key = format!("{first}:{again}"),
            Some(outcome) => return stands(Standing::Acted(run, outcome.to_owned())),
        }
    }
    if let Some(holder) = core.soon(store::runs::holder(&core.pool, &targets)).await? {
        let run = Run { id: holder.run_id, title: holder.title, by: holder.requested_by };
        return stands(Standing::Running(run));
    }
    let rest = delta(trigger.cooldown);
    let since = core.clock.now() - rest;
    let ended = core.soon(store::triage::just_ended(&core.pool, &rule.runbook, &targets, since)).await?;
    let asked = format!("{rule} {}", json!(given));
    let plan = match core.plans.fresh(&asked, core.clock.now()) {
        Some(made) => Ok(made),
        None => {
            let made = core.plan_seeing(prepared, true).await;
            made.map(|(plan, sight)| (plan, sight.forbidden))
                .inspect(|made| core.plans.keep(asked, core.clock.now(), made))
        }
    };
    let (standing, plan) = match plan {
        Ok(made) => (rested(read(&made, runbook, &targets), ended, rest), Some(made.0)),
        Err(PlanError::Store(e)) => return Err(e),
        Err(PlanError::Start(e)) => (Standing::Blind(e.to_string()), None),
    };
    let runbook = rule.runbook.clone();
    let evidence = Evidence { plan, runbook, given, targets, incident, key };
    Ok(Stand { standing, evidence: Some(evidence), incident: open })
}

/// A plan that is so old (clock time) is made anew. What was decided on it is compared with the world before the first step anyway.
const FRESH: TimeDelta = TimeDelta::seconds(2);

/// A plan, and the changes in it that what was seen forbids.
type Made = (Plan, BTreeSet<StepPath>);

/// Plans that were made a moment ago: a thousand signals that ask for the same get the same, and the outside is asked once.
#[derive(Default)]
pub(crate) struct Plans(Mutex<HashMap<String, (Timestamp, Made)>>);

impl Plans {
    fn fresh(&self, asked: &str, now: Timestamp) -> Option<Made> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(asked).filter(|(at, _)| now - *at < FRESH).map(|(_, made)| made.clone())
    }

    fn keep(&self, asked: String, now: Timestamp, made: &Made) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| now - *at < FRESH);
        kept.insert(asked, (now, made.clone()));
    }
}

/// What fits is not done again so soon after a run of the same. That it fits must be seen first: what such a run has healed may
/// be told of for a while, and only what is back needs a person.
fn rested(standing: Standing, ended: Option<(Run, Timestamp)>, rest: TimeDelta) -> Standing {
    match (standing, ended) {
        (Standing::Fits { .. }, Some((run, at))) => Standing::Resting(run, at + rest),
        (standing, _) => standing,
    }
}

/// What a plan says for or against its runbook.
fn read((plan, forbidden): &Made, runbook: &Runbook, targets: &[String]) -> Standing {
    let stops = plan.steps.iter().find_map(|step| match &step.outcome {
        PlannedOutcome::Stops { message, .. } => Some((step, message)),
        _ => None,
    });
    match (stops, plan.brakes.first(), &plan.verdict) {
        (Some((step, message)), ..) if forbidden.contains(&step.path) => {
            Standing::Barred { step: step.path.to_string(), message: message.clone() }
        }
        // A look that fails says nothing about what it would have seen; work of others that was seen is a reason.
        (Some((step, message)), ..) if step.action.is_some() && plan.foreign.is_empty() => {
            Standing::Blind(format!("{}: {message}", step.path))
        }
        (Some((step, message)), ..) => {
            Standing::Refuted { step: step.path.to_string(), message: message.clone() }
        }
        (None, Some(brake), _) => Standing::Held(brake.clone()),
        (None, None, Verdict::Stops { step, message }) => {
            Standing::Refuted { step: step.to_string(), message: message.clone() }
        }
        (None, None, Verdict::Ready) => Standing::Fits {
            title: plan.title.clone(),
            targets: targets.to_vec(),
            typed: is_typed(runbook.risk),
        },
    }
}
