//! Rehearsals: every runbook on every target, planned in the background, so that what would refuse tonight is known this afternoon.
//!
//! One at a time, with a pause between two, by whichever process takes the next one first. A target on which a run is at work is
//! left alone: its group is in motion because it is meant to be. A runbook whose text has changed is rehearsed soon.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::readiness::{Answer, Case, cases};
use domain::run::StepPath;
use store::StoreError;
use store::readiness::Shown;

use crate::start::nobody;
use crate::{Core, Engine};

/// Pause between two rehearsals (clock time), at most.
const PAUSE: Duration = Duration::from_secs(10);
/// How often it is asked whether one is due (clock time), at most.
const LOOKS: Duration = Duration::from_secs(60);

/// A runbook on a target, and what the newest rehearsal of it showed.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Readiness {
    /// Which.
    #[serde(flatten)]
    pub case: Case,
    /// The runbook's first line.
    pub title: String,
    /// Nothing before the first rehearsal.
    pub shown: Option<Shown>,
}

/// Why there is no rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// No runbook of that name on a target of that name.
    #[error("there is no runbook `{runbook}` on `{target}` to rehearse; see `/readiness`")]
    NoSuchCase {
        /// As asked.
        runbook: String,
        /// As asked.
        target: String,
    },
    /// A person must say more.
    #[error("`{runbook}` cannot be rehearsed by itself: {} is a person's choice", asks.join(" and "))]
    Asks {
        /// Its name.
        runbook: String,
        /// Its inputs.
        asks: Vec<String>,
    },
    /// A run is at work there.
    #[error("`{0}` is being worked on; what a rehearsal would see now is not how it is in peace")]
    AtWork(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// How often each is rehearsed by itself, if at all (clock time).
    pub fn rehearses_every(&self) -> Option<Duration> {
        self.core.settings.rehearse_every
    }

    /// Every runbook on every target, and what was shown last; what would stop comes first.
    pub async fn readiness(&self) -> Result<Vec<Readiness>, StoreError> {
        let shown = store::readiness::all(&self.core.pool).await?;
        let mut all: Vec<Readiness> = self
            .core
            .cases()
            .into_iter()
            .map(|(case, title)| {
                let shown = shown.iter().find(|s| s.runbook == case.runbook && s.target == case.target);
                Readiness { case, title, shown: shown.cloned() }
            })
            .collect();
        let order = |r: &Readiness| match r.shown.as_ref().and_then(|s| s.ready) {
            Some(false) => 0,
            Some(true) => 1,
            None => 2,
        };
        all.sort_by_key(order);
        Ok(all)
    }

    /// Rehearses one now.
    pub async fn rehearse(&self, runbook: &str, target: &str) -> Result<Answer, RehearseError> {
        let mut cases = self.core.cases().into_iter().map(|(case, _)| case);
        let case = cases.find(|case| case.runbook == runbook && case.target == target).ok_or_else(|| {
            RehearseError::NoSuchCase { runbook: runbook.to_owned(), target: target.to_owned() }
        })?;
        self.core.rehearse(&case).await
    }
}

/// Rehearses each about so often (clock time). Not at once: a process that has just started has more urgent things to see to.
pub(crate) async fn keep_rehearsing(core: Arc<Core>, every: Duration) {
    let age = TimeDelta::from_std(every).unwrap_or(TimeDelta::MAX);
    loop {
        core.clock.sleep(every.min(LOOKS)).await;
        let cases = core.cases();
        let pause = every / u32::try_from(cases.len()).unwrap_or(u32::MAX).max(1);
        for (case, _) in cases.iter().filter(|(case, _)| case.asks.is_empty()) {
            // Looked at before it is taken: whoever takes it and does nothing keeps it from everybody until it is due again.
            match core.at_work(case).await {
                Ok(None) => {}
                Ok(Some(_)) => continue,
                Err(e) => {
                    tracing::warn!("no rehearsal: {e}");
                    break;
                }
            }
            let hash = core.library().runbook(&case.runbook).map(|r| r.hash.clone()).unwrap_or_default();
            let now = core.clock.now();
            match core.soon(store::readiness::begin(&core.pool, case, &hash, now, now - age)).await {
                Ok(false) => continue,
                Ok(true) => {}
                Err(e) => {
                    tracing::warn!("no rehearsal: {e}");
                    break;
                }
            }
            if let Err(e) = core.rehearse(case).await {
                tracing::info!(runbook = case.runbook, target = case.target, "not rehearsed: {e}");
            }
            core.clock.sleep(pause.min(PAUSE)).await;
        }
    }
}

impl Core {
    /// With the titles of the runbooks. One with mistakes is rehearsed nowhere: it says so itself.
    fn cases(&self) -> Vec<(Case, String)> {
        let library = self.library();
        let sound = library.iter().filter_map(|(_, shelf)| shelf.runbook.as_ref().ok());
        let of = |runbook: &Arc<domain::runbook::Runbook>| {
            let title = runbook.title.clone();
            cases(runbook, &self.inventory).into_iter().map(move |case| (case, title.clone()))
        };
        sound.flat_map(of).collect()
    }

    /// What a run holds of that which this one would take.
    async fn at_work(&self, case: &Case) -> Result<Option<String>, StoreError> {
        let (run_id, by) = nobody();
        // One that cannot even be prepared takes nothing, and its rehearsal says why.
        let Ok(prepared) = self.prepare(&case.runbook, &case.inputs, run_id, &by) else { return Ok(None) };
        let held = self.soon(store::pages::locks(&self.pool)).await?;
        Ok(held.into_iter().map(|held| held.target).find(|target| prepared.locks.contains(target)))
    }

    async fn rehearse(&self, case: &Case) -> Result<Answer, RehearseError> {
        if !case.asks.is_empty() {
            return Err(RehearseError::Asks { runbook: case.runbook.clone(), asks: case.asks.clone() });
        }
        if let Some(lock) = self.at_work(case).await? {
            return Err(RehearseError::AtWork(lock));
        }
        let (run_id, by) = nobody();
        let answer = match self.prepare(&case.runbook, &case.inputs, run_id, &by) {
            Ok(prepared) => self.rehearsed(&prepared).await,
            Err(e) => Answer::Stops { step: StepPath::top("start"), message: e.to_string() },
        };
        self.soon(store::readiness::put(&self.pool, case, &answer, self.clock.now())).await?;
        Ok(answer)
    }
}
