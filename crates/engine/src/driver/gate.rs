//! The driver of a run that has not begun: asks again for freezes and limits, takes its locks or stands in line for them, and
//! compares the plan that people saw with the world.
//!
//! A run that has waited asks for the brakes before it takes its locks, so that one which is held back is in nobody's way. One
//! that has waited since then (for a new plan to be accepted, for a person to resume it, for a process to take it over, or for what
//! could not be seen) keeps its locks, and asks after the plan was compared. See `domain::run::gate` for what then.
//!
//! Waiting for people needs nothing here: their voices come through the inbox. A place in the line is a row, so that it
//! outlives the process that drives the run; whoever takes the run over goes on waiting at the same place.

use std::sync::Arc;
use std::time::Duration;

use domain::plan::{Plan, PlannedOutcome, differences};
use domain::run::{Despite, Doorstep, Entry, Gate, Program, Record, State, StepPath};
use domain::runbook::{AtStart, Children, Runbook};
use futures::FutureExt;
use serde_json::{Map, Value};
use store::StoreError;
use store::gate::{Claim, Passed};
use store::journal::Append;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Driver, Next, Report, Stop};
use crate::plan::PlanError;
use crate::start::nobody;
use crate::{Core, Topic};

/// Work at the gate is known under names that no step can have.
const IN_LINE: &str = "gate:locks";
const COMPARE: &str = "gate:plan";
/// Comparing, and asking for the brakes before it begins. Of another name, because a comparison that does not ask may be under way
/// still when it turns out that it must.
const COMPARE_AND_ASK: &str = "gate:plan:brakes";

impl Driver {
    /// Does what is to be done. `true` when something was written, and what follows must be asked anew.
    pub(super) async fn at_the_gate(&mut self, doorstep: Doorstep) -> Result<bool, Stop> {
        // The run itself, and what was decided, comes before what follows from it.
        self.flush().await?;
        match doorstep {
            Doorstep::TakeLocks { in_line } => self.take_locks(in_line).await,
            Doorstep::ComparePlan => {
                let (core, run_id) = (self.core.clone(), self.run_id);
                let (runbook, inputs) = (self.program.runbook.clone(), self.state.inputs().clone());
                let (children, accepted) =
                    (self.program.children.clone(), self.state.accepted_plan().cloned());
                let (asks, brakes) = (self.state.asks_brakes(), self.brakes());
                self.set_waiting(if asks { COMPARE_AND_ASK } else { COMPARE }, async move {
                    let mut waited = false;
                    let compared =
                        compare(&core, run_id, (runbook, children), inputs, accepted, &mut waited).await;
                    let held = match compared {
                        holds @ Entry::PlanHolds { .. } if asks || waited => {
                            brakes.ask().await.unwrap_or(holds)
                        }
                        otherwise => otherwise,
                    };
                    vec![held]
                });
                Ok(false)
            }
        }
    }

    async fn take_locks(&mut self, in_line: bool) -> Result<bool, Stop> {
        if self.working.has(&StepPath::from(IN_LINE)) {
            return Ok(false);
        }
        if let Some(held_back) = self.brakes().ask().await {
            self.push(vec![held_back])?;
            return Ok(true);
        }
        let locks = self.state.locks().to_vec();
        if self.pass(Entry::Admitted { locks: locks.clone() }, Claim::Take(&locks)).await? {
            return Ok(true);
        }
        if in_line {
            let (core, run_id) = (self.core.clone(), self.run_id);
            self.set_waiting(IN_LINE, async move {
                until_free(&core, run_id).await;
                Vec::new()
            });
            return Ok(false);
        }
        let holder = self.core.soon(store::runs::holder(&self.core.pool, &locks)).await.unwrap_or_else(|e| {
            tracing::warn!(run = %self.run_id, "who holds the locks cannot be read now: {e}");
            None
        });
        let (target, held_by) = match holder {
            Some(h) => (h.target, format!("{} (asked for by {}, run {})", h.title, h.requested_by, h.run_id)),
            None => by_hand(&self.core, &locks).await,
        };
        self.pass(Entry::Queued { target, held_by }, Claim::StandInLine(&locks)).await
    }

    fn brakes(&self) -> Brakes {
        Brakes {
            core: self.core.clone(),
            run_id: self.run_id,
            program: self.program.clone(),
            despite: self.state.despite().clone(),
        }
    }

    /// Appends at the gate, at once and by itself; `false` when a lock is held and nothing was written. Tried again while the
    /// lease lasts.
    async fn pass(&mut self, entry: Entry, claim: Claim<'_>) -> Result<bool, Stop> {
        let mut ahead = self.state.clone();
        let record = Record { seq: ahead.seq() + 1, at: self.now(), epoch: self.epoch, entry };
        ahead.apply(&record)?;
        let append = Append::new(self.run_id, &[record], self.link, &ahead)
            .map_err(|e| Stop::Broken(e.to_string()))?;
        let owner = self.core.lease.worker();
        loop {
            match self.core.soon(store::gate::pass(&self.core.pool, owner, &append, claim)).await {
                Ok(Passed::Held) => return Ok(false),
                Ok(Passed::Fenced) => return Err(Stop::Fenced),
                Ok(Passed::Written) => {
                    self.state = ahead;
                    self.link = append.link().unwrap_or(self.link);
                    self.core.bell.ring(Topic::Run(self.run_id));
                    return Ok(true);
                }
                Err(e) if e.is_final() => return Err(Stop::Broken(e.to_string())),
                Err(e) => {
                    tracing::warn!(run = %self.run_id, "the journal cannot be written now: {e}");
                    if self.core.lease.is_lost() {
                        return Err(Stop::Fenced);
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// Sets something going that may be dropped at any moment; its entries are written when it is over.
    fn set_waiting(&mut self, name: &str, work: impl Future<Output = Vec<Entry>> + Send + 'static) {
        let step = StepPath::from(name);
        if self.working.has(&step) {
            return;
        }
        let of = step.clone();
        let report = async move { Report { step: of, entries: work.await, next: Next::Nothing } };
        self.working.begin(step, (true, false), watch::Sender::new(false), report.boxed());
    }
}

/// What no run holds is in somebody's hand, or has just become free.
async fn by_hand(core: &Core, locks: &[String]) -> (String, String) {
    let all = core.soon(store::locks::all(&core.pool, core.clock.now())).await.unwrap_or_else(|e| {
        tracing::warn!("who holds the locks cannot be read now: {e}");
        Vec::new()
    });
    match all.into_iter().find(|held| held.run_id.is_none() && locks.contains(&held.target)) {
        Some(held) => (held.target, format!("{}, by hand", held.holder)),
        None => (locks.first().cloned().unwrap_or_default(), "a run that has just ended".to_owned()),
    }
}

/// A comparison that nobody waits for any more: the run is being ended, or somebody has paused it. Who resumes it, maybe hours
/// later, is to begin with what is true then; and not without having asked for the brakes.
pub(super) fn is_stale(report: &Report, state: &State) -> bool {
    let ends = state.gate() != Some(&Gate::Plan) || state.aborting().is_some();
    match report.step.as_str() {
        COMPARE => ends || state.held().is_some() || state.asks_brakes(),
        COMPARE_AND_ASK => ends || state.held().is_some(),
        _ => false,
    }
}

/// Completes when nothing stands before the run any more. The bell of the runs ahead makes it fast; a second makes it right.
async fn until_free(core: &Core, run_id: Uuid) {
    let mut rings = core.bell.listen();
    loop {
        match core.soon(store::gate::is_held_up(&core.pool, run_id, core.clock.now())).await {
            Ok(false) => return,
            Ok(true) => {}
            Err(e) => tracing::warn!(run = %run_id, "the line cannot be read now: {e}"),
        }
        let ahead = core.soon(store::gate::ahead(&core.pool, run_id)).await.unwrap_or_default();
        let moved = async {
            loop {
                match rings.recv().await {
                    Ok(Topic::Run(id)) if ahead.iter().any(|a| a.run_id == id) => return,
                    Ok(Topic::Brakes) => return,
                    // Which ones moved is not known: look.
                    Ok(Topic::Runs) | Err(_) => return tokio::time::sleep(Duration::from_millis(200)).await,
                    Ok(_) => {}
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), moved).await;
    }
}

/// The question for freezes and limits, once a run that had to wait may go.
struct Brakes {
    core: Arc<Core>,
    run_id: Uuid,
    program: Program,
    despite: Despite,
}

impl Brakes {
    /// What holds it back, if something does; waits for the database while it is away, because what cannot be read counts as on.
    async fn ask(&self) -> Option<Entry> {
        let limits = match self.program.at_start() {
            Ok(AtStart { limits, .. }) => limits,
            Err(e) => {
                return Some(Entry::Paused { step: None, why: format!("its limits cannot be told: {e}") });
            }
        };
        if self.program.is_free(&limits) {
            return None;
        }
        let (pool, runbook) = (&self.core.pool, &self.program.runbook.name);
        loop {
            let now = self.core.clock.now();
            let asked = store::brakes::at_the_gate(pool, self.run_id, runbook, &limits, &self.despite, now);
            match self.core.soon(asked).await {
                Ok(brakes) => return (!brakes.is_empty()).then_some(Entry::HeldBack { brakes }),
                Err(e) => {
                    tracing::warn!(run = %self.run_id, "freezes and limits cannot be read now: {e}");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }
}

/// Makes the plan anew, and tells whether it is the one that people saw. Whatever keeps it from being made is a pause, never a
/// pass; and what could not be seen is never told as another plan, which somebody might accept. What could not be seen when people
/// saw the plan either (a host that hangs for hours) hides no other difference.
///
/// A run holds its locks while it compares: only where the plan looks like another one it waits for what may come true by itself, and
/// then it has `waited`.
async fn compare(
    core: &Arc<Core>,
    run_id: Uuid,
    (runbook, children): (Arc<Runbook>, Children),
    inputs: Map<String, Value>,
    accepted: Option<Plan>,
    waited: &mut bool,
) -> Entry {
    let paused = |why: String| Entry::Paused { step: None, why };
    let seen = match accepted {
        Some(plan) => plan,
        None => match plan_of(core, run_id).await {
            Some(plan) => plan,
            None => return paused("the plan that was seen cannot be read by this version".into()),
        },
    };
    let (nil, by) = nobody();
    let mut pauses = PAUSES_S.into_iter().map(Duration::from_secs);
    let mut waits = false;
    loop {
        let prepared = match core.prepare_text(runbook.clone(), children.clone(), &inputs, nil, &by) {
            Ok(prepared) => prepared,
            Err(e) => return paused(format!("the plan could not be made anew: {e}")),
        };
        let blind = match core.plan_seeing(prepared, waits).await {
            Ok((plan, _)) if plan.is_known_by(&seen.hash) => {
                return Entry::PlanHolds { plan_hash: seen.hash };
            }
            Ok(_) if !waits => {
                (waits, *waited) = (true, true);
                continue;
            }
            Ok((plan, sight)) => {
                let differences = differences(&seen, &plan);
                let differs = |path: &StepPath| differences.iter().any(|difference| difference.path == *path);
                match sight.unseen.iter().find(|(path, _)| differs(path) && was_seen(&seen, path)) {
                    Some((_, why)) => why.to_string(),
                    None => return Entry::Drifted { differences, plan: Box::new(plan) },
                }
            }
            Err(PlanError::Store(e)) => e.to_string(),
            Err(e) => return paused(format!("the plan could not be made anew: {e}")),
        };
        match pauses.next() {
            Some(pause) => core.clock.sleep(pause).await,
            None => return paused(format!("whether the plan still holds could not be seen: {blind}")),
        }
    }
}

/// Did the plan rest on what was seen at this step? It did not where it left the step out, or stopped at it.
fn was_seen(plan: &Plan, path: &StepPath) -> bool {
    plan.steps
        .iter()
        .filter(|step| step.path == *path)
        .any(|step| !matches!(step.outcome, PlannedOutcome::Skipped { .. } | PlannedOutcome::Stops { .. }))
}

/// Seconds between two comparisons, as long as something cannot be seen (clock time): a throttle of five minutes passes by itself.
const PAUSES_S: [u64; 7] = [5, 10, 20, 40, 60, 60, 120];

/// The plan that the requester saw; waits for the database while it is away.
async fn plan_of(core: &Core, run_id: Uuid) -> Option<Plan> {
    loop {
        let read: Result<_, StoreError> = core.soon(store::pages::run(&core.pool, run_id)).await;
        match read {
            Ok(row) => return serde_json::from_value(row?.plan?).ok(),
            Err(e) => {
                tracing::warn!(run = %run_id, "the plan that was seen cannot be read now: {e}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}
