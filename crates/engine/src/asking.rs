//! What people ask of a run: to pause, to go on, to agree. Checked against its state here, so that whoever asks hears at once what does
//! not fit; decided by its owner, in the order in which its inbox was written.

use domain::Actor;
use domain::brake::{EVERYTHING, KillSwitch as Switch};
use domain::policy::Narrowed;
use domain::run::{Ask, State};
use domain::token::{Deed, OutOfScope};
use store::StoreError;
use uuid::Uuid;

use crate::{Engine, Topic, review};

/// Why a wish was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(Uuid),
    /// Their role does not allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// The token is not good for it.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// The runbook's policy does not allow it.
    #[error(transparent)]
    Narrowed(#[from] Narrowed),
    /// It is not possible now.
    #[error(transparent)]
    Refused(#[from] domain::run::Refusal),
    /// A lock of the run was released by force, and somebody holds it now.
    #[error("a lock of this run was released by force, and it moves no further before it has it back: {0}")]
    LockLost(Box<store::locks::Held>),
    /// Its id is that of another wish.
    #[error("this key was used for another request; nothing was asked")]
    KeyReused,
    /// The journal does not make sense to this version.
    #[error("the journal of this run cannot be read: {0}")]
    Illegal(#[from] domain::run::Illegal),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run that somebody lets go on stops again: a kill switch is on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{switch}. The run stops again before {}", self.before())]
pub struct StopsAgain {
    /// The switch.
    pub switch: Switch,
    /// It is not for this run's runbook, but for one that it runs.
    pub inside: bool,
}

impl StopsAgain {
    fn before(&self) -> String {
        if self.inside {
            format!("the first change that `{}` makes for it.", self.switch.scope)
        } else {
            "its next change.".to_owned()
        }
    }

    /// By what is on, a run of these runbooks stops again: of several switches, the one that it meets first.
    fn of(on: Vec<Switch>, state: &State) -> Option<Self> {
        let meets = |switch: &Switch| switch.scope == EVERYTHING || switch.scope == state.runbook();
        let (now, later): (Vec<_>, Vec<_>) = on.into_iter().partition(meets);
        let inside = later.into_iter().find(|switch| state.children().contains_key(&switch.scope));
        let now = now.into_iter().next().map(|switch| Self { switch, inside: false });
        now.or(inside.map(|switch| Self { switch, inside: true }))
    }
}

impl Engine {
    /// Asks something of a run: checked against its state now, put into its inbox, and answered by its owner. Answers with what stops
    /// the run again, where it should go on by it. What was asked under the same id before is not checked anew: by it, the run may have
    /// come to where it would be refused.
    pub async fn ask(
        &self,
        run_id: Uuid,
        id: Uuid,
        by: &Actor,
        ask: &Ask,
    ) -> Result<Option<StopsAgain>, AskError> {
        let journal = store::runs::journal(&self.core.pool, run_id).await?;
        if journal.is_empty() {
            return Err(AskError::NoSuchRun(run_id));
        }
        let state = State::replay(&journal)?;
        match store::inbox::kept(&self.core.pool, id).await? {
            None => self.put(run_id, &state, id, by, ask).await?,
            Some(kept) if kept == (run_id, ask.clone()) => {}
            Some(_) => return Err(AskError::KeyReused),
        }
        if !ask.moves() {
            return Ok(None);
        }
        // Asked for already: that a switch cannot be read is no reason to say that it was not.
        let on = store::brakes::switches(&self.core.pool).await.unwrap_or_default();
        Ok(StopsAgain::of(on, &state))
    }

    async fn put(
        &self,
        run_id: Uuid,
        state: &State,
        id: Uuid,
        by: &Actor,
        ask: &Ask,
    ) -> Result<(), AskError> {
        let now = self.core.clock.now();
        by.within_scope(Deed::Run(state.runbook()))?;
        domain::run::answer(state, ask)?;
        domain::run::allowed(state, by, ask).map_err(|e| AskError::NotAllowed(e.0))?;
        self.core.settings.policies.asked(state, by, ask)?;
        domain::run::answer_to(state, by, ask)?;
        domain::run::acceptable(state, ask, now)?;
        if let Ask::Reject { reason, .. } | Ask::BreakGlass { reason, .. } | Ask::BeginDespite { reason } =
            ask
            && reason.trim().is_empty()
        {
            return Err(domain::run::Refusal(format!("to {} takes a reason", ask.verb())).into());
        }
        let audited = match ask {
            Ask::BreakGlass { reason, .. } => Some(review::told(by, reason)),
            _ => None,
        };
        if matches!(ask, Ask::Pause { .. }) {
            store::inbox::put(&self.core.pool, run_id, id, by, ask, now).await?;
        } else if let Some(held) =
            store::locks::put_holding(&self.core.pool, run_id, id, by, ask, now, audited).await?
        {
            return Err(AskError::LockLost(Box::new(held)));
        }
        self.core.nudge(run_id);
        self.core.bell.ring(Topic::Inbox(run_id));
        Ok(())
    }
}
