//! The modes of triggers, as people and their own failures set them; and what people say against a verdict.

use chrono::TimeDelta;
use domain::plan::is_typed;
use domain::runbook::Mode;
use domain::token::{Deed, OutOfScope};
use domain::triage::Rule;
use domain::trust::score::{Occasion, Score, score};
use domain::trust::{ModeSet, in_force, takes};
use domain::{Actor, Role};
use serde::Serialize;
use store::StoreError;
use uuid::Uuid;

use crate::{Core, Engine, Topic};

/// Failures are looked for so far back: a process may have been away for long.
const FAILED_SINCE: TimeDelta = TimeDelta::days(30);
/// The scoreboard tells of so long.
const SCORED: TimeDelta = TimeDelta::days(90);
/// And of so many occasions.
const OCCASIONS: i64 = 500;

/// Modes that were set.
pub(super) struct Modes {
    set: Vec<(String, ModeSet)>,
    /// The newest of them.
    pub(super) seen: i64,
}

impl Modes {
    pub(super) fn of(&self, rule: &Rule) -> Option<&ModeSet> {
        let name = rule.to_string();
        self.set.iter().find(|(set, _)| *set == name).map(|(_, set)| set)
    }
}

/// Moves down what has failed, and reads what holds. In this order: whoever sees that a run has ended sees what follows from it.
pub(super) async fn modes(core: &Core) -> Result<Modes, StoreError> {
    let now = core.clock.now();
    let by = Actor::system("triage");
    for demoted in core.soon(store::trust::demote(&core.pool, &by, now - FAILED_SINCE, now)).await? {
        tracing::warn!(run = %demoted.run_id, "{} asks from now on: “{}” ended as {}", demoted.rule, demoted.title, demoted.outcome);
        core.bell.ring(Topic::Signals);
    }
    let store::trust::Modes { set, seen } = core.soon(store::trust::modes(&core.pool)).await?;
    Ok(Modes { set, seen })
}

/// A trigger as it stands here.
#[derive(Debug, Clone, Serialize)]
pub struct TriggerView {
    /// `runbook/trigger`
    pub rule: String,
    /// Its runbook.
    pub runbook: String,
    /// The mode that holds.
    pub mode: Mode,
    /// By its file.
    pub written: Mode,
    /// By the configuration of this process.
    pub configured: Option<Mode>,
    /// As it was set since.
    pub set: Option<ModeSet>,
    /// Its targets must be typed by a person, so that it never starts anything.
    pub typed: bool,
    /// What it did, or would have done, beside what people did.
    pub score: Score,
}

/// Why a person's word was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Their role does not allow it.
    #[error("this takes {}, and you are {}", needs.one(), is.one())]
    NotAllowed {
        /// The least role that may.
        needs: Role,
        /// Theirs.
        is: Role,
    },
    /// The token is not good for it.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// Nobody would know why.
    #[error("this needs a reason: it is read by whoever meets it later")]
    NoReason,
    /// There is no such trigger on the shelf.
    #[error("there is no trigger `{0}`")]
    NoSuchRule(String),
    /// The signal does not fire (any more).
    #[error("this signal is over, so there is nothing to say about what is done")]
    Over,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn permit(by: &Actor, needs: Role) -> Result<(), TrustError> {
    let is = by.role();
    if is < needs {
        return Err(TrustError::NotAllowed { needs, is });
    }
    Ok(by.within_scope(Deed::Other)?)
}

fn said(reason: &str) -> Result<&str, TrustError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.contains('\0') { Err(TrustError::NoReason) } else { Ok(reason) }
}

impl Engine {
    /// The triggers on the shelf, with their modes and scores, and the occasions that these rest on (the newest first).
    pub async fn triggers(&self) -> Result<(Vec<TriggerView>, Vec<Occasion>), StoreError> {
        let core = &self.core;
        let modes = modes(core).await?;
        let occasions = store::trust::occasions(&core.pool, core.clock.now() - SCORED, OCCASIONS).await?;
        let views = core.rules().into_iter().map(|(rule, runbook, trigger)| {
            let set = modes.of(&rule);
            let name = rule.to_string();
            let configured = core.settings.triage.modes.get(&name).copied();
            TriggerView {
                mode: core.settings.triage.all.unwrap_or_else(|| in_force(trigger.mode, configured, set)),
                written: trigger.mode,
                configured,
                set: set.cloned(),
                typed: is_typed(runbook.risk),
                score: score(occasions.iter().filter(|o| o.rule == name)),
                runbook: rule.runbook,
                rule: name,
            }
        });
        Ok((views.collect(), occasions))
    }

    /// Sets the mode of a trigger; `None`: as configured. To let it act by itself takes an approver.
    pub async fn set_mode(
        &self,
        rule: &str,
        mode: Option<Mode>,
        by: &Actor,
        reason: &str,
    ) -> Result<(), TrustError> {
        let core = &self.core;
        let found = core.rules().into_iter().find(|(known, ..)| known.to_string() == rule);
        let (known, _, trigger) = found.ok_or_else(|| TrustError::NoSuchRule(rule.to_owned()))?;
        let below = in_force(trigger.mode, core.settings.triage.modes.get(rule).copied(), None);
        permit(by, takes(mode.unwrap_or(below)))?;
        store::trust::set(&core.pool, &known.to_string(), mode, by, said(reason)?, core.clock.now()).await?;
        core.bell.ring(Topic::Signals);
        Ok(())
    }

    /// A person's word on a signal, instead of the verdict: nothing is to be done about it, until it changes.
    pub async fn dismiss(&self, signal: Uuid, by: &Actor, reason: &str) -> Result<(), TrustError> {
        permit(by, Role::Responder)?;
        let done =
            store::trust::dismiss(&self.core.pool, signal, by, said(reason)?, self.core.clock.now()).await?;
        self.core.bell.ring(Topic::Signals);
        if done { Ok(()) } else { Err(TrustError::Over) }
    }

    /// Has a signal judged anew, also when a person has dismissed it.
    pub async fn judge_anew(&self, signal: Uuid, by: &Actor, reason: &str) -> Result<(), TrustError> {
        permit(by, Role::Responder)?;
        let done =
            store::trust::judge_anew(&self.core.pool, signal, by, said(reason)?, self.core.clock.now())
                .await?;
        self.core.bell.ring(Topic::Signals);
        if done { Ok(()) } else { Err(TrustError::Over) }
    }
}
