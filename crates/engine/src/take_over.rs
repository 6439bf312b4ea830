//! Finding work: what dead workers left, and what people ask.
//!
//! Both are asked of the database again and again, whatever the bell says; that makes it right. Neither question costs more
//! with ten thousand runs waiting than with ten. After a crash, runs are taken over batch by batch without a pause: each
//! batch is one claim and one read of all its journals, and its runs are being driven while the next is claimed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use domain::audit::Link;
use domain::run::{Record, State};
use domain::runbook::Children;
use store::StoreError;
use store::claims::{Claimed, claim, claim_own, journals, owned};
use store::inbox::{self, Watermark};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use crate::driver::{Driver, Nudge, TakeUpError};
use crate::{Core, Topic};

/// Runs per claim: few enough that several processes share what a dead one left, and that their journals fit in memory.
const BATCH: i64 = 64;

/// How long a run whose worker's lease is over may wait for another one. A person may be waiting with it.
const LOOK_FOR_WORK: Duration = Duration::from_millis(500);
/// How long a wish may wait whose ring was missed.
const LOOK_FOR_WISHES: Duration = Duration::from_secs(1);

/// Takes over what dead workers left, and what this one owns without driving it, until the lease is lost.
pub(crate) async fn find_work(core: Arc<Core>) {
    let mut tick = ticker(LOOK_FOR_WORK);
    // A claim whose answer was lost may have made runs ours that nobody knows of.
    let mut unanswered = false;
    loop {
        tick.tick().await;
        match tokio::time::timeout(core.lease.length(), look_for_work(&core, &mut unanswered)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!("looking for work: {e}"),
            // Cut short in the middle of whatever it was: what it had claimed is found by asking what is owned.
            Err(_) => {
                unanswered = true;
                tracing::warn!("looking for work: no answer");
            }
        }
    }
}

async fn look_for_work(core: &Arc<Core>, unanswered: &mut bool) -> Result<(), StoreError> {
    let worker = core.lease.worker();
    if *unanswered {
        for run_id in owned(&core.pool, worker).await? {
            if !core.drives(run_id) {
                core.remember_stray(run_id);
            }
        }
        *unanswered = false;
    }
    for run_id in core.strays() {
        if !core.may_take_over() {
            return Ok(());
        }
        let claimed = claim_own(&core.pool, worker, run_id).await?;
        core.forget_stray(run_id);
        take_up(core, claimed.into_iter().collect()).await;
    }
    while core.may_take_over() {
        let claimed = claim(&core.pool, worker, BATCH).await.inspect_err(|_| *unanswered = true)?;
        let found = claimed.len();
        take_up(core, claimed).await;
        if i64::try_from(found).unwrap_or(BATCH) < BATCH {
            break;
        }
    }
    Ok(())
}

/// Nudges runs with unanswered wishes: at every ring, and again and again.
pub(crate) async fn hear_wishes(core: Arc<Core>) {
    let mut rings = core.bell.listen_but_runs();
    let mut tick = ticker(LOOK_FOR_WISHES);
    let mut watermark = Watermark::default();
    loop {
        tokio::select! {
            ring = rings.recv() => match ring {
                Ok(Topic::Inbox(run_id)) => {
                    core.nudge(run_id);
                    continue;
                }
                // A ring that was missed costs a second.
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            _ = tick.tick() => {}
        }
        match core.soon(inbox::waiting(&core.pool, core.lease.worker(), &mut watermark)).await {
            Ok(runs) => runs.into_iter().for_each(|run_id| core.nudge(run_id)),
            Err(e) => tracing::warn!("looking for wishes: {e}"),
        }
    }
}

/// Not in step with other processes.
fn ticker(period: Duration) -> tokio::time::Interval {
    let offset = Uuid::new_v4().as_u128() % period.as_millis();
    let offset = Duration::from_millis(u64::try_from(offset).unwrap_or_default());
    let mut tick = tokio::time::interval_at(Instant::now() + offset, period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Takes up runs that are ours now.
async fn take_up(core: &Arc<Core>, claimed: Vec<Claimed>) {
    let ids: Vec<_> = claimed.iter().map(|c| c.run_id).collect();
    if ids.is_empty() {
        return;
    }
    let mut journals = match journals(&core.pool, &ids).await {
        Ok(journals) => journals,
        Err(e) => {
            tracing::warn!("runs that were taken over cannot be read now: {e}");
            return ids.into_iter().for_each(|run| core.remember_stray(run));
        }
    };
    for claimed in claimed {
        let run = claimed.run_id;
        let driver = match journals.remove(&run) {
            Some(Ok(journal)) => take_up_one(core, &claimed, journal).await,
            Some(Err(e)) => Err(e.into()),
            None => Err(TakeUpError::Missing),
        };
        match driver {
            Ok((driver, nudges)) => {
                tracing::info!(%run, epoch = claimed.epoch, "took a run over");
                core.drive(driver, nudges);
            }
            Err(TakeUpError::Store(e)) if !e.is_final() => {
                tracing::warn!(%run, "a run was taken over but cannot be read now: {e}");
                core.remember_stray(run);
            }
            Err(e) => {
                tracing::error!(%run, "a run was taken over but cannot be driven: {e}");
                core.stands_still(run, claimed.epoch, &e.to_string()).await;
            }
        }
    }
}

async fn take_up_one(
    core: &Arc<Core>,
    claimed: &Claimed,
    (journal, link): (Vec<Record>, Link),
) -> Result<(Driver, mpsc::UnboundedSender<Nudge>), TakeUpError> {
    let runbook = core.texts.get(&core.pool, &core.library(), &claimed.runbook, &claimed.hash).await?;
    core.tails.note(claimed.run_id, &journal, claimed.epoch, &*core.clock, &core.settings);
    let state = State::replay(&journal)?;
    let mut children = Children::new();
    for (name, hash) in state.children() {
        children.insert(name.clone(), core.texts.get(&core.pool, &core.library(), name, hash).await?);
    }
    Driver::take_over(core, claimed, &runbook, children, state, link)
}

impl Core {
    /// Nothing is taken over without a lease, or by a process that is stopping.
    fn may_take_over(&self) -> bool {
        self.lease.remaining().is_some() && !self.draining.load(Ordering::SeqCst)
    }

    fn drives(&self, run_id: Uuid) -> bool {
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&run_id)
    }

    fn strays(&self) -> Vec<Uuid> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// A run that may be ours without being driven is looked at again with the next poll.
    pub(crate) fn remember_stray(&self, run_id: Uuid) {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).insert(run_id);
    }

    fn forget_stray(&self, run_id: Uuid) {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).remove(&run_id);
    }
}
